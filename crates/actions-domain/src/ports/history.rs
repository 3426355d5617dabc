//! What happened, for people to read. Every method takes the tenant. What it must do is defined
//! by `contract/history.rs`.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::event::Event;
use crate::execution::{Execution, Fault, Status};
use crate::id::{ActionId, EventId, ExecutionId, TenantId};
use crate::limits::LISTED_BYTES_MAX;
use crate::ports::store::{IntakeRow, StoreError};
use crate::terms::YieldNote;

/// Lists are ordered by id, newest first: ids are UUIDv7, so that is by time. `before` is the
/// last id of the page before.
///
/// Lists leave out payloads above [`LISTED_BYTES_MAX`] and say how large they are.
#[async_trait]
pub trait History: Send + Sync {
    async fn find_event(&self, tenant: TenantId, id: EventId) -> Result<Option<Event>, StoreError>;

    async fn list_events(&self, query: EventQuery) -> Result<Vec<ListedEvent>, StoreError>;

    /// The executions of one event, oldest first, finished or not.
    async fn executions_of_event(
        &self,
        tenant: TenantId,
        event: EventId,
    ) -> Result<Vec<Execution>, StoreError>;

    /// The executions that there are none of for one event, because others stand for them.
    async fn yields_of_event(
        &self,
        tenant: TenantId,
        event: EventId,
    ) -> Result<Vec<YieldNote>, StoreError>;

    /// The events of what has joined a batch, in the order in which it was accepted: a job has
    /// none.
    async fn members_of(
        &self,
        tenant: TenantId,
        head: ExecutionId,
    ) -> Result<Vec<Option<EventId>>, StoreError>;

    /// Finds an execution, finished or not. An unfinished one is pending or retrying here; that
    /// it is running only its owner knows.
    async fn find_execution(
        &self,
        tenant: TenantId,
        id: ExecutionId,
    ) -> Result<Option<Execution>, StoreError>;

    async fn list_executions(&self, query: ExecutionQuery) -> Result<Vec<Execution>, StoreError>;

    async fn list_dead_letters(
        &self,
        query: DeadLetterQuery,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    async fn find_dead_letter(
        &self,
        tenant: TenantId,
        id: ExecutionId,
    ) -> Result<Option<DeadLetter>, StoreError>;

    /// Dead letters by fingerprint, the largest group first, at most `limit`.
    async fn dead_letter_groups(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<DeadLetterGroup>, StoreError>;

    /// Finished executions since `since`, counted per action.
    async fn action_counts(
        &self,
        tenant: TenantId,
        action: Option<ActionId>,
        since: Option<Timestamp>,
    ) -> Result<Vec<ActionCounts>, StoreError>;

    /// What ended since `since`, counted per tenant, by their numbers. Tenants without any are left
    /// out.
    async fn counts_by_tenant(&self, since: Timestamp) -> Result<Vec<TenantCounts>, StoreError>;

    /// Durations in milliseconds of an action's newest finished executions, at most `limit`.
    async fn recent_durations(
        &self,
        tenant: TenantId,
        action: ActionId,
        limit: u32,
    ) -> Result<Vec<i64>, StoreError>;

    /// Events of users' own transactions that could not be accepted, newest first.
    async fn refused_intake(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<RefusedIntake>, StoreError>;

    /// Appends samples of the queues.
    async fn record_queue_metrics(&self, samples: &[QueueMetric]) -> Result<(), StoreError>;

    /// The newest samples, newest first.
    async fn queue_metrics(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<QueueMetric>, StoreError>;
}

#[derive(Debug, Clone, PartialEq)]
pub struct EventQuery {
    pub tenant: TenantId,
    /// An exact event type.
    pub event_type: Option<String>,
    pub before: Option<EventId>,
    pub limit: u32,
}

/// An event of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedEvent {
    /// Its data are null when they were left out.
    pub event: Event,
    pub data_bytes: usize,
}

impl ListedEvent {
    pub fn is_whole(&self) -> bool {
        self.data_bytes <= LISTED_BYTES_MAX
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionQuery {
    pub tenant: TenantId,
    pub action: Option<ActionId>,
    /// Any of these; empty means all.
    pub statuses: Vec<Status>,
    pub before: Option<ExecutionId>,
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterQuery {
    pub tenant: TenantId,
    pub fingerprint: Option<String>,
    pub action: Option<ActionId>,
    pub before: Option<ExecutionId>,
    pub limit: u32,
}

/// An execution that failed for good and waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    pub fingerprint: String,
    pub died_at: Timestamp,
    /// With its attempts.
    pub execution: Execution,
}

/// Dead letters with one cause.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterGroup {
    pub fingerprint: String,
    pub action: ActionId,
    pub count: i64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The newest one's fault.
    pub sample: Option<Fault>,
}

/// Finished executions of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionCounts {
    pub action: ActionId,
    pub completed: i64,
    /// Failed or timed out.
    pub failed: i64,
    pub cancelled: i64,
    /// Attempts beyond the first, over all of them.
    pub retries: i64,
    /// From first start to end, summed.
    pub duration_ms: i64,
    pub last_at: Option<Timestamp>,
}

/// What ended for one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantCounts {
    pub tenant: TenantId,
    pub completed: i64,
    /// Failed or timed out.
    pub failed: i64,
    /// From first start to end, summed.
    pub duration_ms: i64,
}

impl TenantCounts {
    pub fn of(tenant: TenantId) -> Self {
        Self { tenant, completed: 0, failed: 0, duration_ms: 0 }
    }
}

/// An event of a user's own transaction that could not be accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedIntake {
    pub row: IntakeRow,
    pub refused_at: Timestamp,
    pub reason: String,
}

/// One sample of a queue, in the founding columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueMetric {
    pub tenant: TenantId,
    pub queue_name: String,
    pub sampled_at: Timestamp,
    pub pending: i64,
    pub processing: i64,
    pub completed: i64,
    pub failed: i64,
    pub avg_processing_time_ms: f64,
    pub throughput_per_minute: f64,
    pub error_rate_percentage: f64,
    pub active_workers: i64,
}
