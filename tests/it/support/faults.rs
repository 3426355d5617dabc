//! A store that fails when it is told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actions_domain::Timestamp;
use actions_domain::api_key::{ApiKey, Lookup, StoredToken};
use actions_domain::audit::Act;
use actions_domain::bulk::{Bulk, BulkChange, BulkItem, ItemOutcome};
use actions_domain::event::Event;
use actions_domain::execution::report::Report;
use actions_domain::id::{ApiKeyId, BulkId, EventId, ExecutionId, NodeId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::api_keys::{ApiKeyChanges, ApiKeys, ApiKeysError};
use actions_domain::ports::bulks::{BulkStep, Bulks};
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::leases::{Lease, Leases, Peer, Vitals};
use actions_domain::ports::permits::Permits;
use actions_domain::ports::schedules::Schedules;
use actions_domain::ports::store::{DueQuery, IntakeRow, Store, StoreError, Window};
use actions_domain::schedule::{Progress, Schedule, ScheduleName, ScheduleSpec};
use actions_domain::throttle::{Draw, Drawn, Share, ShareAsk};
use actions_domain::work::{Cancel, Commit, Fence, Item, Later, Part, Receipt, Seq, Skip};
use actions_infra::memory::Memory;
use async_trait::async_trait;

/// Where a call of the store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    /// Nothing happens.
    Before,
    /// It is done, but nobody hears of it.
    After,
    /// Nothing happens, and nobody is told.
    Never,
}

/// The memory store, with failures.
pub struct Faults {
    memory: Arc<Memory>,
    planned: Mutex<HashMap<&'static str, (Fails, usize)>>,
    commits: Mutex<Vec<Commit>>,
    /// How often it was asked about a token, and told of uses.
    pub questions: AtomicUsize,
    pub notes: AtomicUsize,
}

impl Faults {
    pub fn over(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            planned: Mutex::default(),
            commits: Mutex::default(),
            questions: AtomicUsize::default(),
            notes: AtomicUsize::default(),
        }
    }

    /// Lets the next calls of a method fail.
    pub fn plan(&self, method: &'static str, fails: Fails, times: usize) {
        self.planned.lock().unwrap().insert(method, (fails, times));
    }

    /// Failures that have not happened yet.
    pub fn outstanding(&self) -> usize {
        self.planned.lock().unwrap().values().map(|(_, times)| times).sum()
    }

    /// Every batch that was sent, whatever became of it.
    pub fn commits(&self) -> Vec<Commit> {
        self.commits.lock().unwrap().clone()
    }

    fn takes_place(&self, method: &'static str) -> Option<Fails> {
        let mut planned = self.planned.lock().unwrap();
        let (fails, times) = planned.get_mut(method).filter(|(_, times)| *times > 0)?;
        *times -= 1;
        Some(*fails)
    }

    async fn call<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.takes_place(method) {
            None => call.await,
            Some(Fails::Before) => Err(StoreError::unavailable("told to fail")),
            Some(Fails::Never) => std::future::pending().await,
            Some(Fails::After) => {
                call.await?;
                Err(StoreError::Unavailable { unknown: true, source: "told to fail".into() })
            }
        }
    }
}

#[async_trait]
impl Store for Faults {
    async fn commit(&self, batch: Commit) -> Result<Receipt, StoreError> {
        self.commits.lock().unwrap().push(batch.clone());
        self.call("commit", self.memory.commit(batch)).await
    }

    async fn window(
        &self,
        part: Part,
        from: Seq,
        limit: u32,
        skip: &[Skip],
    ) -> Result<Window, StoreError> {
        self.call("window", self.memory.window(part, from, limit, skip)).await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Later>, StoreError> {
        self.call("due", self.memory.due(query)).await
    }

    async fn marked(&self, part: Part) -> Result<Vec<Item>, StoreError> {
        self.call("marked", self.memory.marked(part)).await
    }

    async fn reported(&self, part: Part) -> Result<Vec<ExecutionId>, StoreError> {
        self.call("reported", self.memory.reported(part)).await
    }

    async fn report(&self, id: ExecutionId) -> Result<Option<Report>, StoreError> {
        self.call("report", self.memory.report(id)).await
    }

    async fn members(&self, head: ExecutionId) -> Result<Vec<Json>, StoreError> {
        self.call("members", self.memory.members(head)).await
    }

    async fn tails(&self) -> Result<Vec<(Part, Seq)>, StoreError> {
        self.call("tails", self.memory.tails()).await
    }

    async fn cancels(&self) -> Result<Vec<Cancel>, StoreError> {
        self.call("cancels", self.memory.cancels()).await
    }

    async fn events(&self, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        self.call("events", self.memory.events(ids)).await
    }

    async fn intake(&self, limit: u32) -> Result<Vec<IntakeRow>, StoreError> {
        self.call("intake", self.memory.intake(limit)).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.call("now", self.memory.now()).await
    }

    fn has_single_writer(&self) -> bool {
        self.memory.has_single_writer()
    }
}

#[async_trait]
impl Leases for Faults {
    async fn part_count(&self) -> Result<u16, StoreError> {
        self.memory.part_count().await
    }

    async fn join(&self, name: &str) -> Result<NodeId, StoreError> {
        self.call("join", self.memory.join(name)).await
    }

    async fn beat(&self, node: NodeId, vitals: &Vitals) -> Result<Vec<Peer>, StoreError> {
        self.call("beat", self.memory.beat(node, vitals)).await
    }

