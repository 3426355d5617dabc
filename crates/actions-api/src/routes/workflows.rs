//! `…/workflows`

use std::collections::BTreeMap;

use actions_app::commands::delete_action::{DeleteAction, delete_action};
use actions_app::commands::put_workflow::{
    PutWorkflow, PutWorkflowDone, PutWorkflowError, check_workflow, put_workflow,
};
use actions_app::commands::save_action::Change;
use actions_app::commands::start_run::{StartRun, start_run};
use actions_app::queries::runs::wait_for_run;
use actions_app::queries::workflows::{
    FoundWorkflow, dot, find_workflow, list_workflows, mermaid, workflow_versions,
};
use actions_domain::flow::graph::Target;
use actions_domain::json::Json;
use actions_domain::limits::{BODY_BYTES_MAX, FLOW_BYTES_MAX};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{checked, decode, decode_raw, read, require_json};
use crate::caller::Caller;
use crate::extract::{Params, Precondition, Segments, etag, wait_of};
use crate::page::{ListParams, ListQuery, PageView, json as json_answer};
use crate::problem::Problem;
use crate::routes::Api;
use crate::routes::actions::NoteView;
use crate::routes::runs::RunSummary;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, replace, delete))
        .routes(routes!(versions))
        .routes(routes!(graph))
        .routes(routes!(validate))
        .routes(routes!(start))
}

/// A workflow as it is written: a document, as people write it, or a graph, as programs make it. A
/// document may also stand alone.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"action": {"name": "onboarding", "workflow": {"steps": [{"name": "greet", "action": "mail"}]}}}))]
#[expect(dead_code, reason = "describes what is read as a tree, so that its places can be named")]
struct WorkflowBody {
    #[schema(value_type = Option<Object>)]
    document: Option<Value>,
    #[schema(value_type = Option<Object>)]
    graph: Option<Value>,
    #[schema(value_type = Option<Object>)]
    action: Option<Value>,
}

/// A workflow as it is stored.
#[derive(Debug, Serialize, ToSchema)]
struct WorkflowView {
    name: String,
    description: Option<String>,
    /// Also the `ETag`: the tenant's version of definitions that it came with.
    version: i64,
    /// BLAKE3 of what it says, however it was written.
    digest: Option<String>,
    is_active: bool,
    /// Its steps, each after those that it waits for.
    steps: Vec<StepView>,
    /// Patterns of the events that start it.
    triggers: Vec<String>,
    /// As it was written.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<Value>,
    /// Why this server cannot follow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    created_at: Time,
    updated_at: Time,
    /// What is doubtful about it, when it was put.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<NoteView>,
}

/// A step of a workflow.
#[derive(Debug, Serialize, ToSchema)]
struct StepView {
    name: String,
    /// `action`, `workflow`, `timer`, `signal`, `map`, `gate` or `choice`.
    does: &'static str,
    /// The action or handler that it calls, or the workflow that it starts.
    calls: Option<String>,
    after: Vec<String>,
}

/// A workflow that could be stored.
#[derive(Debug, Serialize, ToSchema)]
struct ValidView {
    valid: bool,
    warnings: Vec<NoteView>,
}

/// What to start a run with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "order-9", "input": {"data": {"order": 9}}}))]
struct StartBody {
    /// Your own name for the run: what is started again with it is the same run.
    id: Option<String>,
    /// In the workflow `input`, which is also called `event`.
    #[serde(default = "Json::null")]
    #[schema(value_type = Object)]
    input: Json,
    /// What is in its context from the start.
    #[serde(default)]
    #[schema(value_type = Object)]
    context: BTreeMap<String, Json>,
}

/// Which workflow.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct WorkflowPath {
    /// The workflow's name.
    workflow: String,
}

/// How to draw a workflow.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct GraphParams {
    /// `mermaid`, or `dot` for Graphviz; mermaid if it is missing.
    format: Option<String>,
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WaitParams {
    /// Holds the answer until the run has ended, at most this long: `30s`.
    wait: Option<String>,
}

impl WorkflowView {
    fn new(found: FoundWorkflow, triggers: Vec<String>, is_whole: bool) -> Self {
        let FoundWorkflow { action, flow } = found;
        let config = |member: &str| action.spec.config.get(member).filter(|_| is_whole).cloned();
        let steps = flow.as_ref().map(|flow| {
            let steps = flow.order().into_iter().filter_map(|name| {
                let (does, calls) = kind_of(&flow.step(name)?.does);
                let after = flow.before(name).iter().map(ToString::to_string).collect();
                Some(StepView { name: name.to_string(), does, calls, after })
            });
            steps.collect()
        });
        Self {
            name: action.spec.name.to_string(),
            description: action.spec.description.clone(),
            version: action.version,
            digest: flow.as_ref().ok().map(|flow| flow.digest().to_string()),
            is_active: action.spec.is_active,
            steps: steps.unwrap_or_default(),
            triggers,
            document: config("document"),
            graph: config("graph"),
            problem: flow.err().map(|why| why.to_string()),
            created_at: action.created_at.into(),
            updated_at: action.updated_at.into(),
            warnings: Vec::new(),
        }
    }

