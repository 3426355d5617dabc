//! `…/runs`

use std::collections::BTreeMap;

use actions_app::commands::tell_run::{TellRun, tell_run};
use actions_app::queries::run_timeline::run_timeline;
use actions_app::queries::runs::{ReadRun, RunList, find_run, journal, list_runs};
use actions_app::queries::timeline::text;
use actions_domain::flow::graph::StepName;
use actions_domain::flow::journal::Entry;
use actions_domain::flow::record::{RunRecord, RunStatus};
use actions_domain::flow::run::{CallKind, Phase};
use actions_domain::flow::told::Told;
use actions_domain::id::RunId;
use actions_domain::json::Json;
use actions_domain::limits::BODY_BYTES_MAX;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{JsonBody, OptionalBody, checked, decode_raw, read, require_json};
use crate::caller::Caller;
use crate::extract::Segments;
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{FieldError, Problem, RUN_INVALID};
use crate::routes::Api;
use crate::routes::executions::{EntryView, TimelineView};
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(show_journal))
        .routes(routes!(show_timeline))
        .routes(routes!(signal))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel))
        .routes(routes!(retry))
}

/// A run of a workflow, as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunSummary {
    id: Uuid,
    /// The name of its workflow.
    workflow: String,
    /// The tenant's version of definitions that it follows.
    definitions_version: i64,
    /// `pending`, `running`, `paused`, `stopping`, `completed`, `failed` or `cancelled`.
    #[schema(value_type = String, examples("running"))]
    status: RunStatus,
    /// The run that started it.
    parent_id: Option<Uuid>,
    started_at: Time,
    updated_at: Time,
    ended_at: Option<Time>,
    /// From the start to the end.
    duration_ms: Option<i64>,
    /// Entries of its journal.
    entry_count: u32,
    /// Why it failed, or stops.
    error: Option<String>,
    /// It had been started before, and is the same run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) duplicate: bool,
}

/// A run with its steps.
#[derive(Debug, Serialize, ToSchema)]
struct RunView {
    #[serde(flatten)]
    summary: RunSummary,
    /// BLAKE3 of what its workflow says.
    digest: Option<String>,
    #[schema(value_type = Object)]
    input: Json,
    /// Of a run that is completed.
    #[schema(value_type = Option<Object>)]
    output: Option<Json>,
    /// What its steps have put there.
    #[schema(value_type = Object)]
    context: BTreeMap<String, Json>,
    steps: Vec<RunStepView>,
    /// What it waits for.
    waits_for: Vec<WaitView>,
}

/// A step of a run.
#[derive(Debug, Serialize, ToSchema)]
struct RunStepView {
    name: String,
    /// `waiting`, `open`, `completed`, `failed`, `skipped` or `cancelled`.
    status: &'static str,
    /// The last execution that it made.
    execution: Option<Uuid>,
    #[schema(value_type = Option<Object>)]
    output: Option<Json>,
    error: Option<String>,
}

/// Something that a run waits for.
#[derive(Debug, Serialize, ToSchema)]
struct WaitView {
    step: String,
    /// The item of a step that has many.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<u32>,
    /// `execution`, `run`, `timer`, `signal`, `retry` or `compensation`.
    what: &'static str,
    /// The name of the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    attempt: u32,
    due_at: Option<Time>,
}

/// An entry of a run's journal.
#[derive(Debug, Serialize, ToSchema)]
struct JournalEntryView {
    /// From 0.
    number: u32,
    at: Time,
    /// `RunStarted`, `StepScheduled` …
    entry: String,
    #[schema(value_type = Object)]
    data: Value,
}

/// A run that was told something. Its owner takes it in its turn.
#[derive(Debug, Serialize, ToSchema)]
struct ToldView {
    id: Uuid,
    told: &'static str,
}

/// A signal.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "approved", "payload": {"by": "ada"}}))]
struct SignalBody {
    name: String,
    /// A signal that is sent again with the same id counts once.
    id: Option<String>,
    #[serde(default = "Json::null")]
    #[schema(value_type = Object)]
    payload: Json,
}

/// Why a run is paused.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PauseBody {
    reason: Option<String>,
}

/// How a run is cancelled.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    reason: Option<String>,
    /// Whether what was done is undone.
    #[serde(default)]
    compensate: bool,
}

/// Where a run begins again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RetryBody {
    /// It and all that comes after it run again, and what failed.
    step: String,
}

/// Which run.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct RunPath {
    /// The run's id.
    #[param(value_type = String)]
    run: RunId,
}

