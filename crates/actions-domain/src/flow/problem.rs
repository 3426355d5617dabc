//! What can be wrong with a graph, each with a stable code and the place.

use super::graph::StepName;
use crate::limits::{
    CEL_BYTES_MAX, FLOW_BYTES_MAX, FLOW_EDGES_MAX, FLOW_RETRIES_MAX, FLOW_ROUNDS_MAX,
    FLOW_STEPS_MAX, KEY_BYTES_MAX, KEY_TOKENS_MAX, NAME_BYTES_MAX, RUN_OPEN_MAX,
    SCHEDULE_AHEAD_MAX,
};
use crate::retry::RetryPolicyError;

/// Why a graph was refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum FlowProblem {
    #[error("the name of a workflow has 1 to {max} letters, digits, '_', '-' or '.', not {given:?}", max = NAME_BYTES_MAX)]
    Name { given: String },
    #[error("a workflow needs at least one step")]
    NoSteps,
    #[error("a workflow has at most {max} steps, not {given}; split it", max = FLOW_STEPS_MAX)]
    Steps { given: usize },
    #[error("a workflow has at most {max} ways between its steps, not {given}; split it", max = FLOW_EDGES_MAX)]
    Edges { given: usize },
    #[error("a workflow has at most {max} bytes as JSON, not {given}", max = FLOW_BYTES_MAX)]
    Bytes { given: usize },
    #[error("there is no step {unknown}, which {step} is connected with{}", hint(.like.as_ref()))]
    UnknownStep { step: StepName, unknown: StepName, like: Option<StepName> },
    #[error("step {step} comes after itself")]
    SelfDependency { step: StepName },
    #[error("steps wait for each other: {}", circle(.steps))]
    Cycle { steps: Vec<StepName> },
    #[error("the ways from {step} to {to} have different guards; join them into one")]
    Guards { step: StepName, to: StepName },
    #[error("{what} of step {step} has 1 to {max} bytes, not {given}", max = CEL_BYTES_MAX)]
    Expression { step: StepName, what: &'static str, given: usize },
    #[error("step {step} has no ways to choose from")]
    NoWays { step: StepName },
    #[error("step {step} chooses {to}, and no way leads there")]
    ChoiceWithoutWay { step: StepName, to: StepName },
    #[error(
        "a way leads from step {step} to {to}, and its list of ways leaves it out or names it twice"
    )]
    WayWithoutChoice { step: StepName, to: StepName },
    #[error(
        "the way from {step} to {to} has no guard, so the ways behind it in the list are never taken"
    )]
    ChoiceOrder { step: StepName, to: StepName },
    #[error("gate {step} needs {needs} open ways, and {given} lead to it")]
    Gate { step: StepName, needs: usize, given: usize },
    #[error("the retry policy of step {step} is wrong: {why}")]
    Retry { step: StepName, why: RetryProblem },
    #[error("max_total_retries is {given}, allowed are 0 to {max}", max = FLOW_RETRIES_MAX)]
    TotalRetries { given: u32 },
    #[error("timeout_seconds of step {step} is {given}, allowed are 1 to {max}")]
    Timeout { step: StepName, given: u32, max: u64 },
    #[error("timer {step} waits {given} ms, allowed are 1 to {max}", max = SCHEDULE_AHEAD_MAX.as_millis())]
    Wait { step: StepName, given: u64 },
    #[error("step {step} has {field}, which steps of its kind cannot have")]
    Misplaced { step: StepName, field: &'static str },
    #[error("a signal has a name of 1 to {max} bytes; step {step} waits for {given:?}", max = NAME_BYTES_MAX)]
    Signal { step: StepName, given: String },
    #[error("the name of a workflow has 1 to {max} letters, digits, '_', '-' or '.'; step {step} starts {given:?}", max = NAME_BYTES_MAX)]
    Child { step: StepName, given: String },
    #[error("step {step} is repeated {given} times at most, allowed are 1 to {max}", max = FLOW_ROUNDS_MAX)]
    Rounds { step: StepName, given: u32 },
    #[error("step {step} pauses {given} ms between its rounds, allowed are 0 to {max}", max = SCHEDULE_AHEAD_MAX.as_millis())]
    Every { step: StepName, given: u64 },
    #[error("map {step} has a concurrency of {given}, allowed are 1 to {max}", max = RUN_OPEN_MAX)]
    Concurrency { step: StepName, given: u32 },
    #[error(
        "a key has 2 to {tokens} tokens joined by ':', like order:{{input.id}}, and at most {bytes} bytes; step {step} has {given:?}",
        tokens = KEY_TOKENS_MAX, bytes = KEY_BYTES_MAX
    )]
    Key { step: StepName, given: String },
}