    fn of(api: &Api, found: FoundWorkflow, is_whole: bool) -> Self {
        let action = &found.action;
        let known = api.app.catalogue.find(action.tenant);
        let subscriptions = known.map(|known| known.subscriptions_of(action.id));
        let patterns = subscriptions.into_iter().flatten();
        let patterns = patterns.map(|one| one.spec.event_pattern.to_string());
        let own = action.spec.event_patterns.iter().map(ToString::to_string);
        let triggers = own.chain(patterns).collect();
        Self::new(found, triggers, is_whole)
    }
}

fn kind_of(does: &actions_domain::flow::graph::Does) -> (&'static str, Option<String>) {
    use actions_domain::flow::graph::{Body, Does};
    let target = |target: &Target| match target {
        Target::Action(name) => Some(name.to_string()),
        Target::Handler { id, .. } => Some(id.to_string()),
    };
    match does {
        Does::Action(call) => ("action", target(&call.target)),
        Does::SubFlow(child) => ("workflow", Some(child.flow.clone())),
        Does::Timer(_) => ("timer", None),
        Does::WaitSignal { signal } => ("signal", Some(signal.clone())),
        Does::Map(map) => match &map.body {
            Body::Action(call) => ("map", target(&call.target)),
            Body::SubFlow(child) => ("map", Some(child.flow.clone())),
        },
        Does::Gate { .. } => ("gate", None),
        Does::Choice { .. } => ("choice", None),
    }
}

/// Lists workflows by name.
#[utoipa::path(get, path = "/workflows", tag = "workflows", operation_id = "list_workflows",
    params(ListParams), responses((status = 200, body = PageView<WorkflowView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let after = query.place(caller.slug())?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let page = list_workflows(&api.app, authorization, tenant, after, query.limit).await?;
    let items = page.items.into_iter().map(|found| WorkflowView::of(&api, found, false)).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Shows a workflow.
#[utoipa::path(get, path = "/workflows/{workflow}", tag = "workflows",
    operation_id = "get_workflow", params(WorkflowPath),
    responses((status = 200, body = WorkflowView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<WorkflowPath>,
) -> Result<Response, Problem> {
    caller.current_definitions(&api).await?;
    let found = find(&api, &caller, &path.workflow).await?;
    let tag = etag(found.action.version);
    Ok((tag, json_answer(&WorkflowView::of(&api, found, true))).into_response())
}

/// Creates or replaces a workflow, with the subscriptions that its document asks for. What exists is
/// replaced by somebody who knows its version (`If-Match`). Runs that go on follow the version that
/// they started with.
#[utoipa::path(put, path = "/workflows/{workflow}", tag = "workflows",
    operation_id = "put_workflow",
    params(WorkflowPath, ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header)),
    request_body = WorkflowBody,
    responses((status = 200, body = WorkflowView), (status = 201, body = WorkflowView)))]
async fn replace(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<WorkflowPath>,
    precondition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let current = caller.current_definitions(&api).await?.action_named(&path.workflow);
    let expected = precondition.expected(current.map(|current| current.version))?;
    let Written { config, is_bare } = written(&api, request).await?;
    let request =
        PutWorkflow { tenant: caller.tenant, name: Some(path.workflow), config, expected };
    let saved = put_workflow(&api.app, &caller.authorization, request).await;
    Ok(saved_answer(&api, &caller, saved.map_err(|error| placed(error, is_bare))?))
}

/// Deletes a workflow with its subscriptions. Runs that go on come to their end.
#[utoipa::path(delete, path = "/workflows/{workflow}", tag = "workflows",
    operation_id = "delete_workflow",
    params(WorkflowPath, ("If-Match" = Option<String>, Header)), responses((status = 204)))]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<WorkflowPath>,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    caller.current_definitions(&api).await?;
    let found = find(&api, &caller, &path.workflow).await?.action;
    let expected = precondition.expected(Some(found.version))?;
    let request = DeleteAction { tenant: caller.tenant, name: found.spec.name.clone(), expected };
    delete_action(&api.app, &caller.authorization, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the versions of a workflow, newest first.
#[utoipa::path(get, path = "/workflows/{workflow}/versions", tag = "workflows",
    operation_id = "list_workflow_versions", params(WorkflowPath, ListParams),
    responses((status = 200, body = PageView<WorkflowView>)))]
async fn versions(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<WorkflowPath>,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let before: Option<i64> = query.place(caller.slug())?;
    let (authorization, tenant, limit) = (&caller.authorization, caller.tenant, query.limit);
    let found =
        workflow_versions(&api.app, authorization, tenant, &path.workflow, before, limit).await?;
    let is_full = found.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = found.last().map(|last| last.action.version).filter(|_| is_full);
    let items: Vec<WorkflowView> =
        found.into_iter().map(|found| WorkflowView::new(found, Vec::new(), true)).collect();
    query.answer(caller.slug(), items, next)
}

