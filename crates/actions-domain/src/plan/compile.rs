//! From steps in any order to a workflow: each step comes after those that produce what it needs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::context::KeyUse;
use super::diagnostic::{Diagnostic, TypeUse};
use super::metadata::{ActionMetadata, Declaration, Declare, MetadataErrors, is_context_key};
use crate::action::ActionName;
use crate::flow::checked::{Flow, Hints};
use crate::flow::cycle::shortest_cycles;
use crate::flow::graph::{
    Call, Contract, Does, Edge, FailureImpact, FlowGraph, KeyTemplate, Reason, Step, StepName,
    Target,
};
use crate::flow::problem::FlowProblem;
use crate::limits::{FLOW_EDGES_MAX, FLOW_STEPS_MAX, KEY_TOKEN_BYTES_MAX};

/// One step of a plan: an action, and what it is called with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStep {
    /// Unique in the plan, and not the name of the action: one action may be done several times.
    pub name: StepName,
    pub metadata: ActionMetadata,
    /// Data, handed to the action as it is.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
    /// Steps that it comes after for another reason than what it needs from them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<StepName>,
}

impl PlanStep {
    /// A step that does `action` with `arguments`.
    ///
    /// # Errors
    /// What is wrong with the action's declaration.
    pub fn new(
        name: StepName,
        action: &dyn Declare,
        arguments: Value,
    ) -> Result<Self, MetadataErrors> {
        let metadata = action.declare(&arguments)?;
        Ok(Self { name, metadata, arguments, after: BTreeSet::new() })
    }

    #[must_use]
    pub fn after(mut self, step: StepName) -> Self {
        self.after.insert(step);
        self
    }
}

/// Compiles a plan. Steps in another order give the same workflow, and the same diagnostics.
///
/// A step that requires a key comes after the step that produces it. Where several produce it,
/// one of them has to come after all others. A key that is seeded is there from the start; where
/// a step produces it as well, whoever needs it comes after that step, unless that step was told
/// to come later.
///
/// # Errors
/// Everything that is wrong.
pub fn compile(
    name: &str,
    steps: &[PlanStep],
    seeded: &[KeyUse],
) -> Result<FlowGraph, Vec<Diagnostic>> {
    if steps.len() > FLOW_STEPS_MAX {
        return Err(vec![Diagnostic::Steps { given: steps.len() }]);
    }
    let links = steps.iter().map(|step| {
        let declared = step.metadata.declared();
        step.after.len() + declared.requires.len() + declared.produces.len()
    });
    let links: usize = links.sum();
    if links > FLOW_EDGES_MAX {
        return Err(vec![Diagnostic::Links { given: links }]);
    }
    let plan = Plan::new(steps, seeded);
    let mut diagnostics = plan.duplicates(steps);
    diagnostics.extend(plan.seed_names());
    diagnostics.extend(plan.dependencies());
    diagnostics.extend(plan.types());
    let (edges, wrong) = plan.edges();
    diagnostics.extend(wrong);
    diagnostics.extend(cycles(&edges));
    let (graph, wrong) = plan.graph(name, edges);
    diagnostics.extend(wrong);
    let problems = Flow::check(graph.clone()).err().unwrap_or_default();
    // These were said above, in words of the plan.
    let is_new = |problem: &FlowProblem| !matches!(problem, FlowProblem::Cycle { .. });
    diagnostics.extend(problems.into_iter().filter(is_new).map(Diagnostic::Graph));
    if diagnostics.is_empty() {
        return Ok(graph.normalised());
    }
    diagnostics.sort();
    diagnostics.dedup();
    Err(diagnostics)
}

/// The steps of a plan in the order of their names, with why each comes when it does.
pub fn describe(flow: &Flow) -> String {
    let mut text = String::new();
    for (index, name) in flow.order().into_iter().enumerate() {
        let edges = flow.graph().edges.iter().filter(|edge| edge.to == *name);
        let before: Vec<String> = edges
            .map(|edge| {
                let reasons: Vec<String> = edge.reasons.iter().map(ToString::to_string).collect();
                format!("{} ({})", edge.from, reasons.join(", "))
            })
            .collect();
        let after =
            if before.is_empty() { String::new() } else { format!(" after {}", before.join(", ")) };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{}. {name}{after}", index + 1);
    }
    text
}

type Ways = BTreeMap<StepName, BTreeSet<StepName>>;
type Edges = BTreeMap<(StepName, StepName), BTreeSet<Reason>>;

/// What is looked up while a plan is compiled.
struct Plan<'p> {
    steps: BTreeMap<&'p StepName, &'p PlanStep>,
    seeded: BTreeMap<&'p str, &'p str>,
    seeds: &'p [KeyUse],
    producers: BTreeMap<&'p str, BTreeSet<&'p StepName>>,
    /// Ways that somebody asked for.
    explicit: Reach,
    /// These, and those to the only producer of a key: what the order of several producers can
    /// be known by.
    certain: Reach,
}

