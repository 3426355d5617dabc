//! Bulks: one thing done to many executions or dead letters, piece by piece, with a record of each.
//!
//! Which items a bulk is about is settled when it starts. A bulk only decides what comes next;
//! what is done to an item is what the same request for a single one does.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::id::{BulkId, ExecutionId, TenantId};

/// What is done to each item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// An execution is asked to end.
    Cancel,
    /// A dead letter runs again.
    Requeue,
    /// A dead letter is forgotten.
    Discard,
}

/// How the items were chosen, as it was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// All that a list with this filter shows.
    Where(String),
    /// The dead letters with this fingerprint.
    Group(String),
    /// One by one: their ids are in the items.
    Ids,
}

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkSpec {
    pub operation: Operation,
    pub chosen: Chosen,
    /// So many first; then it pauses until it is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<u32>,
    /// At most so many in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkState {
    Running,
    Paused,
    /// Every item is done or refused.
    Completed,
    /// Somebody stopped it for good. What was done stays done.
    Cancelled,
}

impl BulkState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing more is begun, and nobody can change that.
    pub fn is_final(self) -> bool {
        match self {
            Self::Running | Self::Paused => false,
            Self::Completed | Self::Cancelled => true,
        }
    }
}

/// An operation on many items, and how far it is. It stays as the record of who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulk {
    pub id: BulkId,
    pub tenant: TenantId,
    pub spec: BulkSpec,
    pub started_by: String,
    pub created_at: Timestamp,
    pub total: u32,
    /// There were more than it took.
    pub more: bool,
    pub state: BulkState,
    /// Who brought it into this state; nobody when it did so by itself.
    pub changed_by: Option<String>,
    pub changed_at: Timestamp,
    /// Items up to this number may have been done, whether that was recorded or not.
    pub begun: u32,
    pub done: u32,
    pub refused: u32,
    /// Somebody let it go on after its canary.
    pub canary_passed: bool,
}

/// One item of a bulk, with its number from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkItem {
    pub number: u32,
    /// The execution, or the dead one.
    pub target: ExecutionId,
    /// When it was handled, and what became of it.
    pub handled: Option<(Timestamp, ItemOutcome)>,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemOutcome {
    /// With the new execution, if there is one.
    Done(Option<ExecutionId>),
    /// Nothing was changed, for this reason.
    Refused(String),
}

impl ItemOutcome {
    /// As it is stored: a refusal has a reason, and nothing else has one.
    pub fn of(execution: Option<ExecutionId>, refusal: Option<String>) -> Self {
        refusal.map_or(Self::Done(execution), Self::Refused)
    }

    pub fn execution(&self) -> Option<ExecutionId> {
        match self {
            Self::Done(execution) => *execution,
            Self::Refused(_) => None,
        }
    }

    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Done(_) => None,
            Self::Refused(reason) => Some(reason),
        }
    }
}

/// What may happen to a bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkChange {
    Pause {
        by: String,
    },
    Resume {
        by: String,
    },
    Cancel {
        by: String,
    },
    /// Items up to this number are about to be done.
    Begin {
        until: u32,
    },
    /// So many more items were done or refused.
    Record {
        done: u32,
        refused: u32,
    },
}

/// The bulk is in a state that does not allow the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bulk is {}", state.word())]
pub struct BulkRefusal {
    pub state: BulkState,
}

impl Bulk {
    /// A bulk of so many items that begins now. Without any it has ended already.
    pub fn new(
        id: BulkId,
        tenant: TenantId,
        spec: BulkSpec,
        started_by: String,
        (total, more): (u32, bool),
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            tenant,
            spec,
            started_by,
            created_at: now,
            total,
            more,
            state: if total == 0 { BulkState::Completed } else { BulkState::Running },
            changed_by: None,
            changed_at: now,
            begun: 0,
            done: 0,
            refused: 0,
            canary_passed: false,
        }
    }

    /// When it came to its end.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.state.is_final().then_some(self.changed_at)
    }

    /// Items whose outcome is recorded: the first ones, without a gap.
    pub fn handled(&self) -> u32 {
        self.done.saturating_add(self.refused)
    }

    /// How many items may be done next, at most `most`.
    pub fn next_count(&self, most: u32) -> u32 {
        if self.state != BulkState::Running {
            return 0;
        }
        let canary = self.spec.canary.filter(|_| !self.canary_passed);
        let end = canary.map_or(self.total, |canary| canary.min(self.total));
        end.saturating_sub(self.handled()).min(most)
    }

    /// The state after a change. What is so already stays as it is.
    ///
    /// # Errors
    /// When the bulk has ended, and for [`BulkChange::Begin`] also when it is paused. What was
    /// begun before is recorded in any state.
    pub fn after(&self, change: &BulkChange, now: Timestamp) -> Result<Self, BulkRefusal> {
        let mut next = self.clone();
        match (change, self.state) {
            (BulkChange::Pause { by }, BulkState::Running) => {
                next.enter(BulkState::Paused, Some(by), now);
            }
            (BulkChange::Resume { by }, BulkState::Paused) => {
                next.canary_passed |=
                    self.spec.canary.is_some_and(|canary| self.handled() >= canary);
                next.enter(BulkState::Running, Some(by), now);
            }
            (BulkChange::Cancel { by }, BulkState::Running | BulkState::Paused) => {
                next.enter(BulkState::Cancelled, Some(by), now);
            }
            (BulkChange::Pause { .. }, BulkState::Paused)
            | (BulkChange::Resume { .. }, BulkState::Running)
            | (BulkChange::Cancel { .. }, BulkState::Cancelled) => {}
            (BulkChange::Begin { until }, BulkState::Running) => {
                next.begun = next.begun.max(*until);
            }
            (BulkChange::Record { done, refused }, state) => {
                next.done = next.done.saturating_add(*done);
                next.refused = next.refused.saturating_add(*refused);
                if next.handled() >= next.total && !state.is_final() {
                    next.enter(BulkState::Completed, None, now);
                } else if state == BulkState::Running && next.next_count(1) == 0 {
                    next.enter(BulkState::Paused, None, now);
                }
            }
            (
                BulkChange::Pause { .. } | BulkChange::Resume { .. },
                BulkState::Completed | BulkState::Cancelled,
            )
            | (BulkChange::Cancel { .. }, BulkState::Completed)
            | (
                BulkChange::Begin { .. },
                BulkState::Paused | BulkState::Completed | BulkState::Cancelled,
            ) => return Err(BulkRefusal { state: self.state }),
        }
        Ok(next)
    }

    fn enter(&mut self, state: BulkState, by: Option<&String>, now: Timestamp) {
        self.state = state;
        self.changed_by = by.cloned();
        self.changed_at = now;
    }
}

#[cfg(test)]
mod tests;
