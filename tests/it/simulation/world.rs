//! The world around the nodes: time, the store, users, and what goes wrong.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::{Input, Settings};
use actions_domain::id::{ExecutionId, NodeId};
use actions_domain::ports::definitions::Definitions;
use actions_domain::ports::store::{DueQuery, Store, StoreError};
use actions_domain::tenant::TenantSlug;
use actions_domain::work::{Cancel, Commit, Home, Item, Later, Part, Receipt, Seq, Submitted};
use actions_infra::memory::Memory;
use futures_util::FutureExt;
use uuid::Uuid;

use super::dice::{Dice, Micros, SimClock, micros};
use super::driver::{Node, Word};
use super::forger::{Owners, commit_without_fence};
use super::ledger::Ledger;
use super::workload::{Order, TENANTS, order, submission};

const SECOND: Micros = 1_000_000;
/// How long users ask and things go wrong.
const TROUBLE: Micros = 15 * SECOND;
/// By then everything has come to an end, or never will.
const PATIENCE: Micros = 400 * SECOND;

/// Whether the store compares epochs, as it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fences {
    Checked,
    Forged,
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) clock: Arc<SimClock>,
    pub(super) memory: Memory,
    pub(super) ledger: Ledger,
    pub(super) owners: Owners,
    pub(super) nodes: Vec<Node>,
    pub(super) settings: Settings,
    pub(super) down_until: Micros,
    pub(super) parts: u16,
    fences: Fences,
    /// Nodes do not die, but are given up by the others.
    has_zombies: bool,
    agenda: BTreeMap<(Micros, u64), Happening>,
    happening_count: u64,
    orders_left: usize,
    poison_left: u32,
}

enum Happening {
    /// Somebody asks for something, for the first time or again.
    Asked(Option<Order>),
    Fault,
    Outage,
    /// Something for one node, in one of its sessions.
    ForNode {
        node: usize,
        session: u64,
        word: Word,
    },
}

/// The memory store never waits.
pub(super) fn at_once<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("memory answers at once")
}

impl World {
    pub(super) fn new(seed: u64, fences: Fences) -> Self {
        let mut dice = Dice::new(seed);
        let clock = Arc::new(SimClock::default());
        let parts = dice.pick(&[1, 2, 4]);
        let memory = Memory::new(clock.clone(), parts);
        for number in 2..=TENANTS {
            let slug = TenantSlug::parse(&format!("t{number}")).unwrap();
            let uuid = Uuid::from_u128(u128::from(number));
            at_once(memory.create_tenant(uuid, &slug, "simulated")).unwrap();
        }
        let settings = settings(&mut dice);
        let has_zombies = dice.chance(35);
        let count = if has_zombies { 2 } else { 1 } + dice.index(2);
        let nodes = (1..=count).map(|number| Node::new(format!("n{number}"))).collect();
        let mut world = Self {
            clock,
            memory,
            ledger: Ledger::default(),
            owners: Owners::new(),
            nodes,
            settings,
            down_until: 0,
            parts,
            fences,
            has_zombies,
            agenda: BTreeMap::new(),
            happening_count: 0,
            orders_left: 20 + dice.index(40),
            poison_left: u32::from(dice.chance(12)),
            dice,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            self.tell(node, Duration::ZERO, Word::Join);
        }
        self.plan(Duration::from_millis(10), Happening::Asked(None));
        self.plan(Duration::from_secs(1), Happening::Fault);
        if self.dice.chance(50) {
            self.plan(Duration::from_secs(3), Happening::Outage);
        }
    }

    pub(super) fn now(&self) -> Micros {
        self.clock.micros()
    }

    pub(super) fn is_down(&self) -> bool {
        self.now() < self.down_until
    }

    pub(super) fn is_troubled(&self) -> bool {
        self.now() < TROUBLE
    }

    fn plan(&mut self, pause: Duration, happening: Happening) {
        self.happening_count += 1;
        self.agenda.insert((self.now() + micros(pause), self.happening_count), happening);
    }

    /// Sends a word to the session that a node has now.
    pub(super) fn tell(&mut self, node: usize, pause: Duration, word: Word) {
        let session = self.nodes[node].session;
        self.plan(pause, Happening::ForNode { node, session, word });
    }