impl<'p> Plan<'p> {
    fn new(steps: &'p [PlanStep], seeds: &'p [KeyUse]) -> Self {
        let mut by_name: BTreeMap<&StepName, &PlanStep> = BTreeMap::new();
        for step in steps {
            // Of steps with one name any will do for the other diagnostics, but always the same.
            by_name
                .entry(&step.name)
                .and_modify(|known| {
                    if written(step) < written(known) {
                        *known = step;
                    }
                })
                .or_insert(step);
        }
        let mut producers: BTreeMap<&str, BTreeSet<&StepName>> = BTreeMap::new();
        for (name, step) in &by_name {
            for key in &step.metadata.declared().produces {
                producers.entry(key.name.as_str()).or_default().insert(name);
            }
        }
        let mut explicit = Ways::new();
        for (name, step) in &by_name {
            let known = step.after.iter().filter(|from| by_name.contains_key(from));
            for from in known.filter(|from| from != name) {
                explicit.entry(from.clone()).or_default().insert((*name).clone());
            }
        }
        let mut certain = explicit.clone();
        for (name, step) in &by_name {
            for key in &step.metadata.declared().requires {
                let known = producers.get(key.name.as_str()).filter(|known| known.len() == 1);
                let only = known.and_then(|known| known.first()).filter(|only| *only != name);
                if let Some(only) = only {
                    certain.entry((*only).clone()).or_default().insert((*name).clone());
                }
            }
        }
        let seeded = seeds.iter().map(|key| (key.name.as_str(), key.type_name.as_str())).collect();
        let (explicit, certain) = (Reach::new(explicit), Reach::new(certain));
        Self { steps: by_name, seeded, seeds, producers, explicit, certain }
    }

    fn duplicates(&self, steps: &[PlanStep]) -> Vec<Diagnostic> {
        let mut counts: BTreeMap<&StepName, usize> = BTreeMap::new();
        steps.iter().for_each(|step| *counts.entry(&step.name).or_default() += 1);
        let repeated = counts.into_iter().filter(|(_, count)| *count > 1);
        let diagnostic =
            |(step, count): (&StepName, _)| Diagnostic::DuplicateStep { step: step.clone(), count };
        repeated.map(diagnostic).collect()
    }

    fn seed_names(&self) -> impl Iterator<Item = Diagnostic> {
        let wrong = self.seeds.iter().filter(|key| !is_context_key(&key.name));
        wrong.map(|key| Diagnostic::SeedName { key: key.name.clone() })
    }

