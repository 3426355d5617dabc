//! The items that a node has in memory, each in one numbered slot.

use std::collections::HashMap;

use super::Token;
use super::key_gates::{Count, KeyGateId};
use super::lock_table::Place;
use crate::Timestamp;
use crate::execution::Cause;
use crate::id::ExecutionId;
use crate::throttle::Scope;
use crate::work::{Epoch, Item, Work};

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
    /// It counts at the gates of its action.
    pub(super) has_permit: bool,
    /// The gate in whose line it stands.
    pub(super) gate: Gate,
    /// It was called from the line of this gate, and has had no turn since.
    pub(super) called_by: Option<Gate>,
    /// It keeps its key while it waits for a time.
    pub(super) hold: bool,
    /// Somebody wants it cancelled.
    pub(super) cancelled: bool,
}

/// What an item passes after its tenant, in this order. Those of its keys come first: nobody has
/// to be asked about them, and only what can pass them asks for shares and starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Key(Count),
    Subscription,
    Action,
}

/// Where a gate is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GateId {
    Scope(Scope),
    Key(KeyGateId),
}

impl Gate {
    pub(super) const ALL: [Self; 4] =
        [Self::Key(Count::Running), Self::Key(Count::Starts), Self::Subscription, Self::Action];

    /// The gate that this item passes, if there is one.
    pub(super) fn of(self, work: &Work) -> Option<GateId> {
        let key_gate = |count, key: &std::sync::Arc<str>| {
            let (action, key) = (work.action, std::sync::Arc::clone(key));
            GateId::Key(KeyGateId { action, count, key })
        };
        let terms = work.terms.as_deref();
        match self {
            Self::Action => Some(GateId::Scope(Scope::Action(work.action))),
            Self::Subscription => {
                Some(GateId::Scope(Scope::Subscription(work.tenant, terms?.subscription?)))
            }
            Self::Key(Count::Running) => {
                Some(key_gate(Count::Running, terms?.concurrency_key.as_ref()?))
            }
            Self::Key(Count::Starts) => {
                Some(key_gate(Count::Starts, terms?.throttle_key.as_ref()?))
            }
        }
    }
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stage {
    ForTime {
        due_at: Timestamp,
    },
    ForKey,
    /// In the line of [`Entry::gate`].
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
    /// Whether an attempt was made, may have been made by a former owner, or is about to be.
    pub(super) fn has_started(&self) -> bool {
        match self.stage {
            Stage::ForTime { .. }
            | Stage::ForKey
            | Stage::ForAction
            | Stage::Ready
            | Stage::ForSolitude => self.suspect || !self.item.attempts.is_empty(),
            Stage::Marking(_) | Stage::Running(_) | Stage::Finishing | Stage::Retrying { .. } => {
                true
            }
        }
    }

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
