//! Runs of workflows: what they were told, their timers and their journals. What it must do is
//! defined by `contract/runs.rs`.
//!
//! Everything here is read. What is written about runs is part of
//! [`Store::commit`](crate::ports::store::Store::commit).

use std::time::Duration;

use async_trait::async_trait;

use crate::Timestamp;
use crate::flow::journal::Entry;
use crate::flow::record::{RunRecord, RunStatus, RunTimer, Waiting};
use crate::id::{ExecutionId, RunId, TenantId};
use crate::ports::store::StoreError;
use crate::work::Part;

#[async_trait]
pub trait Runs: Send + Sync {
    /// Reads what the runs of these partitions were told and have not taken, in the order in which
    /// it was written, at most `limit` and at most about
    /// [`INBOX_BYTES_MAX`](crate::limits::INBOX_BYTES_MAX); and their timers that are due within
    /// `ahead`, the first ones first, at most `limit`. What is of the runs in `held` is left out.
    async fn inbox(
        &self,
        parts: &[Part],
        held: &[RunId],
        limit: u32,
        ahead: Duration,
    ) -> Result<Inbox, StoreError>;

    async fn find_run(&self, tenant: TenantId, id: RunId) -> Result<Option<RunRecord>, StoreError>;

    /// Reads those of these runs that are there, in any order.
    async fn find_runs(&self, runs: &[(TenantId, RunId)]) -> Result<Vec<RunRecord>, StoreError>;

    /// Reads runs, newest first.
    async fn list_runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError>;

    /// Reads the journal of a run in order, from entry number `from` on.
    async fn journal(
        &self,
        tenant: TenantId,
        run: RunId,
        from: u32,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError>;

    /// The run whose step an execution performs, and the number of the entry that made it.
    async fn run_of(
        &self,
        tenant: TenantId,
        execution: ExecutionId,
    ) -> Result<Option<(RunId, u32)>, StoreError>;
}

/// What waits for the owner of some partitions.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbox {
    /// By the store's clock.
    pub now: Timestamp,
    pub waiting: Vec<Waiting>,
    pub timers: Vec<RunTimer>,
    /// One of the bounds was met: there may be more.
    pub is_cut: bool,
}

/// Which runs to read.
#[derive(Debug, Clone, PartialEq)]
pub struct RunQuery {
    pub tenant: TenantId,
    /// Of this workflow.
    pub name: Option<String>,
    pub status: Option<RunStatus>,
    /// The last one of the page before.
    pub before: Option<RunId>,
    pub limit: u32,
}
