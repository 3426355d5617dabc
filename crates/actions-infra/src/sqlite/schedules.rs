//! Schedules in SQLite. The one write lock stands for the lock on the row.

use actions_domain::Timestamp;
use actions_domain::audit::Act;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::schedules::Schedules;
use actions_domain::ports::store::StoreError;
use actions_domain::schedule::{Progress, Schedule, ScheduleName, ScheduleSpec};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::SqliteStore;
use super::audit::append;
use super::bounds::keep_within;
use super::error::{commit_error, store_error};
use super::record::{get, micros, timestamp, to_text};
use crate::unreadable;

#[async_trait]
impl Schedules for SqliteStore {
    async fn schedules(&self, tenant: Option<TenantId>) -> Result<Vec<Schedule>, StoreError> {
        let rows = sqlx::query(include_str!("schedules/schedules.sql"))
            .bind(tenant.map(|tenant| tenant.0))
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().filter_map(|row| schedule(row).transpose()).collect()
    }

    async fn save_schedule(
        &self,
        tenant: TenantId,
        spec: &ScheduleSpec,
        expected: Expected,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Schedule, DefinitionsError> {
        let mut tx = self.begin().await?;
        let known = sqlx::query("select id from engine_tenant where id = ?")
            .bind(tenant.0)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
        if known.is_none() {
            return Err(not_found("tenant", &tenant.to_string()));
        }
        let row = find(&mut tx, tenant, &spec.name).await?;
        let version = row.as_ref().map(|row| get(row, "version")).transpose()?;
        expected.check("schedule", spec.name.as_str(), version)?;
        // One that cannot be read is replaced.
        let current = row.as_ref().map(schedule).transpose()?.flatten();
        let Some(next) = Schedule::saved(current.as_ref(), tenant, spec, now) else {
            return Ok(current.expect("without a current state there is a next one"));
        };
        let progress = &next.progress;
        sqlx::query(include_str!("schedules/save_schedule.sql"))
            .bind(tenant.0)
            .bind(spec.name.as_str())
            .bind(to_text(spec)?)
            .bind(next.version)
            .bind(micros(next.created_at))
            .bind(micros(next.updated_at))
            .bind(micros(progress.handled_until))
            .bind(progress.last_at.map(micros))
            .bind(progress.last_execution.map(|id| id.0))
            .bind(&progress.last_error)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        append(&mut tx, act).await?;
        keep_within::<DefinitionsError>(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(next)
    }

    async fn delete_schedule(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<(), DefinitionsError> {
        let mut tx = self.begin().await?;
        let row = find(&mut tx, tenant, name).await?;
        let row = row.ok_or_else(|| not_found("schedule", name.as_str()))?;
        expected.check("schedule", name.as_str(), Some(get(&row, "version")?))?;
        sqlx::query("delete from engine_schedule where tenant = ? and name = ?")
            .bind(tenant.0)
            .bind(name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(())
    }

    async fn note_progress(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        version: i64,
        progress: &Progress,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let noted = sqlx::query(include_str!("schedules/note_progress.sql"))
            .bind(tenant.0)
            .bind(name.as_str())
            .bind(version)
            .bind(micros(progress.handled_until))
            .bind(progress.last_at.map(micros))
            .bind(progress.last_execution.map(|id| id.0))
            .bind(&progress.last_error)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(commit_error)?;
        Ok(noted.rows_affected() > 0)
    }
}

async fn find(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    name: &ScheduleName,
) -> Result<Option<SqliteRow>, StoreError> {
    sqlx::query("select * from engine_schedule where tenant = ? and name = ?")
        .bind(tenant.0)
        .bind(name.as_str())
        .fetch_optional(conn)
        .await
        .map_err(store_error)
}

/// `None`: its specification cannot be read.
fn schedule(row: &SqliteRow) -> Result<Option<Schedule>, StoreError> {
    let time = |column| timestamp(get(row, column)?);
    let Some(spec) = unreadable::schedule(get(row, "name")?, get(row, "spec")?) else {
        return Ok(None);
    };
    let progress = Progress {
        handled_until: time("handled_until")?,
        last_at: get::<Option<i64>>(row, "last_at")?.map(timestamp).transpose()?,
        last_execution: get::<Option<Uuid>>(row, "last_execution")?.map(ExecutionId),
        last_error: get(row, "last_error")?,
    };
    Ok(Some(Schedule {
        tenant: TenantId(get(row, "tenant")?),
        spec,
        version: get(row, "version")?,
        created_at: time("created_at")?,
        updated_at: time("updated_at")?,
        progress,
    }))
}

fn not_found(what: &'static str, name: &str) -> DefinitionsError {
    DefinitionsError::NotFound { what, name: name.to_owned() }
}
