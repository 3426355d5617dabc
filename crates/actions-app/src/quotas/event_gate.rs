//! Events of a second, over all nodes, without asking the store for each.
//!
//! A node draws from the ledger of rates what is wanted and a little ahead, and lets events pass for
//! as long as it has some left. When the ledger has none, it refuses until there are some again, and
//! asks nobody meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::id::TenantId;
use actions_domain::settings::event_rate;
use actions_domain::throttle::{Draw, Rate, Scope};
use chrono::TimeDelta;
use tokio::sync::Mutex as Turn;
use tracing::debug;

use super::{EventRateState, QuotaError};
use crate::app::Ports;

/// What was drawn and not used for so long is given up: others have drawn since, and a node that
/// kept it would let more pass than the rate.
const UNUSED_MAX: TimeDelta = TimeDelta::seconds(2);
/// Tenants that are remembered. Beyond it, those that send nothing are forgotten.
const TENANTS_MAX: usize = 10_000;

#[derive(Default)]
pub(crate) struct EventGate {
    tenants: Mutex<HashMap<TenantId, Arc<Purse>>>,
}

/// What this node has of one tenant's rate.
#[derive(Default)]
struct Purse {
    state: Mutex<State>,
    /// One draws, and the others look at what came of it.
    turn: Turn<()>,
}

#[derive(Default)]
struct State {
    rate: Rate,
    /// Negative: what had to pass is owed.
    left: i64,
    drawn_at: Option<Timestamp>,
    /// The ledger has nothing before this.
    again_at: Option<Timestamp>,
}

impl State {
    /// Forgets what does not count any more.
    fn look(&mut self, rate: Rate, now: Timestamp) {
        let is_old = self.drawn_at.is_some_and(|at| now - at > UNUSED_MAX);
        if self.rate != rate {
            // What was owed stays owed.
            *self = Self { rate, left: self.left.min(0), ..Self::default() };
        } else if is_old {
            self.left = self.left.min(0);
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
        }
    }

    fn takes(&mut self, count: i64) -> bool {
        let has_room = self.left >= count;
        if has_room {
            self.left -= count;
        }
        has_room
    }

    /// How long until so many are there, when nobody else takes any.
    fn pause(&self, count: i64, now: Timestamp) -> Duration {
        let missing = u32::try_from(count.saturating_sub(self.left)).unwrap_or(0);
        let all = self.rate.period().saturating_mul(missing);
        let first = self.again_at.and_then(|at| (at - now).to_std().ok()).unwrap_or_default();
        all.max(first).max(Duration::from_millis(1))
    }
}

impl Purse {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventGate {
    /// Lets so many events pass, or none of them.
    pub(crate) async fn admit(
        &self,
        ports: &Ports,
        tenant: TenantId,
        allowed: u64,
        count: u64,
    ) -> Result<(), QuotaError> {
        let rate = event_rate(allowed);
        let most = u64::from(rate.burst());
        if count > most {
            return Err(QuotaError::Batch { allowed, most, given: count });
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let purse = self.purse(tenant);
        if let Some(answer) = look(&purse, rate, allowed, count, ports.clock.now()) {
            return answer;
        }
        let _turn = purse.turn.lock().await;
        // Whoever had the turn before may have drawn enough, or found nothing.
        if let Some(answer) = look(&purse, rate, allowed, count, ports.clock.now()) {
            return answer;
        }
        let ahead = rate.minute().map_or(1, |pace| i64::from(pace.block));
        let left = purse.state().left;
        let want = u32::try_from(count.max(ahead).saturating_sub(left)).unwrap_or(u32::MAX);
        let draw = Draw { scope: Scope::Events(tenant), rate, want };
        let drawn = match ports.permits.draw(&[draw]).await {
            Ok(drawn) => drawn.into_iter().next(),
            // A store that is away says so to whoever wants to write, and in its own words.
            Err(error) => {
                debug!(%error, "a rate of events cannot be drawn");
                return Ok(());
            }
        };
        let now = ports.clock.now();
        let mut state = purse.state();
        if let Some(drawn) = drawn {
            state.left += i64::from(drawn.count);
            state.drawn_at = Some(now);
            if drawn.count < want {
                let pause = TimeDelta::from_std(drawn.again_in).unwrap_or(TimeDelta::zero());
                state.again_at = Some(now + pause);
            }
        }
        if state.takes(count) {
            return Ok(());
        }
        Err(QuotaError::Rate { allowed, retry_after: state.pause(count, now) })
    }

    /// Lets events pass that nobody may refuse. They are owed, a burst of them at most.
    pub(crate) fn charge(&self, tenant: TenantId, rate: Rate, count: u64, now: Timestamp) {
        let purse = self.purse(tenant);
        let mut state = purse.state();
        state.look(rate, now);
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        state.left = state.left.saturating_sub(count).max(-i64::from(rate.burst()));
    }

    pub(crate) fn state(&self, tenant: TenantId, rate: Rate, now: Timestamp) -> EventRateState {
        let purse = self.purse(tenant);
        let mut state = purse.state();
        state.look(rate, now);
        EventRateState {
            burst: rate.burst().into(),
            left: u64::try_from(state.left).unwrap_or(0),
            again_in: if state.left > 0 { Duration::ZERO } else { state.pause(1, now) },
        }
    }

    fn purse(&self, tenant: TenantId) -> Arc<Purse> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS_MAX && !tenants.contains_key(&tenant) {
            // Those that somebody is looking at stay.
            tenants.retain(|_, purse| Arc::strong_count(purse) > 1);
        }
        tenants.entry(tenant).or_default().clone()
    }
}

/// What can be said without asking the ledger. `None`: it has to be asked.
fn look(
    purse: &Purse,
    rate: Rate,
    allowed: u64,
    count: i64,
    now: Timestamp,
) -> Option<Result<(), QuotaError>> {
    let mut state = purse.state();
    state.look(rate, now);
    if state.takes(count) {
        return Some(Ok(()));
    }
    state
        .again_at
        .is_some()
        .then(|| Err(QuotaError::Rate { allowed, retry_after: state.pause(count, now) }))
}
