//! How a run of code is parked, stops, and is undone.

use std::collections::BTreeMap;

use super::{Replayer, State};
use crate::execution::Fault;
use crate::flow::decide::{CallResult, Command, Start};
use crate::flow::fault::FlowFault;
use crate::flow::graph::Target;
use crate::flow::journal::{CallId, Cause, Place, Scheduled, What};
use crate::flow::run::Phase;
use crate::json::Json;

impl Replayer {
    /// Says why the code was not followed, behind the first entry of the turn from where it could
    /// not be.
    pub(super) fn park(&self, start: usize) {
        let state = self.context.state();
        let Some(trouble) = &state.trouble else { return };
        let is_open = match state.run.phase() {
            Phase::Running => true,
            Phase::Stopping { compensate, .. } => *compensate,
            Phase::New
            | Phase::Completed { .. }
            | Phase::Failed { .. }
            | Phase::Cancelled
            | Phase::Continued => false,
        };
        let is_new = state.entries.len() > start && !state.run.is_paused();
        let why = trouble.to_string();
        drop(state);
        if is_open && is_new {
            self.note(What::RunParked { why });
        }
    }

    pub(super) fn stop_when_spent(&mut self) {
        let fault = self.context.state().spent.take();
        let Some(fault) = fault.filter(|_| self.is_running()) else { return };
        let cause = Cause::Run { fault: fault.into() };
        self.happen(What::RunStopped { cause, compensate: true });
    }

    /// Asks everything that is under way to end.
    pub(super) fn give_up_all(&self) {
        let mut state = self.context.state();
        if state.run.phase().is_final() {
            return;
        }
        let open: Vec<_> = state.run.calls().map(|(id, call)| (id, call.clone())).collect();
        for (call, open) in open {
            // What the code has dropped was told already, and is told again.
            if open.kind.is_performed() {
                state.command(Command::Cancel { call });
                continue;
            }
            state.note(What::StepCancelled { place: open.place, call: Some(call) });
            if open.due_at.is_some() {
                state.command(Command::ClearTimer { call });
            }
        }
    }

    /// Ends a run that stops when nothing is under way any more and all is undone.
    pub(super) fn conclude(&self) {
        let mut state = self.context.state();
        let Phase::Stopping { cause, compensate } = state.run.phase().clone() else { return };
        if state.run.open_count() > 0 || (compensate && undo_next(&mut state)) {
            return;
        }
        let is_undone = !state.run.undone().is_empty();
        let compensated = is_undone.then(|| !state.run.has_failed_to_undo());
        state.note(if let Cause::Cancelled { reason } = cause {
            What::RunCancelled { reason, compensated }
        } else {
            What::RunFailed { cause, compensated }
        });
        state.command(Command::End);
    }

    pub(super) fn compensated(&self, call: CallId, place: Place, result: CallResult) {
        let fault: Fault = match result {
            CallResult::Completed { .. } => {
                return self.note(What::CompensationCompleted { place, call });
            }
            CallResult::Failed { fault, .. } => fault,
            CallResult::Cancelled => FlowFault::Cancelled.into(),
        };
        self.note(What::CompensationFailed { place, call: Some(call), fault });
    }
}

/// Begins to undo what was completed last and can be undone. Answers whether there is more to do
/// before the run may end.
fn undo_next(state: &mut State) -> bool {
    let next = state.run.done().find_map(|place| {
        let undo = state.undos.get(&place.step)?;
        Some((place.clone(), undo.clone()))
    });
    if state.trouble.is_some() {
        return true;
    }
    let Some((place, undo)) = next else { return false };
    if state.run.is_paused() {
        return true;
    }
    let output = state.run.output_at(&place).cloned();
    let input = undo.input.or(output).unwrap_or_else(Json::null);
    let call = CallId(state.run.entry_count());
    let scheduled = Scheduled { place: place.clone(), call, attempt: 1, due_at: None, timer: None };
    state.note(What::CompensationScheduled(scheduled));
    state.command(Command::Start(Start {
        call,
        place,
        is_compensation: true,
        attempt: 1,
        target: Target::Action(undo.action),
        input,
        context: BTreeMap::new(),
        key: None,
        priority: None,
        retry: None,
        timeout_seconds: None,
    }));
    true
}
