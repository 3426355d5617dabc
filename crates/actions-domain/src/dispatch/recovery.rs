//! What an unclean takeover does with items that were marked as started.
//!
//! After the claim is committed, and before anything of the partition is loaded, the new owner
//! asks [`Store::marked`](crate::ports::store::Store::marked) and commits what [`carry_over`]
//! answers as [`Commit::retries`](crate::work::Commit::retries) under its new fence. Only then
//! it tells the dispatcher that the partition is [claimed](super::Input::Claimed). A takeover
//! that is cut short is simply done again: an item that was carried over has no mark any more.

use std::time::Duration;

use crate::Timestamp;
use crate::execution::{Attempt, AttemptOutcome, Cause};
use crate::id::NodeId;
use crate::ports::leases::Lease;
use crate::work::{Epoch, Item, KeyMode, Later, Why};

/// Turns the items found marked into later items that are due at once: one loss more, and an
/// attempt that was lost with its node.
///
/// `former` is the node that is believed to have made the attempt. When the attempt began is
/// not written down anywhere, so the record says that it began and ended at `now`.
///
/// An item that mutates keeps its key, so that nothing overtakes it on the way.
pub fn carry_over(lease: &Lease, former: NodeId, marked: Vec<Item>, now: Timestamp) -> Vec<Later> {
    marked.into_iter().map(|item| carry_one(lease, former, item, now)).collect()
}

fn carry_one(lease: &Lease, former: NodeId, mut item: Item, now: Timestamp) -> Later {
    let epoch = Epoch(lease.epoch.0 - 1);
    item.attempts.push(Attempt {
        number: u32::try_from(item.attempts.len()).unwrap_or(u32::MAX).saturating_add(1),
        node: former,
        epoch,
        // Marks are written after a takeover, so the owner before that one may have started it
        // as well.
        cause: Cause::LeaseLost,
        lost_epoch: Some(Epoch(epoch.0 - 1)),
        started_at: now,
        ended_at: now,
        outcome: AttemptOutcome::Lost,
        error: None,
        cpu_ms: None,
        memory_mb: None,
    });
    item.losses = item.losses.saturating_add(1);
    let hold = item.work.key.as_ref().is_some_and(|key| key.mode == KeyMode::Mutate);
    Later { item, delay: Duration::ZERO, why: Why::Carried, hold }
}
