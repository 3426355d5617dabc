//! API keys in PostgreSQL. They are changed under the lock of their tenant's row; what takes
//! something away from somebody takes the next version as well, under the lock of that.

use actions_domain::Timestamp;
use actions_domain::api_key::{ApiKey, ApiKeyName, Digest, Lookup, StoredToken};
use actions_domain::audit::Act;
use actions_domain::authorization::Role;
use actions_domain::id::{ApiKeyId, TenantId};
use actions_domain::limits::{API_KEY_TOKENS_MAX, API_KEYS_ENDED_MAX};
use actions_domain::ports::api_keys::{ApiKeyChanges, ApiKeys, ApiKeysError};
use actions_domain::ports::definitions::DefinitionsError;
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Postgres;
use super::audit::append;
use super::bounds::keep_within;
use super::error::{read_error, write_error};

type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;

#[async_trait]
impl ApiKeys for Postgres {
    async fn create_api_key(
        &self,
        key: &ApiKey,
        token: &StoredToken,
        act: Option<&Act>,
    ) -> Result<(), ApiKeysError> {
        let mut tx = self.lock_owner(key.tenant).await?;
        let inserted = sqlx::query(include_str!("api_keys/insert_key.sql"))
            .bind(key.tenant.0)
            .bind(key.id.0)
            .bind(key.name.as_str())
            .bind(key.role.word())
            .bind(&key.created_by)
            .bind(key.created_at)
            .bind(key.expires_at)
            .bind(key.lookup.as_str())
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        if inserted.rows_affected() == 0 {
            return Err(ApiKeysError::Exists { name: key.name.to_string() });
        }
        insert_token(&mut tx, key.id, token, key.created_at).await?;
        sqlx::query(include_str!("api_keys/forget_ended.sql"))
            .bind(key.tenant.0)
            .bind(key.created_at)
            .bind(i64::try_from(API_KEYS_ENDED_MAX).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        append(&mut tx, act).await.map_err(write_error)?;
        keep_within::<ApiKeysError>(&mut tx, act).await?;
        tx.commit().await.map_err(write_error)?;
        Ok(())
    }

    async fn api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let rows: Vec<ApiKeyRecord> = sqlx::query_as(include_str!("api_keys/api_keys.sql"))
            .bind(tenant.0)
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(ApiKeyRecord::into_key).collect()
    }

    async fn find_token(
        &self,
        lookup: &Lookup,
    ) -> Result<Option<(ApiKey, StoredToken)>, StoreError> {
        let row: Option<TokenRecord> = sqlx::query_as(include_str!("api_keys/find_token.sql"))
            .bind(lookup.as_str())
            .fetch_optional(&self.door)
            .await
            .map_err(read_error)?;
        let Some(TokenRecord { key, digest, ends_at }) = row else { return Ok(None) };
        let digest = digest.try_into().map_err(|_| corrupt("digest", lookup.as_str()))?;
        let token = StoredToken { lookup: *lookup, digest: Digest::from_record(digest), ends_at };
        Ok(Some((key.into_key()?, token)))
    }

