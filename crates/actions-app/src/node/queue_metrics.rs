//! Samples of the queues, one per tenant, kept in the history: how much ended on all nodes, and
//! what waits on the one that writes them, the owner of the first partition.

use std::collections::HashMap;
use std::time::Duration;

use actions_domain::ports::history::{QueueMetric, TenantCounts};
use actions_domain::ports::store::StoreError;
use actions_domain::work::Part;
use tracing::warn;

use super::writer::Lost;
use crate::app::App;

/// Executions of this long are counted in one sample.
const WINDOW_MINUTES: i64 = 5;

/// How often samples are written.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// A loop of its own: counting takes a while, and nothing else should wait for it.
pub(crate) struct QueueSampler {
    pub(crate) app: App,
}

impl QueueSampler {
    pub(crate) async fn run(self) -> Lost {
        loop {
            self.app.ports.clock.sleep(SAMPLE_EVERY).await;
            if self.app.live.parts().contains(&Part(0))
                && let Err(error) = record(&self.app).await
            {
                warn!(%error, "samples of the queues are not written");
            }
        }
    }
}

/// Writes one sample for each tenant that has anything to show.
async fn record(app: &App) -> Result<(), StoreError> {
    let Some(depths) = app.live.depths().await else { return Ok(()) };
    let sampled_at = app.ports.clock.now();
    let since = sampled_at - chrono::TimeDelta::minutes(WINDOW_MINUTES);
    let counts = app.ports.history.counts_by_tenant(since).await?;
    let counts: HashMap<_, _> = counts.into_iter().map(|one| (one.tenant, one)).collect();
    let queues: HashMap<_, _> =
        depths.tenants.iter().map(|(id, waiting, running)| (*id, (*waiting, *running))).collect();
    let mut samples = Vec::new();
    for known in app.catalogue.list() {
        let tenant = known.tenant.id;
        let (pending, processing) = queues.get(&tenant).copied().unwrap_or_default();
        let counted = counts.get(&tenant).copied();
        if counted.is_none() && pending + processing == 0 {
            continue;
        }
        let TenantCounts { completed, failed, duration_ms, .. } =
            counted.unwrap_or_else(|| TenantCounts::of(tenant));
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
            avg_processing_time_ms: share(duration_ms, ended),
            throughput_per_minute: share(ended, WINDOW_MINUTES),
            error_rate_percentage: share(failed * 100, ended),
            active_workers: 1,
        });
    }
    app.ports.history.record_queue_metrics(&samples).await
}
