//! The items that a node has in memory, each in one numbered slot.

use std::collections::HashMap;

use super::Token;
use super::lock_table::Place;
use crate::Timestamp;
use crate::execution::Cause;
use crate::id::ExecutionId;
use crate::work::{Epoch, Item};

/// Where an entry is kept. Used again after the entry is gone, so whoever remembers a slot is
/// told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(pub(super) u32);

/// An item in memory, with where it stands.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) item: Item,
    pub(super) stage: Stage,
    /// Grows with each entry: the order of arrival here.
    pub(super) serial: u64,
    /// When it began to wait for anything but the time.
    pub(super) since: Timestamp,
    /// What it counts in the window while it waits. Zero: it does not wait.
    pub(super) bytes: usize,
    /// The former owner of the partition may have started it.
    pub(super) suspect: bool,
    /// Its key is held.
    pub(super) has_key: bool,
    /// It counts against its action's limit.
    pub(super) has_permit: bool,
    /// It was called from its action's line, and has had no turn since.
    pub(super) is_called: bool,
    /// It keeps its key while it waits for a time.
    pub(super) hold: bool,
    /// Somebody wants it cancelled.
    pub(super) cancelled: bool,
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stage {
    ForTime {
        due_at: Timestamp,
    },
    ForKey,
    ForAction,
    /// In the ring of tenants.
    Ready,
    /// Lost with a node before: waits until nothing else runs.
    ForSolitude,
    /// Has its turn; its mark is being committed.
    Marking(Try),
    Running(Try),
    /// Its end is being committed.
    Finishing,
    /// Its return to the later items is being committed.
    Retrying {
        delay: std::time::Duration,
    },
}

/// One attempt, as it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Try {
    pub(super) token: Token,
    pub(super) number: u32,
    pub(super) cause: Cause,
    pub(super) lost_epoch: Option<Epoch>,
    pub(super) started_at: Timestamp,
}

impl Entry {
    /// Its place in the order of its partition.
    pub(super) fn place(&self) -> Place {
        (self.item.ord, self.item.work.id)
    }
}

/// All entries, by slot and by id.
#[derive(Debug, Default)]
pub(super) struct Entries {
    slots: Vec<Option<Entry>>,
    free: Vec<Slot>,
    by_id: HashMap<ExecutionId, Slot>,
}

impl Entries {
    pub(super) fn insert(&mut self, entry: Entry) -> Slot {
        let id = entry.item.work.id;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot(u32::try_from(self.slots.len() - 1).expect("the window is bounded"))
        });
        self.slots[index(slot)] = Some(entry);
        self.by_id.insert(id, slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.slots.get_mut(index(slot))?.take()?;
        self.by_id.remove(&entry.item.work.id);
        self.free.push(slot);
        Some(entry)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.slots.get(index(slot))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.slots.get_mut(index(slot))?.as_mut()
    }

    pub(super) fn find(&self, id: ExecutionId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        (0..).map(Slot).zip(&self.slots).filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }
}

fn index(slot: Slot) -> usize {
    usize::try_from(slot.0).expect("a pointer has at least 32 bits")
}
