//! Seals secrets and opens them. What it must do is defined by `contract/vault.rs`.
//!
//! Each text is sealed with a data key of its own; [`MasterKeys`] wrap the data keys. So a service
//! that keeps keys (a KMS) needs to be asked for 32 bytes, and never sees a secret.

use std::fmt;

use async_trait::async_trait;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secret::{MasterKeyId, Sealed, SecretPlace, SecretText};

/// Why a secret was not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The process was started without a master key.
    #[error("this server has no master key; set ACTIONS_MASTER_KEY")]
    NoKey,
    /// The process does not have the master key that this was wrapped with.
    #[error("the master key {key} is not known here; add it to ACTIONS_MASTER_KEY")]
    UnknownKey { key: MasterKeyId },
    /// It was altered, or moved from another place.
    #[error("it is damaged, or does not belong where it is")]
    Damaged,
    /// The keeper of the master keys does not answer. The same may work later.
    #[error("the keeper of the master keys does not answer: {why}")]
    Unavailable { why: String },
}

/// What one text is sealed with. Its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; Self::BYTES]);

impl DataKey {
    pub const BYTES: usize = 32;

    /// Takes uniform random bytes of a cryptographic source.
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    pub fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// Wraps data keys: keys of this process, or a service that keeps them.
#[async_trait]
pub trait MasterKeys: Send + Sync {
    /// The keys that can unwrap. The first one wraps; there may be none.
    fn ids(&self) -> &[MasterKeyId];

    /// Wraps a data key with the first master key. Unwrapping needs the same `context`.
    async fn wrap(
        &self,
        key: &DataKey,
        context: &[u8],
    ) -> Result<(MasterKeyId, Vec<u8>), VaultError>;

    async fn unwrap(
        &self,
        by: &MasterKeyId,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<DataKey, VaultError>;
}

/// Seals texts, each for one place.
#[async_trait]
pub trait Vault: Send + Sync {
    /// The master keys that are here. The first one is used for what is sealed now.
    fn master_keys(&self) -> &[MasterKeyId];

    async fn seal(&self, place: &SecretPlace, text: &SecretText) -> Result<Sealed, VaultError>;

    /// Opens what was sealed for this place, with any of the master keys.
    async fn open(&self, place: &SecretPlace, sealed: &Sealed) -> Result<SecretText, VaultError>;

    /// Wraps a data key with the first master key. The text that it seals stays as it is.
    async fn rewrap(
        &self,
        place: &SecretPlace,
        by: &MasterKeyId,
        wrapped: &[u8],
    ) -> Result<(MasterKeyId, Vec<u8>), VaultError>;
}
