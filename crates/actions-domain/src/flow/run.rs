//! One run of a workflow: what is so after each entry of its history.
//!
//! [`Run::evolve`] is total and needs no graph: any history can be read by any later version, and
//! recovery cannot fail. An entry about something unknown changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::digest::FlowDigest;
use super::graph::{FailureImpact, StepName};
use super::journal::{CallId, Cause, Entry, Limit, Place, Skip};
use crate::Timestamp;
use crate::execution::Fault;
use crate::json::Json;

mod evolve;
mod mapping;

use mapping::Mapping;

/// What is known of a run. It can be kept as a snapshot in the place of the entries before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    phase: Phase,
    is_paused: bool,
    flow: Option<FlowDigest>,
    input: Json,
    depth: u8,
    /// Steps that something has happened to. Others wait.
    steps: BTreeMap<StepName, StepState>,
    /// The items of steps that are maps. They are kept: each may have to be undone.
    maps: BTreeMap<StepName, Mapping>,
    ended_count: usize,
    calls: BTreeMap<CallId, OpenCall>,
    signals: Vec<Signal>,
    signal_count: u32,
    signal_ids: BTreeSet<String>,
    context: BTreeMap<String, Vec<Put>>,
    closed: BTreeMap<StepName, BTreeSet<StepName>>,
    /// What was completed by others and may have to be undone, in order.
    done: Vec<Place>,
    undone: BTreeSet<StepName>,
    has_failed_to_undo: bool,
    /// The first failure that lets others go on.
    failure: Option<(StepName, Fault)>,
    retries: u32,
    entry_count: u32,
    bytes: u64,
    warned: BTreeSet<Limit>,
    /// Of steps that are done again and again, which round it is, if it is not the first one.
    rounds: BTreeMap<StepName, u32>,
    custom_status: Option<Json>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    New,
    Running,
    /// What is under way comes to its end; then what was done is undone, if it is to be.
    Stopping {
        cause: Cause,
        compensate: bool,
    },
    Completed {
        output: Json,
    },
    Failed {
        cause: Cause,
    },
    Cancelled,
    /// It goes on as another run.
    Continued,
}

impl Phase {
    pub fn is_final(&self) -> bool {
        match self {
            Self::Completed { .. } | Self::Failed { .. } | Self::Cancelled | Self::Continued => {
                true
            }
            Self::New | Self::Running | Self::Stopping { .. } => false,
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Running => "running",
            Self::Stopping { .. } => "stopping",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Continued => "continued",
        }
    }
}

/// What has happened to a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepState {
    Open,
    Completed { output: Json, chosen: Option<StepName> },
    Failed { fault: Fault, impact: FailureImpact },
    Skipped(Skip),
    Cancelled,
}

impl StepState {
    fn is_ended(&self) -> bool {
        match self {
            Self::Open => false,
            Self::Completed { .. } | Self::Failed { .. } | Self::Skipped(_) | Self::Cancelled => {
                true
            }
        }
    }
}

/// Where a step stands, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepStatus {
    Waiting,
    Open,
    Completed,
    Failed,
    Skipped,
    Cancelled,
}

impl StepStatus {
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Open => "open",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Something that was asked for and has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenCall {
    pub place: Place,
    pub kind: CallKind,
    pub attempt: u32,
    pub due_at: Option<Timestamp>,
}

/// Whom an open call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    Execution,
    Child,
    Timer,
    Signal,
    /// A retry that waits for its time, or, when that has come, for its turn.
    Retry {
        is_due: bool,
    },
    Compensation,
}

