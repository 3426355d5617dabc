//! Starts what a schedule asks for: now, for times that have passed, or, as the node does it, for
//! a time that has come.

use actions_domain::Timestamp;
use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::event::Attributes;
use actions_domain::id::{EventId, ExecutionId, TenantId};
use actions_domain::limits::CATCH_UP_MAX;
use actions_domain::ports::store::StoreError;
use actions_domain::schedule::{Schedule, Target};
use chrono::TimeDelta;
use serde_json::json;

use crate::app::App;
use crate::commands::execute_action::{ExecuteAction, ExecuteActionError, execute_action};
use crate::commands::submit_event::{
    Idempotency, NewEvent, SubmitEvents, SubmitEventsError, submit_events,
};
use crate::queries::QueryError;
use crate::queries::schedules::find_schedule;
use crate::timetable::Timetable;

/// What one time of a schedule has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    pub at: Timestamp,
    /// It had been fired before; this is what became of it then.
    pub duplicate: bool,
    /// The event that was emitted.
    pub event: Option<EventId>,
    /// The job, or what the event has led to.
    pub executions: Vec<ExecutionId>,
}

#[derive(Debug, thiserror::Error)]
pub enum FireScheduleError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("`to` lies before `from`")]
    Range,
    #[error("the range has more than {max} times; ask for a shorter one", max = CATCH_UP_MAX)]
    TooMany,
    #[error("the stored times cannot be worked out; save the schedule again")]
    Unreadable,
    #[error(transparent)]
    Execute(#[from] ExecuteActionError),
    #[error(transparent)]
    Submit(#[from] SubmitEventsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

impl FireScheduleError {
    /// Whether trying again cannot help as long as nobody changes anything.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Execute(
                ExecuteActionError::Busy
                | ExecuteActionError::Ingress(_)
                | ExecuteActionError::Store(_),
            )
            | Self::Submit(
                SubmitEventsError::Busy
                | SubmitEventsError::Ingress(_)
                | SubmitEventsError::Store(_),
            )
            | Self::Query(QueryError::Store(_))
            | Self::Store(_) => false,
            Self::Forbidden(_)
            | Self::Query(_)
            | Self::Range
            | Self::TooMany
            | Self::Unreadable
            | Self::Execute(_)
            | Self::Submit(_) => true,
        }
    }
}

/// Starts what a schedule asks for once, now, beside its times.
pub async fn fire_schedule(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
) -> Result<Fired, FireScheduleError> {
    caller.require(Permission::Execute, tenant)?;
    let schedule = find_schedule(app, caller, tenant, name).await?.schedule;
    let act = app.act(caller, tenant, ActKind::ScheduleFired, format!("schedule:{name}"));
    app.ports.audit.record_act(&act).await?;
    fire(app, caller, &schedule, app.ports.clock.now(), None).await
}

/// Starts what a schedule asks for at each of its times from `from` and before `to`. What was fired
/// less than a day ago is not fired again.
pub async fn backfill_schedule(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Fired>, FireScheduleError> {
    caller.require(Permission::Execute, tenant)?;
    if to < from {
        return Err(FireScheduleError::Range);
    }
    let schedule = find_schedule(app, caller, tenant, name).await?.schedule;
    let times = Timetable::new(&schedule.spec.when).map_err(|_| FireScheduleError::Unreadable)?;
    let first = from.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(from);
    let times = std::iter::successors(times.after(first), |at| times.after(*at));
    let times: Vec<_> = times.take_while(|at| *at < to).take(CATCH_UP_MAX + 1).collect();
    if times.len() > CATCH_UP_MAX {
        return Err(FireScheduleError::TooMany);
    }
    let act = app
        .act(caller, tenant, ActKind::ScheduleBackfilled, format!("schedule:{name}"))
        .to(json!({ "from": from, "to": to, "times": times.len() }));
    app.ports.audit.record_act(&act).await?;
    let mut fired = Vec::with_capacity(times.len());
    for at in times {
        fired.push(fire_time(app, caller, &schedule, at).await?);
    }
    Ok(fired)
}

/// Starts what a schedule asks for at one of its times, once, however often this is called within
/// a day.
pub(crate) async fn fire_time(
    app: &App,
    caller: &AuthorizationContext,
    schedule: &Schedule,
    at: Timestamp,
) -> Result<Fired, FireScheduleError> {
    let Schedule { tenant, spec, .. } = schedule;
    let key = format!("schedule/{tenant}/{}/{}", spec.name, at.timestamp_micros());
    // No body: an edit between two tries must not make them differ.
    fire(app, caller, schedule, at, Some(Idempotency::new("schedule", &key, &[]))).await
}

async fn fire(
    app: &App,
    caller: &AuthorizationContext,
    schedule: &Schedule,
    at: Timestamp,
    idempotency: Option<Idempotency>,
) -> Result<Fired, FireScheduleError> {
    let (tenant, spec) = (schedule.tenant, &schedule.spec);
    match &spec.target {
        Target::Action(action) => {
            let request = ExecuteAction {
                tenant,
                action: action.to_string(),
                input: spec.data.clone(),
                priority: None,
                delay: None,
                idempotency,
            };
            let job = execute_action(app, caller, request).await?;
            let executions = vec![job.execution];
            Ok(Fired { at, duplicate: job.duplicate, event: None, executions })
        }
        Target::Event(event_type) => {
            let event = NewEvent {
                event_type: event_type.clone(),
                source: Some(format!("schedule:{}", spec.name)),
                external_id: None,
                data: spec.data.clone(),
                attributes: Attributes { time: Some(at), ..Attributes::default() },
                delay: None,
            };
            let request = SubmitEvents { tenant, events: vec![event], idempotency };
            let accepted = submit_events(app, caller, request).await?;
            let event = accepted.first().map(|accepted| accepted.event);
            let duplicate = accepted.iter().any(|accepted| accepted.duplicate);
            let executions = accepted.iter().flat_map(|accepted| &accepted.executions);
            let executions = executions.map(|accepted| accepted.execution).collect();
            Ok(Fired { at, duplicate, event, executions })
        }
    }
}