    fn dependencies(&self) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        let mut hints = Hints::default();
        for (name, step) in &self.steps {
            let step_name = || (*name).clone();
            for from in &step.after {
                if from == *name {
                    let reason = Reason::Explicit;
                    wrong.push(Diagnostic::SelfDependency { step: step_name(), reason });
                } else if !self.steps.contains_key(from) {
                    let like = hints.similar(from, self.steps.keys().copied());
                    let (step, unknown) = (step_name(), from.clone());
                    wrong.push(Diagnostic::UnknownDependency { step, unknown, like });
                }
            }
        }
        wrong
    }

    /// Keys that are not of the same type wherever they are named.
    fn types(&self) -> Vec<Diagnostic> {
        let mut uses: BTreeMap<&str, BTreeSet<TypeUse>> = BTreeMap::new();
        for key in self.seeds {
            let seed = TypeUse { step: None, type_name: key.type_name.clone() };
            uses.entry(&key.name).or_default().insert(seed);
        }
        for (name, step) in &self.steps {
            let declared = step.metadata.declared();
            for key in declared.requires.iter().chain(&declared.produces) {
                let used =
                    TypeUse { step: Some((*name).clone()), type_name: key.type_name.clone() };
                uses.entry(&key.name).or_default().insert(used);
            }
        }
        let is_torn = |uses: &BTreeSet<TypeUse>| {
            uses.iter().map(|used| &used.type_name).collect::<BTreeSet<_>>().len() > 1
        };
        let torn = uses.into_iter().filter(|(_, uses)| is_torn(uses));
        let diagnostic = |(key, uses): (&str, BTreeSet<TypeUse>)| Diagnostic::TypeMismatch {
            key: key.to_owned(),
            uses: uses.into_iter().collect(),
        };
        torn.map(diagnostic).collect()
    }

    /// Which step comes after which, and why.
    fn edges(&self) -> (Edges, Vec<Diagnostic>) {
        let mut edges = Edges::new();
        let mut wrong = Vec::new();
        for (from, tos) in &self.explicit.ways {
            for to in tos {
                edges.entry((from.clone(), to.clone())).or_default().insert(Reason::Explicit);
            }
        }
        for (name, step) in &self.steps {
            for key in &step.metadata.declared().requires {
                match self.producer(name, &key.name) {
                    Ok(None) => {}
                    Ok(Some(from)) => {
                        let ends = (from.clone(), (*name).clone());
                        let reason = Reason::Context(key.name.clone());
                        edges.entry(ends).or_default().insert(reason);
                    }
                    Err(diagnostic) => wrong.push(diagnostic),
                }
            }
        }
        (edges, wrong)
    }

    /// The step from which another one gets a key. `None`: it is there from the start.
    fn producer(&self, step: &StepName, key: &str) -> Result<Option<&'p StepName>, Diagnostic> {
        let is_seeded = self.seeded.contains_key(key);
        let all = self.producers.get(key).cloned().unwrap_or_default();
        let others: Vec<&StepName> = all.iter().copied().filter(|from| *from != step).collect();
        let (later, earlier): (Vec<&StepName>, Vec<&StepName>) =
            others.iter().partition(|from| self.explicit.leads(step, from));
        let (step, key) = (step.clone(), key.to_owned());
        match (earlier.as_slice(), later.first()) {
            ([], _) if is_seeded => Ok(None),
            ([], Some(producer)) => {
                let way = self.explicit.way(&step, producer);
                let producer = (*producer).clone();
                Err(Diagnostic::Contradiction { step, key, producer, way })
            }
            ([], None) if all.is_empty() => Err(Diagnostic::MissingProducer { step, key }),
            ([], None) => Err(Diagnostic::SelfDependency { step, reason: Reason::Context(key) }),
            ([only], _) => Ok(Some(only)),
            (several, _) => match self.last_of(several) {
                Some(last) => Ok(Some(last)),
                None => {
                    let producers = several.iter().map(|name| (*name).clone()).collect();
                    Err(Diagnostic::AmbiguousProducer { step, key, producers })
                }
            },
        }
    }

    /// The one that certainly comes after all others. When several do, they go round in a circle,
    /// which is reported as such.
    fn last_of(&self, several: &[&'p StepName]) -> Option<&'p StepName> {
        let later = |one, other| if self.certain.leads(one, other) { other } else { one };
        let last = several.iter().copied().reduce(later)?;
        let is_last = |other: &&StepName| *other == last || self.certain.leads(other, last);
        several.iter().all(is_last).then_some(last)
    }

    fn graph(&self, name: &str, edges: Edges) -> (FlowGraph, Vec<Diagnostic>) {
        let mut wrong = Vec::new();
        let mut steps = BTreeMap::new();
        for (name, step) in &self.steps {
            let declared = step.metadata.declared();
            let key = declared.affinity.as_ref().map(|affinity| {
                let text = resolved(affinity, declared, &step.arguments);
                KeyTemplate { text, mode: declared.mutability.into() }
            });
            let unknown = declared.places().filter(|place| !is_known(place, declared, step));
            wrong.extend(unknown.map(|place| Diagnostic::AffinityPlace {
                step: (*name).clone(),
                place: place.to_owned(),
            }));
            // Metadata that was checked has a sound name.
            let Ok(action) = ActionName::parse(&declared.action) else { continue };
            let call = Call {
                target: Target::Action(action),
                input: step.arguments.clone(),
                is_literal: true,
                key,
            };
            steps.insert((*name).clone(), made(declared, call));
        }
        let edges = edges.into_iter();
        let edges = edges.map(|((from, to), reasons)| Edge { from, to, guard: None, reasons });
        let graph = FlowGraph {
            name: name.to_owned(),
            description: None,
            steps,
            edges: edges.collect(),
            on_failure: FailureImpact::Abort,
            max_total_retries: None,
            dead_letter: None,
            seeds: self.seeded.keys().map(|key| (*key).to_owned()).collect(),
            output: None,
        };
        (graph, wrong)
    }
}

fn made(declared: &Declaration, call: Call) -> Step {
    let names = |keys: &BTreeSet<KeyUse>| keys.iter().map(|key| key.name.clone()).collect();
    Step {
        does: Does::Action(call),
        description: declared.description.clone(),
        condition: None,
        priority: declared.priority,
        retry: declared.retry.clone(),
        timeout_seconds: declared.timeout_seconds,
        on_failure: declared.on_failure,
        repeat: None,
        compensation: declared.compensation.clone(),
        contract: Contract {
            requires: names(&declared.requires),
            produces: names(&declared.produces),
            strict: declared.strict,
            reads: declared.reads.clone(),
            writes: declared.writes.clone(),
        },
    }
}

fn cycles(edges: &Edges) -> Vec<Diagnostic> {
    let mut ways = Ways::new();
    for (from, to) in edges.keys() {
        ways.entry(from.clone()).or_default().insert(to.clone());
    }
    let reason = |from: &StepName, to: &StepName| {
        let reasons = edges.get(&(from.clone(), to.clone()));
        reasons.and_then(|reasons| reasons.first()).cloned().unwrap_or(Reason::Explicit)
    };
    let diagnostic = |steps: Vec<StepName>| {
        let next = steps.iter().cycle().skip(1);
        let reasons = steps.iter().zip(next).map(|(from, to)| reason(from, to)).collect();
        Diagnostic::Cycle { steps, reasons }
    };
    shortest_cycles(&ways).into_iter().map(diagnostic).collect()
}

fn is_known(place: &str, declared: &Declaration, step: &PlanStep) -> bool {
    argument(place, &step.arguments).is_some() || is_required(place, declared)
}

fn is_required(place: &str, declared: &Declaration) -> bool {
    let key = place.split('.').next().unwrap_or(place);
    declared.requires.iter().any(|known| known.name == key)
}

fn argument<'a>(place: &str, arguments: &'a Value) -> Option<&'a Value> {
    let found = place.split('.').try_fold(arguments, |value, word| value.get(word));
    found.filter(|value| !value.is_null())
}

