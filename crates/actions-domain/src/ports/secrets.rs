//! Stored secrets, sealed: nothing here is a plain text. What it must do is defined by
//! `contract/secrets.rs`. The act that goes with a change is written down with it.

use async_trait::async_trait;

use crate::Timestamp;
use crate::audit::Act;
use crate::id::{SecretId, TenantId};
use crate::ports::store::StoreError;
use crate::secret::{MasterKeyId, Sealed, SealedSecret, Secret, SecretName, SecretPlace};
use crate::settings::Exceeded;

/// Why a secret was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("there is no {what}")]
    NotFound { what: &'static str },
    /// Somebody else has put a version, or deleted it, meanwhile. Nothing was written.
    #[error("the secret was changed at the same moment")]
    Stale,
    /// The act allows no more of them.
    #[error(transparent)]
    TooMany(#[from] Exceeded),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A version to store. It was sealed for its place, so it cannot be stored at another one.
#[derive(Debug, Clone)]
pub struct NextVersion {
    pub place: SecretPlace,
    pub sealed: Sealed,
    pub at: Timestamp,
    pub by: String,
    /// The version before may be used until then.
    pub previous_ends_at: Timestamp,
}

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    pub place: SecretPlace,
    pub key: MasterKeyId,
    pub wrapped: Vec<u8>,
}

#[async_trait]
pub trait Secrets: Send + Sync {
    /// Stores the next version of a secret. Version 1 makes the secret. Of older versions the one
    /// before stays until its end; versions of the tenant that have ended are forgotten.
    ///
    /// # Errors
    /// `Stale` unless it is the next version of the secret with this id, or the first one of a name
    /// that is free.
    async fn put_secret(
        &self,
        put: &NextVersion,
        act: Option<&Act>,
    ) -> Result<Secret, SecretsError>;

    /// All secrets of a tenant, by name.
    async fn secrets(&self, tenant: TenantId) -> Result<Vec<Secret>, StoreError>;

    /// Those of these names that exist, sealed.
    async fn find_secrets(
        &self,
        tenant: TenantId,
        names: &[SecretName],
    ) -> Result<Vec<SealedSecret>, StoreError>;

    /// Forgets a secret with all its versions.
    async fn delete_secret(
        &self,
        tenant: TenantId,
        name: &SecretName,
        act: Option<&Act>,
    ) -> Result<(), SecretsError>;

    /// A number that grows with each version that was put and each secret that was deleted, of any
    /// tenant.
    async fn secrets_version(&self) -> Result<i64, StoreError>;

    /// How many versions each master key has wrapped the data keys of.
    async fn wrapped_counts(&self) -> Result<Vec<(MasterKeyId, u64)>, StoreError>;

    /// Data keys that these master keys have wrapped, in the order of secret and version, behind
    /// `after`.
    async fn wrapped_keys(
        &self,
        by: &[MasterKeyId],
        after: Option<(SecretId, i64)>,
        limit: u32,
    ) -> Result<Vec<WrappedKey>, StoreError>;

    /// Replaces a data key by itself, wrapped anew. False: it is not there any more as it was.
    async fn rewrap(&self, old: &WrappedKey, new: &WrappedKey) -> Result<bool, StoreError>;
}
