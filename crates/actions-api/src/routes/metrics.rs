//! `…/metrics/summary`, `…/queues`, `…/limits`, and the figures of one action.

use std::time::Duration;

use actions_app::durations::parse_duration;
use actions_app::queries::limits::tenant_limits;
use actions_app::queries::metrics::{ActionMetrics, queues, success_rate, summary, total};
use actions_domain::action::Action;
use actions_domain::limits::{PAGE_DEFAULT, PAGE_MAX, WINDOW_MAX};
use actions_domain::ports::history::{ActionCounts, DeadLetterGroup, QueueMetric, RefusedIntake};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::extract::Params;
use crate::page::json;
use crate::problem::Problem;
use crate::routes::Api;
use crate::routes::controls::{self, ControlsView};
use crate::routes::dead_letters::GroupView;
use crate::routes::process::{LimitsView, limits_view};
use crate::routes::quotas::SettingView;
use crate::time::Time;

/// The window of figures unless a caller says: a day.
const WINDOW_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(show_summary))
        .routes(routes!(show_queues))
        .routes(routes!(show_limits))
}

/// Which window of time.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsParams {
    /// How far back: `24h`, at most `366d`.
    window: Option<String>,
}

impl MetricsParams {
    pub(crate) fn window(&self) -> Result<Duration, Problem> {
        let Some(raw) = &self.window else { return Ok(WINDOW_DEFAULT) };
        let window = parse_duration(raw).map_err(|error| Problem::parameter("window", error))?;
        if window.is_zero() || window > WINDOW_MAX {
            return Err(Problem::parameter("window", "expected 1ms to 366d"));
        }
        Ok(window)
    }
}

/// How many samples.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SampleParams {
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
}

/// What an action has done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetricsView {
    action: String,
    window_start: Time,
    window_end: Time,
    total_executions: i64,
    successful_executions: i64,
    failed_executions: i64,
    cancelled_executions: i64,
    /// Percentage of completed among completed and failed.
    success_rate: Option<f64>,
    executions_per_hour: f64,
    executions_per_day: f64,
    total_retries: i64,
    /// Percentage that succeeded among those that needed more than one attempt, of the newest.
    retry_success_rate: Option<f64>,
    /// Of the newest executions, from first start to end.
    duration_sample: usize,
    avg_duration_ms: Option<f64>,
    min_duration_ms: Option<i64>,
    max_duration_ms: Option<i64>,
    p50_duration_ms: Option<i64>,
    p95_duration_ms: Option<i64>,
    p99_duration_ms: Option<i64>,
    avg_memory_mb: Option<f64>,
    max_memory_mb: Option<u64>,
    avg_cpu_ms: Option<f64>,
    max_cpu_ms: Option<u64>,
    last_execution_at: Option<Time>,
    last_success_at: Option<Time>,
    last_failure_at: Option<Time>,
    common_errors: Vec<GroupView>,
    is_healthy: bool,
    /// 0 to 100.
    health_score: f64,
}

/// A tenant's figures.
#[derive(Debug, Serialize, ToSchema)]
struct SummaryView {
    window_start: Time,
    window_end: Time,
    actions: usize,
    active_actions: usize,
    healthy_actions: usize,
    blocked_actions: usize,
    subscriptions: usize,
    total_executions: i64,
    successful_executions: i64,
    failed_executions: i64,
    cancelled_executions: i64,
    total_retries: i64,
    /// Percentage of completed among completed and failed.
    success_rate: Option<f64>,
    dead_letters: i64,
    dead_letter_groups: usize,
    by_action: Vec<ActionCountsView>,
}

/// One action's share of a tenant's figures.
#[derive(Debug, Serialize, ToSchema)]
struct ActionCountsView {
    action: Option<String>,
    completed: i64,
    failed: i64,
    cancelled: i64,
    retries: i64,
    success_rate: Option<f64>,
    last_at: Option<Time>,
}

