//! One run of a workflow: what is so after each entry of its history.
//!
//! [`Run::evolve`] is total and needs no graph: any history can be read by any later version, and
//! recovery cannot fail. An entry about something unknown changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::digest::FlowDigest;
use super::graph::{FailureImpact, StepName};
use super::journal::{
    CallId, Cause, Completed, Entry, Failed, Limit, Place, Scheduled, Skip, What,
};
use crate::Timestamp;
use crate::execution::Fault;
use crate::json::Json;

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
}

impl Phase {
    pub fn is_final(&self) -> bool {
        match self {
            Self::Completed { .. } | Self::Failed { .. } | Self::Cancelled => true,
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

/// The items of a map, and how far they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Mapping {
    pub(super) items: Vec<Json>,
    states: Vec<ItemState>,
    /// Items are begun in order: those from here on were not.
    pub(super) next: u32,
    pub(super) open: u32,
    pub(super) failed: u32,
    cancelled: u32,
    /// The failure of the item that failed first.
    pub(super) fault: Option<Fault>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ItemState {
    Waiting,
    Open,
    Completed(Json),
    Failed,
    Cancelled,
}

impl Mapping {
    fn new(items: Vec<Json>) -> Self {
        let states = vec![ItemState::Waiting; items.len()];
        Self { items, states, next: 0, open: 0, failed: 0, cancelled: 0, fault: None }
    }

    pub(super) fn has_more(&self) -> bool {
        usize::try_from(self.next).is_ok_and(|next| next < self.items.len())
    }

    /// Nothing is left to do, and no item was given up.
    pub(super) fn is_through(&self) -> bool {
        !self.has_more() && self.open == 0 && self.cancelled == 0
    }

    fn set(&mut self, item: u32, state: ItemState) {
        let Some(known) = usize::try_from(item).ok().and_then(|at| self.states.get_mut(at)) else {
            return;
        };
        let was_open = *known == ItemState::Open;
        let is_open = state == ItemState::Open;
        self.cancelled += u32::from(state == ItemState::Cancelled);
        *known = state;
        self.open = self.open + u32::from(is_open) - u32::from(was_open);
        self.next = self.next.max(item.saturating_add(1));
    }

    fn fail(&mut self, item: u32, fault: &Fault) {
        self.set(item, ItemState::Failed);
        self.failed += 1;
        self.fault.get_or_insert_with(|| fault.clone());
    }

    fn output_of(&self, item: u32) -> Option<&Json> {
        match usize::try_from(item).ok().and_then(|at| self.states.get(at))? {
            ItemState::Completed(output) => Some(output),
            ItemState::Waiting | ItemState::Open | ItemState::Failed | ItemState::Cancelled => None,
        }
    }

    /// The outputs in the order of the items, `null` where there is none.
    fn output(&self) -> Json {
        let mut text = String::from("[");
        for (index, state) in self.states.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(match state {
                ItemState::Completed(output) => output.as_str(),
                ItemState::Waiting | ItemState::Open | ItemState::Failed | ItemState::Cancelled => {
                    "null"
                }
            });
        }
        text.push(']');
        Json::from_record(text)
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

/// What becomes so.
impl Run {
    /// Takes one entry of the history in.
    pub fn evolve(&mut self, entry: &Entry) {
        self.entry_count = self.entry_count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(entry.bytes());
        match &entry.what {
            What::RunStarted { flow, input, context, depth } => {
                let puts = context.iter().map(|(key, value)| {
                    (key.clone(), vec![Put { by: None, value: value.clone() }])
                });
                self.context = puts.collect();
                self.phase = Phase::Running;
                self.flow = Some(*flow);
                self.input = input.clone();
                self.depth = *depth;
            }
            What::StepScheduled(scheduled) => self.open(scheduled, CallKind::Execution),
            What::ChildScheduled(scheduled) => self.open(scheduled, CallKind::Child),
            What::TimerCreated(scheduled) => self.open(scheduled, CallKind::Timer),
            What::SignalAwaited(scheduled) => self.open(scheduled, CallKind::Signal),
            What::StepCompleted(completed) | What::ChildCompleted(completed) => {
                self.complete(completed);
            }
            What::StepFailed(failed) | What::ChildFailed(failed) => self.fail(failed),
            What::StepRetryScheduled { place, call, timer, attempt, due_at, .. } => {
                self.calls.remove(call);
                self.retries = self.retries.saturating_add(1);
                let kind = CallKind::Retry { is_due: false };
                let (attempt, due_at) = (*attempt, Some(*due_at));
                self.calls.insert(*timer, OpenCall { place: place.clone(), kind, attempt, due_at });
            }
            What::StepSkipped { step, why } => self.set(step, StepState::Skipped(*why)),
            What::StepCancelled { place, call } => self.cancel(place, *call),
            What::TimerFired { call } => self.fire(*call),
            What::MapExpanded { step, items } => {
                self.maps.insert(step.clone(), Mapping::new(items.clone()));
                self.set(step, StepState::Open);
            }
            What::ChoiceMade { step, to } => {
                let chosen = Some(to.clone());
                self.set(step, StepState::Completed { output: Json::null(), chosen });
            }
            What::WaysClosed { from, to } => {
                self.closed.entry(from.clone()).or_default().extend(to.iter().cloned());
            }
            What::SignalReceived { name, id, payload } => {
                let (number, name, payload) = (self.signal_count, name.clone(), payload.clone());
                self.signals.push(Signal { number, name, payload });
                self.signal_count = self.signal_count.saturating_add(1);
                self.signal_ids.extend(id.clone());
            }
            What::SignalTaken { step, call, signal } => self.take_signal(step, *call, *signal),
            What::CompensationScheduled(scheduled) => {
                self.undo(&scheduled.place);
                self.insert(scheduled, CallKind::Compensation);
            }
            What::CompensationCompleted { call, .. } => {
                self.calls.remove(call);
            }
            What::CompensationFailed { place, call, .. } => {
                self.undo(place);
                if let Some(call) = call {
                    self.calls.remove(call);
                }
                self.has_failed_to_undo = true;
            }
            What::RunPaused { .. } => self.is_paused = true,
            What::RunResumed => self.is_paused = false,
            What::RunStopped { cause, compensate } => self.stop(cause, *compensate),
            What::RunRetried { steps, .. } => self.reset(steps),
            What::RunCompleted { output } => {
                self.end(Phase::Completed { output: output.clone() });
            }
            What::RunFailed { cause, .. } => self.end(Phase::Failed { cause: cause.clone() }),
            What::RunCancelled { .. } => self.end(Phase::Cancelled),
            What::LimitNeared { limit } => {
                self.warned.insert(*limit);
            }
        }
    }

    fn set(&mut self, step: &StepName, state: StepState) {
        let is_ended = state.is_ended();
        let before = self.steps.insert(step.clone(), state);
        let was_ended = before.is_some_and(|state| state.is_ended());
        self.ended_count = self.ended_count + usize::from(is_ended) - usize::from(was_ended);
    }

    fn insert(&mut self, scheduled: &Scheduled, kind: CallKind) {
        let Scheduled { place, call, attempt, due_at, timer } = scheduled.clone();
        if let Some(timer) = timer {
            self.calls.remove(&timer);
        }
        self.calls.insert(call, OpenCall { place, kind, attempt, due_at });
    }

    fn open(&mut self, scheduled: &Scheduled, kind: CallKind) {
        self.insert(scheduled, kind);
        let Place { step, item } = &scheduled.place;
        match item {
            Some(item) => self.set_item(step, *item, ItemState::Open),
            None => self.set(step, StepState::Open),
        }
    }

    fn set_item(&mut self, step: &StepName, item: u32, state: ItemState) {
        if let Some(mapping) = self.maps.get_mut(step) {
            mapping.set(item, state);
        }
    }

    fn complete(&mut self, completed: &Completed) {
        let Completed { place, call, output, context } = completed;
        if let Some(call) = call {
            self.calls.remove(call);
            self.done.push(place.clone());
        }
        for (key, value) in context {
            let put = Put { by: Some(place.step.clone()), value: value.clone() };
            self.context.entry(key.clone()).or_default().push(put);
        }
        match place.item {
            Some(item) => self.set_item(&place.step, item, ItemState::Completed(output.clone())),
            None => {
                let of_items = self.mapping(&place.step).map(Mapping::output);
                let output = of_items.unwrap_or_else(|| output.clone());
                self.set(&place.step, StepState::Completed { output, chosen: None });
            }
        }
    }

    fn fail(&mut self, failed: &Failed) {
        let Failed { place, call, fault, impact } = failed;
        if let Some(call) = call {
            self.calls.remove(call);
        }
        let Place { step, item } = place;
        if let Some(item) = item {
            if let Some(mapping) = self.maps.get_mut(step) {
                mapping.fail(*item, fault);
            }
            return;
        }
        self.set(step, StepState::Failed { fault: fault.clone(), impact: *impact });
        if *impact == FailureImpact::SkipDependents && self.failure.is_none() {
            self.failure = Some((step.clone(), fault.clone()));
        }
    }

    fn cancel(&mut self, place: &Place, call: Option<CallId>) {
        if let Some(call) = call {
            self.calls.remove(&call);
        }
        match place.item {
            Some(item) => self.set_item(&place.step, item, ItemState::Cancelled),
            None => self.set(&place.step, StepState::Cancelled),
        }
    }

    /// A timer step is through; a retry waits for its turn.
    fn fire(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let CallKind::Retry { is_due } = &mut call.kind {
            *is_due = true;
        } else if call.kind == CallKind::Timer {
            let step = call.place.step.clone();
            self.calls.remove(&id);
            self.set(&step, StepState::Completed { output: Json::null(), chosen: None });
        }
    }

    fn take_signal(&mut self, step: &StepName, call: Option<CallId>, number: u32) {
        if let Some(call) = call {
            self.calls.remove(&call);
        }
        let found = self.signals.iter().position(|signal| signal.number == number);
        let output = found.map_or_else(Json::null, |at| self.signals.remove(at).payload);
        self.set(step, StepState::Completed { output, chosen: None });
    }

    /// What comes after the place was handled already: nothing was to be undone there.
    fn undo(&mut self, place: &Place) {
        if let Some(at) = self.done.iter().rposition(|done| done == place) {
            self.done.truncate(at);
            self.undone.insert(place.step.clone());
        }
    }

    /// The first cause stays. Once something is to be undone, it is.
    fn stop(&mut self, cause: &Cause, compensate: bool) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Stopping { cause, compensate: before } => {
                Phase::Stopping { cause, compensate: before || compensate }
            }
            Phase::New
            | Phase::Running
            | Phase::Completed { .. }
            | Phase::Failed { .. }
            | Phase::Cancelled => Phase::Stopping { cause: cause.clone(), compensate },
        };
    }

    fn reset(&mut self, steps: &[StepName]) {
        let steps: BTreeSet<&StepName> = steps.iter().collect();
        for step in &steps {
            if self.steps.remove(*step).is_some_and(|state| state.is_ended()) {
                self.ended_count -= 1;
            }
            self.maps.remove(*step);
            self.closed.remove(*step);
            self.undone.remove(*step);
        }
        for closed in self.closed.values_mut() {
            closed.retain(|to| !steps.contains(to));
        }
        for puts in self.context.values_mut() {
            puts.retain(|put| put.by.as_ref().is_none_or(|by| !steps.contains(by)));
        }
        self.context.retain(|_, puts| !puts.is_empty());
        self.done.retain(|place| !steps.contains(&place.step));
        self.calls.retain(|_, call| !steps.contains(&call.place.step));
        self.phase = Phase::Running;
        self.is_paused = false;
        self.has_failed_to_undo = false;
        self.failure = None;
        self.retries = 0;
    }

    fn end(&mut self, phase: Phase) {
        self.phase = phase;
        self.is_paused = false;
        self.calls.clear();
    }
}
