//! The ledger of rates in Redis. Shares of concurrency stay in the store, which cannot forget
//! them.
//!
//! While Redis is away, starts are drawn from the store's own ledger: work goes on, and each
//! rate lets its burst pass once more. Nodes that disagree about whether it is there draw from
//! two ledgers, so for that time a rate may be doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actions_domain::id::NodeId;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::permits::Permits;
use actions_domain::ports::store::StoreError;
use actions_domain::throttle::{Draw, Drawn, Pace, Share, ShareAsk};
use async_trait::async_trait;
use redis::{RedisError, Script};
use tracing::{info, warn};

use super::{Link, Redis};

/// A start does not wait for a slow Redis: the other ledger is there.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// How long Redis is left alone after it failed.
const AWAY_FOR: Duration = Duration::from_secs(5);

/// Rates from Redis, everything else from the store.
pub struct RedisPermits {
    store: Arc<dyn Permits>,
    clock: Arc<dyn Clock>,
    link: Link,
    script: Script,
    /// Before it, everything of this installation.
    prefix: String,
    /// Until when Redis is left alone, in microseconds. Zero: it works.
    away_until: AtomicI64,
}

impl RedisPermits {
    pub fn new(redis: &Redis, store: Arc<dyn Permits>, clock: Arc<dyn Clock>) -> Self {
        Self::named(redis, store, clock, "actions")
    }

    /// A ledger whose keys begin with another word.
    pub fn named(
        redis: &Redis,
        store: Arc<dyn Permits>,
        clock: Arc<dyn Clock>,
        prefix: &str,
    ) -> Self {
        let script = Script::new(include_str!("draw.lua"));
        let (link, prefix) = (redis.link(ANSWER_MAX), prefix.to_owned());
        Self { store, clock, link, script, prefix, away_until: AtomicI64::new(0) }
    }

    async fn draw_here(&self, draws: &[Draw]) -> Result<Vec<Drawn>, RedisError> {
        let mut call = self.script.prepare_invoke();
        for draw in draws {
            let (kind, id) = draw.scope.numbers();
            // One tag: a cluster keeps them together, and one call can have them all.
            call.key(format!("{{{}}}:rate:{kind}:{id}", self.prefix));
            call.arg(draw.want);
            for pace in [draw.rate.minute(), draw.rate.hour()] {
                let Pace { cost, burst, block } =
                    pace.unwrap_or(Pace { cost: 0, burst: 0, block: 0 });
                call.arg(cost).arg(burst).arg(block);
            }
        }
        let mut connection = self.link.connection().await?;
        let answer = call.invoke_async(&mut connection).await;
        let numbers: Vec<u64> = self.link.judge(answer).await?;
        let drawn = draws.iter().zip(numbers.chunks_exact(2)).map(|(draw, answer)| Drawn {
            scope: draw.scope,
            count: u32::try_from(answer[0]).unwrap_or(0).min(draw.want),
            again_in: Duration::from_micros(answer[1]),
        });
        Ok(drawn.collect())
    }
}

#[async_trait]
impl Permits for RedisPermits {
    async fn exchange(&self, node: NodeId, asks: &[ShareAsk]) -> Result<Vec<Share>, StoreError> {
        self.store.exchange(node, asks).await
    }

    async fn draw(&self, draws: &[Draw]) -> Result<Vec<Drawn>, StoreError> {
        let away_until = self.away_until.load(Ordering::Relaxed);
        let now = self.clock.now().timestamp_micros();
        if away_until > now {
            return self.store.draw(draws).await;
        }
        match self.draw_here(draws).await {
            Ok(drawn) => {
                if self.away_until.swap(0, Ordering::Relaxed) != 0 {
                    info!("rates are kept in Redis again");
                }
                Ok(drawn)
            }
            Err(error) => {
                let pause = i64::try_from(AWAY_FOR.as_micros()).unwrap_or(i64::MAX);
                if self.away_until.swap(now + pause, Ordering::Relaxed) == 0 {
                    warn!(%error, "rates are kept in the store until Redis is there again");
                }
                self.store.draw(draws).await
            }
        }
    }
}
