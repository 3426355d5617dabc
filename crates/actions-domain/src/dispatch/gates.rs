//! How many executions of an action may run at once, and who waits for that.

use std::collections::{BTreeMap, HashMap};

use super::entries::Slot;
use crate::execution::Priority;
use crate::id::ActionId;

/// Where an item stands among those that wait for one action: urgent lanes first, then order of
/// arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    lane: std::cmp::Reverse<Priority>,
    serial: u64,
}

impl Turn {
    pub(super) fn new(lane: Priority, serial: u64) -> Self {
        Self { lane: std::cmp::Reverse(lane), serial }
    }
}

/// The limits of all actions.
#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: HashMap<ActionId, Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    max: Option<u32>,
    /// Permits that are out: running, or woken and about to.
    busy: u32,
    parked: BTreeMap<Turn, Slot>,
}

impl Gates {
    /// Changes a limit and answers who holds a permit by that.
    pub(super) fn set(&mut self, action: ActionId, max: Option<u32>) -> Vec<Slot> {
        self.gates.entry(action).or_default().max = max;
        self.wake(action)
    }

    pub(super) fn max(&self, action: ActionId) -> Option<u32> {
        self.gates.get(&action).and_then(|gate| gate.max)
    }

    /// Takes a permit, when there is one.
    pub(super) fn enter(&mut self, action: ActionId) -> bool {
        let gate = self.gates.entry(action).or_default();
        let is_open = gate.has_permit();
        gate.busy += u32::from(is_open);
        is_open
    }

    /// Takes a permit for the only attempt of the whole node. Permits that are out belong to
    /// items that wait for it to end, so only a limit of zero stops it.
    pub(super) fn enter_alone(&mut self, action: ActionId) -> bool {
        let gate = self.gates.entry(action).or_default();
        let is_open = gate.max != Some(0);
        gate.busy += u32::from(is_open);
        is_open
    }

    pub(super) fn park(&mut self, action: ActionId, turn: Turn, slot: Slot) {
        self.gates.entry(action).or_default().parked.insert(turn, slot);
    }

    pub(super) fn unpark(&mut self, action: ActionId, turn: Turn) {
        if let Some(gate) = self.gates.get_mut(&action) {
            gate.parked.remove(&turn);
        }
    }

    /// Gives a permit back and answers who holds one by that.
    pub(super) fn leave(&mut self, action: ActionId) -> Vec<Slot> {
        if let Some(gate) = self.gates.get_mut(&action) {
            gate.busy = gate.busy.saturating_sub(1);
        }
        self.wake(action)
    }

    fn wake(&mut self, action: ActionId) -> Vec<Slot> {
        let Some(gate) = self.gates.get_mut(&action) else { return Vec::new() };
        let mut woken = Vec::new();
        while gate.has_permit()
            && let Some((_, slot)) = gate.parked.pop_first()
        {
            gate.busy += 1;
            woken.push(slot);
        }
        if gate.max.is_none() && gate.busy == 0 {
            self.gates.remove(&action);
        }
        woken
    }
}

impl Gate {
    fn has_permit(&self) -> bool {
        self.max.is_none_or(|max| self.busy < max)
    }
}
