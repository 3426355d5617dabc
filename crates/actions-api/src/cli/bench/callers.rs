//! Callers that send one event after the other, each when the one before was answered.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::super::error::CliError;
use super::histogram::Histogram;
use super::producer::{Producer, verify};
use super::{Measured, Running};

/// What the callers got done.
pub(super) struct Called {
    acks: Arc<Histogram>,
    seconds: f64,
}

/// Lets the measurement's callers send for a while.
pub(super) async fn call_for<S, F>(
    bench: &Running<'_>,
    time: Duration,
    send: S,
) -> Result<Called, CliError>
where
    S: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), CliError>> + Send,
{
    let clock = &bench.engine.app.ports.clock;
    let acks = Arc::new(Histogram::new());
    let progress = bench.sending(time);
    let begun = clock.now();
    let mut callers: JoinSet<Result<(), CliError>> = JoinSet::new();
    for _ in 0..bench.args.callers {
        let (send, acks, clock) = (send.clone(), acks.clone(), clock.clone());
        callers.spawn(async move {
            loop {
                let sent_at = clock.now();
                if sent_at >= begun + time {
                    return Ok(());
                }
                send().await?;
                acks.record((clock.now() - sent_at).to_std().unwrap_or_default());
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.map_err(|error| CliError::failed(error.to_string()))??;
    }
    let seconds = (clock.now() - begun).as_seconds_f64();
    drop(progress);
    Ok(Called { acks, seconds })
}

impl Called {
    /// Waits until all that was sent is recorded, and tells how fast it was accepted.
    pub(super) async fn recorded(
        self,
        bench: &Running<'_>,
        producer: &Producer,
    ) -> Result<Measured, CliError> {
        let count = self.acks.count();
        let progress = bench.step(format!("{count} events sent; waiting until all are recorded"));
        let ends = producer.recorded(count).await?;
        drop(progress);
        verify(&ends, count)?;
        Ok(Measured {
            count,
            seconds: self.seconds,
            p50_ms: self.acks.quantile_ms(0.5),
            p99_ms: self.acks.quantile_ms(0.99),
            extra: json!({ "recorded": ends.completed, "callers": bench.args.callers }),
        })
    }
}
