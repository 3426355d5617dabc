//! How attempts begin and end, and what their ends lead to.

use std::time::Duration;

use super::admission::{move_to_later, ticket};
use super::entries::{Gate, GateId, Slot, Stage, Try};
use super::gates::Turn;
use super::verdict::{Ending, Verdict, judge};
use super::{Dispatcher, Effect, End, Start, Token};
use crate::Timestamp;
use crate::execution::{Attempt, AttemptOutcome, Cause, Fault};
use crate::id::{ExecutionId, TenantId};
use crate::throttle::Scope;
use crate::work::{Epoch, Finish, Item, KeyMode, Later, Part, Why};

impl Dispatcher {
    /// Gives free slots to whose turn it is.
    pub(super) fn start_ready(&mut self, now: Timestamp) {
        while self.has_slot()
            && let Some(slot) = self.next_ready(now)
        {
            self.start(slot, now);
        }
        self.flush_marks();
    }

    fn has_slot(&self) -> bool {
        !self.is_draining && !self.is_alone && self.busy < self.settings.slots
    }

    /// Takes the next item whose action may run. Items that run alone take turns with the others:
    /// before one of them nothing else begins, because it would wait for ever on a busy node, and
    /// after it others come first, or many of them would stop everybody.
    fn next_ready(&mut self, now: Timestamp) -> Option<Slot> {
        loop {
            let solitary = self.first_solitary();
            let is_turn_of_others = solitary.is_none() || self.others_first > 0;
            let slot = match is_turn_of_others.then(|| self.pop_queue(now)).flatten() {
                Some(slot) => slot,
                None if self.busy > 0 => return None,
                None => {
                    let (serial, slot) = solitary?;
                    self.solitary.remove(&serial);
                    slot
                }
            };
            self.others_first = self.others_first.saturating_sub(1);
            if self.enter_gates(slot) {
                return Some(slot);
            }
        }
    }

    /// The first that runs alone and whose tenant lets it. Those of other tenants hold up nobody.
    fn first_solitary(&mut self) -> Option<(u64, Slot)> {
        for (serial, slot) in &self.solitary {
            let Some(entry) = self.entries.get(*slot) else { continue };
            let tenant = Scope::Tenant(entry.item.work.tenant);
            if self.gates.bar(tenant).is_none() {
                return Some((*serial, *slot));
            }
            self.gates.touch(tenant);
        }
        None
    }

    fn pop_queue(&mut self, now: Timestamp) -> Option<Slot> {
        let share = share_of(self.settings.slots, self.settings.tenant_share);
        let busy_of = &self.busy_of;
        let is_over = |tenant: TenantId| busy_of.get(&tenant).is_some_and(|busy| *busy >= share);
        self.queue.pop(now, self.settings.ageing, is_over)
    }

    /// Asks the item's tenant, then takes the permits of all other gates. Who cannot pass one waits
    /// there, and holds none.
    fn enter_gates(&mut self, slot: Slot) -> bool {
        let Some(entry) = self.entries.get_mut(slot) else { return false };
        let work = std::sync::Arc::clone(&entry.item.work);
        let tenant = Scope::Tenant(work.tenant);
        if self.gates.bar(tenant).is_some() {
            self.queue.push(ticket(entry), slot);
            self.queue.shut(work.tenant);
            self.gates.touch(tenant);
            return false;
        }
        let called_by = entry.called_by.take();
        let is_alone = entry.item.losses > 0;
        if let Some(id) = called_by.and_then(|gate| gate.of(&work)) {
            self.answer_call(&id);
        }
        let passes = Gate::ALL.into_iter().filter_map(|gate| Some((gate, gate.of(&work)?)));
        let shut = passes.clone().find(|(_, id)| !self.is_open(id, is_alone));
        let Some(entry) = self.entries.get_mut(slot) else { return false };
        let Some((gate, id)) = shut else {
            entry.has_permit = true;
            for (_, id) in passes {
                match &id {
                    GateId::Scope(scope) => self.gates.take(*scope),
                    GateId::Key(id) => self.key_gates.take(id),
                }
            }
            return true;
        };
        entry.stage = Stage::ForAction;
        entry.gate = gate;
        let turn = Turn::new(work.lane, entry.serial);
        match &id {
            GateId::Scope(scope) => self.gates.park(*scope, turn, slot),
            GateId::Key(id) => self.key_gates.park(id, turn, slot),
        }
        // There is room for another one where it was called.
        if let Some(former) = called_by.filter(|former| *former != gate)
            && let Some(id) = former.of(&work)
        {
            self.call_from(&id);
        }
        false
    }

