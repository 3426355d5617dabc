//! What happened, read from PostgreSQL for people. Finished executions, later items and the log
//! are read in one statement each, so an item on its way is found once.
//!
//! What a tenant's callers ask runs under row-level security (`roles`); what is of all tenants does
//! not.

use async_trait::async_trait;
use sqlx::FromRow;
use uuid::Uuid;

use actions_domain::Timestamp;
use actions_domain::event::Event;
use actions_domain::execution::Execution;
use actions_domain::id::{ActionId, EventId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::LISTED_BYTES_MAX;
use actions_domain::ports::history::{
    ActionCounts, DeadLetter, DeadLetterGroup, DeadLetterQuery, EventQuery, ExecutionQuery,
    History, ListedEvent, QueueMetric, RefusedIntake, TenantCounts,
};
use actions_domain::ports::store::{IntakeRow, StoreError};
use actions_domain::terms::{Conflict, YieldNote};

use super::Postgres;
use super::error::{read_error, write_error};
use super::record::{EventRecord, ExecutionRecord, from_text};

#[async_trait]
impl History for Postgres {
    async fn find_event(&self, tenant: TenantId, id: EventId) -> Result<Option<Event>, StoreError> {
        let row: Option<EventRecord> = sqlx::query_as(include_str!("history/find_event.sql"))
            .bind(tenant.0)
            .bind(id.0)
            .fetch_optional(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        row.map(EventRecord::into_event).transpose()
    }

    async fn list_events(&self, query: EventQuery) -> Result<Vec<ListedEvent>, StoreError> {
        // Two statements, because each has an index of its own.
        let statement = match &query.event_type {
            Some(_) => sqlx::query_as(include_str!("history/list_events_of_type.sql")),
            None => sqlx::query_as(include_str!("history/list_events.sql")),
        };
        let statement = statement
            .bind(query.tenant.0)
            .bind(query.before.map(|id| id.0))
            .bind(i64::from(query.limit));
        let statement = match query.event_type {
            Some(event_type) => statement.bind(event_type),
            None => statement,
        };
        let statement = statement.bind(listed_bytes_max());
        let mut reader = self.for_tenant(query.tenant).await?;
        let rows: Vec<EventRecord> = statement.fetch_all(&mut *reader).await.map_err(read_error)?;
        rows.into_iter().map(EventRecord::into_listed).collect()
    }

    async fn executions_of_event(
        &self,
        tenant: TenantId,
        event: EventId,
    ) -> Result<Vec<Execution>, StoreError> {
        let rows: Vec<ExecutionRecord> =
            sqlx::query_as(include_str!("history/executions_of_event.sql"))
                .bind(tenant.0)
                .bind(event.0)
                .fetch_all(&mut *self.for_tenant(tenant).await?)
                .await
                .map_err(read_error)?;
        rows.into_iter().map(ExecutionRecord::into_execution).collect()
    }

    async fn yields_of_event(
        &self,
        tenant: TenantId,
        event: EventId,
    ) -> Result<Vec<YieldNote>, StoreError> {
        let mut reader = self.for_tenant(tenant).await?;
        let text = "select yielded::text from engine.event where id = $2 and tenant = $1";
        let row: Option<(Option<String>,)> = sqlx::query_as(text)
            .bind(tenant.0)
            .bind(event.0)
            .fetch_optional(&mut *reader)
            .await
            .map_err(read_error)?;
        let Some((yielded,)) = row else { return Ok(Vec::new()) };
        let mut notes: Vec<YieldNote> =
            yielded.map_or_else(|| Ok(Vec::new()), |text| from_text("yielded", &text))?;
        let text = "select action, head from engine.member
            where event = $2 and tenant = $1 order by head";
        let joined: Vec<(i32, Uuid)> = sqlx::query_as(text)
            .bind(tenant.0)
            .bind(event.0)
            .fetch_all(&mut *reader)
            .await
            .map_err(read_error)?;
        notes.extend(joined.into_iter().map(|(action, head)| YieldNote {
            action: ActionId(action),
            to: ExecutionId(head),
            on_conflict: Conflict::Existing,
            has_joined: true,
        }));
        Ok(notes)
    }

    async fn members_of(
        &self,
        tenant: TenantId,
        head: ExecutionId,
    ) -> Result<Vec<Option<EventId>>, StoreError> {
        let text = "select event from engine.member
            where head = $2 and tenant = $1 order by place";
        let rows: Vec<Option<Uuid>> = sqlx::query_scalar(text)
            .bind(tenant.0)
            .bind(head.0)
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        Ok(rows.into_iter().map(|event| event.map(EventId)).collect())
    }

    async fn find_execution(
        &self,
        tenant: TenantId,
        id: ExecutionId,
    ) -> Result<Option<Execution>, StoreError> {
        let row: Option<ExecutionRecord> =
            sqlx::query_as(include_str!("history/find_execution.sql"))
                .bind(tenant.0)
                .bind(id.0)
                .fetch_optional(&mut *self.for_tenant(tenant).await?)
                .await
                .map_err(read_error)?;
        row.map(ExecutionRecord::into_execution).transpose()
    }

    async fn list_executions(&self, query: ExecutionQuery) -> Result<Vec<Execution>, StoreError> {
        let is_filtered = query.action.is_some() || !query.statuses.is_empty();
        let statement = if is_filtered {
            sqlx::query_as(include_str!("history/list_filtered_executions.sql"))
        } else {
            sqlx::query_as(include_str!("history/list_executions.sql"))
        };
        let statement = statement
            .bind(query.tenant.0)
            .bind(query.before.map(|id| id.0))
            .bind(i64::from(query.limit));
        let statement = if is_filtered {
            let statuses: Vec<i16> = query.statuses.iter().map(|status| status.number()).collect();
            statement.bind(query.action.map(|id| id.0)).bind(statuses)
        } else {
            statement
        };
        let statement = statement.bind(listed_bytes_max());
        let mut reader = self.for_tenant(query.tenant).await?;
        let rows: Vec<ExecutionRecord> =
            statement.fetch_all(&mut *reader).await.map_err(read_error)?;
        rows.into_iter().map(ExecutionRecord::into_execution).collect()
    }

    async fn list_dead_letters(
        &self,
        query: DeadLetterQuery,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let rows: Vec<DeadLetterRecord> =
            sqlx::query_as(include_str!("history/list_dead_letters.sql"))
                .bind(query.tenant.0)
                .bind(query.before.map(|id| id.0))
                .bind(i64::from(query.limit))
                .bind(query.fingerprint)
                .bind(query.action.map(|id| id.0))
                .bind(listed_bytes_max())
                .fetch_all(&mut *self.for_tenant(query.tenant).await?)
                .await
                .map_err(read_error)?;
        rows.into_iter().map(DeadLetterRecord::into_dead_letter).collect()
    }

    async fn find_dead_letter(
        &self,
        tenant: TenantId,
        id: ExecutionId,
    ) -> Result<Option<DeadLetter>, StoreError> {
        let row: Option<DeadLetterRecord> =
            sqlx::query_as(include_str!("history/find_dead_letter.sql"))
                .bind(tenant.0)
                .bind(id.0)
                .fetch_optional(&mut *self.for_tenant(tenant).await?)
                .await
                .map_err(read_error)?;
        row.map(DeadLetterRecord::into_dead_letter).transpose()
    }

    async fn dead_letter_groups(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<DeadLetterGroup>, StoreError> {
        let rows: Vec<GroupRecord> = sqlx::query_as(include_str!("history/dead_letter_groups.sql"))
            .bind(tenant.0)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(GroupRecord::into_group).collect()
    }

    async fn action_counts(
        &self,
        tenant: TenantId,
        action: Option<ActionId>,
        since: Option<Timestamp>,
    ) -> Result<Vec<ActionCounts>, StoreError> {
        let rows: Vec<CountsRecord> = sqlx::query_as(include_str!("history/action_counts.sql"))
            .bind(tenant.0)
            .bind(action.map(|id| id.0))
            .bind(since)
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        Ok(rows.into_iter().map(CountsRecord::into_counts).collect())
    }

    async fn recent_durations(
        &self,
        tenant: TenantId,
        action: ActionId,
        limit: u32,
    ) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar(include_str!("history/recent_durations.sql"))
            .bind(tenant.0)
            .bind(action.0)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)
    }

    async fn record_queue_metrics(&self, samples: &[QueueMetric]) -> Result<(), StoreError> {
        fn column<'a, C>(
            samples: &'a [QueueMetric],
            value: impl FnMut(&'a QueueMetric) -> C,
        ) -> Vec<C> {
            samples.iter().map(value).collect()
        }
        sqlx::query(include_str!("history/record_queue_metrics.sql"))
            .bind(column(samples, |sample| sample.tenant.0))
            .bind(column(samples, |sample| sample.queue_name.as_str()))
            .bind(column(samples, |sample| sample.sampled_at))
            .bind(column(samples, |sample| sample.pending))
            .bind(column(samples, |sample| sample.processing))
            .bind(column(samples, |sample| sample.completed))
            .bind(column(samples, |sample| sample.failed))
            .bind(column(samples, |sample| sample.avg_processing_time_ms))
            .bind(column(samples, |sample| sample.throughput_per_minute))
            .bind(column(samples, |sample| sample.error_rate_percentage))
            .bind(column(samples, |sample| sample.active_workers))
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(write_error)
    }

    async fn queue_metrics(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<QueueMetric>, StoreError> {
        let rows: Vec<MetricRecord> = sqlx::query_as(include_str!("history/queue_metrics.sql"))
            .bind(tenant.0)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        Ok(rows.into_iter().map(MetricRecord::into_metric).collect())
    }

    async fn refused_intake(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<RefusedIntake>, StoreError> {
        let rows: Vec<RefusedRecord> = sqlx::query_as(include_str!("history/refused_intake.sql"))
            .bind(tenant.0)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        Ok(rows.into_iter().map(RefusedRecord::into_refused).collect())
    }

    async fn counts_by_tenant(&self, since: Timestamp) -> Result<Vec<TenantCounts>, StoreError> {
        let rows: Vec<(i32, i64, i64, i64)> =
            sqlx::query_as(include_str!("history/counts_by_tenant.sql"))
                .bind(since)
                .fetch_all(&self.pool)
                .await
                .map_err(read_error)?;
        let counts = |(tenant, completed, failed, duration_ms)| TenantCounts {
            tenant: TenantId(tenant),
            completed,
            failed,
            duration_ms,
        };
        Ok(rows.into_iter().map(counts).collect())
    }
}

#[derive(Debug, FromRow)]
struct RefusedRecord {
    id: i64,
    tenant: i32,
    body: String,
    refused_at: Timestamp,
    reason: String,
}

impl RefusedRecord {
    fn into_refused(self) -> RefusedIntake {
        let body = Json::from_record(self.body);
        let row = IntakeRow { id: self.id, tenant: TenantId(self.tenant), body };
        RefusedIntake { row, refused_at: self.refused_at, reason: self.reason }
    }
}

fn listed_bytes_max() -> i64 {
    i64::try_from(LISTED_BYTES_MAX).unwrap_or(i64::MAX)
}

#[derive(Debug, FromRow)]
struct DeadLetterRecord {
    fingerprint: String,
    died_at: Timestamp,
    #[sqlx(flatten)]
    execution: ExecutionRecord,
}

impl DeadLetterRecord {
    fn into_dead_letter(self) -> Result<DeadLetter, StoreError> {
        Ok(DeadLetter {
            fingerprint: self.fingerprint,
            died_at: self.died_at,
            execution: self.execution.into_execution()?,
        })
    }
}

#[derive(Debug, FromRow)]
struct GroupRecord {
    fingerprint: String,
    action: i32,
    count: i64,
    first_at: Timestamp,
    last_at: Timestamp,
    error: Option<String>,
}

impl GroupRecord {
    fn into_group(self) -> Result<DeadLetterGroup, StoreError> {
        Ok(DeadLetterGroup {
            fingerprint: self.fingerprint,
            action: ActionId(self.action),
            count: self.count,
            first_at: self.first_at,
            last_at: self.last_at,
            sample: self.error.map(|text| from_text("error", &text)).transpose()?,
        })
    }
}

#[derive(Debug, FromRow)]
struct CountsRecord {
    action: i32,
    completed: i64,
    failed: i64,
    cancelled: i64,
    retries: i64,
    duration_ms: i64,
    last_at: Option<Timestamp>,
}

impl CountsRecord {
    fn into_counts(self) -> ActionCounts {
        ActionCounts {
            action: ActionId(self.action),
            completed: self.completed,
            failed: self.failed,
            cancelled: self.cancelled,
            retries: self.retries,
            duration_ms: self.duration_ms,
            last_at: self.last_at,
        }
    }
}

#[derive(Debug, FromRow)]
struct MetricRecord {
    tenant: i32,
    queue_name: String,
    sampled_at: Timestamp,
    pending: i64,
    processing: i64,
    completed: i64,
    failed: i64,
    avg_processing_time_ms: f64,
    throughput_per_minute: f64,
    error_rate_percentage: f64,
    active_workers: i64,
}

impl MetricRecord {
    fn into_metric(self) -> QueueMetric {
        QueueMetric {
            tenant: TenantId(self.tenant),
            queue_name: self.queue_name,
            sampled_at: self.sampled_at,
            pending: self.pending,
            processing: self.processing,
            completed: self.completed,
            failed: self.failed,
            avg_processing_time_ms: self.avg_processing_time_ms,
            throughput_per_minute: self.throughput_per_minute,
            error_rate_percentage: self.error_rate_percentage,
            active_workers: self.active_workers,
        }
    }
}
