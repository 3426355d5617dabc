//! Figures: per action, per tenant, of the queues, and of the limits.

use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::action::Action;
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::dispatch::Depths;
use actions_domain::execution::{Execution, Status};
use actions_domain::id::{ActionId, TenantId};
use actions_domain::ports::history::{
    ActionCounts, DeadLetterGroup, ExecutionQuery, QueueMetric, RefusedIntake,
};
use actions_domain::ports::store::StoreError;

use crate::app::App;
use crate::queries::{QueryError, definitions_of};

/// Newest executions that durations and causes are taken from.
const SAMPLE: u32 = 1_000;
/// Newest executions that are looked at one by one.
const DETAILED_SAMPLE: u32 = 200;
/// Causes that are told.
const COMMON_ERRORS_MAX: usize = 5;
/// A score that an unhealthy action cannot exceed.
const UNHEALTHY_SCORE_MAX: f64 = 40.0;

/// What an action has done in a window of time.
#[derive(Debug, Clone)]
pub struct ActionMetrics {
    pub from: Timestamp,
    pub to: Timestamp,
    pub counts: ActionCounts,
    /// Of the newest executions, in milliseconds. `None`: nothing has run.
    pub durations: Option<Durations>,
    pub usage: Usage,
    pub last_success_at: Option<Timestamp>,
    pub last_failure_at: Option<Timestamp>,
    pub common_errors: Vec<DeadLetterGroup>,
    /// 0 to 100: the share of successes, at most 40 after a failed health check, 0 while its
    /// handler is missing.
    pub health_score: f64,
}

impl ActionMetrics {
    /// Completed and failed ones.
    pub fn total(&self) -> i64 {
        total(&self.counts)
    }

    /// Percentage of completed among completed and failed. `None`: nothing has run.
    pub fn success_rate(&self) -> Option<f64> {
        success_rate(&self.counts)
    }

    /// Executions per hour of the window.
    pub fn per_hour(&self) -> f64 {
        let hours = (self.to - self.from).num_seconds().max(1);
        as_f64(self.total()) * 3_600.0 / as_f64(hours)
    }
}

/// Distribution of durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Durations {
    pub sample: usize,
    pub avg: f64,
    pub min: i64,
    pub max: i64,
    pub p50: i64,
    pub p95: i64,
    pub p99: i64,
}

/// What attempts used, where their handlers can measure it, over the newest executions.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    pub avg_memory_mb: Option<f64>,
    pub max_memory_mb: Option<u64>,
    pub avg_cpu_ms: Option<f64>,
    pub max_cpu_ms: Option<u64>,
    /// Percentage of executions that succeeded among those that needed more than one attempt.
    pub retry_success_rate: Option<f64>,
}

/// All actions of a tenant together.
#[derive(Debug, Clone)]
pub struct Summary {
    pub from: Timestamp,
    pub to: Timestamp,
    pub actions: usize,
    pub active_actions: usize,
    pub healthy_actions: usize,
    pub blocked_actions: usize,
    pub subscriptions: usize,
    pub counts: Vec<ActionCounts>,
    pub dead_letter_groups: Vec<DeadLetterGroup>,
}

/// What the queues hold.
#[derive(Debug, Clone)]
pub struct Queues {
    /// What this node holds right now. `None` while no node runs here.
    pub here: Option<Depths>,
    /// Recorded samples, newest first.
    pub samples: Vec<QueueMetric>,
    /// Events out of users' own transactions that could not be accepted, newest first.
    pub refused: Vec<RefusedIntake>,
}

/// Reads an action's figures of the last `window`.
pub async fn action_metrics(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    action: &Action,
    window: Duration,
) -> Result<ActionMetrics, QueryError> {
    app.require(caller, Permission::ReadMetrics, tenant).await?;
    let to = app.ports.clock.now();
    let from = before(to, window);
    let history = &app.ports.history;
    let counts = history.action_counts(tenant, Some(action.id), Some(from)).await?;
    let counts = counts.into_iter().next().unwrap_or_else(|| nothing(action.id));
    let durations = history.recent_durations(tenant, action.id, SAMPLE).await?;
    let sample = newest(app, tenant, action.id, &[], DETAILED_SAMPLE).await?;
    let failures = [Status::Failed, Status::Timeout];
    let groups = history.dead_letter_groups(tenant, SAMPLE).await?;
    let own = groups.into_iter().filter(|group| group.action == action.id);
    Ok(ActionMetrics {
        from,
        to,
        counts,
        durations: distribution(durations),
        usage: usage(&sample),
        last_success_at: last_end(app, tenant, action.id, &[Status::Completed]).await?,
        last_failure_at: last_end(app, tenant, action.id, &failures).await?,
        common_errors: own.take(COMMON_ERRORS_MAX).collect(),
        health_score: health_score(app, action, &counts),
    })
}

