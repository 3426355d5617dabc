//! Creates, replaces, pauses and deletes schedules.

use actions_domain::audit::{Act, ActKind};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::limits::{SCHEDULE_DATA_BYTES_MAX, SCHEDULE_DESCRIPTION_BYTES_MAX};
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::store::StoreError;
use actions_domain::schedule::{Overlap, Schedule, ScheduleName, ScheduleSpec, Target, When};
use actions_domain::settings::{Bound, Exceeded, Setting};

use crate::app::App;
use crate::commands::check_definition::{Finding, FindingKind};
use crate::commands::save_action::{Change, current_definitions};
use crate::timetable::{Timetable, TimetableError};

pub struct SaveSchedule {
    pub tenant: TenantId,
    pub spec: ScheduleSpec,
    pub expected: Expected,
}

#[derive(Debug, Clone)]
pub struct SavedSchedule {
    pub schedule: Schedule,
    pub change: Change,
}

#[derive(Debug, thiserror::Error)]
pub enum SaveScheduleError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such tenant")]
    UnknownTenant,
    #[error("no such schedule")]
    NotFound,
    #[error("the definition breaks a rule")]
    Invalid(Vec<Finding>),
    #[error(transparent)]
    TooMany(#[from] Exceeded),
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Stores a schedule after checking it. Its times count from now on, where they are new.
pub async fn save_schedule(
    app: &App,
    caller: &AuthorizationContext,
    request: SaveSchedule,
) -> Result<SavedSchedule, SaveScheduleError> {
    let SaveSchedule { tenant, spec, expected } = request;
    caller.require(Permission::WriteDefinitions, tenant)?;
    let all = app.ports.schedules.schedules(Some(tenant)).await?;
    let before = all.iter().find(|schedule| schedule.spec.name == spec.name);
    let findings = check(app, tenant, &spec, before).await?;
    if !findings.is_empty() {
        return Err(SaveScheduleError::Invalid(findings));
    }
    let bound = if before.is_none() {
        app.quotas.room_for_one(tenant, Setting::Schedules, all.len())?
    } else {
        None
    };
    store(app, caller, tenant, &spec, expected, (before, bound)).await
}

/// Lets a schedule fire nothing more, or go on. What would have been meanwhile is not made up for.
pub async fn switch_schedule(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
    is_active: bool,
) -> Result<SavedSchedule, SaveScheduleError> {
    caller.require(Permission::WriteDefinitions, tenant)?;
    let all = app.ports.schedules.schedules(Some(tenant)).await?;
    let before = all.iter().find(|schedule| schedule.spec.name.as_str() == name);
    let before = before.ok_or(SaveScheduleError::NotFound)?;
    let spec = ScheduleSpec { is_active, ..before.spec.clone() };
    let expected = Expected::Version(before.version);
    store(app, caller, tenant, &spec, expected, (Some(before), None)).await
}

/// Deletes a schedule. What it has started goes on.
pub async fn delete_schedule(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &ScheduleName,
    expected: Expected,
) -> Result<(), SaveScheduleError> {
    caller.require(Permission::WriteDefinitions, tenant)?;
    let all = app.ports.schedules.schedules(Some(tenant)).await?;
    let before = all.iter().find(|schedule| schedule.spec.name == *name);
    let act = act_on(app, caller, tenant, name, (before, None));
    let expected = over(expected, before);
    app.ports.schedules.delete_schedule(tenant, name, expected, Some(&act)).await?;
    app.schedules_changed.notify_one();
    Ok(())
}

async fn store(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    spec: &ScheduleSpec,
    expected: Expected,
    (before, bound): (Option<&Schedule>, Option<Bound>),
) -> Result<SavedSchedule, SaveScheduleError> {
    let now = app.ports.clock.now();
    let act = act_on(app, caller, tenant, &spec.name, (before, Some(spec))).within(bound);
    let expected = over(expected, before);
    let schedules = &app.ports.schedules;
    let schedule = schedules.save_schedule(tenant, spec, expected, now, Some(&act)).await?;
    app.schedules_changed.notify_one();
    let change = match before {
        None => Change::Created,
        Some(before) if before.version == schedule.version => Change::Unchanged,
        Some(_) => Change::Updated,
    };
    Ok(SavedSchedule { schedule, change })
}

/// Whoever takes what is there changes what was read. One that cannot be read is not listed, so that
/// nothing read does not mean that nothing is there.
fn over(expected: Expected, before: Option<&Schedule>) -> Expected {
    match (expected, before) {
        (Expected::Anything, Some(before)) => Expected::Version(before.version),
        (expected, _) => expected,
    }
}

/// What the audit says of a change of a schedule.
fn act_on(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &ScheduleName,
    (before, after): (Option<&Schedule>, Option<&ScheduleSpec>),
) -> Act {
    let kind = match (before, after) {
        (_, None) => ActKind::ScheduleDeleted,
        (None, Some(_)) => ActKind::ScheduleCreated,
        (Some(_), Some(_)) => ActKind::ScheduleUpdated,
    };
    app.act(caller, tenant, kind, format!("schedule:{name}"))
        .from(before.and_then(|before| serde_json::to_value(&before.spec).ok()))
        .to(after.and_then(|after| serde_json::to_value(after).ok()))
}

async fn check(
    app: &App,
    tenant: TenantId,
    spec: &ScheduleSpec,
    before: Option<&Schedule>,
) -> Result<Vec<Finding>, SaveScheduleError> {
    let mut findings = Vec::new();
    let mut find = |pointer: &str, message: String| {
        findings.push(Finding::new(FindingKind::Limit, pointer, message));
    };
    let definitions =
        current_definitions(app, tenant).await?.ok_or(SaveScheduleError::UnknownTenant)?;
    match &spec.target {
        Target::Action(action) if definitions.action_named(action.as_str()).is_none() => {
            find("/action", format!("there is no action {action}"));
        }
        Target::Event(_) if spec.overlap == Overlap::Skip => {
            let message = "an event may lead to any number of executions; only a schedule of an action can skip";
            find("/overlap", message.to_owned());
        }
        Target::Action(_) | Target::Event(_) => {}
    }
    if let Err(error) = Timetable::new(&spec.when) {
        let pointer = match &error {
            TimetableError::Zone { .. } => "/timezone",
            TimetableError::Interval { .. } => "/every_seconds",
            TimetableError::CronLength | TimetableError::Cron { .. } | TimetableError::Never => {
                "/cron"
            }
        };
        find(pointer, error.to_string());
    }
    // What has been fired may be saved again with its description changed.
    let is_new = before.is_none_or(|before| before.spec.when != spec.when);
    if let When::At(at) = &spec.when
        && is_new
        && *at <= app.ports.clock.now()
    {
        find("/at", "it has passed already".to_owned());
    }
    let bytes = spec.data.as_str().len();
    if bytes > SCHEDULE_DATA_BYTES_MAX {
        let max = SCHEDULE_DATA_BYTES_MAX;
        find("/data", format!("it has {bytes} bytes, allowed are {max}"));
    }
    let bytes = spec.description.as_ref().map_or(0, String::len);
    if bytes > SCHEDULE_DESCRIPTION_BYTES_MAX {
        let max = SCHEDULE_DESCRIPTION_BYTES_MAX;
        find("/description", format!("it has {bytes} bytes, allowed are {max}"));
    }
    Ok(findings)
}
