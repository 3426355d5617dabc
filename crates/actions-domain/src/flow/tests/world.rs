//! Everything around a run: who performs its steps, its clock, and a small language.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::Timestamp;
use crate::execution::Fault;
use crate::flow::checked::Flow;
use crate::flow::decide::{CallResult, Command, Input, Refusal, Start, Turn, decide};
use crate::flow::expression::{Expressions, Scope};
use crate::flow::graph::{
    Call, Does, Edge, FailureImpact, FlowGraph, KeyTemplate, Step, StepName, Target,
};
use crate::flow::journal::{CallId, Entry, What};
use crate::flow::run::{Run, StepStatus};
use crate::json::Json;
use crate::retry::Jitter;
use crate::work::KeyMode;

/// Expressions are `true`, `false`, `error`, or a path, with `!` or `== word`. Templates are
/// `{{ path }}`.
pub(super) struct Plain;

impl Expressions for Plain {
    fn holds(&self, expression: &str, scope: &Scope<'_>) -> Result<bool, String> {
        match expression {
            "true" => return Ok(true),
            "false" => return Ok(false),
            "error" => return Err("no answer".to_owned()),
            _ => {}
        }
        let all = scope.to_value();
        if let Some((path, word)) = expression.split_once(" == ") {
            return Ok(find(&all, path)?.as_str() == Some(word));
        }
        if let Some(path) = expression.strip_prefix('!') {
            return Ok(find(&all, path)?.as_bool() == Some(false));
        }
        find(&all, expression)?.as_bool().ok_or_else(|| format!("{expression} is no boolean"))
    }

    fn fill(&self, template: &Value, scope: &Scope<'_>) -> Result<Json, String> {
        filled(template, &scope.to_value()).map(|value| Json::from_value(&value))
    }

    fn name(&self, text: &str, scope: &Scope<'_>) -> Result<String, String> {
        let all = scope.to_value();
        let mut name = String::new();
        for (index, part) in text.split('{').enumerate() {
            match part.split_once('}').filter(|_| index > 0) {
                Some((path, rest)) => {
                    let value = find(&all, path)?;
                    name.push_str(value.as_str().unwrap_or(&value.to_string()));
                    name.push_str(rest);
                }
                None => name.push_str(part),
            }
        }
        Ok(name)
    }
}

fn filled(template: &Value, all: &Value) -> Result<Value, String> {
    Ok(match template {
        Value::String(text) => match text.strip_prefix("{{ ").and_then(|t| t.strip_suffix(" }}")) {
            Some(path) => find(all, path)?.clone(),
            None => template.clone(),
        },
        Value::Array(items) => {
            items.iter().map(|item| filled(item, all)).collect::<Result<_, _>>()?
        }
        Value::Object(members) => {
            let each = members.iter().map(|(name, value)| Ok((name.clone(), filled(value, all)?)));
            Value::Object(each.collect::<Result<_, String>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    })
}

fn find<'v>(all: &'v Value, path: &str) -> Result<&'v Value, String> {
    let found = path.split('.').try_fold(all, |value, word| value.get(word));
    found.ok_or_else(|| format!("there is no {path}"))
}

pub(super) fn name(raw: &str) -> StepName {
    StepName::parse(raw).unwrap()
}

pub(super) fn call(action: &str) -> Call {
    Call {
        target: Target::Action(crate::action::ActionName::parse(action).unwrap()),
        input: Value::Null,
        is_literal: false,
        key: None,
    }
}

pub(super) fn action() -> Step {
    Step::new(Does::Action(call("act")))
}

/// A step that can be undone, by an action that is called after it.
pub(super) fn undoable(raw: &str) -> Step {
    Step { compensation: Some(call(&format!("undo.{raw}"))), ..action() }
}

pub(super) fn keyed(text: &str) -> Step {
    let key = Some(KeyTemplate { text: text.to_owned(), mode: KeyMode::Mutate });
    Step::new(Does::Action(Call { key, ..call("act") }))
}

pub(super) fn impact(step: Step, impact: FailureImpact) -> Step {
    Step { on_failure: Some(impact), ..step }
}

/// A graph with these ways, each as `a > b`, or with a guard as `a > b if guard`.
pub(super) fn graph<const N: usize>(steps: [(&str, Step); N], ways: &[&str]) -> FlowGraph {
    let edge = |way: &&str| {
        let (ends, guard) = match way.split_once(" if ") {
            Some((ends, guard)) => (ends, Some(guard.to_owned())),
            None => (*way, None),
        };
        let (from, to) = ends.split_once(" > ").unwrap();
        Edge { guard, ..Edge::explicit(name(from), name(to)) }
    };
    FlowGraph {
        name: "flow".to_owned(),
        description: None,
        steps: steps.into_iter().map(|(raw, step)| (name(raw), step)).collect(),
        edges: ways.iter().map(edge).collect(),
        on_failure: FailureImpact::Abort,
        max_total_retries: None,
        dead_letter: None,
        seeds: BTreeSet::new(),
        output: None,
    }
}

