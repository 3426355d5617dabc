//! API keys, in memory.

use std::cmp::Reverse;

use actions_domain::Timestamp;
use actions_domain::api_key::{ApiKey, Lookup, StoredToken};
use actions_domain::audit::Act;
use actions_domain::id::{ApiKeyId, TenantId};
use actions_domain::limits::{API_KEY_TOKENS_MAX, API_KEYS_ENDED_MAX};
use actions_domain::ports::api_keys::{ApiKeyChanges, ApiKeys, ApiKeysError};
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;

use super::{Memory, Tables};

/// A key with its tokens.
pub(super) struct ApiKeyRow {
    pub(super) key: ApiKey,
    tokens: Vec<StoredToken>,
    /// When it was last revoked or rotated.
    version: i64,
}

#[async_trait]
impl ApiKeys for Memory {
    async fn create_api_key(
        &self,
        key: &ApiKey,
        token: &StoredToken,
        act: Option<&Act>,
    ) -> Result<(), ApiKeysError> {
        let mut tables = self.tables();
        if !tables.tenants.contains_key(&key.tenant) {
            return Err(ApiKeysError::NotFound { what: "tenant" });
        }
        let now = key.created_at;
        let has_name = |row: &ApiKeyRow| {
            row.key.tenant == key.tenant && row.key.name == key.name && row.key.is_living(now)
        };
        if tables.api_keys.values().any(has_name) {
            return Err(ApiKeysError::Exists { name: key.name.to_string() });
        }
        if tables.has_token(&token.lookup) {
            return Err(ApiKeysError::Taken);
        }
        tables.has_room_for_one(act)?;
        let row = ApiKeyRow { key: key.clone(), tokens: vec![*token], version: 0 };
        tables.api_keys.insert(key.id, row);
        let ended = tables.api_keys.values().map(|row| &row.key);
        let mut ended: Vec<_> = ended
            .filter(|old| old.tenant == key.tenant && !old.is_living(now))
            .map(|old| (old.revoked_at.into_iter().chain(old.expires_at).min(), old.id))
            .collect();
        ended.sort_by_key(|old| Reverse(*old));
        for (_, id) in ended.into_iter().skip(API_KEYS_ENDED_MAX) {
            tables.api_keys.remove(&id);
        }
        tables.record(act);
        Ok(())
    }

    async fn api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let tables = self.tables();
        let own = tables.api_keys.values().filter(|row| row.key.tenant == tenant);
        Ok(own.map(|row| row.key.clone()).collect())
    }

    async fn find_token(
        &self,
        lookup: &Lookup,
    ) -> Result<Option<(ApiKey, StoredToken)>, StoreError> {
        let tables = self.tables();
        let found = tables.api_keys.values().find_map(|row| {
            let token = row.tokens.iter().find(|token| token.lookup == *lookup)?;
            Some((row.key.clone(), *token))
        });
        Ok(found)
    }

    async fn revoke_api_key(
        &self,
        tenant: TenantId,
        key: ApiKeyId,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<ApiKey, ApiKeysError> {
        let mut tables = self.tables();
        let version = tables.api_key_version + 1;
        let row = tables.api_key(tenant, key)?;
        if row.key.revoked_at.is_none() {
            row.key.revoked_at = Some(now);
            row.version = version;
            let key = row.key.clone();
            tables.api_key_version = version;
            tables.record(act);
            return Ok(key);
        }
        Ok(row.key.clone())
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
        let mut tables = self.tables();
        let (version, is_taken) = (tables.api_key_version + 1, tables.has_token(&token.lookup));
        let row = tables.api_key(tenant, key)?;
        if row.key.revoked_at.is_some() {
            return Err(ApiKeysError::NotFound { what: "API key" });
        }
        let end = |old: &StoredToken| old.ends_at.map_or(others_end_at, |at| at.min(others_end_at));
        if row.tokens.iter().filter(|old| end(old) > now).count() >= API_KEY_TOKENS_MAX {
            return Err(ApiKeysError::TooManyTokens);
        }
        if is_taken {
            return Err(ApiKeysError::Taken);
        }
        for old in &mut row.tokens {
            old.ends_at = Some(end(old));
        }
        row.tokens.retain(|old| old.ends_at.is_none_or(|at| at > now));
        row.tokens.push(*token);
        row.key = row.key.clone().rotated(token, others_end_at);
        row.version = version;
        let key = row.key.clone();
        tables.api_key_version = version;
        tables.record(act);
        Ok(key)
    }

    async fn note_api_key_uses(&self, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for (key, at) in uses {
            if let Some(row) = tables.api_keys.get_mut(key) {
                row.key.last_used_at = row.key.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }

    async fn api_key_changes(&self, since: Option<i64>) -> Result<ApiKeyChanges, StoreError> {
        let tables = self.tables();
        let version = tables.api_key_version;
        let rows = tables.api_keys.values();
        let is_news = |version: i64| since.is_some_and(|since| version > since);
        let changed = rows.filter(|row| is_news(row.version)).map(|row| row.key.id);
        let gone = tables.keys_of_gone.iter().filter(|(version, _)| is_news(*version));
        let gone = gone.flat_map(|(_, keys)| keys).copied();
        Ok(ApiKeyChanges { version, keys: changed.chain(gone).collect() })
    }
}

impl ApiKeyRow {
    pub(super) fn tenant(&self) -> TenantId {
        self.key.tenant
    }

    pub(super) fn revoke(&mut self, now: Timestamp) {
        self.key.revoked_at.get_or_insert(now);
    }
}

impl Tables {
    fn api_key(&mut self, tenant: TenantId, key: ApiKeyId) -> Result<&mut ApiKeyRow, ApiKeysError> {
        let found = self.api_keys.get_mut(&key).filter(|row| row.key.tenant == tenant);
        found.ok_or(ApiKeysError::NotFound { what: "API key" })
    }

    fn has_token(&self, lookup: &Lookup) -> bool {
        self.api_keys.values().any(|row| row.tokens.iter().any(|token| token.lookup == *lookup))
    }
}
