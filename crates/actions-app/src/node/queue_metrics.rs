//! Samples of this node's queues, one per tenant, kept in the history.

use actions_domain::ports::history::{ActionCounts, QueueMetric};
use actions_domain::ports::store::StoreError;

use crate::app::App;

/// Executions of this long are counted in one sample.
const WINDOW_MINUTES: i64 = 5;

/// Writes one sample for each tenant that has anything to show.
pub(crate) async fn record(app: &App) -> Result<(), StoreError> {
    let Some(depths) = app.live.depths().await else { return Ok(()) };
    let sampled_at = app.ports.clock.now();
    let since = sampled_at - chrono::TimeDelta::minutes(WINDOW_MINUTES);
    let mut samples = Vec::new();
    for known in app.catalogue.list() {
        let tenant = known.tenant.id;
        let counts = app.ports.history.action_counts(tenant, None, Some(since)).await?;
        let queue = depths.tenants.iter().find(|(id, ..)| *id == tenant);
        let (pending, processing) =
            queue.map_or((0, 0), |(_, waiting, running)| (*waiting, *running));
        if counts.is_empty() && pending + processing == 0 {
            continue;
        }
        let sum = |of: fn(&ActionCounts) -> i64| counts.iter().map(of).sum::<i64>();
        let (completed, failed) = (sum(|c| c.completed), sum(|c| c.failed));
        let ended = completed + failed;
        let share =
            |part: i64, whole: i64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        samples.push(QueueMetric {
            tenant,
            queue_name: known.tenant.slug.as_str().to_owned(),
            sampled_at,
            pending: i64::try_from(pending).unwrap_or(i64::MAX),
            processing: i64::try_from(processing).unwrap_or(i64::MAX),
            completed,
            failed,
            avg_processing_time_ms: share(sum(|c| c.duration_ms), ended),
            throughput_per_minute: share(ended, WINDOW_MINUTES),
            error_rate_percentage: share(failed * 100, ended),
            active_workers: 1,
        });
    }
    app.ports.history.record_queue_metrics(&samples).await
}
