//! Counts durations by their size, from many tasks at once, without keeping each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Each power of two is divided into so many: an answer is at most 1.6 % off.
const STEPS: u64 = 64;
const STEP_BITS: u32 = 6;
const POWERS: usize = 40;

/// Durations in microseconds.
pub(super) struct Histogram {
    buckets: Vec<AtomicU64>,
}

impl Histogram {
    pub(super) fn new() -> Self {
        let count = (POWERS + 1) * STEPS as usize;
        Self { buckets: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(super) fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let last = self.buckets.len() - 1;
        self.buckets[bucket(micros).min(last)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The duration that this share of all is not above, in milliseconds. Zero without any.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (self.count() as f64 * share).ceil().max(1.0);
        let mut seen = 0_u64;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen as f64 >= wanted {
                return upper(index) as f64 / 1_000.0;
            }
        }
        0.0
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = micros.ilog2() - STEP_BITS;
    let step = (micros >> power) - STEPS;
    ((u64::from(power) + 1) * STEPS + step) as usize
}

/// The largest number of a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let power = index / STEPS - 1;
    let step = index % STEPS;
    ((STEPS + step + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Histogram, bucket, upper};

    #[test]
    fn every_number_lies_in_its_bucket() {
        for micros in (0..2_000).chain([65_535, 65_536, 1_000_000, 3_600_000_000]) {
            let index = bucket(micros);
            assert!(upper(index) >= micros, "{micros}");
            assert!(index == 0 || upper(index - 1) < micros, "{micros}");
            assert!(upper(index) as f64 <= micros as f64 * 1.017 + 1.0, "{micros}");
        }
    }

    #[test]
    fn quantiles_are_found() {
        let histogram = Histogram::new();
        assert!(histogram.quantile_ms(0.5) == 0.0);
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        assert_eq!(histogram.count(), 100);
        assert!((histogram.quantile_ms(0.5) - 50.0).abs() < 1.0);
        assert!((histogram.quantile_ms(0.99) - 99.0).abs() < 2.0);
    }
}