impl CallKind {
    /// Whether somebody else is at it, who has to be told and whose answer counts.
    pub fn is_performed(self) -> bool {
        match self {
            Self::Execution | Self::Child | Self::Compensation => true,
            Self::Timer | Self::Signal | Self::Retry { .. } => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Signal {
    pub(super) number: u32,
    pub(super) name: String,
    payload: Json,
}

/// A value in the context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Put {
    /// `None`: it was there from the start.
    by: Option<StepName>,
    value: Json,
}

/// How a way between two steps stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Undecided,
    Open,
    /// Not to be taken, and nothing is wrong.
    Closed,
    /// What lies before it failed.
    Broken,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            phase: Phase::New,
            is_paused: false,
            flow: None,
            input: Json::null(),
            depth: 0,
            steps: BTreeMap::new(),
            maps: BTreeMap::new(),
            ended_count: 0,
            calls: BTreeMap::new(),
            signals: Vec::new(),
            signal_count: 0,
            signal_ids: BTreeSet::new(),
            context: BTreeMap::new(),
            closed: BTreeMap::new(),
            done: Vec::new(),
            undone: BTreeSet::new(),
            has_failed_to_undo: false,
            failure: None,
            retries: 0,
            entry_count: 0,
            bytes: 0,
            warned: BTreeSet::new(),
            rounds: BTreeMap::new(),
            custom_status: None,
        }
    }
}

/// What is so.
impl Run {
    /// The run after all of these entries.
    pub fn replay<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Self {
        let mut run = Self::default();
        entries.into_iter().for_each(|entry| run.evolve(entry));
        run
    }

    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The version of the workflow that it is pinned to. `None` before it starts.
    pub fn flow(&self) -> Option<FlowDigest> {
        self.flow
    }

    pub fn input(&self) -> &Json {
        &self.input
    }

    /// How many workflows led here.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    pub fn status(&self, step: &StepName) -> StepStatus {
        match self.steps.get(step) {
            None => StepStatus::Waiting,
            Some(StepState::Open) => StepStatus::Open,
            Some(StepState::Completed { .. }) => StepStatus::Completed,
            Some(StepState::Failed { .. }) => StepStatus::Failed,
            Some(StepState::Skipped(_)) => StepStatus::Skipped,
            Some(StepState::Cancelled) => StepStatus::Cancelled,
        }
    }

    /// The steps that something has happened to.
    pub fn steps(&self) -> impl Iterator<Item = (&StepName, StepStatus)> {
        self.steps.keys().map(|name| (name, self.status(name)))
    }

    pub fn output_of(&self, step: &StepName) -> Option<&Json> {
        match self.steps.get(step)? {
            StepState::Completed { output, .. } => Some(output),
            StepState::Open
            | StepState::Failed { .. }
            | StepState::Skipped(_)
            | StepState::Cancelled => None,
        }
    }

    pub fn fault_of(&self, step: &StepName) -> Option<&Fault> {
        match self.steps.get(step)? {
            StepState::Failed { fault, .. } => Some(fault),
            StepState::Open
            | StepState::Completed { .. }
            | StepState::Skipped(_)
            | StepState::Cancelled => None,
        }
    }

    /// What the steps put into the context, the last of each key.
    pub fn context(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.context
            .iter()
            .filter_map(|(key, puts)| puts.last().map(|put| (key.as_str(), &put.value)))
    }

    pub fn value_of(&self, key: &str) -> Option<&Json> {
        self.context.get(key)?.last().map(|put| &put.value)
    }

    /// What was asked for and has not ended.
    pub fn calls(&self) -> impl Iterator<Item = (CallId, &OpenCall)> {
        self.calls.iter().map(|(id, call)| (*id, call))
    }

    pub fn call(&self, id: CallId) -> Option<&OpenCall> {
        self.calls.get(&id)
    }

    pub fn entry_count(&self) -> u32 {
        self.entry_count
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Retries that were decided here, since the run began or was retried.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    pub fn buffered_signals(&self) -> usize {
        self.signals.len()
    }

    /// What its code says of it.
    pub fn custom_status(&self) -> Option<&Json> {
        self.custom_status.as_ref()
    }

    /// Which round of a step that is done again and again is under way, from 1.
    pub fn round(&self, step: &StepName) -> u32 {
        self.rounds.get(step).copied().unwrap_or(1)
    }
}

/// What decisions ask.
impl Run {
    pub(super) fn state(&self, step: &StepName) -> Option<&StepState> {
        self.steps.get(step)
    }

