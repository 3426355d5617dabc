//! How items come into memory, and how they line up.

use std::time::Duration;

use super::entries::{Entry, Gate, Slot, Stage};
use super::fair_queue::Ticket;
use super::verdict::Ending;
use super::{Dispatcher, Effect, after};
use crate::Timestamp;
use crate::id::ExecutionId;
use crate::limits::{LOSSES_MAX, WINDOW_BYTES_MAX};
use crate::ports::leases::Lease;
use crate::throttle::Scope;
use crate::work::{Home, Item, Later, Part, Seq, Skip};

use super::partition::Partition;

/// What an item weighs beside its texts: its own fields, and the tables that it stands in.
const ITEM_BYTES: usize = 512;

impl Dispatcher {
    pub(super) fn claim(&mut self, lease: &Lease, now: Timestamp) {
        self.lose(lease.part);
        let partition = Partition::new(lease, &self.settings, now);
        self.partitions.insert(lease.part, partition);
        if self.is_draining {
            self.drain();
        }
    }

    pub(super) fn see_tail(&mut self, part: Part, tail: Seq) {
        if let Some(partition) = self.partitions.get_mut(&part) {
            partition.see_tail(tail);
        }
    }

    /// Takes in what was handed over. Word of something older than the claim may be late: the
    /// former owner may have ended it since.
    pub(super) fn arrive(
        &mut self,
        part: Part,
        from: Seq,
        next: Seq,
        items: Vec<Item>,
        now: Timestamp,
    ) {
        let Some(partition) = self.partitions.get_mut(&part) else { return };
        partition.see_tail(next);
        if partition.leaving.is_none()
            && partition.horizon.are_held_known()
            && partition.is_seq_since_claim(from)
        {
            self.take_in(part, from, next, items, &[], now);
        }
    }

    /// Takes in what was read.
    pub(super) fn loaded(
        &mut self,
        part: Part,
        from: Seq,
        next: Seq,
        items: Vec<Item>,
        skipped: &[Skip],
        now: Timestamp,
    ) {
        let load_items = usize::try_from(self.settings.load_items).unwrap_or(usize::MAX);
        let Some(partition) = self.partitions.get_mut(&part) else { return };
        let is_short = items.len() < load_items && input_bytes(&items) < WINDOW_BYTES_MAX;
        partition.answered(from, next, is_short);
        if partition.leaving.is_some() {
            return;
        }
        self.take_in(part, from, next, items, skipped, now);
    }

    /// Takes in what is missing of a stretch of a log.
    fn take_in(
        &mut self,
        part: Part,
        from: Seq,
        next: Seq,
        items: Vec<Item>,
        skipped: &[Skip],
        now: Timestamp,
    ) {
        let Some(partition) = self.partitions.get(&part) else { return };
        let Some(mut stretch) = partition.window.open(from, next, skipped) else { return };
        for mut item in items {
            if self.is_known(item.work.id) || self.gone.contains(&item.work.tenant) {
                continue;
            }
            let has_room = self.make_room(&mut item);
            let Some(partition) = self.partitions.get_mut(&part) else { return };
            if partition.window.take(&mut stretch, &item.work, item.ord, has_room) {
                let suspect = partition.is_suspect(&item);
                let slot = self.insert(item, false, suspect, now);
                self.greet(slot, None, now);
            }
        }
        if let Some(partition) = self.partitions.get_mut(&part) {
            partition.window.close(stretch);
        }
    }

    pub(super) fn receive_due(
        &mut self,
        part: Part,
        laters: Vec<Later>,
        complete: bool,
        now: Timestamp,
    ) {
        let due_ahead = self.settings.due_ahead;
        let Some(partition) = self.partitions.get_mut(&part) else { return };
        let laters = partition.horizon.answered(laters, complete, due_ahead);
        if partition.leaving.is_some() {
            return;
        }
        for later in laters {
            self.receive(later, now);
        }
    }

    pub(super) fn receive_deferred(&mut self, later: Later, now: Timestamp) {
        let Some(partition) = self.partitions.get_mut(&later.item.part) else { return };
        // Word of something older than the claim may be late: the former owner may have ended it.
        // Before the held ones are known, nothing is taken in.
        if partition.leaving.is_none()
            && partition.is_since_claim(&later.item)
            && partition.horizon.are_held_known()
        {
            self.receive(later, now);
        } else {
            partition.horizon.want();
        }
    }

