//! Follows code through a history, and one input further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};

use super::context::Context;
use super::state::State;
use super::trouble::Trouble;
use super::{Body, Orchestration, Past};
use crate::Timestamp;
use crate::execution::Fault;
use crate::flow::decide::{CallResult, Command, Input, Refusal, Turn, refuse_any};
use crate::flow::digest::FlowDigest;
use crate::flow::fault::FlowFault;
use crate::flow::graph::FailureImpact;
use crate::flow::journal::{CallId, Cause, Completed, Entry, Failed, Limit, Place, What};
use crate::flow::run::{CallKind, Phase};
use crate::json::Json;
use crate::limits::{RUN_BYTES_WARN, RUN_ENTRIES_WARN, RUN_PAYLOAD_BYTES_MAX};

mod stops;

/// Times that code may wake itself while nothing comes from outside.
const ROUNDS_MAX: usize = 10_000;

/// Code that stands where the history ends.
pub(super) struct Replayer {
    code: Orchestration,
    context: Context,
    /// `None`: it has not begun, or nothing follows any more.
    body: Option<Body>,
    flag: Arc<Flag>,
}

/// Whether the code has woken itself.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The past.
impl Replayer {
    /// Follows the code through the history. Where that fails, the rest of the history is read
    /// without it.
    pub(super) fn load(code: &Orchestration, past: Past<'_>) -> Self {
        let context = Context::new(State::new(past.run, past.entries));
        let mut replayer =
            Self { code: code.clone(), context, body: None, flag: Arc::new(Flag::default()) };
        while let Some(entry) = replayer.next() {
            replayer.happened(&entry);
        }
        replayer.context.state().is_loading = false;
        replayer
    }

    /// The next entry that came from outside. Entries of the code were passed while it was
    /// followed: one that is left was not made by this code.
    fn next(&self) -> Option<Entry> {
        let mut state = self.context.state();
        state.pass_remarks();
        let what = state.entries.get(state.at)?.what.clone();
        // A stop for want of room looks like a failure of the code.
        let is_on = *state.run.phase() == Phase::Running && state.spent.is_none();
        if is_on
            && state.trouble.is_none()
            && let Some(expected) = state.deed(&what)
        {
            let got = state.doing();
            state.mismatch(expected, got);
        }
        state.now = state.entries.get(state.at)?.at;
        state.pass()
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.context.state().trouble.clone()
    }

    pub(super) fn published(&self, name: &str) -> Option<Json> {
        self.context.state().published.get(name).cloned()
    }
}

/// The present.
impl Replayer {
    pub(super) fn take(&mut self, input: Input, now: Timestamp) -> Result<Turn, Refusal> {
        let start = self.refuse(&input)?;
        self.context.state().now = now;
        let was_running = self.is_running();
        match input {
            Input::Start { input, context, depth } => {
                let flow = self.code.digest();
                self.happen(What::RunStarted { flow, input, context, depth });
            }
            Input::Ended { call, result } => self.answered(call, result),
            Input::TimerFired { call } => self.timer_fired(call),
            Input::Signal { name, id, payload } => self.signalled(name, id, payload),
            Input::Pause { reason } => self.happen(What::RunPaused { reason }),
            Input::Resume => self.happen(What::RunResumed),
            Input::Cancel { reason, compensate } => {
                // Only code that can be followed says what there is to undo.
                let compensate = compensate && self.trouble().is_none();
                self.happen(What::RunStopped { cause: Cause::Cancelled { reason }, compensate });
            }
            Input::RetryFrom { .. } => {}
        }
        self.hand_out_signals();
        self.park(start);
        self.stop_when_spent();
        if was_running && !self.is_running() {
            self.give_up_all();
        }
        self.conclude();
        self.warn();
        let mut state = self.context.state();
        let commands = std::mem::take(&mut state.commands);
        Ok(Turn { entries: state.entries[start..].to_vec(), commands })
    }

    /// Answers how many entries there are.
    fn refuse(&self, input: &Input) -> Result<usize, Refusal> {
        let state = self.context.state();
        refuse_any(self.digest(), &state.run, input)?;
        if matches!(input, Input::RetryFrom { .. }) {
            return Err(Refusal::OfCode);
        }
        match &state.trouble {
            Some(trouble) if *input == Input::Resume => {
                Err(Refusal::Parked { why: trouble.to_string() })
            }
            Some(_) | None => Ok(state.entries.len()),
        }
    }

    fn digest(&self) -> FlowDigest {
        self.code.digest()
    }

    fn is_running(&self) -> bool {
        *self.context.state().run.phase() == Phase::Running
    }

    fn happen(&mut self, what: What) {
        let entry = {
            let mut state = self.context.state();
            state.note(what.clone());
            Entry { at: state.now, what }
        };
        self.happened(&entry);
    }