    pub(super) fn ended_count(&self) -> usize {
        self.ended_count
    }

    pub(super) fn open_count(&self) -> usize {
        self.calls.len()
    }

    /// The map that a step is, while its items are under way.
    pub(super) fn mapping(&self, step: &StepName) -> Option<&Mapping> {
        self.maps.get(step).filter(|_| self.status(step) == StepStatus::Open)
    }

    /// The maps whose items are under way.
    pub(super) fn mappings(&self) -> impl Iterator<Item = &StepName> {
        self.maps.keys().filter(|step| self.status(step) == StepStatus::Open)
    }

    /// The items of a map, also after it has ended.
    pub(super) fn items_of(&self, step: &StepName) -> Option<&[Json]> {
        self.maps.get(step).map(|mapping| mapping.items.as_slice())
    }

    /// What a step or an item left behind.
    pub(super) fn output_at(&self, place: &Place) -> Option<&Json> {
        match place.item {
            Some(item) => self.maps.get(&place.step)?.output_of(item),
            None => self.output_of(&place.step),
        }
    }

    /// Steps that ended in another way than they should.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &StepName> {
        let is_wrong = |state: &StepState| match state {
            StepState::Failed { .. }
            | StepState::Cancelled
            | StepState::Skipped(Skip::Dependency) => true,
            StepState::Open
            | StepState::Completed { .. }
            | StepState::Skipped(Skip::Condition | Skip::NotChosen | Skip::Needless) => false,
        };
        self.steps.iter().filter(move |(_, state)| is_wrong(state)).map(|(name, _)| name)
    }

    pub(super) fn way(&self, from: &StepName, to: &StepName) -> Way {
        let guarded = || {
            let is_closed = self.closed.get(from).is_some_and(|closed| closed.contains(to));
            if is_closed { Way::Closed } else { Way::Open }
        };
        match self.steps.get(from) {
            None | Some(StepState::Open) => Way::Undecided,
            Some(StepState::Completed { chosen: Some(chosen), .. }) => {
                if chosen == to {
                    Way::Open
                } else {
                    Way::Closed
                }
            }
            Some(
                StepState::Completed { chosen: None, .. }
                | StepState::Failed { impact: FailureImpact::Ignore, .. }
                | StepState::Skipped(Skip::Condition),
            ) => guarded(),
            Some(StepState::Skipped(Skip::NotChosen | Skip::Needless) | StepState::Cancelled) => {
                Way::Closed
            }
            Some(
                StepState::Skipped(Skip::Dependency)
                | StepState::Failed {
                    impact:
                        FailureImpact::Abort | FailureImpact::Compensate | FailureImpact::SkipDependents,
                    ..
                },
            ) => Way::Broken,
        }
    }

    /// The oldest signal of this name.
    pub(super) fn signal(&self, name: &str) -> Option<u32> {
        self.signals.iter().find(|signal| signal.name == name).map(|signal| signal.number)
    }

    /// The signals that nobody has taken, oldest first.
    pub(super) fn signals(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.signals.iter().map(|signal| (signal.name.as_str(), &signal.payload))
    }

    pub(super) fn payload_of(&self, number: u32) -> Option<&Json> {
        let found = self.signals.iter().find(|signal| signal.number == number);
        found.map(|signal| &signal.payload)
    }

    pub(super) fn knows_signal(&self, id: &str) -> bool {
        self.signal_ids.contains(id)
    }

    /// What was completed and is not undone yet, the last one first.
    pub(super) fn done(&self) -> impl Iterator<Item = &Place> {
        self.done.iter().rev()
    }

    pub(super) fn undone(&self) -> &BTreeSet<StepName> {
        &self.undone
    }

    pub(super) fn has_failed_to_undo(&self) -> bool {
        self.has_failed_to_undo
    }

    pub(super) fn failure(&self) -> Option<&(StepName, Fault)> {
        self.failure.as_ref()
    }

    pub(super) fn is_warned(&self, limit: Limit) -> bool {
        self.warned.contains(&limit)
    }
}
