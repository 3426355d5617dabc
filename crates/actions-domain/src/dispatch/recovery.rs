//! What a new owner does about items that its predecessor had marked as started.

use std::time::Duration;

use crate::Timestamp;
use crate::execution::{Attempt, AttemptOutcome, Cause, Fault};
use crate::id::NodeId;
use crate::ports::leases::Lease;
use crate::work::{Epoch, Home, Item, Later, Why};

/// Records the lost attempt of each marked item, so that it starts again with one loss more.
///
/// Committed before anything is loaded: it also removes the marks, and an item that is not
/// marked never gains a loss.
pub fn carried(marked: Vec<Item>, lease: Lease, owner: NodeId, now: Timestamp) -> Vec<Later> {
    let lost_epoch = Epoch(lease.epoch.0 - 1);
    marked
        .into_iter()
        .map(|mut item| {
            item.attempts.push(lost_attempt(&item, lost_epoch, owner, now));
            item.losses = item.losses.saturating_add(1);
            item.home = Home::Later;
            Later { item, delay: Duration::ZERO, why: Why::Carried, hold: false }
        })
        .collect()
}

fn lost_attempt(item: &Item, epoch: Epoch, node: NodeId, now: Timestamp) -> Attempt {
    let number = u32::try_from(item.attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
    let cause = if number == 1 { Cause::First } else { Cause::Retry };
    let fault = Fault::system("execution.lost", "the node ended before the attempt did");
    Attempt {
        number,
        node,
        epoch,
        cause,
        lost_epoch: None,
        // When it started died with its node; it was before now.
        started_at: now,
        ended_at: now,
        outcome: AttemptOutcome::Lost,
        error: Some(fault),
        cpu_ms: None,
        memory_mb: None,
    }
}
