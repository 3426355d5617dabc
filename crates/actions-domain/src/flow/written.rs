//! Workflows as people write them down: YAML, already parsed into values, in one of two forms.
//!
//! The short one:
//!
//! ```yaml
//! action: premium_onboarding
//! on: users.created
//! when: event.data.tier == 'premium'
//! steps:
//!   - check: { handler: validation.user, with: { user: "{{ event.data }}" }, retry: 3 }
//!   - setup: { handler: premium.features, after: check, if: steps.check.output.is_valid }
//!   - greet: { action: send_welcome, after: setup, delay: 2 hours }
//! on_failure: compensate
//! ```
//!
//! The founding one, in which the same is `action.triggers`, `action.workflow.steps` with
//! `depends_on`, `condition`, `input_mapping`, `retry_policy` and `compensation`, and
//! `action.error_handling`. Both are read by the same code and lead to the same graph.
//!
//! Nothing here knows lines and columns: a problem names its place as a JSON pointer, for whoever
//! parsed the text.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::checked::Flow;
use super::expression::Syntax;
use super::graph::{FailureImpact, FlowGraph};
use super::problem::FlowProblem;
use crate::limits::{FLOW_EDGES_MAX, FLOW_STEPS_MAX};
use crate::matching::condition::Condition;
use crate::matching::pattern::Pattern;

mod concurrency;
mod connect;
mod duration;
mod hint;
mod kinds;
mod places;
mod reader;
mod steps;

pub use concurrency::{Concurrency, WhenFull};

use places::Places;
use reader::Reader;

/// What was written down: a workflow, and when it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub flow: Flow,
    pub triggers: Vec<Trigger>,
    /// `None`: as many runs at once as there is room for.
    pub concurrency: Option<Concurrency>,
}

/// Events that start a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    pub pattern: Pattern,
    pub condition: Condition,
}

/// One thing that is wrong with what was written, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WrittenProblem {
    /// A JSON pointer. The place itself may be missing in the document; then what is meant is
    /// missing there.
    pub pointer: String,
    /// Stable, for programs.
    pub code: &'static str,
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// The version of the form that is read here, for a later one to differ from.
const VERSION: u64 = 1;

