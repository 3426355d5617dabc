//! `/v1/internal`: the founding routes for services of the platform. `?tenant=` names the
//! tenant; without it, it is the caller's own.

use actions_app::commands::execute_action::{ExecuteAction, execute_action};
use actions_app::commands::submit_event::Idempotency;
use actions_app::queries::metrics::summary;
use actions_domain::authorization::Permission;
use actions_domain::execution::Priority;
use actions_domain::json::Json;
use actions_domain::limits::{BULK_BYTES_MAX, BULK_JOBS_MAX};
use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::actions::{ActionView, FindingsView, answer_actions};
use super::events::{AcceptedEventView, SubmitParams, submit_request};
use super::handlers::findings;
use crate::body::{JsonBody, checked, decode_raw, read, require_json};
use crate::caller::Caller;
use crate::extract::{Params, idempotency_of, mark_replayed};
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{FieldError, PARAMETER_INVALID, Problem};
use crate::routes::Api;

/// Percentages of healthy actions from which all of it counts as healthy, or as degraded.
const HEALTHY_FROM: usize = 95;
const DEGRADED_FROM: usize = 80;
/// The window of the health figures.
const HEALTH_WINDOW: std::time::Duration = std::time::Duration::from_secs(60 * 60);

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(execute_by_event))
        .routes(routes!(actions))
        .routes(routes!(health))
        .routes(routes!(validate_handler))
        .routes(routes!(execute_bulk))
}

/// The tenant of an internal request.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by Caller")]
pub(super) struct TenantParams {
    /// A tenant's slug or id. Without it, that of the API key; the bootstrap token's is the
    /// platform's own.
    tenant: Option<String>,
}

/// How many actions are healthy.
#[derive(Debug, Serialize, ToSchema)]
struct HealthView {
    /// `healthy` from 95 %, `degraded` from 80 %, else `unhealthy`.
    status: &'static str,
    /// Percentage of active actions that are healthy and not blocked.
    healthy_percentage: usize,
    total_actions: usize,
    active_actions: usize,
    healthy_actions: usize,
    blocked_actions: usize,
}

/// A handler and a config to check.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HandlerBody {
    handler: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    config: Value,
}

/// Jobs to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JobsBody {
    #[schema(max_items = 1000)]
    executions: Vec<OneJobBody>,
}

/// One job of several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OneJobBody {
    /// The action's name.
    action: String,
    #[serde(default = "Json::null", alias = "input_data")]
    #[schema(value_type = Object)]
    input: Json,
    #[schema(value_type = Option<String>)]
    priority: Option<Priority>,
}

/// What became of several jobs, in order.
#[derive(Debug, Serialize, ToSchema)]
struct JobsView {
    accepted: usize,
    refused: usize,
    items: Vec<JobView>,
}

/// What became of one job: an execution, or the code of the refusal.
#[derive(Debug, Serialize, ToSchema)]
struct JobView {
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl OneJobBody {
    /// The list's key at this job's place, for this job.
    fn with_key(&self, list: Idempotency, index: usize) -> Idempotency {
        let priority = self.priority.map(Priority::rank);
        let job = format!("{}\n{priority:?}\n{}", self.action, self.input.as_str());
        list.of_part(&index.to_string(), job.as_bytes())
    }
}

/// Accepts events, like `POST …/events` of the tenant.
#[utoipa::path(post, path = "/events/~execute", tag = "internal",
    operation_id = "execute_by_event", params(TenantParams, SubmitParams),
    request_body(content = Object, content_type = "application/json"),
    responses((status = 202, body = AcceptedEventView), (status = 200, body = AcceptedEventView)))]
async fn execute_by_event(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<SubmitParams>,
    request: Request,
) -> Result<Response, Problem> {
    submit_request(&api, &caller, &params, request).await
}

/// Lists actions by type and by pattern.
#[utoipa::path(get, path = "/actions", tag = "internal", operation_id = "find_actions",
    params(TenantParams, ListParams, ("type" = Option<String>, Query), ("pattern" = Option<String>, Query)),
    responses((status = 200, body = PageView<ActionView>)))]
