//! What operators set for a tenant beside its definitions: limits, weight, pauses, and how long its
//! history stays. It holds at once, also for what was accepted before.

use actions_domain::audit::{Act, ActKind};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::{ActionId, TenantId};
use actions_domain::limits::{
    KEEP_DAYS_MIN, PAUSED_ACTIONS_MAX, REASON_BYTES_MAX, RETENTION_DAYS_MAX,
};
use actions_domain::ports::definitions::DefinitionsError;
use actions_domain::settings::Setting;
use actions_domain::tenant::reach::Reach;
use actions_domain::tenant::{ControlChange, Controls, Pause, Retention, Tenant, TenantLimits};
use tracing::warn;

use crate::app::App;

/// What the audit calls them.
const CONTROLS: &str = "controls";
const ALL_TENANTS: &str = "controls:all_tenants";

/// What is paused or resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The whole tenant.
    Tenant,
    /// One action, by its name.
    Action(String),
}

impl Target {
    fn subject(&self) -> String {
        match self {
            Self::Tenant => CONTROLS.to_owned(),
            Self::Action(name) => format!("action:{name}"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ControlTenantError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such {what}")]
    NotFound { what: &'static str },
    #[error("{field} is {given}, allowed are 1 to {max}")]
    Limit { field: &'static str, given: u64, max: u64 },
    #[error("{field} is {given}, allowed are {min} to {RETENTION_DAYS_MAX}")]
    Days { field: &'static str, given: u32, min: u32 },
    #[error("the platform's own tenant cannot be suspended")]
    Platform,
    #[error("a reason has at most {REASON_BYTES_MAX} bytes")]
    Reason,
    #[error("at most {PAUSED_ACTIONS_MAX} actions of a tenant may be paused; pause the tenant")]
    TooManyPauses,
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
}

/// Replaces a tenant's limits.
pub async fn set_limits(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    limits: TenantLimits,
) -> Result<Controls, ControlTenantError> {
    // They are the platform's, and not for the tenant to raise.
    caller.require(Permission::ManageTenants, tenant)?;
    check_limits(&limits)?;
    let act = app.act(caller, tenant, ActKind::LimitsChanged, CONTROLS);
    change(app, tenant, &ControlChange::SetLimits(limits), &act).await
}

/// Replaces what holds for every tenant that has nothing of its own.
pub async fn limit_all_tenants(
    app: &App,
    caller: &AuthorizationContext,
    limits: TenantLimits,
) -> Result<Controls, ControlTenantError> {
    caller.require(Permission::ManageTenants, TenantId::ADMIN)?;
    check_limits(&limits)?;
    let act = app.act(caller, TenantId::ADMIN, ActKind::LimitsChanged, ALL_TENANTS);
    change(app, TenantId::ADMIN, &ControlChange::LimitAllTenants(limits), &act).await
}

fn check_limits(limits: &TenantLimits) -> Result<(), ControlTenantError> {
    for setting in Setting::ALL {
        if let Some(given) = limits.get(*setting).filter(|given| !setting.allows(*given)) {
            let (field, max) = (setting.word(), setting.range().1);
            return Err(ControlTenantError::Limit { field, given, max });
        }
    }
    Ok(())
}

/// Replaces how long a tenant's history stays. What is older goes within an hour or so.
pub async fn set_retention(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    retention: Retention,
) -> Result<Controls, ControlTenantError> {
    // What is removed does not come back, so it is not for everybody in the tenant.
    caller.require(Permission::ManageTenants, tenant)?;
    let fields = [
        ("keep_days", retention.keep_days, KEEP_DAYS_MIN),
        ("dead_letter_days", retention.dead_letter_days, 1),
    ];
    for (field, given, min) in fields {
        if let Some(given) = given.filter(|given| !(min..=RETENTION_DAYS_MAX).contains(given)) {
            return Err(ControlTenantError::Days { field, given, min });
        }
    }
    let act = app.act(caller, tenant, ActKind::RetentionChanged, CONTROLS);
    change(app, tenant, &ControlChange::SetRetention(retention), &act).await
}

/// Replaces where a tenant's handlers may connect to. It holds from the next call on.
pub async fn set_reach(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    reach: Reach,
) -> Result<Controls, ControlTenantError> {
    // It may open what the operator keeps closed, so it is not for the tenant itself.
    caller.require(Permission::ManageTenants, tenant)?;
    let act = app.act(caller, tenant, ActKind::EgressChanged, CONTROLS);
    change(app, tenant, &ControlChange::SetReach(reach), &act).await
}

/// Lets nothing more of the target start. What runs may end, and what comes in waits. Pausing
/// again changes nothing.
pub async fn pause(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    target: &Target,
    reason: Option<String>,
) -> Result<Controls, ControlTenantError> {
    caller.require(Permission::Pause, tenant)?;
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(ControlTenantError::Reason);
    }
    let kind = match target {
        Target::Tenant => ActKind::TenantPaused,
        Target::Action(_) => ActKind::ActionPaused,
    };
    let act = app.act(caller, tenant, kind, target.subject()).because(reason.as_deref());
    let pause = Pause { at: app.ports.clock.now(), by: caller.actor.clone(), reason };
    let request = match target {
        Target::Tenant => ControlChange::Pause(pause),
        Target::Action(name) => {
            let action = find_action(app, tenant, name)?;
            let known = app.catalogue.find(tenant).map(|known| known.controls());
            let known = known.unwrap_or_default();
            if known.paused_actions.len() >= PAUSED_ACTIONS_MAX
                && !known.paused_actions.contains_key(&action)
            {
                return Err(ControlTenantError::TooManyPauses);
            }
            ControlChange::PauseAction(action, pause)
        }
    };
    change(app, tenant, &request, &act).await
}

/// Lets the target go on. What is not paused goes on anyway.
pub async fn resume(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    target: &Target,
) -> Result<Controls, ControlTenantError> {
    caller.require(Permission::Pause, tenant)?;
    let (kind, request) = match target {
        Target::Tenant => (ActKind::TenantResumed, ControlChange::Resume),
        Target::Action(name) => {
            let action = find_action(app, tenant, name)?;
            (ActKind::ActionResumed, ControlChange::ResumeAction(action))
        }
    };
    change(app, tenant, &request, &app.act(caller, tenant, kind, target.subject())).await
}

/// Lets nothing of a tenant start, and accepts nothing for it, from the next event on. What runs may
/// end, and what waits is kept. Suspending again changes nothing.
pub async fn suspend(
    app: &App,
    caller: &AuthorizationContext,
    tenant: &Tenant,
    reason: Option<String>,
) -> Result<Controls, ControlTenantError> {
    caller.require(Permission::ManageTenants, TenantId::ADMIN)?;
    if tenant.id == TenantId::ADMIN {
        return Err(ControlTenantError::Platform);
    }
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(ControlTenantError::Reason);
    }
    let act = on_tenant(app, caller, ActKind::TenantSuspended, tenant);
    let act = act.because(reason.as_deref());
    let suspension = Pause { at: app.ports.clock.now(), by: caller.actor.clone(), reason };
    change(app, tenant.id, &ControlChange::Suspend(suspension), &act).await
}

/// Lets a suspended tenant go on. A pause beside it stays.
pub async fn end_suspension(
    app: &App,
    caller: &AuthorizationContext,
    tenant: &Tenant,
) -> Result<Controls, ControlTenantError> {
    caller.require(Permission::ManageTenants, TenantId::ADMIN)?;
    let act = on_tenant(app, caller, ActKind::TenantReinstated, tenant);
    change(app, tenant.id, &ControlChange::EndSuspension, &act).await
}

/// What is done to a tenant as such is the platform's.
fn on_tenant(app: &App, caller: &AuthorizationContext, kind: ActKind, tenant: &Tenant) -> Act {
    app.act(caller, TenantId::ADMIN, kind, format!("tenant:{}", tenant.slug))
}

/// Who has suspended a tenant, as it is known here.
pub fn suspension_of(app: &App, tenant: TenantId) -> Option<Pause> {
    app.catalogue.find(tenant)?.controls().suspension.clone()
}

fn find_action(app: &App, tenant: TenantId, name: &str) -> Result<ActionId, ControlTenantError> {
    let known = app.catalogue.find(tenant);
    let action = known.and_then(|known| known.action_named(name));
    action.map(|action| action.id).ok_or(ControlTenantError::NotFound { what: "action" })
}

async fn change(
    app: &App,
    tenant: TenantId,
    change: &ControlChange,
    act: &Act,
) -> Result<Controls, ControlTenantError> {
    let changed = app.ports.definitions.change_controls(tenant, change, Some(act)).await?;
    // It is stored: a node that cannot read it now reads it with its next look.
    if let Err(error) = app.catalogue.refresh_tenant(tenant).await {
        warn!(%error, "the change is not known here yet");
    }
    app.live.look_at_limits();
    Ok(changed)
}
