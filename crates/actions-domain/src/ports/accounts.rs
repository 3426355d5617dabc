//! Accounts of people, and their sessions. What it must do is defined by `contract/accounts.rs`.
//!
//! A session that ends takes the next version of what
//! [`ApiKeys::api_key_changes`](super::api_keys::ApiKeys::api_key_changes) tells, so that nodes hear
//! of it as they hear of a revoked API key. The act that goes with a change is written down with it.

use async_trait::async_trait;

use crate::Timestamp;
use crate::account::{
    Account, AccountChange, AccountName, PasswordHash, Session, SignedIn, StoredSession,
};
use crate::api_key::Lookup;
use crate::audit::Act;
use crate::id::{SessionId, TenantId};
use crate::limits::ACCOUNTS_MAX;
use crate::ports::store::StoreError;

/// Why an account or session was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error("an account {name} exists already")]
    Exists { name: String },
    #[error("a tenant may have {ACCOUNTS_MAX} accounts; delete some, or use an identity provider")]
    TooMany,
    #[error("there is no {what}")]
    NotFound { what: &'static str },
    /// Somebody changed the account since it was judged.
    #[error("the account was changed at the same moment")]
    Stale,
    /// Another token has the lookup: of random ones, nobody will ever see this.
    #[error("another token begins like this one")]
    Taken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[async_trait]
pub trait Accounts: Send + Sync {
    /// Adds an account.
    async fn create_account(
        &self,
        account: &Account,
        password: &PasswordHash,
        act: Option<&Act>,
    ) -> Result<(), AccountsError>;

    /// All accounts of a tenant, by name.
    async fn accounts(&self, tenant: TenantId) -> Result<Vec<Account>, StoreError>;

    /// An account, and what is kept of its password.
    async fn find_account(
        &self,
        tenant: TenantId,
        name: &AccountName,
    ) -> Result<Option<(Account, PasswordHash)>, StoreError>;

    /// Changes an account that still has this revision, and ends its sessions. Answers what it is now;
    /// of a deleted one, what it was.
    ///
    /// # Errors
    /// `Stale` where it has another one.
    async fn change_account(
        &self,
        account: &Account,
        change: &AccountChange,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Account, AccountsError>;

    /// Adds a session of an account that still has this revision, and notes the login. Of the
    /// account's sessions that hold, the newest [`crate::limits::ACCOUNT_SESSIONS_MAX`] go on to. What
    /// has ended more than [`crate::limits::SESSION_KEPT`] ago is forgotten.
    ///
    /// # Errors
    /// `Stale` where the account has another revision: what let it in may not hold any more.
    async fn create_session(
        &self,
        account: &Account,
        session: &StoredSession,
        act: Option<&Act>,
    ) -> Result<(), AccountsError>;

    /// The sessions of a tenant that were not ended and have not expired by now, oldest first.
    async fn sessions(&self, tenant: TenantId, now: Timestamp)
    -> Result<Vec<SignedIn>, StoreError>;

    /// A session of a token, with what is kept of that. Nothing is said of whether it holds. `None`
    /// also where its account is gone.
    async fn find_session(
        &self,
        lookup: &Lookup,
    ) -> Result<Option<(Account, StoredSession)>, StoreError>;

    /// Lets a session hold no more. One that was ended before keeps its time.
    async fn end_session(
        &self,
        tenant: TenantId,
        session: SessionId,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Session, AccountsError>;

    /// Notes when sessions were used. An older time than is there changes nothing.
    async fn note_session_uses(&self, uses: &[(SessionId, Timestamp)]) -> Result<(), StoreError>;

    /// A session by its id, ended or not. `None` also where its account is gone.
    async fn session(
        &self,
        tenant: TenantId,
        session: SessionId,
    ) -> Result<Option<SignedIn>, StoreError>;
}
