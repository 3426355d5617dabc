//! Single events over HTTP from many callers, each durable before it is acknowledged. Callers and
//! server are one process. As with `emit`, what is measured is the way in; afterwards all of them
//! are run.

use std::sync::Arc;

use actions_domain::Timestamp;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::net::TcpListener;

use super::super::error::CliError;
use super::super::server::chain;
use super::callers::call_for;
use super::noop::{Noop, spec};
use super::producer::Producer;
use super::{Measured, Running};
use crate::Access;

const SECONDS: u64 = 15;
const ANSWER_BYTES_MAX: usize = 1 << 20;

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
    let url: Uri = url.parse().map_err(|_| CliError::failed(format!("{url} is no address")))?;

    // The callers take their share of the same cores, so theirs is a plain client.
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    let send = move || {
        let (client, url, now) = (client.clone(), url.clone(), clock.now());
        async move { post(&client, url, now).await }
    };
    let called = call_for(bench, bench.seconds(SECONDS), send).await?;
    let node = bench.start().await?;
    let producer = Producer::of_single_events(app, target, &handler.handled)?;
    let measured = called.recorded(bench, &producer).await?;
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(measured)
}

async fn post(
    client: &Client<HttpConnector, Body>,
    url: Uri,
    now: Timestamp,
) -> Result<(), CliError> {
    let data = json!({ "number": 0, "at": now.timestamp_micros() });
    let body = json!({ "type": "bench.tick", "data": data });
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .map_err(|error| CliError::failed(error.to_string()))?;
    let answer = client.request(request).await;
    let answer = answer.map_err(|error| CliError::failed(chain(&error)))?;
    let status = answer.status();
    // The connection is free for the next call once the answer was read.
    let text = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await.unwrap_or_default();
    if status == StatusCode::ACCEPTED {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&text);
    Err(CliError::failed(format!("the server answered {status}: {text}")))
}