    fn note(&self, what: What) {
        self.context.state().note(what);
    }

    fn answered(&mut self, call: CallId, result: CallResult) {
        let (open, is_awaited) = {
            let state = self.context.state();
            let open = state.run.call(call).filter(|call| call.kind.is_performed()).cloned();
            (open, state.slots.contains_key(&call) || state.trouble.is_some())
        };
        let Some(open) = open else { return };
        let place = open.place;
        if open.kind == CallKind::Compensation {
            return self.compensated(call, place, result);
        }
        let failed = |place, fault| {
            let impact = FailureImpact::Ignore;
            let failed = Failed { place, call: Some(call), fault, impact };
            if open.kind == CallKind::Child {
                What::ChildFailed(failed)
            } else {
                What::StepFailed(failed)
            }
        };
        let what = match result {
            CallResult::Completed { output, context } => match too_large(&place, &output) {
                Some(fault) => failed(place, fault),
                None => {
                    let completed = Completed { place, call: Some(call), output, context };
                    if open.kind == CallKind::Child {
                        What::ChildCompleted(completed)
                    } else {
                        What::StepCompleted(completed)
                    }
                }
            },
            CallResult::Failed { fault, .. } => failed(place, fault),
            // The code asked for it, or somebody else did. Only the latter is a failure.
            CallResult::Cancelled if is_awaited && self.is_running() => {
                failed(place, FlowFault::Cancelled.into())
            }
            CallResult::Cancelled => What::StepCancelled { place, call: Some(call) },
        };
        self.happen(what);
    }

    fn timer_fired(&mut self, call: CallId) {
        let open = self.context.state().run.call(call).cloned();
        let Some(open) = open else { return };
        match open.kind {
            CallKind::Timer => self.happen(What::TimerFired { call }),
            CallKind::Signal => {
                let step = &open.place.step;
                let fault = self.context.state().signal_timeout(call, step).into();
                let impact = FailureImpact::Ignore;
                let (place, call) = (open.place, Some(call));
                self.happen(What::StepFailed(Failed { place, call, fault, impact }));
            }
            CallKind::Execution
            | CallKind::Child
            | CallKind::Retry { .. }
            | CallKind::Compensation => {}
        }
    }

    /// One that is sent again with the same id counts once.
    fn signalled(&mut self, name: String, id: Option<String>, payload: Json) {
        let is_known = id.as_ref().is_some_and(|id| self.context.state().run.knows_signal(id));
        if !is_known {
            self.happen(What::SignalReceived { name, id, payload });
        }
    }

    /// Gives kept signals to those who wait for them.
    fn hand_out_signals(&mut self) {
        loop {
            let (what, has_timer) = {
                let state = self.context.state();
                if state.trouble.is_some() || *state.run.phase() != Phase::Running {
                    return;
                }
                let Some((call, signal)) = state.wanted_signal() else { return };
                let Some(open) = state.run.call(call) else { return };
                let step = open.place.step.clone();
                let taken = What::SignalTaken { step, call: Some(call), signal };
                (taken, open.due_at.map(|_| call))
            };
            self.happen(what);
            if let Some(call) = has_timer {
                self.context.state().command(Command::ClearTimer { call });
            }
        }
    }

    /// Says once that a limit is near.
    fn warn(&self) {
        let mut state = self.context.state();
        let near = [
            (Limit::Entries, state.run.entry_count() >= RUN_ENTRIES_WARN),
            (Limit::Bytes, state.run.bytes() >= RUN_BYTES_WARN),
        ];
        for (limit, is_near) in near {
            if is_near && !state.run.is_warned(limit) && !state.run.phase().is_final() {
                state.note(What::LimitNeared { limit });
            }
        }
    }
}

