//! Bulks in PostgreSQL. A bulk is one record, changed under the lock of its row.

use actions_domain::Timestamp;
use actions_domain::audit::Act;
use actions_domain::bulk::{Bulk, BulkChange, BulkItem, ItemOutcome};
use actions_domain::id::{BulkId, ExecutionId, TenantId};
use actions_domain::ports::bulks::{BulkStep, Bulks};
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Postgres;
use super::audit::append;
use super::error::{read_error, write_error};
use super::record::{corrupt, from_text, to_text};
use crate::unreadable;

#[async_trait]
impl Bulks for Postgres {
    async fn create_bulk(
        &self,
        bulk: &Bulk,
        targets: &[ExecutionId],
        act: Option<&Act>,
    ) -> Result<(), StoreError> {
        let targets: Vec<Uuid> = targets.iter().map(|target| target.0).collect();
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        sqlx::query(include_str!("bulks/create_bulk.sql"))
            .bind(bulk.tenant.0)
            .bind(bulk.id.0)
            .bind(bulk.ended_at())
            .bind(to_text(bulk)?)
            .bind(targets)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)
    }

    async fn find_bulk(&self, tenant: TenantId, id: BulkId) -> Result<Option<Bulk>, StoreError> {
        let text = "select record from engine.bulk where tenant = $1 and id = $2";
        let found: Option<String> = sqlx::query_scalar(text)
            .bind(tenant.0)
            .bind(id.0)
            .fetch_optional(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        found.map(|text| from_text("bulk", &text)).transpose()
    }

    async fn list_bulks(
        &self,
        tenant: TenantId,
        before: Option<BulkId>,
        limit: u32,
    ) -> Result<Vec<Bulk>, StoreError> {
        let (mut bulks, mut before) = (Vec::new(), before.map(|id| id.0));
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        // One that cannot be read neither hides another one nor ends the list.
        loop {
            let found: Vec<(Uuid, String)> = sqlx::query_as(include_str!("bulks/list_bulks.sql"))
                .bind(tenant.0)
                .bind(before)
                .bind(i64::from(limit))
                .fetch_all(&mut *self.for_tenant(tenant).await?)
                .await
                .map_err(read_error)?;
            bulks.extend(readable(&found));
            bulks.truncate(wanted);
            if found.len() < wanted || bulks.len() == wanted {
                return Ok(bulks);
            }
            before = found.last().map(|(id, _)| *id);
        }
    }

    async fn open_bulks(&self, tenant: Option<TenantId>) -> Result<Vec<Bulk>, StoreError> {
        let statement = sqlx::query_as(include_str!("bulks/open_bulks.sql"))
            .bind(tenant.map(|tenant| tenant.0));
        let found: Result<Vec<(Uuid, String)>, _> = match tenant {
            Some(tenant) => statement.fetch_all(&mut *self.for_tenant(tenant).await?).await,
            None => statement.fetch_all(&self.pool).await,
        };
        Ok(readable(&found.map_err(read_error)?).collect())
    }

    async fn bulk_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<BulkItem>, StoreError> {
        let found: Vec<ItemRecord> = sqlx::query_as(include_str!("bulks/bulk_items.sql"))
            .bind(tenant.0)
            .bind(id.0)
            .bind(number_of(after))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        found.into_iter().map(ItemRecord::into_item).collect()
    }

    async fn change_bulk(
        &self,
        tenant: TenantId,
        id: BulkId,
        change: &BulkChange,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Option<BulkStep>, StoreError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        let step = step(&mut tx, tenant, id, change, now).await?;
        let act = act.zip(step.as_ref()).and_then(|(act, step)| act.step(step));
        append(&mut tx, act.as_ref()).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(step)
    }

    async fn record_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        outcomes: &[(u32, ItemOutcome)],
        now: Timestamp,
    ) -> Result<Option<BulkStep>, StoreError> {
        let numbers: Vec<i32> = outcomes.iter().map(|(number, _)| number_of(*number)).collect();
        let executions = outcomes.iter().map(|(_, outcome)| outcome.execution().map(|id| id.0));
        let refusals = outcomes.iter().map(|(_, outcome)| outcome.refusal());
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        // Whoever records the same items waits here, not row by row.
        sqlx::query("select from engine.bulk where tenant = $1 and id = $2 for update")
            .bind(tenant.0)
            .bind(id.0)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        let (done, refused): (i64, i64) = sqlx::query_as(include_str!("bulks/record_items.sql"))
            .bind(id.0)
            .bind(now)
            .bind(numbers)
            .bind(executions.collect::<Vec<_>>())
            .bind(refusals.collect::<Vec<_>>())
            .fetch_one(&mut *tx)
            .await
            .map_err(write_error)?;
        let count = |count: i64| u32::try_from(count).unwrap_or(0);
        let change = BulkChange::Record { done: count(done), refused: count(refused) };
        let step = step(&mut tx, tenant, id, &change, now).await?;
        tx.commit().await.map_err(write_error)?;
        Ok(step)
    }
}

fn readable(found: &[(Uuid, String)]) -> impl Iterator<Item = Bulk> {
    found.iter().filter_map(|(id, text)| unreadable::bulk(BulkId(*id), text))
}

/// Changes a bulk under its lock.
async fn step(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: BulkId,
    change: &BulkChange,
    now: Timestamp,
) -> Result<Option<BulkStep>, StoreError> {
    let text = "select record from engine.bulk where tenant = $1 and id = $2 for update";
    let found: Option<String> = sqlx::query_scalar(text)
        .bind(tenant.0)
        .bind(id.0)
        .fetch_optional(&mut *tx)
        .await
        .map_err(read_error)?;
    let Some(text) = found else { return Ok(None) };
    let before: Bulk = from_text("bulk", &text)?;
    let after = before.after(change, now);
    if let Ok(after) = &after
        && *after != before
    {
        let text =
            "update engine.bulk set ended_at = $3, record = $4 where tenant = $1 and id = $2";
        sqlx::query(text)
            .bind(tenant.0)
            .bind(id.0)
            .bind(after.ended_at())
            .bind(to_text(after)?)
            .execute(tx)
            .await
            .map_err(write_error)?;
    }
    Ok(Some(BulkStep { before, after }))
}

fn number_of(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[derive(Debug, FromRow)]
struct ItemRecord {
    number: i32,
    target: Uuid,
    handled_at: Option<Timestamp>,
    execution: Option<Uuid>,
    refusal: Option<String>,
}

impl ItemRecord {
    fn into_item(self) -> Result<BulkItem, StoreError> {
        let outcome = ItemOutcome::of(self.execution.map(ExecutionId), self.refusal);
        Ok(BulkItem {
            number: u32::try_from(self.number).map_err(|error| corrupt("number", &error))?,
            target: ExecutionId(self.target),
            handled: self.handled_at.map(|at| (at, outcome)),
        })
    }
}
