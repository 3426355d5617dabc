//! `worker.pull`: leaves a task for a worker outside of this program, and waits for its answer.
//!
//! The attempt is what counts: it visits its task again and again, and puts it in once more when
//! the queue has lost it. When the attempt is over, nobody visits the task, and it goes by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use actions_domain::execution::{ErrorClass, Fault, Outcome, Output};
use actions_domain::json::Json;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::handler::{
    Call, ConfigReport, Delivery, Descriptor, Handler, KEEPS_CONFIG, REPEATS,
};
use actions_domain::ports::pull_queue::{Answer, PullQueue, QueueName, Seen, Task};
use actions_domain::ports::store::StoreError;

use crate::config::{About, checked, descriptor, parse_config, reject, to_value};

/// How long a task stays when its attempt does not come any more: what a worker may go on with in
/// vain. An attempt that changes its owner is away for about eight seconds.
const WANTED_FOR: Duration = Duration::from_secs(15);
/// Pauses between two visits: short ones after something has happened, then longer ones.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Which workers are asked. The action's `timeout_seconds` is the time for all of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PullConfig {
    /// The queue that workers ask for: 1 to 100 letters, digits, `_`, `-` or `.`.
    queue: String,
    /// What the worker is told beside the input. It is shown to whoever may read the action.
    #[serde(default)]
    settings: Value,
}

/// `worker.pull`
pub struct WorkerPull {
    descriptor: Descriptor,
    queue: Arc<dyn PullQueue>,
    clock: Arc<dyn Clock>,
    /// As the last attempt found it, whichever that was.
    is_away: AtomicBool,
}

impl WorkerPull {
    pub fn new(queue: Arc<dyn PullQueue>, clock: Arc<dyn Clock>) -> Self {
        let descriptor = descriptor::<PullConfig, Value, Value>(About {
            id: "worker.pull",
            aliases: &[],
            title: "Leave a task for a worker in any language",
            handler_type: "native",
            capabilities: &["async", "idempotency_key", "checkpoints", REPEATS, KEEPS_CONFIG],
            action_types: &[],
            delivery: Delivery::AtLeastOnce,
        });
        Self { descriptor, queue, clock, is_away: AtomicBool::new(false) }
    }

    /// Waits for a worker's answer, and passes on what it says meanwhile.
    async fn wait(&self, call: &Call, queue: &QueueName, settings: &Value) -> Outcome {
        let (mut heard, mut pause) = (0, PAUSE_MIN);
        loop {
            let visit = self.queue.visit(call.execution, call.attempt, WANTED_FOR);
            let seen = match visit.await {
                Ok(Some(seen)) => {
                    self.note(None);
                    seen
                }
                Ok(None) => {
                    heard = 0;
                    let put = self.queue.put(&task(call, queue, settings), WANTED_FOR).await;
                    self.note(put.as_ref().err());
                    Seen::default()
                }
                // The task is wanted for longer than a short outage, which is no worker's silence.
                Err(error) => {
                    self.note(Some(&error));
                    call.reporter.beat();
                    Seen { words: heard, ..Seen::default() }
                }
            };
            if seen.words != heard {
                (heard, pause) = (seen.words, PAUSE_MIN);
                pass_on(call, &seen);
            } else if heard == 0 {
                // No worker has it yet: waiting is no silence either.
                call.reporter.beat();
            }
            if let Some(answer) = seen.answer {
                return outcome(answer);
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One line per change of state, not one per task and visit.
    fn note(&self, error: Option<&StoreError>) {
        match (error, self.is_away.swap(error.is_some(), Ordering::Relaxed)) {
            (Some(error), false) => warn!(%error, "the queue of tasks for workers is away"),
            (None, true) => info!("the queue of tasks for workers is back"),
            (Some(_), true) | (None, false) => {}
        }
    }
}

/// What workers are told. A checkpoint may be younger than the call.
fn task(call: &Call, queue: &QueueName, settings: &Value) -> Task {
    let told = call.reporter.report().and_then(|report| report.checkpoint);
    let checkpoint = told.map(|told| told.to_value()).or_else(|| call.checkpoint.clone());
    let event = call.event.as_ref().map(|event| {
        json!({ "id": event.id, "type": event.event_type.as_str(), "source": event.source })
    });
    let body = json!({
        "execution_id": call.execution,
        "attempt": call.attempt,
        "action": call.action,
        "input": call.input,
        "settings": settings,
        "event": event,
        "checkpoint": checkpoint,
        "deadline": to_value(&(call.started_at + call.timeout)),
    });
    Task {
        execution: call.execution,
        attempt: call.attempt,
        tenant: call.tenant.id,
        queue: queue.as_str().to_owned(),
        body: Json::from_value(&body),
    }
}

fn pass_on(call: &Call, seen: &Seen) {
    let note = match (&seen.note, &seen.worker) {
        (Some(note), _) => note.clone(),
        (None, Some(worker)) => format!("worked on by {worker}"),
        (None, None) => String::new(),
    };
    call.reporter.progress(seen.progress.unwrap_or(f64::NAN), &note);
    if let Some(checkpoint) = &seen.checkpoint
        && let Err(error) = call.reporter.checkpoint(&checkpoint.to_value())
    {
        warn!(%error, execution = %call.execution, "a worker's checkpoint is not kept");
    }
}

fn outcome(answer: Answer) -> Outcome {
    match answer {
        Answer::Done { output } => {
            Outcome::Done(Output::new(serde_json::from_str(&output).unwrap_or(Value::Null)))
        }
        Answer::Failed { code, message, retryable, retry_after_ms } => {
            let fault = Fault::new(ErrorClass::HandlerError, &code, message)
                .with_retry_after(retry_after_ms.map(Duration::from_millis));
            if retryable { Outcome::Retry(fault) } else { Outcome::Reject(fault) }
        }
    }
}

#[async_trait]
impl Handler for WorkerPull {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &PullConfig, notes| {
            if let Err(error) = QueueName::parse(&config.queue) {
                notes.error("/queue", error.to_string());
            }
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let config: PullConfig = match parse_config(call) {
            Ok(config) => config,
            Err(outcome) => return outcome,
        };
        match QueueName::parse(&config.queue) {
            Ok(queue) => self.wait(call, &queue, &config.settings).await,
            Err(error) => reject("config.invalid", format!("/queue: {error}")),
        }
    }
}
