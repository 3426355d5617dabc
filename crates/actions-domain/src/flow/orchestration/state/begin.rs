//! What code can ask for, and how it begins.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use chrono::TimeDelta;

use super::{Slot, State, is_remark};
use crate::Timestamp;
use crate::action::ActionName;
use crate::execution::{Fault, Priority};
use crate::flow::decide::{Command, Start, spent};
use crate::flow::fault::FlowFault;
use crate::flow::graph::{StepName, Target};
use crate::flow::journal::{CallId, Place, Scheduled, What};
use crate::json::Json;
use crate::limits::{
    EVENT_BYTES_MAX, FLOW_DEPTH_MAX, RUN_OPEN_MAX, SCHEDULE_AHEAD_MAX, STEP_NAME_BYTES_MAX,
};
use crate::retry::RetryPolicy;
use crate::work::KeyMode;

/// Something that code asks for.
#[derive(Debug, Clone)]
pub(in crate::flow::orchestration) enum Ask {
    Activity(Box<ActivityAsk>),
    Child { flow: String, input: Json, undo: Option<Undo> },
    Timer(Due),
    Signal { name: String, within: Option<Duration> },
}

#[derive(Debug, Clone)]
pub(in crate::flow::orchestration) struct ActivityAsk {
    pub(in crate::flow::orchestration) label: String,
    pub(in crate::flow::orchestration) action: ActionName,
    pub(in crate::flow::orchestration) input: Json,
    pub(in crate::flow::orchestration) key: Option<(String, KeyMode)>,
    pub(in crate::flow::orchestration) priority: Option<Priority>,
    pub(in crate::flow::orchestration) retry: Option<RetryPolicy>,
    pub(in crate::flow::orchestration) timeout_seconds: Option<u32>,
    pub(in crate::flow::orchestration) undo: Option<Undo>,
}

/// What undoes a step: an action with this input, or with what the step left behind.
#[derive(Debug, Clone)]
pub(in crate::flow::orchestration) struct Undo {
    pub(in crate::flow::orchestration) action: ActionName,
    pub(in crate::flow::orchestration) input: Option<Json>,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::flow::orchestration) enum Due {
    After(Duration),
    At(Timestamp),
}

/// What became of something that was asked for.
pub(in crate::flow::orchestration) enum Begun {
    Waits(CallId),
    Ended(Result<Json, Fault>),
    /// There is no room for it now, or nothing follows any more.
    Not,
}

impl State {
    /// Asks for something, unless there is no room.
    pub(in crate::flow::orchestration) fn begin(&mut self, ask: &Ask, waker: &Waker) -> Begun {
        if self.is_halted() {
            return Begun::Not;
        }
        if self.run.open_count() >= RUN_OPEN_MAX {
            self.crowd.push(waker.clone());
            return Begun::Not;
        }
        if let Some(fault) = spent(&self.run) {
            self.spent = Some(fault);
            return Begun::Not;
        }
        match ask {
            Ask::Activity(ask) => self.begin_activity(ask),
            Ask::Child { flow, input, undo } => self.begin_child(flow, input, undo.as_ref()),
            Ask::Timer(due) => self.begin_timer(*due),
            Ask::Signal { name, within } => self.begin_signal(name, *within),
        }
    }

    fn begin_activity(&mut self, ask: &ActivityAsk) -> Begun {
        let step = self.step_name(&ask.label);
        if let Err(fault) = fits(&step, &ask.input) {
            return Begun::Ended(Err(fault));
        }
        let scheduled = self.scheduled(&step, None);
        let (call, place) = (scheduled.call, scheduled.place.clone());
        if self.meet(What::StepScheduled(scheduled)).is_none() {
            return Begun::Not;
        }
        self.command(Command::Start(Start {
            call,
            place,
            is_compensation: false,
            attempt: 1,
            target: Target::Action(ask.action.clone()),
            input: ask.input.clone(),
            context: BTreeMap::new(),
            key: ask.key.clone(),
            priority: ask.priority,
            retry: ask.retry.clone(),
            timeout_seconds: ask.timeout_seconds,
        }));
        self.undos.extend(ask.undo.clone().map(|undo| (step, undo)));
        self.wait(call, Slot::default())
    }

