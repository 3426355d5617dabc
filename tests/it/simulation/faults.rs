//! What goes wrong, and bugs that are planted to see whether the rules notice them.

use super::world::{Happening, SECOND, TROUBLE, World};

/// A planted bug. If the simulator did not notice it, it would prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// The store does not compare epochs.
    NoFences,
    /// The ledger of rates forgets what was drawn.
    LedgerThatForgets,
    /// Nodes know of no rate.
    NoRates,
    /// Nodes let one too many run with a key, and twice as many start.
    LooseKeys,
    /// The store does not look who holds a claim.
    NoClaims,
    /// Nodes do not hear whose place was taken.
    DeafToSuperseding,
    /// Whoever lost its place is skipped, even if it has started.
    SkipsWhatStarted,
    /// A debounced execution does not wait.
    NoWait,
    /// A batch is called without the last one that has joined.
    ShortBatches,
}

impl World {
    pub(super) fn fault(&mut self) {
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
        let until = self.after(length);
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

    pub(super) fn outage(&mut self) {
        self.ledger.met.outages += 1;
        let length = self.dice.millis(100, 3_000);
        self.down_until = self.after(length);
    }

    /// The accelerator is in trouble again and again, for as long as there is trouble at all.
    pub(super) fn lose_accelerator(&mut self) {
        if self.now() + SECOND > TROUBLE {
            return;
        }
        self.trouble_accelerator();
        let pause = self.dice.millis(500, 8_000);
        self.plan(pause, Happening::AcceleratorLost);
    }
}