impl From<&RunRecord> for RunSummary {
    fn from(record: &RunRecord) -> Self {
        let RunRecord { state, .. } = record;
        let lasted = state.ended_at.map(|ended_at| ended_at - record.started_at);
        Self {
            id: record.id.0,
            workflow: record.name.clone(),
            definitions_version: record.workflow.defs,
            status: state.status,
            parent_id: record.parent.map(|parent| parent.run.0),
            started_at: record.started_at.into(),
            updated_at: state.updated_at.into(),
            ended_at: state.ended_at.map(Time),
            duration_ms: lasted.map(|lasted| lasted.num_milliseconds().max(0)),
            entry_count: state.entry_count,
            error: state.error.clone(),
            duplicate: false,
        }
    }
}

impl From<&ReadRun> for RunView {
    fn from(read: &ReadRun) -> Self {
        let run = &read.run;
        let mut output = None;
        if let Phase::Completed { output: made } = run.phase() {
            output = Some(made.clone());
        }
        let context = run.context().map(|(key, value)| (key.to_owned(), value.clone()));
        Self {
            summary: RunSummary::from(&read.record),
            digest: run.flow().map(|digest| digest.to_string()),
            input: run.input().clone(),
            output,
            context: context.collect(),
            steps: steps_of(read),
            waits_for: waits_of(read),
        }
    }
}

/// In the order of the workflow; without one, those that something has happened to.
fn steps_of(read: &ReadRun) -> Vec<RunStepView> {
    let executions = read.executions();
    let view = |name: &StepName| RunStepView {
        name: name.to_string(),
        status: read.run.status(name).word(),
        execution: executions.get(name.as_str()).map(|id| id.0),
        output: read.run.output_of(name).cloned(),
        error: read.run.fault_of(name).map(|fault| fault.message.clone()),
    };
    match &read.flow {
        Some(flow) => flow.order().into_iter().map(view).collect(),
        None => read.run.steps().map(|(name, _)| view(name)).collect(),
    }
}

fn waits_of(read: &ReadRun) -> Vec<WaitView> {
    let signal_of = |step: &StepName| {
        let step = read.flow.as_ref()?.step(step)?;
        step.does.as_signal().map(str::to_owned)
    };
    let calls = read.run.calls().map(|(_, call)| WaitView {
        step: call.place.step.to_string(),
        item: call.place.item,
        what: match call.kind {
            CallKind::Execution => "execution",
            CallKind::Child => "run",
            CallKind::Timer => "timer",
            CallKind::Signal => "signal",
            CallKind::Retry { .. } => "retry",
            CallKind::Compensation => "compensation",
        },
        signal: signal_of(&call.place.step).filter(|_| call.kind == CallKind::Signal),
        attempt: call.attempt,
        due_at: call.due_at.map(Time),
    });
    calls.collect()
}

impl JournalEntryView {
    fn new(number: u32, entry: &Entry) -> Self {
        let what = serde_json::to_value(&entry.what).unwrap_or_default();
        let (name, data) = match what {
            Value::Object(members) => members.into_iter().next().unwrap_or_default(),
            Value::String(name) => (name, Value::Null),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Default::default(),
        };
        Self { number, at: entry.at.into(), entry: name, data }
    }
}

/// Lists runs, newest first. Fields of the filter: status, workflow, parent, error.
#[utoipa::path(get, path = "/runs", tag = "runs", operation_id = "list_runs",
    params(ListParams), responses((status = 200, body = PageView<RunSummary>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    let list = RunList {
        tenant: caller.tenant,
        before: query.place(caller.slug())?,
        limit: query.limit,
        filter: query.filter.clone(),
    };
    let page = list_runs(&api.app, &caller.authorization, list).await?;
    let items = page.items.iter().map(RunSummary::from).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Shows a run with its steps.
#[utoipa::path(get, path = "/runs/{run}", tag = "runs", operation_id = "get_run",
    params(RunPath), responses((status = 200, body = RunView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<RunPath>,
) -> Result<Response, Problem> {
    Ok(json(&RunView::from(&find(&api, &caller, path.run).await?)))
}

/// Reads the journal of a run, oldest first.
#[utoipa::path(get, path = "/runs/{run}/journal", tag = "runs", operation_id = "get_run_journal",
    params(RunPath, ListParams), responses((status = 200, body = PageView<JournalEntryView>)))]
async fn show_journal(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<RunPath>,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let from = query.place(caller.slug())?.unwrap_or(0);
    let (authorization, tenant, limit) = (&caller.authorization, caller.tenant, query.limit);
    let found = journal(&api.app, authorization, tenant, path.run, from, limit).await?;
    let is_full = found.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = found.last().map(|(number, _)| number + 1).filter(|_| is_full);
    let items: Vec<JournalEntryView> =
        found.iter().map(|(number, entry)| JournalEntryView::new(*number, entry)).collect();
    query.answer(caller.slug(), items, next)
}

/// Tells the life of a run, oldest first. With `Accept: text/plain`, as text.
#[utoipa::path(get, path = "/runs/{run}/timeline", tag = "runs",
    operation_id = "get_run_timeline", params(RunPath),
    responses((status = 200, body = TimelineView)))]
