//! `…/executions`

use std::sync::Arc;

use actions_app::commands::cancel_execution::{CancelExecution, cancel_execution};
use actions_app::queries::executions::{
    Batch, ExecutionList, action_of, batch_of, event_of, find_execution, list_executions, report_of,
};
use actions_app::queries::runs::run_of;
use actions_app::queries::timeline::{Entry, text, timeline};
use actions_app::queries::why::why;
use actions_domain::execution::report::Report;
use actions_domain::execution::{Attempt, AttemptOutcome, Cause, ErrorClass, Execution, Fault};
use actions_domain::execution::{Priority, Status};
use actions_domain::id::ExecutionId;
use actions_domain::json::Json;
use actions_domain::work::KeyMode;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Caller;
use crate::extract::Segments;
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::Problem;
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(attempts))
        .routes(routes!(show_timeline))
        .routes(routes!(show_why))
        .routes(routes!(cancel))
}

/// One run of an action.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExecutionView {
    id: Uuid,
    /// The action's name. Missing when the action was deleted long ago.
    action: Option<String>,
    /// The event that caused it. A job has none.
    event_id: Option<Uuid>,
    /// The dead execution that it repeats.
    parent_id: Option<Uuid>,
    #[schema(value_type = String, examples("completed"))]
    status: Status,
    #[schema(value_type = String, examples("normal"))]
    priority: Priority,
    /// The affinity key that it takes.
    key: Option<KeyView>,
    /// The definitions' version that it runs with.
    definitions_version: i64,
    queued_at: Time,
    /// When the next attempt may start, while it waits for a time.
    due_at: Option<Time>,
    started_at: Option<Time>,
    ended_at: Option<Time>,
    /// From the first start to the end.
    duration_ms: Option<i64>,
    /// From the acceptance to the first start.
    queue_wait_ms: Option<i64>,
    attempt_count: usize,
    /// A job's input. An event's execution has the event's data. Left out of lists above
    /// `listed_bytes` of `GET /v1/limits`.
    #[schema(value_type = Option<Object>)]
    input: Option<Json>,
    /// The size of the input, also where it is left out.
    input_bytes: Option<usize>,
    /// Left out of lists like the input.
    #[schema(value_type = Option<Object>)]
    output: Option<Json>,
    /// The size of the output, also where it is left out.
    output_bytes: Option<usize>,
    /// Why it failed, or why its last attempt did while it waits for the next.
    error: Option<FaultView>,
    /// The run whose step it performs. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<StepOfView>,
    /// What its attempts have told, while it is not over. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<ReportView>,
    /// What gathers in it, or has gathered. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<BatchView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptView>>,
}

/// A step of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepOfView {
    id: Uuid,
    step: String,
}

/// What an execution runs with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchView {
    /// How many are together, its own event or job among them.
    size: usize,
    /// Their events, in the order in which they were accepted. Jobs have none.
    events: Vec<Uuid>,
}

/// What a running attempt told of itself last, or what the one before has left.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportView {
    /// The attempt's number.
    attempt: u32,
    told_at: Time,
    /// How much is done, from 0 to 1.
    progress: Option<f64>,
    note: Option<String>,
    /// Where the next attempt goes on.
    #[schema(value_type = Option<Object>)]
    checkpoint: Option<Json>,
}

/// What an execution excludes others from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    name: String,
    #[schema(value_type = String, examples("mutate"))]
    mode: KeyMode,
}

/// One call of a handler.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// From 1.
    number: u32,
    /// The start of the process that made it.
    node: i32,
    epoch: i64,
    /// `first`, `retry`, `timeout`, `lease_lost` or `replay`.
    #[schema(value_type = String)]
    cause: Cause,
    /// The epoch whose owner may have started this before.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_epoch: Option<i64>,
    started_at: Time,
    ended_at: Time,
    duration_ms: i64,
    /// `completed`, `failed`, `timeout`, `cancelled`, `lost` or `unknown`.
    #[schema(value_type = String)]
    outcome: AttemptOutcome,
    error: Option<FaultView>,
    cpu_ms: Option<u64>,
    memory_mb: Option<u64>,
}

/// Why an attempt failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FaultView {
    /// `timeout`, `system_error` or `handler_error`.
    #[schema(value_type = String)]
    class: ErrorClass,
    /// `area.reason`, stable.
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    details: Option<Value>,
    /// The other side asked not to be called earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// Something that happened to an execution or a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryView {
    at: Time,
    subject: String,
    text: String,
}

/// The life of an execution or a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineView {
    pub(crate) items: Vec<EntryView>,
    /// The same for a terminal.
    pub(crate) text: String,
}

