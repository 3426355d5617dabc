//! `/v1/tenants/{tenant}/controls`, pauses and limits

use actions_app::commands::control_tenant::{
    Target, pause, resume, set_limits, set_reach, set_retention,
};
use actions_app::queries::controls::controls;
use actions_domain::id::ActionId;
use actions_domain::tenant::reach::Reach;
use actions_domain::tenant::{Controls, Pause, Retention, TenantLimits};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{JsonBody, OptionalBody};
use crate::caller::Caller;
use crate::extract::Segments;
use crate::page::json;
use crate::problem::{FieldError, Problem, TENANT_INVALID};
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(put_limits))
        .routes(routes!(put_retention))
        .routes(routes!(put_egress))
        .routes(routes!(pause_tenant))
        .routes(routes!(resume_tenant))
        .routes(routes!(pause_action))
        .routes(routes!(resume_action))
}

/// A tenant's share of the installation. What is left out is as a weaker layer says.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"max_concurrent_executions": 50, "rate_limit_per_minute": 6000}))]
pub(crate) struct LimitsBody {
    /// Attempts that run at once, over all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrent_executions: Option<u32>,
    /// Attempts that start in a minute, over all nodes, evenly paced.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_per_minute: Option<u32>,
    /// The same in an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_per_hour: Option<u32>,
    /// Turns that the tenant gets where others get one, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    /// Events that are taken in, over all nodes. More are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    events_per_second: Option<u32>,
    /// Executions that have not ended. With so many, new events and jobs are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_executions: Option<u64>,
    /// Bytes of events that are kept. With so many, new events and jobs are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedules: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<u32>,
    /// Those that hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_keys: Option<u32>,
}

/// How long a tenant's history stays. What is left out stays as long as in the installation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"keep_days": 7, "dead_letter_days": 3}))]
struct RetentionBody {
    /// Days of events, executions and dead letters, 2 to 3650. The installation's days, if they
    /// are fewer, hold all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_days: Option<u32>,
    /// Days after which a dead letter expires, 1 to 3650. It goes with its execution at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_days: Option<u32>,
}

/// Where the tenant's handlers may connect to, beside what holds for everybody.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"only": ["*.example.com", "93.184.0.0/16"], "deny": ["old.example.com"]}))]
struct EgressBody {
    /// Networks that are open for this tenant although they are not public, like `10.0.0.0/8`. What
    /// hands out a cloud's credentials stays closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    /// Names of hosts, `*.` in front for all below one, and networks. Where there are any, nothing
    /// else is called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    only: Vec<String>,
    /// The same, of what is never called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

/// Why something is paused.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "their endpoint is down"}))]
pub(crate) struct PauseBody {
    pub(crate) reason: Option<String>,
}

/// What operators have set for a tenant beside its definitions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ControlsView {
    limits: LimitsBody,
    retention: RetentionBody,
    egress: EgressBody,
    /// The whole tenant is paused: nothing starts, what comes in waits.
    pause: Option<PauseView>,
    /// The platform has suspended the tenant: nothing starts, and nothing is accepted.
    suspension: Option<PauseView>,
    /// Actions that are paused one by one.
    paused_actions: Vec<PausedActionView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PauseView {
    at: Time,
    by: String,
    reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PausedActionView {
    action: String,
    #[serde(flatten)]
    pause: PauseView,
}

/// Which action.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct ActionPath {
    action: String,
}

impl From<TenantLimits> for LimitsBody {
    fn from(limits: TenantLimits) -> Self {
        let TenantLimits {
            max_concurrent_executions,
            rate_limit_per_minute,
            rate_limit_per_hour,
            weight,
            events_per_second,
            waiting_executions,
            stored_bytes,
            actions,
            subscriptions,
            schedules,
            secrets,
            api_keys,
        } = limits;
        Self {
            max_concurrent_executions,
            rate_limit_per_minute,
            rate_limit_per_hour,
            weight,
            events_per_second,
            waiting_executions,
            stored_bytes,
            actions,
            subscriptions,
            schedules,
            secrets,
            api_keys,
        }
    }
}

impl From<LimitsBody> for TenantLimits {
    fn from(body: LimitsBody) -> Self {
        let LimitsBody {
            max_concurrent_executions,
            rate_limit_per_minute,
            rate_limit_per_hour,
            weight,
            events_per_second,
            waiting_executions,
            stored_bytes,
            actions,
            subscriptions,
            schedules,
            secrets,
            api_keys,
        } = body;
        Self {
            max_concurrent_executions,
            rate_limit_per_minute,
            rate_limit_per_hour,
            weight,
            events_per_second,
            waiting_executions,
            stored_bytes,
            actions,
            subscriptions,
            schedules,
            secrets,
            api_keys,
        }
    }
}

impl From<Retention> for RetentionBody {
    fn from(retention: Retention) -> Self {
        let Retention { keep_days, dead_letter_days } = retention;
        Self { keep_days, dead_letter_days }
    }
}

impl From<RetentionBody> for Retention {
    fn from(body: RetentionBody) -> Self {
        let RetentionBody { keep_days, dead_letter_days } = body;
        Self { keep_days, dead_letter_days }
    }
}

impl From<&Reach> for EgressBody {
    fn from(reach: &Reach) -> Self {
        Self {
            allow: reach.allow.iter().map(ToString::to_string).collect(),
            only: reach.only.iter().map(ToString::to_string).collect(),
            deny: reach.deny.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&Pause> for PauseView {
    fn from(pause: &Pause) -> Self {
        Self { at: pause.at.into(), by: pause.by.clone(), reason: pause.reason.clone() }
    }
}

pub(crate) fn view(api: &Api, caller: &Caller, controls: &Controls) -> ControlsView {
    let known = api.app.catalogue.find(caller.tenant);
    let name = |id: &ActionId| Some(known.as_ref()?.action(*id)?.spec.name.to_string());
    // Actions that were deleted while they were paused have no name any more.
    let mut paused: Vec<PausedActionView> = (controls.paused_actions.iter())
        .filter_map(|(id, pause)| Some(PausedActionView { action: name(id)?, pause: pause.into() }))
        .collect();
    paused.sort_by(|a, b| a.action.cmp(&b.action));
    ControlsView {
        limits: controls.limits.into(),
        retention: controls.retention.into(),
        egress: controls.reach.as_ref().into(),
        pause: controls.pause.as_ref().map(Into::into),
        suspension: controls.suspension.as_ref().map(Into::into),
        paused_actions: paused,
    }
}

/// Shows the tenant's limits, pauses and retention.
#[utoipa::path(get, path = "/controls", tag = "controls", operation_id = "get_controls",
    responses((status = 200, body = ControlsView)))]
async fn show(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let found = controls(&api.app, &caller.authorization, caller.tenant)?;
    Ok(json(&view(&api, &caller, &found)))
}

/// Replaces the tenant's limits, for the platform's operators.
#[utoipa::path(put, path = "/controls/limits", tag = "controls", operation_id = "set_limits",
    request_body = LimitsBody, responses((status = 200, body = ControlsView)))]