    fn is_open(&self, id: &GateId, is_alone: bool) -> bool {
        match id {
            GateId::Scope(scope) if is_alone => self.gates.is_open_alone(*scope),
            GateId::Scope(scope) => self.gates.bar(*scope).is_none(),
            GateId::Key(id) => self.key_gates.bar(id).is_none(),
        }
    }

    fn answer_call(&mut self, id: &GateId) {
        match id {
            GateId::Scope(scope) => self.gates.answer_call(*scope),
            GateId::Key(id) => self.key_gates.answer_call(id),
        }
    }

    fn call_from(&mut self, id: &GateId) {
        let called = match id {
            GateId::Scope(scope) => self.gates.call(*scope),
            GateId::Key(id) => self.key_gates.call(id),
        };
        self.wake(called);
    }

    fn start(&mut self, slot: Slot, now: Timestamp) {
        self.stop_waiting(slot);
        self.token_count += 1;
        let token = Token(self.token_count);
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let Some(partition) = self.partitions.get(&entry.item.part) else { return };
        let lost_epoch = partition.lost_epoch();
        let (cause, lost_epoch) = cause_of(&entry.item, entry.suspect.then_some(lost_epoch));
        let number = number_of_next(&entry.item);
        let attempt = Try { token, number, cause, lost_epoch, started_at: now };
        self.tokens.insert(token, slot);
        self.busy += 1;
        self.gates.take(Scope::Tenant(entry.item.work.tenant));
        *self.busy_of.entry(entry.item.work.tenant).or_default() += 1;
        self.is_alone = entry.item.losses > 0;
        // Who was lost once is marked as long as it lives, or it could be lost without end. A batch
        // is closed with its mark.
        let is_open = entry.item.attempts.is_empty() && entry.item.work.open_key().is_some();
        if partition.is_marking(now) || self.is_alone || is_open {
            entry.stage = Stage::Marking(attempt);
            self.marks.entry(entry.item.part).or_default().push((token, entry.item.clone()));
        } else {
            entry.stage = Stage::Running(attempt);
            entry.suspect = false;
            let item = entry.item.clone();
            self.effects.push(Effect::Start(attempt.of(item, partition.fence.epoch)));
        }
    }

    /// Takes a start back until it is written down.
    pub(super) fn mark_first(&mut self, token: Token) {
        let Some(slot) = self.tokens.get(&token).copied() else { return };
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let Stage::Running(attempt) = entry.stage else { return };
        entry.stage = Stage::Marking(attempt);
        self.marks.entry(entry.item.part).or_default().push((token, entry.item.clone()));
    }

    fn flush_marks(&mut self) {
        while let Some((part, mut items)) = self.marks.pop_first() {
            let Some(fence) = self.partitions.get(&part).map(|partition| partition.fence) else {
                continue;
            };
            while !items.is_empty() {
                let group = items.len().min(self.settings.mark_items.max(1));
                let rest = items.split_off(group);
                self.effects.push(Effect::Mark { fence, items });
                items = rest;
            }
        }
    }

    /// Starts what is marked by now. That goes on while the node drains: written down is begun.
    pub(super) fn marked(&mut self, token: Token, now: Timestamp) {
        let Some(slot) = self.tokens.get(&token).copied() else { return };
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let Stage::Marking(attempt) = entry.stage else { return };
        let Some(partition) = self.partitions.get(&entry.item.part) else { return };
        entry.stage = Stage::Running(Try { started_at: now, ..attempt });
        entry.suspect = false;
        let start = attempt.of(entry.item.clone(), partition.fence.epoch);
        self.effects.push(Effect::Start(Start { is_marked: true, ..start }));
    }

