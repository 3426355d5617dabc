//! What tenants may use, of all layers, and the gate that refuses what is beyond it.
//!
//! Only what comes in new is refused. What was accepted before runs on, with its retries, and so do
//! the engine's own events, times of schedules and what a user's transaction has left: they are
//! counted, and others wait for it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::authorization::{AuthorizationContext, Principal};
use actions_domain::id::TenantId;
use actions_domain::settings::{
    Bound, Effective, Exceeded, Layer, Setting, Values, effective, event_rate,
};
use actions_domain::tenant::Controls;
use actions_domain::throttle::Limits;
use actions_domain::usage::{Day, Level, Usage};
use metrics::counter;

use crate::app::Ports;
use crate::catalogue::{Catalogue, TenantDefinitions};

use self::event_gate::EventGate;
use self::usage_book::UsageBook;

pub(crate) mod event_gate;
mod keeper;
pub(crate) mod usage_book;

pub(crate) use keeper::Keeper;

/// What a process says of all tenants, by layer, the weakest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessLayers(pub Vec<(Layer, Values)>);

/// Whether the tenant's quotas are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// What is beyond them is refused.
    Asked,
    /// It is counted and not refused.
    Granted,
}

impl Admission {
    /// What the engine does by itself was accepted before: the times of schedules, and the events of
    /// what runs. Refusing these would fail what should make the backlog smaller.
    pub(crate) fn of(caller: &AuthorizationContext) -> Self {
        if caller.principal == Principal::Engine { Self::Granted } else { Self::Asked }
    }
}

/// What is refused because the tenant uses as much as it may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    #[error(
        "the tenant sends more than {allowed} events a second, over all nodes (events_per_second); what was sent is safe to send again later"
    )]
    Rate { allowed: u64, retry_after: Duration },
    /// As long as the quota is what it is, it never passes.
    #[error(
        "the tenant may send {allowed} events a second (events_per_second), and so {most} at once; send smaller batches than one of {given}"
    )]
    Batch { allowed: u64, most: u64, given: u64 },
    #[error(
        "{used} executions of the tenant have not ended, allowed are {allowed} (waiting_executions); new ones are taken when fewer wait"
    )]
    Waiting { allowed: u64, used: u64 },
    #[error(
        "the tenant has {used} bytes stored, allowed are {allowed} (stored_bytes); history that is removed makes room"
    )]
    Stored { allowed: u64, used: u64 },
}

/// When to come back to a tenant that has too much: levels are looked at so often.
const LEVEL_PAUSE: Duration = Duration::from_secs(5);

impl QuotaError {
    pub fn setting(&self) -> Setting {
        match self {
            Self::Rate { .. } | Self::Batch { .. } => Setting::EventsPerSecond,
            Self::Waiting { .. } => Setting::WaitingExecutions,
            Self::Stored { .. } => Setting::StoredBytes,
        }
    }

    /// `None`: the same request never passes.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rate { retry_after, .. } => Some(*retry_after),
            Self::Waiting { .. } | Self::Stored { .. } => Some(LEVEL_PAUSE),
            Self::Batch { .. } => None,
        }
    }
}

/// What a tenant's rate of events allows at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRateState {
    /// Events that pass at once after a pause.
    pub burst: u64,
    /// Of these, what this node holds.
    pub left: u64,
    /// When more come.
    pub again_in: Duration,
}

/// One for each process.
pub struct Quotas {
    process: ProcessLayers,
    catalogue: Arc<Catalogue>,
    ports: Arc<Ports>,
    gate: EventGate,
    book: Arc<UsageBook>,
    levels: RwLock<HashMap<TenantId, Level>>,
}

impl Quotas {
    pub(crate) fn new(
        process: ProcessLayers,
        catalogue: Arc<Catalogue>,
        ports: Arc<Ports>,
        book: Arc<UsageBook>,
    ) -> Self {
        let gate = EventGate::default();
        Self { process, catalogue, ports, gate, book, levels: RwLock::default() }
    }

    /// The value of a setting that holds for a tenant. `None`: there is no limit.
    pub fn value(&self, tenant: TenantId, setting: Setting) -> Option<u64> {
        self.layers_of(tenant).effective(setting).value
    }

    /// The value of a setting that holds for a tenant, with its layer.
    pub fn effective(&self, tenant: TenantId, setting: Setting) -> Effective {
        self.layers_of(tenant).effective(setting)
    }

    /// The limits of the tenant's attempts as a whole, and its weight.
    pub(crate) fn throttle(&self, known: &TenantDefinitions) -> (Limits, u32) {
        let layers = self.layers_of(known.tenant.id);
        let value = |setting| layers.effective(setting).value;
        let weight = value(Setting::Weight).and_then(|weight| u32::try_from(weight).ok());
        (known.controls().throttle(value), weight.unwrap_or(1))
    }

