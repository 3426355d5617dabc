//! What a tenant may use, what it uses, and who says so.

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::TenantId;
use actions_domain::limits::USAGE_DAYS_MAX;
use actions_domain::settings::{Effective, Layer, Setting};
use actions_domain::tenant::TenantLimits;
use actions_domain::usage::{Day, DayUsage, Usage};

use crate::app::App;
use crate::queries::{QueryError, definitions_of};

/// A value that holds for a tenant, and how much of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedLimit {
    pub holds: Effective,
    /// `None`: it is not counted, or not yet.
    pub used: Option<u64>,
}

/// A limit of an action's attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionLimit {
    pub setting: Setting,
    pub value: Option<u64>,
    /// Who says so: the action, or whoever says it of its tenant.
    pub layer: Layer,
}

/// What came in for a tenant, and what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantUsage {
    /// The newest day first. Days of nothing are left out.
    pub days: Vec<DayUsage>,
    /// Of the days whose history is kept.
    pub stored_bytes: u64,
}

/// Reads every setting of a tenant with its layer and what is used.
pub async fn tenant_limits(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
) -> Result<Vec<UsedLimit>, QueryError> {
    caller.require(Permission::ReadDefinitions, tenant)?;
    let definitions = definitions_of(app, tenant)?;
    let now = app.ports.clock.now();
    let keys = app.ports.api_keys.api_keys(tenant).await?;
    let living = keys.iter().filter(|key| key.is_living(now)).count();
    let schedules = app.ports.schedules.schedules(Some(tenant)).await?.len();
    let secrets = app.ports.secrets.secrets(tenant).await?.len();
    let level = app.quotas.level(tenant);
    let stored = stored_bytes(app, tenant).await?;
    let used = |setting| match setting {
        Setting::Actions => Some(definitions.action_count() as u64),
        Setting::Subscriptions => Some(definitions.subscription_count() as u64),
        Setting::Schedules => Some(schedules as u64),
        Setting::Secrets => Some(secrets as u64),
        Setting::ApiKeys => Some(living as u64),
        Setting::StoredBytes => Some(stored),
        Setting::WaitingExecutions => {
            level.filter(|level| level.counted_at.is_some()).map(|level| level.waiting)
        }
        Setting::MaxConcurrentExecutions
        | Setting::RateLimitPerMinute
        | Setting::RateLimitPerHour
        | Setting::Weight
        | Setting::EventsPerSecond
        | Setting::KeepDays
        | Setting::DeadLetterDays => None,
    };
    let limit =
        |setting| UsedLimit { holds: app.quotas.effective(tenant, setting), used: used(setting) };
    Ok(Setting::ALL.iter().copied().map(limit).collect())
}

/// Reads the limits of an action's attempts: its own, and those of its tenant, which hold as well.
/// The tightest decides at any moment.
pub fn action_limits(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
) -> Result<Vec<ActionLimit>, QueryError> {
    caller.require(Permission::ReadDefinitions, tenant)?;
    let action = definitions_of(app, tenant)?.action_named(name);
    let action = action.ok_or(QueryError::NotFound { what: "action" })?;
    let spec = &action.spec;
    let own = [
        (Setting::MaxConcurrentExecutions, spec.max_concurrent_executions),
        (Setting::RateLimitPerMinute, spec.rate_limit_per_minute),
        (Setting::RateLimitPerHour, spec.rate_limit_per_hour),
    ];
    let limits = own.into_iter().flat_map(|(setting, value)| {
        let of_tenant = app.quotas.effective(tenant, setting);
        let own = ActionLimit { setting, value: value.map(u64::from), layer: Layer::Action };
        let outer = ActionLimit { setting, value: of_tenant.value, layer: of_tenant.layer };
        [own, outer]
    });
    Ok(limits.collect())
}

/// Reads what holds for every tenant that has nothing of its own.
pub fn limits_of_all_tenants(
    app: &App,
    caller: &AuthorizationContext,
) -> Result<TenantLimits, QueryError> {
    caller.require(Permission::ManageTenants, TenantId::ADMIN)?;
    Ok(definitions_of(app, TenantId::ADMIN)?.controls().all_tenants)
}

/// Reads what came in on each of the last days, today included.
pub async fn usage(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    days: u32,
) -> Result<TenantUsage, QueryError> {
    caller.require(Permission::ReadMetrics, tenant)?;
    let today = Day::of(app.ports.clock.now());
    let since = today.before(days.clamp(1, USAGE_DAYS_MAX) - 1);
    let mut days = app.ports.usages.usage_since(tenant, since).await?;
    // What this process has not written yet. Writing it here would be cut off with the request.
    let unwritten = app.quotas.unwritten(tenant);
    match days.first_mut().filter(|newest| newest.day == today) {
        Some(newest) => newest.usage.add(unwritten),
        None if unwritten == Usage::default() => {}
        None => days.insert(0, DayUsage { tenant, day: today, usage: unwritten }),
    }
    Ok(TenantUsage { days, stored_bytes: stored_bytes(app, tenant).await? })
}

async fn stored_bytes(app: &App, tenant: TenantId) -> Result<u64, QueryError> {
    let since = app.quotas.kept_since(tenant, app.ports.clock.now());
    let levels = app.ports.usages.levels(&[(tenant, since)]).await?;
    let written = levels.first().map_or(0, |level| level.stored_bytes);
    Ok(written.saturating_add(app.quotas.unwritten(tenant).bytes))
}
