//! What a run's history consists of. The names are stored: entries may be added, never renamed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::FlowDigest;
use super::graph::{FailureImpact, StepName};
use crate::Timestamp;
use crate::execution::Fault;
use crate::json::Json;

/// Something that happened to a run, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    pub what: What,
}

/// What one run asked somebody for: an execution, a child, a timer, a signal. It is the number of
/// the entry that says so, so it never means two things in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub u32);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A step, or one item of a step that is a map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    pub step: StepName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

impl Place {
    pub fn step(step: &StepName) -> Self {
        Self { step: step.clone(), item: None }
    }

    pub fn item(step: &StepName, item: u32) -> Self {
        Self { step: step.clone(), item: Some(item) }
    }
}

/// Each carries all that the next state needs: nothing is evaluated again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    RunStarted {
        flow: FlowDigest,
        input: Json,
        /// What is in the context from the start.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        context: BTreeMap<String, Json>,
        depth: u8,
    },
    StepScheduled(Scheduled),
    StepCompleted(Completed),
    StepFailed(Failed),
    /// It failed and is started again later. The timer for that is a call of its own.
    StepRetryScheduled {
        place: Place,
        call: CallId,
        fault: Fault,
        timer: CallId,
        /// Of the attempt that is to come, from 2.
        attempt: u32,
        due_at: Timestamp,
    },
    StepSkipped {
        step: StepName,
        why: Skip,
    },
    /// It was completed and is done once more, because what it is to be done until does not hold.
    StepRepeated {
        place: Place,
        call: CallId,
        output: Json,
        timer: CallId,
        /// Of the round that is to come, from 2.
        round: u32,
        due_at: Timestamp,
    },
    /// It was given up before it came to an end.
    StepCancelled {
        place: Place,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
    },
    ChildScheduled(Scheduled),
    ChildCompleted(Completed),
    ChildFailed(Failed),
    TimerCreated(Scheduled),
    SignalAwaited(Scheduled),
    /// A timer step is completed. A retry that waits may begin.
    TimerFired {
        call: CallId,
    },
    MapExpanded {
        step: StepName,
        items: Vec<Json>,
    },
    ChoiceMade {
        step: StepName,
        to: StepName,
    },
    /// The guards of these ways do not hold.
    WaysClosed {
        from: StepName,
        to: Vec<StepName>,
    },
    SignalReceived {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        payload: Json,
    },
    /// A step took a signal and is completed by it. Signals are counted from 0.
    SignalTaken {
        step: StepName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        signal: u32,
    },
    CompensationScheduled(Scheduled),
    CompensationCompleted {
        place: Place,
        call: CallId,
    },
    CompensationFailed {
        place: Place,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        fault: Fault,
    },
    RunPaused {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    RunResumed,
    /// Nothing more is started. What is under way comes to its end first.
    RunStopped {
        cause: Cause,
        compensate: bool,
    },
    /// These steps are as if nothing had happened to them, and the run goes on.
    RunRetried {
        from: StepName,
        steps: Vec<StepName>,
    },
    RunCompleted {
        output: Json,
    },
    RunFailed {
        cause: Cause,
        /// `None`: nothing was to be undone. `Some(false)`: something could not be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compensated: Option<bool>,
    },
    RunCancelled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compensated: Option<bool>,
    },
    /// A person should look at it before the run is stopped for it.
    LimitNeared {
        limit: Limit,
    },
    /// What the code of an orchestration found out by itself, once.
    SideEffectRecorded {
        name: String,
        value: Json,
    },
    /// The code goes the new way of this change from here on.
    PatchMarked {
        patch: String,
    },
    /// What the run says of itself.
    StatusSet {
        status: Json,
    },
    /// The code cannot be followed any further. Nothing more is started until somebody resumes
    /// the run.
    RunParked {
        why: String,
    },
    /// It goes on as a new run with this input.
    RunContinued {
        input: Json,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scheduled {
    pub place: Place,
    pub call: CallId,
    /// From 1.
    pub attempt: u32,
    /// When a timer fires, or when it has taken too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// The timer of the retry that this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<CallId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completed {
    pub place: Place,
    /// A gate and a map have none: nobody was called for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    pub output: Json,
    /// What it put into the run's context.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, Json>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    pub place: Place,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    pub fault: Fault,
    /// What it means for the run. Of an item its map decides.
    pub impact: FailureImpact,
}

/// Why a step is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Its condition does not hold. What comes after it goes on.
    Condition,
    /// No way to it is open.
    NotChosen,
    /// Something that it depends on failed.
    Dependency,
    /// It would wait for a gate that has opened already.
    Needless,
}

