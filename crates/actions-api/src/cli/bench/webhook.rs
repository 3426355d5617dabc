//! Signed deliveries to a receiver in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actions_domain::ports::clock::Clock;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::super::error::CliError;
use super::histogram::Histogram;
use super::noop::event_type;
use super::producer::{Producer, verify};
use super::{Measured, Running};

const SECONDS: u64 = 20;
const BATCH: usize = 50;
/// Deliveries that wait: what is measured is the way out, not the queue.
const BACKLOG_MAX: u64 = 500;
/// Base64 of 24 bytes, as Standard Webhooks wants it.
const SECRET: &str = "whsec_YmVuY2htYXJrLXNlY3JldC0yNC1ieXRlcw==";

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let (received, delays) = (Arc::new(AtomicU64::new(0)), Arc::new(Histogram::new()));
    let url = receive(app.ports.clock.clone(), received.clone(), delays.clone()).await?;
    let spec = json!({
        "name": "deliver",
        "action_type": "webhook",
        "handler": "webhook.signed",
        "event_patterns": ["bench.tick"],
        "config": { "webhook_url": url, "webhook_secret": SECRET },
    });
    let target = bench.target(spec).await?;
    let node = bench.start().await?;

    let producer = Producer {
        app: app.clone(),
        targets: [target].into(),
        event_type: event_type()?,
        batch: BATCH,
        backlog_max: BACKLOG_MAX,
        handled: received.clone(),
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
        p50_ms: delays.quantile_ms(0.5),
        p99_ms: delays.quantile_ms(0.99),
        extra: json!({ "received": received.load(Ordering::Relaxed), "retries": counts.retries }),
    })
}

/// Starts a receiver that answers at once, and answers its URL.
async fn receive(
    clock: Arc<dyn Clock>,
    received: Arc<AtomicU64>,
    delays: Arc<Histogram>,
) -> Result<String, CliError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let hook = move |body: Bytes| {
        if let Some(at) = sent_at(&body) {
            let micros = clock.now().timestamp_micros().saturating_sub(at);
            delays.record(std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
        }
        received.fetch_add(1, Ordering::Relaxed);
        async { "ok" }
    };
    let router = Router::new().route("/hook", post(hook));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// The event's data, wherever the delivery has it.
fn sent_at(body: &[u8]) -> Option<i64> {
    let body: Value = serde_json::from_slice(body).ok()?;
    ["/data/at", "/at", "/event/data/at"].iter().find_map(|pointer| body.pointer(pointer)?.as_i64())
}
