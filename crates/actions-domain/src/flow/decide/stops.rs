//! How a run comes to its end: by itself, by a failure, or because somebody wants it to. And how
//! it begins again.

use std::collections::BTreeMap;

use super::{CallResult, Command, Decider, Start};
use crate::execution::Fault;
use crate::flow::fault::FlowFault;
use crate::flow::graph::StepName;
use crate::flow::journal::{CallId, Cause, Place, Scheduled, What};
use crate::flow::run::Phase;
use crate::json::Json;
use crate::limits::RUN_PAYLOAD_BYTES_MAX;

impl Decider<'_> {
    /// Starts nothing more, and asks for everything that is under way to end. The run ends when
    /// it has: only then is it known what has to be undone.
    pub(super) fn stop(&mut self, cause: Cause, compensate: bool) {
        match self.run.phase() {
            Phase::Running => {}
            Phase::Stopping { compensate: before, .. } if compensate && !before => {
                return self.note(What::RunStopped { cause, compensate });
            }
            Phase::Stopping { .. }
            | Phase::New
            | Phase::Completed { .. }
            | Phase::Failed { .. }
            | Phase::Cancelled
            | Phase::Continued => return,
        }
        self.note(What::RunStopped { cause, compensate });
        let calls: Vec<CallId> = self.run.calls().map(|(id, _)| id).collect();
        calls.into_iter().for_each(|call| self.give_up(call));
        let maps: Vec<StepName> = self.run.mappings().cloned().collect();
        self.looks.extend(maps);
    }

    /// Ends the run when nothing is left to do.
    pub(super) fn conclude(&mut self) {
        match self.run.phase().clone() {
            Phase::Running if self.run.ended_count() == self.flow.graph().steps.len() => {
                self.finish();
            }
            Phase::Stopping { cause, compensate } if self.run.open_count() == 0 => {
                let has_more = compensate && !self.undo_next();
                if !has_more {
                    self.end(cause);
                }
            }
            Phase::New
            | Phase::Running
            | Phase::Stopping { .. }
            | Phase::Completed { .. }
            | Phase::Failed { .. }
            | Phase::Cancelled
            | Phase::Continued => {}
        }
    }

    /// All steps are through.
    fn finish(&mut self) {
        if let Some((step, fault)) = self.run.failure().cloned() {
            return self.end(Cause::Step { step, fault });
        }
        match self.output() {
            Ok(output) => {
                self.note(What::RunCompleted { output });
                self.command(Command::End);
            }
            Err(fault) => self.end(Cause::Run { fault: fault.into() }),
        }
    }

    fn output(&self) -> Result<Json, FlowFault> {
        let Some(template) = &self.flow.graph().output else { return Ok(Json::null()) };
        let output = self.with.fill(template, &self.scope());
        let output = output.map_err(|why| FlowFault::Output { why })?;
        let given = output.as_str().len();
        if given > RUN_PAYLOAD_BYTES_MAX {
            let why = format!("it has {given} bytes, allowed are {RUN_PAYLOAD_BYTES_MAX}");
            return Err(FlowFault::Output { why });
        }
        Ok(output)
    }

    fn end(&mut self, cause: Cause) {
        let is_undone = !self.run.undone().is_empty();
        let compensated = is_undone.then(|| !self.run.has_failed_to_undo());
        if let Cause::Cancelled { reason } = cause {
            self.note(What::RunCancelled { reason, compensated });
        } else {
            self.note(What::RunFailed { cause: cause.clone(), compensated });
            if let Some(target) = self.flow.graph().dead_letter.clone() {
                self.command(Command::DeadLetter { target, cause });
            }
        }
        self.command(Command::End);
    }

    /// Begins to undo what was completed last and can be undone. Answers whether nothing is left.
    fn undo_next(&mut self) -> bool {
        loop {
            let flow = self.flow;
            let next = self.run.done().find_map(|place| {
                let step = flow.step(&place.step)?;
                Some((place.clone(), step, step.compensation.as_ref()?))
            });
            let Some((place, step, call)) = next else { return true };
            if self.run.is_paused() {
                return false;
            }
            let output = self.run.output_at(&place).cloned();
            let (input, key) = match self.call_texts(&place, call, output.as_ref()) {
                Ok(texts) => texts,
                Err(fault) => {
                    self.note(What::CompensationFailed { place, call: None, fault });
                    continue;
                }
            };
            let id = self.next_call();
            let scheduled =
                Scheduled { place: place.clone(), call: id, attempt: 1, due_at: None, timer: None };
            self.note(What::CompensationScheduled(scheduled));
            self.command(Command::Start(Start {
                call: id,
                place,
                is_compensation: true,
                attempt: 1,
                target: call.target.clone(),
                input,
                context: BTreeMap::new(),
                key,
                priority: step.priority,
                retry: step.retry.clone(),
                timeout_seconds: None,
            }));
            return false;
        }
    }

    /// What could not be undone does not keep the rest from being undone.
    pub(super) fn compensated(&mut self, id: CallId, place: Place, result: CallResult) {
        let fault: Fault = match result {
            CallResult::Completed { .. } => {
                return self.note(What::CompensationCompleted { place, call: id });
            }
            CallResult::Failed { fault, .. } => fault,
            CallResult::Cancelled => FlowFault::Cancelled.into(),
        };
        self.note(What::CompensationFailed { place, call: Some(id), fault });
    }

    pub(super) fn retry_from(&mut self, from: StepName) {
        let wrong = self.run.unfinished().chain(self.run.undone()).cloned();
        let again: Vec<StepName> = wrong.chain([from.clone()]).collect();
        let steps: Vec<StepName> = self.flow.downstream(again).into_iter().collect();
        self.note(What::RunRetried { from, steps });
        // Ways into what runs again are decided again, and those that nobody decided are now.
        let kept = self.run.steps().map(|(step, _)| step.clone());
        self.ended.extend(kept.collect::<Vec<_>>());
        self.look_at_all();
    }
}
