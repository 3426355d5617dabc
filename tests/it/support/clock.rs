//! A clock that the test holds, and dice that never scatter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::dice::Dice;
use async_trait::async_trait;
use chrono::TimeDelta;
use tokio::sync::oneshot;

/// Time stands still until the test moves it.
pub struct HeldClock {
    state: Mutex<State>,
}

struct State {
    now: Timestamp,
    /// Who sleeps, by the time to wake up. The number tells equal times apart.
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    next_sleeper: u64,
}

impl HeldClock {
    pub fn at(start: &str) -> Arc<Self> {
        let now = start.parse().unwrap();
        let state = State { now, sleepers: BTreeMap::new(), next_sleeper: 0 };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Moves to the next time at which somebody wakes up, but not beyond `limit`. Answers
    /// whether there was one.
    pub fn move_to_next(&self, limit: Timestamp) -> bool {
        let mut state = self.state.lock().unwrap();
        // Whoever was dropped while it slept does not count.
        state.sleepers.retain(|_, wake| !wake.is_closed());
        match state.sleepers.first_key_value().map(|(key, _)| *key) {
            Some(key @ (due, _)) if due <= limit => {
                state.now = state.now.max(due);
                if let Some(wake) = state.sleepers.remove(&key) {
                    let _ = wake.send(());
                }
                true
            }
            _ => {
                state.now = state.now.max(limit);
                false
            }
        }
    }
}

#[async_trait]
impl Clock for HeldClock {
    fn now(&self) -> Timestamp {
        self.state.lock().unwrap().now
    }

    async fn sleep(&self, pause: Duration) {
        let woken = {
            let mut state = self.state.lock().unwrap();
            let due = state.now + TimeDelta::from_std(pause).unwrap_or(TimeDelta::days(36_500));
            let (wake, woken) = oneshot::channel();
            state.next_sleeper += 1;
            let key = (due, state.next_sleeper);
            state.sleepers.insert(key, wake);
            woken
        };
        // The clock outlives its sleepers.
        let _ = woken.await;
    }
}

/// Ids are numbered, and jitter is always zero.
#[derive(Default)]
pub struct CountingDice {
    count: AtomicU64,
}

impl Dice for CountingDice {
    fn roll(&self) -> u64 {
        0
    }

    fn bytes(&self) -> [u8; 10] {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&count.to_be_bytes());
        bytes
    }

    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
            chunk.copy_from_slice(&count.to_le_bytes()[..chunk.len()]);
        }
    }
}