    /// Keeps a later item when it is due soon, holds a key, or is to be cancelled.
    fn receive(&mut self, later: Later, now: Timestamp) {
        let Later { mut item, delay, hold, .. } = later;
        let id = item.work.id;
        if let Some(slot) = self.entries.find(id) {
            return self.bring_forward(slot, delay, now);
        }
        let is_soon = delay <= self.settings.due_ahead;
        let is_superseded =
            item.work.terms.as_ref().is_some_and(|terms| terms.superseded_by.is_some());
        let is_over = is_superseded || self.cancels.contains(id);
        if self.is_known(id)
            || self.gone.contains(&item.work.tenant)
            || !(is_soon || hold || is_over)
        {
            return;
        }
        let has_room = self.make_room(&mut item);
        let Some(partition) = self.partitions.get_mut(&item.part) else { return };
        if !has_room && !hold {
            partition.horizon.miss();
            return;
        }
        let suspect = delay.is_zero() && partition.is_suspect(&item);
        let slot = self.insert(item, hold, suspect, now);
        self.greet(slot, Some(delay), now);
    }

    /// A batch that was closed since is due earlier. Nothing else ever is: what was read of an item
    /// that has run may be out of date.
    fn bring_forward(&mut self, slot: Slot, delay: Duration, now: Timestamp) {
        let Some(entry) = self.entries.get(slot) else { return };
        let Stage::ForTime { due_at } = entry.stage else { return };
        let is_open = entry.item.attempts.is_empty() && entry.item.work.open_key().is_some();
        if is_open && after(now, delay) < due_at {
            self.timers.remove(due_at, entry.serial, slot);
            self.wait_for(slot, delay, now);
        }
    }

    fn is_known(&self, id: ExecutionId) -> bool {
        self.entries.find(id).is_some() || self.done.contains(id)
    }

    /// Whether there is memory for an item: if need be without its event, which can be read
    /// again.
    fn make_room(&mut self, item: &mut Item) -> bool {
        let fits = |item: &Item| self.bytes + weight(item) <= self.settings.window_bytes;
        if !fits(item) {
            item.event = None;
        }
        fits(item)
    }

    fn insert(&mut self, item: Item, hold: bool, suspect: bool, now: Timestamp) -> Slot {
        self.serial += 1;
        let bytes = weight(&item);
        self.bytes += bytes;
        if let Some(partition) = self.partitions.get_mut(&item.part) {
            partition.add(&item, hold);
            partition.items += 1;
        }
        self.entries.insert(Entry {
            item,
            stage: Stage::ForKey,
            serial: self.serial,
            since: now,
            bytes,
            suspect,
            has_key: false,
            has_permit: false,
            gate: Gate::Action,
            called_by: None,
            hold,
            cancelled: false,
        })
    }

    /// Decides what a new item waits for first.
    fn greet(&mut self, slot: Slot, delay: Option<Duration>, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        if let Some(key) = entry.item.work.key.as_ref().filter(|_| entry.hold)
            && let Some(partition) = self.partitions.get_mut(&entry.item.part)
        {
            partition.locks.hold(entry.item.work.tenant, key, entry.place());
            entry.has_key = true;
        }
        let losses = entry.item.losses;
        // Who was told of it, or the store with the item.
        let superseded_by = entry.item.work.terms.as_ref().and_then(|terms| terms.superseded_by);
        let cancel = self.cancels.remove(entry.item.work.id).or_else(|| superseded_by.map(Some));
        if let Some(by) = cancel.filter(|by| by.is_none() || !entry.has_started()) {
            self.stop_waiting(slot);
            let ending = by.map_or_else(Ending::cancelled, Ending::superseded);
            self.finish_unstarted(slot, ending, now);
        } else if losses >= LOSSES_MAX {
            self.stop_waiting(slot);
            self.finish(slot, Ending::poison(losses), now);
        } else {
            self.wait_for(slot, delay.unwrap_or_default(), now);
        }
    }

    /// Lets an item wait for a time, or begin to wait for its key.
    pub(super) fn wait_for(&mut self, slot: Slot, delay: Duration, now: Timestamp) {
        if delay.is_zero() {
            return self.enter(slot, now);
        }
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let due_at = after(now, delay);
        entry.stage = Stage::ForTime { due_at };
        self.timers.insert(due_at, entry.serial, slot);
    }

    /// Lets everything go on that is due.
    pub(super) fn ring(&mut self, now: Timestamp) {
        while let Some(slot) = self.timers.pop(now) {
            self.enter(slot, now);
        }
    }

