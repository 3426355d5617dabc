//! Makes attempts: finds the action and its handler, calls it, and says how it ended.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::action::{Action, DeliveryMode};
use actions_domain::dispatch::{End, Start};
use actions_domain::event::Event;
use actions_domain::execution::report::{ReportOf, Reporter};
use actions_domain::execution::{Attempt, AttemptOutcome, Fault, Outcome, Output};
use actions_domain::flow::record::{NewRun, WorkflowVersion};
use actions_domain::gathering::input_of;
use actions_domain::id::{NodeId, RunId};
use actions_domain::json::Json;
use actions_domain::limits::{LOSSES_MAX, OUTPUT_BYTES_MAX};
use actions_domain::ports::handler::{Call, CallConfig, Handler, Probe, TenantRef};
use actions_domain::ports::store::StoreError;
use actions_domain::retry::{Jitter, RetryPolicy};
use actions_domain::work::{Fence, Work};
use futures_util::FutureExt;
use metrics::counter;
use serde_json::{Value, json};
use tracing::warn;

use super::reports::Running;
use crate::app::App;
use crate::config_secrets;
use crate::workflow_handler::RunStarter;
use crate::workflows::performed;

/// Pauses between tries to read while the store is away.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The code of a fault of the gate that outgoing connections pass.
const EGRESS_REFUSED: &str = "egress.forbidden";

/// How long a handler may take to find out whether an attempt has had its effect.
const PROBE_TIME_MAX: Duration = Duration::from_secs(30);

/// What became of a start.
pub(crate) enum Attempted {
    /// The attempt has ended. What it leaves for the next one is written down before its end.
    Ended { end: Box<End>, last_words: Option<Box<ReportOf>> },
    /// Its start has to be written down first. Nothing was called.
    MarkFirst,
}

/// Makes one attempt. Always comes to an end: a handler that does not answer in time is
/// dropped, one that panics has failed.
pub(crate) async fn attempt(app: &App, node: NodeId, start: Start) -> Attempted {
    let work = start.item.work.clone();
    let found = prepare_patiently(app, node, &start).await;
    // The last look before something happens: whoever slept through its lease starts nothing
    // that another node may have started by now. The session ends, or is heard again.
    while !app.live.is_trusted(app.ports.clock.now()) {
        app.ports.clock.sleep(PAUSE_MIN).await;
    }
    let started_at = app.ports.clock.now();
    let mut last_words = None;
    let (policy, ended) = match found {
        Ok(Prepared { action, call, handler }) => {
            let running = running(&start, &call);
            let _listening = app.live.reports.listen(call.execution, running.clone());
            let ended = match action.spec.delivery {
                DeliveryMode::AtLeastOnce => Ended::of(run(app, &action, &call, &*handler).await),
                DeliveryMode::AtMostOnce => {
                    let ended = once(app, &start, &action, &call, &*handler).await;
                    let Some(ended) = ended else { return Attempted::MarkFirst };
                    ended
                }
            };
            if ended.outcome != AttemptOutcome::Completed {
                last_words = running.last_words(call.execution).map(Box::new);
            }
            (action.spec.retry_policy.clone(), ended)
        }
        Err(refused) => (refused.policy, refused.ended),
    };
    if let Some(fault) = ended.fault.as_ref().filter(|fault| fault.code == EGRESS_REFUSED) {
        tell_of_refusal(app, &work, fault);
    }
    let end = End {
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
    };
    Attempted::Ended { end: Box::new(end), last_words }
}

/// Counts what the gate refused, and says whose it was.
fn tell_of_refusal(app: &App, work: &Work, fault: &Fault) {
    let refusal = fault.details.as_ref().and_then(|details| details["refusal"].as_str());
    // Words of the gate; whatever else a handler says makes no series of its own.
    let reason = match refusal {
        Some("metadata") => "metadata",
        Some("private") => "private",
        Some("port") => "port",
        Some("denied") => "denied",
        Some("not_listed") => "not_listed",
        Some(_) | None => "other",
    };
    counter!("actions_egress_refusals_total", "reason" => reason).increment(1);
    let known = app.catalogue.find(work.tenant);
    let tenant = known.as_ref().map_or("", |known| known.tenant.slug.as_str());
    warn!(tenant, execution = %work.id, reason, fault.message, "a call was refused by the gate");
}