    /// How many things of a kind the tenant may have, to be asked in the transaction that makes one
    /// more. Those of which there are `count` already are refused here.
    pub(crate) fn room_for_one(
        &self,
        tenant: TenantId,
        setting: Setting,
        count: usize,
    ) -> Result<Option<Bound>, Exceeded> {
        let bound = self.value(tenant, setting).map(|most| Bound { setting, most });
        match bound.filter(|bound| count as u64 >= bound.most) {
            Some(bound) => {
                refused(setting);
                Err(Exceeded(bound))
            }
            None => Ok(bound),
        }
    }

    /// Takes events in, all of them or none. What is admitted counts, whatever becomes of it.
    pub async fn admit_events(&self, tenant: TenantId, count: usize) -> Result<(), QuotaError> {
        let admitted = async {
            self.check_levels(tenant)?;
            let Some(allowed) = self.value(tenant, Setting::EventsPerSecond) else {
                return Ok(());
            };
            self.gate.admit(&self.ports, tenant, allowed, count as u64).await
        };
        let admitted: Result<(), QuotaError> = admitted.await;
        admitted.inspect_err(|error| refused(error.setting()))
    }

    /// Whether work may come in that is no event.
    pub(crate) fn admit_job(&self, tenant: TenantId) -> Result<(), QuotaError> {
        self.check_levels(tenant).inspect_err(|error| refused(error.setting()))
    }

    /// Counts events that cannot be refused: others wait for them.
    pub(crate) fn charge_events(&self, tenant: TenantId, count: usize) {
        if let Some(allowed) = self.value(tenant, Setting::EventsPerSecond) {
            self.gate.charge(tenant, event_rate(allowed), count as u64, self.ports.clock.now());
        }
    }

    /// What the tenant's rate of events allows. `None`: it has none.
    pub fn event_rate(&self, tenant: TenantId) -> Option<EventRateState> {
        let allowed = self.value(tenant, Setting::EventsPerSecond)?;
        Some(self.gate.state(tenant, event_rate(allowed), self.ports.clock.now()))
    }

    /// What is known of how much a tenant has. `None`: it has no quota that asks for it, or a new one.
    pub fn level(&self, tenant: TenantId) -> Option<Level> {
        self.levels.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).copied()
    }

    /// What this process has not written down yet.
    pub(crate) fn unwritten(&self, tenant: TenantId) -> Usage {
        self.book.unwritten(tenant)
    }

    /// Whether the tenant has less than it may have, as this process knows it.
    fn check_levels(&self, tenant: TenantId) -> Result<(), QuotaError> {
        let Some(level) = self.level(tenant) else { return Ok(()) };
        if let Some(allowed) = self.value(tenant, Setting::WaitingExecutions)
            && level.waiting >= allowed
        {
            return Err(QuotaError::Waiting { allowed, used: level.waiting });
        }
        if let Some(allowed) = self.value(tenant, Setting::StoredBytes) {
            let used = level.stored_bytes.saturating_add(self.unwritten(tenant).bytes);
            if used >= allowed {
                return Err(QuotaError::Stored { allowed, used });
            }
        }
        Ok(())
    }

    /// The oldest day of which anything is kept.
    pub fn kept_since(&self, tenant: TenantId, now: Timestamp) -> Day {
        match self.value(tenant, Setting::KeepDays) {
            Some(days) => Day::of(now).before(u32::try_from(days).unwrap_or(u32::MAX)),
            None => Day(0),
        }
    }

    fn layers_of(&self, tenant: TenantId) -> Layers<'_> {
        let controls = |tenant| self.catalogue.find(tenant).map(|known| known.controls());
        let own = controls(tenant).unwrap_or_default();
        let platform = controls(TenantId::ADMIN).unwrap_or_default();
        Layers { process: &self.process, platform, own }
    }
}

/// Everybody who says something of a tenant.
struct Layers<'a> {
    process: &'a ProcessLayers,
    platform: Arc<Controls>,
    own: Arc<Controls>,
}

impl Layers<'_> {
    fn effective(&self, setting: Setting) -> Effective {
        let process = self.process.0.iter();
        let process = process.map(|(layer, values)| (*layer, values.get(setting)));
        let stored = [
            (Layer::Platform, self.platform.all_tenants.get(setting)),
            (Layer::Tenant, self.own.limits.get(setting)),
            (Layer::Tenant, self.own.retention.get(setting)),
        ];
        effective(setting, process.chain(stored))
    }
}

/// Counts refusals. Tenants are never labels.
fn refused(setting: Setting) {
    counter!("actions_quota_refused_total", "quota" => setting.word()).increment(1);
}
