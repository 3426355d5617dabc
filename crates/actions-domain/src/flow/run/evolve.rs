//! What becomes so with each entry.

use std::collections::BTreeSet;

use super::mapping::{ItemState, Mapping};
use super::{CallKind, OpenCall, Phase, Put, Run, Signal, StepState};
use crate::flow::graph::{FailureImpact, StepName};
use crate::flow::journal::{CallId, Cause, Completed, Entry, Failed, Place, Scheduled, What};
use crate::json::Json;

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
            What::StepRepeated { place, call, timer, round, due_at, .. } => {
                self.calls.remove(call);
                let kind = CallKind::Retry { is_due: false };
                let (attempt, due_at) = (1, Some(*due_at));
                self.calls.insert(*timer, OpenCall { place: place.clone(), kind, attempt, due_at });
                self.rounds.insert(place.step.clone(), *round);
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
            What::RunPaused { .. } | What::RunParked { .. } => self.is_paused = true,
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
            // Only the code that is followed again asks for them.
            What::SideEffectRecorded { .. } | What::PatchMarked { .. } => {}
            What::StatusSet { status } => self.custom_status = Some(status.clone()),
            What::RunContinued { .. } => self.end(Phase::Continued),
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
            | Phase::Cancelled
            | Phase::Continued => Phase::Stopping { cause: cause.clone(), compensate },
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
            self.rounds.remove(*step);
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
