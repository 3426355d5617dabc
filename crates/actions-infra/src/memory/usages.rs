//! What tenants have sent and what waits, in memory.

use actions_domain::id::TenantId;
use actions_domain::ports::store::StoreError;
use actions_domain::ports::usages::Usages;
use actions_domain::usage::{Day, DayUsage, Level};
use async_trait::async_trait;

use super::{Memory, Place, Tables};

#[async_trait]
impl Usages for Memory {
    async fn add_usage(&self, added: &[DayUsage]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for DayUsage { tenant, day, usage } in added {
            // What a node has added up of one that is gone.
            if tables.deletions.contains_key(tenant) {
                continue;
            }
            tables.usage.entry((*tenant, *day)).or_default().add(*usage);
        }
        Ok(())
    }

    async fn usage_since(&self, tenant: TenantId, since: Day) -> Result<Vec<DayUsage>, StoreError> {
        let tables = self.tables();
        let days = tables.usage.range((tenant, since)..=(tenant, Day(i32::MAX))).rev();
        Ok(days.map(|((_, day), usage)| DayUsage { tenant, day: *day, usage: *usage }).collect())
    }

    async fn levels(&self, asked: &[(TenantId, Day)]) -> Result<Vec<Level>, StoreError> {
        let tables = self.tables();
        let level = |(tenant, since): &(TenantId, Day)| {
            let days = tables.usage.range((*tenant, *since)..=(*tenant, Day(i32::MAX)));
            let (waiting, counted_at) = match tables.backlog.get(tenant) {
                Some((waiting, counted_at)) => (*waiting, Some(*counted_at)),
                None => (0, None),
            };
            let stored_bytes = days.map(|(_, usage)| usage.bytes).sum();
            Level { tenant: *tenant, stored_bytes, waiting, counted_at }
        };
        let mut levels: Vec<Level> = asked.iter().map(level).collect();
        levels.sort_by_key(|level| level.tenant);
        Ok(levels)
    }

    async fn count_waiting(
        &self,
        tenants: &[TenantId],
    ) -> Result<Vec<(TenantId, u64)>, StoreError> {
        let now = self.clock.now();
        let mut tables = self.tables();
        let mut counts = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let waiting = tables.unfinished(*tenant);
            tables.backlog.insert(*tenant, (waiting, now));
            counts.push((*tenant, waiting));
        }
        Ok(counts)
    }

    async fn forget_usage(&self, before: Day) -> Result<(), StoreError> {
        self.tables().usage.retain(|(_, day), _| *day >= before);
        Ok(())
    }
}

impl Tables {
    fn unfinished(&self, tenant: TenantId) -> u64 {
        let is_own = |place: &&Place| match place {
            Place::Log { part, seq } => {
                let log = self.parts.get(usize::from(part.0)).map(|part| &part.log);
                log.and_then(|log| log.get(seq)).is_some_and(|work| work.tenant == tenant)
            }
            Place::Later(row) => row.work.tenant == tenant,
            Place::Finished(_) => false,
        };
        self.places.values().filter(is_own).count() as u64
    }
}
