//! API keys and what is known of their tokens. What it must do is defined by
//! `contract/api_keys.rs`. The act that goes with a change is written down with it.

use async_trait::async_trait;

use crate::Timestamp;
use crate::api_key::{ApiKey, Lookup, StoredToken};
use crate::audit::Act;
use crate::id::{ApiKeyId, TenantId};
use crate::ports::store::StoreError;
use crate::settings::Exceeded;

/// Why a key was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeysError {
    /// A living key has the name.
    #[error("an API key {name} exists already")]
    Exists { name: String },
    /// Another token has the lookup: of random ones, nobody will ever see this.
    #[error("another token begins like this one")]
    Taken,
    #[error("there is no {what}")]
    NotFound { what: &'static str },
    /// It has [`crate::limits::API_KEY_TOKENS_MAX`] tokens that hold.
    #[error("the API key has too many tokens that still hold")]
    TooManyTokens,
    /// The act allows no more of them.
    #[error(transparent)]
    TooMany(#[from] Exceeded),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What has been changed so that somebody may hold less than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyChanges {
    /// Grows with each such change.
    pub version: i64,
    /// The keys whose last change is newer than the version that was asked about.
    pub keys: Vec<ApiKeyId>,
}

#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Adds a key with its first token. Of the tenant's keys that hold no more, the newest
    /// [`crate::limits::API_KEYS_ENDED_MAX`] stay.
    async fn create_api_key(
        &self,
        key: &ApiKey,
        token: &StoredToken,
        act: Option<&Act>,
    ) -> Result<(), ApiKeysError>;

    /// All keys of a tenant, oldest first.
    async fn api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError>;

    /// The key of a token, and what is kept of that token. Nothing is said of whether they hold.
    async fn find_token(
        &self,
        lookup: &Lookup,
    ) -> Result<Option<(ApiKey, StoredToken)>, StoreError>;

    /// Lets a key hold no more. One that was revoked before keeps its time.
    async fn revoke_api_key(
        &self,
        tenant: TenantId,
        key: ApiKeyId,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<ApiKey, ApiKeysError>;

    /// Gives a key a new token. The others hold until `others_end_at`, or less where they would
    /// have ended before.
    ///
    /// # Errors
    /// `NotFound` where the key is revoked, and `TooManyTokens`.
    async fn rotate_api_key(
        &self,
        tenant: TenantId,
        key: ApiKeyId,
        token: &StoredToken,
        others_end_at: Timestamp,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<ApiKey, ApiKeysError>;

    /// Notes when keys were used. An older time than is there changes nothing.
    async fn note_api_key_uses(&self, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError>;

    /// What was revoked or rotated since a version. `None` asks for the version alone.
    async fn api_key_changes(&self, since: Option<i64>) -> Result<ApiKeyChanges, StoreError>;
}
