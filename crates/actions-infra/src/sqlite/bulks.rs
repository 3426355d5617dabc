//! Bulks in SQLite. The one write lock stands for the lock on the row.

use std::sync::LazyLock;

use actions_domain::Timestamp;
use actions_domain::audit::Act;
use actions_domain::bulk::{Bulk, BulkChange, BulkItem, ItemOutcome};
use actions_domain::id::{BulkId, ExecutionId, TenantId};
use actions_domain::ports::bulks::{BulkStep, Bulks};
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::SqliteStore;
use super::audit::append;
use super::bulk::Bulk as Statement;
use super::error::{commit_error, store_error};
use super::record::{from_text, get, micros, timestamp, to_text};
use crate::unreadable;

static INSERT_ITEMS: LazyLock<Statement> =
    LazyLock::new(|| Statement::insert("engine_bulk_item", &["bulk", "number", "target"], ""));

#[async_trait]
impl Bulks for SqliteStore {
    async fn create_bulk(
        &self,
        bulk: &Bulk,
        targets: &[ExecutionId],
        act: Option<&Act>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("insert into engine_bulk (tenant, id, ended_at, record) values (?, ?, ?, ?)")
            .bind(bulk.tenant.0)
            .bind(bulk.id.0)
            .bind(bulk.ended_at().map(micros))
            .bind(to_text(bulk)?)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        let items: Vec<(u32, ExecutionId)> = (1..).zip(targets.iter().copied()).collect();
        INSERT_ITEMS
            .execute(&mut tx, &items, |(number, target), values| {
                values.add(bulk.id.0).add(*number).add(target.0);
            })
            .await?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)
    }

    async fn find_bulk(&self, tenant: TenantId, id: BulkId) -> Result<Option<Bulk>, StoreError> {
        let text = "select record from engine_bulk where tenant = ? and id = ?";
        let row = sqlx::query(text)
            .bind(tenant.0)
            .bind(id.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        row.map(|row| from_text(&row, "record")).transpose()
    }

    async fn list_bulks(
        &self,
        tenant: TenantId,
        before: Option<BulkId>,
        limit: u32,
    ) -> Result<Vec<Bulk>, StoreError> {
        let (mut found, mut before) = (Vec::new(), before.map(|id| id.0));
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        // One that cannot be read neither hides another one nor ends the list.
        loop {
            let rows = sqlx::query(include_str!("bulks/list_bulks.sql"))
                .bind(tenant.0)
                .bind(before)
                .bind(limit)
                .fetch_all(&self.readers)
                .await
                .map_err(store_error)?;
            found.extend(bulks(&rows)?);
            found.truncate(wanted);
            if rows.len() < wanted || found.len() == wanted {
                return Ok(found);
            }
            before = rows.last().map(|row| get(row, "id")).transpose()?;
        }
    }

    async fn open_bulks(&self, tenant: Option<TenantId>) -> Result<Vec<Bulk>, StoreError> {
        let rows = sqlx::query(include_str!("bulks/open_bulks.sql"))
            .bind(tenant.map(|tenant| tenant.0))
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        bulks(&rows)
    }

    async fn bulk_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<BulkItem>, StoreError> {
        let rows = sqlx::query(include_str!("bulks/bulk_items.sql"))
            .bind(tenant.0)
            .bind(id.0)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(item).collect()
    }

    async fn change_bulk(
        &self,
        tenant: TenantId,
        id: BulkId,
        change: &BulkChange,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Option<BulkStep>, StoreError> {
        let mut tx = self.begin().await?;
        let step = step(&mut tx, tenant, id, change, now).await?;
        let act = act.zip(step.as_ref()).and_then(|(act, step)| act.step(step));
        append(&mut tx, act.as_ref()).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(step)
    }

    async fn record_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        outcomes: &[(u32, ItemOutcome)],
        now: Timestamp,
    ) -> Result<Option<BulkStep>, StoreError> {
        let mut tx = self.begin().await?;
        let (mut done, mut refused) = (0, 0);
        for (number, outcome) in outcomes {
            let recorded = sqlx::query(include_str!("bulks/record_item.sql"))
                .bind(id.0)
                .bind(number)
                .bind(micros(now))
                .bind(outcome.execution().map(|id| id.0))
                .bind(outcome.refusal())
                .execute(&mut *tx)
                .await
                .map_err(store_error)?
                .rows_affected();
            let count = if outcome.refusal().is_none() { &mut done } else { &mut refused };
            *count += u32::try_from(recorded).unwrap_or(0);
        }
        let change = BulkChange::Record { done, refused };
        let step = step(&mut tx, tenant, id, &change, now).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(step)
    }
}

/// Those that can be read.
fn bulks(rows: &[SqliteRow]) -> Result<Vec<Bulk>, StoreError> {
    let bulks =
        rows.iter().map(|row| Ok(unreadable::bulk(BulkId(get(row, "id")?), get(row, "record")?)));
    bulks.filter_map(Result::transpose).collect()
}

/// Changes a bulk inside a transaction of the writer.
async fn step(
    tx: &mut SqliteConnection,
    tenant: TenantId,
    id: BulkId,
    change: &BulkChange,
    now: Timestamp,
) -> Result<Option<BulkStep>, StoreError> {
    let row = sqlx::query("select record from engine_bulk where tenant = ? and id = ?")
        .bind(tenant.0)
        .bind(id.0)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
    let Some(row) = row else { return Ok(None) };
    let before: Bulk = from_text(&row, "record")?;
    let after = before.after(change, now);
    if let Ok(after) = &after
        && *after != before
    {
        let text =
            "update engine_bulk set ended_at = ?3, record = ?4 where tenant = ?1 and id = ?2";
        sqlx::query(text)
            .bind(tenant.0)
            .bind(id.0)
            .bind(after.ended_at().map(micros))
            .bind(to_text(after)?)
            .execute(tx)
            .await
            .map_err(store_error)?;
    }
    Ok(Some(BulkStep { before, after }))
}

fn item(row: &SqliteRow) -> Result<BulkItem, StoreError> {
    let execution = get::<Option<Uuid>>(row, "execution")?.map(ExecutionId);
    let outcome = ItemOutcome::of(execution, get(row, "refusal")?);
    let handled_at = get::<Option<i64>>(row, "handled_at")?.map(timestamp).transpose()?;
    Ok(BulkItem {
        number: get(row, "number")?,
        target: ExecutionId(get(row, "target")?),
        handled: handled_at.map(|at| (at, outcome)),
    })
}
