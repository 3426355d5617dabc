//! What a new owner does about items that its predecessor had marked as started.
//!
//! After an unclean claim is committed, and before anything of the partition is loaded, the new
//! owner asks [`Store::marked`](crate::ports::store::Store::marked) and commits what [`carried`]
//! answers as [`Commit::retries`](crate::work::Commit::retries) under its new fence. Only then it
//! tells the dispatcher that the partition is [claimed](super::Input::Claimed). A takeover that is
//! cut short is simply done again: an item that was carried over has no mark any more.

use std::time::Duration;

use crate::Timestamp;
use crate::execution::{Attempt, AttemptOutcome, Cause, Fault};
use crate::id::NodeId;
use crate::ports::leases::Lease;
use crate::work::{Epoch, Home, Item, KeyMode, Later, Why};

/// Records the lost attempt of each marked item, so that it starts again with one loss more.
///
/// An item that an earlier session of this very process had started has killed nothing, so it
/// gains no loss: `is_own`. One of an action whose starts are all written down, as
/// `is_at_most_once` says, was marked for that alone and gains none either: whether it may start
/// again, its handler is asked. Committed before anything is loaded: it also removes the marks, and an item that is not
/// marked never gains a loss. An item that mutates keeps its key, so that nothing overtakes it
/// on the way. `owner` stands for the node that made the attempt, which nobody has written down.
pub fn carried(
    marked: Vec<Item>,
    lease: Lease,
    is_own: bool,
    is_at_most_once: impl Fn(&Item) -> bool,
    owner: NodeId,
    now: Timestamp,
) -> Vec<Later> {
    let epoch = Epoch(lease.epoch.0 - 1);
    let carry = |mut item: Item| {
        let is_unknown = is_at_most_once(&item);
        let lost = lost_attempt(&item, epoch, owner, now);
        let outcome = if is_unknown { AttemptOutcome::Unknown } else { lost.outcome };
        item.attempts.push(Attempt { outcome, ..lost });
        item.losses = item.losses.saturating_add(u8::from(!is_own && !is_unknown));
        item.home = Home::Later;
        let hold = item.work.key.as_ref().is_some_and(|key| key.mode == KeyMode::Mutate);
        Later { item, delay: Duration::ZERO, why: Why::Carried, hold }
    };
    marked.into_iter().map(carry).collect()
}

fn lost_attempt(item: &Item, epoch: Epoch, node: NodeId, now: Timestamp) -> Attempt {
    let fault = Fault::system("execution.lost", "the node ended before the attempt did");
    Attempt {
        number: u32::try_from(item.attempts.len()).unwrap_or(u32::MAX).saturating_add(1),
        node,
        epoch,
        // Marks are written after an unclean takeover, so the owner before that one may have
        // started it as well.
        cause: Cause::LeaseLost,
        lost_epoch: Some(Epoch(epoch.0 - 1)),
        // When it started died with its node; it was before now.
        started_at: now,
        ended_at: now,
        outcome: AttemptOutcome::Lost,
        error: Some(fault),
        cpu_ms: None,
        memory_mb: None,
    }
}
