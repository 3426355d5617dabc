//! What is known while code is followed: the history, how far the code came in it, and what it
//! waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::Duration;

use chrono::TimeDelta;
use uuid::Uuid;

use super::trouble::{Trouble, deed, is_remark};
use crate::Timestamp;
use crate::action::ActionName;
use crate::execution::{Fault, Priority};
use crate::flow::decide::{Command, Start, spent};
use crate::flow::fault::FlowFault;
use crate::flow::graph::{StepName, Target};
use crate::flow::journal::{CallId, Entry, Place, Scheduled, What};
use crate::flow::run::Run;
use crate::json::Json;
use crate::limits::{
    EVENT_BYTES_MAX, FLOW_DEPTH_MAX, RUN_OPEN_MAX, SCHEDULE_AHEAD_MAX, STEP_NAME_BYTES_MAX,
};
use crate::retry::RetryPolicy;
use crate::work::KeyMode;

/// Something that code asks for.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Activity(Box<ActivityAsk>),
    Child { flow: String, input: Json, undo: Option<Undo> },
    Timer(Due),
    Signal { name: String, within: Option<Duration> },
}

#[derive(Debug, Clone)]
pub(super) struct ActivityAsk {
    pub(super) label: String,
    pub(super) action: ActionName,
    pub(super) input: Json,
    pub(super) key: Option<(String, KeyMode)>,
    pub(super) priority: Option<Priority>,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) timeout_seconds: Option<u32>,
    pub(super) undo: Option<Undo>,
}

/// What undoes a step: an action with this input, or with what the step left behind.
#[derive(Debug, Clone)]
pub(super) struct Undo {
    pub(super) action: ActionName,
    pub(super) input: Option<Json>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    After(Duration),
    At(Timestamp),
}

/// What became of something that was asked for.
pub(super) enum Begun {
    Waits(CallId),
    Ended(Result<Json, Fault>),
    /// There is no room for it now, or nothing follows any more.
    Not,
}

/// Something that the code waits for.
#[derive(Debug, Default)]
pub(super) struct Slot {
    answer: Option<Result<Json, Fault>>,
    waker: Option<Waker>,
    /// The name of a signal.
    signal: Option<String>,
    seconds: u32,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) run: Run,
    /// The history, and behind it what this turn adds.
    pub(super) entries: Vec<Entry>,
    /// The entry that comes next. While a turn is made, all of them are behind us.
    pub(super) at: usize,
    pub(super) is_loading: bool,
    pub(super) now: Timestamp,
    pub(super) commands: Vec<Command>,
    /// Whether the code is followed right now. What it drops at other times is not its own doing.
    pub(super) is_followed: bool,
    pub(super) slots: BTreeMap<CallId, Slot>,
    /// Waits until something ends, because too much is under way.
    crowd: Vec<Waker>,
    pub(super) undos: BTreeMap<StepName, Undo>,
    names: BTreeSet<StepName>,
    counts: BTreeMap<String, u32>,
    patches: BTreeMap<String, bool>,
    seed: Uuid,
    id_count: u64,
    pub(super) published: BTreeMap<String, Json>,
    pub(super) trouble: Option<Trouble>,
    /// The input of the run that takes the place of this one.
    pub(super) continues_with: Option<Json>,
    /// Why nothing more can be started.
    pub(super) spent: Option<FlowFault>,
}

impl State {
    pub(super) fn new(seed: Uuid, entries: &[Entry]) -> Self {
        let patches = entries.iter().filter_map(|entry| {
            let What::PatchMarked { patch } = &entry.what else { return None };
            Some((patch.clone(), true))
        });
        Self {
            run: Run::default(),
            patches: patches.collect(),
            entries: entries.to_vec(),
            at: 0,
            is_loading: true,
            now: Timestamp::UNIX_EPOCH,
            commands: Vec::new(),
            is_followed: false,
            slots: BTreeMap::new(),
            crowd: Vec::new(),
            undos: BTreeMap::new(),
            names: BTreeSet::new(),
            counts: BTreeMap::new(),
            seed,
            id_count: 0,
            published: BTreeMap::new(),
            trouble: None,
            continues_with: None,
            spent: None,
        }
    }