    fn begin_child(&mut self, flow: &str, input: &Json, undo: Option<&Undo>) -> Begun {
        let step = self.step_name(flow);
        let depth = self.run.depth() + 1;
        if depth > FLOW_DEPTH_MAX {
            return Begun::Ended(Err(FlowFault::Depth.into()));
        }
        if let Err(fault) = fits(&step, input) {
            return Begun::Ended(Err(fault));
        }
        let scheduled = self.scheduled(&step, None);
        let (call, place) = (scheduled.call, scheduled.place.clone());
        if self.meet(What::ChildScheduled(scheduled)).is_none() {
            return Begun::Not;
        }
        let (flow, input) = (flow.to_owned(), input.clone());
        self.command(Command::StartChild { call, place, flow, input, depth });
        self.undos.extend(undo.cloned().map(|undo| (step, undo)));
        self.wait(call, Slot::default())
    }

    fn begin_timer(&mut self, due: Due) -> Begun {
        let step = self.step_name("timer");
        let due_at = match due {
            Due::After(pause) => self.after(pause),
            Due::At(instant) => instant,
        };
        if due_at > self.after(SCHEDULE_AHEAD_MAX) {
            self.spent = Some(FlowFault::TooFar { step, until: due_at });
            return Begun::Not;
        }
        let scheduled = self.scheduled(&step, Some(due_at));
        let call = scheduled.call;
        if self.meet(What::TimerCreated(scheduled)).is_none() {
            return Begun::Not;
        }
        self.command(Command::SetTimer { call, due_at });
        self.wait(call, Slot::default())
    }

    fn begin_signal(&mut self, name: &str, within: Option<Duration>) -> Begun {
        let step = self.step_name(name);
        if let Some(signal) = self.run.signal(name) {
            let payload = self.run.payload_of(signal).cloned();
            let met = self.meet(What::SignalTaken { step, call: None, signal });
            let taken = payload.filter(|_| met.is_some());
            return taken.map_or(Begun::Not, |payload| Begun::Ended(Ok(payload)));
        }
        let due_at = within.map(|pause| self.after(pause));
        let scheduled = self.scheduled(&step, due_at);
        let call = scheduled.call;
        if self.meet(What::SignalAwaited(scheduled)).is_none() {
            return Begun::Not;
        }
        if let Some(due_at) = due_at {
            self.command(Command::SetTimer { call, due_at });
        }
        let seconds = within.map_or(0, |pause| pause.as_secs());
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        self.wait(call, Slot { signal: Some(name.to_owned()), seconds, ..Slot::default() })
    }

    fn wait(&mut self, call: CallId, slot: Slot) -> Begun {
        self.slots.insert(call, slot);
        Begun::Waits(call)
    }

    fn scheduled(&self, step: &StepName, due_at: Option<Timestamp>) -> Scheduled {
        let call = CallId(self.next_entry());
        Scheduled { place: Place::step(step), call, attempt: 1, due_at, timer: None }
    }

    /// The number of the entry that comes next, remarks aside.
    fn next_entry(&self) -> u32 {
        let remarks = self.entries.iter().skip(self.at).take_while(|entry| is_remark(&entry.what));
        let remarks = if self.is_loading { remarks.count() } else { 0 };
        self.run.entry_count().saturating_add(u32::try_from(remarks).unwrap_or(u32::MAX))
    }

    fn after(&self, pause: Duration) -> Timestamp {
        let pause = TimeDelta::from_std(pause).ok();
        let instant = pause.and_then(|pause| self.now.checked_add_signed(pause));
        instant.unwrap_or(Timestamp::MAX_UTC)
    }

    /// The label, with a number when there is such a step already.
    fn step_name(&mut self, label: &str) -> StepName {
        let base = speakable(label);
        let count = self.counts.entry(base.clone()).or_default();
        loop {
            *count += 1;
            let name = if *count == 1 { base.clone() } else { format!("{base}-{count}") };
            match StepName::parse(&name) {
                Ok(name) if self.names.insert(name.clone()) => return name,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Bytes of a label: a number of up to ten digits has to fit behind it.
const LABEL_BYTES_MAX: usize = STEP_NAME_BYTES_MAX - 11;

/// A label as the name of a step.
fn speakable(label: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let starts = label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let chars = label.chars().map(|c| if is_allowed(c) { c } else { '-' });
    let mut name = if starts { String::new() } else { "_".to_owned() };
    name.extend(chars.take(LABEL_BYTES_MAX - 1));
    name
}

fn fits(step: &StepName, input: &Json) -> Result<(), Fault> {
    let given = input.as_str().len();
    if given > EVENT_BYTES_MAX {
        let (what, max) = ("the input", EVENT_BYTES_MAX);
        return Err(FlowFault::Payload { step: step.clone(), what, given, max }.into());
    }
    Ok(())
}
