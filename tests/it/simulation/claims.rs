//! Executions that stand for all with their key, told in another way: who stood when, and whose
//! place was taken.

use std::collections::BTreeMap;

use actions_domain::execution::Status;
use actions_domain::id::{ActionId, ExecutionId, TenantId};
use actions_domain::work::{Cancel, Finish};

use super::dice::{Micros, micros};
use super::ledger::{Call, Ledger};
use super::workload::Order;

/// What is claimed: of this action and tenant, under this key.
type Name = (ActionId, TenantId, [u8; 16]);

#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Everybody who ever stood, oldest first.
    holders: BTreeMap<Name, Vec<ExecutionId>>,
    /// Who did not come to be, because another one stood.
    yielded: BTreeMap<ExecutionId, ExecutionId>,
    /// Who took a place, and when.
    superseded: BTreeMap<ExecutionId, (ExecutionId, Micros)>,
    /// Of a debounce: when the burst began, and when it may start.
    waits: BTreeMap<ExecutionId, (Micros, Micros)>,
}

impl Claims {
    pub(super) fn has_yielded(&self, id: ExecutionId) -> bool {
        self.yielded.contains_key(&id)
    }

    /// When the place of an execution was taken.
    pub(super) fn superseded_at(&self, id: ExecutionId) -> Option<Micros> {
        self.superseded.get(&id).map(|(_, at)| *at)
    }

    /// When an execution may be called at the earliest.
    pub(super) fn due_at(&self, order: &Order) -> Micros {
        let due = self.waits.get(&order.work.id).map(|(_, due)| *due);
        due.unwrap_or_else(|| order.accepted_at + order.work.delay.map_or(0, micros))
    }
}

fn name(order: &Order) -> Option<Name> {
    Some((order.work.action, order.work.tenant, order.claim()?.key))
}

impl Ledger {
    /// Notes what the store has accepted, and whose place it took. Nobody else may stand then.
    pub(super) fn accept(&mut self, order: Order, superseded: &[Cancel]) {
        let (id, at) = (order.work.id, order.accepted_at);
        let mut first_at = at;
        for former in superseded {
            self.met.superseded += 1;
            let by = former.by.expect("somebody takes the place");
            self.claims.superseded.insert(former.execution, (by, at));
            first_at = self.claims.waits.get(&former.execution).map_or(at, |(first, _)| *first);
        }
        if let (Some(claim), Some(name)) = (order.claim(), name(&order)) {
            if claim.waits {
                let wait = order.work.delay.map_or(0, micros);
                let most = claim.max_wait.map_or(Micros::MAX, |most| first_at + micros(most));
                let due = (at + wait).min(most.max(at));
                self.claims.waits.insert(id, (first_at, due));
            }
            let holders = self.claims.holders.entry(name).or_default();
            for other in holders.iter() {
                let is_over = self.finishes.contains_key(other)
                    || self.claims.superseded.contains_key(other)
                    || self.claims.waits.get(other).is_some_and(|(_, due)| *due <= at);
                if !is_over {
                    self.wrong.push(format!("{other} and {id} stand at once for {name:?}"));
                }
            }
            holders.push(id);
        }
        self.accepted.insert(id, order);
    }

    /// Notes that another one stands for an order.
    pub(super) fn yields(&mut self, order: &Order, to: ExecutionId) {
        let id = order.work.id;
        self.met.yielded += 1;
        let holder = name(order).and_then(|name| self.claims.holders.get(&name)?.last().copied());
        if holder != Some(to) || self.finishes.contains_key(&to) {
            self.wrong.push(format!("{id} yields to {to}, which does not stand"));
        }
        self.claims.yielded.insert(id, to);
    }
}

/// What was not started when it lost its place ends skipped, and nothing else does.
pub(super) fn violations(ledger: &Ledger, ended: &[(&Order, &Finish)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (order, finish) in ended {
        let id = order.work.id;
        let calls = ledger.calls.get(&id).map_or(&[][..], Vec::as_slice);
        let is_called = calls.iter().any(|call: &Call| call.was_made);
        let is_skipped = finish.status == Status::Skipped;
        let by = ledger.claims.superseded.get(&id).map(|(by, _)| *by);
        match by {
            None if is_skipped => wrong.push(format!("{id} is skipped for nobody")),
            Some(_) if is_skipped && is_called => {
                wrong.push(format!("{id} is skipped after it was called"));
            }
            Some(by) if is_skipped => {
                let told = finish.error.as_ref().map(|fault| fault.message.as_str());
                if !told.is_some_and(|told| told.contains(&by.to_string())) {
                    wrong.push(format!("{id} does not say that {by} took its place: {told:?}"));
                }
            }
            None | Some(_) => {}
        }
        let is_last = by.is_none() && order.claim().is_some();
        if is_last && !is_called && finish.status == Status::Completed {
            wrong.push(format!("{id} stands for a burst and was never called"));
        }
    }
    wrong
}
