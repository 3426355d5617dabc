//! Limits that hold over all nodes. What it must do is defined by `contract/permits.rs`.

use async_trait::async_trait;

use crate::id::NodeId;
use crate::ports::store::StoreError;
use crate::throttle::{Draw, Drawn, Share, ShareAsk};

/// The tables of shares and of rates.
#[async_trait]
pub trait Permits: Send + Sync {
    /// Sets what this node holds of each limit, as [`crate::throttle::exchange`] decides, and writes
    /// it down before it answers. Shares of nodes that are not alive count for nothing.
    ///
    /// # Errors
    /// `Fenced` when somebody declared this node dead: it holds nothing any more.
    async fn exchange(&self, node: NodeId, asks: &[ShareAsk]) -> Result<Vec<Share>, StoreError>;

    /// Draws starts, as [`crate::throttle::Rate::draw`] decides, on the store's clock.
    ///
    /// The ledger may forget everything when the store crashes: then each rate lets its burst
    /// pass once more.
    async fn draw(&self, draws: &[Draw]) -> Result<Vec<Drawn>, StoreError>;
}