/// A [`RetryPolicyError`] as its text, which can be put into an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryProblem(String);

impl From<RetryPolicyError> for RetryProblem {
    fn from(error: RetryPolicyError) -> Self {
        Self(error.to_string())
    }
}

impl std::fmt::Display for RetryProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FlowProblem {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "flow.name",
            Self::NoSteps => "flow.no_steps",
            Self::Steps { .. } => "flow.too_many_steps",
            Self::Edges { .. } => "flow.too_many_edges",
            Self::Bytes { .. } => "flow.too_large",
            Self::UnknownStep { .. } => "flow.unknown_step",
            Self::SelfDependency { .. } => "flow.self_dependency",
            Self::Cycle { .. } => "flow.cycle",
            Self::Guards { .. } => "flow.guards",
            Self::Expression { .. } => "flow.expression_length",
            Self::NoWays { .. }
            | Self::ChoiceWithoutWay { .. }
            | Self::WayWithoutChoice { .. }
            | Self::ChoiceOrder { .. } => "flow.choice",
            Self::Gate { .. } => "flow.gate",
            Self::Retry { .. } => "flow.retry",
            Self::TotalRetries { .. } => "flow.total_retries",
            Self::Timeout { .. } => "flow.timeout",
            Self::Wait { .. } => "flow.wait",
            Self::Misplaced { .. } => "flow.misplaced",
            Self::Signal { .. } => "flow.signal",
            Self::Child { .. } => "flow.child",
            Self::Rounds { .. } | Self::Every { .. } => "flow.repeat",
            Self::Concurrency { .. } => "flow.concurrency",
            Self::Key { .. } => "flow.key",
        }
    }

    /// The step that it is about, where it is about one.
    pub fn step(&self) -> Option<&StepName> {
        match self {
            Self::Name { .. }
            | Self::NoSteps
            | Self::Steps { .. }
            | Self::Edges { .. }
            | Self::Bytes { .. }
            | Self::TotalRetries { .. } => None,
            Self::Cycle { steps } => steps.first(),
            Self::UnknownStep { step, .. }
            | Self::SelfDependency { step }
            | Self::Guards { step, .. }
            | Self::Expression { step, .. }
            | Self::NoWays { step }
            | Self::ChoiceWithoutWay { step, .. }
            | Self::WayWithoutChoice { step, .. }
            | Self::ChoiceOrder { step, .. }
            | Self::Gate { step, .. }
            | Self::Retry { step, .. }
            | Self::Timeout { step, .. }
            | Self::Wait { step, .. }
            | Self::Misplaced { step, .. }
            | Self::Signal { step, .. }
            | Self::Child { step, .. }
            | Self::Rounds { step, .. }
            | Self::Every { step, .. }
            | Self::Concurrency { step, .. }
            | Self::Key { step, .. } => Some(step),
        }
    }
}

fn hint(like: Option<&StepName>) -> String {
    like.map_or_else(String::new, |like| format!("; do you mean {like}?"))
}

/// `a → b → a`.
pub(crate) fn circle(steps: &[StepName]) -> String {
    let names: Vec<&str> = steps.iter().chain(steps.first()).map(StepName::as_str).collect();
    names.join(" → ")
}
