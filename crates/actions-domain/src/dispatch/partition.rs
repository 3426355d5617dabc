//! One partition that this node owns: its log, its keys and its later items.

use std::collections::BTreeSet;

use super::horizon::Horizon;
use super::lock_table::LockTable;
use super::window::Window;
use super::{Effect, Settings, after};
use crate::Timestamp;
use crate::id::ExecutionId;
use crate::ports::leases::Lease;
use crate::work::{Epoch, Fence, Home, Item, Part, Seq};

/// What is known of a partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) fence: Fence,
    pub(super) locks: LockTable,
    pub(super) horizon: Horizon,
    pub(super) window: Window,
    /// The log's end when the partition was claimed.
    claimed_at: Seq,
    /// The former owner may have started something.
    is_suspect: bool,
    marked_until: Option<Timestamp>,
    next_fin: i64,
    /// How far the log reaches, as somebody noticed.
    tail: Seq,
    loading: Option<Loading>,
    /// Whether the last reading went on at the head. Readings that go back take turns with it.
    was_at_head: bool,
    /// Items of the log in memory.
    open: BTreeSet<Seq>,
    /// Items in memory.
    pub(super) items: usize,
    /// It is about to be given back.
    pub(super) leaving: Option<Leaving>,
    /// It was kept, and is not given up before.
    stays_until: Option<Timestamp>,
}

/// A partition that is about to be given back.
#[derive(Debug)]
pub(super) struct Leaving {
    /// Where its log may be read from: what waited is in memory no more.
    pub(super) low: Seq,
    /// How long what runs is waited for. `None`: as long as the node drains.
    pub(super) until: Option<Timestamp>,
    /// The node was told to release it.
    pub(super) is_given_back: bool,
}

#[derive(Debug, Clone, Copy)]
struct Loading {
    from: Seq,
    /// What was believed to be the end when it was asked for.
    tail: Seq,
}

impl Partition {
    pub(super) fn new(lease: &Lease, settings: &Settings, now: Timestamp) -> Self {
        let is_suspect = !lease.clean;
        Self {
            fence: Fence { part: lease.part, epoch: lease.epoch },
            locks: LockTable::default(),
            horizon: Horizon::new(now),
            window: Window::new(lease.low, settings.lane_items),
            claimed_at: lease.tail,
            is_suspect,
            marked_until: is_suspect.then(|| after(now, settings.marked_for)),
            next_fin: lease.next_fin,
            tail: lease.tail,
            loading: None,
            was_at_head: false,
            open: BTreeSet::new(),
            items: 0,
            leaving: None,
            stays_until: None,
        }
    }

    /// Whether it may be given up by now.
    pub(super) fn may_leave(&self, now: Timestamp) -> bool {
        self.stays_until.is_none_or(|until| until <= now)
    }

    /// Whether a reading of it is under way.
    pub(super) fn is_reading(&self) -> bool {
        self.loading.is_some() || self.horizon.is_loading()
    }

    /// Keeps a partition that was about to be given back. What was dropped is read again, as
    /// after a claim.
    pub(super) fn stay(&mut self, settings: &Settings, until: Timestamp, now: Timestamp) {
        let Some(leaving) = self.leaving.take() else { return };
        self.stays_until = Some(until);
        self.window = Window::new(leaving.low, settings.lane_items);
        self.horizon = Horizon::new(now);
        self.open = BTreeSet::new();
        self.was_at_head = false;
        // Whatever the former owner may have started has ended since.
        self.is_suspect = false;
    }

