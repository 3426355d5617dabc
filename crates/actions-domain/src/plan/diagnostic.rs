//! What can be wrong with a plan, each with a stable code.

use crate::flow::graph::{Reason, StepName};
use crate::flow::problem::{FlowProblem, circle};
use crate::limits::{FLOW_EDGES_MAX, FLOW_STEPS_MAX};

/// One thing that is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Diagnostic {
    #[error("a plan has at most {max} steps, not {given}; split it", max = FLOW_STEPS_MAX)]
    Steps { given: usize },
    #[error(
        "the steps of a plan name at most {max} keys and dependencies together, not {given}; split it",
        max = FLOW_EDGES_MAX
    )]
    Links { given: usize },
    #[error(
        "{count} steps are called {step}; the name of a step is not that of its action, so give each its own"
    )]
    DuplicateStep { step: StepName, count: usize },
    #[error("step {step} comes after {unknown}, and there is no such step{}", hint(.like.as_ref()))]
    UnknownDependency { step: StepName, unknown: StepName, like: Option<StepName> },
    #[error("step {step} waits for itself ({reason})")]
    SelfDependency { step: StepName, reason: Reason },
    #[error("step {step} needs {key}, which no step produces; let one produce it, or seed it")]
    MissingProducer { step: StepName, key: String },
    #[error(
        "step {step} needs {key}, which {} produce in no particular order; say which of them comes last",
        names(.producers)
    )]
    AmbiguousProducer { step: StepName, key: String, producers: Vec<StepName> },
    #[error("{key} has several types: {}", used(.uses))]
    TypeMismatch { key: String, uses: Vec<TypeUse> },
    #[error(
        "step {step} needs {key} from {producer}, which was told to come after it ({})",
        chain(.way)
    )]
    Contradiction { step: StepName, key: String, producer: StepName, way: Vec<StepName> },
    #[error("steps wait for each other: {}", cycle(.steps, .reasons))]
    Cycle {
        steps: Vec<StepName>,
        /// Why the second one comes after the first, and so on, back to the first.
        reasons: Vec<Reason>,
    },
    #[error(
        "the affinity of step {step} has a place {{{place}}}, which is neither an argument nor a key that it requires"
    )]
    AffinityPlace { step: StepName, place: String },
    /// A key that is seeded with a name that no key can have.
    #[error(
        "{key:?} cannot be seeded: a key of the context is a letter or '_', then letters, digits or '_'"
    )]
    SeedName { key: String },
    #[error(transparent)]
    Graph(FlowProblem),
}

/// Who uses a key with which type. Without a step, it is seeded so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeUse {
    pub step: Option<StepName>,
    pub type_name: String,
}

impl Diagnostic {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Steps { .. } => "plan.too_many_steps",
            Self::Links { .. } => "plan.too_many_links",
            Self::DuplicateStep { .. } => "plan.duplicate_step",
            Self::UnknownDependency { .. } => "plan.unknown_dependency",
            Self::SelfDependency { .. } => "plan.self_dependency",
            Self::MissingProducer { .. } => "plan.missing_producer",
            Self::AmbiguousProducer { .. } => "plan.ambiguous_producer",
            Self::TypeMismatch { .. } => "plan.type_mismatch",
            Self::Contradiction { .. } => "plan.contradiction",
            Self::Cycle { .. } => "plan.cycle",
            Self::AffinityPlace { .. } => "plan.affinity_place",
            Self::SeedName { .. } => "plan.seed_name",
            Self::Graph(problem) => problem.code(),
        }
    }
}

fn hint(like: Option<&StepName>) -> String {
    like.map_or_else(String::new, |like| format!("; do you mean {like}?"))
}

fn names(steps: &[StepName]) -> String {
    steps.iter().map(StepName::as_str).collect::<Vec<_>>().join(", ")
}

fn chain(steps: &[StepName]) -> String {
    steps.iter().map(StepName::as_str).collect::<Vec<_>>().join(" → ")
}

fn cycle(steps: &[StepName], reasons: &[Reason]) -> String {
    let reasons = reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("{} ({reasons})", circle(steps))
}

fn used(uses: &[TypeUse]) -> String {
    let each = uses.iter().map(|known| match &known.step {
        Some(step) => format!("{} in step {step}", known.type_name),
        None => format!("{} as a seed", known.type_name),
    });
    each.collect::<Vec<_>>().join(", ")
}
