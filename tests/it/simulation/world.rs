//! The world around the nodes: time, the store, users, and what goes wrong.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::Settings;
use actions_domain::id::NodeId;
use actions_domain::ports::definitions::Definitions;
use actions_domain::ports::store::{Store, StoreError};
use actions_domain::tenant::TenantSlug;
use actions_domain::work::{Commit, Receipt};
use actions_infra::memory::Memory;
use futures_util::FutureExt;
use uuid::Uuid;

use super::accelerator::Accelerator;
use super::dice::{Dice, Micros, SimClock, micros};
use super::faults::Planted;
use super::forger::{Owners, commit_without_fence};
use super::ledger::Ledger;
use super::node::{Node, Word};
use super::workload::{Mix, Order, TENANTS};

pub(super) const SECOND: Micros = 1_000_000;
/// How long users ask and things go wrong.
pub(super) const TROUBLE: Micros = 15 * SECOND;
/// By then everything has come to an end, or never will.
const PATIENCE: Micros = 400 * SECOND;

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
    pub(super) planted: Planted,
    pub(super) mix: Mix,
    pub(super) accelerator: Accelerator,
    /// Nodes do not die, but are given up by the others.
    pub(super) has_zombies: bool,
    agenda: BTreeMap<(Micros, u64), Happening>,
    happening_count: u64,
    pub(super) orders_left: usize,
    pub(super) poison_left: u32,
}

pub(super) enum Happening {
    /// Somebody asks for something, for the first time or again.
    Asked(Option<Order>),
    Fault,
    Outage,
    AcceleratorLost,
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
    pub(super) fn new(seed: u64, planted: Planted) -> Self {
        let mut dice = Dice::new(seed);
        let clock = Arc::new(SimClock::default());
        let parts = dice.pick(&[1, 2, 4]);
        let memory = Memory::new(clock.clone(), parts);
        for number in 2..=TENANTS {
            let slug = TenantSlug::parse(&format!("t{number}")).unwrap();
            let uuid = Uuid::from_u128(u128::from(number));
            at_once(memory.create_tenant(uuid, &slug, "simulated", None)).unwrap();
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
            planted,
            mix: Mix::new(&mut dice),
            accelerator: Accelerator::new(&mut dice),
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
        if self.dice.chance(50) {
            self.plan(Duration::from_secs(2), Happening::AcceleratorLost);
        }
    }

    pub(super) fn now(&self) -> Micros {
        self.clock.micros()
    }

    pub(super) fn after(&self, pause: Duration) -> Micros {
        self.now() + micros(pause)
    }

    pub(super) fn is_down(&self) -> bool {
        self.now() < self.down_until
    }

    pub(super) fn is_troubled(&self) -> bool {
        self.now() < TROUBLE
    }

    pub(super) fn plan(&mut self, pause: Duration, happening: Happening) {
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
            Happening::Outage => self.outage(),
            Happening::AcceleratorLost => self.lose_accelerator(),
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

    /// Writes under fences as the store would, or as a broken one.
    pub(super) fn commit(&mut self, batch: &Commit) -> Result<Receipt, StoreError> {
        if self.is_down() {
            return Err(StoreError::unavailable("simulated"));
        }
        let receipt = if self.planted == Planted::NoFences && !batch.fences.is_empty() {
            commit_without_fence(&self.memory, &self.owners, batch)?;
            Receipt::default()
        } else {
            at_once(self.memory.commit(batch.clone()))?
        };
        self.ledger.written(batch);
        Ok(receipt)
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
