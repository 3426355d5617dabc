//! The audit, in memory.

use actions_domain::audit::{Act, Entry, Head};
use actions_domain::id::TenantId;
use actions_domain::ports::audit::Audit;
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;

use super::{Memory, Tables};

#[async_trait]
impl Audit for Memory {
    async fn record_act(&self, act: &Act) -> Result<(), StoreError> {
        self.tables().record(Some(act));
        Ok(())
    }

    async fn audit_before(
        &self,
        tenant: TenantId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let tables = self.tables();
        let newest = tables.entries(tenant).iter().rev();
        let wanted = newest.filter(|entry| before.is_none_or(|before| entry.seq < before));
        Ok(wanted.take(usize::try_from(limit).unwrap_or(usize::MAX)).cloned().collect())
    }

    async fn audit_after(
        &self,
        tenant: TenantId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let tables = self.tables();
        let wanted = tables.entries(tenant).iter().filter(|entry| entry.seq > after);
        Ok(wanted.take(usize::try_from(limit).unwrap_or(usize::MAX)).cloned().collect())
    }

    async fn audit_head(&self, tenant: TenantId) -> Result<Head, StoreError> {
        Ok(self.tables().head(tenant))
    }
}

impl Tables {
    /// Writes down what was done, if it was somebody who did it.
    pub(super) fn record(&mut self, act: Option<&Act>) {
        let Some(act) = act else { return };
        let entry = self.head(act.tenant).append(act);
        self.audit.entry(act.tenant).or_default().push(entry);
    }

    fn entries(&self, tenant: TenantId) -> &[Entry] {
        self.audit.get(&tenant).map_or(&[], Vec::as_slice)
    }

    pub(super) fn head(&self, tenant: TenantId) -> Head {
        self.entries(tenant).last().map(Entry::head).unwrap_or_default()
    }
}
