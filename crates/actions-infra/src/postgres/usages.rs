//! What tenants have sent and what waits, in PostgreSQL.

use async_trait::async_trait;
use sqlx::FromRow;

use actions_domain::Timestamp;
use actions_domain::id::TenantId;
use actions_domain::ports::store::StoreError;
use actions_domain::ports::usages::Usages;
use actions_domain::usage::{Day, DayUsage, Level, Usage};

use super::Postgres;
use super::error::{read_error, write_error};

#[async_trait]
impl Usages for Postgres {
    async fn add_usage(&self, added: &[DayUsage]) -> Result<(), StoreError> {
        if added.is_empty() {
            return Ok(());
        }
        let numbers = |of: fn(&Usage) -> u64| {
            added.iter().map(|added| number(of(&added.usage))).collect::<Vec<i64>>()
        };
        sqlx::query(include_str!("usages/add_usage.sql"))
            .bind(added.iter().map(|added| added.tenant.0).collect::<Vec<i32>>())
            .bind(added.iter().map(|added| added.day.0).collect::<Vec<i32>>())
            .bind(numbers(|usage| usage.events))
            .bind(numbers(|usage| usage.bytes))
            .bind(numbers(|usage| usage.executions))
            .execute(&self.pool)
            .await
            .map_err(write_error)?;
        Ok(())
    }

    async fn usage_since(&self, tenant: TenantId, since: Day) -> Result<Vec<DayUsage>, StoreError> {
        let text = "select day, events, bytes, executions
            from engine.usage_day
            where tenant = $1 and day >= $2
            order by day desc";
        let rows: Vec<(i32, i64, i64, i64)> = sqlx::query_as(text)
            .bind(tenant.0)
            .bind(since.0)
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        let days = rows.into_iter().map(|(day, events, bytes, executions)| DayUsage {
            tenant,
            day: Day(day),
            usage: Usage {
                events: events.unsigned_abs(),
                bytes: bytes.unsigned_abs(),
                executions: executions.unsigned_abs(),
            },
        });
        Ok(days.collect())
    }

    async fn levels(&self, asked: &[(TenantId, Day)]) -> Result<Vec<Level>, StoreError> {
        let rows: Vec<LevelRecord> = sqlx::query_as(include_str!("usages/levels.sql"))
            .bind(asked.iter().map(|(tenant, _)| tenant.0).collect::<Vec<i32>>())
            .bind(asked.iter().map(|(_, since)| since.0).collect::<Vec<i32>>())
            .fetch_all(&self.pool)
            .await
            .map_err(read_error)?;
        Ok(rows.into_iter().map(LevelRecord::into_level).collect())
    }

    async fn count_waiting(
        &self,
        tenants: &[TenantId],
    ) -> Result<Vec<(TenantId, u64)>, StoreError> {
        let rows: Vec<(i32, i64)> = sqlx::query_as(include_str!("usages/count_waiting.sql"))
            .bind(tenants.iter().map(|tenant| tenant.0).collect::<Vec<i32>>())
            .fetch_all(&self.pool)
            .await
            .map_err(write_error)?;
        let counts = rows.into_iter().map(|(id, waiting)| (TenantId(id), waiting.unsigned_abs()));
        Ok(counts.collect())
    }

    async fn forget_usage(&self, before: Day) -> Result<(), StoreError> {
        sqlx::query("delete from engine.usage_day where day < $1")
            .bind(before.0)
            .execute(&self.pool)
            .await
            .map_err(write_error)?;
        Ok(())
    }
}

#[derive(Debug, FromRow)]
struct LevelRecord {
    tenant: i32,
    stored_bytes: i64,
    waiting: i64,
    counted_at: Option<Timestamp>,
}

impl LevelRecord {
    fn into_level(self) -> Level {
        Level {
            tenant: TenantId(self.tenant),
            stored_bytes: self.stored_bytes.unsigned_abs(),
            waiting: self.waiting.unsigned_abs(),
            counted_at: self.counted_at,
        }
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
