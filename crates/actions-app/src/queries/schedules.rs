//! Schedules and their coming times.

use actions_domain::Timestamp;
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::TenantId;
use actions_domain::schedule::Schedule;

use crate::app::App;
use crate::queries::QueryError;
use crate::queries::scan::Page;
use crate::timetable::Timetable;

/// A schedule with its next time.
#[derive(Debug, Clone)]
pub struct ShownSchedule {
    pub schedule: Schedule,
    /// `None`: it is paused, or there is none.
    pub next_at: Option<Timestamp>,
}

impl ShownSchedule {
    pub fn of(app: &App, schedule: Schedule) -> Self {
        let now = app.ports.clock.now();
        let times = Some(&schedule.spec).filter(|spec| spec.is_active);
        let times = times.and_then(|spec| Timetable::new(&spec.when).ok());
        // A time that has come and is not handled yet is the next one, too.
        let from = schedule.progress.handled_until.min(now);
        let coming = |times: Timetable| {
            let pending = times.after(from)?;
            if pending > now { Some(pending) } else { times.after(now).or(Some(pending)) }
        };
        let next_at = times.and_then(coming);
        Self { schedule, next_at }
    }
}

/// Lists schedules by name.
pub async fn list_schedules(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Page<ShownSchedule, String>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let all = app.ports.schedules.schedules(Some(tenant)).await?;
    let name = |schedule: &Schedule| schedule.spec.name.to_string();
    let is_wanted =
        |schedule: &Schedule| after.as_ref().is_none_or(|after| name(schedule) > *after);
    let mut rest = all.into_iter().filter(is_wanted);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let items: Vec<_> =
        rest.by_ref().take(limit).map(|schedule| ShownSchedule::of(app, schedule)).collect();
    let last = items.last().map(|shown| name(&shown.schedule));
    let next = rest.next().and(last);
    Ok(Page { items, next })
}

/// Finds a schedule by its name.
pub async fn find_schedule(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
) -> Result<ShownSchedule, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let mut all = app.ports.schedules.schedules(Some(tenant)).await?.into_iter();
    let found = all.find(|schedule| schedule.spec.name.as_str() == name);
    let found = found.ok_or(QueryError::NotFound { what: "schedule" })?;
    Ok(ShownSchedule::of(app, found))
}

/// The coming times of a schedule, also of one that is paused.
pub async fn next_times(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
    count: usize,
) -> Result<Vec<Timestamp>, QueryError> {
    let found = find_schedule(app, caller, tenant, name).await?.schedule;
    let Ok(times) = Timetable::new(&found.spec.when) else { return Ok(Vec::new()) };
    let first = times.after(app.ports.clock.now());
    Ok(std::iter::successors(first, |at| times.after(*at)).take(count).collect())
}