    pub(super) fn end(&mut self, token: Token, end: End) {
        let Some(slot) = self.tokens.get(&token).copied() else { return };
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let Stage::Running(attempt) = entry.stage else { return };
        let Some(partition) = self.partitions.get(&entry.item.part) else { return };
        entry.item.attempts.push(Attempt {
            number: attempt.number,
            node: self.settings.node,
            epoch: partition.fence.epoch,
            cause: attempt.cause,
            lost_epoch: attempt.lost_epoch,
            started_at: end.started_at,
            ended_at: end.ended_at,
            outcome: end.outcome,
            error: end.fault.clone(),
            cpu_ms: end.cpu_ms,
            memory_mb: end.memory_mb,
        });
        let ended_at = end.ended_at;
        let verdict = judge(&entry.item.attempts, end);
        self.give_back(slot, token);
        match verdict {
            Verdict::Finish(ending) => self.finish(slot, ending, ended_at),
            Verdict::Retry { delay } => self.retry(slot, delay),
        }
    }

    /// Frees what an attempt occupied. Its key stays with the item.
    fn give_back(&mut self, slot: Slot, token: Token) {
        self.tokens.remove(&token);
        self.busy -= 1;
        if std::mem::take(&mut self.is_alone) {
            self.others_first = self.settings.slots;
        }
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let tenant = entry.item.work.tenant;
        if let Some(busy) = self.busy_of.get_mut(&tenant) {
            *busy -= 1;
            if *busy == 0 {
                self.busy_of.remove(&tenant);
            }
        }
        let tenant = Scope::Tenant(tenant);
        let called = self.gates.leave(tenant);
        self.reopen(tenant, called);
        self.give_permit_back(slot);
    }

    fn give_permit_back(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let work = std::sync::Arc::clone(&entry.item.work);
        if let Some(id) = entry.called_by.take().and_then(|gate| gate.of(&work)) {
            self.answer_call(&id);
            self.call_from(&id);
        } else if std::mem::take(&mut entry.has_permit) {
            for id in Gate::ALL.into_iter().filter_map(|gate| gate.of(&work)) {
                let called = match &id {
                    GateId::Scope(scope) => self.gates.leave(*scope),
                    GateId::Key(id) => self.key_gates.leave(id),
                };
                self.wake(called);
            }
        }
    }