pub(super) fn json_text(value: Value) -> Json {
    Json::from_value(&value)
}

/// A run with everything that it asked for.
pub(super) struct World {
    pub(super) flow: Flow,
    pub(super) run: Run,
    pub(super) journal: Vec<Entry>,
    pub(super) now: Timestamp,
    /// All executions that were ever started.
    pub(super) starts: Vec<Start>,
    pub(super) commands: Vec<Command>,
}

impl World {
    pub(super) fn new(graph: FlowGraph) -> Self {
        let flow = Flow::check(graph).unwrap_or_else(|problems| panic!("{problems:?}"));
        Self {
            flow,
            run: Run::default(),
            journal: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
            starts: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// A run that has started, with an input.
    pub(super) fn started_with(graph: FlowGraph, input: Value) -> Self {
        let mut world = Self::new(graph);
        world.start(input);
        world
    }

    pub(super) fn started(graph: FlowGraph) -> Self {
        Self::started_with(graph, json!({}))
    }

    pub(super) fn start(&mut self, input: Value) {
        let input = json_text(input);
        self.tell(Input::Start { input, context: BTreeMap::new(), depth: 0 });
    }

    /// Takes an input, and checks that the history says what is so.
    pub(super) fn tell(&mut self, input: Input) -> Turn {
        self.try_tell(input).unwrap()
    }

    pub(super) fn try_tell(&mut self, input: Input) -> Result<Turn, Refusal> {
        let before = self.run.clone();
        let answer = self.try_tell_light(input);
        if answer.is_err() {
            assert_eq!(before, self.run, "a refusal changes nothing");
        }
        assert_eq!(Run::replay(&self.journal), self.run);
        answer
    }

    /// Without looking at everything again: for tests that tell it thousands of things.
    pub(super) fn try_tell_light(&mut self, input: Input) -> Result<Turn, Refusal> {
        let turn = decide(&self.flow, &mut self.run, input, self.now, &Plain)?;
        self.journal.extend(turn.entries.iter().cloned());
        self.commands.extend(turn.commands.iter().cloned());
        for command in &turn.commands {
            if let Command::Start(start) = command {
                self.starts.push(start.clone());
            }
        }
        Ok(turn)
    }

    /// The call of a step that is open, and of an item of it as `step[0]`.
    pub(super) fn call_of(&self, place: &str) -> CallId {
        let found = self.run.calls().find(|(_, call)| shown(&call.place) == place);
        found.unwrap_or_else(|| panic!("{place} is not open: {:?}", self.open())).0
    }

    /// What is open.
    pub(super) fn open(&self) -> Vec<String> {
        let mut open: Vec<String> = self.run.calls().map(|(_, call)| shown(&call.place)).collect();
        open.sort();
        open
    }

    pub(super) fn complete(&mut self, place: &str) -> Turn {
        self.complete_with(place, json!(null))
    }

    pub(super) fn complete_with(&mut self, place: &str, output: Value) -> Turn {
        let result = CallResult::Completed { output: json_text(output), context: BTreeMap::new() };
        self.end(place, result)
    }

    pub(super) fn fail(&mut self, place: &str) -> Turn {
        self.end(place, failed())
    }

    pub(super) fn end(&mut self, place: &str, result: CallResult) -> Turn {
        let call = self.call_of(place);
        self.tell(Input::Ended { call, result })
    }

    pub(super) fn fire(&mut self, place: &str) -> Turn {
        let call = self.call_of(place);
        self.tell(Input::TimerFired { call })
    }

    pub(super) fn signal(&mut self, name: &str, payload: Value) -> Turn {
        let (name, payload) = (name.to_owned(), json_text(payload));
        self.tell(Input::Signal { name, id: None, payload })
    }

    pub(super) fn status(&self, step: &str) -> StepStatus {
        self.run.status(&name(step))
    }

    pub(super) fn phase(&self) -> &'static str {
        self.run.phase().word()
    }

    /// What was called, in order: a step or item, or what undoes it.
    pub(super) fn called(&self) -> Vec<String> {
        let each = self.starts.iter().map(|start| {
            let place = shown(&start.place);
            if start.is_compensation { format!("undo {place}") } else { place }
        });
        each.collect()
    }

    /// The names of the entries of a turn.
    pub(super) fn names(turn: &Turn) -> Vec<String> {
        turn.entries.iter().map(|entry| entry_name(&entry.what)).collect()
    }
}

pub(super) fn entry_name(what: &What) -> String {
    let written = serde_json::to_value(what).unwrap();
    let named = written.as_object().and_then(|members| members.keys().next());
    named.map_or_else(|| written.as_str().unwrap().to_owned(), Clone::clone)
}

pub(super) fn shown(place: &crate::flow::journal::Place) -> String {
    match place.item {
        Some(item) => format!("{}[{item}]", place.step),
        None => place.step.to_string(),
    }
}

pub(super) fn failed() -> CallResult {
    let fault = Fault::handler("http.status", "it answered 500");
    CallResult::Failed { fault, may_retry: true, jitter: Jitter::ZERO }
}
