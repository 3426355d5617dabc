//! What is known while code is followed: the history, how far the code came in it, and what it
//! waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use uuid::Uuid;

use super::trouble::{Trouble, deed, is_remark};
use crate::Timestamp;
use crate::execution::Fault;
use crate::flow::decide::Command;
use crate::flow::fault::FlowFault;
use crate::flow::graph::StepName;
use crate::flow::journal::{CallId, Entry, What};
use crate::flow::run::Run;
use crate::json::Json;

mod begin;

pub(super) use begin::{ActivityAsk, Ask, Begun, Due, Undo};

/// What an effect of the code's own came to.
pub(super) enum Effect {
    Recorded(Json),
    /// It is to be done now.
    New,
    /// Nothing follows any more.
    Never,
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

    /// What an effect of the code's own came to, where it was recorded.
    pub(super) fn recorded(&mut self, name: &str) -> Effect {
        if self.is_halted() {
            return Effect::Never;
        }
        if !self.is_loading {
            return Effect::New;
        }
        let asked = What::SideEffectRecorded { name: name.to_owned(), value: Json::null() };
        let met = self.meet(asked);
        if let Some(What::SideEffectRecorded { value, .. }) = met {
            return Effect::Recorded(value);
        }
        Effect::Never
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
}