    pub(super) fn finish(&mut self, slot: Slot, ending: Ending, ended_at: Timestamp) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let Some(partition) = self.partitions.get_mut(&entry.item.part) else { return };
        entry.stage = Stage::Finishing;
        self.committing += 1;
        let dead = ending.dead(&entry.item.work);
        self.effects.push(Effect::Finish(Box::new(Finish {
            item: entry.item.clone(),
            fin: partition.next_fin(),
            epoch: partition.fence.epoch,
            status: ending.status,
            started_at: entry.item.attempts.first().map(|attempt| attempt.started_at),
            ended_at,
            output: ending.output,
            error: ending.error,
            rejected: ending.rejected,
            dead,
        })));
    }

    fn retry(&mut self, slot: Slot, delay: Duration) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let Some(partition) = self.partitions.get(&entry.item.part) else { return };
        entry.stage = Stage::Retrying { delay };
        self.committing += 1;
        let hold = entry.item.work.key.as_ref().is_some_and(|key| key.mode == KeyMode::Mutate);
        let later = Later { item: entry.item.clone(), delay, why: Why::Retry, hold };
        self.effects.push(Effect::Retry { fence: partition.fence, later: Box::new(later) });
    }

    pub(super) fn committed(&mut self, id: ExecutionId, now: Timestamp) {
        let Some(slot) = self.entries.find(id) else { return };
        match self.entries.get(slot).map(|entry| entry.stage) {
            Some(Stage::Finishing) => {
                self.committing -= 1;
                self.release_key(slot);
                self.forget(slot);
                self.done.insert(id, None);
            }
            Some(Stage::Retrying { delay }) => {
                self.committing -= 1;
                self.postponed(slot, delay, now);
            }
            Some(
                Stage::ForTime { .. }
                | Stage::ForKey
                | Stage::ForAction
                | Stage::Ready
                | Stage::ForSolitude
                | Stage::Marking(_)
                | Stage::Running(_),
            )
            | None => {}
        }
    }

    /// Lets an item wait for its next attempt: in memory when that is soon.
    fn postponed(&mut self, slot: Slot, delay: Duration, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let Some(partition) = self.partitions.get_mut(&entry.item.part) else { return };
        let was_held = entry.hold;
        entry.hold = entry.item.work.key.as_ref().is_some_and(|key| key.mode == KeyMode::Mutate);
        move_to_later(partition, entry, was_held);
        let (hold, cancelled) = (entry.hold, entry.cancelled);
        if partition.leaving.is_some() && !cancelled {
            self.release_key(slot);
            return self.forget(slot);
        }
        if !hold {
            self.release_key(slot);
        }
        if cancelled {
            return self.finish_cancelled(slot, now);
        }
        let is_soon = delay <= self.settings.due_ahead;
        if hold || (is_soon && self.has_room()) {
            self.forget_event(slot, is_soon);
            self.wait_again(slot);
            return self.wait_for(slot, delay, now);
        }
        if is_soon && let Some(partition) = self.partition_of(slot) {
            partition.horizon.miss();
        }
        self.forget(slot);
    }

    /// An item that holds its key through a long pause waits without its event, which can be read
    /// again.
    fn forget_event(&mut self, slot: Slot, is_soon: bool) {
        if let Some(entry) = self.entries.get_mut(slot).filter(|_| !is_soon) {
            entry.item.event = None;
        }
    }

    /// Ends an item that is not over yet, wherever it stands.
    pub(super) fn cancel(&mut self, id: ExecutionId, now: Timestamp) {
        let Some(slot) = self.entries.find(id) else {
            // It may be a later item that is not in memory yet; a reading finds those as well.
            if !self.done.contains(id) && self.cancels.insert(id, None) {
                self.partitions.values_mut().for_each(|partition| partition.horizon.want());
            }
            return;
        };
        let Some(entry) = self.entries.get_mut(slot) else { return };
        match entry.stage {
            Stage::Finishing => return,
            // Its return has to be committed first.
            Stage::Retrying { .. } => {
                entry.cancelled = true;
                return;
            }
            Stage::ForKey => self.release_key(slot),
            Stage::ForTime { .. }
            | Stage::ForAction
            | Stage::Ready
            | Stage::ForSolitude
            | Stage::Marking(_) => {}
            Stage::Running(attempt) => self.record_cancelled(slot, attempt, now),
        }
        self.pull_out(slot);
        self.stop_waiting(slot);
        self.finish_cancelled(slot, now);
    }

    /// Ends an item for a newer one. One that has started is left alone.
    pub(super) fn supersede(&mut self, id: ExecutionId, by: ExecutionId, now: Timestamp) {
        let Some(slot) = self.entries.find(id) else {
            // Whatever brings it later brings its terms, which say it too: nobody has to look for it.
            if !self.done.contains(id) {
                self.cancels.insert(id, Some(by));
            }
            return;
        };
        let Some(entry) = self.entries.get(slot) else { return };
        if entry.has_started() {
            return;
        }
        if entry.stage == Stage::ForKey {
            self.release_key(slot);
        }
        self.pull_out(slot);
        self.stop_waiting(slot);
        self.finish_unstarted(slot, Ending::superseded(by), now);
    }

    /// Ends an item that does not run. If the former owner may have started it, that is said:
    /// the call has no other record.
    pub(super) fn finish_cancelled(&mut self, slot: Slot, now: Timestamp) {
        self.finish_unstarted(slot, Ending::cancelled(), now);
    }

    pub(super) fn finish_unstarted(&mut self, slot: Slot, ending: Ending, now: Timestamp) {
        let node = self.settings.node;
        if let Some(entry) = self.entries.get_mut(slot)
            && let Some(partition) = self.partitions.get(&entry.item.part)
            && std::mem::take(&mut entry.suspect)
        {
            let epoch = partition.lost_epoch();
            let message = "the former owner of the partition may have started it";
            entry.item.attempts.push(Attempt {
                number: number_of_next(&entry.item),
                node,
                epoch,
                cause: Cause::LeaseLost,
                lost_epoch: Some(epoch),
                started_at: now,
                ended_at: now,
                outcome: AttemptOutcome::Unknown,
                error: Some(Fault::system("execution.lost", message)),
                cpu_ms: None,
                memory_mb: None,
            });
        }
        self.finish(slot, ending, now);
    }

    fn record_cancelled(&mut self, slot: Slot, attempt: Try, now: Timestamp) {
        let node = self.settings.node;
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let Some(partition) = self.partitions.get(&entry.item.part) else { return };
        entry.item.attempts.push(Attempt {
            number: attempt.number,
            node,
            epoch: partition.fence.epoch,
            cause: attempt.cause,
            lost_epoch: attempt.lost_epoch,
            started_at: attempt.started_at,
            ended_at: now,
            outcome: AttemptOutcome::Cancelled,
            error: None,
            cpu_ms: None,
            memory_mb: None,
        });
    }

    /// Takes an item out of whatever it stands in, apart from the keys.
    pub(super) fn pull_out(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get(slot) else { return };
        match entry.stage {
            Stage::ForTime { due_at } => self.timers.remove(due_at, entry.serial, slot),
            Stage::ForAction => {
                let turn = Turn::new(entry.item.work.lane, entry.serial);
                match entry.gate.of(&entry.item.work) {
                    Some(GateId::Scope(scope)) => self.gates.unpark(scope, turn),
                    Some(GateId::Key(id)) => self.key_gates.unpark(&id, turn),
                    None => {}
                }
            }
            Stage::Ready => self.queue.remove(ticket(entry)),
            Stage::ForSolitude => drop(self.solitary.remove(&entry.serial)),
            Stage::Marking(attempt) => return self.give_back(slot, attempt.token),
            Stage::Running(attempt) => {
                self.effects.push(Effect::Abort(attempt.token));
                return self.give_back(slot, attempt.token);
            }
            Stage::Finishing | Stage::Retrying { .. } => self.committing -= 1,
            Stage::ForKey => {}
        }
        self.give_permit_back(slot);
    }

    /// Forgets a partition with all that is going on there.
    pub(super) fn lose(&mut self, part: Part) {
        if self.partitions.remove(&part).is_none() {
            return;
        }
        let is_lost = |entry: &super::entries::Entry| entry.item.part == part;
        let slots: Vec<Slot> = (self.entries.iter())
            .filter(|(_, entry)| is_lost(entry))
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            self.pull_out(slot);
            self.forget(slot);
        }
    }
}