/// All attempts of an execution.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptsView {
    items: Vec<AttemptView>,
}

/// What an execution waits for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhyView {
    id: Uuid,
    #[schema(value_type = String)]
    status: Status,
    /// `time`, `key`, `concurrency`, `rate`, `resume`, `slot`, `node`, `running` or `ended`.
    waits_for: &'static str,
    because: String,
    /// The setting that causes it.
    setting: Option<String>,
    until: Option<Time>,
    /// Who holds the key.
    holder: Option<Uuid>,
}

/// An execution that was asked to end.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CancelView {
    id: Uuid,
    /// `requested`: its owner decides, at the latest when the running attempt ends.
    cancellation: &'static str,
}

impl ExecutionView {
    /// As a list shows it: without attempts.
    pub(crate) fn brief(api: &Api, execution: &Execution) -> Self {
        Self { attempts: None, ..Self::full(api, execution) }
    }

    pub(crate) fn full(api: &Api, execution: &Execution) -> Self {
        let millis = |from, to| match (from, to) {
            (Some(from), Some(to)) => {
                let lasted: chrono::TimeDelta = to - from;
                Some(lasted.num_milliseconds().max(0))
            }
            _ => None,
        };
        let Execution { started_at, ended_at, queued_at, .. } = *execution;
        Self {
            id: execution.id.0,
            action: action_name(api, execution),
            event_id: execution.event.map(|event| event.0),
            parent_id: execution.parent.map(|parent| parent.0),
            status: execution.status,
            priority: execution.priority,
            key: execution
                .key
                .as_ref()
                .map(|key| KeyView { name: key.name.to_string(), mode: key.mode }),
            definitions_version: execution.defs,
            queued_at: queued_at.into(),
            due_at: execution.due_at.map(Time),
            started_at: started_at.map(Time),
            ended_at: ended_at.map(Time),
            duration_ms: millis(started_at, ended_at),
            queue_wait_ms: millis(Some(queued_at), started_at),
            attempt_count: execution.attempts.len(),
            input: execution.input.clone(),
            input_bytes: bytes(execution.input.as_ref(), execution.left_out.input),
            output: execution.output.clone(),
            output_bytes: bytes(execution.output.as_ref(), execution.left_out.output),
            error: error_of(execution).map(FaultView::from),
            run: None,
            report: None,
            batch: None,
            attempts: Some(execution.attempts.iter().map(AttemptView::from).collect()),
        }
    }
}

impl From<Batch> for BatchView {
    fn from(Batch { size, events }: Batch) -> Self {
        Self { size, events: events.into_iter().map(|event| event.0).collect() }
    }
}

impl From<Report> for ReportView {
    fn from(report: Report) -> Self {
        let Report { attempt, told_at, progress, note, checkpoint } = report;
        Self { attempt, told_at: told_at.into(), progress, note, checkpoint }
    }
}

fn error_of(execution: &Execution) -> Option<&Fault> {
    let last = || execution.attempts.last().filter(|_| !execution.status.is_final());
    execution.error.as_ref().or_else(|| last()?.error.as_ref())
}

fn bytes(payload: Option<&Json>, left_out: Option<usize>) -> Option<usize> {
    payload.map(|payload| payload.as_str().len()).or(left_out)
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            node: attempt.node.0,
            epoch: attempt.epoch.0,
            cause: attempt.cause,
            lost_epoch: attempt.lost_epoch.map(|epoch| epoch.0),
            started_at: attempt.started_at.into(),
            ended_at: attempt.ended_at.into(),
            duration_ms: (attempt.ended_at - attempt.started_at).num_milliseconds().max(0),
            outcome: attempt.outcome,
            error: attempt.error.as_ref().map(FaultView::from),
            cpu_ms: attempt.cpu_ms,
            memory_mb: attempt.memory_mb,
        }
    }
}

impl From<&Fault> for FaultView {
    fn from(fault: &Fault) -> Self {
        Self {
            class: fault.class,
            code: fault.code.clone(),
            message: fault.message.clone(),
            details: fault.details.clone(),
            retry_after_ms: fault.retry_after_ms,
        }
    }
}

impl From<&Entry> for EntryView {
    fn from(entry: &Entry) -> Self {
        let Entry { at, subject, text } = entry.clone();
        Self { at: at.into(), subject, text }
    }
}

/// Which execution.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct ExecutionPath {
    /// The execution's id.
    #[param(value_type = Uuid)]
    execution: ExecutionId,
}

