//! Who asks for work, hears answers or does not, cancels, and the hints that go out.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::Input;
use actions_domain::id::ExecutionId;
use actions_domain::ports::store::{DueQuery, Store};
use actions_domain::work::{Cancel, Commit, Home, Item, Later, Part, Receipt, Seq, Submitted};

use super::faults::Planted;
use super::node::Word;
use super::workload::{Order, order, plain, submission};
use super::world::{Happening, World, at_once};

impl World {
    pub(super) fn ask(&mut self, again: Option<Order>) {
        let order = match again {
            Some(order) => order,
            None if self.orders_left == 0 => return,
            None => {
                self.orders_left -= 1;
                let pause = self.dice.millis(1, 500);
                self.plan(pause, Happening::Asked(None));
                let is_poison = self.poison_left > 0 && self.dice.chance(20);
                self.poison_left -= u32::from(is_poison);
                let (parts, now) = (self.parts, self.now());
                if is_poison {
                    plain(&mut self.dice, parts, now, true)
                } else {
                    order(&mut self.dice, parts, now, self.mix)
                }
            }
        };
        let is_unheard = self.dice.chance(4);
        match self.commit(&submission(&order, self.planted)) {
            Ok(receipt) => self.accepted(order, &receipt, is_unheard),
            Err(_) => self.plan(Duration::from_millis(150), Happening::Asked(Some(order))),
        }
        if self.dice.chance(6) {
            self.cancel_something();
        }
    }

    fn accepted(&mut self, order: Order, receipt: &Receipt, is_unheard: bool) {
        let id = order.work.id;
        assert!(matches!(receipt.submissions[..], [Submitted::Accepted(_)]));
        for yielded in &receipt.yielded {
            if yielded.has_joined {
                self.ledger.joins(id, yielded.to);
            } else {
                self.ledger.yields(&order, yielded.to);
            }
        }
        self.ledger.met.full_batches += u32::from(!receipt.closed.is_empty());
        let is_stored = !self.ledger.claims.has_yielded(id) && !self.ledger.batches.has_joined(id);
        let is_first = is_stored && !self.ledger.accepted.contains_key(&id);
        if is_first {
            let order = Order { accepted_at: self.now(), ..order.clone() };
            self.ledger.accept(order, &receipt.superseded);
        }
        if is_unheard {
            // The answer is lost on its way: the same is asked again.
            self.plan(Duration::from_millis(80), Happening::Asked(Some(order)));
            return;
        }
        for part in &receipt.closed {
            for node in 0..self.nodes.len() {
                self.send_hint(node, Input::LaterSeen(*part));
            }
        }
        if is_first {
            self.hint(&order, receipt.first.first().copied());
            for cancel in &receipt.superseded {
                self.tell_everybody(cancel);
            }
        }
    }

    /// Tells the nodes of new work: some of them, late, or twice.
    fn hint(&mut self, order: &Order, first: Option<(Part, Seq)>) {
        let by = self.dice.index(self.nodes.len());
        for node in 0..self.nodes.len() {
            let input = match first {
                Some((part, seq)) if node == by => {
                    let next = Seq(seq.0 + 1);
                    let items = vec![item(order, seq)];
                    Input::Arrived { part, from: seq, next, items }
                }
                Some((part, seq)) => Input::TailSeen { part, tail: Seq(seq.0 + 1) },
                None if node == by && self.dice.chance(50) => {
                    Input::Deferred(self.stored_later(order).into_iter().collect())
                }
                None => Input::LaterSeen(order.part),
            };
            self.send_hint(node, input);
        }
    }

    fn tell_everybody(&mut self, cancel: &Cancel) {
        if cancel.by.is_some() && self.planted == Planted::DeafToSuperseding {
            return;
        }
        for node in 0..self.nodes.len() {
            self.send_hint(node, Input::from(cancel));
        }
    }

    fn send_hint(&mut self, node: usize, input: Input) {
        if !self.has_accelerator() || self.dice.chance(15) {
            self.ledger.met.lost_hints += 1;
            return;
        }
        if self.dice.chance(10) {
            self.ledger.met.repeated_hints += 1;
            let pause = self.dice.millis(0, 3_000);
            self.tell(node, pause, Word::Hint(Box::new(input.clone())));
        }
        let pause = self.dice.millis(0, 40);
        self.tell(node, pause, Word::Hint(Box::new(input)));
    }

    fn stored_later(&self, order: &Order) -> Option<Later> {
        let query =
            DueQuery { part: order.part, ahead: Duration::from_secs(3_600), limit: u32::MAX };
        let laters = at_once(self.memory.due(query)).unwrap();
        laters.into_iter().find(|later| later.item.work.id == order.work.id)
    }

    fn cancel_something(&mut self) {
        let open: Vec<ExecutionId> = (self.ledger.accepted.keys())
            .filter(|id| !self.ledger.finishes.contains_key(id))
            .copied()
            .collect();
        if open.is_empty() {
            return;
        }
        let execution = open[self.dice.index(open.len())];
        let tenant = self.ledger.accepted[&execution].work.tenant;
        let cancel = Cancel { tenant, execution, by: None };
        let cancels = vec![cancel.clone()];
        if self.commit(&Commit { cancels, ..Commit::default() }).is_err() {
            return;
        }
        self.ledger.met.cancels += 1;
        self.tell_everybody(&cancel);
    }
}

fn item(order: &Order, seq: Seq) -> Item {
    Item {
        work: Arc::clone(&order.work),
        part: order.part,
        ord: seq,
        home: Home::Log,
        attempts: Vec::new(),
        losses: 0,
        event: None,
    }
}