/// Why a run stops before its steps are through, or failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Step { step: StepName, fault: Fault },
    Run { fault: Fault },
    Cancelled { reason: Option<String> },
}

impl Cause {
    /// As a fault, for whoever started the run.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Step { fault, .. } | Self::Run { fault } => fault.clone(),
            Self::Cancelled { reason } => {
                let reason = reason.as_deref().unwrap_or("nobody said why");
                Fault::handler("flow.cancelled", format!("the run was cancelled: {reason}"))
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { step, fault } => write!(f, "step {step} failed: {}", fault.message),
            Self::Run { fault } => fault.message.fmt(f),
            Self::Cancelled { reason: Some(reason) } => write!(f, "cancelled: {reason}"),
            Self::Cancelled { reason: None } => f.write_str("cancelled"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    Entries,
    Bytes,
}

/// What an entry takes beside the texts in it: names of members, times and numbers.
const ENTRY_BYTES: usize = 160;

impl Entry {
    /// Its bytes in the history, roughly and never much too few, without writing it down.
    pub fn bytes(&self) -> u64 {
        let texts = match &self.what {
            What::RunStarted { input, context, .. } => {
                input.as_str().len() + context_bytes(context)
            }
            What::SignalReceived { payload, .. }
            | What::RunCompleted { output: payload }
            | What::StepRepeated { output: payload, .. }
            | What::StatusSet { status: payload }
            | What::RunContinued { input: payload } => payload.as_str().len(),
            What::SideEffectRecorded { name, value } => name.len() + value.as_str().len(),
            What::PatchMarked { patch: text } | What::RunParked { why: text } => text.len(),
            What::StepCompleted(completed) | What::ChildCompleted(completed) => {
                completed.output.as_str().len() + context_bytes(&completed.context)
            }
            What::StepFailed(Failed { fault, .. })
            | What::ChildFailed(Failed { fault, .. })
            | What::StepRetryScheduled { fault, .. }
            | What::CompensationFailed { fault, .. } => fault_bytes(fault),
            What::MapExpanded { items, .. } => {
                items.iter().map(|item| item.as_str().len() + 1).sum()
            }
            What::WaysClosed { to: steps, .. } | What::RunRetried { steps, .. } => {
                steps.iter().map(|step| step.as_str().len() + 3).sum()
            }
            What::RunStopped { cause, .. } | What::RunFailed { cause, .. } => match cause {
                Cause::Step { fault, .. } | Cause::Run { fault } => fault_bytes(fault),
                Cause::Cancelled { reason } => reason.as_ref().map_or(0, String::len),
            },
            What::RunPaused { reason } | What::RunCancelled { reason, .. } => {
                reason.as_ref().map_or(0, String::len)
            }
            What::StepScheduled(_)
            | What::StepSkipped { .. }
            | What::StepCancelled { .. }
            | What::ChildScheduled(_)
            | What::TimerCreated(_)
            | What::SignalAwaited(_)
            | What::TimerFired { .. }
            | What::ChoiceMade { .. }
            | What::SignalTaken { .. }
            | What::CompensationScheduled(_)
            | What::CompensationCompleted { .. }
            | What::RunResumed
            | What::LimitNeared { .. } => 0,
        };
        u64::try_from(ENTRY_BYTES + texts).unwrap_or(u64::MAX)
    }
}

fn context_bytes(context: &BTreeMap<String, Json>) -> usize {
    context.iter().map(|(key, value)| key.len() + value.as_str().len() + 6).sum()
}

fn fault_bytes(fault: &Fault) -> usize {
    let details = fault.details.as_ref().map_or(0, |details| details.to_string().len());
    fault.message.len() + fault.code.len() + details
}
