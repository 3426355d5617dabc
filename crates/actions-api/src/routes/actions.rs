//! `…/actions`

use std::sync::Arc;

use actions_app::commands::check_action_health::check_action_health;
use actions_app::commands::check_definition::check_action;
use actions_app::commands::delete_action::{DeleteAction, delete_action};
use actions_app::commands::execute_action::{ExecuteAction, execute_action};
use actions_app::commands::save_action::{
    Change, SaveAction, SavedAction, restore_action, save_action, switch_action,
};
use actions_app::config_secrets::missing_secrets;
use actions_app::queries::definitions::{
    ActionList, compare_versions, find_action, find_version, list_actions, list_versions,
};
use actions_app::queries::executions::{batch_of, find_execution, wait_for};
use actions_app::queries::explain::explain_sample;
use actions_app::queries::metrics::action_metrics;
use actions_domain::Timestamp;
use actions_domain::action::{Action, ActionName};
use actions_domain::authorization::Permission;
use actions_domain::execution::Priority;
use actions_domain::json::Json;
use actions_domain::limits::{BODY_BYTES_MAX, PAGE_MAX};
use actions_domain::ports::definitions::Expected;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{JsonBody, checked, decode_raw, read, require_json};
use crate::caller::{Caller, Proof};
use crate::event_body::pause_of;
use crate::extract::{
    Params, Precondition, Segments, etag, idempotency_of, mark_replayed, wait_of,
};
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{ACTION_INVALID, FieldError, Problem};
use crate::routes::Api;
use crate::routes::events::{ExplainedView, sample_of};
use crate::routes::executions::{BatchView, ExecutionView, answer_list};
use crate::routes::metrics::{MetricsParams, MetricsView};

mod view;

pub(crate) use view::{ActionBody, ActionView, DifferenceView, NoteView, pattern_of};

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(active))
        .routes(routes!(validate))
        .routes(routes!(show, replace, delete))
        .routes(routes!(versions))
        .routes(routes!(version))
        .routes(routes!(difference))
        .routes(routes!(executions))
        .routes(routes!(metrics))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(check_health))
        .routes(routes!(restore))
        .routes(routes!(execute))
        .routes(routes!(test))
}

/// Which action.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct ActionPath {
    /// The action's name.
    action: String,
}

/// Which version of an action.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct VersionPath {
    /// The action's name.
    action: String,
    version: i64,
}

/// Which two versions of an action.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct DifferencePath {
    /// The action's name.
    action: String,
    before: i64,
    after: i64,
}

/// Where two versions differ.
#[derive(Debug, Serialize, ToSchema)]
struct DifferencesView {
    items: Vec<DifferenceView>,
}

/// What a check of a definition found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingsView {
    pub(crate) valid: bool,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) warnings: Vec<NoteView>,
}

/// The version to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RestoreBody {
    version: i64,
}

/// A job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExecuteBody {
    /// What the handler gets. The founding name `input_data` is accepted.
    #[serde(default = "Json::null", alias = "input_data")]
    #[schema(value_type = Object)]
    input: Json,
    /// Defaults to the action's own.
    #[schema(value_type = Option<String>)]
    priority: Option<Priority>,
    /// Starts no earlier than after this pause: `10m`.
    delay: Option<String>,
    /// The same in milliseconds.
    delay_ms: Option<u64>,
    /// Starts no earlier than at this time.
    #[schema(value_type = Option<String>, format = DateTime)]
    run_at: Option<Timestamp>,
}

/// How a job is answered.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WaitParams {
    /// Holds the answer until the job has ended: `30s`, at most `60s`.
    wait: Option<String>,
}

/// An event to test an action with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TestBody {
    /// As it would be sent.
    #[schema(value_type = Object)]
    event: Json,
}

/// What an event would do to an action.
#[derive(Debug, Serialize, ToSchema)]
struct TestView {
    action: String,
    matched: bool,
    /// One sentence.
    reason: String,
    /// Every way from the event to this action.
    explanations: Vec<super::events::ExplanationView>,
}

/// Lists actions by name.
///
/// Fields of the filter: name, `action_type`, handler, `is_active`, `is_healthy`, state,
/// `owner_team`, tag, pattern.
#[utoipa::path(get, path = "/actions", tag = "actions", operation_id = "list_actions",
    params(ListParams), responses((status = 200, body = PageView<ActionView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    answer_actions(&api, &caller, query).await
}

/// Lists actions that are switched on.
#[utoipa::path(get, path = "/actions/active", tag = "actions", operation_id = "list_active_actions",
    params(ListParams), responses((status = 200, body = PageView<ActionView>)))]