/// Reads a tenant's figures of the last `window`.
pub async fn summary(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    window: Duration,
) -> Result<Summary, QueryError> {
    app.require(caller, Permission::ReadMetrics, tenant).await?;
    let definitions = definitions_of(app, tenant)?;
    let actions = definitions.actions();
    let to = app.ports.clock.now();
    let from = before(to, window);
    let count = |keeps: &dyn Fn(&Action) -> bool| {
        actions.iter().filter(|action| keeps(action.as_ref())).count()
    };
    Ok(Summary {
        from,
        to,
        actions: actions.len(),
        active_actions: count(&|action| action.spec.is_active),
        healthy_actions: count(&|action| action.health.is_healthy),
        blocked_actions: count(&|action| !app.handlers.is_installed(&action.spec.handler)),
        subscriptions: definitions.subscription_count(),
        counts: app.ports.history.action_counts(tenant, None, Some(from)).await?,
        dead_letter_groups: app.ports.history.dead_letter_groups(tenant, SAMPLE).await?,
    })
}

/// Reads what the queues hold and held.
pub async fn queues(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    limit: u32,
) -> Result<Queues, QueryError> {
    app.require(caller, Permission::ReadMetrics, tenant).await?;
    let samples = app.ports.history.queue_metrics(tenant, limit).await?;
    let refused = app.ports.history.refused_intake(tenant, limit).await?;
    Ok(Queues { here: app.live.depths().await, samples, refused })
}

/// Completed and failed ones.
pub fn total(counts: &ActionCounts) -> i64 {
    counts.completed.saturating_add(counts.failed)
}

/// Percentage of completed among completed and failed. `None`: nothing has run.
pub fn success_rate(counts: &ActionCounts) -> Option<f64> {
    let all = total(counts);
    (all > 0).then(|| as_f64(counts.completed) * 100.0 / as_f64(all))
}

fn health_score(app: &App, action: &Action, counts: &ActionCounts) -> f64 {
    if !app.handlers.is_installed(&action.spec.handler) {
        return 0.0;
    }
    let score = success_rate(counts).unwrap_or(100.0);
    if action.health.is_healthy { score } else { score.min(UNHEALTHY_SCORE_MAX) }
}

fn before(to: Timestamp, window: Duration) -> Timestamp {
    let back = chrono::TimeDelta::from_std(window).ok();
    back.and_then(|back| to.checked_sub_signed(back)).unwrap_or(Timestamp::UNIX_EPOCH)
}

async fn newest(
    app: &App,
    tenant: TenantId,
    action: ActionId,
    statuses: &[Status],
    limit: u32,
) -> Result<Vec<Execution>, StoreError> {
    let (action, statuses) = (Some(action), statuses.to_vec());
    let query = ExecutionQuery { tenant, action, statuses, before: None, limit };
    app.ports.history.list_executions(query).await
}

async fn last_end(
    app: &App,
    tenant: TenantId,
    action: ActionId,
    statuses: &[Status],
) -> Result<Option<Timestamp>, StoreError> {
    let newest = newest(app, tenant, action, statuses, 1).await?;
    Ok(newest.first().and_then(|execution| execution.ended_at))
}

fn distribution(mut durations: Vec<i64>) -> Option<Durations> {
    durations.sort_unstable();
    let (min, max) = (*durations.first()?, *durations.last()?);
    let sum: i64 = durations.iter().sum();
    let at = |percent: usize| {
        // The nearest-rank method: the least value that so many per cent do not exceed.
        let rank = (durations.len() * percent).div_ceil(100).max(1);
        durations.get(rank - 1).copied().unwrap_or(max)
    };
    Some(Durations {
        sample: durations.len(),
        avg: as_f64(sum) / as_f64(i64::try_from(durations.len()).unwrap_or(i64::MAX)),
        min,
        max,
        p50: at(50),
        p95: at(95),
        p99: at(99),
    })
}

fn usage(sample: &[Execution]) -> Usage {
    let attempts = || sample.iter().flat_map(|execution| &execution.attempts);
    let memory: Vec<u64> = attempts().filter_map(|attempt| attempt.memory_mb).collect();
    let cpu: Vec<u64> = attempts().filter_map(|attempt| attempt.cpu_ms).collect();
    let retried = sample
        .iter()
        .filter(|execution| execution.status.is_final() && execution.attempts.len() > 1);
    let (mut all, mut completed) = (0, 0);
    for execution in retried {
        all += 1;
        completed += i64::from(execution.status == Status::Completed);
    }
    Usage {
        avg_memory_mb: average(&memory),
        max_memory_mb: memory.iter().copied().max(),
        avg_cpu_ms: average(&cpu),
        max_cpu_ms: cpu.iter().copied().max(),
        retry_success_rate: (all > 0).then(|| as_f64(completed) * 100.0 / as_f64(all)),
    }
}

fn average(values: &[u64]) -> Option<f64> {
    let sum: u64 = values.iter().sum();
    let count = i64::try_from(values.len()).ok().filter(|count| *count > 0)?;
    Some(as_f64(i64::try_from(sum).unwrap_or(i64::MAX)) / as_f64(count))
}

fn nothing(action: ActionId) -> ActionCounts {
    let (completed, failed, cancelled, retries, duration_ms) = (0, 0, 0, 0, 0);
    ActionCounts { action, completed, failed, cancelled, retries, duration_ms, last_at: None }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_f64(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::distribution;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let found = distribution((1..=200).collect()).unwrap();
        assert_eq!((found.p50, found.p95, found.p99, found.max), (100, 190, 198, 200));
        assert_eq!(distribution(vec![7]).map(|found| (found.p50, found.p99)), Some((7, 7)));
        assert_eq!(distribution(Vec::new()), None);
    }
}
