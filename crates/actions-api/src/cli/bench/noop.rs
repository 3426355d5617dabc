//! Batches of events, matched, executed by a handler that does nothing, and recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actions_domain::action::ActionType;
use actions_domain::event::EventType;
use actions_domain::execution::{Outcome, Output};
use actions_domain::ports::clock::Clock;
use actions_domain::ports::handler::{Call, Delivery, Descriptor, Handler};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::error::CliError;
use super::histogram::Histogram;
use super::producer::{Producer, Target, verify};
use super::{Measured, Running};

/// Events of one batch.
const BATCH: usize = 250;
/// Waiting items: enough that the node never starves, few enough for the memory.
pub(super) const BACKLOG_MAX: u64 = 10_000;
const SECONDS: u64 = 60;

/// Does nothing, and notes how long ago its event was sent.
pub(super) struct Noop {
    descriptor: Descriptor,
    clock: Arc<dyn Clock>,
    pub(super) delays: Arc<Histogram>,
    pub(super) handled: Arc<AtomicU64>,
}

impl Noop {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let descriptor = descriptor("bench.noop", "Do nothing");
        let (delays, handled) = (Arc::new(Histogram::new()), Arc::new(AtomicU64::new(0)));
        Self { descriptor, clock, delays, handled }
    }
}

/// What a handler of a measurement says of itself.
pub(super) fn descriptor(id: &'static str, title: &'static str) -> Descriptor {
    let anything = json!({});
    Descriptor {
        id,
        aliases: &[],
        version: env!("CARGO_PKG_VERSION"),
        title,
        handler_type: "native",
        capabilities: &["async"],
        action_types: &[ActionType::Custom],
        delivery: Delivery::OnceRecorded,
        config_schema: anything.clone(),
        input_schema: anything.clone(),
        output_schema: anything,
    }
}

#[async_trait]
impl Handler for Noop {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn execute(&self, call: &Call) -> Outcome {
        if let Some(at) = call.input.get("at").and_then(Value::as_i64) {
            let micros = self.clock.now().timestamp_micros().saturating_sub(at);
            let micros = u64::try_from(micros).unwrap_or(0);
            self.delays.record(std::time::Duration::from_micros(micros));
        }
        self.handled.fetch_add(1, Ordering::Relaxed);
        Outcome::Done(Output::new(Value::Null))
    }
}

/// The action of a handler that does nothing.
pub(super) fn spec() -> Value {
    json!({
        "name": "noop",
        "action_type": "custom",
        "handler": "bench.noop",
        "event_patterns": ["bench.tick"],
    })
}

pub(super) fn event_type() -> Result<EventType, CliError> {
    EventType::parse("bench.tick").map_err(|error| CliError::failed(error.to_string()))
}

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let handler = Arc::new(Noop::new(app.ports.clock.clone()));
    bench.install(handler.clone());
    let targets = [bench.target(spec()).await?];
    flood(bench, &handler, targets.into()).await
}

/// Sends batches for a while as fast as they are worked off.
pub(super) async fn flood(
    bench: &Running<'_>,
    handler: &Noop,
    targets: Arc<[Target]>,
) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let node = bench.start().await?;
    let producer = Producer {
        app: app.clone(),
        targets,
        event_type: event_type()?,
        batch: BATCH,
        backlog_max: BACKLOG_MAX,
        handled: handler.handled.clone(),
    };
    let begun = app.ports.clock.now();
    let time = bench.seconds(SECONDS);
    let progress = bench.sending(time);
    let sent = producer.send_for(time).await?;
    drop(progress);
    let progress = bench.step(format!("{sent} events sent; waiting until all are recorded"));
    let counts = producer.recorded(sent).await?;
    drop(progress);
    let ended = app.ports.clock.now();
    verify(&counts, sent)?;
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Measured {
        count: sent,
        seconds: (ended - begun).as_seconds_f64(),
        p50_ms: handler.delays.quantile_ms(0.5),
        p99_ms: handler.delays.quantile_ms(0.99),
        extra: json!({ "recorded": counts.completed, "retries": counts.retries, "batch": BATCH }),
    })
}
