//! From sending an event to the start of its handler, at a steady rate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::super::error::CliError;
use super::histogram::Histogram;
use super::noop::{Noop, spec};
use super::producer::{Producer, verify};
use super::{Measured, Running};

const SECONDS: u64 = 30;

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let clock = app.ports.clock.clone();
    let handler = Arc::new(Noop::new(clock.clone()));
    bench.install(handler.clone());
    let target = bench.target(spec()).await?;
    let node = bench.start().await?;

    let producer = Producer::of_single_events(app, target, &handler.handled)?;
    let acks = Arc::new(Histogram::new());
    let rate = f64::from(bench.args.rate);
    let time = bench.seconds(SECONDS);
    let count = (time.as_secs_f64() * rate) as u64;
    let progress = bench.sending(time);
    let begun = clock.now();
    let mut sending = Vec::new();
    for number in 0..count {
        let due = begun + Duration::from_secs_f64(number as f64 / rate);
        if let Ok(pause) = (due - clock.now()).to_std() {
            clock.sleep(pause).await;
        }
        // An event that is slow must not hold up the next one: the rate is the world's.
        let (producer, acks) = (producer.clone(), acks.clone());
        sending.push(tokio::spawn(async move { send(&producer, number, &acks).await }));
    }
    for sent in sending {
        sent.await.map_err(|error| CliError::failed(error.to_string()))??;
    }
    drop(progress);
    let counts = producer.recorded(count).await?;
    let ended = clock.now();
    verify(&counts, count)?;
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Measured {
        count: handler.handled.load(Ordering::Relaxed),
        seconds: (ended - begun).as_seconds_f64(),
        p50_ms: handler.delays.quantile_ms(0.5),
        p99_ms: handler.delays.quantile_ms(0.99),
        extra: json!({
            "acknowledged_p50_ms": super::rounded(acks.quantile_ms(0.5)),
            "acknowledged_p99_ms": super::rounded(acks.quantile_ms(0.99)),
            "events_per_s": bench.args.rate,
        }),
    })
}

async fn send(producer: &Producer, number: u64, acks: &Histogram) -> Result<(), CliError> {
    let clock = &producer.app.ports.clock;
    let begun = clock.now();
    let events = vec![producer.event(number)?];
    producer.submit(events).await?;
    acks.record((clock.now() - begun).to_std().unwrap_or_default());
    Ok(())
}