/// Calls the handler, within its time and as long as it is heard.
async fn run(app: &App, action: &Action, call: &Call, handler: &dyn Handler) -> Outcome {
    let timeout = action.spec.timeout();
    let running = AssertUnwindSafe(handler.execute(call)).catch_unwind();
    let outcome = tokio::select! {
        biased;
        outcome = running => outcome.unwrap_or_else(|panic| {
            let fault = Fault::handler("handler.panicked", panic_text(panic.as_ref()));
            Outcome::Retry(fault.unsure())
        }),
        () = app.ports.clock.sleep(timeout) => Outcome::Retry(Fault::timeout(timeout)),
        limit = silence(app, action, call) => Outcome::Retry(Fault::silent(limit)),
    };
    call.config.masking().outcome(outcome)
}

/// Waits until the attempt was silent for longer than it may be. Answers how long that is.
async fn silence(app: &App, action: &Action, call: &Call) -> Duration {
    let Some(limit) = action.spec.heartbeat_timeout() else {
        return std::future::pending().await;
    };
    let clock = &app.ports.clock;
    loop {
        let heard_at = call.reporter.heard_at().unwrap_or(call.started_at);
        let silent_for = (clock.now() - heard_at).to_std().unwrap_or_default();
        let Some(left) = limit.checked_sub(silent_for).filter(|left| !left.is_zero()) else {
            return limit;
        };
        clock.sleep(left).await;
    }
}

/// Makes an attempt of what must not happen twice. `None`: its start has to be written down.
async fn once(
    app: &App,
    start: &Start,
    action: &Action,
    call: &Call,
    handler: &dyn Handler,
) -> Option<Ended> {
    let attempts = &start.item.attempts;
    let is_open = |attempt: &&Attempt| {
        matches!(attempt.outcome, AttemptOutcome::Lost | AttemptOutcome::Unknown)
    };
    let open = attempts.iter().filter(is_open).count();
    if attempts.last().is_some_and(|last| is_open(&last)) {
        let fault = Fault::unknown("its node ended after the start was written down");
        match probe(app, handler, call).await {
            Probe::Happened(output) => return Some(Ended::done(output)),
            Probe::CannotTell => return Some(Ended::unknown(fault)),
            Probe::DidNotHappen if open >= usize::from(LOSSES_MAX) => {
                let message = format!("its node ended {open} times while it ran");
                return Some(Ended::failed(Fault::system("execution.poison", message), true));
            }
            Probe::DidNotHappen => {}
        }
    }
    if !start.is_marked {
        return None;
    }
    let outcome = run(app, action, call, handler).await;
    let (Outcome::Retry(fault) | Outcome::Reject(fault)) = &outcome else {
        return Some(Ended::of(outcome));
    };
    if !fault.may_have_happened() {
        return Some(Ended::of(outcome));
    }
    Some(match probe(app, handler, call).await {
        Probe::Happened(output) => Ended::done(output),
        Probe::DidNotHappen => Ended::of(outcome),
        Probe::CannotTell => Ended::unknown(Fault::unknown(&fault.message)),
    })
}

/// Asks the handler what became of an attempt. One that does not answer cannot tell.
async fn probe(app: &App, handler: &dyn Handler, call: &Call) -> Probe {
    let asked = AssertUnwindSafe(handler.probe(call)).catch_unwind();
    let probe = tokio::select! {
        biased;
        probe = asked => probe.unwrap_or(Probe::CannotTell),
        () = app.ports.clock.sleep(PROBE_TIME_MAX) => Probe::CannotTell,
    };
    match probe {
        Probe::Happened(mut output) => {
            output.data = call.config.masking().value(output.data);
            Probe::Happened(output)
        }
        Probe::DidNotHappen | Probe::CannotTell => probe,
    }
}

/// The attempt as those see it that write down what it tells.
fn running(start: &Start, call: &Call) -> Running {
    Running {
        tenant: call.tenant.id,
        fence: Fence { part: start.item.part, epoch: start.epoch },
        started_at: call.started_at,
        reporter: call.reporter.clone(),
    }
}