/// Reads a workflow without judging the texts in it.
///
/// A step comes after those that it `depends_on`. One that is `parallel_with` others comes after
/// what they come after. A `delay` is a timer before its step, called `<step>-delay`.
///
/// # Errors
/// Everything that is wrong.
pub fn read(document: &Value) -> Result<Written, Vec<WrittenProblem>> {
    struct Unjudged;

    impl Syntax for Unjudged {
        fn expression(&self, _: &str) -> Result<(), String> {
            Ok(())
        }

        fn template(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
    }

    read_with(document, &Unjudged)
}

/// Reads a workflow and judges its expressions and templates.
///
/// # Errors
/// Everything that is wrong.
pub fn read_with(document: &Value, syntax: &dyn Syntax) -> Result<Written, Vec<WrittenProblem>> {
    let mut reader = Reader::new(document, syntax);
    let read = reader.document(document);
    let Some((graph, mut written)) = read.filter(|_| reader.problems.is_empty()) else {
        return Err(reader.problems);
    };
    match Flow::check(graph) {
        Ok(flow) => {
            let triggers = std::mem::take(&mut written.triggers);
            Ok(Written { flow, triggers, concurrency: written.concurrency })
        }
        Err(problems) => Err(problems
            .iter()
            .filter(|problem| !written.places.is_said_elsewhere(problem))
            .map(|problem| {
                let pointer = written.places.of(problem, reader.words);
                WrittenProblem::new(pointer, problem.code(), problem.to_string())
            })
            .collect()),
    }
}

impl WrittenProblem {
    fn new(pointer: String, code: &'static str, message: String) -> Self {
        Self { pointer, code, message, hint: hint::of(code) }
    }
}

/// What stands beside the graph.
struct Beside {
    triggers: Vec<Trigger>,
    concurrency: Option<Concurrency>,
    places: Places,
}

impl Reader<'_> {
    fn document(&mut self, document: &Value) -> Option<(FlowGraph, Beside)> {
        if self.words.is_short { self.short(document) } else { self.long(document) }
    }

    fn short(&mut self, document: &Value) -> Option<(FlowGraph, Beside)> {
        let known = [
            "version",
            "action",
            "description",
            "on",
            "when",
            "seeds",
            "steps",
            "output",
            "on_failure",
            "concurrency",
        ];
        let root = self.members(document, "", &known)?;
        self.version(root);
        let triggers = self.events(root);
        let mut graph = self.graph(root, "", root.get("action").and_then(Value::as_str));
        self.on_failure(root, &mut graph);
        self.rest(root, "", root, "", triggers, graph)
    }

    fn long(&mut self, document: &Value) -> Option<(FlowGraph, Beside)> {
        let root = self.members(document, "", &["version", "action"])?;
        self.version(root);
        let action = self.needed(root, "", "action")?;
        let known = [
            "name",
            "description",
            "triggers",
            "seeds",
            "workflow",
            "output",
            "error_handling",
            "concurrency",
        ];
        let action = self.members(action, "/action", &known)?;
        let name = self.needed_text(action, "/action", "name");
        let triggers = self.triggers(action);
        let mut graph = self.graph(action, "/action", name);
        self.error_handling(action, &mut graph);
        let workflow = self.needed(action, "/action", "workflow")?;
        let workflow = self.members(workflow, "/action/workflow", &["steps"])?;
        self.rest(action, "/action", workflow, "/action/workflow", triggers, graph)
    }

    /// What both forms have: the steps, and how many runs go on at once.
    fn rest(
        &mut self,
        action: &Map<String, Value>,
        at: &str,
        workflow: &Map<String, Value>,
        workflow_at: &str,
        triggers: Vec<Trigger>,
        mut graph: FlowGraph,
    ) -> Option<(FlowGraph, Beside)> {
        let concurrency = self.concurrency(action, at);
        let raw = self.steps(workflow, workflow_at);
        let mut places = Places::new(at, format!("{workflow_at}/steps"), self.words);
        self.connect(raw, &mut graph, &mut places);
        Some((graph, Beside { triggers, concurrency, places }))
    }

    /// A graph without its steps.
    fn graph(&mut self, action: &Map<String, Value>, at: &str, name: Option<&str>) -> FlowGraph {
        let output = action.get("output").cloned();
        if let Some(output) = &output {
            self.template(output, &format!("{at}/output"));
        }
        FlowGraph {
            name: name.unwrap_or_default().to_owned(),
            description: self.text(action, at, "description").map(str::to_owned),
            steps: BTreeMap::new(),
            edges: Vec::new(),
            on_failure: FailureImpact::Abort,
            max_total_retries: None,
            dead_letter: None,
            seeds: self.keys(action, at, "seeds"),
            output,
        }
    }

    fn version(&mut self, root: &Map<String, Value>) {
        let Some(given) = root.get("version") else { return };
        if given.as_u64() != Some(VERSION) {
            let message = format!("version is {VERSION}, not {given}");
            self.wrong("/version".to_owned(), "workflow.version", message);
        }
    }

    fn triggers(&mut self, action: &Map<String, Value>) -> Vec<Trigger> {
        let mut triggers = Vec::new();
        for (index, trigger) in self.list(action, "/action", "triggers").iter().enumerate() {
            let at = format!("/action/triggers/{index}");
            let known = ["event_pattern", "conditions"];
            let Some(trigger) = self.members(trigger, &at, &known) else { continue };
            let Some(pattern) = self.needed_text(trigger, &at, "event_pattern") else { continue };
            let condition = self.condition(trigger.get("conditions"), &at, "conditions");
            triggers.extend(self.trigger(pattern, format!("{at}/event_pattern"), condition));
        }
        triggers
    }

    /// `on`: one pattern, or several, each with a condition of its own. `when` is for those that
    /// have none.
    fn events(&mut self, root: &Map<String, Value>) -> Vec<Trigger> {
        let shared = self.condition(root.get("when"), "", "when");
        let many = match root.get("on") {
            None => {
                if root.contains_key("when") {
                    let message = "when is said of events, and on names none".to_owned();
                    self.wrong("/when".to_owned(), "workflow.misplaced", message);
                }
                return Vec::new();
            }
            Some(Value::Array(many)) => many.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let is_list = root.get("on").is_some_and(Value::is_array);
        let mut triggers = Vec::new();
        for (index, one) in many.iter().enumerate() {
            let at = if is_list { format!("/on/{index}") } else { "/on".to_owned() };
            if let Some(pattern) = one.as_str() {
                triggers.extend(self.trigger(pattern, at, shared.clone()));
                continue;
            }
            let Some(one) = self.members(one, &at, &["event", "when"]) else { continue };
            let Some(pattern) = self.needed_text(one, &at, "event") else { continue };
            let own = self.condition(one.get("when"), &at, "when");
            let condition = if one.contains_key("when") { own } else { shared.clone() };
            triggers.extend(self.trigger(pattern, format!("{at}/event"), condition));
        }
        triggers
    }

    fn trigger(&mut self, raw: &str, pointer: String, condition: Condition) -> Option<Trigger> {
        match Pattern::parse(raw) {
            Ok(pattern) => Some(Trigger { pattern, condition }),
            Err(error) => {
                self.wrong(pointer, "workflow.event_pattern", error.to_string());
                None
            }
        }
    }

    /// What events must satisfy. Without one, all do.
    fn condition(&mut self, value: Option<&Value>, at: &str, name: &str) -> Condition {
        let Some(value) = value else { return Condition::default() };
        let condition = Condition(value.clone());
        let pointer = format!("{at}/{name}");
        if let Err(error) = condition.parse() {
            let pointer = format!("{pointer}{}", error.pointer);
            self.wrong(pointer, "workflow.condition", error.to_string());
            return condition;
        }
        match value {
            Value::String(text) => self.expression(text, &pointer),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(text) = item.as_str() {
                        self.expression(text, &format!("{pointer}/{index}"));
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
        }
        condition
    }

    fn error_handling(&mut self, action: &Map<String, Value>, graph: &mut FlowGraph) {
        let at = "/action/error_handling";
        let Some(value) = action.get("error_handling") else { return };
        let known = ["strategy", "max_total_retries", "deadletter_action"];
        let Some(members) = self.members(value, at, &known) else { return };
        let strategy = self.text(members, at, "strategy").unwrap_or("fail_fast");
        self.strategy(strategy, format!("{at}/strategy"), graph);
        self.total_retries(members, at, graph);
        let dead_letter = self.text(members, at, "deadletter_action");
        if dead_letter.is_none() && strategy == "retry_then_deadletter" {
            let message = "retry_then_deadletter needs a deadletter_action".to_owned();
            self.wrong(at.to_owned(), "workflow.missing", message);
        }
        graph.dead_letter =
            dead_letter.and_then(|raw| self.action_name(raw, &format!("{at}/deadletter_action")));
    }

    /// `on_failure`: a strategy, or an object with it, the budget of retries, and what is called
    /// then.
    fn on_failure(&mut self, root: &Map<String, Value>, graph: &mut FlowGraph) {
        let at = "/on_failure";
        match root.get("on_failure") {
            None => {}
            Some(Value::String(strategy)) => self.strategy(strategy, at.to_owned(), graph),
            Some(value) => {
                let known = ["strategy", "max_total_retries", "then"];
                let Some(members) = self.members(value, at, &known) else { return };
                let strategy = self.text(members, at, "strategy").unwrap_or("fail_fast");
                self.strategy(strategy, format!("{at}/strategy"), graph);
                self.total_retries(members, at, graph);
                let then = self.text(members, at, "then");
                graph.dead_letter =
                    then.and_then(|raw| self.action_name(raw, &format!("{at}/then")));
            }
        }
    }

    fn strategy(&mut self, word: &str, pointer: String, graph: &mut FlowGraph) {
        graph.on_failure = match word {
            "fail_fast" | "retry_then_deadletter" => FailureImpact::Abort,
            "continue" => FailureImpact::SkipDependents,
            "compensate" => FailureImpact::Compensate,
            other => {
                let message = format!(
                    "strategy is fail_fast, continue, retry_then_deadletter or compensate, not {other:?}"
                );
                return self.wrong(pointer, "workflow.strategy", message);
            }
        };
    }

    fn total_retries(&mut self, members: &Map<String, Value>, at: &str, graph: &mut FlowGraph) {
        graph.max_total_retries = self.whole(members, at, "max_total_retries");
    }
}

/// Whether a problem is one of the graph's size, which is told before anything else is looked at.
fn size_problem(steps: usize, links: usize) -> Option<FlowProblem> {
    if steps > FLOW_STEPS_MAX {
        return Some(FlowProblem::Steps { given: steps });
    }
    (links > FLOW_EDGES_MAX).then_some(FlowProblem::Edges { given: links })
}

#[cfg(test)]
mod tests;
