//! What Redis is to the nodes: hints, and where it is asked to keep them, the rates. It may be away
//! or forget everything at any moment.

use std::collections::BTreeMap;
use std::time::Duration;

use actions_domain::ports::permits::Permits;
use actions_domain::throttle::{Bucket, Draw, Drawn, Scope};

use super::dice::{Dice, Micros, instant, micros};
use super::faults::Planted;
use super::workload::LIMITED;
use super::world::{World, at_once};

/// For so long a node that found it away draws from the store.
const SHUNNED: Micros = 5_000_000;

pub(super) struct Accelerator {
    keeps_rates: bool,
    away_until: Micros,
    rates: BTreeMap<Scope, Bucket>,
}

/// Who answered a draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Drawer {
    Accelerator,
    Store,
}

impl Drawer {
    pub(super) fn can_forget(self) -> bool {
        self == Self::Accelerator
    }
}

impl Accelerator {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { keeps_rates: dice.chance(50), away_until: 0, rates: BTreeMap::new() }
    }
}

impl World {
    pub(super) fn has_accelerator(&self) -> bool {
        self.now() >= self.accelerator.away_until
    }

    /// It goes away, comes back without its data, or both.
    pub(super) fn trouble_accelerator(&mut self) {
        let kind = self.dice.below(3);
        if kind > 0 {
            self.ledger.met.accelerator_losses += 1;
            let length = self.dice.millis(100, 6_000);
            self.accelerator.away_until = self.now() + micros(length);
        }
        if kind < 2 {
            self.accelerator.rates.clear();
            self.ledger.emptied.push(self.now());
        }
    }

    /// Draws starts for a node. While the accelerator is away the store's own ledger answers.
    pub(super) fn draw(&mut self, node: usize, draws: &[Draw]) -> Vec<Drawn> {
        let now = self.now();
        let is_there = self.has_accelerator();
        let Some(live) = &mut self.nodes[node].live else { return Vec::new() };
        let is_asked = self.accelerator.keeps_rates && now >= live.shuns_until;
        if is_asked && !is_there {
            live.shuns_until = now + SHUNNED;
            self.ledger.met.drawn_elsewhere += 1;
        }
        let (by, drawn) = if is_asked && is_there {
            let rates = &mut self.accelerator.rates;
            let draw = |draw: &Draw| {
                let bucket = rates.entry(draw.scope).or_default();
                let (count, again_in) = draw.rate.draw(bucket, instant(now), draw.want);
                Drawn { scope: draw.scope, count, again_in }
            };
            (Drawer::Accelerator, draws.iter().map(draw).collect())
        } else if self.planted == Planted::LedgerThatForgets {
            let all = |draw: &Draw| {
                let count = draw.want.min(draw.rate.burst());
                Drawn { scope: draw.scope, count, again_in: Duration::ZERO }
            };
            (Drawer::Store, draws.iter().map(all).collect())
        } else {
            (Drawer::Store, at_once(self.memory.draw(draws)).unwrap())
        };
        let limited = drawn.iter().filter(|drawn| drawn.scope == Scope::Action(LIMITED));
        let count: u32 = limited.map(|drawn| drawn.count).sum();
        if count > 0 {
            self.ledger.drawn.entry(by).or_default().push((now, count));
        }
        drawn
    }
}
