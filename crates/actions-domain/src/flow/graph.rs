//! The shape of a workflow: its steps, and the ways between them.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{ActionName, HandlerId};
use crate::execution::Priority;
use crate::limits::STEP_NAME_BYTES_MAX;
use crate::retry::RetryPolicy;
use crate::work::KeyMode;

/// What is to be done, and in which order. Texts in it are expressions or templates of the
/// caller's language; here they are only passed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowGraph {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub steps: BTreeMap<StepName, Step>,
    /// In any order: they mean the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Edge>,
    /// For steps that say nothing themselves.
    #[serde(default)]
    pub on_failure: FailureImpact,
    /// Retries of all steps together, first come, first served. The policy of each step holds
    /// as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total_retries: Option<u32>,
    /// Called once with the failure when a run has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Target>,
    /// Keys of the context that a run has to be started with.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub seeds: BTreeSet<String>,
    /// A template of what a run leaves behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// The name of a step, unique in its graph: a letter or `_`, then letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepName(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a step is a letter or '_', then letters, digits, '_' or '-', at most {max} bytes, not {raw:?}",
    max = STEP_NAME_BYTES_MAX
)]
pub struct StepNameError {
    raw: String,
}

impl StepName {
    pub fn parse(raw: &str) -> Result<Self, StepNameError> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let starts = raw.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !starts || raw.len() > STEP_NAME_BYTES_MAX || !raw.bytes().all(is_allowed) {
            let raw = raw.chars().take(STEP_NAME_BYTES_MAX).collect();
            return Err(StepNameError { raw });
        }
        Ok(Self(raw.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Borrow<str> for StepName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StepName {
    type Error = StepNameError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

impl From<StepName> for String {
    fn from(name: StepName) -> Self {
        name.as_str().to_owned()
    }
}

/// One thing to do, and how carefully.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub does: Does,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it does not hold, the step is skipped, and what comes after it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// `None`: that of the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// `None`: that of the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Of an action, for each attempt. Of a signal or a workflow, for all of it. Of a map, for
    /// each item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// `None`: as the graph says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<FailureImpact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// Undoes the step after it was completed; of a map, each item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Call>,
    #[serde(default, skip_serializing_if = "Contract::is_empty")]
    pub contract: Contract,
}

impl Step {
    pub fn new(does: Does) -> Self {
        Self {
            does,
            description: None,
            condition: None,
            priority: None,
            retry: None,
            timeout_seconds: None,
            on_failure: None,
            repeat: None,
            compensation: None,
            contract: Contract::default(),
        }
    }
}

/// Does a step again and again, until an expression holds: there are no circles in a graph. What
/// takes several steps is a workflow, which is started again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// An expression, in which `output` is what the round left behind.
    pub until: String,
    /// The pause between two rounds.
    #[serde(default)]
    pub every_ms: u64,
    /// The step fails when it does not hold after so many.
    pub rounds_max: u32,
}

/// What a step is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    Action(Call),
    /// A run of another workflow.
    SubFlow(Child),
    Timer(Wait),
    /// Takes the oldest signal of this name that no other step took.
    WaitSignal {
        signal: String,
    },
    Map(Map),
    /// Goes on as soon as enough of the ways before it are open.
    Gate {
        needs: Needs,
    },
    /// Takes the first of its ways whose guard holds. The last one may have no guard.
    Choice {
        ways: Vec<StepName>,
    },
}

impl Does {
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    pub fn as_gate(&self) -> Option<Needs> {
        if let Self::Gate { needs } = self { Some(*needs) } else { None }
    }

    /// The name of the signal that it waits for.
    pub fn as_signal(&self) -> Option<&str> {
        if let Self::WaitSignal { signal } = self { Some(signal) } else { None }
    }

    /// Whether others perform it, so that it can be undone and takes a while to be cancelled.
    pub fn is_performed(&self) -> bool {
        match self {
            Self::Action(_) | Self::SubFlow(_) | Self::Map(_) => true,
            Self::Timer(_) | Self::WaitSignal { .. } | Self::Gate { .. } | Self::Choice { .. } => {
                false
            }
        }
    }
}

/// A call of an action or of a handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    pub target: Target,
    /// A template. `null`: the run's own input.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// The input is data, and nothing in it is filled in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_literal: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyTemplate>,
}

/// Who performs a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Action(ActionName),
    Handler {
        id: HandlerId,
        #[serde(default, skip_serializing_if = "Value::is_null")]
        config: Value,
    },
}

/// What a step excludes others from while it runs. The text has places such as
/// `order:{input.id}`, which the caller fills in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyTemplate {
    pub text: String,
    #[serde(default)]
    pub mode: KeyMode,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    pub flow: String,
    /// A template. `null`: the run's own input.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
}

/// How long a timer waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    ForMs(u64),
    /// A template of an instant, RFC 3339.
    Until(String),
}

/// The same for each item of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// A template of a list.
    pub items: Value,
    pub body: Body,
    /// Items under way at once. `None`: as many as the run may have open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Items that may fail without the step failing.
    #[serde(default)]
    pub failures_max: u32,
}

/// What is done with an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    Action(Call),
    SubFlow(Child),
}

/// How many of the ways before a gate have to be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    All,
    Any,
    Count(u32),
}

impl Needs {
    pub fn of(self, ways: usize) -> usize {
        match self {
            Self::All => ways,
            Self::Any => 1,
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
        }
    }
}

/// What the failure of a step means for its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureImpact {
    /// Nothing more is started, and the run fails.
    #[default]
    Abort,
    /// Nothing more is started, what was done is undone, and the run fails.
    Compensate,
    /// Steps that depend on it are skipped, others go on. The run fails when they are through.
    SkipDependents,
    /// As if the step had been completed without an output.
    Ignore,
}

/// A way from one step to another one that comes after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    pub from: StepName,
    pub to: StepName,
    /// When it does not hold, the way is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reasons: BTreeSet<Reason>,
}

impl Edge {
    /// A way that somebody asked for.
    pub fn explicit(from: StepName, to: StepName) -> Self {
        Self { from, to, guard: None, reasons: BTreeSet::from([Reason::Explicit]) }
    }
}

/// Why one step comes after another one: `explicit`, or `context:<key>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reason {
    Explicit,
    /// It needs what the other one produces under this key.
    Context(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a reason is explicit or context:<key>, not {raw:?}")]
pub struct ReasonError {
    raw: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explicit => f.write_str("explicit"),
            Self::Context(key) => write!(f, "context:{key}"),
        }
    }
}

impl TryFrom<String> for Reason {
    type Error = ReasonError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        match raw.strip_prefix("context:") {
            Some(key) if !key.is_empty() => Ok(Self::Context(key.to_owned())),
            None if raw == "explicit" => Ok(Self::Explicit),
            Some(_) | None => Err(ReasonError { raw }),
        }
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.to_string()
    }
}

/// What a step takes from the run's context and puts into it, and what it touches.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Keys that must be there before it starts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requires: BTreeSet<String>,
    /// Keys that must be there after it was completed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub produces: BTreeSet<String>,
    /// Whether it may put no others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reads: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub writes: BTreeSet<String>,
}

impl Contract {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
