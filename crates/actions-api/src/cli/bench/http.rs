//! Single events over HTTP from many callers, each durable before it is acknowledged, while they
//! are worked off. Callers and server are one process.

use std::sync::Arc;

use actions_domain::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;

use super::super::error::CliError;
use super::callers::call_for;
use super::noop::{Noop, spec};
use super::producer::Producer;
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
    let send = move || {
        let (client, url, now) = (client.clone(), url.clone(), clock.now());
        async move { post(&client, &url, now).await }
    };
    let called = call_for(bench, bench.seconds(SECONDS), send).await?;
    let producer = Producer::of_single_events(app, target, &handler.handled)?;
    let measured = called.recorded(bench, &producer).await?;
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(measured)
}

async fn post(client: &reqwest::Client, url: &str, now: Timestamp) -> Result<(), CliError> {
    let data = json!({ "number": 0, "at": now.timestamp_micros() });
    let body = json!({ "type": "bench.tick", "data": data });
    let request = client.post(url).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await;
    let answer = answer.map_err(|error| CliError::failed(error.to_string()))?;
    let status = answer.status();
    // The connection is free for the next call once the answer was read.
    let text = answer.text().await.unwrap_or_default();
    if status == reqwest::StatusCode::ACCEPTED {
        return Ok(());
    }
    Err(CliError::failed(format!("the server answered {status}: {text}")))
}
