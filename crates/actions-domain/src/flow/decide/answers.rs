//! What an answer leads to: of an execution, a child, a timer, or a signal.

use std::time::Duration;

use super::starts::{Attempt, after};
use super::{CallResult, Command, Decider, spent};
use crate::Timestamp;
use crate::execution::Fault;
use crate::flow::expression::Scope;
use crate::flow::fault::FlowFault;
use crate::flow::graph::{Body, Does, FailureImpact, Step, StepName};
use crate::flow::journal::{CallId, Cause, Completed, Failed, Place, What};
use crate::flow::run::{CallKind, OpenCall, Phase};
use crate::json::Json;
use crate::limits::RUN_PAYLOAD_BYTES_MAX;
use crate::retry::{Jitter, RetryPolicy};

impl Decider<'_> {
    /// Takes the first answer to a call. What nobody waits for any more is passed over.
    pub(super) fn answered(&mut self, id: CallId, result: CallResult) {
        let Some(call) = self.run.call(id).filter(|call| call.kind.is_performed()).cloned() else {
            return;
        };
        if call.kind == CallKind::Compensation {
            return self.compensated(id, call.place, result);
        }
        if call.due_at.is_some() {
            self.command(Command::ClearTimer { call: id });
        }
        match result {
            CallResult::Completed { output, context } => {
                let completed =
                    Completed { place: call.place.clone(), call: Some(id), output, context };
                match self.broken_promise(&completed) {
                    Some(fault) => self.fail(call.place, Some(id), fault.into()),
                    None if self.repeated(id, &completed) => {}
                    None => self.complete(call.kind, completed),
                }
            }
            CallResult::Failed { fault, may_retry, jitter } => {
                if !(may_retry && self.retry(id, &call, &fault, jitter)) {
                    self.fail(call.place, Some(id), fault);
                }
            }
            // Asked for by the run, or by somebody else. Only the latter is a failure.
            CallResult::Cancelled if self.is_given_up(&call.place) => {
                self.note(What::StepCancelled { place: call.place.clone(), call: Some(id) });
                self.leave(&call.place);
            }
            CallResult::Cancelled => self.fail(call.place, Some(id), FlowFault::Cancelled.into()),
        }
    }

    /// Plans another round of a step that is repeated, or gives it up. In a run that stops nobody
    /// needs one.
    fn repeated(&mut self, id: CallId, completed: &Completed) -> bool {
        let flow = self.flow;
        let Completed { place, output, .. } = completed;
        let repeat = flow.step(&place.step).and_then(|step| step.repeat.as_ref());
        let Some(repeat) = repeat.filter(|_| *self.run.phase() == Phase::Running) else {
            return false;
        };
        let scope = Scope { run: self.run, item: None, undone: Some(output) };
        let round = self.run.round(&place.step);
        let step = || place.step.clone();
        let fault = match (self.with.holds(&repeat.until, &scope), spent(self.run)) {
            (Ok(true), _) => return false,
            (Err(why), _) => {
                FlowFault::Expression { step: step(), what: "the end of the rounds", why }
            }
            (Ok(false), _) if round >= repeat.rounds_max => {
                FlowFault::Rounds { step: step(), rounds: round }
            }
            (Ok(false), Some(fault)) => fault,
            (Ok(false), None) => {
                let due_at = after(self.now, Duration::from_millis(repeat.every_ms));
                self.repeat(id, completed, round + 1, due_at);
                return true;
            }
        };
        self.fail(place.clone(), Some(id), fault.into());
        true
    }

    fn repeat(&mut self, call: CallId, completed: &Completed, round: u32, due_at: Timestamp) {
        let timer = self.next_call();
        self.note(What::StepRepeated {
            place: completed.place.clone(),
            call,
            output: completed.output.clone(),
            timer,
            round,
            due_at,
        });
        self.command(Command::SetTimer { call: timer, due_at });
    }

    fn complete(&mut self, kind: CallKind, completed: Completed) {
        let place = completed.place.clone();
        self.note(match kind {
            CallKind::Child => What::ChildCompleted(completed),
            CallKind::Execution
            | CallKind::Timer
            | CallKind::Signal
            | CallKind::Retry { .. }
            | CallKind::Compensation => What::StepCompleted(completed),
        });
        self.leave(&place);
    }

    /// What comes after the end of a place: the ways from a step, or the other items of a map.
    fn leave(&mut self, place: &Place) {
        match place.item {
            Some(_) => self.looks.push_back(place.step.clone()),
            None => self.ended.push_back(place.step.clone()),
        }
    }

    /// Records a failure, and what it means for the run.
    pub(super) fn fail(&mut self, place: Place, call: Option<CallId>, fault: Fault) {
        if place.item.is_some() {
            self.fail_item(&place, call, fault);
            return self.leave(&place);
        }
        let impact = self.impact(&place.step);
        let cause = Cause::Step { step: place.step.clone(), fault: fault.clone() };
        self.note_failed(place.clone(), call, fault);
        self.leave(&place);
        match impact {
            FailureImpact::Abort => self.stop(cause, false),
            FailureImpact::Compensate => self.stop(cause, true),
            FailureImpact::SkipDependents | FailureImpact::Ignore => {}
        }
    }

    pub(super) fn note_failed(&mut self, place: Place, call: Option<CallId>, fault: Fault) {
        let impact = self.impact(&place.step);
        let does = self.flow.step(&place.step).map(|step| &step.does);
        let body = does.and_then(Does::as_map).map(|map| &map.body);
        let is_child = match place.item {
            Some(_) => matches!(body, Some(Body::SubFlow(_))),
            None => matches!(does, Some(Does::SubFlow(_))),
        };
        let failed = Failed { place, call, fault, impact };
        self.note(if is_child { What::ChildFailed(failed) } else { What::StepFailed(failed) });
    }

    fn impact(&self, step: &StepName) -> FailureImpact {
        let own = self.flow.step(step).and_then(|step| step.on_failure);
        own.unwrap_or_else(|| self.flow.graph().on_failure)
    }

    /// Whether the run itself asked for a place to be given up.
    fn is_given_up(&self, place: &Place) -> bool {
        if *self.run.phase() != Phase::Running {
            return true;
        }
        let map = self.flow.step(&place.step).and_then(|step| step.does.as_map());
        let Some(failures_max) = map.map(|map| map.failures_max) else { return false };
        self.run.mapping(&place.step).is_some_and(|mapping| mapping.failed > failures_max)
    }

    /// What a result lacks of what its step promised, or has too much of.
    fn broken_promise(&self, completed: &Completed) -> Option<FlowFault> {
        let Completed { place, output, context, .. } = completed;
        let step = || place.step.clone();
        let put = context.iter().map(|(key, value)| key.len() + value.as_str().len());
        let given = output.as_str().len() + put.sum::<usize>();
        if given > RUN_PAYLOAD_BYTES_MAX {
            let (what, max) = ("the output", RUN_PAYLOAD_BYTES_MAX);
            return Some(FlowFault::Payload { step: step(), what, given, max });
        }
        let contract = &self.flow.step(&place.step)?.contract;
        let lacking: Vec<String> =
            contract.produces.iter().filter(|key| !context.contains_key(*key)).cloned().collect();
        if !lacking.is_empty() {
            return Some(FlowFault::NotProduced { step: step(), keys: lacking });
        }
        let undeclared: Vec<String> =
            context.keys().filter(|key| !contract.produces.contains(*key)).cloned().collect();
        let is_refused = contract.strict && !undeclared.is_empty();
        is_refused.then(|| FlowFault::Undeclared { step: step(), keys: undeclared })
    }

    /// Plans another try, where that is decided here: for children, and for all steps when the
    /// workflow has a budget of retries.
    fn retry(&mut self, id: CallId, call: &OpenCall, fault: &Fault, jitter: Jitter) -> bool {
        let Some(step) = self.flow.step(&call.place.step) else { return false };
        let Some(policy) = self.policy(call.kind, step) else { return false };
        let budget = self.flow.graph().max_total_retries;
        let is_spent = budget.is_some_and(|max| self.run.retries() >= max);
        if is_spent || self.is_given_up(&call.place) || spent(self.run).is_some() {
            return false;
        }
        let pause = policy.delay_after(call.attempt, fault.class, fault.retry_after(), jitter);
        let Some(pause) = pause else { return false };
        let (timer, due_at) = (self.next_call(), after(self.now, pause));
        self.note(What::StepRetryScheduled {
            place: call.place.clone(),
            call: id,
            fault: fault.clone(),
            timer,
            attempt: call.attempt + 1,
            due_at,
        });
        self.command(Command::SetTimer { call: timer, due_at });
        true
    }

    fn policy(&self, kind: CallKind, step: &Step) -> Option<RetryPolicy> {
        if kind == CallKind::Child {
            return step.retry.clone();
        }
        let is_budgeted = self.flow.graph().max_total_retries.is_some();
        is_budgeted.then(|| step.retry.clone().unwrap_or_default())
    }

    pub(super) fn timer_fired(&mut self, id: CallId) {
        let Some(call) = self.run.call(id).cloned() else { return };
        match call.kind {
            CallKind::Timer => {
                self.note(What::TimerFired { call: id });
                self.leave(&call.place);
            }
            CallKind::Retry { is_due: false } => {
                self.note(What::TimerFired { call: id });
                self.restart(id, &call);
            }
            CallKind::Signal => {
                let fault = self.signal_timeout(&call.place.step);
                self.fail(call.place, Some(id), fault.into());
            }
            CallKind::Child if call.due_at.is_some() => {
                self.command(Command::Cancel { call: id });
                let seconds = self.timeout_of(&call.place.step);
                self.fail(call.place, Some(id), FlowFault::ChildTimeout { seconds }.into());
            }
            CallKind::Retry { is_due: true }
            | CallKind::Execution
            | CallKind::Child
            | CallKind::Compensation => {}
        }
    }

    fn timeout_of(&self, step: &StepName) -> u32 {
        self.flow.step(step).and_then(|step| step.timeout_seconds).unwrap_or(0)
    }

    fn signal_timeout(&self, name: &StepName) -> FlowFault {
        let step = self.flow.step(name);
        let signal = step.and_then(|step| step.does.as_signal()).unwrap_or_default().to_owned();
        FlowFault::SignalTimeout { signal, seconds: self.timeout_of(name) }
    }

    /// Begins the retries whose time came while the run was paused.
    pub(super) fn restart_due(&mut self) {
        let due: Vec<(CallId, OpenCall)> = (self.run.calls())
            .filter(|(_, call)| call.kind == CallKind::Retry { is_due: true })
            .map(|(id, call)| (id, call.clone()))
            .collect();
        for (id, call) in due {
            self.restart(id, &call);
        }
    }

    fn restart(&mut self, id: CallId, call: &OpenCall) {
        let Some(step) = self.flow.step(&call.place.step) else { return };
        if self.may_start() {
            let place = call.place.clone();
            self.start_performed(Attempt { place, number: call.attempt, timer: Some(id) }, step);
        }
    }

    /// Keeps a signal until a step takes it: the one that has waited longest, or one to come.
    pub(super) fn signalled(&mut self, name: String, id: Option<String>, payload: Json) {
        if id.as_ref().is_some_and(|id| self.run.knows_signal(id)) {
            return;
        }
        self.note(What::SignalReceived { name: name.clone(), id, payload });
        let Some(signal) = self.run.signal(&name) else { return };
        let waits_for_it = |call: &OpenCall| {
            let step = self.flow.step(&call.place.step);
            call.kind == CallKind::Signal
                && step.is_some_and(|step| step.does.as_signal() == Some(&name))
        };
        let first = self.run.calls().find(|(_, call)| waits_for_it(call));
        let Some((call, open)) = first.map(|(id, call)| (id, call.clone())) else { return };
        let step = open.place.step.clone();
        self.note(What::SignalTaken { step, call: Some(call), signal });
        if open.due_at.is_some() {
            self.command(Command::ClearTimer { call });
        }
        self.leave(&open.place);
    }
}
