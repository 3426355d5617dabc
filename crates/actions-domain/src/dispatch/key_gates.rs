//! Who may start by the limits that an action has for each key, and who waits for that.
//!
//! All items with one key are in one partition, so its owner counts alone and asks nobody. What it
//! has counted goes with the partition: whatever ran there has ended by then, so the count of
//! those that run is exact, and a rate lets its burst pass once more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::after;
use super::entries::Slot;
use super::gates::Turn;
use crate::Timestamp;
use crate::id::ActionId;
use crate::throttle::{Bucket, PerKey, Rate};

/// Keys whose rates are remembered while nothing of them waits or runs: beyond that, the one that
/// is nearest to being forgotten lets its burst pass once more.
const REMEMBERED_MAX: usize = 100_000;

/// What is counted for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Count {
    Running,
    Starts,
}

/// Names a gate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyGateId {
    pub(super) action: ActionId,
    pub(super) count: Count,
    pub(super) key: Arc<str>,
}

/// What keeps an item from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyBar {
    Running { running: u32, max: u32 },
    Starts { until: Timestamp },
}

/// The gates of all keys. There is one while something of its key runs or waits, or while its
/// rate has to be remembered.
#[derive(Debug)]
pub(super) struct KeyGates {
    now: Timestamp,
    limits: HashMap<ActionId, PerKey>,
    gates: HashMap<KeyGateId, KeyGate>,
    /// When a rate has another start for those that wait, or is to be forgotten.
    agenda: BTreeSet<(Timestamp, KeyGateId)>,
}

#[derive(Debug, Default)]
struct KeyGate {
    busy: u32,
    /// Items that were called from the line and have not had their turn yet.
    called: u32,
    bucket: Bucket,
    parked: BTreeMap<Turn, Slot>,
    looked_at_again: Option<Timestamp>,
}

impl Default for KeyGates {
    fn default() -> Self {
        Self {
            now: Timestamp::MIN_UTC,
            limits: HashMap::new(),
            gates: HashMap::new(),
            agenda: BTreeSet::new(),
        }
    }
}

impl KeyGates {
    /// Lets time pass, and answers who is called by that.
    pub(super) fn tick(&mut self, now: Timestamp) -> Vec<Slot> {
        self.now = now;
        let mut called = Vec::new();
        while let Some((at, id)) = self.agenda.first().cloned()
            && at <= now
        {
            self.agenda.pop_first();
            if let Some(gate) = self.gates.get_mut(&id) {
                gate.looked_at_again = None;
            }
            called.extend(self.call(&id));
        }
        called
    }

    /// When to come back at the latest.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// Changes the limits of an action, and answers who is called by that.
    pub(super) fn set(&mut self, action: ActionId, limits: PerKey) -> Vec<Slot> {
        let former = if limits == PerKey::default() {
            self.limits.remove(&action)
        } else {
            self.limits.insert(action, limits)
        };
        if former.unwrap_or_default() == limits {
            return Vec::new();
        }
        let own = self.gates.keys().filter(|id| id.action == action);
        let own: BTreeSet<KeyGateId> = own.cloned().collect();
        own.iter().flat_map(|id| self.call(id)).collect()
    }

    /// What keeps the next item of a key from starting.
    pub(super) fn bar(&self, id: &KeyGateId) -> Option<KeyBar> {
        let limits = self.limits.get(&id.action)?;
        let gate = self.gates.get(id)?;
        match id.count {
            Count::Running => {
                let max = limits.concurrency.filter(|max| gate.busy >= *max)?;
                Some(KeyBar::Running { running: gate.busy, max })
            }
            Count::Starts => {
                let (count, again_in) = gate.stock(limits.rate, 1, self.now);
                (count == 0).then(|| KeyBar::Starts { until: after(self.now, again_in) })
            }
        }
    }

