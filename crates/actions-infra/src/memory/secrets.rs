//! Stored secrets, in memory: sealed here, too.

use std::collections::BTreeMap;

use actions_domain::audit::Act;
use actions_domain::id::{SecretId, TenantId};
use actions_domain::ports::secrets::{NextVersion, Secrets, SecretsError, WrappedKey};
use actions_domain::ports::store::StoreError;
use actions_domain::secret::{
    MasterKeyId, Sealed, SealedSecret, Secret, SecretName, SecretVersion,
};
use async_trait::async_trait;

use super::Memory;

#[async_trait]
impl Secrets for Memory {
    async fn put_secret(
        &self,
        put: &NextVersion,
        act: Option<&Act>,
    ) -> Result<Secret, SecretsError> {
        let mut tables = self.tables();
        let place = &put.place;
        if !tables.tenants.contains_key(&place.tenant) {
            return Err(SecretsError::NotFound { what: "tenant" });
        }
        let key = (place.tenant, place.name.clone());
        let before = tables.secrets.get(&key);
        let follows = match before {
            Some(before) => {
                before.secret.id == place.id
                    && before.secret.current.number == place.number.saturating_sub(1)
            }
            None => place.number == 1,
        };
        if !follows {
            return Err(SecretsError::Stale);
        }
        if before.is_none() {
            tables.has_room_for_one(act)?;
        }
        let current = SecretVersion {
            number: place.number,
            key: put.sealed.key.clone(),
            created_at: put.at,
            created_by: put.by.clone(),
            ends_at: None,
        };
        let older = before.map(|before| {
            let end = Some(put.previous_ends_at);
            let version = SecretVersion { ends_at: end, ..before.secret.current.clone() };
            (version, before.current.clone())
        });
        let (previous, sealed) = older.unzip();
        let (created_at, created_by) = match before {
            Some(before) => (before.secret.created_at, before.secret.created_by.clone()),
            None => (put.at, put.by.clone()),
        };
        let secret = Secret {
            id: place.id,
            tenant: place.tenant,
            name: place.name.clone(),
            created_at,
            created_by,
            current,
            previous,
        };
        let sealed = SealedSecret { secret, current: put.sealed.clone(), previous: sealed };
        tables.secrets.insert(key.clone(), sealed);
        for ((tenant, _), secret) in &mut tables.secrets {
            if *tenant == place.tenant && secret.secret.previous_at(put.at).is_none() {
                (secret.secret.previous, secret.previous) = (None, None);
            }
        }
        tables.secrets_version += 1;
        tables.record(act);
        Ok(tables.secrets[&key].secret.clone())
    }

    async fn secrets(&self, tenant: TenantId) -> Result<Vec<Secret>, StoreError> {
        let tables = self.tables();
        let own = tables.secrets.iter().filter(|((owner, _), _)| *owner == tenant);
        Ok(own.map(|(_, sealed)| sealed.secret.clone()).collect())
    }

    async fn find_secrets(
        &self,
        tenant: TenantId,
        names: &[SecretName],
    ) -> Result<Vec<SealedSecret>, StoreError> {
        let tables = self.tables();
        let found = names.iter().filter_map(|name| tables.secrets.get(&(tenant, name.clone())));
        Ok(found.cloned().collect())
    }

    async fn delete_secret(
        &self,
        tenant: TenantId,
        name: &SecretName,
        act: Option<&Act>,
    ) -> Result<(), SecretsError> {
        let mut tables = self.tables();
        let gone = tables.secrets.remove(&(tenant, name.clone()));
        gone.ok_or(SecretsError::NotFound { what: "secret" })?;
        tables.secrets_version += 1;
        tables.record(act);
        Ok(())
    }

    async fn secrets_version(&self) -> Result<i64, StoreError> {
        Ok(self.tables().secrets_version)
    }

    async fn wrapped_counts(&self) -> Result<Vec<(MasterKeyId, u64)>, StoreError> {
        let tables = self.tables();
        let mut counts = BTreeMap::<_, u64>::new();
        for (_, sealed) in tables.secrets.values().flat_map(versions) {
            *counts.entry(sealed.key.clone()).or_default() += 1;
        }
        Ok(counts.into_iter().collect())
    }

    async fn wrapped_keys(
        &self,
        by: &[MasterKeyId],
        after: Option<(SecretId, i64)>,
        limit: u32,
    ) -> Result<Vec<WrappedKey>, StoreError> {
        let tables = self.tables();
        let all = tables.secrets.values().flat_map(|secret| {
            versions(secret).map(|(number, sealed)| WrappedKey {
                place: secret.secret.place(number),
                key: sealed.key.clone(),
                wrapped: sealed.wrapped.clone(),
            })
        });
        let order = |key: &WrappedKey| (key.place.id, key.place.number);
        let mut found: Vec<_> = all
            .filter(|key| by.contains(&key.key) && after.is_none_or(|after| order(key) > after))
            .collect();
        found.sort_by_key(order);
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn rewrap(&self, old: &WrappedKey, new: &WrappedKey) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let place = (old.place.tenant, old.place.name.clone());
        let found = tables.secrets.get_mut(&place).filter(|found| found.secret.id == old.place.id);
        let Some(SealedSecret { secret, current, previous }) = found else { return Ok(false) };
        let texts = std::iter::once((&mut secret.current, current));
        let texts = texts.chain(secret.previous.as_mut().zip(previous.as_mut()));
        for (version, sealed) in texts {
            if version.number == old.place.number && sealed.wrapped == old.wrapped {
                (version.key, sealed.key) = (new.key.clone(), new.key.clone());
                sealed.wrapped.clone_from(&new.wrapped);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn versions(secret: &SealedSecret) -> impl Iterator<Item = (i64, &Sealed)> {
    let older = secret.secret.previous.as_ref().map(|version| version.number);
    let older = older.zip(secret.previous.as_ref());
    std::iter::once((secret.secret.current.number, &secret.current)).chain(older)
}