async fn active(
    State(api): State<Api>,
    caller: Caller,
    mut query: ListQuery,
) -> Result<Response, Problem> {
    query.filter.and("is_active", "true");
    answer_actions(&api, &caller, query).await
}

pub(crate) async fn answer_actions(
    api: &Api,
    caller: &Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    let list = ActionList {
        tenant: caller.tenant,
        after: query.place(caller.slug())?,
        limit: query.limit,
        filter: query.filter.clone(),
    };
    let page = list_actions(&api.app, &caller.authorization, &list).await?;
    let items = page.items.iter().map(|action| ActionView::new(&api.app, action)).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Creates an action. The next event is matched with it.
#[utoipa::path(post, path = "/actions", tag = "actions", operation_id = "create_action",
    request_body = ActionBody, responses((status = 201, body = ActionView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Response, Problem> {
    let spec = body.into_spec()?;
    let request = SaveAction { tenant: caller.tenant, spec, expected: Expected::Absent };
    let saved = save_action(&api.app, &caller.authorization, request).await?;
    Ok(saved_answer(&api, &caller, &saved))
}

/// Checks an action without storing it.
#[utoipa::path(post, path = "/actions/~validate", tag = "actions",
    operation_id = "validate_action", request_body = ActionBody,
    responses((status = 200, body = FindingsView)))]
async fn validate(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Response, Problem> {
    api.app.require(&caller.authorization, Permission::ReadDefinitions, caller.tenant).await?;
    let spec = body.into_spec()?;
    let mut findings = check_action(&api.app, caller.tenant, &spec);
    let config = [("/config".to_owned(), &spec.config)];
    findings.warnings.extend(missing_secrets(&api.app, caller.tenant, config).await?);
    Ok(json(&FindingsView {
        valid: findings.errors.is_empty(),
        warnings: findings.warnings.iter().map(NoteView::from).collect(),
        errors: crate::problem::field_errors(findings.errors),
    }))
}

/// Shows an action. Secrets in its config are shown as `***`.
#[utoipa::path(get, path = "/actions/{action}", tag = "actions", operation_id = "get_action",
    params(ActionPath), responses((status = 200, body = ActionView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
) -> Result<Response, Problem> {
    let action = find(&api, &caller, &path.action).await?;
    Ok(action_answer(&api, &action))
}

/// Creates or replaces an action. What exists is replaced by somebody who knows its version
/// (`If-Match`). A secret that is sent as `***` keeps its stored value.
#[utoipa::path(put, path = "/actions/{action}", tag = "actions", operation_id = "replace_action",
    params(ActionPath, ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header)),
    request_body = ActionBody,
    responses((status = 200, body = ActionView), (status = 201, body = ActionView)))]
async fn replace(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
    precondition: Precondition,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Response, Problem> {
    let spec = body.into_spec()?;
    if spec.name.as_str() != path.action {
        let detail = "the name in the body is another one than in the path";
        return Err(
            Problem::new(&ACTION_INVALID, detail).with_error(FieldError::new("/name", detail))
        );
    }
    let current = caller.current_definitions(&api).await?.action_named(&path.action);
    let expected = precondition.expected(current.map(|action| action.version))?;
    let request = SaveAction { tenant: caller.tenant, spec, expected };
    let saved = save_action(&api.app, &caller.authorization, request).await?;
    Ok(saved_answer(&api, &caller, &saved))
}

/// Deletes an action with its subscriptions. Its history stays.
#[utoipa::path(delete, path = "/actions/{action}", tag = "actions", operation_id = "delete_action",
    params(ActionPath, ("If-Match" = Option<String>, Header)), responses((status = 204)))]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    caller.current_definitions(&api).await?;
    let action = find(&api, &caller, &path.action).await?;
    let expected = precondition.expected(Some(action.version))?;
    let (tenant, name) = (caller.tenant, action.spec.name.clone());
    let request = DeleteAction { tenant, name, expected };
    delete_action(&api.app, &caller.authorization, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the versions of an action, newest first.
#[utoipa::path(get, path = "/actions/{action}/versions", tag = "actions",
    operation_id = "list_action_versions",
    params(ActionPath, ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("fields" = Option<String>, Query)),
    responses((status = 200, body = PageView<ActionView>)))]
