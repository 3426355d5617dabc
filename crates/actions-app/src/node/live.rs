//! What runs on this node right now, for the parts of the process that are not the node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use actions_domain::Timestamp;
use actions_domain::dispatch::{Depths, Input, Waiting};
use actions_domain::execution::report::Report;
use actions_domain::id::{ExecutionId, NodeId, TenantId};
use actions_domain::work::{Epoch, Fence, Key, Part};
use tokio::sync::{mpsc, oneshot};

use super::reports::Reports;

/// A message to the scheduler's loop.
#[derive(Debug)]
pub(crate) enum Message {
    Input(Box<Input>),
    Waiting(ExecutionId, oneshot::Sender<Option<Waiting>>),
    Depths(oneshot::Sender<Depths>),
}

/// The current session of this process's node, if there is one.
pub struct Live {
    session: RwLock<Option<Session>>,
    /// What earlier sessions owned last.
    former: RwLock<BTreeMap<Part, Epoch>>,
    /// Until when nobody takes this node's partitions, in microseconds.
    trusted_until: AtomicI64,
    part_count: u16,
    /// What its attempts tell of themselves.
    pub(crate) reports: Reports,
}

struct Session {
    node: NodeId,
    parts: BTreeMap<Part, Epoch>,
    /// Those that are about to be given back.
    leaving: BTreeSet<Part>,
    scheduler: mpsc::UnboundedSender<Message>,
}

impl Live {
    pub(crate) fn new(part_count: u16) -> Self {
        Self {
            session: RwLock::default(),
            former: RwLock::default(),
            trusted_until: AtomicI64::new(0),
            part_count: part_count.max(1),
            reports: Reports::default(),
        }
    }

    /// The partitions of the installation.
    pub fn part_count(&self) -> u16 {
        self.part_count
    }

    /// Where work with this key belongs. The way in puts work without one where it likes.
    pub(crate) fn part_of(&self, tenant: TenantId, key: Option<&Key>) -> Part {
        key.map_or(Part(0), |key| key.part(tenant, self.part_count))
    }

    pub fn node(&self) -> Option<NodeId> {
        self.read().as_ref().map(|session| session.node)
    }

    /// The partitions that this node owns.
    pub fn parts(&self) -> Vec<Part> {
        self.read()
            .as_ref()
            .map(|session| session.parts.keys().copied().collect())
            .unwrap_or_default()
    }

    /// The partitions of this node where new work is soon run.
    pub(crate) fn homes(&self) -> Vec<Part> {
        let session = self.read();
        let Some(Session { parts, leaving, .. }) = session.as_ref() else { return Vec::new() };
        parts.keys().filter(|part| !leaving.contains(part)).copied().collect()
    }

    pub fn fences(&self) -> Vec<Fence> {
        let session = self.read();
        let parts = session.iter().flat_map(|session| &session.parts);
        parts.map(|(part, epoch)| Fence { part: *part, epoch: *epoch }).collect()
    }

    /// Where an execution stands on this node. `None`: it is not here.
    pub async fn waiting(&self, execution: ExecutionId) -> Option<Waiting> {
        self.ask(|answer| Message::Waiting(execution, answer)).await.flatten()
    }

    /// What the running attempt of an execution has told, where it runs on this node.
    pub fn report(&self, execution: ExecutionId) -> Option<Report> {
        self.reports.find(execution)
    }

    /// What the queues of this node hold. `None` while no node runs here.
    pub async fn depths(&self) -> Option<Depths> {
        self.ask(Message::Depths).await
    }

    pub(crate) fn tell(&self, input: Input) {
        self.send(Message::Input(Box::new(input)));
    }

    pub(crate) fn look_for_due(&self, part: Part) {
        self.tell(Input::LaterSeen(part));
    }

    /// Limits have changed: the scheduler compares them before it takes its next input.
    pub(crate) fn look_at_limits(&self) {
        self.tell(Input::Tick);
    }

    pub(crate) fn begin(&self, node: NodeId, scheduler: mpsc::UnboundedSender<Message>) {
        *self.write() =
            Some(Session { node, parts: BTreeMap::new(), leaving: BTreeSet::new(), scheduler });
    }

    pub(crate) fn own(&self, fence: Fence) {
        if let Some(session) = self.write().as_mut() {
            session.parts.insert(fence.part, fence.epoch);
        }
    }

    /// A partition was given back.
    pub(crate) fn disown(&self, part: Part) {
        if let Some(session) = self.write().as_mut() {
            session.parts.remove(&part);
        }
        self.reports.leave(part);
    }

    /// These partitions are about to be given back.
    pub(crate) fn leave(&self, parts: impl Iterator<Item = Part>) {
        let leaving: BTreeSet<Part> = parts.collect();
        let is_known = self.read().as_ref().is_none_or(|session| session.leaving == leaving);
        if is_known {
            return;
        }
        if let Some(session) = self.write().as_mut() {
            session.leaving = leaving;
        }
    }

    /// This node was heard: until then it may start what it owns.
    pub(crate) fn trust(&self, until: Timestamp) {
        self.trusted_until.store(until.timestamp_micros(), Ordering::Relaxed);
    }

    /// Whether nobody can have taken this node's partitions yet.
    pub(crate) fn is_trusted(&self, now: Timestamp) -> bool {
        now.timestamp_micros() < self.trusted_until.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        if let Some(session) = self.write().take() {
            self.former.write().unwrap_or_else(PoisonError::into_inner).extend(session.parts);
            self.reports.forget_all();
        }
    }

    /// Whether an earlier session of this process owned a partition under this epoch.
    pub(crate) fn was_own(&self, fence: Fence) -> bool {
        let former = self.former.read().unwrap_or_else(PoisonError::into_inner);
        former.get(&fence.part) == Some(&fence.epoch)
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.send(message(answer));
        answered.await.ok()
    }

    fn send(&self, message: Message) {
        if let Some(session) = self.read().as_ref() {
            // A session that ends at this moment does not need the hint.
            let _ = session.scheduler.send(message);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Session>> {
        self.session.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Option<Session>> {
        self.session.write().unwrap_or_else(PoisonError::into_inner)
    }
}
