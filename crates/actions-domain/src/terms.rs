//! What an execution is counted by and stands for beside its key, its tenant and its action:
//! the names that its action's definition asked for, filled in when it was accepted.
//!
//! Names only: how many may run, and how often, is asked of the action as it is now.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::flow::record::StepOf;
use crate::gathering::Gathering;
use crate::id::{ActionId, ExecutionId, SubscriptionId};

/// The terms of one execution. Most have none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// The subscription that it came by, when that has a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionId>,
    /// It runs at once with so many of its action and this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<Arc<str>>,
    /// It starts at the rate of its action for this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_key: Option<Arc<str>>,
    /// It stands for all that gather in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gathering: Option<Gathering>,
    /// The step of a run that it performs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepOf>,
    /// What it claims to be the only one for. Decided when it is accepted, and not kept.
    #[serde(skip)]
    pub claim: Option<Claim>,
    /// The execution that stands in its place, if it has not started: kept beside the terms.
    #[serde(default, skip_serializing)]
    pub superseded_by: Option<ExecutionId>,
}

/// A claim to be the only execution for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// BLAKE3, 128 bits, of the action and the rendered key.
    pub key: [u8; 16],
    /// It stands until it has ended.
    pub until_finished: bool,
    /// It stands for so long after it was accepted.
    pub period: Option<Duration>,
    pub on_conflict: Conflict,
    /// It may not start at once, so that a newer one can take its place: a debounce.
    pub waits: bool,
    /// Of a debounce: how far after the first one of a burst the last one may start.
    pub max_wait: Option<Duration>,
}

/// Who holds a claim, as stores keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimHolder {
    pub execution: ExecutionId,
    /// When the first one of a burst was accepted.
    pub first_at: Timestamp,
    pub until: Option<Timestamp>,
    pub until_finished: bool,
    /// Of a debounce: when it may start.
    pub due: Option<Timestamp>,
}

/// What becomes of an execution with a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimVerdict {
    Yields {
        to: ExecutionId,
    },
    Holds {
        holder: ClaimHolder,
        delay: Option<Duration>,
        /// Ends without a start, if it has not started.
        supersedes: Option<ExecutionId>,
    },
}

impl Claim {
    /// Decides what becomes of `execution`, which is to start after `delay`. `known` holds the
    /// claim; `is_open` says that it has not ended.
    pub fn judge(
        &self,
        execution: ExecutionId,
        delay: Option<Duration>,
        known: Option<(ClaimHolder, bool)>,
        now: Timestamp,
    ) -> ClaimVerdict {
        let standing = known.filter(|(known, is_open)| {
            known.until_finished && *is_open || known.until.is_some_and(|until| until > now)
        });
        let (mut first_at, mut supersedes) = (now, None);
        if let Some((known, is_open)) = standing {
            if self.on_conflict != Conflict::Replace {
                return ClaimVerdict::Yields { to: known.execution };
            }
            let is_waiting = known.due.is_some_and(|due| due > now);
            // One of a burst that is due has its turn, or else the burst might never run.
            supersedes = Some(known.execution).filter(|_| is_open && (is_waiting || !self.waits));
            if is_open && self.waits && is_waiting {
                first_at = known.first_at;
            }
        }
        let delay = match (delay, self.max_wait) {
            (Some(delay), Some(max_wait)) if self.waits => {
                let most = after(first_at, max_wait) - now;
                Some(delay.min(most.to_std().unwrap_or_default()))
            }
            (delay, _) => delay,
        };
        let holder = ClaimHolder {
            execution,
            first_at,
            until: self.period.map(|period| after(now, period)),
            until_finished: self.until_finished,
            due: delay.filter(|_| self.waits).map(|delay| after(now, delay)),
        };
        ClaimVerdict::Holds { holder, delay, supersedes }
    }
}

/// The instant after a pause, or the end of time.
fn after(now: Timestamp, pause: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(pause)
        .ok()
        .and_then(|pause| now.checked_add_signed(pause))
        .unwrap_or(Timestamp::MAX_UTC)
}

/// What becomes of an execution whose claim another one holds. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// There is none: the other one stands for it.
    #[default]
    Existing = 0,
    /// There is none, and the caller is told so.
    Reject = 1,
    /// It takes the other one's place, if that has not started.
    Replace = 2,
}

impl Conflict {
    pub fn number(self) -> i16 {
        self as i16
    }

    pub fn from_number(number: i16) -> Option<Self> {
        let all = [Self::Existing, Self::Reject, Self::Replace];
        all.into_iter().find(|conflict| conflict.number() == number)
    }
}

/// An execution that was submitted and was not stored, because another one stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yielded {
    pub execution: ExecutionId,
    /// The one that holds the claim, or that it has joined.
    pub to: ExecutionId,
    pub on_conflict: Conflict,
    /// It has joined a batch, which runs with its event as well.
    pub has_joined: bool,
}

/// The same, as an event keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct YieldNote {
    pub action: ActionId,
    pub to: ExecutionId,
    pub on_conflict: Conflict,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_joined: bool,
}

impl Terms {
    /// The key with which others may join it until it begins.
    pub fn open_key(&self) -> Option<[u8; 16]> {
        self.gathering.and_then(|gathering| gathering.key)
    }

    /// Whether another one may stand for it, so that it is not stored.
    pub fn may_yield(&self) -> bool {
        self.claim.is_some() || self.open_key().is_some()
    }

    /// The terms, unless they say nothing.
    pub fn unless_empty(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}

#[cfg(test)]
mod tests;