    async fn nodes(&self) -> Result<Vec<Peer>, StoreError> {
        self.call("nodes", self.memory.nodes()).await
    }

    async fn has_free(&self) -> Result<bool, StoreError> {
        self.call("has_free", self.memory.has_free()).await
    }

    async fn claim(
        &self,
        node: NodeId,
        dead: &[NodeId],
        most: u16,
    ) -> Result<Vec<Lease>, StoreError> {
        self.call("claim", self.memory.claim(node, dead, most)).await
    }

    async fn release(&self, node: NodeId, fences: &[Fence]) -> Result<(), StoreError> {
        self.call("release", self.memory.release(node, fences)).await
    }

    async fn note_low(&self, node: NodeId, lows: &[(Fence, Seq)]) -> Result<(), StoreError> {
        self.call("note_low", self.memory.note_low(node, lows)).await
    }

    async fn leave(&self, node: NodeId) -> Result<(), StoreError> {
        self.call("leave", self.memory.leave(node)).await
    }
}

#[async_trait]
impl Permits for Faults {
    async fn exchange(&self, node: NodeId, asks: &[ShareAsk]) -> Result<Vec<Share>, StoreError> {
        self.call("exchange", self.memory.exchange(node, asks)).await
    }

    async fn draw(&self, draws: &[Draw]) -> Result<Vec<Drawn>, StoreError> {
        self.call("draw", self.memory.draw(draws)).await
    }
}

#[async_trait]
impl Bulks for Faults {
    async fn create_bulk(
        &self,
        bulk: &Bulk,
        targets: &[ExecutionId],
        act: Option<&Act>,
    ) -> Result<(), StoreError> {
        self.call("create_bulk", self.memory.create_bulk(bulk, targets, act)).await
    }

    async fn find_bulk(&self, tenant: TenantId, id: BulkId) -> Result<Option<Bulk>, StoreError> {
        self.memory.find_bulk(tenant, id).await
    }

    async fn list_bulks(
        &self,
        tenant: TenantId,
        before: Option<BulkId>,
        limit: u32,
    ) -> Result<Vec<Bulk>, StoreError> {
        self.memory.list_bulks(tenant, before, limit).await
    }

    async fn open_bulks(&self, tenant: Option<TenantId>) -> Result<Vec<Bulk>, StoreError> {
        self.call("open_bulks", self.memory.open_bulks(tenant)).await
    }

    async fn bulk_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<BulkItem>, StoreError> {
        self.call("bulk_items", self.memory.bulk_items(tenant, id, after, limit)).await
    }

    async fn change_bulk(
        &self,
        tenant: TenantId,
        id: BulkId,
        change: &BulkChange,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Option<BulkStep>, StoreError> {
        self.call("change_bulk", self.memory.change_bulk(tenant, id, change, now, act)).await
    }

    async fn record_items(
        &self,
        tenant: TenantId,
        id: BulkId,
        outcomes: &[(u32, ItemOutcome)],
        now: Timestamp,
    ) -> Result<Option<BulkStep>, StoreError> {
        self.call("record_items", self.memory.record_items(tenant, id, outcomes, now)).await
    }
}

#[async_trait]
impl Schedules for Faults {
    async fn schedules(&self, tenant: Option<TenantId>) -> Result<Vec<Schedule>, StoreError> {
        self.call("schedules", self.memory.schedules(tenant)).await
    }

    async fn save_schedule(
        &self,
        tenant: TenantId,
        spec: &ScheduleSpec,
        expected: Expected,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Schedule, DefinitionsError> {
        self.memory.save_schedule(tenant, spec, expected, now, act).await
    }

    async fn delete_schedule(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<(), DefinitionsError> {
        self.memory.delete_schedule(tenant, name, expected, act).await
    }

    async fn note_progress(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        version: i64,
        progress: &Progress,
    ) -> Result<bool, StoreError> {
        let noted = self.memory.note_progress(tenant, name, version, progress);
        self.call("note_progress", noted).await
    }
}

#[async_trait]
impl ApiKeys for Faults {
    async fn create_api_key(
        &self,
        key: &ApiKey,
        token: &StoredToken,
        act: Option<&Act>,
    ) -> Result<(), ApiKeysError> {
        self.memory.create_api_key(key, token, act).await
    }

    async fn api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        self.memory.api_keys(tenant).await
    }

    async fn find_token(
        &self,
        lookup: &Lookup,
    ) -> Result<Option<(ApiKey, StoredToken)>, StoreError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        self.call("find_token", self.memory.find_token(lookup)).await
    }

    async fn revoke_api_key(
        &self,
        tenant: TenantId,
        key: ApiKeyId,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<ApiKey, ApiKeysError> {
        self.memory.revoke_api_key(tenant, key, now, act).await
    }

    async fn rotate_api_key(
        &self,
        tenant: TenantId,
        key: ApiKeyId,
        token: &StoredToken,
        others_end_at: Timestamp,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<ApiKey, ApiKeysError> {
        self.memory.rotate_api_key(tenant, key, token, others_end_at, now, act).await
    }

    async fn note_api_key_uses(&self, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        self.notes.fetch_add(1, Ordering::Relaxed);
        self.call("note_api_key_uses", self.memory.note_api_key_uses(uses)).await
    }

    async fn api_key_changes(&self, since: Option<i64>) -> Result<ApiKeyChanges, StoreError> {
        self.call("api_key_changes", self.memory.api_key_changes(since)).await
    }
}
