//! Schedules in PostgreSQL. They are changed under the lock of their tenant's row, like
//! definitions; a note of the progress is one statement.

use async_trait::async_trait;
use sqlx::{FromRow, PgExecutor};
use uuid::Uuid;

use actions_domain::Timestamp;
use actions_domain::audit::Act;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::schedules::Schedules;
use actions_domain::ports::store::StoreError;
use actions_domain::schedule::{Progress, Schedule, ScheduleName, ScheduleSpec};

use super::Postgres;
use super::audit::append;
use super::bounds::keep_within;
use super::error::{read_error, write_error};
use super::record::to_text;
use crate::unreadable;

#[async_trait]
impl Schedules for Postgres {
    async fn schedules(&self, tenant: Option<TenantId>) -> Result<Vec<Schedule>, StoreError> {
        let rows = match tenant {
            Some(asking) => select(&mut *self.for_tenant(asking).await?, tenant, None).await?,
            None => select(&self.pool, None, None).await?,
        };
        Ok(rows.into_iter().filter_map(ScheduleRecord::into_schedule).collect())
    }

    async fn save_schedule(
        &self,
        tenant: TenantId,
        spec: &ScheduleSpec,
        expected: Expected,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Schedule, DefinitionsError> {
        let mut tx = self.lock_tenant(tenant).await?;
        let row = select(&mut *tx, Some(tenant), Some(&spec.name)).await?.pop();
        let version = row.as_ref().map(|row| row.version);
        expected.check("schedule", spec.name.as_str(), version)?;
        // One that cannot be read is replaced.
        let current = row.and_then(ScheduleRecord::into_schedule);
        let Some(next) = Schedule::saved(current.as_ref(), tenant, spec, now) else {
            return Ok(current.expect("without a current state there is a next one"));
        };
        let progress = &next.progress;
        sqlx::query(include_str!("schedules/save_schedule.sql"))
            .bind(tenant.0)
            .bind(spec.name.as_str())
            .bind(to_text(spec)?)
            .bind(next.version)
            .bind(next.created_at)
            .bind(next.updated_at)
            .bind(progress.handled_until)
            .bind(progress.last_at)
            .bind(progress.last_execution.map(|id| id.0))
            .bind(&progress.last_error)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        append(&mut tx, act).await.map_err(write_error)?;
        keep_within::<DefinitionsError>(&mut tx, act).await?;
        tx.commit().await.map_err(write_error)?;
        Ok(next)
    }

    async fn delete_schedule(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<(), DefinitionsError> {
        let mut tx = self.lock_tenant(tenant).await?;
        let Some(row) = select(&mut *tx, Some(tenant), Some(name)).await?.pop() else {
            let name = name.to_string();
            return Err(DefinitionsError::NotFound { what: "schedule", name });
        };
        expected.check("schedule", name.as_str(), Some(row.version))?;
        sqlx::query("delete from engine.schedule where tenant = $1 and name = $2")
            .bind(tenant.0)
            .bind(name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(())
    }

    async fn note_progress(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        version: i64,
        progress: &Progress,
    ) -> Result<bool, StoreError> {
        let noted = sqlx::query(include_str!("schedules/note_progress.sql"))
            .bind(tenant.0)
            .bind(name.as_str())
            .bind(version)
            .bind(progress.handled_until)
            .bind(progress.last_at)
            .bind(progress.last_execution.map(|id| id.0))
            .bind(&progress.last_error)
            .execute(&self.pool)
            .await
            .map_err(write_error)?;
        Ok(noted.rows_affected() > 0)
    }
}

async fn select(
    from: impl PgExecutor<'_>,
    tenant: Option<TenantId>,
    name: Option<&ScheduleName>,
) -> Result<Vec<ScheduleRecord>, StoreError> {
    sqlx::query_as(include_str!("schedules/schedules.sql"))
        .bind(tenant.map(|tenant| tenant.0))
        .bind(name.map(ScheduleName::as_str))
        .fetch_all(from)
        .await
        .map_err(read_error)
}

#[derive(Debug, FromRow)]
struct ScheduleRecord {
    tenant: i32,
    name: String,
    spec: String,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    handled_until: Timestamp,
    last_at: Option<Timestamp>,
    last_execution: Option<Uuid>,
    last_error: Option<String>,
}

impl ScheduleRecord {
    /// `None`: its specification cannot be read.
    fn into_schedule(self) -> Option<Schedule> {
        let progress = Progress {
            handled_until: self.handled_until,
            last_at: self.last_at,
            last_execution: self.last_execution.map(ExecutionId),
            last_error: self.last_error,
        };
        Some(Schedule {
            tenant: TenantId(self.tenant),
            spec: unreadable::schedule(&self.name, &self.spec)?,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            progress,
        })
    }
}
