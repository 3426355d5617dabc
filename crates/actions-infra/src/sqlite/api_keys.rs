//! API keys in SQLite. The one write lock stands for the locks on rows.

use actions_domain::Timestamp;
use actions_domain::api_key::{ApiKey, ApiKeyName, Digest, Lookup, StoredToken};
use actions_domain::audit::Act;
use actions_domain::authorization::Role;
use actions_domain::id::{ApiKeyId, TenantId};
use actions_domain::limits::{API_KEY_TOKENS_MAX, API_KEYS_ENDED_MAX};
use actions_domain::ports::api_keys::{ApiKeyChanges, ApiKeys, ApiKeysError};
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::SqliteStore;
use super::audit::append;
use super::bounds::keep_within;
use super::error::{commit_error, store_error};
use super::record::{corrupt, get, micros, timestamp};

#[async_trait]
impl ApiKeys for SqliteStore {
    async fn create_api_key(
        &self,
        key: &ApiKey,
        token: &StoredToken,
        act: Option<&Act>,
    ) -> Result<(), ApiKeysError> {
        let mut tx = self.begin().await?;
        let known = sqlx::query("select id from engine_tenant where id = ?")
            .bind(key.tenant.0)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
        if known.is_none() {
            return Err(ApiKeysError::NotFound { what: "tenant" });
        }
        let inserted = sqlx::query(include_str!("api_keys/insert_key.sql"))
            .bind(key.tenant.0)
            .bind(key.id.0)
            .bind(key.name.as_str())
            .bind(key.role.word())
            .bind(&key.created_by)
            .bind(micros(key.created_at))
            .bind(key.expires_at.map(micros))
            .bind(key.lookup.as_str())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        if inserted.rows_affected() == 0 {
            return Err(ApiKeysError::Exists { name: key.name.to_string() });
        }
        insert_token(&mut tx, key.id, token, key.created_at).await?;
        sqlx::query(include_str!("api_keys/forget_ended.sql"))
            .bind(key.tenant.0)
            .bind(micros(key.created_at))
            .bind(i64::try_from(API_KEYS_ENDED_MAX).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        append(&mut tx, act).await?;
        keep_within::<ApiKeysError>(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(())
    }

    async fn api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let rows = sqlx::query("select * from engine_api_key where tenant = ? order by id")
            .bind(tenant.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(api_key).collect()
    }

    async fn find_token(
        &self,
        lookup: &Lookup,
    ) -> Result<Option<(ApiKey, StoredToken)>, StoreError> {
        let row = sqlx::query(include_str!("api_keys/find_token.sql"))
            .bind(lookup.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        let Some(row) = row else { return Ok(None) };
        let digest: &[u8] = get(&row, "digest")?;
        let digest = digest.try_into().map_err(|_| corrupt("digest", lookup.as_str()))?;
        let ends_at = time(&row, "ends_at")?;
        let token = StoredToken { lookup: *lookup, digest: Digest::from_record(digest), ends_at };
        Ok(Some((api_key(&row)?, token)))
    }

    async fn revoke_api_key(
        &self,
        tenant: TenantId,
        key: ApiKeyId,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<ApiKey, ApiKeysError> {
        let mut tx = self.begin().await?;
        let found = find(&mut tx, tenant, key).await?;
        if found.revoked_at.is_some() {
            return Ok(found);
        }
        let version = next_version(&mut tx).await?;
        sqlx::query(include_str!("api_keys/revoke_api_key.sql"))
            .bind(tenant.0)
            .bind(key.0)
            .bind(micros(now))
            .bind(version)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(ApiKey { revoked_at: Some(now), ..found })
    }

    async fn rotate_api_key(
        &self,
        tenant: TenantId,
        key: ApiKeyId,
        token: &StoredToken,
        others_end_at: Timestamp,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<ApiKey, ApiKeysError> {
        let mut tx = self.begin().await?;
        let found = find(&mut tx, tenant, key).await?;
        if found.revoked_at.is_some() {
            return Err(ApiKeysError::NotFound { what: "API key" });
        }
        let version = next_version(&mut tx).await?;
        sqlx::query(include_str!("api_keys/end_others.sql"))
            .bind(key.0)
            .bind(micros(others_end_at))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        let living: i64 = sqlx::query_scalar(
            "select count(*) from engine_api_key_token where api_key = ? and ends_at > ?",
        )
        .bind(key.0)
        .bind(micros(now))
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
        if usize::try_from(living).unwrap_or(usize::MAX) >= API_KEY_TOKENS_MAX {
            return Err(ApiKeysError::TooManyTokens);
        }
        sqlx::query("delete from engine_api_key_token where api_key = ? and ends_at <= ?")
            .bind(key.0)
            .bind(micros(now))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        insert_token(&mut tx, key, token, now).await?;
        sqlx::query(
            "update engine_api_key set lookup = ?2, others_end_at = ?3, version = ?4 where id = ?1",
        )
        .bind(key.0)
        .bind(token.lookup.as_str())
        .bind(micros(others_end_at))
        .bind(version)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(found.rotated(token, others_end_at))
    }

    async fn note_api_key_uses(&self, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for (key, at) in uses {
            sqlx::query(include_str!("api_keys/note_api_key_use.sql"))
                .bind(key.0)
                .bind(micros(*at))
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        }
        tx.commit().await.map_err(commit_error)
    }

    async fn api_key_changes(&self, since: Option<i64>) -> Result<ApiKeyChanges, StoreError> {
        let version: i64 = sqlx::query_scalar("select version from engine_api_key_version")
            .fetch_one(&self.readers)
            .await
            .map_err(store_error)?;
        let Some(since) = since.filter(|since| *since < version) else {
            return Ok(ApiKeyChanges { version, keys: Vec::new() });
        };
        // More may have been changed meanwhile: that is told twice, never left out.
        let mut keys: Vec<Uuid> =
            sqlx::query_scalar("select id from engine_api_key where version > ?")
                .bind(since)
                .fetch_all(&self.readers)
                .await
                .map_err(store_error)?;
        // Of tenants that are gone, whose keys may be gone from the table as well.
        let of_gone: Vec<Vec<u8>> =
            sqlx::query_scalar("select keys from engine_tenant_deletion where key_version > ?")
                .bind(since)
                .fetch_all(&self.readers)
                .await
                .map_err(store_error)?;
        let ids = of_gone.iter().flat_map(|ids| ids.chunks_exact(16));
        keys.extend(ids.filter_map(|id| Uuid::from_slice(id).ok()));
        Ok(ApiKeyChanges { version, keys: keys.into_iter().map(ApiKeyId).collect() })
    }
}

async fn find(
    tx: &mut SqliteConnection,
    tenant: TenantId,
    key: ApiKeyId,
) -> Result<ApiKey, ApiKeysError> {
    let row = sqlx::query("select * from engine_api_key where tenant = ? and id = ?")
        .bind(tenant.0)
        .bind(key.0)
        .fetch_optional(tx)
        .await
        .map_err(store_error)?;
    let row = row.ok_or(ApiKeysError::NotFound { what: "API key" })?;
    Ok(api_key(&row)?)
}

async fn next_version(tx: &mut SqliteConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar("update engine_api_key_version set version = version + 1 returning version")
        .fetch_one(tx)
        .await
        .map_err(store_error)
}

async fn insert_token(
    tx: &mut SqliteConnection,
    key: ApiKeyId,
    token: &StoredToken,
    now: Timestamp,
) -> Result<(), ApiKeysError> {
    let inserted = sqlx::query(include_str!("api_keys/insert_token.sql"))
        .bind(token.lookup.as_str())
        .bind(key.0)
        .bind(token.digest.as_bytes().as_slice())
        .bind(micros(now))
        .bind(token.ends_at.map(micros))
        .execute(tx)
        .await
        .map_err(store_error)?;
    if inserted.rows_affected() == 0 { Err(ApiKeysError::Taken) } else { Ok(()) }
}

/// A role or name that this program does not know lets nobody in.
fn api_key(row: &SqliteRow) -> Result<ApiKey, StoreError> {
    let (name, role): (&str, &str) = (get(row, "name")?, get(row, "role")?);
    let lookup: &str = get(row, "lookup")?;
    Ok(ApiKey {
        id: get(row, "id").map(ApiKeyId)?,
        tenant: get(row, "tenant").map(TenantId)?,
        name: ApiKeyName::parse(name).map_err(|error| corrupt("name", error))?,
        role: Role::parse(role).map_err(|error| corrupt("role", error))?,
        created_by: get(row, "created_by")?,
        created_at: timestamp(get(row, "created_at")?)?,
        expires_at: time(row, "expires_at")?,
        last_used_at: time(row, "last_used_at")?,
        revoked_at: time(row, "revoked_at")?,
        lookup: Lookup::from_record(lookup).ok_or_else(|| corrupt("lookup", lookup))?,
        others_end_at: time(row, "others_end_at")?,
    })
}

fn time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    get::<Option<i64>>(row, column)?.map(timestamp).transpose()
}
