//! How fast a backlog is worked off: executions gather while their tenant is paused, and the
//! time is taken from its resumption until the history has the end of each.

use std::sync::Arc;

use actions_app::commands::control_tenant::{self, ControlTenantError};
use actions_domain::tenant::Controls;
use serde_json::json;

use super::super::error::CliError;
use super::super::seed::operator;
use super::super::server::chain;
use super::noop::{Noop, event_type, spec};
use super::producer::{Producer, Target, verify};
use super::{Measured, Running};

const BATCH: usize = 500;

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let handler = Arc::new(Noop::new(app.ports.clock.clone()));
    bench.install(handler.clone());
    let target = bench.target(spec()).await?;
    let node = bench.start().await?;
    let (producer, sent) = gather(bench, target, bench.args.count, &handler).await?;
    let begun = app.ports.clock.now();
    let progress = bench.step(format!("{sent} executions wait; working them off"));
    let caller = operator(app, target.tenant);
    let resumed =
        control_tenant::resume(app, &caller, target.tenant, &control_tenant::Target::Tenant).await;
    done(resumed)?;
    let ends = producer.recorded(sent).await?;
    drop(progress);
    let ended = app.ports.clock.now();
    verify(&ends, sent)?;
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Measured {
        count: sent,
        seconds: (ended - begun).as_seconds_f64(),
        p50_ms: handler.delays.quantile_ms(0.5),
        p99_ms: handler.delays.quantile_ms(0.99),
        extra: json!({ "recorded": ends.completed, "retries": ends.retries }),
    })
}

/// Pauses a tenant and sends it events, which wait.
pub(super) async fn gather(
    bench: &Running<'_>,
    target: Target,
    count: u64,
    handler: &Noop,
) -> Result<(Producer, u64), CliError> {
    let app = &bench.engine.app;
    let caller = operator(app, target.tenant);
    let everything = control_tenant::Target::Tenant;
    done(control_tenant::pause(app, &caller, target.tenant, &everything, None).await)?;
    let producer = Producer {
        app: app.clone(),
        targets: [target].into(),
        event_type: event_type()?,
        batch: BATCH,
        backlog_max: u64::MAX,
        handled: handler.handled.clone(),
    };
    let progress = bench.step(format!("sending {count} events that wait"));
    let sent = producer.send_count(count).await?;
    drop(progress);
    Ok((producer, sent))
}

fn done(changed: Result<Controls, ControlTenantError>) -> Result<(), CliError> {
    changed.map(drop).map_err(|error| CliError::failed(chain(&error)))
}
