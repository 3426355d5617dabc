//! Limits on what may run: how many at once, how many in a time, and not at all.
//!
//! A limit belongs to a [`Scope`] and holds over all nodes. How many may run at once is split
//! into shares: each node holds a part of the limit, written down in the store, and the parts
//! never add up to more than the limit. How many may start in a time is kept in one ledger, from
//! which nodes draw starts a little ahead. What is here decides; stores only keep the numbers.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::id::{ActionId, NodeId, SubscriptionId, TenantId};

/// A rate lets a twentieth of itself pass at once, and one at least. So no window of time sees
/// more than 105 % of the rate, and work that comes in small groups is not torn apart.
const BURST_SHARE: u32 = 20;
/// Starts are drawn for this much time ahead.
const DRAWN_AHEAD: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Tenant(TenantId),
    Action(ActionId),
    /// Has rates only. Two tenants may have chosen one id.
    Subscription(TenantId, SubscriptionId),
    /// Events of a tenant that are taken in. Has rates only, and nothing waits for it.
    Events(TenantId),
}

impl Scope {
    /// The scope as two numbers, as stores keep it. Of a subscription, 63 bits of a hash.
    pub fn numbers(self) -> (i16, i64) {
        match self {
            Self::Tenant(tenant) => (0, tenant.0.into()),
            Self::Action(action) => (1, action.0.into()),
            Self::Events(tenant) => (3, tenant.0.into()),
            Self::Subscription(tenant, subscription) => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&tenant.0.to_le_bytes());
                hasher.update(subscription.0.as_bytes());
                let mut first = [0; 8];
                first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
                (2, i64::from_le_bytes(first) & i64::MAX)
            }
        }
    }
}

/// The limits of one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Attempts that run at once, over all nodes.
    pub concurrency: Option<u32>,
    pub rate: Rate,
    /// Nothing starts. What comes in waits.
    pub is_paused: bool,
    /// Of an action, for each key by itself.
    pub per_key: PerKey,
}

/// Limits that hold for each key of an action by itself. Only the owner of the key's partition
/// counts them, so nobody has to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerKey {
    pub concurrency: Option<u32>,
    pub rate: Rate,
}

/// Attempts that may start in a time, over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rate {
    pub per_minute: Option<u32>,
    pub per_hour: Option<u32>,
}

/// A node's side of an exchange of shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareAsk {
    pub scope: Scope,
    /// The whole limit.
    pub max: u32,
    /// What runs here or may start at any moment: it cannot be given up now.
    pub keep: u32,
    /// What this node could use.
    pub want: u32,
    /// What it would like to hold on to while nobody else needs it.
    pub hold: u32,
}

/// What a node holds of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub scope: Scope,
    /// Written down for this node: nobody else uses it.
    pub amount: u32,
    /// How many may run here. Less than `amount` when somebody waits for the difference: as soon
    /// as it is free, it is to be given back.
    pub cap: u32,
}

/// A node's entry in the table of shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub node: NodeId,
    pub amount: u32,
    pub want: u32,
    /// When it last got something after it had nothing. Who has waited longest comes first.
    pub took_at: Timestamp,
}

/// Decides what a node holds of a limit from now on, and what the table says of it: nothing, when
/// it neither holds nor wants any.
///
/// Each gets what it wants, or when that is too much, the same fraction of it; what cannot be
/// divided goes to those who have waited longest. `others` are the other living nodes.
pub fn exchange(
    ask: &ShareAsk,
    node: NodeId,
    own: Option<Holder>,
    others: &[Holder],
    now: Timestamp,
) -> (Share, Option<Holder>) {
    let held = own.map_or(0, |own| own.amount);
    let free = others.iter().fold(ask.max, |free, other| free.saturating_sub(other.amount));
    let is_somebody_hungry = others.iter().any(|other| other.want > other.amount);
    let due = part_of(ask, own, node, others);
    let target = if is_somebody_hungry { due } else { due.max(ask.hold.min(held)) };
    let amount = target.min(free).max(ask.keep.min(held));
    let share = Share { scope: ask.scope, amount, cap: amount.min(target) };
    let took_at = if held == 0 && amount > 0 { now } else { took_at(own) };
    let holder = Holder { node, amount, want: ask.want, took_at };
    (share, (amount > 0 || ask.want > 0).then_some(holder))
}

/// Who never had anything comes before all others.
fn took_at(own: Option<Holder>) -> Timestamp {
    own.map_or(Timestamp::UNIX_EPOCH, |own| own.took_at)
}

fn part_of(ask: &ShareAsk, own: Option<Holder>, node: NodeId, others: &[Holder]) -> u32 {
    let want = ask.want.min(ask.max);
    let max = u64::from(ask.max);
    let wants = others.iter().map(|other| u64::from(other.want.min(ask.max)));
    let total = wants.sum::<u64>() + u64::from(want);
    if total <= max {
        return want;
    }
    let fraction = |want: u32| u64::from(want.min(ask.max)) * max / total;
    let given: u64 = others.iter().map(|other| fraction(other.want)).sum::<u64>() + fraction(want);
    let rank_of = |holder: &Holder| (holder.took_at, holder.node);
    let own_rank = (took_at(own), node);
    let before =
        (others.iter()).filter(|other| other.want > 0 && rank_of(other) < own_rank).count();
    let is_in_rest = want > 0 && u64::try_from(before).is_ok_and(|before| before < max - given);
    u32::try_from(fraction(want)).unwrap_or(u32::MAX) + u32::from(is_in_rest)
}

