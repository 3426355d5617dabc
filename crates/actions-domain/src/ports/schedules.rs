//! What happens at certain times, and how far that is. What it must do is defined by
//! `contract/schedules.rs`.

use async_trait::async_trait;

use crate::Timestamp;
use crate::audit::Act;
use crate::id::TenantId;
use crate::ports::definitions::{DefinitionsError, Expected};
use crate::ports::store::StoreError;
use crate::schedule::{Progress, Schedule, ScheduleName, ScheduleSpec};

#[async_trait]
pub trait Schedules: Send + Sync {
    /// Reads the schedules of a tenant, or of all tenants, by tenant and name. One that cannot be
    /// read hides no other one.
    async fn schedules(&self, tenant: Option<TenantId>) -> Result<Vec<Schedule>, StoreError>;

    /// Creates or replaces a schedule by its name, as [`Schedule::saved`] decides, and answers its
    /// new state. The act is written down where that changed something.
    ///
    /// # Errors
    /// `Exists`, `Stale` and `NotFound` as `expected` says.
    async fn save_schedule(
        &self,
        tenant: TenantId,
        spec: &ScheduleSpec,
        expected: Expected,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Schedule, DefinitionsError>;

    /// Deletes a schedule. What it has started stays.
    async fn delete_schedule(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<(), DefinitionsError>;

    /// Writes down how far a schedule is. Answers whether that was so: nothing happens when
    /// it has another version by now, or is further already.
    async fn note_progress(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        version: i64,
        progress: &Progress,
    ) -> Result<bool, StoreError>;
}
