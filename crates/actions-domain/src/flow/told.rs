//! What a run is told, as it waits until the owner of the run takes it.
//!
//! Whoever knows something writes it down in the commit in which it becomes true. Nobody has to
//! know how the run is at that moment: what it cannot take any more is passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::checked::Flow;
use super::decide::{CallResult, Input};
use super::graph::{Contract, StepName};
use super::journal::CallId;
use super::run::{Phase, Run};
use crate::execution::{Fault, Status};
use crate::json::Json;
use crate::retry::Jitter;
use crate::work::Finish;

/// Something that a run is told. The names are stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Start {
        input: Json,
        /// What is in the context from the start.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        context: BTreeMap<String, Json>,
        /// How many workflows and executions led here.
        depth: u8,
    },
    Ended {
        call: CallId,
        end: CallEnd,
    },
    Signal {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        payload: Json,
    },
    Pause {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Resume,
    Cancel {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        compensate: bool,
    },
    RetryFrom {
        step: StepName,
    },
}

/// How an execution or a child came to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    Completed { output: Json },
    Failed { fault: Fault, may_retry: bool },
    Cancelled,
}

impl Told {
    /// The input that a run takes. `jitter` spreads a retry, where one is decided.
    pub fn into_input(self, flow: &Flow, run: &Run, jitter: Jitter) -> Input {
        match self {
            Self::Start { input, context, depth } => Input::Start { input, context, depth },
            Self::Ended { call, end } => {
                let result = match end {
                    CallEnd::Completed { output } => {
                        let context = context_of(flow, run, call, &output);
                        CallResult::Completed { output, context }
                    }
                    CallEnd::Failed { fault, may_retry } => {
                        CallResult::Failed { fault, may_retry, jitter }
                    }
                    CallEnd::Cancelled => CallResult::Cancelled,
                };
                Input::Ended { call, result }
            }
            Self::Signal { name, id, payload } => Input::Signal { name, id, payload },
            Self::Pause { reason } => Input::Pause { reason },
            Self::Resume => Input::Resume,
            Self::Cancel { reason, compensate } => Input::Cancel { reason, compensate },
            Self::RetryFrom { step } => Input::RetryFrom { step },
        }
    }
}

impl CallEnd {
    /// What the end of a step's execution is for its run.
    pub fn of_execution(finish: &Finish) -> Self {
        match finish.status {
            Status::Completed => {
                Self::Completed { output: finish.output.clone().unwrap_or_else(Json::null) }
            }
            Status::Failed | Status::Timeout => {
                let fault = finish.error.clone().unwrap_or_else(|| {
                    Fault::system("execution.failed", "it failed without a reason")
                });
                Self::Failed { fault, may_retry: !finish.rejected }
            }
            // Nothing else is an end of what a run has started.
            Status::Cancelled
            | Status::Skipped
            | Status::Pending
            | Status::Running
            | Status::Retrying
            | Status::Paused
            | Status::Blocked => Self::Cancelled,
        }
    }

    /// What the end of a child is for the run that started it. `None`: it has not ended.
    pub fn of_run(phase: &Phase) -> Option<Self> {
        Some(match phase {
            Phase::Completed { output } => Self::Completed { output: output.clone() },
            Phase::Failed { cause } => Self::Failed { fault: cause.fault(), may_retry: true },
            Phase::Cancelled => Self::Cancelled,
            // Who waits for one that goes on as another run waits for that one.
            Phase::New | Phase::Running | Phase::Stopping { .. } | Phase::Continued => return None,
        })
    }
}

/// What a result puts into the run's context: the members of its output that its step has promised.
/// Where a step may put nothing else, all of them, so that what is too much is noticed.
fn context_of(flow: &Flow, run: &Run, call: CallId, output: &Json) -> BTreeMap<String, Json> {
    let step = run.call(call).and_then(|call| flow.step(&call.place.step));
    let Some(contract) = step.map(|step| &step.contract) else { return BTreeMap::new() };
    if *contract == Contract::default() {
        return BTreeMap::new();
    }
    let Value::Object(members) = output.to_value() else { return BTreeMap::new() };
    let is_put = |key: &String| contract.strict || contract.produces.contains(key);
    let members = members.into_iter().filter(|(key, _)| is_put(key));
    members.map(|(key, value)| (key, Json::from_value(&value))).collect()
}
