//! Who a token of an identity provider speaks of.

use async_trait::async_trait;

use crate::authorization::Role;

/// Somebody whom an identity provider knows, as a token that holds at this moment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider's own name of a person or program. Unique there, and never used again.
    pub subject: String,
    /// The tenant's slug or its founding uuid, as the provider says it.
    pub tenant: String,
    pub role: Role,
}

/// Why a token says nothing of anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A stranger is not told the reason; the log is.
    #[error("the token is refused: {reason}")]
    Refused { reason: String },
    /// The provider's keys are not known, so nobody can say whether the token holds.
    #[error("the keys of the identity provider cannot be read: {reason}")]
    Unavailable { reason: String },
}

/// The tokens of one identity provider.
#[async_trait]
pub trait Identities: Send + Sync + std::fmt::Debug {
    /// Checks a token's signature, its issuer, its audience and its times.
    ///
    /// # Errors
    /// Whenever anything about it is not as it must be.
    async fn identify(&self, token: &str) -> Result<Identity, IdentityError>;
}