async fn put_limits(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<LimitsBody>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let changed = set_limits(&api.app, authorization, tenant, body.into()).await?;
    Ok(json(&view(&api, &caller, &changed)))
}

/// Replaces how long the tenant's history stays, for the platform's operators. What is older goes
/// within an hour or so.
#[utoipa::path(put, path = "/controls/retention", tag = "controls",
    operation_id = "set_retention", request_body = RetentionBody,
    responses((status = 200, body = ControlsView)))]
async fn put_retention(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<RetentionBody>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let changed = set_retention(&api.app, authorization, tenant, body.into()).await?;
    Ok(json(&view(&api, &caller, &changed)))
}

/// Replaces where the tenant's handlers may connect to, for the platform's operators. It holds from
/// the next call on.
#[utoipa::path(put, path = "/controls/egress", tag = "controls", operation_id = "set_egress",
    request_body = EgressBody, responses((status = 200, body = ControlsView)))]
async fn put_egress(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<EgressBody>,
) -> Result<Response, Problem> {
    let reach = Reach::parse(&body.allow, &body.only, &body.deny).map_err(|(pointer, error)| {
        let message = error.to_string();
        Problem::new(&TENANT_INVALID, &message).with_error(FieldError::new(pointer, message))
    })?;
    let changed = set_reach(&api.app, &caller.authorization, caller.tenant, reach).await?;
    Ok(json(&view(&api, &caller, &changed)))
}

/// Lets nothing more of the tenant start. What runs may end, and what comes in waits.
#[utoipa::path(post, path = "/controls/~pause", tag = "controls", operation_id = "pause_everything",
    request_body = PauseBody, responses((status = 200, body = ControlsView)))]
async fn pause_tenant(
    State(api): State<Api>,
    caller: Caller,
    OptionalBody(body): OptionalBody<PauseBody>,
) -> Result<Response, Problem> {
    stop(&api, &caller, &Target::Tenant, body).await
}

/// Lets the tenant go on.
#[utoipa::path(post, path = "/controls/~resume", tag = "controls", operation_id = "resume_everything",
    responses((status = 200, body = ControlsView)))]
async fn resume_tenant(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    go_on(&api, &caller, &Target::Tenant).await
}

/// Lets nothing more of an action start. What runs may end, and what comes in waits.
#[utoipa::path(post, path = "/actions/{action}/~pause", tag = "controls",
    operation_id = "pause_action", params(ActionPath), request_body = PauseBody,
    responses((status = 200, body = ControlsView)))]
async fn pause_action(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
    OptionalBody(body): OptionalBody<PauseBody>,
) -> Result<Response, Problem> {
    stop(&api, &caller, &Target::Action(path.action), body).await
}

/// Lets an action go on.
#[utoipa::path(post, path = "/actions/{action}/~resume", tag = "controls",
    operation_id = "resume_action", params(ActionPath),
    responses((status = 200, body = ControlsView)))]
async fn resume_action(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
) -> Result<Response, Problem> {
    go_on(&api, &caller, &Target::Action(path.action)).await
}

async fn stop(
    api: &Api,
    caller: &Caller,
    target: &Target,
    body: PauseBody,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let changed = pause(&api.app, authorization, tenant, target, body.reason).await?;
    Ok(json(&view(api, caller, &changed)))
}

async fn go_on(api: &Api, caller: &Caller, target: &Target) -> Result<Response, Problem> {
    let changed = resume(&api.app, &caller.authorization, caller.tenant, target).await?;
    Ok(json(&view(api, caller, &changed)))
}