    async fn revoke_api_key(
        &self,
        tenant: TenantId,
        key: ApiKeyId,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<ApiKey, ApiKeysError> {
        let mut tx = self.lock_owner(tenant).await?;
        let found = find(&mut tx, tenant, key).await?;
        if found.revoked_at.is_some() {
            return Ok(found);
        }
        let version = next_version(&mut tx).await?;
        sqlx::query(include_str!("api_keys/revoke_api_key.sql"))
            .bind(tenant.0)
            .bind(key.0)
            .bind(now)
            .bind(version)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
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
        let mut tx = self.lock_owner(tenant).await?;
        let found = find(&mut tx, tenant, key).await?;
        if found.revoked_at.is_some() {
            return Err(ApiKeysError::NotFound { what: "API key" });
        }
        let version = next_version(&mut tx).await?;
        sqlx::query(include_str!("api_keys/end_others.sql"))
            .bind(key.0)
            .bind(others_end_at)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        let living: i64 = sqlx::query_scalar(
            "select count(*) from engine.api_key_token where api_key = $1 and ends_at > $2",
        )
        .bind(key.0)
        .bind(now)
        .fetch_one(&mut *tx)
        .await
        .map_err(read_error)?;
        if usize::try_from(living).unwrap_or(usize::MAX) >= API_KEY_TOKENS_MAX {
            return Err(ApiKeysError::TooManyTokens);
        }
        sqlx::query("delete from engine.api_key_token where api_key = $1 and ends_at <= $2")
            .bind(key.0)
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        insert_token(&mut tx, key, token, now).await?;
        sqlx::query(include_str!("api_keys/rotate_api_key.sql"))
            .bind(key.0)
            .bind(token.lookup.as_str())
            .bind(others_end_at)
            .bind(version)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(found.rotated(token, others_end_at))
    }

    async fn note_api_key_uses(&self, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        let (keys, times): (Vec<Uuid>, Vec<Timestamp>) =
            uses.iter().map(|(key, at)| (key.0, *at)).unzip();
        sqlx::query(include_str!("api_keys/note_api_key_uses.sql"))
            .bind(keys)
            .bind(times)
            .execute(&self.pool)
            .await
            .map_err(write_error)?;
        Ok(())
    }

    async fn api_key_changes(&self, since: Option<i64>) -> Result<ApiKeyChanges, StoreError> {
        let version: i64 = sqlx::query_scalar("select version from engine.api_key_version")
            .fetch_one(&self.door)
            .await
            .map_err(read_error)?;
        let Some(since) = since.filter(|since| *since < version) else {
            return Ok(ApiKeyChanges { version, keys: Vec::new() });
        };
        // More may have been changed meanwhile: that is told twice, never left out.
        let keys: Vec<Uuid> = sqlx::query_scalar(include_str!("api_keys/changed.sql"))
            .bind(since)
            .fetch_all(&self.door)
            .await
            .map_err(read_error)?;
        Ok(ApiKeyChanges { version, keys: keys.into_iter().map(ApiKeyId).collect() })
    }
}

impl Postgres {
    async fn lock_owner(&self, tenant: TenantId) -> Result<Transaction, ApiKeysError> {
        self.lock_tenant(tenant).await.map_err(|error| match error {
            DefinitionsError::Store(error) => ApiKeysError::Store(error),
            DefinitionsError::TooMany(exceeded) => ApiKeysError::TooMany(exceeded),
            DefinitionsError::Exists { .. }
            | DefinitionsError::Retired { .. }
            | DefinitionsError::NotFound { .. }
            | DefinitionsError::Stale { .. } => ApiKeysError::NotFound { what: "tenant" },
        })
    }
}

async fn find(
    tx: &mut PgConnection,
    tenant: TenantId,
    key: ApiKeyId,
) -> Result<ApiKey, ApiKeysError> {
    let row: Option<ApiKeyRecord> = sqlx::query_as(include_str!("api_keys/find_api_key.sql"))
        .bind(tenant.0)
        .bind(key.0)
        .fetch_optional(tx)
        .await
        .map_err(read_error)?;
    let row = row.ok_or(ApiKeysError::NotFound { what: "API key" })?;
    Ok(row.into_key()?)
}

async fn next_version(tx: &mut PgConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar(include_str!("api_keys/next_version.sql"))
        .fetch_one(tx)
        .await
        .map_err(write_error)
}

async fn insert_token(
    tx: &mut PgConnection,
    key: ApiKeyId,
    token: &StoredToken,
    now: Timestamp,
) -> Result<(), ApiKeysError> {
    let inserted = sqlx::query(include_str!("api_keys/insert_token.sql"))
        .bind(token.lookup.as_str())
        .bind(key.0)
        .bind(token.digest.as_bytes().as_slice())
        .bind(now)
        .bind(token.ends_at)
        .execute(tx)
        .await
        .map_err(write_error)?;
    if inserted.rows_affected() == 0 { Err(ApiKeysError::Taken) } else { Ok(()) }
}

#[derive(Debug, FromRow)]
struct ApiKeyRecord {
    tenant: i32,
    id: Uuid,
    name: String,
    role: String,
    created_by: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    lookup: String,
    others_end_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct TokenRecord {
    #[sqlx(flatten)]
    key: ApiKeyRecord,
    digest: Vec<u8>,
    ends_at: Option<Timestamp>,
}

impl ApiKeyRecord {
    /// A role or name that this program does not know lets nobody in.
    fn into_key(self) -> Result<ApiKey, StoreError> {
        Ok(ApiKey {
            id: ApiKeyId(self.id),
            tenant: TenantId(self.tenant),
            name: ApiKeyName::parse(&self.name).map_err(|_| corrupt("name", &self.name))?,
            role: Role::parse(&self.role).map_err(|_| corrupt("role", &self.role))?,
            created_by: self.created_by,
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            revoked_at: self.revoked_at,
            lookup: Lookup::from_record(&self.lookup)
                .ok_or_else(|| corrupt("lookup", &self.lookup))?,
            others_end_at: self.others_end_at,
        })
    }
}

fn corrupt(column: &str, value: &str) -> StoreError {
    StoreError::Corrupt { what: format!("{column} of an API key: {value}") }
}
