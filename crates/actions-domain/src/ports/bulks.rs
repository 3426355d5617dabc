//! Operations on many executions or dead letters, and how far they are. What it must do is defined
//! by `contract/bulks.rs`.

use async_trait::async_trait;

use crate::Timestamp;
use crate::audit::Act;
use crate::bulk::{Bulk, BulkChange, BulkItem, BulkRefusal, ItemOutcome};
use crate::id::{BulkId, ExecutionId, TenantId};
use crate::ports::store::StoreError;

#[async_trait]
pub trait Bulks: Send + Sync {
    /// Stores a new bulk with its items, numbered from 1: all of it or nothing.
    async fn create_bulk(
        &self,
        bulk: &Bulk,
        targets: &[ExecutionId],
        act: Option<&Act>,
    ) -> Result<(), StoreError>;

    async fn find_bulk(&self, tenant: TenantId, id: BulkId) -> Result<Option<Bulk>, StoreError>;

    /// Reads bulks, newest first; `before` is the last one of the page before.
    async fn list_bulks(
        &self,
        tenant: TenantId,
        before: Option<BulkId>,
        limit: u32,
    ) -> Result<Vec<Bulk>, StoreError>;

    /// Reads the bulks of a tenant, or of all tenants, that have not ended, oldest first.
    async fn open_bulks(&self, tenant: Option<TenantId>) -> Result<Vec<Bulk>, StoreError>;

    /// Reads items of a bulk in the order of their numbers, beginning after a number.
    async fn bulk_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<BulkItem>, StoreError>;

    /// Changes a bulk as [`Bulk::after`] decides. `None`: there is none. The act is written down
    /// where that changed something.
    async fn change_bulk(
        &self,
        tenant: TenantId,
        id: BulkId,
        change: &BulkChange,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Option<BulkStep>, StoreError>;

    /// Records what became of items, and counts it. An item that has an outcome keeps it.
    async fn record_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        outcomes: &[(u32, ItemOutcome)],
        now: Timestamp,
    ) -> Result<Option<BulkStep>, StoreError>;
}

/// One change of a bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkStep {
    pub before: Bulk,
    pub after: Result<Bulk, BulkRefusal>,
}
