//! How partitions are given back while the node goes on, or drains: nothing more starts there,
//! what runs may end, and then the lease goes back as clean.
//!
//! What waits of such a partition is dropped from memory: the store has it, and the next owner
//! reads it. A partition whose attempts take too long is kept after all.

use std::collections::BTreeSet;

use super::entries::{Slot, Stage};
use super::partition::Leaving;
use super::{Dispatcher, Effect, after};
use crate::Timestamp;
use crate::id::{ExecutionId, TenantId};
use crate::work::Part;

impl Dispatcher {
    /// Nothing more starts on this node. Each partition goes back as soon as nothing runs there.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        self.gates.drain();
        let suspects = self.suspects();
        let parts: Vec<Part> = self.partitions.keys().copied().collect();
        for part in parts {
            self.begin_to_leave(part, &suspects, None);
        }
    }

    /// Others should have so many of the partitions: those where least is going on.
    pub(super) fn give_up(&mut self, count: usize, now: Timestamp) {
        let missing = count.saturating_sub(self.leaving().count());
        if missing == 0 || self.is_draining {
            return;
        }
        let suspects = self.suspects();
        let staying = self.partitions.iter().filter(|(part, partition)| {
            let may_leave = partition.leaving.is_none() && partition.may_leave(now);
            may_leave && partition.knows_suspects() && !suspects.contains(part)
        });
        let mut staying: Vec<(usize, Part)> =
            staying.map(|(part, _)| (self.running_in(*part), *part)).collect();
        // The last ones, so that the others give up different ones when they look at the same.
        staying.sort_by_key(|(running, part)| (*running, std::cmp::Reverse(*part)));
        for (_, part) in staying.into_iter().take(missing) {
            self.begin_to_leave(part, &suspects, Some(after(now, self.settings.leave_within)));
        }
    }

    /// The partitions that are about to be given back: new work is better off elsewhere.
    pub fn leaving(&self) -> impl Iterator<Item = Part> {
        let leaving = self.partitions.iter().filter(|(_, known)| known.leaving.is_some());
        leaving.map(|(part, _)| *part)
    }

    fn running_in(&self, part: Part) -> usize {
        let tokens = self.tokens.values().filter_map(|slot| self.entries.get(*slot));
        tokens.filter(|entry| entry.item.part == part).count()
    }

    fn begin_to_leave(&mut self, part: Part, suspects: &BTreeSet<Part>, until: Option<Timestamp>) {
        let Some(partition) = self.partitions.get_mut(&part) else { return };
        if let Some(leaving) = &mut partition.leaving {
            // A drain waits longer.
            leaving.until = until;
            return;
        }
        // Kept to the end, so that its next owner is as careful as this one was.
        if suspects.contains(&part) || !partition.knows_suspects() {
            return;
        }
        partition.leaving = Some(Leaving { low: partition.low(), until, is_given_back: false });
        let waiting: Vec<Slot> = (self.entries.iter())
            .filter(|(_, entry)| entry.item.part == part && entry.stage.is_waiting())
            .map(|(slot, _)| slot)
            .collect();
        for slot in waiting {
            self.let_go(slot);
        }
    }

    /// Drops something that waits from memory. It stays where it is in the store.
    pub(super) fn let_go(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get(slot) else { return };
        if let Some(key) = &entry.item.work.key
            && let Some(partition) = self.partitions.get_mut(&entry.item.part)
        {
            // Whoever gets the key now is dropped as well.
            drop(partition.locks.release(entry.item.work.tenant, key, entry.place()));
        }
        self.pull_out(slot);
        self.forget(slot);
    }

    /// Drops what waits of a tenant that is gone, and ends what runs: its end is committed like any
    /// other, and left out by the store.
    pub(super) fn forget_tenant(&mut self, tenant: TenantId, now: Timestamp) {
        self.gone.insert(tenant);
        let own = self.entries.iter().filter(|(_, entry)| entry.item.work.tenant == tenant);
        let own: Vec<(Slot, ExecutionId, Stage)> =
            own.map(|(slot, entry)| (slot, entry.item.work.id, entry.stage)).collect();
        for (slot, id, stage) in own {
            if stage.is_waiting() {
                self.let_go(slot);
            } else {
                self.cancel(id, now);
            }
        }
    }

    /// Gives back where nothing runs any more, and keeps what did not come to an end in time.
    pub(super) fn look_at_leaving(&mut self, now: Timestamp) {
        for partition in self.partitions.values_mut() {
            let is_reading = partition.is_reading();
            let Some(leaving) = &mut partition.leaving else { continue };
            if leaving.is_given_back || is_reading {
                continue;
            }
            if partition.items == 0 {
                leaving.is_given_back = true;
                let (fence, low) = (partition.fence, leaving.low);
                self.effects.push(Effect::GiveBack { fence, low });
            } else if leaving.until.is_some_and(|until| until <= now) {
                partition.stay(&self.settings, after(now, self.settings.stay_for), now);
                let part = partition.part();
                let kept = self.entries.iter().map(|(_, entry)| entry);
                for entry in kept.filter(|entry| entry.item.part == part) {
                    partition.add(&entry.item, entry.hold);
                }
            }
        }
    }

    /// The partitions with something in memory that a former owner may have started.
    pub(super) fn suspects(&self) -> BTreeSet<Part> {
        let suspects = self.entries.iter().filter(|(_, entry)| entry.suspect);
        suspects.map(|(_, entry)| entry.item.part).collect()
    }
}

impl Stage {
    /// Nothing was begun: it may be dropped from memory at any time.
    fn is_waiting(self) -> bool {
        match self {
            Self::ForTime { .. }
            | Self::ForKey
            | Self::ForAction
            | Self::Ready
            | Self::ForSolitude => true,
            Self::Marking(_) | Self::Running(_) | Self::Finishing | Self::Retrying { .. } => false,
        }
    }
}
