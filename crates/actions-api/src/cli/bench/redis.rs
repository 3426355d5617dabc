//! Events through the stream, matched, executed by a handler that does nothing, and recorded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actions_domain::ports::event_stream::EventStream;
use serde_json::json;

use super::super::error::CliError;
use super::super::server::chain;
use super::noop::{BACKLOG_MAX, Noop, spec};
use super::producer::{Producer, REST, verify};
use super::{Measured, Running};

/// Entries that are put in at once.
const BATCH: u64 = 500;
const SECONDS: u64 = 30;

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let clock = &app.ports.clock;
    let stream = bench.engine.stream.clone().ok_or_else(|| {
        CliError::usage("bench redis needs --redis-url").with_hint(
            "name a server of its own: whatever is in its stream is read and acknowledged",
        )
    })?;
    let handler = Arc::new(Noop::new(clock.clone()));
    bench.install(handler.clone());
    let target = bench.target(spec()).await?;
    let schema = app.catalogue.find(target.tenant).map(|known| known.tenant.slug.schema());
    let schema = schema.unwrap_or_default().into_bytes();
    let node = bench.start().await?;
    let reader = bench.engine.read_stream(&bench.config.node_name);

    let time = bench.seconds(SECONDS);
    let progress = bench.sending(time);
    let begun = clock.now();
    let until = begun + time;
    let mut sent = 0;
    while clock.now() < until {
        if sent - handler.handled.load(Ordering::Relaxed) >= BACKLOG_MAX {
            clock.sleep(REST).await;
            continue;
        }
        let at = clock.now().timestamp_micros();
        let event = |number: u64| {
            let event = json!({ "type": "bench.tick", "data": { "number": number, "at": at } });
            vec![
                ("schema".to_owned(), schema.clone()),
                ("event".to_owned(), event.to_string().into_bytes()),
            ]
        };
        put(stream.as_ref(), (sent..sent + BATCH).map(event).collect()).await?;
        sent += BATCH;
    }
    drop(progress);
    let producer = Producer::of_single_events(app, target, &handler.handled)?;
    let progress = bench.step(format!("{sent} events sent; waiting until all are recorded"));
    let counts = producer.recorded(sent).await?;
    drop(progress);
    let ended = clock.now();
    verify(&counts, sent)?;
    if let Some(reader) = reader {
        reader.stop().await;
    }
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Measured {
        count: sent,
        seconds: (ended - begun).as_seconds_f64(),
        p50_ms: handler.delays.quantile_ms(0.5),
        p99_ms: handler.delays.quantile_ms(0.99),
        extra: json!({ "recorded": counts.completed, "retries": counts.retries, "batch": BATCH }),
    })
}

async fn put(
    stream: &dyn EventStream,
    entries: Vec<Vec<(String, Vec<u8>)>>,
) -> Result<(), CliError> {
    stream.put(&entries).await.map_err(|error| CliError::failed(chain(&error)))
}
