//! Single events from many callers in this process. Each is durable before it is acknowledged.
//! No node runs meanwhile: what is measured is the way in. Afterwards all of them are run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actions_domain::Timestamp;
use serde_json::json;

use super::super::error::CliError;
use super::histogram::Histogram;
use super::noop::{Noop, event_type, spec};
use super::producer::{Producer, verify};
use super::{Measured, Running};

const SECONDS: u64 = 10;

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let clock = app.ports.clock.clone();
    let handler = Arc::new(Noop::new(clock.clone()));
    bench.install(handler.clone());
    let target = bench.target(spec()).await?;
    let producer = Producer {
        app: app.clone(),
        targets: [target].into(),
        event_type: event_type()?,
        batch: 1,
        backlog_max: u64::MAX,
        handled: handler.handled.clone(),
    };
    let (acks, accepted) = (Arc::new(Histogram::new()), Arc::new(AtomicU64::new(0)));
    let time = bench.seconds(SECONDS);
    let progress = bench.sending(time);
    let begun = clock.now();
    let callers: Vec<_> = (0..bench.args.callers)
        .map(|_| {
            let (producer, acks, accepted) = (producer.clone(), acks.clone(), accepted.clone());
            tokio::spawn(async move { call(&producer, begun + time, &acks, &accepted).await })
        })
        .collect();
    for caller in callers {
        caller.await.map_err(|error| CliError::failed(error.to_string()))??;
    }
    let ended = clock.now();
    drop(progress);
    let sent = accepted.load(Ordering::Relaxed);
    let progress = bench.step(format!("{sent} events sent; now they are run"));
    let node = bench.start().await?;
    let ends = producer.recorded(sent).await?;
    drop(progress);
    verify(&ends, sent)?;
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Measured {
        count: sent,
        seconds: (ended - begun).as_seconds_f64(),
        p50_ms: acks.quantile_ms(0.5),
        p99_ms: acks.quantile_ms(0.99),
        extra: json!({ "recorded": ends.completed, "callers": bench.args.callers }),
    })
}

async fn call(
    producer: &Producer,
    until: Timestamp,
    acks: &Histogram,
    accepted: &AtomicU64,
) -> Result<(), CliError> {
    let clock = &producer.app.ports.clock;
    let mut number = 0;
    loop {
        let begun = clock.now();
        if begun >= until {
            return Ok(());
        }
        accepted
            .fetch_add(producer.submit(vec![producer.event(number)?]).await?, Ordering::Relaxed);
        acks.record((clock.now() - begun).to_std().unwrap_or_default());
        number += 1;
    }
}
