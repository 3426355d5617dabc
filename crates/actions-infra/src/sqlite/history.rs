//! What happened, read from SQLite. An execution is in the log, among the later items, or
//! finished; one statement asks all three, so that it is seen once.

use actions_domain::Timestamp;
use actions_domain::event::Event;
use actions_domain::execution::{Execution, Fault, Status};
use actions_domain::id::{ActionId, EventId, ExecutionId, TenantId};
use actions_domain::limits::LISTED_BYTES_MAX;
use actions_domain::ports::history::{
    ActionCounts, DeadLetter, DeadLetterGroup, DeadLetterQuery, EventQuery, ExecutionQuery,
    History, ListedEvent, QueueMetric, RefusedIntake, TenantCounts,
};
use actions_domain::ports::store::StoreError;
use actions_domain::terms::{Conflict, YieldNote};
use async_trait::async_trait;
use chrono::TimeDelta;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::SqliteStore;
use super::error::{commit_error, store_error};
use super::record::{self, corrupt, get, micros, timestamp};

/// How long samples of the queues are kept.
const QUEUE_METRICS_KEPT: TimeDelta = TimeDelta::days(7);

#[async_trait]
impl History for SqliteStore {
    async fn find_event(&self, tenant: TenantId, id: EventId) -> Result<Option<Event>, StoreError> {
        let text = "select id, tenant, type, source, external_id, accepted_at, data, attributes
            from engine_event where id = ? and tenant = ?";
        let row = sqlx::query(text)
            .bind(id.0)
            .bind(tenant.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        row.as_ref().map(record::event).transpose()
    }

    async fn list_events(&self, query: EventQuery) -> Result<Vec<ListedEvent>, StoreError> {
        let rows = sqlx::query(include_str!("history/list_events.sql"))
            .bind(query.tenant.0)
            .bind(query.before.map_or(Uuid::max(), |before| before.0))
            .bind(query.event_type)
            .bind(query.limit)
            .bind(listed_bytes_max())
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(record::listed_event).collect()
    }

    async fn executions_of_event(
        &self,
        tenant: TenantId,
        event: EventId,
    ) -> Result<Vec<Execution>, StoreError> {
        let rows = sqlx::query(include_str!("history/executions_of_event.sql"))
            .bind(tenant.0)
            .bind(event.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(record::execution).collect()
    }

    async fn yields_of_event(
        &self,
        tenant: TenantId,
        event: EventId,
    ) -> Result<Vec<YieldNote>, StoreError> {
        let row = sqlx::query("select yielded from engine_event where id = ? and tenant = ?")
            .bind(event.0)
            .bind(tenant.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let mut notes: Vec<YieldNote> =
            record::optional_from_text(&row, "yielded")?.unwrap_or_default();
        let text = "select action, head from engine_member where event = ? order by head";
        let joined =
            sqlx::query(text).bind(event.0).fetch_all(&self.readers).await.map_err(store_error)?;
        for row in &joined {
            notes.push(YieldNote {
                action: ActionId(get(row, "action")?),
                to: ExecutionId(get(row, "head")?),
                on_conflict: Conflict::Existing,
                has_joined: true,
            });
        }
        Ok(notes)
    }

    async fn members_of(
        &self,
        tenant: TenantId,
        head: ExecutionId,
    ) -> Result<Vec<Option<EventId>>, StoreError> {
        let text = "select event from engine_member where head = ? and tenant = ? order by place";
        let rows = sqlx::query(text)
            .bind(head.0)
            .bind(tenant.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(|row| Ok(get::<Option<Uuid>>(row, "event")?.map(EventId))).collect()
    }

    async fn find_execution(
        &self,
        tenant: TenantId,
        id: ExecutionId,
    ) -> Result<Option<Execution>, StoreError> {
        let row = sqlx::query(include_str!("history/find_execution.sql"))
            .bind(tenant.0)
            .bind(id.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        row.as_ref().map(record::execution).transpose()
    }

    async fn list_executions(&self, query: ExecutionQuery) -> Result<Vec<Execution>, StoreError> {
        // The action leads another index, so it needs another text.
        let text = match query.action {
            None => include_str!("history/list_executions.sql"),
            Some(_) => include_str!("history/list_executions_of_action.sql"),
        };
        let rows = sqlx::query(text)
            .bind(query.tenant.0)
            .bind(query.before.map_or(Uuid::max(), |before| before.0))
            .bind(status_bits(&query.statuses))
            .bind(query.limit)
            .bind(query.action.map(|action| action.0))
            .bind(listed_bytes_max())
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(record::execution).collect()
    }

    async fn list_dead_letters(
        &self,
        query: DeadLetterQuery,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let text = match query.fingerprint {
            None => include_str!("history/list_dead_letters.sql"),
            Some(_) => include_str!("history/list_dead_letters_of_group.sql"),
        };
        let rows = sqlx::query(text)
            .bind(query.tenant.0)
            .bind(query.before.map_or(Uuid::max(), |before| before.0))
            .bind(query.action.map(|action| action.0))
            .bind(query.limit)
            .bind(query.fingerprint)
            .bind(listed_bytes_max())
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(dead_letter).collect()
    }

    async fn find_dead_letter(
        &self,
        tenant: TenantId,
        id: ExecutionId,
    ) -> Result<Option<DeadLetter>, StoreError> {
        let row = sqlx::query(include_str!("history/find_dead_letter.sql"))
            .bind(tenant.0)
            .bind(id.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        row.as_ref().map(dead_letter).transpose()
    }

    async fn dead_letter_groups(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<DeadLetterGroup>, StoreError> {
        let rows = sqlx::query(include_str!("history/dead_letter_groups.sql"))
            .bind(tenant.0)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(dead_letter_group).collect()
    }

    async fn action_counts(
        &self,
        tenant: TenantId,
        action: Option<ActionId>,
        since: Option<Timestamp>,
    ) -> Result<Vec<ActionCounts>, StoreError> {
        let action = action.map(|action| action.0);
        let query = match since {
            // Kept by every commit.
            None => {
                sqlx::query(include_str!("history/action_counts.sql")).bind(tenant.0).bind(action)
            }
            Some(since) => sqlx::query(include_str!("history/action_counts_since.sql"))
                .bind(tenant.0)
                .bind(action)
                .bind(micros(since)),
        };
        let rows = query.fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(record::action_counts).collect()
    }

    async fn recent_durations(
        &self,
        tenant: TenantId,
        action: ActionId,
        limit: u32,
    ) -> Result<Vec<i64>, StoreError> {
        let rows = sqlx::query(include_str!("history/recent_durations.sql"))
            .bind(tenant.0)
            .bind(action.0)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(|row| row.try_get(0).map_err(store_error)).collect()
    }

    async fn record_queue_metrics(&self, samples: &[QueueMetric]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for sample in samples {
            sqlx::query(include_str!("history/record_queue_metric.sql"))
                .bind(sample.tenant.0)
                .bind(micros(sample.sampled_at))
                .bind(sample.queue_name.as_str())
                .bind(sample.pending)
                .bind(sample.processing)
                .bind(sample.completed)
                .bind(sample.failed)
                .bind(sample.avg_processing_time_ms)
                .bind(sample.throughput_per_minute)
                .bind(sample.error_rate_percentage)
                .bind(sample.active_workers)
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
            sqlx::query("delete from engine_queue_metrics where tenant = ? and sampled_at < ?")
                .bind(sample.tenant.0)
                .bind(micros(sample.sampled_at - QUEUE_METRICS_KEPT))
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        }
        tx.commit().await.map_err(commit_error)
    }

    async fn queue_metrics(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<QueueMetric>, StoreError> {
        let rows = sqlx::query(include_str!("history/queue_metrics.sql"))
            .bind(tenant.0)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(record::queue_metric).collect()
    }

    async fn refused_intake(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<RefusedIntake>, StoreError> {
        let rows = sqlx::query(include_str!("history/refused_intake.sql"))
            .bind(tenant.0)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let refused = |row: &SqliteRow| {
            Ok(RefusedIntake {
                row: record::intake(row)?,
                refused_at: timestamp(get(row, "refused_at")?)?,
                reason: get(row, "reason")?,
            })
        };
        rows.iter().map(refused).collect()
    }

    async fn counts_by_tenant(&self, since: Timestamp) -> Result<Vec<TenantCounts>, StoreError> {
        let rows = sqlx::query(include_str!("history/counts_by_tenant.sql"))
            .bind(micros(since))
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let counts = |row: &SqliteRow| {
            Ok(TenantCounts {
                tenant: TenantId(get(row, "tenant")?),
                completed: get(row, "completed")?,
                failed: get(row, "failed")?,
                duration_ms: get(row, "duration_ms")?,
            })
        };
        rows.iter().map(counts).collect()
    }
}

fn listed_bytes_max() -> i64 {
    i64::try_from(LISTED_BYTES_MAX).unwrap_or(i64::MAX)
}

/// One bit for each status that is asked for. None means all.
fn status_bits(statuses: &[Status]) -> i64 {
    let bit = |status: &Status| 1_i64 << status.number();
    if statuses.is_empty() {
        Status::ALL.iter().map(bit).sum()
    } else {
        statuses.iter().map(bit).fold(0, |bits, bit| bits | bit)
    }
}

fn dead_letter(row: &SqliteRow) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        fingerprint: get(row, "fingerprint")?,
        died_at: timestamp(get(row, "died_at")?)?,
        execution: record::execution(row)?,
    })
}

fn dead_letter_group(row: &SqliteRow) -> Result<DeadLetterGroup, StoreError> {
    let sample: Option<&str> = get(row, "sample")?;
    let sample: Option<Fault> = sample
        .map(|text| serde_json::from_str(text).map_err(|error| corrupt("error", error)))
        .transpose()?;
    Ok(DeadLetterGroup {
        fingerprint: get(row, "fingerprint")?,
        action: ActionId(get(row, "action")?),
        count: get(row, "count")?,
        first_at: timestamp(get(row, "first_at")?)?,
        last_at: timestamp(get(row, "last_at")?)?,
        sample,
    })
}
