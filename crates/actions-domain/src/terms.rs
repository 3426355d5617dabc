//! What an execution is counted by and stands for beside its key, its tenant and its action:
//! the names that its action's definition asked for, filled in when it was accepted.
//!
//! Names only: how many may run, and how often, is asked of the action as it is now.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ExecutionId, SubscriptionId};

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
    /// What it claims to be the only one for. Decided when it is accepted, and not kept.
    #[serde(skip)]
    pub claim: Option<Claim>,
    /// The execution that stands in its place, if it has not started: kept beside the terms.
    #[serde(skip)]
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
    /// Of a debounce: how far after the first one of a burst the last one may start.
    pub max_wait: Option<Duration>,
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
}

/// An execution that was submitted and was not stored, because another one holds its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yielded {
    pub execution: ExecutionId,
    /// The one that holds the claim.
    pub to: ExecutionId,
}

impl Terms {
    /// The terms, unless they say nothing.
    pub fn unless_empty(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}
