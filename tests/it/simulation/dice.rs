//! Chance from a seed, and a clock that only the simulator moves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::ports::clock::Clock;
use async_trait::async_trait;

/// `SplitMix64`: small, fast, and the same everywhere.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0, below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    pub(super) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(u64::try_from(bound).unwrap())).unwrap()
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(1_000 * from + self.below(1_000 * (to - from) + 1))
    }
}

/// Microseconds since the start of simulated time.
pub(super) type Micros = i64;

pub(super) fn micros(pause: Duration) -> Micros {
    Micros::try_from(pause.as_micros()).unwrap()
}

pub(super) fn instant(at: Micros) -> Timestamp {
    Timestamp::from_timestamp_micros(at).unwrap()
}

#[derive(Debug, Default)]
pub(super) struct SimClock(AtomicI64);

impl SimClock {
    pub(super) fn set(&self, at: Micros) {
        self.0.store(at, Ordering::Relaxed);
    }

    pub(super) fn micros(&self) -> Micros {
        self.0.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        instant(self.micros())
    }

    async fn sleep(&self, _pause: Duration) {
        unreachable!("nothing in the simulator waits");
    }
}
