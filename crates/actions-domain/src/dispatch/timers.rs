//! What waits for a time, by time.

use std::collections::BTreeSet;

use super::entries::Slot;
use crate::Timestamp;

/// A set of alarms. One that is not needed any more is removed, never left to ring in vain.
#[derive(Debug, Default)]
pub(super) struct Timers {
    alarms: BTreeSet<(Timestamp, u64, Slot)>,
}

impl Timers {
    pub(super) fn insert(&mut self, due_at: Timestamp, serial: u64, slot: Slot) {
        self.alarms.insert((due_at, serial, slot));
    }

    pub(super) fn remove(&mut self, due_at: Timestamp, serial: u64, slot: Slot) {
        self.alarms.remove(&(due_at, serial, slot));
    }

    /// Takes the first alarm that is due.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Slot> {
        let first = *self.alarms.first().filter(|(due_at, _, _)| *due_at <= now)?;
        self.alarms.remove(&first);
        Some(first.2)
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(due_at, _, _)| *due_at)
    }
}