async fn show_timeline(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<RunPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let read = find(&api, &caller, path.run).await?;
    let entries = run_timeline(&read.entries);
    let text = text(&entries);
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.starts_with("text/plain")) {
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    let items = entries.iter().map(EntryView::from).collect();
    Ok(json(&TimelineView { items, text }))
}

/// Sends a run a signal. It is kept until a step takes it.
#[utoipa::path(post, path = "/runs/{run}/~signal", tag = "runs", operation_id = "signal_run",
    params(RunPath), request_body = SignalBody, responses((status = 202, body = ToldView)))]
async fn signal(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<RunPath>,
    request: Request,
) -> Result<Response, Problem> {
    require_json(request.headers())?;
    // Payloads are kept as they were written, so the body is read as text.
    let bytes = read(request, &api, BODY_BYTES_MAX).await?;
    let SignalBody { name, id, payload } = decode_raw(checked(&bytes)?.as_str())?;
    tell(&api, &caller, path.run, Told::Signal { name, id, payload }, "signal").await
}

/// Lets a run begin nothing more until it is resumed. What is under way goes on.
#[utoipa::path(post, path = "/runs/{run}/~pause", tag = "runs", operation_id = "pause_run",
    params(RunPath), request_body = PauseBody, responses((status = 202, body = ToldView)))]
async fn pause(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<RunPath>,
    OptionalBody(body): OptionalBody<PauseBody>,
) -> Result<Response, Problem> {
    tell(&api, &caller, path.run, Told::Pause { reason: body.reason }, "pause").await
}

/// Lets a paused run go on.
#[utoipa::path(post, path = "/runs/{run}/~resume", tag = "runs", operation_id = "resume_run",
    params(RunPath), responses((status = 202, body = ToldView)))]
async fn resume(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<RunPath>,
) -> Result<Response, Problem> {
    tell(&api, &caller, path.run, Told::Resume, "resume").await
}

/// Stops a run. What is under way comes to its end first; then what was done is undone, if that is
/// asked for.
#[utoipa::path(post, path = "/runs/{run}/~cancel", tag = "runs", operation_id = "cancel_run",
    params(RunPath), request_body = CancelBody, responses((status = 202, body = ToldView)))]
async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<RunPath>,
    OptionalBody(body): OptionalBody<CancelBody>,
) -> Result<Response, Problem> {
    let CancelBody { reason, compensate } = body;
    tell(&api, &caller, path.run, Told::Cancel { reason, compensate }, "cancel").await
}

/// Lets a run that has failed or was cancelled go on from a step.
#[utoipa::path(post, path = "/runs/{run}/~retry", tag = "runs", operation_id = "retry_run",
    params(RunPath), request_body = RetryBody, responses((status = 202, body = ToldView)))]
async fn retry(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<RunPath>,
    JsonBody(body): JsonBody<RetryBody>,
) -> Result<Response, Problem> {
    let step = StepName::parse(&body.step).map_err(|error| {
        let message = error.to_string();
        Problem::new(&RUN_INVALID, &message).with_error(FieldError::new("/step", message))
    })?;
    tell(&api, &caller, path.run, Told::RetryFrom { step }, "retry").await
}

async fn find(api: &Api, caller: &Caller, run: RunId) -> Result<ReadRun, Problem> {
    Ok(find_run(&api.app, &caller.authorization, caller.tenant, run).await?)
}

async fn tell(
    api: &Api,
    caller: &Caller,
    run: RunId,
    told: Told,
    word: &'static str,
) -> Result<Response, Problem> {
    let request = TellRun { tenant: caller.tenant, run, told };
    tell_run(&api.app, &caller.authorization, request).await?;
    Ok((StatusCode::ACCEPTED, json(&ToldView { id: run.0, told: word })).into_response())
}