    /// Asks for an item's key.
    fn enter(&mut self, slot: Slot, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        entry.since = now;
        let place = entry.place();
        let work = &entry.item.work;
        if let Some(key) = work.key.as_ref().filter(|_| !entry.has_key) {
            let Some(partition) = self.partitions.get_mut(&entry.item.part) else { return };
            if !partition.locks.request(work.tenant, key, place, slot) {
                entry.stage = Stage::ForKey;
                return;
            }
            entry.has_key = true;
        }
        self.line_up(slot);
    }

    /// Gives an item's key back, or its place among those that wait for it.
    pub(super) fn release_key(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let place = entry.place();
        let work = &entry.item.work;
        let Some(key) = &work.key else { return };
        let Some(partition) = self.partitions.get_mut(&entry.item.part) else { return };
        let granted = partition.locks.release(work.tenant, key, place);
        entry.has_key = false;
        for next in granted {
            if let Some(entry) = self.entries.get_mut(next) {
                entry.has_key = true;
            }
            self.line_up(next);
        }
    }

    /// Puts an item that may run into the ring, or among those that run alone.
    pub(super) fn line_up(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        if entry.item.losses > 0 {
            entry.stage = Stage::ForSolitude;
            self.solitary.insert(entry.serial, slot);
        } else {
            entry.stage = Stage::Ready;
            self.queue.push(ticket(entry), slot);
        }
    }

    /// Looks at a scope again after its limits or its share have changed.
    pub(super) fn reopen(&mut self, scope: Scope, called: Vec<Slot>) {
        if let Scope::Tenant(tenant) = scope
            && self.gates.bar(scope).is_none()
        {
            self.queue.open(tenant);
        }
        self.wake(called);
    }

    /// Lets line up who was called.
    pub(super) fn wake(&mut self, called: Vec<Slot>) {
        for slot in called {
            if let Some(entry) = self.entries.get_mut(slot) {
                entry.called_by = Some(entry.gate);
            }
            self.line_up(slot);
        }
    }

    /// Takes an item's weight and place from the window.
    pub(super) fn stop_waiting(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let bytes = std::mem::take(&mut entry.bytes);
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        if let Some(partition) = self.partitions.get_mut(&entry.item.part) {
            partition.leave_window(&entry.item);
        }
    }

    /// Counts an item that waits again. It is a later one by now.
    pub(super) fn wait_again(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        entry.bytes = weight(&entry.item);
        self.bytes += entry.bytes;
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.settings.window_bytes
    }

    /// Asks for what is missing in memory and has a place there.
    pub(super) fn load_more(&mut self, now: Timestamp) {
        if self.is_draining {
            return;
        }
        let has_room = self.has_room();
        let staying = self.partitions.iter_mut().filter(|(_, known)| known.leaving.is_none());
        for (part, partition) in staying {
            let due = partition.horizon.next_load(&self.settings, has_room, now);
            let load_due = due.map(|(ahead, limit)| Effect::LoadDue { part: *part, ahead, limit });
            self.effects.extend(load_due);
            self.effects.extend(partition.next_load(&self.settings, has_room));
        }
    }

    /// Removes an item whose end or move is committed, or whose partition is lost.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.stop_waiting(slot);
        let Some(entry) = self.entries.remove(slot) else { return };
        if let Some(partition) = self.partitions.get_mut(&entry.item.part) {
            partition.remove(&entry.item, entry.hold);
            partition.items -= 1;
            partition.horizon.forget(entry.item.work.id);
        }
    }
}

pub(super) fn ticket(entry: &Entry) -> Ticket {
    let work = &entry.item.work;
    Ticket { tenant: work.tenant, lane: work.lane, since: entry.since, serial: entry.serial }
}

fn input_bytes(items: &[Item]) -> usize {
    items.iter().map(|item| item.work.input_bytes()).sum()
}

/// What an item takes in memory, about.
fn weight(item: &Item) -> usize {
    let key = item.work.key.as_ref().map_or(0, |key| key.name.len());
    let event = item.event.as_ref().map_or(0, |event| event.data.as_str().len());
    ITEM_BYTES + key + item.work.input_bytes() + event
}

/// Where an item lives after it was moved to the later ones.
pub(super) fn move_to_later(partition: &mut Partition, entry: &mut Entry, was_held: bool) {
    partition.remove(&entry.item, was_held);
    entry.item.home = Home::Later;
    partition.add(&entry.item, entry.hold);
}