    pub(super) fn run(&mut self) {
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            self.clock.set(at);
            self.happen(happening);
            if self.has_come_to_rest() {
                return;
            }
            if at > PATIENCE {
                self.ledger.wrong.push("it does not come to rest".to_owned());
                return;
            }
        }
    }

    /// All has ended, and the nodes had time to hear of it.
    fn has_come_to_rest(&self) -> bool {
        self.orders_left == 0
            && self.now() > TROUBLE + SECOND
            && self.ledger.finishes.len() == self.ledger.accepted.len()
            && self.nodes.iter().all(Node::is_at_rest)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Asked(again) => self.ask(again),
            Happening::Fault => self.fault(),
            Happening::Outage => {
                self.ledger.met.outages += 1;
                let length = self.dice.millis(100, 3_000);
                self.down_until = self.now() + micros(length);
            }
            Happening::ForNode { node, session, word } => {
                let frozen_until = self.nodes[node].frozen_until;
                if self.now() < frozen_until && !word.is_of_the_store() {
                    // A stalled process finds everything at once when it goes on.
                    self.happening_count += 1;
                    let at = (frozen_until, self.happening_count);
                    self.agenda.insert(at, Happening::ForNode { node, session, word });
                } else {
                    self.ledger.note((self.now(), node, session, word.number()));
                    self.hear(node, session, word);
                }
            }
        }
    }

    fn fault(&mut self) {
        if !self.is_troubled() {
            return;
        }
        let node = self.dice.index(self.nodes.len());
        let (kind, shortest) = if self.has_zombies {
            (30 + self.dice.below(50), 7_000)
        } else {
            (self.dice.below(100), 300)
        };
        let length = self.dice.millis(shortest, shortest + 10_000);
        let until = self.now() + micros(length);
        match kind {
            0..=29 => self.crash(node),
            30..=49 => {
                self.ledger.met.stalls += 1;
                self.nodes[node].frozen_until = until;
            }
            50..=79 => {
                self.nodes[node].mute_until = until;
                self.nodes[node].is_stubborn = self.has_zombies || self.dice.chance(70);
            }
            _ => self.drain(node),
        }
        let pause = self.dice.millis(shortest, shortest + 5_000);
        self.plan(pause, Happening::Fault);
    }

    fn ask(&mut self, again: Option<Order>) {
        let order = match again {
            Some(order) => order,
            None if self.orders_left == 0 => return,
            None => {
                self.orders_left -= 1;
                let pause = self.dice.millis(1, 500);
                self.plan(pause, Happening::Asked(None));
                let is_poison = self.poison_left > 0 && self.dice.chance(20);
                self.poison_left -= u32::from(is_poison);
                let now = self.now();
                order(&mut self.dice, self.parts, now, is_poison)
            }
        };
        let is_unheard = self.dice.chance(4);
        match self.commit(&submission(&order)) {
            Ok(receipt) => self.accepted(order, &receipt, is_unheard),
            Err(_) => self.plan(Duration::from_millis(150), Happening::Asked(Some(order))),
        }
        if self.dice.chance(6) {
            self.cancel_something();
        }
    }

    /// Writes under fences as the store would, or as a broken one.
    pub(super) fn commit(&mut self, batch: &Commit) -> Result<Receipt, StoreError> {
        if self.is_down() {
            return Err(StoreError::unavailable("simulated"));
        }
        let receipt = if self.fences == Fences::Forged && !batch.fences.is_empty() {
            commit_without_fence(&self.memory, &self.owners, batch)?;
            Receipt::default()
        } else {
            at_once(self.memory.commit(batch.clone()))?
        };
        self.ledger.written(batch);
        Ok(receipt)
    }

    fn accepted(&mut self, order: Order, receipt: &Receipt, is_unheard: bool) {
        let id = order.work.id;
        let is_first =
            !self.ledger.accepted.contains_key(&id) && !self.ledger.joined.contains_key(&id);
        assert!(matches!(receipt.submissions[..], [Submitted::Accepted(_)]));
        let head = receipt.yielded.first().map(|joined| joined.to);
        match head.filter(|_| is_first) {
            Some(head) => drop(self.ledger.joined.insert(id, head)),
            None if is_first => drop(self.ledger.accepted.insert(id, order.clone())),
            None => {}
        }
        self.ledger.met.joined += u32::from(head.is_some());
        self.ledger.met.full_batches += u32::from(!receipt.closed.is_empty());
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
        if is_first && head.is_none() {
            self.hint(&order, receipt.first.first().copied());
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

    fn send_hint(&mut self, node: usize, input: Input) {
        if self.dice.chance(15) {
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
        let cancels = vec![Cancel { tenant, execution, by: None }];
        if self.commit(&Commit { cancels, ..Commit::default() }).is_err() {
            return;
        }
        self.ledger.met.cancels += 1;
        for node in 0..self.nodes.len() {
            self.send_hint(node, Input::Cancel(execution));
        }
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

fn settings(dice: &mut Dice) -> Settings {
    Settings {
        node: NodeId(0),
        slots: 1 + dice.index(6),
        tenant_share: 60,
        window_bytes: dice.pick(&[2_000, 20_000, 1_000_000]),
        lane_items: dice.pick(&[1, 2, 4, 64]),
        load_items: dice.pick(&[2, 5, 32]),
        marked_for: Duration::from_secs(dice.pick(&[4, 20])),
        mark_items: 1 + dice.index(4),
        ageing: Duration::from_secs(2),
        due_ahead: Duration::from_secs(dice.pick(&[1, 4, 20])),
        leave_within: Duration::from_millis(dice.pick(&[50, 500, 10_000])),
        stay_for: Duration::from_secs(dice.pick(&[1, 5])),
    }
}