    /// Counts an item that starts. Its gate has to be open.
    pub(super) fn take(&mut self, id: &KeyGateId) {
        let limits = self.limits.get(&id.action).copied().unwrap_or_default();
        let gate = self.gates.entry(id.clone()).or_default();
        match id.count {
            Count::Running => gate.busy += 1,
            Count::Starts => drop(limits.rate.draw(&mut gate.bucket, self.now, 1)),
        }
        self.look_again(id);
        if self.agenda.len() > REMEMBERED_MAX {
            let is_idle = |id: &KeyGateId| self.gates.get(id).is_none_or(KeyGate::is_idle);
            let next = self.agenda.iter().find(|(_, id)| is_idle(id)).cloned();
            if let Some((at, id)) = next {
                self.agenda.remove(&(at, id.clone()));
                self.gates.remove(&id);
            }
        }
    }

    /// An item that was counted has ended. Answers who is called by that.
    pub(super) fn leave(&mut self, id: &KeyGateId) -> Vec<Slot> {
        if let Some(gate) = self.gates.get_mut(id)
            && id.count == Count::Running
        {
            gate.busy = gate.busy.saturating_sub(1);
        }
        self.call(id)
    }

    pub(super) fn park(&mut self, id: &KeyGateId, turn: Turn, slot: Slot) {
        self.gates.entry(id.clone()).or_default().parked.insert(turn, slot);
        self.look_again(id);
    }

    pub(super) fn unpark(&mut self, id: &KeyGateId, turn: Turn) {
        if let Some(gate) = self.gates.get_mut(id) {
            gate.parked.remove(&turn);
        }
        self.look_again(id);
    }

    /// Somebody who was called has had its turn, or will have none.
    pub(super) fn answer_call(&mut self, id: &KeyGateId) {
        if let Some(gate) = self.gates.get_mut(id) {
            gate.called = gate.called.saturating_sub(1);
        }
    }

    /// Calls from the line as many as may start.
    pub(super) fn call(&mut self, id: &KeyGateId) -> Vec<Slot> {
        let limits = self.limits.get(&id.action).copied().unwrap_or_default();
        let Some(gate) = self.gates.get_mut(id) else { return Vec::new() };
        let room = match (id.count, limits.concurrency) {
            (Count::Running, Some(max)) => max.saturating_sub(gate.busy),
            (Count::Starts, _) if limits.rate.is_limited() => {
                gate.stock(limits.rate, u32::MAX, self.now).0
            }
            (Count::Running | Count::Starts, _) => u32::MAX,
        };
        let mut called = Vec::new();
        while gate.called < room
            && let Some((_, slot)) = gate.parked.pop_first()
        {
            gate.called += 1;
            called.push(slot);
        }
        self.look_again(id);
        called
    }

    /// Notes when to look at a gate again, and forgets one that has nothing to remember.
    fn look_again(&mut self, id: &KeyGateId) {
        let Some(gate) = self.gates.get_mut(id) else { return };
        let rate = self.limits.get(&id.action).copied().unwrap_or_default().rate;
        let is_idle = gate.is_idle();
        let again = match id.count {
            Count::Running => None,
            Count::Starts if is_idle => gate.bucket.paid_at().filter(|at| *at > self.now),
            Count::Starts if gate.called > 0 => None,
            Count::Starts => {
                let (count, again_in) = gate.stock(rate, 1, self.now);
                (count == 0).then(|| after(self.now, again_in))
            }
        };
        if gate.looked_at_again != again {
            let former = std::mem::replace(&mut gate.looked_at_again, again);
            former.map(|at| self.agenda.remove(&(at, id.clone())));
            self.agenda.extend(again.map(|at| (at, id.clone())));
        }
        if is_idle && again.is_none() {
            self.gates.remove(id);
        }
    }
}

impl KeyGate {
    fn is_idle(&self) -> bool {
        self.busy == 0 && self.called == 0 && self.parked.is_empty()
    }

    /// How many may start now, and when there are more.
    fn stock(&self, rate: Rate, want: u32, now: Timestamp) -> (u32, Duration) {
        let mut bucket = self.bucket;
        rate.draw(&mut bucket, now, want)
    }
}
