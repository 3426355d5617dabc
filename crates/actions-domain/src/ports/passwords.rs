//! Hashes of passwords. They are slow and take memory on purpose, so only so many are made at once.

use async_trait::async_trait;

use crate::account::{Password, PasswordHash};

/// Why a password was not hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordsError {
    #[error("too many passwords wait to be checked")]
    Busy,
    /// What is stored cannot be read, or the system has no memory.
    #[error("the password cannot be checked: {reason}")]
    Failed { reason: String },
}

/// Who wants a password to be hashed. Strangers hold up nobody who is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// They are let in already, or were right from where they are before.
    Known,
    Stranger,
}

#[async_trait]
pub trait Passwords: Send + Sync {
    /// Makes what is kept of a new password, for somebody who is let in already.
    async fn hash(&self, password: &Password) -> Result<PasswordHash, PasswordsError>;

    /// Whether it is the password of this hash. `None` is nobody's: that takes the same time.
    async fn is_right(
        &self,
        password: &Password,
        hash: Option<&PasswordHash>,
        who: Who,
    ) -> Result<bool, PasswordsError>;
}