/// What the code makes of it: the same, whether it happens or is read in the history.
impl Replayer {
    fn happened(&mut self, entry: &Entry) {
        let is_new = match &entry.what {
            What::RunStarted { input, .. } => {
                self.body = Some(self.code.begin(self.context.clone(), input.clone()));
                true
            }
            What::StepCompleted(Completed { call, output, .. })
            | What::ChildCompleted(Completed { call, output, .. }) => {
                self.deliver(*call, Ok(output.clone()))
            }
            What::StepFailed(Failed { call, fault, .. })
            | What::ChildFailed(Failed { call, fault, .. }) => {
                self.deliver(*call, Err(fault.clone()))
            }
            What::TimerFired { call } => self.deliver(Some(*call), Ok(Json::null())),
            What::SignalTaken { call, step, .. } => {
                // It is the step's output since it was taken.
                let payload = self.context.state().run.output_of(step).cloned();
                self.deliver(*call, Ok(payload.unwrap_or_else(Json::null)))
            }
            What::StepCancelled { call, .. } => {
                self.deliver(*call, Err(FlowFault::Cancelled.into()))
            }
            What::RunResumed => true,
            What::RunStopped { .. } => {
                self.body = None;
                false
            }
            What::StepScheduled(_)
            | What::StepRetryScheduled { .. }
            | What::StepRepeated { .. }
            | What::StepSkipped { .. }
            | What::ChildScheduled(_)
            | What::TimerCreated(_)
            | What::SignalAwaited(_)
            | What::MapExpanded { .. }
            | What::ChoiceMade { .. }
            | What::WaysClosed { .. }
            | What::SignalReceived { .. }
            | What::CompensationScheduled(_)
            | What::CompensationCompleted { .. }
            | What::CompensationFailed { .. }
            | What::RunPaused { .. }
            | What::RunRetried { .. }
            | What::RunCompleted { .. }
            | What::RunFailed { .. }
            | What::RunCancelled { .. }
            | What::LimitNeared { .. }
            | What::SideEffectRecorded { .. }
            | What::PatchMarked { .. }
            | What::StatusSet { .. }
            | What::RunParked { .. }
            | What::RunContinued { .. } => false,
        };
        if is_new && !self.is_parked_next() {
            self.follow();
        }
    }

    fn deliver(&self, call: Option<CallId>, answer: Result<Json, Fault>) -> bool {
        call.is_some_and(|call| self.context.state().deliver(call, answer))
    }

    /// Whether the code could not be followed from here when this happened.
    fn is_parked_next(&self) -> bool {
        let state = self.context.state();
        let next = state.entries.get(state.at).map(|entry| &entry.what);
        matches!(next, Some(What::RunParked { .. }))
    }

    /// Follows the code until it waits.
    fn follow(&mut self) {
        let kept = {
            let mut state = self.context.state();
            let is_on = *state.run.phase() == Phase::Running && !state.run.is_paused();
            if !is_on || state.trouble.is_some() || self.body.is_none() {
                return;
            }
            state.is_followed = true;
            (state.entries.len(), state.commands.len())
        };
        match self.poll() {
            Ok(Some(Ok(output))) => self.complete(output),
            Ok(Some(Err(fault))) => self.fail(fault),
            Ok(None) => self.go_on_as_new(),
            Err(trouble) => {
                self.context.state().trouble = Some(trouble);
                self.body = None;
            }
        }
        let mut state = self.context.state();
        state.is_followed = false;
        if state.trouble.is_some() && !state.is_loading {
            state.forget(kept);
        }
    }

    /// Polls the code as long as it wakes itself. Answers what it came to, if it has ended.
    fn poll(&mut self) -> Result<Option<Result<Json, Fault>>, Trouble> {
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut context = std::task::Context::from_waker(&waker);
        let entry = u32::try_from(self.context.state().at.saturating_sub(1)).unwrap_or(u32::MAX);
        for _ in 0..ROUNDS_MAX {
            let Some(body) = &mut self.body else { return Ok(None) };
            self.flag.0.store(false, Ordering::Relaxed);
            let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(&mut context)));
            if let Some(trouble) = self.trouble() {
                return Err(trouble);
            }
            match polled {
                Err(panic) => return Err(Trouble::Panicked { entry, message: said(&*panic) }),
                Ok(Poll::Ready(result)) => return Ok(Some(result)),
                Ok(Poll::Pending) if self.flag.0.load(Ordering::Relaxed) => {}
                Ok(Poll::Pending) if self.context.state().waits() => return Ok(None),
                Ok(Poll::Pending) => return Err(Trouble::Stuck { entry }),
            }
        }
        Err(Trouble::Restless { entry })
    }

    fn complete(&mut self, output: Json) {
        self.body = None;
        let mut state = self.context.state();
        if state.meet(What::RunCompleted { output }).is_some() {
            state.command(Command::End);
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.body = None;
        let cause = Cause::Run { fault };
        self.context.state().meet(What::RunStopped { cause, compensate: true });
    }

    fn go_on_as_new(&mut self) {
        let Some(input) = self.context.state().continues_with.take() else { return };
        // What is under way is given up.
        self.body = None;
        let mut state = self.context.state();
        let signals = state.run.signals();
        let signals = signals.map(|(name, payload)| (name.to_owned(), payload.clone())).collect();
        if state.meet(What::RunContinued { input: input.clone() }).is_some() {
            state.command(Command::Continue { input, signals });
        }
    }
}

fn too_large(place: &Place, output: &Json) -> Option<Fault> {
    let (given, max) = (output.as_str().len(), RUN_PAYLOAD_BYTES_MAX);
    let (step, what) = (place.step.clone(), "the output");
    (given > max).then(|| FlowFault::Payload { step, what, given, max }.into())
}

/// What somebody said who panicked.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it does not say why".to_owned())
}
