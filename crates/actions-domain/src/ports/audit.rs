//! Who did what, written down for good. What it must do is defined by `contract/audit.rs`.
//!
//! The other ports take an act with what it does, and write its entry in the same transaction: only
//! what changed something, and nothing that was not done. The lock on a stream's head is the last
//! one that a transaction takes, so no two of them wait for each other.

use async_trait::async_trait;

use crate::audit::{Act, Entry, Head};
use crate::id::TenantId;
use crate::ports::store::StoreError;

#[async_trait]
pub trait Audit: Send + Sync {
    /// Writes down an act by itself: of what is not one write of a store, before it is done.
    async fn record_act(&self, act: &Act) -> Result<(), StoreError>;

    /// The newest entries that are older than `before`, newest first.
    async fn audit_before(
        &self,
        tenant: TenantId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError>;

    /// The entries that come after a number, oldest first.
    async fn audit_after(
        &self,
        tenant: TenantId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError>;

    /// What the store noted as the newest entry when it wrote it.
    async fn audit_head(&self, tenant: TenantId) -> Result<Head, StoreError>;
}