    /// Nothing that the code does counts any more.
    fn is_halted(&self) -> bool {
        !self.is_followed
            || self.trouble.is_some()
            || self.continues_with.is_some()
            || self.spent.is_some()
    }

    /// Takes the next entry of the history in.
    pub(super) fn pass(&mut self) -> Option<Entry> {
        let entry = self.entries.get(self.at)?.clone();
        self.at += 1;
        self.run.evolve(&entry);
        Some(entry)
    }

    /// Writes a new entry down.
    pub(super) fn note(&mut self, what: What) {
        self.entries.push(Entry { at: self.now, what });
        self.pass();
    }

    pub(super) fn command(&mut self, command: Command) {
        if !self.is_loading {
            self.commands.push(command);
        }
    }

    /// Drops what the code did in vain.
    pub(super) fn forget(&mut self, (entries, commands): (usize, usize)) {
        self.entries.truncate(entries);
        self.commands.truncate(commands);
        self.at = entries;
        self.run = Run::replay(&self.entries);
        self.slots.clear();
        self.spent = None;
    }

    /// Passes over what is of no account for the code.
    pub(super) fn pass_remarks(&mut self) {
        while self.entries.get(self.at).is_some_and(|entry| is_remark(&entry.what)) {
            self.pass();
        }
    }

    /// What the history says comes next, as something that the code does.
    pub(super) fn deed(&self, what: &What) -> Option<String> {
        deed(what, |call| self.run.call(call).map(|call| call.kind))
    }

    /// The code does this: as the history says, or as something new when all of it was followed.
    /// Answers what is written down.
    pub(super) fn meet(&mut self, what: What) -> Option<What> {
        if self.trouble.is_some() {
            return None;
        }
        if self.is_loading {
            self.pass_remarks();
            let recorded = self.entries.get(self.at).map(|entry| entry.what.clone());
            let expected = recorded.as_ref().map(|recorded| self.deed(recorded));
            let got = self.deed(&what);
            if expected.as_ref() != Some(&got) {
                let expected = match expected {
                    None => "did nothing more".to_owned(),
                    Some(None) => "waited for what came next".to_owned(),
                    Some(Some(deed)) => deed,
                };
                self.mismatch(expected, got.unwrap_or_default());
                return None;
            }
            self.pass();
            return recorded;
        }
        self.note(what.clone());
        Some(what)
    }

    pub(super) fn mismatch(&mut self, expected: String, got: String) {
        let entry = u32::try_from(self.at).unwrap_or(u32::MAX);
        self.trouble = Some(Trouble::Mismatch { entry, expected, got });
    }

    /// What the code does at the end of what it was given, for a person.
    pub(super) fn doing(&self) -> String {
        let waiting = self.slots.iter().filter(|(_, slot)| slot.answer.is_none());
        let names: Vec<&str> = waiting
            .filter_map(|(call, _)| Some(self.run.call(*call)?.place.step.as_str()))
            .collect();
        if self.run.phase().is_final() || names.is_empty() {
            return "does nothing more".to_owned();
        }
        format!("waits for {}", names.join(", "))
    }

