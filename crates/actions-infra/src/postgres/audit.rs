//! The audit in PostgreSQL. Entries follow one another under the lock of their stream's head, which
//! is the last one that a transaction takes.

use actions_domain::Timestamp;
use actions_domain::audit::{Act, Entry, Hash, Head};
use actions_domain::id::TenantId;
use actions_domain::json::Json;
use actions_domain::ports::audit::Audit;
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use sqlx::{FromRow, PgConnection};

use super::Postgres;
use super::error::{read_error, write_error};

#[async_trait]
impl Audit for Postgres {
    async fn record_act(&self, act: &Act) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        append(&mut tx, Some(act)).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)
    }

    async fn audit_before(
        &self,
        tenant: TenantId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let rows: Vec<EntryRecord> = sqlx::query_as(include_str!("audit/audit_before.sql"))
            .bind(tenant.0)
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        Ok(rows.into_iter().map(EntryRecord::into_entry).collect())
    }

    async fn audit_after(
        &self,
        tenant: TenantId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let rows: Vec<EntryRecord> = sqlx::query_as(include_str!("audit/audit_after.sql"))
            .bind(tenant.0)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        Ok(rows.into_iter().map(EntryRecord::into_entry).collect())
    }

    async fn audit_head(&self, tenant: TenantId) -> Result<Head, StoreError> {
        let text = "select seq, hash from engine.audit_head where tenant = $1";
        let head: Option<(i64, Vec<u8>)> = sqlx::query_as(text)
            .bind(tenant.0)
            .fetch_optional(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        Ok(head.map(|(seq, hash)| Head { seq, hash: hash_of(hash) }).unwrap_or_default())
    }
}

/// Writes down what is done in a transaction, if it is somebody who does it. Comes last.
pub(super) async fn append(tx: &mut PgConnection, act: Option<&Act>) -> Result<(), sqlx::Error> {
    let Some(act) = act else { return Ok(()) };
    let (seq, hash): (i64, Vec<u8>) = sqlx::query_as(include_str!("audit/lock_head.sql"))
        .bind(act.tenant.0)
        .fetch_one(&mut *tx)
        .await?;
    let entry = Head { seq, hash: hash_of(hash) }.append(act);
    sqlx::query(include_str!("audit/append.sql"))
        .bind(act.tenant.0)
        .bind(entry.seq)
        .bind(entry.at)
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
        .execute(tx)
        .await?;
    Ok(())
}

/// A wrong length is a wrong hash, which the check of the stream tells.
fn hash_of(bytes: Vec<u8>) -> Hash {
    Hash::from_record(bytes.try_into().unwrap_or_default())
}

#[derive(Debug, FromRow)]
struct EntryRecord {
    seq: i64,
    at: Timestamp,
    tenant: i32,
    actor: String,
    actor_kind: String,
    actor_id: Option<String>,
    role: String,
    ingress: String,
    request_id: String,
    act: String,
    subject: String,
    before: Option<String>,
    after: Option<String>,
    reason: Option<String>,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

impl EntryRecord {
    fn into_entry(self) -> Entry {
        Entry {
            seq: self.seq,
            at: self.at,
            stream: TenantId(self.tenant),
            actor: self.actor,
            actor_kind: self.actor_kind,
            actor_id: self.actor_id,
            role: self.role,
            ingress: self.ingress,
            request_id: self.request_id,
            act: self.act,
            subject: self.subject,
            before: self.before.map(Json::from_record),
            after: self.after.map(Json::from_record),
            reason: self.reason,
            previous: hash_of(self.previous),
            hash: hash_of(self.hash),
        }
    }
}