/// The affinity with its arguments filled in. Places in the context stay, to be filled in when
/// the step begins.
fn resolved(affinity: &str, declared: &Declaration, arguments: &Value) -> String {
    let tokens = affinity.split(':').map(|token| {
        let mut text = String::new();
        let mut is_open = false;
        for (index, part) in token.split('{').enumerate() {
            let Some((place, rest)) = part.split_once('}').filter(|_| index > 0) else {
                text.push_str(part);
                continue;
            };
            match argument(place, arguments) {
                Some(value) => text.push_str(&plain(value)),
                None if is_required(place, declared) => {
                    text.push_str("{context.");
                    text.push_str(place);
                    text.push('}');
                    is_open = true;
                }
                None => text.push('-'),
            }
            text.push_str(rest);
        }
        if is_open { text } else { fitted(text) }
    });
    tokens.collect::<Vec<_>>().join(":")
}

/// A value as a part of one token, as keys of events have it. It must not look like a place.
fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let is_mark = |c: char| matches!(c, ':' | '{' | '}') || c.is_control();
    text.chars().map(|c| if is_mark(c) { '_' } else { c }).collect()
}

/// A token that is not empty and not too long. The end of a longer one is a hash of all of it.
fn fitted(token: String) -> String {
    if token.is_empty() {
        return "-".to_owned();
    }
    if token.len() <= KEY_TOKEN_BYTES_MAX {
        return token;
    }
    let digest = &blake3::hash(token.as_bytes()).to_hex()[..16];
    let kept = token.floor_char_boundary(KEY_TOKEN_BYTES_MAX - digest.len() - 1);
    format!("{}~{digest}", &token[..kept])
}

/// For an order that does not depend on where a step was written.
fn written(step: &PlanStep) -> String {
    serde_json::to_string(step).unwrap_or_default()
}

/// Where ways lead to. Found out when it is asked for: most plans never ask.
struct Reach {
    ways: Ways,
    known: RefCell<BTreeMap<StepName, BTreeSet<StepName>>>,
}

impl Reach {
    fn new(ways: Ways) -> Self {
        Self { ways, known: RefCell::default() }
    }

    fn leads(&self, from: &StepName, to: &StepName) -> bool {
        if !self.ways.contains_key(from) {
            return false;
        }
        let mut known = self.known.borrow_mut();
        known.entry(from.clone()).or_insert_with(|| self.all_from(from)).contains(to)
    }

    fn all_from(&self, from: &StepName) -> BTreeSet<StepName> {
        let mut found = BTreeSet::new();
        let mut open = vec![from];
        while let Some(step) = open.pop() {
            for to in self.ways.get(step).into_iter().flatten() {
                if found.insert(to.clone()) {
                    open.push(to);
                }
            }
        }
        found
    }

    /// The shortest way, both ends included.
    fn way(&self, from: &StepName, to: &StepName) -> Vec<StepName> {
        let mut came_from: BTreeMap<&StepName, &StepName> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(step) = open.pop_front() {
            for next in self.ways.get(step).into_iter().flatten() {
                if next != from && !came_from.contains_key(next) {
                    came_from.insert(next, step);
                    open.push_back(next);
                }
            }
        }
        let mut way = vec![to];
        while let Some(before) = came_from.get(way[way.len() - 1]) {
            way.push(before);
        }
        way.reverse();
        way.into_iter().cloned().collect()
    }
}
