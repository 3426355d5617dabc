//! Stored secrets in PostgreSQL. They are changed under the lock of their tenant's row, and each
//! change takes the next version under the lock of that.

use actions_domain::Timestamp;
use actions_domain::audit::Act;
use actions_domain::id::{SecretId, TenantId};
use actions_domain::ports::definitions::DefinitionsError;
use actions_domain::ports::secrets::{NextVersion, Secrets, SecretsError, WrappedKey};
use actions_domain::ports::store::StoreError;
use actions_domain::secret::{
    MasterKeyId, Sealed, SealedSecret, Secret, SecretName, SecretPlace, SecretVersion,
};
use async_trait::async_trait;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Postgres;
use super::audit::append;
use super::bounds::keep_within;
use super::error::{read_error, write_error};
use crate::sealed::{VersionRow, gather, master_key, secret_name};

type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;

#[async_trait]
impl Secrets for Postgres {
    async fn put_secret(
        &self,
        put: &NextVersion,
        act: Option<&Act>,
    ) -> Result<Secret, SecretsError> {
        let place = &put.place;
        let mut tx = self.lock_keeper(place.tenant).await?;
        let before: Option<(Uuid, i64)> = sqlx::query_as(include_str!("secrets/current.sql"))
            .bind(place.tenant.0)
            .bind(place.name.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(read_error)?;
        if before.unwrap_or((place.id.0, 0)) != (place.id.0, place.number.saturating_sub(1)) {
            return Err(SecretsError::Stale);
        }
        if before.is_none() {
            sqlx::query(
                "insert into engine.secret (id, tenant, name, created_at, created_by)
                 values ($1, $2, $3, $4, $5)",
            )
            .bind(place.id.0)
            .bind(place.tenant.0)
            .bind(place.name.as_str())
            .bind(put.at)
            .bind(&put.by)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        }
        sqlx::query(
            "update engine.secret_version set ends_at = $2 where secret = $1 and ends_at is null",
        )
        .bind(place.id.0)
        .bind(put.previous_ends_at)
        .execute(&mut *tx)
        .await
        .map_err(write_error)?;
        sqlx::query(include_str!("secrets/end_older.sql"))
            .bind(place.tenant.0)
            .bind(put.at)
            .bind(place.id.0)
            .bind(place.number)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        sqlx::query(include_str!("secrets/insert_version.sql"))
            .bind(place.id.0)
            .bind(place.number)
            .bind(put.at)
            .bind(&put.by)
            .bind(put.sealed.key.as_str())
            .bind(&put.sealed.wrapped)
            .bind(&put.sealed.text)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        note_change(&mut tx).await?;
        let stored = find(&mut *tx, place.tenant, std::slice::from_ref(&place.name)).await?.pop();
        append(&mut tx, act).await.map_err(write_error)?;
        keep_within::<SecretsError>(&mut tx, act).await?;
        tx.commit().await.map_err(write_error)?;
        Ok(stored.ok_or(SecretsError::Stale)?.secret)
    }

    async fn secrets(&self, tenant: TenantId) -> Result<Vec<Secret>, StoreError> {
        let rows: Vec<SecretRecord> = sqlx::query_as(include_str!("secrets/secrets.sql"))
            .bind(tenant.0)
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        let found = gather(rows.into_iter().map(SecretRecord::into_version))?;
        Ok(found.into_iter().map(|sealed| sealed.secret).collect())
    }

    async fn find_secrets(
        &self,
        tenant: TenantId,
        names: &[SecretName],
    ) -> Result<Vec<SealedSecret>, StoreError> {
        find(&self.pool, tenant, names).await
    }

    async fn delete_secret(
        &self,
        tenant: TenantId,
        name: &SecretName,
        act: Option<&Act>,
    ) -> Result<(), SecretsError> {
        let mut tx = self.lock_keeper(tenant).await?;
        let gone = sqlx::query("delete from engine.secret where tenant = $1 and name = $2")
            .bind(tenant.0)
            .bind(name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        if gone.rows_affected() == 0 {
            return Err(SecretsError::NotFound { what: "secret" });
        }
        note_change(&mut tx).await?;
        append(&mut tx, act).await.map_err(write_error)?;
        Ok(tx.commit().await.map_err(write_error)?)
    }

    async fn secrets_version(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar("select version from engine.secrets_version")
            .fetch_one(&self.pool)
            .await
            .map_err(read_error)
    }

    async fn wrapped_counts(&self) -> Result<Vec<(MasterKeyId, u64)>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select key_id, count(*) from engine.secret_version group by key_id order by key_id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(read_error)?;
        let counted = |(key, count): (String, i64)| {
            Ok((master_key(&key)?, u64::try_from(count).unwrap_or_default()))
        };
        rows.into_iter().map(counted).collect()
    }

    async fn wrapped_keys(
        &self,
        by: &[MasterKeyId],
        after: Option<(SecretId, i64)>,
        limit: u32,
    ) -> Result<Vec<WrappedKey>, StoreError> {
        let by: Vec<_> = by.iter().map(MasterKeyId::as_str).collect();
        let (after, number) = after.unwrap_or((SecretId(Uuid::nil()), 0));
        let rows: Vec<WrappedRecord> = sqlx::query_as(include_str!("secrets/wrapped_keys.sql"))
            .bind(by)
            .bind(after.0)
            .bind(number)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(WrappedRecord::into_key).collect()
    }

    async fn rewrap(&self, old: &WrappedKey, new: &WrappedKey) -> Result<bool, StoreError> {
        let changed = sqlx::query(include_str!("secrets/rewrap.sql"))
            .bind(old.place.id.0)
            .bind(old.place.number)
            .bind(&old.wrapped)
            .bind(new.key.as_str())
            .bind(&new.wrapped)
            .execute(&self.pool)
            .await
            .map_err(write_error)?;
        Ok(changed.rows_affected() > 0)
    }
}

impl Postgres {
    async fn lock_keeper(&self, tenant: TenantId) -> Result<Transaction, SecretsError> {
        self.lock_tenant(tenant).await.map_err(|error| match error {
            DefinitionsError::Store(error) => SecretsError::Store(error),
            DefinitionsError::TooMany(exceeded) => SecretsError::TooMany(exceeded),
            DefinitionsError::Exists { .. }
            | DefinitionsError::Retired { .. }
            | DefinitionsError::NotFound { .. }
            | DefinitionsError::Stale { .. } => SecretsError::NotFound { what: "tenant" },
        })
    }
}

async fn find(
    reader: impl sqlx::PgExecutor<'_>,
    tenant: TenantId,
    names: &[SecretName],
) -> Result<Vec<SealedSecret>, StoreError> {
    let names: Vec<_> = names.iter().map(SecretName::as_str).collect();
    let rows: Vec<SecretRecord> = sqlx::query_as(include_str!("secrets/find_secrets.sql"))
        .bind(tenant.0)
        .bind(names)
        .fetch_all(reader)
        .await
        .map_err(read_error)?;
    gather(rows.into_iter().map(SecretRecord::into_version))
}

/// Until this commits, whoever else changes a secret waits here.
async fn note_change(tx: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("update engine.secrets_version set version = version + 1")
        .execute(tx)
        .await
        .map_err(write_error)?;
    Ok(())
}

#[derive(FromRow)]
struct SecretRecord {
    tenant: i32,
    id: Uuid,
    name: String,
    created_at: Timestamp,
    created_by: String,
    number: i64,
    key_id: String,
    put_at: Timestamp,
    put_by: String,
    ends_at: Option<Timestamp>,
    wrapped: Vec<u8>,
    text: Vec<u8>,
}

#[derive(FromRow)]
struct WrappedRecord {
    tenant: i32,
    id: Uuid,
    name: String,
    number: i64,
    key_id: String,
    wrapped: Vec<u8>,
}

impl SecretRecord {
    fn into_version(self) -> Result<VersionRow, StoreError> {
        let key = master_key(&self.key_id)?;
        Ok(VersionRow {
            id: SecretId(self.id),
            tenant: TenantId(self.tenant),
            name: secret_name(&self.name)?,
            created_at: self.created_at,
            created_by: self.created_by,
            sealed: Sealed { key: key.clone(), wrapped: self.wrapped, text: self.text },
            version: SecretVersion {
                number: self.number,
                key,
                created_at: self.put_at,
                created_by: self.put_by,
                ends_at: self.ends_at,
            },
        })
    }
}

impl WrappedRecord {
    fn into_key(self) -> Result<WrappedKey, StoreError> {
        let place = SecretPlace {
            tenant: TenantId(self.tenant),
            id: SecretId(self.id),
            name: secret_name(&self.name)?,
            number: self.number,
        };
        Ok(WrappedKey { place, key: master_key(&self.key_id)?, wrapped: self.wrapped })
    }
}
