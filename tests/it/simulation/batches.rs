//! Executions that gather into one: what has joined which, and what each call had of it.

use std::collections::BTreeMap;

use actions_domain::id::ExecutionId;
use actions_domain::json::Json;
use actions_domain::ports::store::Store;

use super::dice::micros;
use super::faults::Planted;
use super::ledger::Ledger;
use super::workload::{BATCH_SIZE, BATCH_WAIT, BATCHED};
use super::world::{World, at_once};

#[derive(Debug, Default)]
pub(super) struct Batches {
    /// What has joined, with its head.
    joined: BTreeMap<ExecutionId, ExecutionId>,
    /// What each call of a head had.
    called_with: BTreeMap<ExecutionId, Vec<Vec<Json>>>,
}

impl Batches {
    pub(super) fn has_joined(&self, id: ExecutionId) -> bool {
        self.joined.contains_key(&id)
    }
}

impl Ledger {
    pub(super) fn joins(&mut self, id: ExecutionId, head: ExecutionId) {
        self.met.joined += 1;
        let before = self.batches.joined.insert(id, head);
        if before.is_some_and(|before| before != head) {
            self.wrong.push(format!("{id} has joined {head}, and {before:?} before"));
        }
    }
}

impl World {
    /// Notes what a call of a head has of its batch.
    pub(super) fn call_batch(&mut self, head: ExecutionId) {
        let mut members = at_once(self.memory.members(head)).unwrap();
        if self.planted == Planted::ShortBatches {
            members.pop();
        }
        self.ledger.batches.called_with.entry(head).or_default().push(members);
    }
}

/// What joined is in exactly one batch, and every call of its head had all of it. A batch runs
/// when it is full, or when its time has come.
pub(super) fn violations(world: &World) -> Vec<String> {
    let (ledger, mut wrong) = (&world.ledger, Vec::new());
    let mut missing = ledger.batches.joined.clone();
    for (head, order) in &ledger.accepted {
        if order.work.action != BATCHED {
            continue;
        }
        let members = at_once(world.memory.members(*head)).unwrap();
        let size = u32::try_from(members.len()).unwrap() + 1;
        if size > BATCH_SIZE {
            wrong.push(format!("{head} has gathered too many: {members:?}"));
        }
        let due_at = order.accepted_at + micros(BATCH_WAIT);
        let calls = ledger.calls.get(head).map_or(&[][..], Vec::as_slice);
        if size < BATCH_SIZE && calls.iter().any(|call| call.was_made && call.at < due_at) {
            wrong.push(format!("{head} has not waited for its batch"));
        }
        for call in ledger.batches.called_with.get(head).into_iter().flatten() {
            if *call != members {
                wrong.push(format!("{head} was called with {call:?} and not all that has joined"));
            }
        }
        for member in &members {
            let id = member.to_value()["data"].as_str().and_then(|id| id.parse().ok());
            if id.and_then(|id| missing.remove(&id)) != Some(*head) {
                wrong.push(format!("{member:?} of {head} has not joined it"));
            }
        }
    }
    if !missing.is_empty() {
        wrong.push(format!("{missing:?} have joined and are nowhere"));
    }
    wrong
}
