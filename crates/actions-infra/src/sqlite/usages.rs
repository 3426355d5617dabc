//! What tenants have sent and what waits, in SQLite.

use actions_domain::id::TenantId;
use actions_domain::ports::store::StoreError;
use actions_domain::ports::usages::Usages;
use actions_domain::usage::{Day, DayUsage, Level, Usage};
use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::error::{commit_error, store_error};
use super::record::{get, micros, timestamp};

#[async_trait]
impl Usages for SqliteStore {
    async fn add_usage(&self, added: &[DayUsage]) -> Result<(), StoreError> {
        if added.is_empty() {
            return Ok(());
        }
        let text = "insert into engine_usage_day (tenant, day, events, bytes, executions)
            select ?1, ?2, ?3, ?4, ?5
            where not exists (select 1 from engine_tenant_deletion where id = ?1)
            on conflict (tenant, day) do update
            set events = events + excluded.events, bytes = bytes + excluded.bytes,
                executions = executions + excluded.executions";
        let mut tx = self.begin().await?;
        for DayUsage { tenant, day, usage } in added {
            sqlx::query(text)
                .bind(tenant.0)
                .bind(day.0)
                .bind(number(usage.events))
                .bind(number(usage.bytes))
                .bind(number(usage.executions))
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        }
        tx.commit().await.map_err(commit_error)
    }

    async fn usage_since(&self, tenant: TenantId, since: Day) -> Result<Vec<DayUsage>, StoreError> {
        let text = "select day, events, bytes, executions
            from engine_usage_day
            where tenant = ? and day >= ?
            order by day desc";
        let rows = sqlx::query(text)
            .bind(tenant.0)
            .bind(since.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let day = |row: &SqliteRow| {
            let usage = Usage {
                events: count(row, "events")?,
                bytes: count(row, "bytes")?,
                executions: count(row, "executions")?,
            };
            Ok(DayUsage { tenant, day: Day(get(row, "day")?), usage })
        };
        rows.iter().map(day).collect()
    }

    async fn levels(&self, asked: &[(TenantId, Day)]) -> Result<Vec<Level>, StoreError> {
        let text = "select
                (select coalesce(sum(bytes), 0)
                    from engine_usage_day where tenant = ?1 and day >= ?2) as stored_bytes,
                (select waiting from engine_backlog where tenant = ?1) as waiting,
                (select counted_at from engine_backlog where tenant = ?1) as counted_at";
        let mut levels = Vec::with_capacity(asked.len());
        for (tenant, since) in asked {
            let row = sqlx::query(text)
                .bind(tenant.0)
                .bind(since.0)
                .fetch_one(&self.readers)
                .await
                .map_err(store_error)?;
            let waiting = get::<Option<i64>>(&row, "waiting")?.unwrap_or(0);
            levels.push(Level {
                tenant: *tenant,
                stored_bytes: count(&row, "stored_bytes")?,
                waiting: waiting.unsigned_abs(),
                counted_at: get::<Option<i64>>(&row, "counted_at")?.map(timestamp).transpose()?,
            });
        }
        levels.sort_by_key(|level| level.tenant);
        Ok(levels)
    }

    async fn count_waiting(
        &self,
        tenants: &[TenantId],
    ) -> Result<Vec<(TenantId, u64)>, StoreError> {
        let mut counts = Vec::with_capacity(tenants.len());
        // Counted by readers, so that no write waits for it.
        for tenant in tenants {
            let row = sqlx::query(include_str!("usages/count_waiting.sql"))
                .bind(tenant.0)
                .fetch_one(&self.readers)
                .await
                .map_err(store_error)?;
            counts.push((*tenant, count(&row, "waiting")?));
        }
        let now = self.clock.now();
        let text = "insert or replace into engine_backlog (tenant, waiting, counted_at)
            values (?, ?, ?)";
        let mut tx = self.begin().await?;
        for (tenant, waiting) in &counts {
            sqlx::query(text)
                .bind(tenant.0)
                .bind(number(*waiting))
                .bind(micros(now))
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        }
        tx.commit().await.map_err(commit_error)?;
        Ok(counts)
    }

    async fn forget_usage(&self, before: Day) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("delete from engine_usage_day where day < ?")
            .bind(before.0)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(commit_error)
    }
}

fn count(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    Ok(get::<i64>(row, column)?.unsigned_abs())
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