/// What a node draws from the ledger of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    pub scope: Scope,
    pub rate: Rate,
    /// Starts that it could use now.
    pub want: u32,
}

/// Starts that were drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    pub scope: Scope,
    pub count: u32,
    /// When there is more, if less came than was wanted.
    pub again_in: Duration,
}

/// What the ledger knows of a rate: when each of its windows will have paid for what was drawn
/// (the theoretical arrival time of the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    pub minute: Option<Timestamp>,
    pub hour: Option<Timestamp>,
}

impl Bucket {
    /// When everything that was drawn is paid for. `None`: nothing was.
    pub fn paid_at(&self) -> Option<Timestamp> {
        self.minute.max(self.hour)
    }
}

impl Rate {
    pub fn is_limited(&self) -> bool {
        self.per_minute.is_some() || self.per_hour.is_some()
    }

    /// How long one start takes to come, by the slower window.
    pub fn period(&self) -> Duration {
        let costs = self.minute().into_iter().chain(self.hour()).map(|pace| pace.cost);
        Duration::from_micros(u64::try_from(costs.max().unwrap_or(0)).unwrap_or(0))
    }

    /// What may start at once after a pause.
    pub fn burst(&self) -> u32 {
        let paces = self.minute().into_iter().chain(self.hour());
        paces.map(|pace| pace.burst).min().unwrap_or(u32::MAX)
    }

    /// Takes as many starts as there are, at most `want`.
    pub fn draw(&self, bucket: &mut Bucket, now: Timestamp, want: u32) -> (u32, Duration) {
        let (minute, hour) = (self.minute(), self.hour());
        let stocks = [
            minute.map(|pace| pace.stock(bucket.minute, now)),
            hour.map(|pace| pace.stock(bucket.hour, now)),
        ];
        let count = stocks.into_iter().flatten().fold(want, u32::min);
        let mut again_in = Duration::ZERO;
        for (pace, paid_at) in [(minute, &mut bucket.minute), (hour, &mut bucket.hour)] {
            let Some(pace) = pace else { continue };
            let paid = pace.pay(*paid_at, now, count);
            *paid_at = Some(paid);
            if count < want {
                again_in = again_in.max(pace.wait(paid, now));
            }
        }
        (count, again_in)
    }

    pub fn minute(&self) -> Option<Pace> {
        self.per_minute.map(|limit| Pace::new(limit, MINUTE))
    }

    pub fn hour(&self) -> Option<Pace> {
        self.per_hour.map(|limit| Pace::new(limit, HOUR))
    }
}

/// How one window of a rate lets starts pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Microseconds that one start costs.
    pub cost: i64,
    /// Starts that pass at once after a pause.
    pub burst: u32,
    /// Starts that are worth coming back for.
    pub block: u32,
}

impl Pace {
    fn new(limit: u32, length: Duration) -> Self {
        let limit = limit.max(1);
        let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        let ahead = i64::try_from(DRAWN_AHEAD.as_micros()).unwrap_or(i64::MAX);
        let burst = (limit / BURST_SHARE).max(1);
        // Rounded up, so that rounding never lets more pass.
        let cost = (length + i64::from(limit) - 1) / i64::from(limit);
        let block = u32::try_from(ahead / cost.max(1)).unwrap_or(u32::MAX).clamp(1, burst);
        Self { cost, burst, block }
    }

    fn stock(&self, paid_at: Option<Timestamp>, now: Timestamp) -> u32 {
        let left = self.all() - micros(self.debt_from(paid_at, now) - now);
        u32::try_from(left.max(0) / self.cost).unwrap_or(u32::MAX)
    }

    fn pay(&self, paid_at: Option<Timestamp>, now: Timestamp, count: u32) -> Timestamp {
        self.debt_from(paid_at, now) + TimeDelta::microseconds(self.cost * i64::from(count))
    }

    /// When what was drawn is paid for. A debt from a slower rate is no larger than one of this.
    fn debt_from(&self, paid_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let most = now + TimeDelta::microseconds(self.all());
        paid_at.map_or(now, |at| at.clamp(now, most))
    }

    /// How long until the next block is there.
    fn wait(&self, paid_at: Timestamp, now: Timestamp) -> Duration {
        let owed = micros(paid_at - now) + self.cost * i64::from(self.block);
        Duration::from_micros(u64::try_from(owed - self.all()).unwrap_or(0))
    }

    fn all(&self) -> i64 {
        self.cost * i64::from(self.burst)
    }
}

fn micros(span: TimeDelta) -> i64 {
    span.num_microseconds().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
