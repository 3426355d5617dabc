//! The audit in SQLite. The one write lock stands for the lock on a stream's head.

use actions_domain::audit::{Act, Entry, Hash, Head};
use actions_domain::id::TenantId;
use actions_domain::json::Json;
use actions_domain::ports::audit::Audit;
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::SqliteStore;
use super::error::{commit_error, store_error};
use super::record::{corrupt, get, micros, timestamp};

#[async_trait]
impl Audit for SqliteStore {
    async fn record_act(&self, act: &Act) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        append(&mut tx, Some(act)).await?;
        tx.commit().await.map_err(commit_error)
    }

    async fn audit_before(
        &self,
        tenant: TenantId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let text = "select * from engine_audit where tenant = ? and seq < ?
            order by seq desc limit ?";
        let rows = sqlx::query(text)
            .bind(tenant.0)
            .bind(before.unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(entry).collect()
    }

    async fn audit_after(
        &self,
        tenant: TenantId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let text = "select * from engine_audit where tenant = ? and seq > ? order by seq limit ?";
        let rows = sqlx::query(text)
            .bind(tenant.0)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(entry).collect()
    }

    async fn audit_head(&self, tenant: TenantId) -> Result<Head, StoreError> {
        let mut conn = self.readers.acquire().await.map_err(store_error)?;
        head(&mut conn, tenant).await
    }
}

/// Writes down what is done in a transaction, if it is somebody who does it. Comes last.
pub(super) async fn append(tx: &mut SqliteConnection, act: Option<&Act>) -> Result<(), StoreError> {
    let Some(act) = act else { return Ok(()) };
    let entry = head(tx, act.tenant).await?.append(act);
    sqlx::query(include_str!("audit/insert_entry.sql"))
        .bind(act.tenant.0)
        .bind(entry.seq)
        .bind(micros(entry.at))
        .bind(&entry.actor)
        .bind(&entry.actor_kind)
        .bind(&entry.actor_id)
        .bind(&entry.role)
        .bind(&entry.ingress)
        .bind(&entry.request_id)
        .bind(&entry.act)
        .bind(&entry.subject)
        .bind(entry.before.as_ref().map(Json::as_str))
        .bind(entry.after.as_ref().map(Json::as_str))
        .bind(&entry.reason)
        .bind(entry.previous.as_bytes().as_slice())
        .bind(entry.hash.as_bytes().as_slice())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    sqlx::query(include_str!("audit/note_head.sql"))
        .bind(act.tenant.0)
        .bind(entry.seq)
        .bind(entry.hash.as_bytes().as_slice())
        .execute(tx)
        .await
        .map_err(store_error)?;
    Ok(())
}

async fn head(conn: &mut SqliteConnection, tenant: TenantId) -> Result<Head, StoreError> {
    let row = sqlx::query("select seq, hash from engine_audit_head where tenant = ?")
        .bind(tenant.0)
        .fetch_optional(conn)
        .await
        .map_err(store_error)?;
    let head = |row: &SqliteRow| Ok(Head { seq: get(row, "seq")?, hash: hash(row, "hash")? });
    row.as_ref().map_or_else(|| Ok(Head::default()), head)
}

fn hash(row: &SqliteRow, column: &str) -> Result<Hash, StoreError> {
    let bytes: &[u8] = get(row, column)?;
    // A wrong length is a wrong hash, which the check of the stream tells.
    Ok(Hash::from_record(bytes.try_into().unwrap_or_default()))
}

fn entry(row: &SqliteRow) -> Result<Entry, StoreError> {
    let state = |column| Ok(get::<Option<String>>(row, column)?.map(Json::from_record));
    let seq = get(row, "seq")?;
    Ok(Entry {
        seq,
        at: timestamp(get(row, "at")?).map_err(|_| corrupt("time of audit entry", seq))?,
        stream: TenantId(get(row, "tenant")?),
        actor: get(row, "actor")?,
        actor_kind: get(row, "actor_kind")?,
        actor_id: get(row, "actor_id")?,
        role: get(row, "role")?,
        ingress: get(row, "ingress")?,
        request_id: get(row, "request_id")?,
        act: get(row, "act")?,
        subject: get(row, "subject")?,
        before: state("before")?,
        after: state("after")?,
        reason: get(row, "reason")?,
        previous: hash(row, "previous")?,
        hash: hash(row, "hash")?,
    })
}
