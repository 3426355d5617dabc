//! Which node owns which partition. What it must do is defined by `contract/leases.rs`.
//!
//! No clock takes part in safety: a claim raises the epoch under a row lock, and every write of
//! the former owner compares its own epoch under the same lock.

use std::time::Duration;

use async_trait::async_trait;

use crate::Timestamp;
use crate::id::NodeId;
use crate::ports::store::StoreError;
use crate::work::{Fence, Part, Seq};

/// Ownership of partitions.
#[async_trait]
pub trait Leases: Send + Sync {
    /// How many partitions there are. Fixed when the store was initialised.
    async fn part_count(&self) -> Result<u16, StoreError>;

    /// Registers one start of a process. An earlier start of the same name is dead from now on,
    /// because a name belongs to one process.
    async fn join(&self, name: &str) -> Result<NodeId, StoreError>;

    /// Says that this node is alive and how it is, and reads who else is.
    ///
    /// # Errors
    /// `Fenced` when somebody declared this node dead. It must drop everything.
    async fn beat(&self, node: NodeId, vitals: &Vitals) -> Result<Vec<Peer>, StoreError>;

    /// Reads all nodes that are alive or still own something, by number. Judges nobody.
    async fn nodes(&self) -> Result<Vec<Peer>, StoreError>;

    /// Whether somebody has given a partition back that nobody has taken yet. Asked often, so
    /// that what is free is soon taken.
    async fn has_free(&self) -> Result<bool, StoreError>;

    /// Declares `dead` nodes dead and takes up to `most` partitions that no living node owns.
    /// The claim is committed when this returns; what it owns is listed afterwards.
    async fn claim(
        &self,
        node: NodeId,
        dead: &[NodeId],
        most: u16,
    ) -> Result<Vec<Lease>, StoreError>;

    /// Gives partitions back after everything started in them has ended: the next owner need
    /// not assume that anything is still running.
    async fn release(&self, node: NodeId, fences: &[Fence]) -> Result<(), StoreError>;

    /// Writes where each log may be read from after a restart: a hint that saves reading.
    async fn note_low(&self, node: NodeId, lows: &[(Fence, Seq)]) -> Result<(), StoreError>;

    /// Ends this node's membership.
    async fn leave(&self, node: NodeId) -> Result<(), StoreError>;
}

/// A partition that was just claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub part: Part,
    pub epoch: crate::work::Epoch,
    /// The former owner had given it back, or there was none.
    pub clean: bool,
    /// Where reading the log starts.
    pub low: Seq,
    /// The end of the log when it was claimed: earlier items may have been started before.
    pub tail: Seq,
    /// The number of the next end in this partition.
    pub next_fin: i64,
}

/// A node, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub node: NodeId,
    pub name: String,
    /// Grows with each of its beats. A judge compares it with itself, never with a clock.
    pub beats: i64,
    pub alive: bool,
    pub parts: Vec<Part>,
    pub joined_at: Timestamp,
    /// How long ago its last beat was, by the store's clock. For people: nobody is judged by it.
    pub silent_for: Duration,
    /// As of its last beat.
    pub vitals: Vitals,
}

/// What a node says of itself with each beat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vitals {
    /// Of the program.
    pub version: String,
    /// What it is for: `all`, or `worker`.
    pub role: String,
    /// Attempts that run.
    pub running: u32,
    /// Items in memory that could run.
    pub waiting: u32,
    /// It stops, and takes nothing up any more.
    pub is_draining: bool,
}

impl Peer {
    /// Whether it takes its share of the partitions.
    pub fn is_taking_part(&self) -> bool {
        self.alive && !self.vitals.is_draining
    }
}
