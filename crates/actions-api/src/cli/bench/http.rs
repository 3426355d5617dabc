//! Single events over HTTP from many callers, each durable before it is acknowledged, while they
//! are worked off. Callers and server are one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actions_domain::Timestamp;
use actions_domain::ports::clock::Clock;
use serde_json::json;
use tokio::net::TcpListener;

use super::super::error::CliError;
use super::histogram::Histogram;
use super::noop::{Noop, event_type, spec};
use super::producer::{Producer, verify};
use super::{Measured, Running};
use crate::Access;

const SECONDS: u64 = 15;

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let clock = app.ports.clock.clone();
    let handler = Arc::new(Noop::new(clock.clone()));
    bench.install(handler.clone());
    let target = bench.target(spec()).await?;
    let slug = app.catalogue.find(target.tenant).map(|known| known.tenant.slug.to_string());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let url = format!("http://{address}/v1/tenants/{}/events", slug.unwrap_or_default());
    let router = crate::router(app.clone(), Access::LocalDev);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let node = bench.start().await?;

    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(|error| CliError::failed(error.to_string()))?;
    let (acks, accepted) = (Arc::new(Histogram::new()), Arc::new(AtomicU64::new(0)));
    let time = bench.seconds(SECONDS);
    let progress = bench.sending(time);
    let begun = clock.now();
    let callers: Vec<_> = (0..bench.args.callers)
        .map(|_| {
            let caller = Caller {
                client: client.clone(),
                url: url.clone(),
                clock: clock.clone(),
                acks: acks.clone(),
                accepted: accepted.clone(),
            };
            tokio::spawn(async move { caller.call_until(begun + time).await })
        })
        .collect();
    for caller in callers {
        caller.await.map_err(|error| CliError::failed(error.to_string()))??;
    }
    let ended = clock.now();
    drop(progress);
    let sent = accepted.load(Ordering::Relaxed);
    let producer = Producer {
        app: app.clone(),
        targets: [target].into(),
        event_type: event_type()?,
        batch: 1,
        backlog_max: u64::MAX,
        handled: handler.handled.clone(),
    };
    let progress = bench.step(format!("{sent} events sent; waiting until all are recorded"));
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

struct Caller {
    client: reqwest::Client,
    url: String,
    clock: Arc<dyn Clock>,
    acks: Arc<Histogram>,
    accepted: Arc<AtomicU64>,
}

impl Caller {
    async fn call_until(self, until: Timestamp) -> Result<(), CliError> {
        loop {
            let begun = self.clock.now();
            if begun >= until {
                return Ok(());
            }
            let at = begun.timestamp_micros();
            let body = json!({ "type": "bench.tick", "data": { "number": 1, "at": at } });
            let request = self.client.post(&self.url).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await;
            let answer = answer.map_err(|error| CliError::failed(error.to_string()))?;
            if answer.status() != reqwest::StatusCode::ACCEPTED {
                let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
                return Err(CliError::failed(format!("the server answered {status}: {text}")));
            }
            // The connection is free for the next call once the answer was read.
            let _ = answer.bytes().await;
            self.acks.record((self.clock.now() - begun).to_std().unwrap_or_default());
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
    }
}
