//! Bulks, in memory.

use actions_domain::Timestamp;
use actions_domain::audit::Act;
use actions_domain::bulk::{Bulk, BulkChange, BulkItem, ItemOutcome};
use actions_domain::id::{BulkId, ExecutionId, TenantId};
use actions_domain::ports::bulks::{BulkStep, Bulks};
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;

use super::{Memory, Tables};

#[async_trait]
impl Bulks for Memory {
    async fn create_bulk(
        &self,
        bulk: &Bulk,
        targets: &[ExecutionId],
        act: Option<&Act>,
    ) -> Result<(), StoreError> {
        let items = (1..).zip(targets);
        let items =
            items.map(|(number, target)| BulkItem { number, target: *target, handled: None });
        let mut tables = self.tables();
        tables.bulks.insert((bulk.tenant, bulk.id), (bulk.clone(), items.collect()));
        tables.record(act);
        Ok(())
    }

    async fn find_bulk(&self, tenant: TenantId, id: BulkId) -> Result<Option<Bulk>, StoreError> {
        Ok(self.tables().bulks.get(&(tenant, id)).map(|(bulk, _)| bulk.clone()))
    }

    async fn list_bulks(
        &self,
        tenant: TenantId,
        before: Option<BulkId>,
        limit: u32,
    ) -> Result<Vec<Bulk>, StoreError> {
        let tables = self.tables();
        let bulks = tables.bulks.values().rev().map(|(bulk, _)| bulk);
        let wanted = bulks
            .filter(|bulk| bulk.tenant == tenant && before.is_none_or(|before| bulk.id < before));
        Ok(wanted.take(limit.try_into().unwrap_or(usize::MAX)).cloned().collect())
    }

    async fn open_bulks(&self, tenant: Option<TenantId>) -> Result<Vec<Bulk>, StoreError> {
        let tables = self.tables();
        let bulks = tables.bulks.values().map(|(bulk, _)| bulk);
        let mut open: Vec<Bulk> = bulks
            .filter(|bulk| !bulk.state.is_final() && tenant.is_none_or(|id| bulk.tenant == id))
            .cloned()
            .collect();
        open.sort_by_key(|bulk| bulk.id);
        Ok(open)
    }

    async fn bulk_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<BulkItem>, StoreError> {
        let tables = self.tables();
        let items = tables.bulks.get(&(tenant, id)).map(|(_, items)| items.as_slice());
        let wanted = items.unwrap_or_default().iter().filter(|item| item.number > after);
        Ok(wanted.take(limit.try_into().unwrap_or(usize::MAX)).cloned().collect())
    }

    async fn change_bulk(
        &self,
        tenant: TenantId,
        id: BulkId,
        change: &BulkChange,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Option<BulkStep>, StoreError> {
        let mut tables = self.tables();
        let step = tables.step(tenant, id, change, now);
        let act = act.zip(step.as_ref()).and_then(|(act, step)| act.step(step));
        tables.record(act.as_ref());
        Ok(step)
    }

    async fn record_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        outcomes: &[(u32, ItemOutcome)],
        now: Timestamp,
    ) -> Result<Option<BulkStep>, StoreError> {
        let mut tables = self.tables();
        let Some((_, items)) = tables.bulks.get_mut(&(tenant, id)) else { return Ok(None) };
        let (mut done, mut refused) = (0, 0);
        for (number, outcome) in outcomes {
            let item = usize::try_from(*number)
                .ok()
                .and_then(|number| items.get_mut(number.checked_sub(1)?));
            let Some(item) = item.filter(|item| item.handled.is_none()) else { continue };
            item.handled = Some((now, outcome.clone()));
            *(if outcome.refusal().is_none() { &mut done } else { &mut refused }) += 1;
        }
        Ok(tables.step(tenant, id, &BulkChange::Record { done, refused }, now))
    }
}

impl Tables {
    fn step(
        &mut self,
        tenant: TenantId,
        id: BulkId,
        change: &BulkChange,
        now: Timestamp,
    ) -> Option<BulkStep> {
        let (bulk, _) = self.bulks.get_mut(&(tenant, id))?;
        let before = bulk.clone();
        let after = before.after(change, now);
        if let Ok(after) = &after {
            *bulk = after.clone();
        }
        Some(BulkStep { before, after })
    }
}