/// What the queues hold and held.
#[derive(Debug, Serialize, ToSchema)]
struct QueuesView {
    /// This node's queues right now. Missing while no node runs in this process.
    here: Option<DepthsView>,
    /// Recorded samples, newest first.
    items: Vec<QueueMetricView>,
    /// Events out of transactions of your own that could not be accepted, newest first. Leave
    /// them again, corrected.
    refused: Vec<RefusedView>,
}

/// An event out of a transaction that could not be accepted.
#[derive(Debug, Serialize, ToSchema)]
struct RefusedView {
    /// The id that it was given. Missing when not even that can be read.
    id: Option<String>,
    refused_at: Time,
    reason: String,
}

impl RefusedView {
    fn new(refused: &RefusedIntake) -> Self {
        let body = refused.row.body.to_value();
        let id = body["id"].as_str().map(str::to_owned);
        Self { id, refused_at: refused.refused_at.into(), reason: refused.reason.clone() }
    }
}

/// The tenant's part of this node's queues, and all of them.
#[derive(Debug, Serialize, ToSchema)]
struct DepthsView {
    waiting: usize,
    running: usize,
    node_waiting: usize,
    node_running: usize,
    node_later: usize,
    node_window_bytes: usize,
}

/// One sample of a queue, in the founding columns.
#[derive(Debug, Serialize, ToSchema)]
struct QueueMetricView {
    queue_name: String,
    metrics_timestamp: Time,
    pending_messages: i64,
    processing_messages: i64,
    completed_messages: i64,
    failed_messages: i64,
    avg_processing_time_ms: f64,
    throughput_per_minute: f64,
    error_rate_percentage: f64,
    active_workers: i64,
}

/// The limits that hold for a tenant, with what it uses.
#[derive(Debug, Serialize, ToSchema)]
struct TenantLimitsView {
    limits: LimitsView,
    /// What operators have set for this tenant.
    controls: ControlsView,
    /// Every value that holds for this tenant, with the layer that says so.
    settings: Vec<SettingView>,
    subscriptions_used: usize,
    actions_used: usize,
}

impl MetricsView {
    pub(crate) fn new(api: &Api, action: &Action, figures: &ActionMetrics) -> Self {
        let durations = figures.durations;
        let group = |group: &DeadLetterGroup| GroupView::new(api, action.tenant, group);
        Self {
            action: action.spec.name.to_string(),
            window_start: figures.from.into(),
            window_end: figures.to.into(),
            total_executions: figures.total(),
            successful_executions: figures.counts.completed,
            failed_executions: figures.counts.failed,
            cancelled_executions: figures.counts.cancelled,
            success_rate: figures.success_rate(),
            executions_per_hour: figures.per_hour(),
            executions_per_day: figures.per_hour() * 24.0,
            total_retries: figures.counts.retries,
            retry_success_rate: figures.usage.retry_success_rate,
            duration_sample: durations.map_or(0, |durations| durations.sample),
            avg_duration_ms: durations.map(|durations| durations.avg),
            min_duration_ms: durations.map(|durations| durations.min),
            max_duration_ms: durations.map(|durations| durations.max),
            p50_duration_ms: durations.map(|durations| durations.p50),
            p95_duration_ms: durations.map(|durations| durations.p95),
            p99_duration_ms: durations.map(|durations| durations.p99),
            avg_memory_mb: figures.usage.avg_memory_mb,
            max_memory_mb: figures.usage.max_memory_mb,
            avg_cpu_ms: figures.usage.avg_cpu_ms,
            max_cpu_ms: figures.usage.max_cpu_ms,
            last_execution_at: figures.counts.last_at.map(Time),
            last_success_at: figures.last_success_at.map(Time),
            last_failure_at: figures.last_failure_at.map(Time),
            common_errors: figures.common_errors.iter().map(group).collect(),
            is_healthy: action.health.is_healthy,
            health_score: figures.health_score,
        }
    }
}