/// Draws a workflow.
#[utoipa::path(get, path = "/workflows/{workflow}/graph", tag = "workflows",
    operation_id = "draw_workflow", params(WorkflowPath, GraphParams),
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn graph(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<WorkflowPath>,
    Params(params): Params<GraphParams>,
) -> Result<Response, Problem> {
    let draw = match params.format.as_deref() {
        None | Some("mermaid") => mermaid,
        Some("dot") => dot,
        Some(_) => return Err(Problem::parameter("format", "expected mermaid or dot")),
    };
    let found = find(&api, &caller, &path.workflow).await?;
    let flow = found.flow.map_err(|why| Problem::internal(why.to_string()))?;
    let media = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((media, draw(&flow)).into_response())
}

/// Finds everything that is wrong with a workflow, without storing it.
#[utoipa::path(post, path = "/workflows/~validate", tag = "workflows",
    operation_id = "validate_workflow", request_body = WorkflowBody,
    responses((status = 200, body = ValidView)))]
async fn validate(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let Written { config, is_bare } = written(&api, request).await?;
    let checked = check_workflow(&api.app, &caller.authorization, caller.tenant, &config).await;
    let warnings = checked.map_err(|error| placed(error, is_bare))?;
    let warnings = warnings.iter().map(NoteView::from).collect();
    Ok(json_answer(&ValidView { valid: true, warnings }))
}

/// Starts a run of a workflow as it is now.
#[utoipa::path(post, path = "/workflows/{workflow}/runs", tag = "runs",
    operation_id = "start_run", params(WorkflowPath, WaitParams), request_body = StartBody,
    responses((status = 200, body = RunSummary), (status = 202, body = RunSummary)))]
async fn start(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<WorkflowPath>,
    Params(params): Params<WaitParams>,
    request: Request,
) -> Result<Response, Problem> {
    let wait = wait_of(params.wait.as_deref())?;
    let StartBody { id, input, context } = start_body(&api, request).await?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let request = StartRun { tenant, workflow: path.workflow, id, input, context };
    let started = start_run(&api.app, authorization, request).await?;
    let mut record = started.record;
    if let Some(wait) = wait {
        record = wait_for_run(&api.app, authorization, tenant, record.id, wait).await?;
    }
    let is_over = record.state.status.is_final();
    let status = if is_over { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = caller.href(&format!("runs/{}", record.id));
    let mut view = RunSummary::from(&record);
    view.duplicate = started.duplicate;
    let mut response = (status, json_answer(&view)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn find(api: &Api, caller: &Caller, name: &str) -> Result<FoundWorkflow, Problem> {
    Ok(find_workflow(&api.app, &caller.authorization, caller.tenant, name).await?)
}

/// The config of the action that a workflow is.
struct Written {
    config: Value,
    /// The body is the document itself.
    is_bare: bool,
}

async fn written(api: &Api, request: Request) -> Result<Written, Problem> {
    require_json(request.headers())?;
    let bytes = read(request, api, FLOW_BYTES_MAX).await?;
    let body: Value = decode(&bytes)?;
    let is_bare = body.get("action").is_some();
    Ok(Written { config: if is_bare { json!({ "document": body }) } else { body }, is_bare })
}

/// A refusal with places in the body.
fn placed(error: PutWorkflowError, is_bare: bool) -> Problem {
    let mut problem = Problem::from(error);
    for error in problem.errors.iter_mut().filter(|_| is_bare) {
        if let Some(rest) = error.pointer.strip_prefix("/document") {
            error.pointer = rest.to_owned();
        }
    }
    problem
}

/// Inputs are kept as they were written, so the body is read as text.
async fn start_body(api: &Api, request: Request) -> Result<StartBody, Problem> {
    let media = require_json(request.headers());
    let bytes = read(request, api, BODY_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(StartBody { id: None, input: Json::null(), context: BTreeMap::new() });
    }
    media?;
    decode_raw(checked(&bytes)?.as_str())
}

fn saved_answer(api: &Api, caller: &Caller, saved: PutWorkflowDone) -> Response {
    let (change, tag) = (saved.change, etag(saved.action.version));
    let location = caller.href(&format!("workflows/{}", saved.action.spec.name));
    let flow = api.app.workflows.of(&saved.action);
    let found = FoundWorkflow { action: saved.action, flow };
    let warnings = saved.warnings.iter().map(NoteView::from).collect();
    let view = WorkflowView { warnings, ..WorkflowView::of(api, found, true) };
    if change != Change::Created {
        return (tag, json_answer(&view)).into_response();
    }
    let mut response = (StatusCode::CREATED, tag, json_answer(&view)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
