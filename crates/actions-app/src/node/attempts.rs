//! Makes attempts: finds the action and its handler, calls it, and says how it ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::action::Action;
use actions_domain::dispatch::{End, Start};
use actions_domain::execution::{AttemptOutcome, Fault, Outcome, Output};
use actions_domain::id::NodeId;
use actions_domain::json::Json;
use actions_domain::limits::OUTPUT_BYTES_MAX;
use actions_domain::ports::handler::{Call, TenantRef};
use actions_domain::ports::store::StoreError;
use actions_domain::retry::{Jitter, RetryPolicy};
use futures_util::FutureExt;
use serde_json::{Value, json};
use tracing::warn;

use crate::app::App;

/// Pauses between tries to read while the store is away.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Makes one attempt. Always comes to an end: a handler that does not answer in time is
/// dropped, one that panics has failed.
pub(crate) async fn attempt(app: &App, node: NodeId, start: Start) -> End {
    let found = prepare_patiently(app, node, &start).await;
    // The last look before something happens: whoever slept through its lease starts nothing
    // that another node may have started by now. The session ends, or is heard again.
    while !app.live.is_trusted(app.ports.clock.now()) {
        app.ports.clock.sleep(PAUSE_MIN).await;
    }
    let started_at = app.ports.clock.now();
    let (policy, ended) = match found {
        Ok((action, call, handler)) => {
            let timeout = action.spec.timeout();
            let running = AssertUnwindSafe(handler.execute(&call)).catch_unwind();
            let outcome = tokio::select! {
                biased;
                outcome = running => outcome.unwrap_or_else(|panic| {
                    Outcome::Retry(Fault::handler("handler.panicked", panic_text(panic.as_ref())))
                }),
                () = app.ports.clock.sleep(timeout) => Outcome::Retry(Fault::timeout(timeout)),
            };
            (action.spec.retry_policy.clone(), Ended::of(outcome))
        }
        Err(refused) => (refused.policy, refused.ended),
    };
    End {
        started_at,
        ended_at: app.ports.clock.now(),
        outcome: ended.outcome,
        output: ended.output,
        fault: ended.fault,
        rejected: ended.rejected,
        cpu_ms: ended.cpu_ms,
        memory_mb: ended.memory_mb,
        policy,
        jitter: Jitter(app.ports.dice.roll()),
    }
}

type Prepared = (Arc<Action>, Call, Arc<dyn actions_domain::ports::handler::Handler>);

/// Why no handler was called.
struct NotCalled {
    policy: RetryPolicy,
    ended: Ended,
}

impl NotCalled {
    fn new(policy: &RetryPolicy, outcome: Outcome) -> Box<Self> {
        Box::new(Self { policy: policy.clone(), ended: Ended::of(outcome) })
    }

    fn cancelled(action: &Action, fault: Fault) -> Box<Self> {
        let ended =
            Ended { outcome: AttemptOutcome::Cancelled, ..Ended::of(Outcome::Reject(fault)) };
        Box::new(Self { policy: action.spec.retry_policy.clone(), ended })
    }
}

