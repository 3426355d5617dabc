//! Shares of limits and the ledger of rates, in memory.

use async_trait::async_trait;

use actions_domain::id::NodeId;
use actions_domain::ports::permits::Permits;
use actions_domain::ports::store::StoreError;
use actions_domain::throttle::{Draw, Drawn, Share, ShareAsk, exchange};

use super::Memory;

#[async_trait]
impl Permits for Memory {
    async fn exchange(&self, node: NodeId, asks: &[ShareAsk]) -> Result<Vec<Share>, StoreError> {
        let mut tables = self.tables();
        let now = self.clock.now();
        tables.require_alive(node)?;
        let mut shares = Vec::with_capacity(asks.len());
        for ask in asks {
            let mut holders = tables.shares.remove(&ask.scope).unwrap_or_default();
            holders.retain(|holder| tables.is_alive(Some(holder.node)));
            let own = holders.iter().copied().find(|holder| holder.node == node);
            holders.retain(|holder| holder.node != node);
            let (share, noted) = exchange(ask, node, own, &holders, now);
            holders.extend(noted);
            tables.shares.insert(ask.scope, holders);
            shares.push(share);
        }
        Ok(shares)
    }

    async fn draw(&self, draws: &[Draw]) -> Result<Vec<Drawn>, StoreError> {
        let mut tables = self.tables();
        let now = self.clock.now();
        let drawn = draws.iter().map(|draw| {
            let bucket = tables.rates.entry(draw.scope).or_default();
            let (count, again_in) = draw.rate.draw(bucket, now, draw.want);
            Drawn { scope: draw.scope, count, again_in }
        });
        Ok(drawn.collect())
    }
}