    /// When it has to be looked at again.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        match &self.leaving {
            Some(leaving) if leaving.is_given_back || self.is_reading() => None,
            Some(leaving) => leaving.until,
            None => self.horizon.next_at(),
        }
    }

    pub(super) fn part(&self) -> Part {
        self.fence.part
    }

    pub(super) fn next_fin(&mut self) -> i64 {
        let fin = self.next_fin;
        self.next_fin += 1;
        fin
    }

    /// Whether starts are written down before they happen.
    pub(super) fn is_marking(&self, now: Timestamp) -> bool {
        self.marked_until.is_some_and(|until| now < until)
    }

    /// Whether the former owner may have started an item.
    pub(super) fn is_suspect(&self, item: &Item) -> bool {
        self.is_suspect && !self.is_since_claim(item)
    }

    /// Whether an item was accepted after the claim. A delayed item may share its number with
    /// the entry that came after it, so one at the very end may be older.
    pub(super) fn is_since_claim(&self, item: &Item) -> bool {
        match item.home {
            Home::Log => self.is_seq_since_claim(item.ord),
            Home::Later => item.ord > self.claimed_at,
        }
    }

    pub(super) fn is_seq_since_claim(&self, seq: Seq) -> bool {
        seq >= self.claimed_at
    }

    /// Whether everything that the former owner may have started has been in memory.
    pub(super) fn knows_suspects(&self) -> bool {
        !self.is_suspect || (self.window.low() >= self.claimed_at && self.horizon.was_complete())
    }

    /// The former owner's.
    pub(super) fn lost_epoch(&self) -> Epoch {
        Epoch(self.fence.epoch.0 - 1)
    }

    pub(super) fn see_tail(&mut self, tail: Seq) {
        self.tail = self.tail.max(tail);
    }

    /// Notes that a reading has come; `is_short` when there was no more to read.
    pub(super) fn answered(&mut self, from: Seq, next: Seq, is_short: bool) {
        self.see_tail(next);
        let Some(loading) = self.loading.take_if(|loading| loading.from == from) else { return };
        // Somebody was wrong about the end. Without this we would ask again and again. A reading that
        // got on says nothing of the end: stores look at so much at once.
        if is_short && next <= from && loading.tail == self.tail {
            self.tail = next;
        }
    }

    /// What to read of the log now.
    pub(super) fn next_load(&mut self, settings: &Settings, has_room: bool) -> Option<Effect> {
        if self.loading.is_some() || !self.horizon.are_held_known() {
            return None;
        }
        let head = self.window.head();
        let at_head = Some(head).filter(|head| *head < self.tail);
        let from = if self.was_at_head {
            self.window.refill_from(has_room).or(at_head)
        } else {
            at_head.or_else(|| self.window.refill_from(has_room))
        }?;
        self.was_at_head = from == head;
        self.loading = Some(Loading { from, tail: self.tail });
        let skip = self.window.useless_from(from).into();
        Some(Effect::Load { part: self.part(), from, limit: settings.load_items, skip })
    }

    /// Notes that an item is in memory.
    pub(super) fn add(&mut self, item: &Item, hold: bool) {
        match item.home {
            Home::Log => drop(self.open.insert(item.ord)),
            Home::Later => self.horizon.add(hold),
        }
    }

    /// Notes that an item has left its home or memory.
    pub(super) fn remove(&mut self, item: &Item, hold: bool) {
        match item.home {
            Home::Log => drop(self.open.remove(&item.ord)),
            Home::Later => self.horizon.remove(hold),
        }
    }

    /// Everything before is finished or moved.
    pub(super) fn low(&self) -> Seq {
        if let Some(leaving) = &self.leaving {
            return leaving.low;
        }
        let missing = self.window.low();
        self.open.first().map_or(missing, |first| missing.min(*first))
    }

    /// Gives up the place of an item that does not wait in memory any more.
    pub(super) fn leave_window(&mut self, item: &Item) {
        if item.home == Home::Log {
            self.window.leave(&item.work);
        }
    }

    /// The execution that an item's key waits for.
    pub(super) fn blocker(&self, item: &Item) -> Option<ExecutionId> {
        let key = item.work.key.as_ref()?;
        self.locks.blocker(item.work.tenant, key, (item.ord, item.work.id))
    }
}
