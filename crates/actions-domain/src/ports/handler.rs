//! What performs an action. A handler crate depends on `actions-domain` alone.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::Timestamp;
use crate::action::ActionType;
use crate::event::Event;
use crate::execution::report::Reporter;
use crate::execution::{Outcome, Output};
use crate::id::{ExecutionId, NodeId, TenantId};
use crate::json::Json;
use crate::secret::{Masking, SecretReference, SecretText, wipe};
use crate::trace::TraceParent;

/// Code that performs one kind of action.
#[async_trait]
pub trait Handler: Send + Sync {
    /// What it is and what it wants. Constant.
    fn descriptor(&self) -> &Descriptor;

    /// Checks a config beyond its schema, when an action is defined. A handler whose schema
    /// says everything keeps the default.
    fn check_config(&self, config: &Value) -> ConfigReport {
        let _ = config;
        ConfigReport::default()
    }

    /// Makes one attempt. It is dropped when its time is over or its execution is cancelled, so
    /// it must be safe to drop at any await.
    async fn execute(&self, call: &Call) -> Outcome;

    /// Asks whether an attempt that nobody heard the end of has had its effect. Asked of actions
    /// that must not happen twice, before anything is repeated. `call` is the attempt that asks;
    /// its execution id is that of the attempt in question.
    async fn probe(&self, call: &Call) -> Probe {
        let _ = call;
        Probe::CannotTell
    }

    /// Asks whether executions with this config have a chance. `Err` says why not.
    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let _ = config;
        Ok(())
    }
}

/// The capability of a handler that may act more than once in one attempt: it cannot keep that
/// something happens at most once.
pub const REPEATS: &str = "repeats";

/// The capability of a handler that writes its config down somewhere, for others to read: it is
/// given no secrets.
pub const KEEPS_CONFIG: &str = "keeps_config";

/// In a config's schema, marks a text as a template. Secrets are not put into its source, where
/// they could be taken for a part of the program; they are among its variables, as `secrets`.
pub const TEMPLATE_MARK: &str = "x-template";

/// What a handler says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Descriptor {
    /// `module.name`: `webhook.signed`.
    pub id: &'static str,
    /// Founding class names that mean this handler.
    pub aliases: &'static [&'static str],
    pub version: &'static str,
    pub title: &'static str,
    /// The founding handler type: `webhook_http`, `python_class` …; ours are `native`.
    pub handler_type: &'static str,
    /// `async`, `batch`, `streaming`, `idempotency_key` …
    pub capabilities: &'static [&'static str],
    pub action_types: &'static [ActionType],
    pub delivery: Delivery,
    /// JSON Schemas. A config property with `writeOnly` is secret and is never shown again.
    pub config_schema: Value,
    pub input_schema: Value,
    pub output_schema: Value,
}

/// What a handler has found out of an attempt whose end is unknown.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// It had its effect. This is what it leaves behind.
    Happened(Output),
    /// It had no effect and will have none any more: it may be made again.
    DidNotHappen,
    /// Nobody but a person can find out.
    CannotTell,
}

/// What happens when an attempt is repeated although the one before had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The effect may happen again.
    AtLeastOnce,
    /// The other side knows the execution id and ignores the repetition.
    OnceWithIdempotentPeer,
    /// There is no effect outside the engine's own records.
    OnceRecorded,
}

/// What is wrong, or only doubtful, about a config.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ConfigReport {
    pub errors: Vec<FieldNote>,
    pub warnings: Vec<FieldNote>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldNote {
    /// A JSON pointer into the config.
    pub pointer: String,
    pub message: String,
}

impl FieldNote {
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// One attempt, as its handler sees it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The same over all attempts: the idempotency key of whatever the handler does.
    pub execution: ExecutionId,
    /// The dead execution that it repeats.
    pub parent: Option<ExecutionId>,
    /// From 1.
    pub attempt: u32,
    pub tenant: TenantRef,
    pub action: String,
    /// Validated against the schema when the action was defined, with its secrets in place.
    pub config: CallConfig,
    /// The job's input, or the event's data. Of a batch `{"size": …, "events": […]}`: the
    /// [envelopes](crate::event::Envelope) of all that it gathered, its own first.
    pub input: Value,
    /// The input of a batch, with every digit of its numbers.
    pub gathered: Option<Json>,
    /// A job has none. Of a batch the first one.
    pub event: Option<Arc<Event>>,
    pub node: NodeId,
    /// When the execution was accepted.
    pub queued_at: Timestamp,
    /// When this attempt started.
    pub started_at: Timestamp,
    pub timeout: Duration,
    /// What an attempt before has left for this one.
    pub checkpoint: Option<Value>,
    /// Says how the attempt goes on, while it does.
    pub reporter: Reporter,
}

impl Call {
    /// `traceparent` of what this attempt calls, when its event came with one.
    pub fn traceparent(&self) -> Option<String> {
        let parent = self.event.as_ref()?.attributes.traceparent.as_deref()?;
        Some(TraceParent::parse(parent)?.of_attempt(self.execution.0, self.attempt))
    }
}

/// The config of one attempt. The secrets that it names are in it, so it is never printed, and its
/// memory is wiped when it is dropped.
#[derive(Clone)]
pub struct CallConfig {
    value: Value,
    secrets: Vec<(SecretReference, SecretText)>,
    masking: Masking,
}

impl CallConfig {
    /// A config into which these secrets were put, where it does not mark a template.
    pub fn new(value: Value, secrets: Vec<(SecretReference, SecretText)>) -> Self {
        let masking = Masking::of(secrets.iter().map(|(_, text)| text));
        Self { value, secrets, masking }
    }

    /// The secrets that it names.
    pub fn secrets(&self) -> &[(SecretReference, SecretText)] {
        &self.secrets
    }

    /// What takes its secrets out of what the attempt leaves behind.
    pub fn masking(&self) -> &Masking {
        &self.masking
    }
}

impl From<Value> for CallConfig {
    fn from(value: Value) -> Self {
        Self::new(value, Vec::new())
    }
}

impl Deref for CallConfig {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl PartialEq<Value> for CallConfig {
    fn eq(&self, other: &Value) -> bool {
        self.value == *other
    }
}

impl fmt::Debug for CallConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallConfig(…)")
    }
}

impl Drop for CallConfig {
    fn drop(&mut self) {
        if !self.secrets.is_empty() {
            wipe(&mut self.value);
        }
    }
}

/// The tenant, by all its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRef {
    pub id: TenantId,
    pub uuid: Uuid,
    pub slug: String,
    /// `tenant_<slug>` or `admin`.
    pub schema: String,
}
