//! Where the engine's work is kept. What it must do is defined by `contract/store.rs`.

use std::time::Duration;

use async_trait::async_trait;

use crate::Timestamp;
use crate::event::Event;
use crate::execution::report::Report;
use crate::id::{EventId, ExecutionId, TenantId};
use crate::json::Json;
use crate::limits::WINDOW_BYTES_MAX;
use crate::work::{Cancel, Commit, Item, Later, Part, Receipt, Seq, Skip};

/// Why a store did not do what it was asked. Adapters translate their drivers' errors into
/// these at the edge.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// This node owns the partitions no longer. Nothing was written.
    #[error("the lease of partitions {lost:?} was lost")]
    Fenced { lost: Vec<Part> },
    /// Something else was there than the caller expected.
    #[error("the stored version is {actual}")]
    Conflict { actual: i64 },
    /// The store refuses one item of the batch for its data. Nothing was written.
    #[error("the store refuses the data: {reason}")]
    Refused { reason: String },
    /// The store cannot be reached, or is busy or full. `unknown` tells that the batch may have
    /// been written all the same.
    #[error("the store is unavailable")]
    Unavailable {
        unknown: bool,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer program has stored something that this one cannot read. It waits for a newer program;
    /// everything else goes on.
    #[error("a newer program has stored {what}: replace this node")]
    Newer { what: String },
    /// A row that we wrote cannot be read back.
    #[error("the store holds something unreadable: {what}")]
    Corrupt { what: String },
}

impl StoreError {
    /// An outage during which nothing can have been written.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable { unknown: false, source: source.into() }
    }
}

/// The engine's memory.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes all of the batch or none of it. The only write of the engine.
    ///
    /// In this order: the fences are compared and locked; stale submissions, repetitions and
    /// requeues of what is not dead any more are left out; events are inserted; works get the
    /// next numbers of their partitions' logs, or a place among the later items when they have
    /// a delay; what gathers joins the open batch with its key, or begins one. Marks, reports,
    /// retries, finishes, cancels, discards and refusals are written. A finish removes the item
    /// from wherever it lives, with its mark, its report and its cancel. A retry moves it and
    /// removes its mark: the attempt is over. An item that is already finished is left as it is.
    /// A mark and a finish of a batch's head close the batch, also for what joins in this commit.
    /// What a deed has come to is written down in the audit, last.
    ///
    /// # Errors
    /// `Fenced` when this node no longer holds a lease that the batch writes under.
    async fn commit(&self, batch: Commit) -> Result<Receipt, StoreError>;

    /// How many commits it works on at once. More of them wait for each other.
    fn commits_at_once(&self) -> usize {
        1
    }

    /// Reads unfinished items of one partition's log in order, from `from` on, at most `limit` and
    /// at most about [`WINDOW_BYTES_MAX`] of inputs beside the first,
    /// leaving out those that have moved to the later items, and what `skip` names. Reads up to the
    /// end that was committed when it began.
    async fn window(
        &self,
        part: Part,
        from: Seq,
        limit: u32,
        skip: &[Skip],
    ) -> Result<Window, StoreError>;

    /// Reads later items of one partition that become due within `ahead`, or whose cancel is
    /// open: held ones first, then by due time.
    async fn due(&self, query: DueQuery) -> Result<Vec<Later>, StoreError>;

    /// Reads the items of one partition that are marked as started, wherever they live.
    async fn marked(&self, part: Part) -> Result<Vec<Item>, StoreError>;

    /// The unfinished items of one partition whose attempts have told something.
    async fn reported(&self, part: Part) -> Result<Vec<ExecutionId>, StoreError>;

    /// What the attempts of an unfinished item have told last, as it was written down.
    async fn report(&self, id: ExecutionId) -> Result<Option<Report>, StoreError>;

    /// The envelopes of what has joined a batch, in the order in which it was accepted. Settled as
    /// soon as the head was marked.
    async fn members(&self, head: ExecutionId) -> Result<Vec<Json>, StoreError>;

    /// The next sequence number of each partition's log, for owners that look for new work.
    async fn tails(&self) -> Result<Vec<(Part, Seq)>, StoreError>;

    /// The cancels that no finish has answered yet.
    async fn cancels(&self) -> Result<Vec<Cancel>, StoreError>;

    /// Loads the events of items that came without.
    async fn events(&self, ids: &[EventId]) -> Result<Vec<Event>, StoreError>;

    /// Reads what users' own transactions left in the intake, oldest first: at most `limit`
    /// rows, and no more of them than [`INTAKE_BYTES_MAX`](crate::limits::INTAKE_BYTES_MAX)
    /// allows, but always one.
    async fn intake(&self, limit: u32) -> Result<Vec<IntakeRow>, StoreError>;

    /// The store's clock.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Whether all commits go through one writer, so that one committer serves best.
    fn has_single_writer(&self) -> bool;
}

/// A stretch of a partition's log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Window {
    pub items: Vec<Item>,
    /// Where the next read starts: everything before is in `items`, finished or moved.
    pub next: Option<Seq>,
}

/// Gathers a [`Window`] until it is full.
#[derive(Debug)]
pub struct WindowBuilder {
    items: Vec<Item>,
    limit: usize,
    bytes: usize,
}

impl WindowBuilder {
    pub fn new(limit: u32) -> Self {
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        Self { items: Vec::new(), limit, bytes: 0 }
    }

    /// Whether nothing more has a place.
    pub fn is_full(&self) -> bool {
        self.items.len() >= self.limit || self.bytes >= WINDOW_BYTES_MAX
    }

    /// Adds the next item in order.
    pub fn push(&mut self, item: Item) {
        self.bytes += item.work.input_bytes();
        self.items.push(item);
    }

    /// The window, which reaches until `end` when it is not full.
    pub fn finish(self, end: Seq) -> Window {
        let next = match self.items.last() {
            Some(last) if self.is_full() => Seq(last.ord.0 + 1),
            Some(_) | None => end,
        };
        Window { items: self.items, next: Some(next) }
    }
}

/// Which later items to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueQuery {
    pub part: Part,
    pub ahead: Duration,
    pub limit: u32,
}

/// An event that a user's own transaction left for us.
#[derive(Debug, Clone, PartialEq)]
pub struct IntakeRow {
    pub id: i64,
    pub tenant: TenantId,
    /// `{id, type, source, data, …}` as `actions.emit` wrote it.
    pub body: Json,
}
