//! Stored secrets in SQLite. The one write lock stands for the locks on rows.

use actions_domain::audit::Act;
use actions_domain::id::{SecretId, TenantId};
use actions_domain::ports::secrets::{NextVersion, Secrets, SecretsError, WrappedKey};
use actions_domain::ports::store::StoreError;
use actions_domain::secret::{
    MasterKeyId, Sealed, SealedSecret, Secret, SecretName, SecretPlace, SecretVersion,
};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::SqliteStore;
use super::audit::append;
use super::bounds::keep_within;
use super::error::{commit_error, store_error};
use super::record::{get, micros, timestamp};
use crate::sealed::{VersionRow, gather, master_key, secret_name};

#[async_trait]
impl Secrets for SqliteStore {
    async fn put_secret(
        &self,
        put: &NextVersion,
        act: Option<&Act>,
    ) -> Result<Secret, SecretsError> {
        let place = &put.place;
        let mut tx = self.begin().await?;
        let known = sqlx::query("select id from engine_tenant where id = ?")
            .bind(place.tenant.0)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
        if known.is_none() {
            return Err(SecretsError::NotFound { what: "tenant" });
        }
        let before: Option<(Uuid, i64)> = sqlx::query_as(
            "select id, (select max(number) from engine_secret_version where secret = id)
             from engine_secret where tenant = ? and name = ?",
        )
        .bind(place.tenant.0)
        .bind(place.name.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        if before.unwrap_or((place.id.0, 0)) != (place.id.0, place.number.saturating_sub(1)) {
            return Err(SecretsError::Stale);
        }
        if before.is_none() {
            sqlx::query(
                "insert into engine_secret (id, tenant, name, created_at, created_by)
                 values (?, ?, ?, ?, ?)",
            )
            .bind(place.id.0)
            .bind(place.tenant.0)
            .bind(place.name.as_str())
            .bind(micros(put.at))
            .bind(&put.by)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        }
        sqlx::query(
            "update engine_secret_version set ends_at = ? where secret = ? and ends_at is null",
        )
        .bind(micros(put.previous_ends_at))
        .bind(place.id.0)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        sqlx::query(include_str!("secrets/end_older.sql"))
            .bind(place.tenant.0)
            .bind(micros(put.at))
            .bind(place.id.0)
            .bind(place.number)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        sqlx::query(include_str!("secrets/insert_version.sql"))
            .bind(place.id.0)
            .bind(place.number)
            .bind(micros(put.at))
            .bind(&put.by)
            .bind(put.sealed.key.as_str())
            .bind(&put.sealed.wrapped)
            .bind(&put.sealed.text)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        note_change(&mut tx).await?;
        let stored = find(&mut *tx, place.tenant, std::slice::from_ref(&place.name)).await?.pop();
        append(&mut tx, act).await?;
        keep_within::<SecretsError>(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(stored.ok_or(SecretsError::Stale)?.secret)
    }

    async fn secrets(&self, tenant: TenantId) -> Result<Vec<Secret>, StoreError> {
        let rows = sqlx::query(include_str!("secrets/secrets.sql"))
            .bind(tenant.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        Ok(gather(rows.iter().map(version))?.into_iter().map(|sealed| sealed.secret).collect())
    }

    async fn find_secrets(
        &self,
        tenant: TenantId,
        names: &[SecretName],
    ) -> Result<Vec<SealedSecret>, StoreError> {
        find(&self.readers, tenant, names).await
    }

    async fn delete_secret(
        &self,
        tenant: TenantId,
        name: &SecretName,
        act: Option<&Act>,
    ) -> Result<(), SecretsError> {
        let mut tx = self.begin().await?;
        let gone = sqlx::query("delete from engine_secret where tenant = ? and name = ?")
            .bind(tenant.0)
            .bind(name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        if gone.rows_affected() == 0 {
            return Err(SecretsError::NotFound { what: "secret" });
        }
        note_change(&mut tx).await?;
        append(&mut tx, act).await?;
        Ok(tx.commit().await.map_err(commit_error)?)
    }

    async fn secrets_version(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar("select version from engine_secrets_version")
            .fetch_one(&self.readers)
            .await
            .map_err(store_error)
    }

    async fn wrapped_counts(&self) -> Result<Vec<(MasterKeyId, u64)>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select key_id, count(*) from engine_secret_version group by key_id order by key_id",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)?;
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
        let rows = sqlx::query(include_str!("secrets/wrapped_keys.sql"))
            .bind(serde_json::json!(by).to_string())
            .bind(after.0)
            .bind(number)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let wrapped = |row: &SqliteRow| {
            let place = SecretPlace {
                tenant: get(row, "tenant").map(TenantId)?,
                id: get(row, "id").map(SecretId)?,
                name: secret_name(get(row, "name")?)?,
                number: get(row, "number")?,
            };
            let (key, wrapped) = (master_key(get(row, "key_id")?)?, get(row, "wrapped")?);
            Ok(WrappedKey { place, key, wrapped })
        };
        rows.iter().map(wrapped).collect()
    }

    async fn rewrap(&self, old: &WrappedKey, new: &WrappedKey) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let changed = sqlx::query(include_str!("secrets/rewrap.sql"))
            .bind(old.place.id.0)
            .bind(old.place.number)
            .bind(&old.wrapped)
            .bind(new.key.as_str())
            .bind(&new.wrapped)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(commit_error)?;
        Ok(changed.rows_affected() > 0)
    }
}

async fn find(
    reader: impl sqlx::SqliteExecutor<'_>,
    tenant: TenantId,
    names: &[SecretName],
) -> Result<Vec<SealedSecret>, StoreError> {
    let names: Vec<_> = names.iter().map(SecretName::as_str).collect();
    let rows = sqlx::query(include_str!("secrets/find_secrets.sql"))
        .bind(tenant.0)
        .bind(serde_json::json!(names).to_string())
        .fetch_all(reader)
        .await
        .map_err(store_error)?;
    gather(rows.iter().map(version))
}

async fn note_change(tx: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("update engine_secrets_version set version = version + 1")
        .execute(tx)
        .await
        .map_err(store_error)?;
    Ok(())
}

fn version(row: &SqliteRow) -> Result<VersionRow, StoreError> {
    let key = master_key(get(row, "key_id")?)?;
    let number = get(row, "number")?;
    let ends_at = get::<Option<i64>>(row, "ends_at")?.map(timestamp).transpose()?;
    Ok(VersionRow {
        id: get(row, "id").map(SecretId)?,
        tenant: get(row, "tenant").map(TenantId)?,
        name: secret_name(get(row, "name")?)?,
        created_at: timestamp(get(row, "created_at")?)?,
        created_by: get(row, "created_by")?,
        sealed: Sealed { key: key.clone(), wrapped: get(row, "wrapped")?, text: get(row, "text")? },
        version: SecretVersion {
            number,
            key,
            created_at: timestamp(get(row, "put_at")?)?,
            created_by: get(row, "put_by")?,
            ends_at,
        },
    })
}
