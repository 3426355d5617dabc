//! What tenants have sent, by day, and what waits. What it must do is defined by
//! `contract/usages.rs`.
//!
//! Nodes add up in memory and write sums now and then: what a node had not written when it died is
//! not counted.

use async_trait::async_trait;

use crate::id::TenantId;
use crate::ports::store::StoreError;
use crate::usage::{Day, DayUsage, Level};

#[async_trait]
pub trait Usages: Send + Sync {
    /// Adds what came in to what is noted of these days.
    async fn add_usage(&self, added: &[DayUsage]) -> Result<(), StoreError>;

    /// What came in for a tenant since a day, the newest day first. Days of nothing are left out.
    async fn usage_since(&self, tenant: TenantId, since: Day) -> Result<Vec<DayUsage>, StoreError>;

    /// How much each of these tenants has: the bytes since its day, and what waited when that was
    /// counted last. A tenant of which nothing is known has nothing.
    async fn levels(&self, asked: &[(TenantId, Day)]) -> Result<Vec<Level>, StoreError>;

    /// Counts the executions of each of these tenants that have not ended, and notes it for
    /// [`Self::levels`]. It reads all that waits and what ended lately.
    async fn count_waiting(&self, tenants: &[TenantId])
    -> Result<Vec<(TenantId, u64)>, StoreError>;

    /// Forgets the days before this one.
    async fn forget_usage(&self, before: Day) -> Result<(), StoreError>;
}
