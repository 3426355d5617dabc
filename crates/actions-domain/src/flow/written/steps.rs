//! The steps of a workflow as they were written, before it is known what they come after.

use std::time::Duration;

use serde_json::{Map, Value};

use super::reader::{Named, Reader, escaped};
use super::size_problem;
use crate::execution::Priority;
use crate::flow::graph::{Contract, FailureImpact, Repeat, Step, StepName};
use crate::retry::RetryPolicy;

/// A step as it was written.
pub(super) struct Raw {
    pub(super) name: StepName,
    /// Where it stands.
    pub(super) at: String,
    pub(super) step: Step,
    pub(super) delay: Option<Duration>,
    pub(super) depends_on: Vec<Named>,
    pub(super) parallel_with: Vec<Named>,
    pub(super) turn: Turn,
}

/// What a step has to say about who comes after it.
pub(super) enum Turn {
    Nothing,
    /// The first way whose guard holds.
    Choice(Vec<Way>),
    /// Those who depend on it, when it is granted.
    Approval {
        count: u32,
        otherwise: Option<Named>,
    },
}

pub(super) struct Way {
    pub(super) to: StepName,
    pub(super) guard: Option<String>,
    pub(super) pointer: String,
}

/// Rounds of a step that says nothing of them.
const ROUNDS: u32 = 60;