/// Reads what an attempt needs, as often as it takes: that the store is away is nothing that the
/// execution's policy should judge.
async fn prepare_patiently(
    app: &App,
    node: NodeId,
    start: &Start,
) -> Result<Prepared, Box<NotCalled>> {
    let mut pause = PAUSE_MIN;
    loop {
        match prepare(app, node, start).await {
            Ok(prepared) => return prepared,
            Err(StoreError::Corrupt { what }) => {
                let fault = Fault::system("store.corrupt", format!("{what} cannot be read"));
                return Err(NotCalled::new(&RetryPolicy::default(), Outcome::Reject(fault)));
            }
            Err(error) => {
                warn!(%error, execution = %start.item.work.id, "an attempt waits for the store");
                app.ports.clock.sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

async fn prepare(
    app: &App,
    node: NodeId,
    start: &Start,
) -> Result<Result<Prepared, Box<NotCalled>>, StoreError> {
    let work = &start.item.work;
    // What it does is pinned; whether it may run at all is asked now. Neither is asked of
    // definitions that are older than the execution.
    let known = app.catalogue.find(work.tenant);
    if known.is_none_or(|known| known.version() < work.defs) {
        app.catalogue.refresh(work.tenant, work.defs).await?;
    }
    let pinned = app.catalogue.pinned_action(work.tenant, work.action, work.defs).await?;
    let Some(action) = pinned else {
        let fault = Fault::handler("action.not_found", "the action does not exist any more");
        return Ok(Err(NotCalled::new(&RetryPolicy::default(), Outcome::Reject(fault))));
    };
    let policy = &action.spec.retry_policy;
    let Some(known) = app.catalogue.find(work.tenant) else {
        let fault = Fault::handler("tenant.not_found", "the tenant does not exist any more");
        return Ok(Err(NotCalled::new(policy, Outcome::Reject(fault))));
    };
    let current = known.action(work.action);
    let Some(current) = current.filter(|current| current.spec.is_active) else {
        let fault = Fault::handler("action.inactive", "the action was switched off or deleted");
        return Ok(Err(NotCalled::cancelled(&action, fault)));
    };
    if !current.health.is_healthy {
        let why = current.health.error.as_deref().unwrap_or("its last health check failed");
        let fault = Fault::system("action.unhealthy", format!("the action is unhealthy: {why}"));
        return Ok(Err(NotCalled::new(policy, Outcome::Retry(fault))));
    }
    let Some(handler) = app.handlers.find(&action.spec.handler) else {
        let message = format!("handler {} is not installed on this node", action.spec.handler);
        let fault = Fault::system("handler.not_found", message);
        return Ok(Err(NotCalled::new(policy, Outcome::Retry(fault))));
    };
    let event = match (&start.item.event, work.event) {
        (Some(event), _) => Some(event.clone()),
        (None, None) => None,
        (None, Some(id)) => {
            let loaded = app.ports.store.events(&[id]).await?;
            let Some(event) = loaded.into_iter().next() else {
                let fault = Fault::system("event.not_found", "its event is not kept any more");
                return Ok(Err(NotCalled::new(policy, Outcome::Reject(fault))));
            };
            Some(Arc::new(event))
        }
    };
    let input = match (&work.input, &event) {
        (Some(input), _) => input.to_value(),
        (None, Some(event)) => event.data.to_value(),
        (None, None) => Value::Null,
    };
    let tenant = TenantRef {
        id: known.tenant.id,
        uuid: known.tenant.uuid,
        slug: known.tenant.slug.as_str().to_owned(),
        schema: known.tenant.slug.schema(),
    };
    let call = Call {
        execution: work.id,
        parent: work.parent,
        attempt: start.number,
        tenant,
        action: action.spec.name.as_str().to_owned(),
        config: action.spec.config.clone(),
        input,
        event,
        node,
        queued_at: work.queued_at,
        started_at: app.ports.clock.now(),
        timeout: action.spec.timeout(),
    };
    Ok(Ok((action, call, handler)))
}

/// How an attempt ended, in the history's words.
struct Ended {
    outcome: AttemptOutcome,
    output: Option<Json>,
    fault: Option<Fault>,
    rejected: bool,
    cpu_ms: Option<u64>,
    memory_mb: Option<u64>,
}

impl Ended {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done(output) => Self::done(output),
            Outcome::Retry(fault) => Self::failed(fault, false),
            Outcome::Reject(fault) => Self::failed(fault, true),
        }
    }

    fn done(output: Output) -> Self {
        Self {
            outcome: AttemptOutcome::Completed,
            output: Some(kept(&output.data)),
            fault: None,
            rejected: false,
            cpu_ms: output.cpu_ms,
            memory_mb: output.memory_mb,
        }
    }

    fn failed(fault: Fault, rejected: bool) -> Self {
        let outcome = match fault.class {
            actions_domain::execution::ErrorClass::Timeout => AttemptOutcome::Timeout,
            actions_domain::execution::ErrorClass::SystemError
            | actions_domain::execution::ErrorClass::HandlerError => AttemptOutcome::Failed,
        };
        Self { outcome, output: None, fault: Some(fault), rejected, cpu_ms: None, memory_mb: None }
    }
}

/// The output as the history keeps it. What cannot be stored is replaced by the reason, since
/// the attempt did succeed.
fn kept(data: &Value) -> Json {
    let text = data.to_string();
    if text.len() > OUTPUT_BYTES_MAX {
        let note = json!({ "omitted": "output too large", "bytes": text.len() });
        return Json::from_value(&note);
    }
    Json::parse(&text).unwrap_or_else(|error| {
        Json::from_value(&json!({ "omitted": format!("output cannot be stored: {error}") }))
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("without a message"))
}
