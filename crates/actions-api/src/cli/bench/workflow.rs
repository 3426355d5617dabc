//! Runs of a workflow of three steps that do nothing, started by many callers, with their history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actions_app::commands::put_workflow::{PutWorkflow, put_workflow};
use actions_app::commands::start_run::{StartRun, start_run};
use actions_app::queries::runs::wait_for_run;
use actions_domain::authorization::AuthorizationContext;
use actions_domain::flow::record::RunStatus;
use actions_domain::json::Json;
use actions_domain::ports::definitions::Expected;
use serde_json::json;

use super::super::error::CliError;
use super::histogram::Histogram;
use super::noop::{Noop, spec};
use super::{Measured, Running};

const SECONDS: u64 = 30;
/// How long one run may take before the measurement is given up.
const RUN_MAX: Duration = Duration::from_secs(30);

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    bench.install(Arc::new(Noop::new(app.ports.clock.clone())));
    let tenant = bench.target(spec()).await?.tenant;
    let caller = AuthorizationContext::of_command_line(tenant, "bench");
    let step =
        |name: &str, after: &[&str]| json!({ "name": name, "action": "noop", "depends_on": after });
    let steps = [step("one", &[]), step("two", &["one"]), step("three", &["two"])];
    let document = json!({ "action": { "name": "three-steps", "workflow": { "steps": steps } } });
    let config = json!({ "document": document });
    let request = PutWorkflow { tenant, name: None, config, expected: Expected::Anything };
    put_workflow(app, &caller, request)
        .await
        .map_err(|error| CliError::failed(error.to_string()))?;
    let node = bench.start().await?;
    let (delays, ended) = (Arc::new(Histogram::new()), Arc::new(AtomicU64::new(0)));
    let begun = app.ports.clock.now();
    let time = bench.seconds(SECONDS);
    let progress = bench.sending(time);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..bench.args.callers {
        let (app, caller) = (app.clone(), caller.clone());
        let (delays, ended) = (delays.clone(), ended.clone());
        callers.spawn(async move {
            loop {
                let started_at = app.ports.clock.now();
                if (started_at - begun).to_std().unwrap_or_default() >= time {
                    return Ok(());
                }
                let request = StartRun {
                    tenant,
                    workflow: "three-steps".to_owned(),
                    id: None,
                    input: Json::null(),
                    context: Default::default(),
                };
                let failed = |error: &dyn std::error::Error| CliError::failed(error.to_string());
                let started =
                    start_run(&app, &caller, request).await.map_err(|error| failed(&error))?;
                let run = started.record.id;
                let over = wait_for_run(&app, &caller, tenant, run, RUN_MAX).await;
                let over = over.map_err(|error| failed(&error))?;
                if over.state.status != RunStatus::Completed {
                    let status = over.state.status.word();
                    return Err(CliError::failed(format!("run {run} is {status}")));
                }
                let took = app.ports.clock.now() - started_at;
                delays.record(took.to_std().unwrap_or_default());
                ended.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.map_err(|error| CliError::failed(error.to_string()))??;
    }
    drop(progress);
    let seconds = (app.ports.clock.now() - begun).as_seconds_f64();
    node.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Measured {
        count: ended.load(Ordering::Relaxed),
        seconds,
        p50_ms: delays.quantile_ms(0.5),
        p99_ms: delays.quantile_ms(0.99),
        extra: json!({ "steps": 3, "callers": bench.args.callers }),
    })
}