impl From<&QueueMetric> for QueueMetricView {
    fn from(sample: &QueueMetric) -> Self {
        Self {
            queue_name: sample.queue_name.clone(),
            metrics_timestamp: sample.sampled_at.into(),
            pending_messages: sample.pending,
            processing_messages: sample.processing,
            completed_messages: sample.completed,
            failed_messages: sample.failed,
            avg_processing_time_ms: sample.avg_processing_time_ms,
            throughput_per_minute: sample.throughput_per_minute,
            error_rate_percentage: sample.error_rate_percentage,
            active_workers: sample.active_workers,
        }
    }
}

/// Shows the figures of all actions together.
#[utoipa::path(get, path = "/metrics/summary", tag = "metrics", operation_id = "get_summary",
    params(MetricsParams), responses((status = 200, body = SummaryView)))]
async fn show_summary(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<MetricsParams>,
) -> Result<Response, Problem> {
    let window = params.window()?;
    let found = summary(&api.app, &caller.authorization, caller.tenant, window).await?;
    let sum = |part: fn(&ActionCounts) -> i64| found.counts.iter().map(part).sum::<i64>();
    let (completed, failed) = (sum(|counts| counts.completed), sum(|counts| counts.failed));
    let all = ActionCounts {
        action: actions_domain::id::ActionId(0),
        completed,
        failed,
        cancelled: sum(|counts| counts.cancelled),
        retries: sum(|counts| counts.retries),
        duration_ms: 0,
        last_at: None,
    };
    let by_action = found.counts.iter().map(|counts| ActionCountsView {
        action: caller.definitions.action(counts.action).map(|known| known.spec.name.to_string()),
        completed: counts.completed,
        failed: counts.failed,
        cancelled: counts.cancelled,
        retries: counts.retries,
        success_rate: success_rate(counts),
        last_at: counts.last_at.map(Time),
    });
    Ok(json(&SummaryView {
        window_start: found.from.into(),
        window_end: found.to.into(),
        actions: found.actions,
        active_actions: found.active_actions,
        healthy_actions: found.healthy_actions,
        blocked_actions: found.blocked_actions,
        subscriptions: found.subscriptions,
        total_executions: total(&all),
        successful_executions: completed,
        failed_executions: failed,
        cancelled_executions: all.cancelled,
        total_retries: all.retries,
        success_rate: success_rate(&all),
        dead_letters: found.dead_letter_groups.iter().map(|group| group.count).sum(),
        dead_letter_groups: found.dead_letter_groups.len(),
        by_action: by_action.collect(),
    }))
}

/// Shows what the queues hold and held.
#[utoipa::path(get, path = "/queues", tag = "metrics", operation_id = "get_queues",
    params(SampleParams), responses((status = 200, body = QueuesView)))]
async fn show_queues(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<SampleParams>,
) -> Result<Response, Problem> {
    let limit = params.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::parameter("limit", format!("expected 1 to {PAGE_MAX}")));
    }
    let found = queues(&api.app, &caller.authorization, caller.tenant, limit).await?;
    let here = found.here.map(|depths| {
        let own = depths.tenants.iter().find(|(tenant, ..)| *tenant == caller.tenant);
        DepthsView {
            waiting: own.map_or(0, |(_, waiting, _)| *waiting),
            running: own.map_or(0, |(_, _, running)| *running),
            node_waiting: depths.waiting,
            node_running: depths.running,
            node_later: depths.later,
            node_window_bytes: depths.window_bytes,
        }
    });
    let items = found.samples.iter().map(QueueMetricView::from).collect();
    let refused = found.refused.iter().map(RefusedView::new).collect();
    Ok(json(&QueuesView { here, items, refused }))
}

/// Shows the limits that hold for the tenant, with what it uses.
#[utoipa::path(get, path = "/limits", tag = "metrics", operation_id = "get_tenant_limits",
    responses((status = 200, body = TenantLimitsView)))]
async fn show_limits(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let settings = tenant_limits(&api.app, &caller.authorization, caller.tenant).await?;
    Ok(json(&TenantLimitsView {
        limits: limits_view(),
        controls: controls::view(&api, &caller, &caller.definitions.controls()),
        settings: settings.iter().map(SettingView::from).collect(),
        subscriptions_used: caller.definitions.subscription_count(),
        actions_used: caller.definitions.actions().len(),
    }))
}
