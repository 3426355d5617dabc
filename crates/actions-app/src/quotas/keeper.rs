//! Writes down what came in, and looks at how much tenants have, every few seconds.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::id::TenantId;
use actions_domain::limits::RETENTION_DAYS_MAX;
use actions_domain::ports::store::StoreError;
use actions_domain::settings::Setting;
use actions_domain::usage::{Day, DayUsage, Level};
use chrono::TimeDelta;
use tracing::{info, warn};

use super::Quotas;
use crate::app::Ports;
use crate::catalogue::Catalogue;
use crate::node::live::Live;

/// How often sums are written and levels are read: what a node's death may leave uncounted, and
/// what may come in beyond a quota of the backlog.
const TURN_EVERY: Duration = Duration::from_secs(5);
/// Counting what waits takes a while; what somebody has counted in this time will do.
const COUNT_EVERY: TimeDelta = TimeDelta::milliseconds(4_500);
/// Tenants of one question.
const TENANTS_AT_ONCE: usize = 500;

pub(crate) struct Keeper {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) live: Arc<Live>,
}

impl Keeper {
    /// Starts the loop. It ends when nobody has the quotas any more.
    pub(crate) fn start(self, quotas: &Arc<Quotas>) {
        let (quotas, ports) = (Arc::downgrade(quotas), quotas.ports.clone());
        tokio::spawn(self.run(quotas, ports));
    }

    async fn run(self, quotas: Weak<Quotas>, ports: Arc<Ports>) {
        let clock = ports.clock.clone();
        drop(ports);
        let (mut is_away, mut forgotten) = (false, None);
        loop {
            clock.sleep(TURN_EVERY).await;
            let Some(quotas) = quotas.upgrade() else { return };
            let outcome = self.turn(&quotas, &mut forgotten).await;
            // One line per change of state, not one per turn.
            match &outcome {
                Err(error) if !is_away => warn!(%error, "what tenants use is not written down yet"),
                Ok(()) if is_away => info!("over: what tenants use is not written down yet"),
                Ok(()) | Err(_) => {}
            }
            is_away = outcome.is_err();
        }
    }

    async fn turn(&self, quotas: &Quotas, forgotten: &mut Option<Day>) -> Result<(), StoreError> {
        if self.live.node().is_none() {
            // No node looks for changes here, and what is refused would never find out.
            self.catalogue.refresh_all().await?;
        }
        quotas.write_usage().await?;
        quotas.read_levels(&self.catalogue).await?;
        let today = Day::of(quotas.ports.clock.now());
        if *forgotten != Some(today) {
            quotas.ports.usages.forget_usage(today.before(RETENTION_DAYS_MAX)).await?;
            *forgotten = Some(today);
        }
        Ok(())
    }
}

impl Quotas {
    /// Writes down what came in since the last time.
    ///
    /// # Errors
    /// It is tried again with the next turn, unless nobody knows whether it was written.
    pub async fn write_usage(&self) -> Result<(), StoreError> {
        let mut days = self.book.take();
        while !days.is_empty() {
            let rest = days.split_off(days.len().min(TENANTS_AT_ONCE));
            let written = self.ports.usages.add_usage(&days).await;
            match written {
                Ok(()) => self.add_to_levels(&days),
                // Counted twice would be worse than not at all.
                Err(error @ StoreError::Unavailable { unknown: true, .. }) => {
                    self.book.put_back(rest);
                    return Err(error);
                }
                Err(error) => {
                    self.book.put_back(days);
                    self.book.put_back(rest);
                    return Err(error);
                }
            }
            days = rest;
        }
        Ok(())
    }

    /// What is written is no longer among what is not, and the levels are read later.
    fn add_to_levels(&self, days: &[DayUsage]) {
        let mut levels = self.levels.write().unwrap_or_else(PoisonError::into_inner);
        for DayUsage { tenant, usage, .. } in days {
            if let Some(level) = levels.get_mut(tenant) {
                level.stored_bytes = level.stored_bytes.saturating_add(usage.bytes);
            }
        }
    }

    /// Looks at how much those tenants have that may have so much.
    async fn read_levels(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        let now = self.ports.clock.now();
        let tenants = catalogue.list().into_iter().map(|known| known.tenant.id);
        let asked: Vec<(TenantId, Day)> = tenants
            .filter(|tenant| {
                let has = |setting| self.value(*tenant, setting).is_some();
                has(Setting::StoredBytes) || has(Setting::WaitingExecutions)
            })
            .map(|tenant| (tenant, self.kept_since(tenant, now)))
            .collect();
        let mut levels = HashMap::with_capacity(asked.len());
        for asked in asked.chunks(TENANTS_AT_ONCE) {
            let found = self.ports.usages.levels(asked).await?;
            levels.extend(found.into_iter().map(|level| (level.tenant, level)));
        }
        let stale: Vec<TenantId> = levels
            .values()
            .filter(|level| self.value(level.tenant, Setting::WaitingExecutions).is_some())
            .filter(|level| is_stale(level, now))
            .map(|level| level.tenant)
            .collect();
        for tenants in stale.chunks(TENANTS_AT_ONCE) {
            for (tenant, waiting) in self.ports.usages.count_waiting(tenants).await? {
                if let Some(level) = levels.get_mut(&tenant) {
                    *level = Level { waiting, counted_at: Some(now), ..*level };
                }
            }
        }
        *self.levels.write().unwrap_or_else(PoisonError::into_inner) = levels;
        Ok(())
    }
}

/// Nobody has counted lately. A clock that runs behind makes us count more often.
fn is_stale(level: &Level, now: Timestamp) -> bool {
    level.counted_at.is_none_or(|at| (now - at).abs() >= COUNT_EVERY)
}