async fn versions(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let name = name_of(&path.action)?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let before = query.place(caller.slug())?;
    let page = list_versions(&api.app, authorization, tenant, &name, before, query.limit).await?;
    let items = page.items.iter().map(|action| ActionView::new(&api.app, action)).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Shows one version of an action.
#[utoipa::path(get, path = "/actions/{action}/versions/{version}", tag = "actions",
    operation_id = "get_action_version", params(VersionPath),
    responses((status = 200, body = ActionView)))]
async fn version(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<VersionPath>,
) -> Result<Response, Problem> {
    let name = name_of(&path.action)?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let found = find_version(&api.app, authorization, tenant, &name, path.version).await?;
    Ok(action_answer(&api, &found))
}

/// Compares two versions of an action.
#[utoipa::path(get, path = "/actions/{action}/versions/{before}/diff/{after}", tag = "actions",
    operation_id = "compare_action_versions", params(DifferencePath),
    responses((status = 200, body = DifferencesView)))]
async fn difference(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<DifferencePath>,
) -> Result<Response, Problem> {
    let name = name_of(&path.action)?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let versions = (path.before, path.after);
    let found = compare_versions(&api.app, authorization, tenant, &name, versions).await?;
    Ok(json(&DifferencesView { items: found.into_iter().map(DifferenceView::from).collect() }))
}

/// Lists the executions of an action, newest first.
#[utoipa::path(get, path = "/actions/{action}/executions", tag = "actions",
    operation_id = "list_action_executions", params(ActionPath, ListParams),
    responses((status = 200, body = PageView<ExecutionView>)))]
async fn executions(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
    mut query: ListQuery,
) -> Result<Response, Problem> {
    let action = find(&api, &caller, &path.action).await?;
    query.filter.and("action", action.spec.name.as_str());
    answer_list(&api, &caller, query).await
}

/// Shows an action's figures.
#[utoipa::path(get, path = "/actions/{action}/metrics", tag = "actions",
    operation_id = "get_action_metrics", params(ActionPath, MetricsParams),
    responses((status = 200, body = MetricsView)))]
async fn metrics(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
    Params(params): Params<MetricsParams>,
) -> Result<Response, Problem> {
    let action = find(&api, &caller, &path.action).await?;
    let window = params.window()?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let figures = action_metrics(&api.app, authorization, tenant, &action, window).await?;
    Ok(json(&MetricsView::new(&api, &action, &figures)))
}

/// Lets an action run again.
#[utoipa::path(post, path = "/actions/{action}/~enable", tag = "actions",
    operation_id = "enable_action", params(ActionPath),
    responses((status = 200, body = ActionView)))]
async fn enable(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
) -> Result<Response, Problem> {
    switch(&api, &caller, &path.action, true).await
}

/// Lets an action start nothing more.
#[utoipa::path(post, path = "/actions/{action}/~disable", tag = "actions",
    operation_id = "disable_action", params(ActionPath),
    responses((status = 200, body = ActionView)))]
async fn disable(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
) -> Result<Response, Problem> {
    switch(&api, &caller, &path.action, false).await
}

async fn switch(api: &Api, caller: &Caller, name: &str, on: bool) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let saved = switch_action(&api.app, authorization, tenant, name, on).await?;
    Ok(action_answer(api, &saved.action))
}

/// Asks the action's handler whether it has a chance, and remembers the answer.
#[utoipa::path(post, path = "/actions/{action}/~check-health", tag = "actions",
    operation_id = "check_action_health", params(ActionPath),
    responses((status = 200, body = ActionView)))]
async fn check_health(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let action = check_action_health(&api.app, authorization, tenant, &path.action).await?;
    Ok(action_answer(&api, &action))
}

/// Makes an older version the current one again.
#[utoipa::path(post, path = "/actions/{action}/~restore", tag = "actions",
    operation_id = "restore_action", params(ActionPath), request_body = RestoreBody,
    responses((status = 200, body = ActionView)))]
async fn restore(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
    JsonBody(body): JsonBody<RestoreBody>,
) -> Result<Response, Problem> {
    let name = name_of(&path.action)?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let saved = restore_action(&api.app, authorization, tenant, &name, body.version).await?;
    Ok(action_answer(&api, &saved.action))
}

/// Runs an action once, without an event.
#[utoipa::path(post, path = "/actions/{action}/~execute", tag = "actions",
    operation_id = "execute_action",
    params(ActionPath, WaitParams, ("Idempotency-Key" = Option<String>, Header)),
    request_body = ExecuteBody,
    responses((status = 202, body = ExecutionView), (status = 200, body = ExecutionView)))]
