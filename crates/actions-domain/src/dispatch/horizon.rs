//! Which later items of a partition are in memory: those that become due soon, and those that
//! hold a key.
//!
//! Which items hold keys must be known before anything else of the partition may ask for one.

use std::collections::HashSet;
use std::time::Duration;

use super::{Settings, after};
use crate::Timestamp;
use crate::id::ExecutionId;
use crate::limits::RETRY_DELAY_MAX;
use crate::work::Later;

/// Nothing that holds a key waits longer: the longest pause with its jitter, and some more.
const HELD_AHEAD: Duration = RETRY_DELAY_MAX.saturating_mul(2);

/// How much is known of a partition's later items.
#[derive(Debug)]
pub(super) struct Horizon {
    is_loading: bool,
    are_held_known: bool,
    /// Everything that is due within `due_ahead` was there when it was read last.
    is_complete: bool,
    /// Everything that was due at the claim has been in memory.
    was_complete: bool,
    /// Something was left out since the reading that is under way began.
    is_outdated: bool,
    /// There is something new since the last reading began.
    is_wanted: bool,
    /// When to look again at the latest.
    next_at: Timestamp,
    /// Later items in memory, and how many of them hold a key.
    known: usize,
    held: usize,
    /// What has left memory since the reading that is under way began: it may still find them.
    gone: HashSet<ExecutionId>,
}

impl Horizon {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            is_loading: false,
            are_held_known: false,
            is_complete: false,
            was_complete: false,
            is_outdated: false,
            is_wanted: false,
            next_at: now,
            known: 0,
            held: 0,
            gone: HashSet::new(),
        }
    }

    pub(super) fn are_held_known(&self) -> bool {
        self.are_held_known
    }

    pub(super) fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// Whether everything that was due when the partition was claimed has been in memory.
    pub(super) fn was_complete(&self) -> bool {
        self.was_complete
    }

    /// When to look again. While a reading is under way there is nothing to look for.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        Some(self.next_at).filter(|_| !self.is_loading)
    }

    /// Answers what to read now: how far ahead, and how many.
    pub(super) fn next_load(
        &mut self,
        settings: &Settings,
        has_room: bool,
        now: Timestamp,
    ) -> Option<(Duration, u32)> {
        let batch = usize::try_from(settings.load_items).unwrap_or(usize::MAX).max(1);
        let has_drained = !self.is_complete && self.known <= self.held + batch / 2;
        let is_due = !self.are_held_known || now >= self.next_at;
        if self.is_loading || !(is_due || self.is_wanted || (has_drained && has_room)) {
            return None;
        }
        self.is_loading = true;
        self.is_wanted = false;
        self.is_outdated = false;
        self.next_at = after(now, settings.due_ahead / 2);
        let ahead = if self.are_held_known { settings.due_ahead } else { HELD_AHEAD };
        // What is known is found again, so the answer has room for a batch beside it.
        Some((ahead, u32::try_from(self.known.saturating_add(batch)).unwrap_or(u32::MAX)))
    }

    /// Leaves out what a reading found although it is over, and notes that it has come.
    pub(super) fn answered(
        &mut self,
        laters: Vec<Later>,
        complete: bool,
        due_ahead: Duration,
    ) -> Vec<Later> {
        let reaches = laters.last().is_some_and(|last| !last.hold && last.delay > due_ahead);
        // Those that hold a key come first, so one that does not is the end of them.
        self.are_held_known |= complete || laters.iter().any(|later| !later.hold);
        self.is_complete = (complete || reaches) && !self.is_outdated;
        self.was_complete |= self.is_complete;
        self.is_loading = false;
        let gone = std::mem::take(&mut self.gone);
        laters.into_iter().filter(|later| !gone.contains(&later.item.work.id)).collect()
    }

    /// There may be new later items: reads again, also when a reading is under way.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// An item was left out although it is due soon.
    pub(super) fn miss(&mut self) {
        self.is_complete = false;
        self.was_complete = false;
        self.is_outdated = true;
    }

    pub(super) fn add(&mut self, hold: bool) {
        self.known += 1;
        self.held += usize::from(hold);
    }

    pub(super) fn remove(&mut self, hold: bool) {
        self.known = self.known.saturating_sub(1);
        self.held = self.held.saturating_sub(usize::from(hold));
    }

    /// An item has left memory.
    pub(super) fn forget(&mut self, id: ExecutionId) {
        if self.is_loading {
            self.gone.insert(id);
        }
    }
}