    /// Asks for something, unless there is no room.
    pub(super) fn begin(&mut self, ask: &Ask, waker: &Waker) -> Begun {
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

    /// The answer to a call, once.
    pub(super) fn answer(&mut self, call: CallId, waker: &Waker) -> Option<Result<Json, Fault>> {
        let slot = self.slots.get_mut(&call)?;
        if slot.answer.is_none() {
            slot.waker = Some(waker.clone());
            return None;
        }
        self.slots.remove(&call).and_then(|slot| slot.answer)
    }

    /// Answers what the code waits for. Whether there is anything new for it.
    pub(super) fn deliver(&mut self, call: CallId, answer: Result<Json, Fault>) -> bool {
        let was_crowded = self.make_room();
        let Some(slot) = self.slots.get_mut(&call) else { return was_crowded };
        slot.answer = Some(answer);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        true
    }

    /// Wakes what found no room. Whether there was any.
    fn make_room(&mut self) -> bool {
        let was_crowded = !self.crowd.is_empty();
        self.crowd.drain(..).for_each(Waker::wake);
        was_crowded
    }

    /// The code does not wait for it any more.
    pub(super) fn abandon(&mut self, call: CallId) {
        let Some(slot) = self.slots.remove(&call) else { return };
        if self.is_halted() || slot.answer.is_some() {
            return;
        }
        let Some(open) = self.run.call(call).cloned() else { return };
        if open.kind.is_performed() {
            return self.command(Command::Cancel { call });
        }
        let cancelled = What::StepCancelled { place: open.place, call: Some(call) };
        if self.meet(cancelled).is_some() && open.due_at.is_some() {
            self.command(Command::ClearTimer { call });
        }
        self.make_room();
    }

    /// The first kept signal that somebody waits for, and the call that has waited for it longest.
    pub(super) fn wanted_signal(&self) -> Option<(CallId, u32)> {
        let waiting = self.slots.iter().filter(|(_, slot)| slot.answer.is_none());
        waiting
            .into_iter()
            .find_map(|(call, slot)| Some((*call, self.run.signal(slot.signal.as_deref()?)?)))
    }

    pub(super) fn signal_timeout(&self, call: CallId, step: &StepName) -> FlowFault {
        let slot = self.slots.get(&call);
        let signal = slot.and_then(|slot| slot.signal.clone());
        FlowFault::SignalTimeout {
            signal: signal.unwrap_or_else(|| step.to_string()),
            seconds: slot.map_or(0, |slot| slot.seconds),
        }
    }

    /// Whether anything can still come for the code.
    pub(super) fn waits(&self) -> bool {
        !self.crowd.is_empty()
            || self.continues_with.is_some()
            || self.spent.is_some()
            || self.slots.values().any(|slot| slot.answer.is_none())
    }

    /// What an effect of the code's own came to, where it was recorded. `Err`: it is to be done
    /// now. `Ok(None)`: nothing follows any more.
    pub(super) fn recorded(&mut self, name: &str) -> Result<Option<Json>, ()> {
        if self.is_halted() {
            return Ok(None);
        }
        if !self.is_loading {
            return Err(());
        }
        let asked = What::SideEffectRecorded { name: name.to_owned(), value: Json::null() };
        let met = self.meet(asked);
        Ok(met.and_then(|what| {
            if let What::SideEffectRecorded { value, .. } = what { Some(value) } else { None }
        }))
    }

    /// Whether the code goes the new way. Where it came by before without being asked, it goes
    /// the old one, for good.
    pub(super) fn patched(&mut self, patch: &str) -> bool {
        if let Some(known) = self.patches.get(patch) {
            return *known;
        }
        let is_new = !self.is_loading && !self.is_halted();
        if is_new {
            self.note(What::PatchMarked { patch: patch.to_owned() });
        }
        self.patches.insert(patch.to_owned(), is_new);
        is_new
    }

    /// What is the same already is not written down again.
    pub(super) fn set_status(&mut self, status: Json) {
        let is_known = self.run.custom_status() == Some(&status);
        if !self.is_loading && !self.is_halted() && !is_known {
            self.note(What::StatusSet { status });
        }
    }

    /// An id that nobody else has, and that is the same whenever the code is followed.
    pub(super) fn next_id(&mut self) -> Uuid {
        self.id_count += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.seed.as_bytes()).update(&self.id_count.to_be_bytes());
        let mut bytes = [0_u8; 16];
        hasher.finalize_xof().fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
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