struct Prepared {
    action: Arc<Action>,
    call: Call,
    handler: Arc<dyn Handler>,
}

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
    let (action, is_of_workflow) = match work.step() {
        None => (action, false),
        Some(step) => match performed(app, work.tenant, step, action).await? {
            Ok(performed) => (performed.action, performed.is_own),
            Err(why) => {
                let fault = Fault::handler("flow.unknown_step", &*why);
                return Ok(Err(NotCalled::new(&RetryPolicy::default(), Outcome::Reject(fault))));
            }
        },
    };
    let policy = &action.spec.retry_policy;
    let Some(known) = app.catalogue.find(work.tenant) else {
        let fault = Fault::handler("tenant.not_found", "the tenant does not exist any more");
        return Ok(Err(NotCalled::new(policy, Outcome::Reject(fault))));
    };
    // A run goes on when its workflow is switched off: only new runs are none any more.
    let current = if is_of_workflow { Some(action.clone()) } else { known.action(work.action) };
    let Some(current) = current.filter(|current| current.spec.is_active) else {
        let fault = Fault::handler("action.inactive", "the action was switched off or deleted");
        return Ok(Err(NotCalled::cancelled(&action, fault)));
    };
    if !current.health.is_healthy {
        let why = current.health.error.as_deref().unwrap_or("its last health check failed");
        let fault = Fault::system("action.unhealthy", format!("the action is unhealthy: {why}"));
        return Ok(Err(NotCalled::new(policy, Outcome::Retry(fault))));
    }
    let reach = known.controls().reach.clone();
    let Some(handler) = app.handlers.find_within(&action.spec.handler, &reach) else {
        let message = format!("handler {} is not installed on this node", action.spec.handler);
        let fault = Fault::system("handler.not_found", message);
        return Ok(Err(NotCalled::new(policy, Outcome::Retry(fault))));
    };
    // What a workflow's steps name is put into theirs.
    let config = if action.spec.is_workflow() {
        Ok(CallConfig::from(Value::Null))
    } else {
        config_secrets::resolve(app, work.tenant, handler.descriptor(), &action.spec.config).await?
    };
    let config = match config {
        Ok(config) => config,
        Err(refused) => return Ok(Err(NotCalled::new(policy, refused.outcome()))),
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
    let gathered = gathered(app, work, &action, event.as_deref()).await?;
    let input = match (&gathered, &work.input, &event) {
        (Some(input), _, _) | (None, Some(input), _) => input.to_value(),
        (None, None, Some(event)) => event.data.to_value(),
        (None, None, None) => Value::Null,
    };
    let tenant = TenantRef {
        id: known.tenant.id,
        uuid: known.tenant.uuid,
        slug: known.tenant.slug.as_str().to_owned(),
        schema: known.tenant.slug.schema(),
    };
    let has_report = app.live.reports.is_written(work.id);
    let left = if has_report { app.ports.store.report(work.id).await? } else { None };
    let checkpoint = left.and_then(|report| report.checkpoint);
    let (clock, masking) = (app.ports.clock.clone(), config.masking().clone());
    let call = Call {
        execution: work.id,
        parent: work.parent,
        attempt: start.number,
        tenant,
        action: action.spec.name.as_str().to_owned(),
        config,
        input,
        gathered,
        event,
        node,
        queued_at: work.queued_at,
        started_at: app.ports.clock.now(),
        timeout: action.spec.timeout(),
        checkpoint: checkpoint.as_ref().map(Json::to_value),
        reporter: Reporter::new(clock, start.number, checkpoint, masking),
    };
    let handler = if action.spec.is_workflow() {
        Arc::new(RunStarter::new(app, run_of(app, work, &action, &call)))
    } else {
        handler
    };
    Ok(Ok(Prepared { action, call, handler }))
}

/// The run that an execution of a workflow starts: with its event, or with the job's input.
fn run_of(app: &App, work: &Work, action: &Action, call: &Call) -> NewRun {
    let id = RunId(work.id.0);
    let event = call.event.as_ref();
    let envelope = event.and_then(|event| serde_json::to_value(event.envelope()).ok());
    NewRun {
        id,
        tenant: work.tenant,
        part: id.part(work.tenant, app.live.part_count()),
        name: action.spec.name.to_string(),
        workflow: WorkflowVersion { action: work.action, defs: work.defs },
        parent: None,
        started_at: call.started_at,
        input: Json::from_value(&envelope.unwrap_or_else(|| call.input.clone())),
        context: BTreeMap::new(),
        depth: work.depth,
    }
}

/// The input of a batch. Its members are settled since its first start was written down, or by the
/// commit that repeats it, so that all attempts have the same.
async fn gathered(
    app: &App,
    work: &Work,
    action: &Action,
    event: Option<&Event>,
) -> Result<Option<Json>, StoreError> {
    let gathering = work.terms.as_ref().and_then(|terms| terms.gathering);
    let members = match gathering {
        Some(_) => app.ports.store.members(work.id).await?,
        None if action.spec.batch.is_some() => Vec::new(),
        None => return Ok(None),
    };
    Ok(Some(input_of(work, event, &members)))
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

    /// Nobody knows. It is not made again.
    fn unknown(fault: Fault) -> Self {
        Self { outcome: AttemptOutcome::Unknown, ..Self::failed(fault, true) }
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
