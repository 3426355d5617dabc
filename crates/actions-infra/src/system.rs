//! The system's clock and randomness: the only place that asks for them.

use std::time::Duration;

use async_trait::async_trait;
use chrono::SubsecRound;

use actions_domain::Timestamp;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::dice::Dice;

/// The wall clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    fn now(&self) -> Timestamp {
        // Stores keep microseconds: a finer instant would not be read back as it was written.
        chrono::Utc::now().trunc_subsecs(6)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

/// Randomness that nobody can foresee: a generator of this process, seeded by the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDice;

impl Dice for SystemDice {
    #[expect(clippy::disallowed_methods, reason = "these are the dice that everybody else asks")]
    fn roll(&self) -> u64 {
        // The fixed bits of a version 4 id are at different places in its two halves, so every
        // bit of their sum is random.
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        high ^ low
    }

    /// From the system itself, whatever generator stands behind ids.
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness nothing secret can be made: better no key than one to be guessed.
        getrandom::fill(bytes).expect("the system has randomness once it has started");
    }
}

#[cfg(test)]
mod tests {
    use actions_domain::ports::clock::Clock;
    use actions_domain::ports::dice::Dice;

    use super::{SystemClock, SystemDice};

    #[test]
    fn the_clock_hands_out_microseconds() {
        assert_eq!(SystemClock.now().timestamp_subsec_nanos() % 1_000, 0);
    }

    #[test]
    fn every_bit_of_a_roll_is_random() {
        let rolls: Vec<u64> = (0..256).map(|_| SystemDice.roll()).collect();
        assert_eq!(rolls.iter().fold(0, |seen, roll| seen | roll), u64::MAX);
        assert_eq!(rolls.iter().fold(u64::MAX, |seen, roll| seen & roll), 0);
    }

    #[test]
    fn every_bit_of_a_secret_is_random() {
        let mut rolls = [[0; 40]; 64];
        rolls.iter_mut().for_each(|roll| SystemDice.fill(roll));
        for at in 0..40 {
            assert_eq!(rolls.iter().fold(0, |seen, roll| seen | roll[at]), u8::MAX);
            assert_eq!(rolls.iter().fold(u8::MAX, |seen, roll| seen & roll[at]), 0);
        }
    }
}
