//! Where in the document the parts of a graph were written.

use std::collections::BTreeMap;

use super::reader::Words;
use crate::flow::graph::{Edge, FlowGraph, StepName};
use crate::flow::problem::FlowProblem;

/// JSON pointers of what the graph was made from.
pub(super) struct Places {
    /// Of the workflow itself.
    root: String,
    name: &'static str,
    list: String,
    pub(super) steps: BTreeMap<StepName, String>,
    pub(super) edges: BTreeMap<(StepName, StepName), String>,
}

impl Places {
    pub(super) fn new(root: &str, list: String, words: &Words) -> Self {
        Self {
            root: root.to_owned(),
            name: if words.is_short { "action" } else { "name" },
            list,
            steps: BTreeMap::new(),
            edges: BTreeMap::new(),
        }
    }

    /// Puts an edge into the graph and keeps where it was written.
    pub(super) fn edge(&mut self, graph: &mut FlowGraph, edge: Edge, pointer: String) {
        self.edges.entry((edge.from.clone(), edge.to.clone())).or_insert(pointer);
        graph.edges.push(edge);
    }

    /// Whether a step only lacks what another one says that runs beside it.
    pub(super) fn is_said_elsewhere(&self, problem: &FlowProblem) -> bool {
        let FlowProblem::UnknownStep { step, unknown, .. } = problem else { return false };
        let home = self.step(step);
        let parts = ["/delay", "/approval"];
        let home = parts.iter().find_map(|part| home.strip_suffix(part)).unwrap_or(&home);
        !self.between(unknown, step).starts_with(home)
    }

    /// The place of a problem. It may name a member that is missing there.
    pub(super) fn of(&self, problem: &FlowProblem, words: &Words) -> String {
        match problem {
            FlowProblem::Name { .. } => format!("{}/{}", self.root, self.name),
            FlowProblem::NoSteps | FlowProblem::Steps { .. } | FlowProblem::Edges { .. } => {
                self.list.clone()
            }
            FlowProblem::Bytes { .. } => self.root.clone(),
            FlowProblem::TotalRetries { .. } if words.is_short => {
                "/on_failure/max_total_retries".to_owned()
            }
            FlowProblem::TotalRetries { .. } => {
                format!("{}/error_handling/max_total_retries", self.root)
            }
            FlowProblem::UnknownStep { step, unknown, .. } => self.between(unknown, step),
            FlowProblem::SelfDependency { step } => self.between(step, step),
            FlowProblem::Cycle { steps } => match (steps.last(), steps.first()) {
                (Some(from), Some(to)) => self.between(from, to),
                (None, _) | (_, None) => self.list.clone(),
            },
            FlowProblem::Guards { step, to }
            | FlowProblem::ChoiceWithoutWay { step, to }
            | FlowProblem::WayWithoutChoice { step, to }
            | FlowProblem::ChoiceOrder { step, to } => self.between(step, to),
            FlowProblem::Expression { step, what, .. } => self.member(step, text_of(what, words)),
            FlowProblem::NoWays { step } => self.member(step, "choose"),
            FlowProblem::Gate { step, .. } => self.member(step, "gate"),
            FlowProblem::Retry { step, .. } => self.member(step, words.retry),
            FlowProblem::Timeout { step, .. } => self.member(step, "timeout"),
            FlowProblem::Wait { step, .. } => self.member(step, "wait"),
            FlowProblem::Misplaced { step, field } => self.member(step, field_of(field, words)),
            FlowProblem::Signal { step, .. } => self.member(step, "signal"),
            FlowProblem::Child { step, .. } => self.member(step, "workflow"),
            FlowProblem::Rounds { step, .. } => self.member(step, "rounds"),
            FlowProblem::Every { step, .. } => self.member(step, "every"),
            FlowProblem::Concurrency { step, .. } => self.member(step, "limit"),
            FlowProblem::Key { step, .. } => self.member(step, "key"),
        }
    }

    /// Where it says that one step comes after another one, whichever says so.
    fn between(&self, from: &StepName, to: &StepName) -> String {
        let ends = [(from.clone(), to.clone()), (to.clone(), from.clone())];
        let found = ends.iter().find_map(|ends| self.edges.get(ends));
        found.cloned().unwrap_or_else(|| self.step(from))
    }

    fn step(&self, step: &StepName) -> String {
        self.steps.get(step).cloned().unwrap_or_else(|| self.list.clone())
    }

    fn member(&self, step: &StepName, member: &str) -> String {
        format!("{}/{member}", self.step(step))
    }
}

/// The member that holds a text which a problem of the graph names.
fn text_of(what: &str, words: &Words) -> &'static str {
    match what {
        "the guard of a way" => "choose",
        "the instant" => "wait_until",
        "the end of the rounds" => "until",
        _ => words.condition,
    }
}

fn field_of(field: &str, words: &Words) -> &'static str {
    match field {
        "a condition" => words.condition,
        "a contract" => "requires",
        "a retry policy" => words.retry,
        "a compensation" => words.compensation,
        "a repetition" => "until",
        _ => "timeout",
    }
}
