//! Takes values apart, and takes down what is wrong with them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{WrittenProblem, duration};
use crate::action::ActionName;
use crate::flow::expression::Syntax;
use crate::flow::graph::{StepName, Target};

/// What the members of a step are called.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) is_short: bool,
    pub(super) input: &'static str,
    pub(super) condition: &'static str,
    pub(super) retry: &'static str,
    pub(super) depends_on: &'static str,
    pub(super) compensation: &'static str,
}

const LONG: Words = Words {
    is_short: false,
    input: "input_mapping",
    condition: "condition",
    retry: "retry_policy",
    depends_on: "depends_on",
    compensation: "compensation",
};

const SHORT: Words = Words {
    is_short: true,
    input: "with",
    condition: "if",
    retry: "retry",
    depends_on: "after",
    compensation: "undo",
};

pub(super) struct Reader<'s> {
    pub(super) problems: Vec<WrittenProblem>,
    pub(super) words: &'static Words,
    syntax: &'s dyn Syntax,
}

/// A name with its place.
pub(super) type Named = (StepName, String);

impl<'s> Reader<'s> {
    /// In the short form the action is a name.
    pub(super) fn new(document: &Value, syntax: &'s dyn Syntax) -> Self {
        let is_short = document.get("action").is_some_and(Value::is_string);
        let words = if is_short { &SHORT } else { &LONG };
        Self { problems: Vec::new(), words, syntax }
    }

    pub(super) fn wrong(&mut self, pointer: String, code: &'static str, message: String) {
        self.problems.push(WrittenProblem::new(pointer, code, message));
    }

    /// The members of an object, all of which have to be known.
    pub(super) fn members<'v>(
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
            let pointer = format!("{at}/{}", escaped(name));
            let message = format!("{name:?} is not known here; there are {}", known.join(", "));
            self.wrong(pointer, "workflow.unknown_field", message);
        }
        Some(members)
    }

    pub(super) fn needed<'v>(
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

    pub(super) fn needed_text<'v>(
        &mut self,
        members: &'v Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<&'v str> {
        self.needed(members, at, name)?;
        self.text(members, at, name)
    }

    pub(super) fn text<'v>(
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

    pub(super) fn whole(
        &mut self,
        members: &Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<u32> {
        let value = members.get(name)?;
        let whole = value.as_u64().and_then(|count| u32::try_from(count).ok());
        if whole.is_none() {
            let message = format!("{name} is a whole number, not {value}");
            self.wrong(format!("{at}/{name}"), "workflow.type", message);
        }
        whole
    }

    pub(super) fn list<'v>(
        &mut self,
        members: &'v Map<String, Value>,
        at: &str,
        name: &str,
    ) -> &'v [Value] {
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

    /// Names of steps: a list, or one of them.
    pub(super) fn names(
        &mut self,
        members: &Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Vec<Named> {
        let at = format!("{at}/{name}");
        match members.get(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let mut named = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    named.extend(self.step_name(item, format!("{at}/{index}")));
                }
                named
            }
            Some(one) => self.step_name(one, at).into_iter().collect(),
        }
    }

    pub(super) fn step_name(&mut self, value: &Value, pointer: String) -> Option<Named> {
        if let Some(Ok(step)) = value.as_str().map(StepName::parse) {
            return Some((step, pointer));
        }
        let message = format!("expected the name of a step, not {value}");
        self.wrong(pointer, "workflow.step_name", message);
        None
    }

    /// Keys of the context: a list, or one of them.
    pub(super) fn keys(
        &mut self,
        members: &Map<String, Value>,
        at: &str,
        name: &str,
    ) -> BTreeSet<String> {
        let one = members.get(name).filter(|value| value.is_string());
        let items = one.map_or_else(|| self.list(members, at, name), std::slice::from_ref);
        let mut keys = BTreeSet::new();
        for item in items {
            match item.as_str().filter(|key| !key.is_empty()) {
                Some(key) => {
                    keys.insert(key.to_owned());
                }
                None => {
                    let message = format!("{name} has keys of the context, not {item}");
                    self.wrong(format!("{at}/{name}"), "workflow.type", message);
                }
            }
        }
        keys
    }

    pub(super) fn action_name(&mut self, raw: &str, pointer: &str) -> Option<Target> {
        match ActionName::parse(raw) {
            Ok(name) => Some(Target::Action(name)),
            Err(error) => {
                self.wrong(pointer.to_owned(), "workflow.action", error.to_string());
                None
            }
        }
    }

    pub(super) fn duration(
        &mut self,
        members: &Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<Duration> {
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

    /// An expression that stands under this name, without braces around it.
    pub(super) fn expression_of(
        &mut self,
        members: &Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<String> {
        let text = without_braces(self.text(members, at, name)?);
        self.expression(&text, &format!("{at}/{name}"));
        Some(text)
    }

    pub(super) fn expression(&mut self, text: &str, pointer: &str) {
        if let Err(why) = self.syntax.expression(text) {
            let message = format!("this is no expression: {why}");
            self.wrong(pointer.to_owned(), "flow.expression", message);
        }
    }

    /// Judges all texts of a template, each at its own place.
    pub(super) fn template(&mut self, value: &Value, pointer: &str) {
        match value {
            Value::String(text) => {
                let judged = balanced(text).and_then(|()| self.syntax.template(text));
                if let Err(why) = judged {
                    let message = format!("this cannot be filled in: {why}");
                    self.wrong(pointer.to_owned(), "flow.template", message);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.template(item, &format!("{pointer}/{index}"));
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.template(member, &format!("{pointer}/{}", escaped(name)));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// A name as a part of a JSON pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether each place that is opened is closed, in whatever language.
fn balanced(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some((_, inner)) = rest.split_once("{{") {
        let Some((_, after)) = inner.split_once("}}") else {
            return Err("a place that begins with {{ has no }} at its end".to_owned());
        };
        rest = after;
    }
    Ok(())
}

/// Braces around all of a condition say what is clear anyway.
fn without_braces(condition: &str) -> String {
    let inner = condition.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    inner.map_or(condition, |inner| inner).trim().to_owned()
}