impl Try {
    fn of(self, item: Item, epoch: Epoch) -> Start {
        let Self { token, number, cause, lost_epoch, .. } = self;
        Start { token, item, number, cause, lost_epoch, epoch, is_marked: false }
    }
}

/// The slots that one tenant may hold while others wait: one at least.
fn share_of(slots: usize, percent: u8) -> usize {
    (slots.saturating_mul(usize::from(percent)) / 100).max(1)
}

fn number_of_next(item: &Item) -> u32 {
    u32::try_from(item.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
}

/// Why the next attempt is made. That the former owner may have made one already comes first:
/// it explains a call that nobody else has written down.
fn cause_of(item: &Item, lost_epoch: Option<Epoch>) -> (Cause, Option<Epoch>) {
    if lost_epoch.is_some() {
        return (Cause::LeaseLost, lost_epoch);
    }
    let Some(last) = item.attempts.last() else {
        let cause = if item.work.parent.is_some() { Cause::Replay } else { Cause::First };
        return (cause, None);
    };
    match last.outcome {
        AttemptOutcome::Timeout => (Cause::Timeout, None),
        AttemptOutcome::Lost | AttemptOutcome::Unknown => (Cause::LeaseLost, Some(last.epoch)),
        AttemptOutcome::Completed | AttemptOutcome::Failed | AttemptOutcome::Cancelled => {
            (Cause::Retry, None)
        }
    }
}
