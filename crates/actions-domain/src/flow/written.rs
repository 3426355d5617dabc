//! Workflows as people write them down: the founding form of YAML, already parsed into values.
//!
//! ```yaml
//! action:
//!   name: premium_onboarding
//!   triggers:
//!     - event_pattern: users.created
//!       conditions: ["event.data.tier == 'premium'"]
//!   workflow:
//!     steps:
//!       - name: check
//!         handler: validation.user
//!         input_mapping: { user: "{{ event.data }}" }
//!       - name: setup
//!         handler: premium.features
//!         depends_on: [check]
//!         condition: "{{ steps.check.output.is_valid }}"
//!   error_handling: { strategy: compensate }
//! ```
//!
//! Nothing here knows lines and columns: a problem names its place as a JSON pointer, for whoever
//! parsed the text.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

use super::checked::{Flow, Hints};
use super::graph::{Call, Does, Edge, FailureImpact, FlowGraph, Step, StepName, Target, Wait};
use super::problem::FlowProblem;
use crate::action::{ActionName, HandlerId};
use crate::limits::{FLOW_EDGES_MAX, FLOW_STEPS_MAX};
use crate::matching::condition::Condition;
use crate::matching::pattern::Pattern;
use crate::retry::RetryPolicy;

mod duration;

/// What was written down: a workflow, and when it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub flow: Flow,
    pub triggers: Vec<Trigger>,
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
    /// A JSON pointer.
    pub pointer: String,
    /// Stable, for programs.
    pub code: &'static str,
    pub message: String,
}

/// Reads a workflow in the founding form.
///
/// A step comes after those that it `depends_on`. One that is `parallel_with` others comes after
/// what they come after. A `delay` is a timer before its step, called `<step>-delay`.
///
/// # Errors
/// Everything that is wrong.
pub fn read(document: &Value) -> Result<Written, Vec<WrittenProblem>> {
    let mut reader = Reader { problems: Vec::new() };
    let read = reader.document(document);
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    let Some((graph, triggers, places)) = read else { return Err(reader.problems) };
    let pointer_of = |problem: &FlowProblem| match problem.step().and_then(|s| places.get(s)) {
        Some(index) => format!("{STEPS}/{index}"),
        None => "/action".to_owned(),
    };
    let flow = Flow::check(graph).map_err(|problems| {
        let each = problems.iter().map(|problem| WrittenProblem {
            pointer: pointer_of(problem),
            code: problem.code(),
            message: problem.to_string(),
        });
        each.collect::<Vec<_>>()
    })?;
    Ok(Written { flow, triggers })
}

const STEPS: &str = "/action/workflow/steps";

type Places = BTreeMap<StepName, usize>;

/// A step as it was written, before it is known what it comes after.
struct Raw {
    name: StepName,
    step: Step,
    delay: Option<Duration>,
    depends_on: BTreeSet<StepName>,
    parallel_with: BTreeSet<StepName>,
}

struct Reader {
    problems: Vec<WrittenProblem>,
}

impl Reader {
    fn document(&mut self, document: &Value) -> Option<(FlowGraph, Vec<Trigger>, Places)> {
        let root = self.members(document, "", &["action"])?;
        let action = self.needed(root, "", "action")?;
        let known = ["name", "description", "triggers", "workflow", "error_handling"];
        let action = self.members(action, "/action", &known)?;
        let name = self.needed_text(action, "/action", "name");
        let description = self.text(action, "/action", "description");
        let triggers = self.triggers(action);
        let raw = self.steps(action);
        let places: Places =
            (raw.iter().enumerate().rev()).map(|(index, raw)| (raw.name.clone(), index)).collect();
        let mut graph = FlowGraph {
            name: name.unwrap_or_default().to_owned(),
            description: description.map(str::to_owned),
            steps: BTreeMap::new(),
            edges: Vec::new(),
            on_failure: FailureImpact::Abort,
            max_total_retries: None,
            dead_letter: None,
            seeds: BTreeSet::new(),
            output: None,
        };
        self.error_handling(action, &mut graph);
        self.connect(raw, &mut graph);
        Some((graph, triggers, places))
    }

    fn triggers(&mut self, action: &Map<String, Value>) -> Vec<Trigger> {
        let mut triggers = Vec::new();
        for (index, trigger) in self.list(action, "/action", "triggers").iter().enumerate() {
            let at = format!("/action/triggers/{index}");
            let known = ["event_pattern", "conditions"];
            let Some(trigger) = self.members(trigger, &at, &known) else { continue };
            let Some(pattern) = self.needed_text(trigger, &at, "event_pattern") else { continue };
            let condition = Condition(trigger.get("conditions").cloned().unwrap_or_default());
            let is_written = trigger.contains_key("conditions");
            if let Some(error) = condition.parse().err().filter(|_| is_written) {
                let pointer = format!("{at}/conditions{}", error.pointer);
                self.wrong(pointer, "workflow.condition", error.to_string());
            }
            match Pattern::parse(pattern) {
                Ok(pattern) => {
                    let condition = if is_written { condition } else { Condition::default() };
                    triggers.push(Trigger { pattern, condition });
                }
                Err(error) => {
                    let pointer = format!("{at}/event_pattern");
                    self.wrong(pointer, "workflow.event_pattern", error.to_string());
                }
            }
        }
        triggers
    }

