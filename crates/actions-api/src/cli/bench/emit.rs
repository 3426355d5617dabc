//! Single events from many callers in this process. Each is durable before it is acknowledged.
//! No node runs meanwhile: what is measured is the way in. Afterwards all of them are run.

use std::sync::Arc;

use super::super::error::CliError;
use super::callers::call_for;
use super::noop::{Noop, spec};
use super::producer::Producer;
use super::{Measured, Running};

const SECONDS: u64 = 10;

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let handler = Arc::new(Noop::new(app.ports.clock.clone()));
    bench.install(handler.clone());
    let target = bench.target(spec()).await?;
    let producer = Producer::of_single_events(app, target, &handler.handled)?;
    let sender = producer.clone();
    let send = move || {
        let producer = sender.clone();
        async move { producer.submit(vec![producer.event(0)?]).await.map(drop) }
    };
    let called = call_for(bench, bench.seconds(SECONDS), send).await?;
    let node = bench.start().await?;
    let measured = called.recorded(bench, &producer).await?;
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(measured)
}
