//! Schedules, in memory.

use async_trait::async_trait;

use actions_domain::Timestamp;
use actions_domain::audit::Act;
use actions_domain::id::TenantId;
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::schedules::Schedules;
use actions_domain::ports::store::StoreError;
use actions_domain::schedule::{Progress, Schedule, ScheduleName, ScheduleSpec};

use super::Memory;

#[async_trait]
impl Schedules for Memory {
    async fn schedules(&self, tenant: Option<TenantId>) -> Result<Vec<Schedule>, StoreError> {
        let tables = self.tables();
        let is_wanted = |schedule: &&Schedule| tenant.is_none_or(|id| schedule.tenant == id);
        Ok(tables.schedules.values().filter(is_wanted).cloned().collect())
    }

    async fn save_schedule(
        &self,
        tenant: TenantId,
        spec: &ScheduleSpec,
        expected: Expected,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Schedule, DefinitionsError> {
        let mut tables = self.tables();
        if !tables.tenants.contains_key(&tenant) {
            let name = tenant.to_string();
            return Err(DefinitionsError::NotFound { what: "tenant", name });
        }
        let key = (tenant, spec.name.clone());
        let current = tables.schedules.get(&key).cloned();
        let version = current.as_ref().map(|schedule| schedule.version);
        expected.check("schedule", spec.name.as_str(), version)?;
        let next = Schedule::saved(current.as_ref(), tenant, spec, now);
        if let Some(next) = &next {
            if current.is_none() {
                tables.has_room_for_one(act)?;
            }
            tables.schedules.insert(key, next.clone());
            tables.record(act);
        }
        Ok(next.or(current).expect("without a current state there is a next one"))
    }

    async fn delete_schedule(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<(), DefinitionsError> {
        let mut tables = self.tables();
        let key = (tenant, name.clone());
        let Some(current) = tables.schedules.get(&key) else {
            let name = name.to_string();
            return Err(DefinitionsError::NotFound { what: "schedule", name });
        };
        expected.check("schedule", name.as_str(), Some(current.version))?;
        tables.schedules.remove(&key);
        tables.record(act);
        Ok(())
    }

    async fn note_progress(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        version: i64,
        progress: &Progress,
    ) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let current = tables.schedules.get_mut(&(tenant, name.clone()));
        let current = current.filter(|current| {
            current.version == version && current.progress.handled_until <= progress.handled_until
        });
        let is_noted = current.is_some();
        if let Some(current) = current {
            current.progress = progress.clone();
        }
        Ok(is_noted)
    }
}