async fn execute(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
    Params(params): Params<WaitParams>,
    request: Request,
) -> Result<Response, Problem> {
    let wait = wait_of(params.wait.as_deref())?;
    let wait = wait.map(|wait| (wait, Proof::of(&request)));
    let headers = request.headers().clone();
    require_json(&headers)?;
    let bytes = read(request, &api, BODY_BYTES_MAX).await?;
    let body: ExecuteBody = decode_raw(checked(&bytes)?.as_str())?;
    let href = caller.href(&format!("actions/{}:execute", path.action));
    let idempotency = idempotency_of(&headers, "execute", &href, None, &bytes)?;
    let is_keyed = idempotency.is_some();
    let now = api.app.ports.clock.now();
    let delay = body.delay_ms.map(|millis| format!("{millis}ms")).or(body.delay);
    let delay = pause_of(now, delay.as_deref(), body.run_at)?;
    let (tenant, action) = (caller.tenant, path.action);
    let (input, priority) = (body.input, body.priority);
    let request = ExecuteAction { tenant, action, input, priority, delay, idempotency };
    let job = execute_action(&api.app, &caller.authorization, request).await?;

    let ids = [job.execution];
    let waits = wait.is_some();
    let waited = match wait {
        Some((wait, proof)) => {
            let ended = wait_for(&api.app, &caller.authorization, tenant, &ids, wait);
            proof.holds_during(&api, async { Ok(ended.await?) }).await?.pop()
        }
        None => None,
    };
    let execution = match waited {
        Some(execution) => execution,
        None => find_execution(&api.app, &caller.authorization, tenant, job.execution).await?,
    };
    let is_over = waits && execution.status.is_final();
    let status = if is_over { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut view = ExecutionView::full(&api, &execution);
    if job.has_joined {
        let batch = batch_of(&api.app, &caller.authorization, &execution).await?;
        view.batch = batch.map(BatchView::from);
    }
    let mut response = (status, json(&view)).into_response();
    let location = caller.href(&format!("executions/{}", job.execution));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if is_keyed && job.duplicate {
        mark_replayed(response.headers_mut());
    }
    Ok(response)
}

/// Tells whether an event would run the action, and why or why not. Nothing is run.
#[utoipa::path(post, path = "/actions/{action}/~test", tag = "actions",
    operation_id = "test_action", params(ActionPath), request_body = TestBody,
    responses((status = 200, body = TestView)))]
async fn test(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
    request: Request,
) -> Result<Response, Problem> {
    require_json(request.headers())?;
    let bytes = read(request, &api, BODY_BYTES_MAX).await?;
    let text = checked(&bytes)?;
    let body: TestBody = decode_raw(text.as_str())?;
    let action = find(&api, &caller, &path.action).await?;
    let sample = sample_of(&api, &caller, body.event.as_str().as_bytes())
        .map_err(|problem| problem.below("/event"))?;
    let mut explained =
        explain_sample(&api.app, &caller.authorization, caller.tenant, sample).await?;
    explained.ways.retain(|way| way.action_id == action.id);
    let first = explained.ways.first();
    let reason = first.map_or_else(
        || "the action has neither patterns nor subscriptions".to_owned(),
        |way| way.because.clone(),
    );
    let limit = usize::try_from(PAGE_MAX).unwrap_or(usize::MAX);
    let view = ExplainedView::new(&explained, true, limit);
    Ok(json(&TestView {
        action: action.spec.name.to_string(),
        matched: view.is_match(),
        reason,
        explanations: view.into_items(),
    }))
}

async fn find(api: &Api, caller: &Caller, name: &str) -> Result<Arc<Action>, Problem> {
    Ok(find_action(&api.app, &caller.authorization, caller.tenant, name).await?)
}

/// A name that no action can have names none.
fn name_of(raw: &str) -> Result<ActionName, Problem> {
    ActionName::parse(raw).map_err(|_| Problem::not_found("action"))
}

fn action_answer(api: &Api, action: &Action) -> Response {
    (etag(action.version), json(&ActionView::new(&api.app, action))).into_response()
}

fn saved_answer(api: &Api, caller: &Caller, saved: &SavedAction) -> Response {
    let mut view = ActionView::new(&api.app, &saved.action);
    view.warnings = Some(saved.warnings.iter().map(NoteView::from).collect());
    let tag = etag(saved.action.version);
    if saved.change != Change::Created {
        return (tag, json(&view)).into_response();
    }
    let mut response = (StatusCode::CREATED, tag, json(&view)).into_response();
    let location = caller.href(&format!("actions/{}", saved.action.spec.name));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