async fn actions(
    State(api): State<Api>,
    caller: Caller,
    mut query: ListQuery,
) -> Result<Response, Problem> {
    query.filter.drop("tenant");
    query.filter.rename("type", "action_type");
    // A pattern is looked for among all of an action's, which are listed with spaces.
    query.filter.loosen("pattern");
    answer_actions(&api, &caller, query).await
}

/// Says how many actions are healthy.
#[utoipa::path(get, path = "/health", tag = "internal", operation_id = "get_actions_health",
    params(TenantParams), responses((status = 200, body = HealthView)))]
async fn health(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let found = summary(&api.app, authorization, tenant, HEALTH_WINDOW).await?;
    let active = caller.definitions.actions();
    let active = active.iter().filter(|action| action.spec.is_active);
    let able = active.clone().filter(|action| {
        action.health.is_healthy && api.app.handlers.is_installed(&action.spec.handler)
    });
    let (active, able) = (active.clone().count(), able.count());
    // Nothing to run is nothing to worry about.
    let percentage = (able * 100).checked_div(active).unwrap_or(100);
    let status = match percentage {
        HEALTHY_FROM.. => "healthy",
        DEGRADED_FROM.. => "degraded",
        _ => "unhealthy",
    };
    Ok(json(&HealthView {
        status,
        healthy_percentage: percentage,
        total_actions: found.actions,
        active_actions: active,
        healthy_actions: found.healthy_actions,
        blocked_actions: found.blocked_actions,
    }))
}

/// Checks a config without storing it.
#[utoipa::path(post, path = "/handlers/~validate", tag = "internal",
    operation_id = "validate_handler", params(TenantParams), request_body = HandlerBody,
    responses((status = 200, body = FindingsView)))]
async fn validate_handler(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<HandlerBody>,
) -> Result<Response, Problem> {
    Ok(json(&findings(&api, &caller, &body.handler, &body.config).await?))
}

/// Runs several actions once. Each is accepted or refused by itself.
///
/// With an `Idempotency-Key`, a job at a place where the same key brought a job before is that
/// one.
#[utoipa::path(post, path = "/executions/~bulk", tag = "internal", operation_id = "execute_bulk",
    params(TenantParams, ("Idempotency-Key" = Option<String>, Header)),
    request_body = JobsBody, responses((status = 200, body = JobsView)))]
async fn execute_bulk(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    // Else each job would be refused by itself, in an answer that says 200.
    api.app.require(&caller.authorization, Permission::Execute, caller.tenant).await?;
    require_json(request.headers())?;
    let headers = request.headers().clone();
    let bytes = read(request, &api, BULK_BYTES_MAX).await?;
    let body: JobsBody = decode_raw(checked(&bytes)?.as_str())?;
    if body.executions.is_empty() || body.executions.len() > BULK_JOBS_MAX {
        let message = format!("expected 1 to {BULK_JOBS_MAX} executions");
        return Err(Problem::new(&PARAMETER_INVALID, &message)
            .with_error(FieldError::new("/executions", message)));
    }
    let keyed = idempotency_of(&headers, "bulk", &caller.href("executions:bulk"), None, &[])?;
    let jobs = body.executions.into_iter().enumerate().map(|(index, job)| {
        let idempotency = keyed.map(|key| job.with_key(key, index));
        let request = ExecuteAction {
            tenant: caller.tenant,
            action: job.action,
            input: job.input,
            priority: job.priority,
            delay: None,
            idempotency,
        };
        execute_action(&api.app, &caller.authorization, request)
    });
    // Together, so that they share commits.
    let outcomes = futures_util::future::join_all(jobs).await;
    let is_replayed = keyed.is_some()
        && outcomes.iter().any(|outcome| outcome.is_ok())
        && outcomes.iter().flatten().all(|job| job.duplicate);
    let items: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Ok(job) => JobView { execution_id: Some(job.execution.0), code: None, detail: None },
            Err(error) => {
                let problem = Problem::from(error);
                let (code, detail) = (Some(problem.code()), Some(problem.detail().to_owned()));
                JobView { execution_id: None, code, detail }
            }
        })
        .collect();
    let accepted = items.iter().filter(|item| item.execution_id.is_some()).count();
    let mut response = json(&JobsView { accepted, refused: items.len() - accepted, items });
    if is_replayed {
        mark_replayed(response.headers_mut());
    }
    Ok(response)
}
