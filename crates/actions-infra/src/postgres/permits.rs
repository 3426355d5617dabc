//! Shares of limits and the ledger of rates in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;

use actions_domain::id::NodeId;
use actions_domain::ports::permits::Permits;
use actions_domain::ports::store::StoreError;
use actions_domain::throttle::{Draw, Drawn, Pace, Scope, Share, ShareAsk};

use super::Postgres;
use super::error::write_error;
use super::record::corrupt;

#[async_trait]
impl Permits for Postgres {
    async fn exchange(&self, node: NodeId, asks: &[ShareAsk]) -> Result<Vec<Share>, StoreError> {
        let (kinds, ids): (Vec<i16>, Vec<i64>) = asks.iter().map(|ask| ask.scope.numbers()).unzip();
        // Tenants and actions only: a subscription has no concurrency.
        let ids: Vec<i32> =
            ids.into_iter().map(|id| i32::try_from(id).unwrap_or(i32::MAX)).collect();
        let numbers =
            |of: fn(&ShareAsk) -> u32| asks.iter().map(|ask| number(of(ask))).collect::<Vec<i32>>();
        let rows: Vec<(i16, i32, i32, i32)> = sqlx::query_as(include_str!("permits/exchange.sql"))
            .bind(node.0)
            .bind(kinds)
            .bind(ids)
            .bind(numbers(|ask| ask.max))
            .bind(numbers(|ask| ask.keep))
            .bind(numbers(|ask| ask.want))
            .bind(numbers(|ask| ask.hold))
            .fetch_all(&self.engine)
            .await
            .map_err(write_error)?;
        let shares = rows.into_iter().map(|(kind, id, amount, cap)| {
            Ok(Share {
                scope: scope(asks.iter().map(|ask| ask.scope), kind, id.into())?,
                amount: u32::try_from(amount).map_err(|_| corrupt("share", &amount))?,
                cap: u32::try_from(cap).map_err(|_| corrupt("share", &cap))?,
            })
        });
        shares.collect()
    }

    async fn draw(&self, draws: &[Draw]) -> Result<Vec<Drawn>, StoreError> {
        let (kinds, ids): (Vec<i16>, Vec<i64>) =
            draws.iter().map(|draw| draw.scope.numbers()).unzip();
        let paces = |of: fn(&Draw) -> Option<Pace>| {
            let paces: Vec<Option<Pace>> = draws.iter().map(of).collect();
            let costs: Vec<Option<i64>> =
                paces.iter().map(|pace| pace.map(|pace| pace.cost)).collect();
            let bursts: Vec<Option<i32>> =
                paces.iter().map(|pace| pace.map(|pace| number(pace.burst))).collect();
            let blocks: Vec<Option<i32>> =
                paces.iter().map(|pace| pace.map(|pace| number(pace.block))).collect();
            (costs, bursts, blocks)
        };
        let (minute_costs, minute_bursts, minute_blocks) = paces(|draw| draw.rate.minute());
        let (hour_costs, hour_bursts, hour_blocks) = paces(|draw| draw.rate.hour());
        let rows: Vec<(i16, i64, i32, i64)> = sqlx::query_as(include_str!("permits/draw.sql"))
            .bind(kinds)
            .bind(ids)
            .bind(draws.iter().map(|draw| number(draw.want)).collect::<Vec<i32>>())
            .bind(minute_costs)
            .bind(minute_bursts)
            .bind(minute_blocks)
            .bind(hour_costs)
            .bind(hour_bursts)
            .bind(hour_blocks)
            .fetch_all(&self.engine)
            .await
            .map_err(write_error)?;
        let drawn = rows.into_iter().map(|(kind, id, count, again_us)| {
            Ok(Drawn {
                scope: scope(draws.iter().map(|draw| draw.scope), kind, id)?,
                count: u32::try_from(count).map_err(|_| corrupt("starts", &count))?,
                again_in: Duration::from_micros(u64::try_from(again_us).unwrap_or(0)),
            })
        });
        drawn.collect()
    }
}

/// The scope that was asked about with these numbers.
fn scope(mut asked: impl Iterator<Item = Scope>, kind: i16, id: i64) -> Result<Scope, StoreError> {
    asked.find(|scope| scope.numbers() == (kind, id)).ok_or_else(|| corrupt("scope", &kind))
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
