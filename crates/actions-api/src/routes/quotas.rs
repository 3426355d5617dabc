//! `…/usage`, `…/actions/{action}/limits`, `/v1/admin/tenant-limits`, and what answers say of rates

use std::time::Duration;

use actions_app::commands::control_tenant::limit_all_tenants;
use actions_app::queries::limits::{
    ActionLimit, UsedLimit, action_limits, limits_of_all_tenants, usage,
};
use actions_domain::id::TenantId;
use actions_domain::limits::USAGE_DAYS_MAX;
use actions_domain::settings::EVENT_BURST;
use actions_domain::usage::DayUsage;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::JsonBody;
use crate::caller::{Caller, Operator};
use crate::extract::{Params, Segments};
use crate::page::json;
use crate::problem::Problem;
use crate::routes::Api;
use crate::routes::controls::LimitsBody;

/// Names of the IETF's draft on rate limits (draft-ietf-httpapi-ratelimit-headers).
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Days of usage unless a caller says.
const DAYS_DEFAULT: u32 = 30;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show_usage)).routes(routes!(show_action_limits))
}

/// What is about all tenants.
pub(crate) fn of_platform() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show_all, put_all))
}

/// One value that holds for a tenant, and who says so.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"name": "events_per_second", "value": 100, "layer": "tenant", "capped_by": null, "used": null, "max": 50000}))]
pub(crate) struct SettingView {
    name: &'static str,
    /// `null`: there is no limit.
    value: Option<u64>,
    /// `default`, `file`, `environment`, `platform` or `tenant`: the last one that says something.
    layer: &'static str,
    /// The layer that lets it have no more, where it asks for more.
    capped_by: Option<&'static str>,
    /// How much of it is used now. `null`: it is not counted, or not yet.
    used: Option<u64>,
    /// The most that it can be set to.
    max: u64,
}

impl From<&UsedLimit> for SettingView {
    fn from(UsedLimit { holds, used }: &UsedLimit) -> Self {
        Self {
            name: holds.setting.word(),
            value: holds.value,
            layer: holds.layer.word(),
            capped_by: holds.capped_by.map(|layer| layer.word()),
            used: *used,
            max: holds.setting.range().1,
        }
    }
}

/// The limits of an action's attempts. The tightest decides at any moment.
#[derive(Debug, Serialize, ToSchema)]
struct ActionLimitsView {
    items: Vec<ActionLimitView>,
}

/// One limit: the action's own, or the one of its tenant, which holds as well.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"name": "max_concurrent_executions", "value": 5, "layer": "action"}))]
struct ActionLimitView {
    name: &'static str,
    /// `null`: there is no limit.
    value: Option<u64>,
    /// `action`, or the layer that says it of the whole tenant.
    layer: &'static str,
}

impl From<&ActionLimit> for ActionLimitView {
    fn from(ActionLimit { setting, value, layer }: &ActionLimit) -> Self {
        Self { name: setting.word(), value: *value, layer: layer.word() }
    }
}

/// What came in for a tenant.
#[derive(Debug, Serialize, ToSchema)]
struct UsageView {
    /// The newest day first. Days of nothing are left out.
    items: Vec<DayView>,
    /// Bytes of the days whose history is kept. They are compared with `stored_bytes`.
    stored_bytes: u64,
}

/// What came in on one day.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"day": "2026-11-22", "events": 120000, "bytes": 36000000, "executions": 240000}))]
struct DayView {
    /// In UTC.
    day: String,
    /// Repetitions are not counted.
    events: u64,
    /// Data and metadata of events, and inputs of jobs.
    bytes: u64,
    /// Executions that were accepted.
    executions: u64,
}

impl From<&DayUsage> for DayView {
    fn from(DayUsage { day, usage, .. }: &DayUsage) -> Self {
        let day = day.to_string();
        Self { day, events: usage.events, bytes: usage.bytes, executions: usage.executions }
    }
}

/// How many days.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct UsageParams {
    /// Today included.
    #[param(minimum = 1, maximum = 366, default = 30)]
    days: Option<u32>,
}

/// Which action.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct ActionPath {
    action: String,
}

/// Shows what came in on each day: events, their bytes, and executions.
#[utoipa::path(get, path = "/usage", tag = "metrics", operation_id = "get_usage",
    params(UsageParams), responses((status = 200, body = UsageView)))]
async fn show_usage(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<UsageParams>,
) -> Result<Response, Problem> {
    let days = params.days.unwrap_or(DAYS_DEFAULT);
    if !(1..=USAGE_DAYS_MAX).contains(&days) {
        return Err(Problem::parameter("days", format!("expected 1 to {USAGE_DAYS_MAX}")));
    }
    let found = usage(&api.app, &caller.authorization, caller.tenant, days).await?;
    let items = found.days.iter().map(DayView::from).collect();
    Ok(json(&UsageView { items, stored_bytes: found.stored_bytes }))
}

/// Shows the limits of an action's attempts, its own and those of its tenant.
#[utoipa::path(get, path = "/actions/{action}/limits", tag = "actions",
    operation_id = "get_action_limits", params(ActionPath),
    responses((status = 200, body = ActionLimitsView)))]
async fn show_action_limits(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ActionPath>,
) -> Result<Response, Problem> {
    let found = action_limits(&api.app, &caller.authorization, caller.tenant, &path.action)?;
    Ok(json(&ActionLimitsView { items: found.iter().map(Into::into).collect() }))
}

/// Shows what holds for every tenant that has nothing of its own.
#[utoipa::path(get, path = "/tenant-limits", tag = "tenants",
    operation_id = "get_limits_of_all_tenants", responses((status = 200, body = LimitsBody)))]
async fn show_all(State(api): State<Api>, Operator(caller): Operator) -> Result<Response, Problem> {
    Ok(json(&LimitsBody::from(limits_of_all_tenants(&api.app, &caller)?)))
}

/// Replaces what holds for every tenant that has nothing of its own.
#[utoipa::path(put, path = "/tenant-limits", tag = "tenants",
    operation_id = "set_limits_of_all_tenants", request_body = LimitsBody,
    responses((status = 200, body = LimitsBody)))]
async fn put_all(
    State(api): State<Api>,
    Operator(caller): Operator,
    JsonBody(body): JsonBody<LimitsBody>,
) -> Result<Response, Problem> {
    let changed = limit_all_tenants(&api.app, &caller, body.into()).await?;
    Ok(json(&LimitsBody::from(changed.all_tenants)))
}

/// What an answer to events says of the tenant's rate. Nothing, where it has none.
pub(crate) fn rate_headers(api: &Api, tenant: TenantId) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(rate) = api.app.quotas.event_rate(tenant) else { return headers };
    let seconds = |pause: Duration| pause.as_millis().div_ceil(1_000);
    let policy = format!("\"events\";q={};w={}", rate.burst, EVENT_BURST.as_secs());
    let left = format!("\"events\";r={};t={}", rate.left, seconds(rate.again_in));
    for (name, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    headers
}
