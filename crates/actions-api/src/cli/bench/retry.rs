//! How late the first retry is: from the time at which it is due, counted from the end of the
//! failed attempt, to its start.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::id::ExecutionId;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::handler::{Call, Descriptor, Handler};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::error::CliError;
use super::histogram::Histogram;
use super::noop::descriptor;
use super::producer::{Producer, verify};
use super::{Measured, Running};

const SECONDS: u64 = 20;
/// The shortest pause that a policy may ask for.
const PAUSE: Duration = Duration::from_millis(100);

/// Fails the first attempt of each execution, and notes how late the second is.
struct FailOnce {
    descriptor: Descriptor,
    clock: Arc<dyn Clock>,
    failed_at: Mutex<HashMap<ExecutionId, Timestamp>>,
    lateness: Histogram,
    handled: Arc<AtomicU64>,
}

impl FailOnce {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            descriptor: descriptor("bench.fail_once", "Fail once"),
            clock,
            failed_at: Mutex::default(),
            lateness: Histogram::new(),
            handled: Arc::default(),
        }
    }
}

#[async_trait]
impl Handler for FailOnce {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let now = self.clock.now();
        let mut failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if call.attempt == 1 {
            failed_at.insert(call.execution, now);
            return Outcome::Retry(Fault::handler("function.failed", "the first attempt fails"));
        }
        if let Some(failed_at) = failed_at.remove(&call.execution) {
            let after = (now - failed_at).to_std().unwrap_or_default();
            self.lateness.record(after.saturating_sub(PAUSE));
        }
        self.handled.fetch_add(1, Ordering::Relaxed);
        Outcome::Done(Output::new(Value::Null))
    }
}

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let clock = app.ports.clock.clone();
    let handler = Arc::new(FailOnce::new(clock.clone()));
    bench.install(handler.clone());
    let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
    let target = bench
        .target(json!({
            "name": "fail_once",
            "action_type": "custom",
            "handler": "bench.fail_once",
            "event_patterns": ["bench.tick"],
            "retry_policy": { "max_retries": 1, "backoff": "fixed", "initial_delay_ms": pause, "jitter": false },
        }))
        .await?;
    let node = bench.start().await?;
    let producer = Producer::of_single_events(app, target, &handler.handled)?;
    let rate = f64::from(bench.args.rate);
    let time = bench.seconds(SECONDS);
    let progress = bench.sending(time);
    let begun = clock.now();
    let count = (time.as_secs_f64() * rate) as u64;
    for number in 0..count {
        let due = begun + Duration::from_secs_f64(number as f64 / rate);
        if let Ok(pause) = (due - clock.now()).to_std() {
            clock.sleep(pause).await;
        }
        producer.submit(vec![producer.event(number)?]).await?;
    }
    drop(progress);
    let ends = producer.recorded(count).await?;
    let ended = clock.now();
    verify(&ends, count)?;
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Measured {
        count,
        seconds: (ended - begun).as_seconds_f64(),
        p50_ms: handler.lateness.quantile_ms(0.5),
        p99_ms: handler.lateness.quantile_ms(0.99),
        extra: json!({ "retries": ends.retries, "events_per_s": bench.args.rate }),
    })
}