    fn steps(&mut self, action: &Map<String, Value>) -> Vec<Raw> {
        let Some(workflow) = self.needed(action, "/action", "workflow") else { return Vec::new() };
        let Some(workflow) = self.members(workflow, "/action/workflow", &["steps"]) else {
            return Vec::new();
        };
        let steps = self.list(workflow, "/action/workflow", "steps").to_vec();
        // Much too large: looking at it more closely would only cost time.
        let links = |step: &Value| {
            let lists = ["depends_on", "parallel_with"].map(|list| step.get(list));
            lists.iter().flatten().filter_map(|list| list.as_array()).map(Vec::len).sum::<usize>()
        };
        let problem = match (steps.len(), steps.iter().map(links).sum()) {
            (given, _) if given > FLOW_STEPS_MAX => Some(FlowProblem::Steps { given }),
            (_, given) if given > FLOW_EDGES_MAX => Some(FlowProblem::Edges { given }),
            _ => None,
        };
        if let Some(problem) = problem {
            self.wrong(STEPS.to_owned(), problem.code(), problem.to_string());
            return Vec::new();
        }
        let mut raw: Vec<Raw> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let at = format!("{STEPS}/{index}");
            let Some(step) = self.step(step, &at) else { continue };
            if raw.iter().any(|known| known.name == step.name) {
                let message = format!("there are two steps called {}", step.name);
                self.wrong(format!("{at}/name"), "workflow.duplicate_step", message);
            }
            raw.push(step);
        }
        raw
    }

    fn step(&mut self, value: &Value, at: &str) -> Option<Raw> {
        let known = [
            "name",
            "description",
            "handler",
            "action",
            "input_mapping",
            "config",
            "condition",
            "retry_policy",
            "timeout",
            "delay",
            "depends_on",
            "parallel_with",
            "on_failure",
            "compensation",
        ];
        let step = self.members(value, at, &known)?;
        let name = self.needed_text(step, at, "name").map(StepName::parse);
        let call = self.call(step, at);
        let condition = self.text(step, at, "condition").map(without_braces);
        let retry = self.retry(step, at);
        let timeout = self.duration(step, at, "timeout");
        let delay = self.duration(step, at, "delay");
        let depends_on = self.names(step, at, "depends_on");
        let parallel_with = self.names(step, at, "parallel_with");
        let on_failure = self.impact(step, at);
        let compensation = step.get("compensation").and_then(|value| {
            let at = format!("{at}/compensation");
            let known = ["handler", "action", "input_mapping", "config"];
            let members = self.members(value, &at, &known)?;
            self.call(members, &at)
        });
        let description = self.text(step, at, "description").map(str::to_owned);
        let name = match name? {
            Ok(name) => name,
            Err(error) => {
                self.wrong(format!("{at}/name"), "workflow.step_name", error.to_string());
                return None;
            }
        };
        // Less than a second is not nothing.
        let seconds = timeout.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0));
        let timeout_seconds = seconds.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        let step = Step {
            description,
            condition,
            retry,
            timeout_seconds,
            on_failure,
            compensation,
            ..Step::new(Does::Action(call?))
        };
        Some(Raw { name, step, delay, depends_on, parallel_with })
    }

    fn call(&mut self, members: &Map<String, Value>, at: &str) -> Option<Call> {
        let input = members.get("input_mapping").cloned().unwrap_or_default();
        if !(input.is_null() || input.is_object()) {
            let message = "input_mapping is an object: names, and templates of their values";
            self.wrong(format!("{at}/input_mapping"), "workflow.type", message.to_owned());
        }
        let config = members.get("config").cloned().unwrap_or_default();
        let (handler, action) =
            (self.text(members, at, "handler"), self.text(members, at, "action"));
        let target = match (handler, action) {
            (Some(raw), None) => match HandlerId::parse(raw) {
                Ok(id) => Some(Target::Handler { id, config }),
                Err(error) => {
                    let pointer = format!("{at}/handler");
                    self.wrong(pointer, "workflow.handler", error.to_string());
                    None
                }
            },
            (None, Some(_)) if !config.is_null() => {
                let message = "an action has its own config; leave it out, or name a handler";
                self.wrong(format!("{at}/config"), "workflow.config", message.to_owned());
                None
            }
            (None, Some(raw)) => self.action_name(raw, &format!("{at}/action")),
            (Some(_), Some(_)) | (None, None) => {
                let message = "name either a handler or an action".to_owned();
                self.wrong(at.to_owned(), "workflow.target", message);
                None
            }
        };
        Some(Call { target: target?, input, is_literal: false, key: None })
    }

    fn action_name(&mut self, raw: &str, pointer: &str) -> Option<Target> {
        match ActionName::parse(raw) {
            Ok(name) => Some(Target::Action(name)),
            Err(error) => {
                self.wrong(pointer.to_owned(), "workflow.action", error.to_string());
                None
            }
        }
    }

    /// A policy of which only some members are written; the others are those of the default.
    fn retry(&mut self, step: &Map<String, Value>, at: &str) -> Option<RetryPolicy> {
        let pointer = format!("{at}/retry_policy");
        let Value::Object(written) = step.get("retry_policy")? else {
            let message = "retry_policy is an object, such as max_retries: 3".to_owned();
            self.wrong(pointer, "workflow.type", message);
            return None;
        };
        let mut all = serde_json::to_value(RetryPolicy::default()).unwrap_or_default();
        if let Value::Object(members) = &mut all {
            if written.contains_key("backoff_type") {
                members.remove("backoff");
            }
            members.extend(written.clone());
        }
        let policy = serde_json::from_value::<RetryPolicy>(all).map_err(|e| e.to_string());
        let checked =
            policy.and_then(|policy| policy.check().map(|()| policy).map_err(|e| e.to_string()));
        checked.map_err(|message| self.wrong(pointer, "workflow.retry_policy", message)).ok()
    }

    fn impact(&mut self, step: &Map<String, Value>, at: &str) -> Option<FailureImpact> {
        let word = self.text(step, at, "on_failure")?;
        let impact = serde_json::from_value(Value::from(word)).ok();
        if impact.is_none() {
            let message =
                format!("on_failure is abort, compensate, skip_dependents or ignore, not {word:?}");
            self.wrong(format!("{at}/on_failure"), "workflow.on_failure", message);
        }
        impact
    }

    fn error_handling(&mut self, action: &Map<String, Value>, graph: &mut FlowGraph) {
        let at = "/action/error_handling";
        let Some(value) = action.get("error_handling") else { return };
        let known = ["strategy", "max_total_retries", "deadletter_action"];
        let Some(members) = self.members(value, at, &known) else { return };
        let strategy = self.text(members, at, "strategy").unwrap_or("fail_fast");
        graph.on_failure = match strategy {
            "fail_fast" | "retry_then_deadletter" => FailureImpact::Abort,
            "continue" => FailureImpact::SkipDependents,
            "compensate" => FailureImpact::Compensate,
            other => {
                let message = format!(
                    "strategy is fail_fast, continue, retry_then_deadletter or compensate, not {other:?}"
                );
                return self.wrong(format!("{at}/strategy"), "workflow.strategy", message);
            }
        };
        if let Some(value) = members.get("max_total_retries") {
            graph.max_total_retries = value.as_u64().and_then(|count| u32::try_from(count).ok());
            if graph.max_total_retries.is_none() {
                let message = format!("max_total_retries is a whole number, not {value}");
                self.wrong(format!("{at}/max_total_retries"), "workflow.type", message);
            }
        }
        let dead_letter = self.text(members, at, "deadletter_action");
        if dead_letter.is_none() && strategy == "retry_then_deadletter" {
            let message = "retry_then_deadletter needs a deadletter_action".to_owned();
            self.wrong(at.to_owned(), "workflow.missing", message);
        }
        graph.dead_letter =
            dead_letter.and_then(|raw| self.action_name(raw, &format!("{at}/deadletter_action")));
    }

    /// Puts the steps into the graph, each with its delay before it, and the ways between them.
    fn connect(&mut self, raw: Vec<Raw>, graph: &mut FlowGraph) {
        self.check_beside(&raw);
        let before = dependencies(&raw);
        for Raw { name, step, delay, .. } in raw {
            let entrance = match delay {
                Some(delay) => {
                    let Ok(timer) = StepName::parse(&format!("{name}-delay")) else {
                        let message =
                            format!("the name {name} is too long for a step with a delay");
                        self.wrong(
                            "/action/workflow/steps".to_owned(),
                            "workflow.step_name",
                            message,
                        );
                        continue;
                    };
                    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    let does = Does::Timer(Wait::ForMs(millis));
                    graph.steps.insert(timer.clone(), Step::new(does));
                    graph.edges.push(Edge::explicit(timer.clone(), name.clone()));
                    timer
                }
                None => name.clone(),
            };
            let froms = before.get(&name).into_iter().flatten();
            graph.edges.extend(froms.map(|from| Edge::explicit(from.clone(), entrance.clone())));
            graph.steps.insert(name, step);
        }
    }

    /// Nothing comes after a step beside which another one runs, so the graph would not show it.
    fn check_beside(&mut self, raw: &[Raw]) {
        let names: BTreeSet<&StepName> = raw.iter().map(|raw| &raw.name).collect();
        let mut hints = Hints::default();
        for (index, raw) in raw.iter().enumerate() {
            for unknown in raw.parallel_with.iter().filter(|other| !names.contains(other)) {
                let problem = FlowProblem::UnknownStep {
                    step: raw.name.clone(),
                    unknown: unknown.clone(),
                    like: hints.similar(unknown, names.iter().copied()),
                };
                let pointer = format!("{STEPS}/{index}/parallel_with");
                self.wrong(pointer, problem.code(), problem.to_string());
            }
        }
    }

    fn wrong(&mut self, pointer: String, code: &'static str, message: String) {
        self.problems.push(WrittenProblem { pointer, code, message });
    }

    /// The members of an object, all of which have to be known.
    fn members<'v>(
        &mut self,
        value: &'v Value,
        at: &str,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let Value::Object(members) = value else {
            let message = format!("expected an object with {}", known.join(", "));
            self.wrong(at.to_owned(), "workflow.type", message);
            return None;
        };
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            let message = format!("{name:?} is not known here; there are {}", known.join(", "));
            self.wrong(pointer, "workflow.unknown_field", message);
        }
        Some(members)
    }

    fn needed<'v>(
        &mut self,
        members: &'v Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<&'v Value> {
        let found = members.get(name);
        if found.is_none() {
            self.wrong(at.to_owned(), "workflow.missing", format!("{name} is missing"));
        }
        found
    }

    fn needed_text<'v>(
        &mut self,
        members: &'v Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<&'v str> {
        self.needed(members, at, name)?;
        self.text(members, at, name)
    }

    fn text<'v>(
        &mut self,
        members: &'v Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<&'v str> {
        let value = members.get(name)?;
        if !value.is_string() {
            let message = format!("{name} is a text, not {value}");
            self.wrong(format!("{at}/{name}"), "workflow.type", message);
        }
        value.as_str()
    }

    fn list<'v>(&mut self, members: &'v Map<String, Value>, at: &str, name: &str) -> &'v [Value] {
        match members.get(name) {
            Some(Value::Array(items)) => items,
            None => &[],
            Some(_) => {
                let message = format!("{name} is a list");
                self.wrong(format!("{at}/{name}"), "workflow.type", message);
                &[]
            }
        }
    }

    fn names(&mut self, members: &Map<String, Value>, at: &str, name: &str) -> BTreeSet<StepName> {
        let mut names = BTreeSet::new();
        for (index, item) in self.list(members, at, name).iter().enumerate() {
            match item.as_str().map(StepName::parse) {
                Some(Ok(step)) => {
                    names.insert(step);
                }
                Some(Err(_)) | None => {
                    let message = format!("expected the name of a step, not {item}");
                    self.wrong(format!("{at}/{name}/{index}"), "workflow.step_name", message);
                }
            }
        }
        names
    }

    fn duration(&mut self, members: &Map<String, Value>, at: &str, name: &str) -> Option<Duration> {
        let value = members.get(name)?;
        let duration = match value {
            Value::Number(number) => number.as_u64().map(Duration::from_secs),
            Value::String(text) => duration::parse(text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        if duration.is_none() {
            let message = format!("{name} is a time such as \"2 hours\", 90s or PT2H, not {value}");
            self.wrong(format!("{at}/{name}"), "workflow.duration", message);
        }
        duration
    }
}

/// What each step comes after: its own dependencies, and those of the steps beside which it runs,
/// which may themselves run beside others.
fn dependencies(raw: &[Raw]) -> BTreeMap<StepName, BTreeSet<StepName>> {
    let by_name: BTreeMap<&StepName, &Raw> = raw.iter().map(|raw| (&raw.name, raw)).collect();
    let before_of = |start: &Raw| {
        let mut beside = BTreeSet::from([&start.name]);
        let mut open = vec![start];
        let mut before = BTreeSet::new();
        while let Some(raw) = open.pop() {
            before.extend(raw.depends_on.iter().cloned());
            let others = raw.parallel_with.iter().filter_map(|other| by_name.get(other));
            open.extend(others.filter(|other| beside.insert(&other.name)));
        }
        before
    };
    raw.iter().map(|raw| (raw.name.clone(), before_of(raw))).collect()
}

/// Braces around all of a condition say what is clear anyway.
fn without_braces(condition: &str) -> String {
    let inner = condition.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    inner.map_or(condition, |inner| inner).trim().to_owned()
}

#[cfg(test)]
mod tests;