/// Lists executions, newest first.
///
/// Fields of the filter: status, action, `action_type`, handler, event, parent, priority,
/// attempts, error, class, key, `duration_ms`, since, until.
#[utoipa::path(get, path = "/executions", tag = "executions", operation_id = "list_executions",
    params(ListParams), responses((status = 200, body = PageView<ExecutionView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    answer_list(&api, &caller, query).await
}

/// Lists the executions that a query's filter lets pass.
pub(crate) async fn answer_list(
    api: &Api,
    caller: &Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    let list = ExecutionList {
        tenant: caller.tenant,
        before: query.place(caller.slug())?,
        limit: query.limit,
        filter: query.filter.clone(),
    };
    let page = list_executions(&api.app, &caller.authorization, list).await?;
    let items = page.items.iter().map(|execution| ExecutionView::brief(api, execution)).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Shows an execution with its attempts.
#[utoipa::path(get, path = "/executions/{execution}", tag = "executions",
    operation_id = "get_execution", params(ExecutionPath),
    responses((status = 200, body = ExecutionView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ExecutionPath>,
) -> Result<Response, Problem> {
    let execution = find(&api, &caller, path.execution).await?;
    let report = report_of(&api.app, &caller.authorization, &execution).await?;
    let report = report.map(ReportView::from);
    let batch = batch_of(&api.app, &caller.authorization, &execution).await?.map(BatchView::from);
    let run = run_of(&api.app, &caller.authorization, caller.tenant, execution.id).await?;
    let run = run.map(|(run, step)| StepOfView { id: run.0, step });
    Ok(json(&ExecutionView { run, report, batch, ..ExecutionView::full(&api, &execution) }))
}

/// Lists the attempts of an execution, oldest first.
#[utoipa::path(get, path = "/executions/{execution}/attempts", tag = "executions",
    operation_id = "list_attempts", params(ExecutionPath),
    responses((status = 200, body = AttemptsView)))]
async fn attempts(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ExecutionPath>,
) -> Result<Response, Problem> {
    let execution = find(&api, &caller, path.execution).await?;
    Ok(json(&AttemptsView { items: execution.attempts.iter().map(AttemptView::from).collect() }))
}

/// Tells the life of an execution, oldest first. With `Accept: text/plain`, as text.
#[utoipa::path(get, path = "/executions/{execution}/timeline", tag = "executions",
    operation_id = "get_execution_timeline", params(ExecutionPath),
    responses((status = 200, body = TimelineView)))]
async fn show_timeline(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ExecutionPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let execution = find(&api, &caller, path.execution).await?;
    let event = event_of(&api.app, &caller.authorization, &execution).await?;
    let action = action_of(&api.app, &caller.authorization, &execution).await?;
    let name = action.map_or_else(|| "an action".to_owned(), |action| action.spec.name.to_string());
    let entries = timeline(&execution, event.as_ref(), &name);
    let text = text(&entries);
    let wants_text = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.starts_with("text/plain"));
    if wants_text {
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    let items = entries.iter().map(EntryView::from).collect();
    Ok(json(&TimelineView { items, text }))
}

/// Says what an execution waits for, or how it ended.
#[utoipa::path(get, path = "/executions/{execution}/why", tag = "executions",
    operation_id = "get_execution_why", params(ExecutionPath),
    responses((status = 200, body = WhyView)))]
async fn show_why(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ExecutionPath>,
) -> Result<Response, Problem> {
    let execution = find(&api, &caller, path.execution).await?;
    let why = why(&api.app, &caller.authorization, &execution).await?;
    Ok(json(&WhyView {
        id: execution.id.0,
        status: execution.status,
        waits_for: why.waits_for,
        because: why.because,
        setting: why.setting,
        until: why.until.map(Time),
        holder: why.holder.map(|holder| holder.0),
    }))
}

/// Asks for an execution to be cancelled.
#[utoipa::path(post, path = "/executions/{execution}/~cancel", tag = "executions",
    operation_id = "cancel_execution", params(ExecutionPath),
    responses((status = 202, body = CancelView)))]
async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ExecutionPath>,
) -> Result<Response, Problem> {
    let request = CancelExecution { tenant: caller.tenant, execution: path.execution };
    cancel_execution(&api.app, &caller.authorization, request).await?;
    let view = CancelView { id: path.execution.0, cancellation: "requested" };
    Ok((StatusCode::ACCEPTED, json(&view)).into_response())
}

async fn find(api: &Api, caller: &Caller, id: ExecutionId) -> Result<Execution, Problem> {
    Ok(find_execution(&api.app, &caller.authorization, caller.tenant, id).await?)
}

/// The action's name as it is now.
pub(crate) fn action_name(api: &Api, execution: &Execution) -> Option<String> {
    let definitions = api.app.catalogue.find(execution.tenant)?;
    let action: Arc<_> = definitions.action(execution.action)?;
    Some(action.spec.name.to_string())
}
