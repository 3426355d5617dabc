//! Executions, finished or not. What is running is known to its owner only, so the answers of
//! the store are completed with what this node runs.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::action::Action;
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::dispatch::Waiting;
use actions_domain::event::Event;
use actions_domain::execution::report::Report;
use actions_domain::execution::{ErrorClass, Execution, Status};
use actions_domain::id::{EventId, ExecutionId, TenantId};
use actions_domain::ports::history::ExecutionQuery;

use crate::app::App;
use crate::commands::submit_event::{YieldedExecution, yields_of};
use crate::filter::{Fact, Filter, FilterError};
use crate::queries::scan::{Page, Scan, Step};
use crate::queries::{QueryError, definitions_of};

/// The fields that a filter of executions may name.
pub const FIELDS: [&str; 12] = [
    "status",
    "action",
    "action_type",
    "handler",
    "event",
    "parent",
    "priority",
    "attempts",
    "error",
    "class",
    "key",
    "duration_ms",
];

/// How long a waiter goes without asking the history: an execution may end on another node.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Which executions to list.
#[derive(Debug, Clone)]
pub struct ExecutionList {
    pub tenant: TenantId,
    pub filter: Filter,
    pub before: Option<ExecutionId>,
    pub limit: u32,
}

/// Finds an execution with its attempts.
pub async fn find_execution(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: ExecutionId,
) -> Result<Execution, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let found = app.ports.history.find_execution(tenant, id).await?;
    let mut execution = found.ok_or(QueryError::NotFound { what: "execution" })?;
    complete(app, &mut execution).await;
    Ok(execution)
}

/// What the attempts of an unfinished execution have told last: by the second where it runs on
/// this node, else as it was written down.
pub async fn report_of(
    app: &App,
    caller: &AuthorizationContext,
    execution: &Execution,
) -> Result<Option<Report>, QueryError> {
    app.require(caller, Permission::ReadExecutions, execution.tenant).await?;
    if execution.status.is_final() {
        return Ok(None);
    }
    match app.live.report(execution.id) {
        Some(report) => Ok(Some(report)),
        None => Ok(app.ports.store.report(execution.id).await?),
    }
}

/// What gathers in an execution, or has gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// How many are together, its own event or job among them.
    pub size: usize,
    /// Their events, in the order in which they were accepted.
    pub events: Vec<EventId>,
}

/// What gathers in an execution, or has gathered. `None`: its action gathers nothing.
pub async fn batch_of(
    app: &App,
    caller: &AuthorizationContext,
    execution: &Execution,
) -> Result<Option<Batch>, QueryError> {
    app.require(caller, Permission::ReadExecutions, execution.tenant).await?;
    let Execution { tenant, id, action, defs, .. } = *execution;
    // What repeats a batch is one, whatever its action says since.
    if execution.parent.is_none() {
        let action = app.catalogue.pinned_action(tenant, action, defs).await?;
        if action.is_none_or(|action| action.spec.batch.is_none()) {
            return Ok(None);
        }
    }
    let members = app.ports.history.members_of(tenant, id).await?;
    if execution.parent.is_some() && members.is_empty() {
        return Ok(None);
    }
    let size = members.len() + 1;
    let events = std::iter::once(execution.event).chain(members).flatten().collect();
    Ok(Some(Batch { size, events }))
}

/// Lists executions, newest first.
pub async fn list_executions(
    app: &App,
    caller: &AuthorizationContext,
    list: ExecutionList,
) -> Result<Page<Execution, ExecutionId>, QueryError> {
    app.require(caller, Permission::ReadExecutions, list.tenant).await?;
    let definitions = definitions_of(app, list.tenant)?;
    let mut filter = list.filter.compile(&FIELDS, app.ports.clock.now())?;
    for word in filter.values("status").filter(|word| !word.contains('*')) {
        if Status::from_word(word).is_none() {
            let expected = "a status like completed or failed";
            let (field, value) = ("status".to_owned(), word.to_owned());
            return Err(FilterError::Value { field, value, expected }.into());
        }
    }
    // What runs is stored as pending or retrying, so the status is asked again of each.
    let statuses = stored_statuses(&filter.clone().take("status").unwrap_or_default());
    let mut action = None;
    if let Some([name]) = filter.clone().take("action").as_deref()
        && let Some(known) = definitions.action_named(name)
    {
        filter.take("action");
        action = Some(known.id);
    }
    let mut scan = Scan::new(list.limit, list.before, filter.is_selective());
    loop {
        let query = ExecutionQuery {
            tenant: list.tenant,
            action,
            statuses: statuses.clone(),
            before: scan.before(),
            limit: scan.page(),
        };
        let mut found = app.ports.history.list_executions(query).await?;
        for execution in &mut found {
            complete(app, execution).await;
        }
        let keeps = |execution: &Execution| {
            let action = definitions.action(execution.action);
            filter.holds(execution.queued_at, |field| fact(execution, action.as_deref(), field))
        };
        // An id's time is never before the time at which it was queued.
        let is_over = |execution: &Execution| {
            filter.since.is_some_and(|since| is_before(execution.id, since))
        };
        match scan.take(found, |execution| execution.id, is_over, keeps) {
            Step::Read(next) => scan = next,
            Step::Done(page) => return Ok(page),
        }
    }
}

