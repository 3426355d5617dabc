//! Tenants that are being deleted, and those that were. What it must do is defined by
//! `contract/deletions.rs`.
//!
//! The tenant itself goes first, and with it every way in: whoever writes for a tenant does it under
//! the lock of its row or compares its version, so nothing new comes after that. What it had is
//! removed afterwards, a piece at a time, by any node and over any number of restarts. What was
//! running when it went may still end: a store leaves that out of a commit.

use async_trait::async_trait;

use crate::Timestamp;
use crate::audit::Act;
use crate::id::TenantId;
use crate::ports::store::StoreError;
use crate::tenant::TenantSlug;
use crate::tenant::deletion::{DeletionRequest, TenantDeletion};

#[derive(Debug, thiserror::Error)]
pub enum BeginDeletionError {
    #[error("there is no such tenant")]
    NotFound,
    #[error("the tenant is not suspended")]
    NotSuspended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one piece of the work has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// Somebody may still write what began before; a moment later nobody does.
    Waits,
    /// So many rows are gone, and there may be more.
    Rows(u64),
    /// Nothing was found any more.
    Nothing,
}

#[async_trait]
pub trait Deletions: Send + Sync {
    /// Takes a suspended tenant away: it is not listed any more, its API keys let nobody in, its
    /// slug is never given again. A tenant that is gone already is answered as it stands.
    ///
    /// # Errors
    /// `NotSuspended` where work could still be going on.
    async fn begin_deletion(
        &self,
        slug: &TenantSlug,
        request: &DeletionRequest,
        act: Option<&Act>,
    ) -> Result<TenantDeletion, BeginDeletionError>;

    async fn find_deletion(&self, slug: &TenantSlug) -> Result<Option<TenantDeletion>, StoreError>;

    /// Those that are not finished, in the order of the tenants' numbers.
    async fn open_deletions(&self) -> Result<Vec<TenantDeletion>, StoreError>;

    /// Removes a piece of what the tenant had, and notes what that was in the same transaction.
    /// Also of one that is finished: what a user's own transaction had begun before may come late.
    async fn erase(&self, tenant: TenantId) -> Result<Erased, StoreError>;

    /// Counts what is left in every table that has tenants, and writes the certificate when that is
    /// nothing. `None`: something is there again.
    async fn finish_deletion(
        &self,
        tenant: TenantId,
        at: Timestamp,
        act: &Act,
    ) -> Result<Option<TenantDeletion>, StoreError>;
}