impl Reader<'_> {
    pub(super) fn steps(&mut self, workflow: &Map<String, Value>, at: &str) -> Vec<Raw> {
        let steps = self.list(workflow, at, "steps");
        let at = format!("{at}/steps");
        // Much too large: looking at it more closely would only cost time.
        let links: usize = steps.iter().map(|step| self.links(step)).sum();
        if let Some(problem) = size_problem(steps.len(), links) {
            self.wrong(at, problem.code(), problem.to_string());
            return Vec::new();
        }
        let mut raw: Vec<Raw> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let at = format!("{at}/{index}");
            let read = if self.words.is_short {
                self.short_step(step, &at)
            } else {
                self.long_step(step, &at)
            };
            let Some(step) = read else { continue };
            if raw.iter().any(|known| known.name == step.name) {
                let message = format!("there are two steps called {}", step.name);
                let name = if self.words.is_short { "" } else { "/name" };
                self.wrong(format!("{}{name}", step.at), "workflow.duplicate_step", message);
            }
            raw.push(step);
        }
        raw
    }

    /// How many steps it is connected with, whatever they are.
    fn links(&self, step: &Value) -> usize {
        let step = if self.words.is_short {
            step.as_object().and_then(|members| members.values().next()).unwrap_or(step)
        } else {
            step
        };
        let lists = [self.words.depends_on, "parallel_with"].map(|list| step.get(list));
        lists.iter().flatten().filter_map(|list| list.as_array()).map(Vec::len).sum()
    }

    fn long_step(&mut self, value: &Value, at: &str) -> Option<Raw> {
        let members = self.step_members(value, at)?;
        let name = self.needed_text(members, at, "name");
        self.step(name?, &format!("{at}/name"), members, at)
    }

    /// `- name: { … }`.
    fn short_step(&mut self, value: &Value, at: &str) -> Option<Raw> {
        let members = value.as_object().filter(|members| members.len() == 1);
        let Some((name, step)) = members.and_then(|members| members.iter().next()) else {
            let message = "a step is one name with what it does: `- name: { … }`".to_owned();
            self.wrong(at.to_owned(), "workflow.type", message);
            return None;
        };
        let at = format!("{at}/{}", escaped(name));
        let members = self.step_members(step, &at)?;
        self.step(name, &at, members, &at)
    }

    fn step_members<'v>(&mut self, value: &'v Value, at: &str) -> Option<&'v Map<String, Value>> {
        let words = self.words;
        let own = [words.input, words.condition, words.retry, words.depends_on, words.compensation];
        let shared = [
            "description",
            "handler",
            "action",
            "workflow",
            "wait",
            "wait_until",
            "signal",
            "approval",
            "choose",
            "gate",
            "config",
            "key",
            "each",
            "limit",
            "failures_max",
            "until",
            "every",
            "rounds",
            "timeout",
            "delay",
            "parallel_with",
            "on_failure",
            "priority",
            "requires",
            "produces",
            "strict",
        ];
        let name = if words.is_short { None } else { Some("name") };
        let known: Vec<&str> = name.into_iter().chain(own).chain(shared).collect();
        self.members(value, at, &known)
    }

    fn step(
        &mut self,
        name: &str,
        name_at: &str,
        members: &Map<String, Value>,
        at: &str,
    ) -> Option<Raw> {
        let words = self.words;
        let name = StepName::parse(name);
        let does = self.does(members, at, name.as_ref().ok());
        self.placing(members, at);
        let condition = self.expression_of(members, at, words.condition);
        let retry = self.retry(members, at);
        let timeout = self.duration(members, at, "timeout");
        let delay = self.duration(members, at, "delay");
        let depends_on = self.names(members, at, words.depends_on);
        let parallel_with = self.names(members, at, "parallel_with");
        let on_failure = self.impact(members, at);
        let repeat = self.repeat(members, at);
        let compensation = members.get(words.compensation).and_then(|value| {
            let at = format!("{at}/{}", words.compensation);
            let members =
                self.members(value, &at, &["handler", "action", words.input, "config"])?;
            self.call(members, &at)
        });
        let description = self.text(members, at, "description").map(str::to_owned);
        let priority = self.priority(members, at);
        let contract = self.contract(members, at);
        let name = match name {
            Ok(name) => name,
            Err(error) => {
                self.wrong(name_at.to_owned(), "workflow.step_name", error.to_string());
                return None;
            }
        };
        // Less than a second is not nothing.
        let seconds = timeout.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0));
        let timeout_seconds = seconds.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        let (does, turn) = does?;
        let step = Step {
            description,
            condition,
            priority,
            retry,
            timeout_seconds,
            on_failure,
            repeat,
            compensation,
            contract,
            ..Step::new(does)
        };
        Some(Raw { name, at: at.to_owned(), step, delay, depends_on, parallel_with, turn })
    }

    /// Members that mean nothing without another one.
    fn placing(&mut self, members: &Map<String, Value>, at: &str) {
        let input = self.words.input;
        let needs: [(&str, &[&str]); 7] = [
            (input, &["handler", "action", "workflow"]),
            ("key", &["handler", "action"]),
            ("limit", &["each"]),
            ("failures_max", &["each"]),
            ("every", &["until"]),
            ("rounds", &["until"]),
            ("strict", &["produces"]),
        ];
        for (member, beside) in needs {
            let is_alone = !beside.iter().any(|other| members.contains_key(*other));
            if members.contains_key(member) && is_alone {
                let message = format!("{member} stands beside {}", beside.join(" or "));
                self.wrong(format!("{at}/{member}"), "workflow.misplaced", message);
            }
        }
    }

    /// A number of retries, the name of a preset, or a policy of which only some members are
    /// written; the others are those of the default.
    fn retry(&mut self, step: &Map<String, Value>, at: &str) -> Option<RetryPolicy> {
        let name = self.words.retry;
        let pointer = format!("{at}/{name}");
        let policy = match step.get(name)? {
            Value::Object(written) => merged(written),
            Value::String(preset) => RetryPolicy::preset(preset).ok_or_else(|| {
                format!("there is no preset {preset:?}; there are default, aggressive, conservative and no_retry")
            }),
            Value::Number(number) => {
                let count = number.as_u64().and_then(|count| u32::try_from(count).ok());
                let policy = RetryPolicy::default();
                // What is no count is too many.
                Ok(RetryPolicy { max_retries: count.unwrap_or(u32::MAX), ..policy })
            }
            Value::Null | Value::Bool(_) | Value::Array(_) => {
                let message = format!(
                    "{name} is a number of retries, a preset, or an object such as max_retries: 3"
                );
                self.wrong(pointer, "workflow.type", message);
                return None;
            }
        };
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

    fn priority(&mut self, step: &Map<String, Value>, at: &str) -> Option<Priority> {
        let word = self.text(step, at, "priority")?;
        let priority = serde_json::from_value(Value::from(word)).ok();
        if priority.is_none() {
            let message =
                format!("priority is low, normal, high, very_high or critical, not {word:?}");
            self.wrong(format!("{at}/priority"), "workflow.priority", message);
        }
        priority
    }

    fn repeat(&mut self, step: &Map<String, Value>, at: &str) -> Option<Repeat> {
        let until = self.expression_of(step, at, "until")?;
        let every = self.duration(step, at, "every").unwrap_or_default();
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let rounds_max = self.whole(step, at, "rounds").unwrap_or(ROUNDS);
        Some(Repeat { until, every_ms, rounds_max })
    }

    fn contract(&mut self, step: &Map<String, Value>, at: &str) -> Contract {
        let strict = match step.get("strict") {
            None => false,
            Some(Value::Bool(strict)) => *strict,
            Some(value) => {
                let message = format!("strict is true or false, not {value}");
                self.wrong(format!("{at}/strict"), "workflow.type", message);
                false
            }
        };
        let requires = self.keys(step, at, "requires");
        let produces = self.keys(step, at, "produces");
        Contract { requires, produces, strict, ..Contract::default() }
    }
}

fn merged(written: &Map<String, Value>) -> Result<RetryPolicy, String> {
    let mut all = serde_json::to_value(RetryPolicy::default()).unwrap_or_default();
    if let Value::Object(members) = &mut all {
        if written.contains_key("backoff_type") {
            members.remove("backoff");
        }
        members.extend(written.clone());
    }
    serde_json::from_value(all).map_err(|error| error.to_string())
}