/// What one event matched without an execution, because another one is the only one.
pub async fn yields_of_event(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    event: EventId,
) -> Result<Vec<YieldedExecution>, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    Ok(yields_of(app, tenant, event).await?)
}

/// The executions of one event, oldest first.
pub async fn executions_of_event(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    event: EventId,
) -> Result<Vec<Execution>, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let mut found = app.ports.history.executions_of_event(tenant, event).await?;
    for execution in &mut found {
        complete(app, execution).await;
    }
    Ok(found)
}

/// The event of an execution, when it has one.
pub async fn event_of(
    app: &App,
    caller: &AuthorizationContext,
    execution: &Execution,
) -> Result<Option<Event>, QueryError> {
    app.require(caller, Permission::ReadExecutions, execution.tenant).await?;
    match execution.event {
        Some(event) => Ok(app.ports.history.find_event(execution.tenant, event).await?),
        None => Ok(None),
    }
}

/// The action that an execution runs with: as it was when the execution was accepted.
pub async fn action_of(
    app: &App,
    caller: &AuthorizationContext,
    execution: &Execution,
) -> Result<Option<Arc<Action>>, QueryError> {
    app.require(caller, Permission::ReadExecutions, execution.tenant).await?;
    let Execution { tenant, action, defs, .. } = *execution;
    Ok(app.catalogue.pinned_action(tenant, action, defs).await?)
}

/// Waits until all of the executions have ended, at most for `timeout`, and answers them as
/// they are then, in the order asked for.
pub async fn wait_for(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    executions: &[ExecutionId],
    timeout: Duration,
) -> Result<Vec<Execution>, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let watch = app.completions.watch(executions);
    let begun_at = app.ports.clock.now();
    let mut known: Vec<Option<Execution>> = vec![None; executions.len()];
    loop {
        for (place, id) in known.iter_mut().zip(executions) {
            if !place.as_ref().is_some_and(|execution| execution.status.is_final()) {
                *place = app.ports.history.find_execution(tenant, *id).await?;
            }
        }
        let is_open = known.iter().flatten().any(|execution| !execution.status.is_final());
        let passed = (app.ports.clock.now() - begun_at).to_std().unwrap_or_default();
        if !is_open || passed >= timeout {
            let mut executions: Vec<_> = known.into_iter().flatten().collect();
            for execution in &mut executions {
                complete(app, execution).await;
            }
            return Ok(executions);
        }
        tokio::select! {
            () = watch.changed() => {}
            () = app.ports.clock.sleep(ASK_AGAIN.min(timeout.saturating_sub(passed))) => {}
        }
        // They may have been told no meanwhile.
        app.require(caller, Permission::ReadExecutions, tenant).await?;
    }
}

/// Says that an execution is running when this node runs it.
async fn complete(app: &App, execution: &mut Execution) {
    if execution.status.is_final() {
        return;
    }
    if let Some(Waiting::Running { .. }) = app.live.waiting(execution.id).await {
        execution.status = Status::Running;
        execution.due_at = None;
    }
}

/// Whether an id was made before this instant.
fn is_before(id: ExecutionId, at: Timestamp) -> bool {
    id < ExecutionId::mint(at, [0; 10])
}

/// What to ask the store for: what it does not know as running, it knows as pending or retrying.
fn stored_statuses(words: &[String]) -> Vec<Status> {
    let mut statuses: Vec<Status> =
        words.iter().filter_map(|word| Status::from_word(word)).collect();
    if statuses.contains(&Status::Running) {
        for status in [Status::Pending, Status::Retrying] {
            if !statuses.contains(&status) {
                statuses.push(status);
            }
        }
    }
    statuses
}

fn fact<'a>(execution: &'a Execution, action: Option<&Action>, field: &str) -> Fact<'a> {
    let of_action = |text: fn(&Action) -> String| Fact::maybe(action.map(text));
    match field {
        "status" => Fact::text(execution.status.word()),
        "action" => of_action(|action| action.spec.name.to_string()),
        "action_type" => of_action(|action| word_of(&action.spec.action_type)),
        "handler" => of_action(|action| action.spec.handler.to_string()),
        "event" => Fact::maybe(execution.event.map(|event| event.to_string())),
        "parent" => Fact::maybe(execution.parent.map(|parent| parent.to_string())),
        "priority" => Fact::text(word_of(&execution.priority)),
        "attempts" => Fact::count(execution.attempts.len()),
        "error" => Fact::maybe(execution.error.as_ref().map(|fault| fault.code.as_str())),
        "class" => Fact::maybe(execution.error.as_ref().map(|fault| class_word(fault.class))),
        "key" => Fact::maybe(execution.key.as_ref().map(|key| key.name.as_ref())),
        "duration_ms" => duration_ms(execution).map_or(Fact::Absent, Fact::Number),
        _ => Fact::Absent,
    }
}

/// From the first start to the end.
fn duration_ms(execution: &Execution) -> Option<f64> {
    let lasted = execution.ended_at? - execution.started_at?;
    u32::try_from(lasted.num_milliseconds()).ok().map(f64::from)
}

/// The word that an enum is written as.
pub(crate) fn word_of<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default()
}

pub(crate) fn class_word(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Timeout => "timeout",
        ErrorClass::SystemError => "system_error",
        ErrorClass::HandlerError => "handler_error",
    }
}
