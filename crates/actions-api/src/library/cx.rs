//! What a typed function knows of the attempt it makes, and what it can do besides.

use std::sync::Arc;

use actions_app::app::App;
use actions_app::commands::submit_event::{SubmitEvents, SubmitEventsError, submit_events};
use actions_domain::Timestamp;
use actions_domain::authorization::AuthorizationContext;
use actions_domain::event::Event as StoredEvent;
use actions_domain::execution::report::CheckpointError;
use actions_domain::id::ExecutionId;
use actions_domain::ports::handler::TenantRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::event::Event;
use super::{EmitError, Emitted, emitted};
use crate::wiring::FunctionContext;

/// One attempt, as its function sees it.
#[derive(Clone)]
pub struct Cx {
    app: App,
    context: FunctionContext,
}

impl Cx {
    pub(super) fn new(app: App, context: FunctionContext) -> Self {
        Self { app, context }
    }

    pub fn tenant(&self) -> &TenantRef {
        &self.context.tenant
    }

    /// The action's name.
    pub fn action(&self) -> &str {
        &self.context.action
    }

    /// The action's whole config.
    pub fn config(&self) -> &Value {
        &self.context.config
    }

    /// The event that led here. A job has none.
    pub fn event(&self) -> Option<&Arc<StoredEvent>> {
        self.context.event.as_ref()
    }

    /// The same over all attempts.
    pub fn execution(&self) -> ExecutionId {
        self.context.execution
    }

    /// From 1.
    pub fn attempt(&self) -> u32 {
        self.context.attempt
    }

    /// The function is dropped at its next await after this.
    pub fn deadline(&self) -> Timestamp {
        self.context.deadline
    }

    /// Says that the function is still at it, where its action has a heartbeat timeout.
    pub fn heartbeat(&self) {
        self.context.reporter.beat();
    }

    /// Says how much is done, from 0 to 1, in a few words. A heartbeat as well.
    pub fn progress(&self, done: f64, note: &str) {
        self.context.reporter.progress(done, note);
    }

    /// What an attempt before has left for this one with [`Cx::save_checkpoint`].
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.context.checkpoint.clone()?).ok()
    }

    /// Leaves something for the next attempt, if there has to be one: where it may go on. When
    /// this process dies, the last ten seconds may be missing.
    ///
    /// # Errors
    /// When it is too large or cannot be stored. The checkpoint before stands.
    pub fn save_checkpoint(&self, checkpoint: &impl Serialize) -> Result<(), CheckpointError> {
        let value = serde_json::to_value(checkpoint).map_err(CheckpointError::unfit)?;
        self.context.reporter.checkpoint(&value)
    }

    /// A key for whatever the function does elsewhere: a repetition carries the same one.
    pub fn idempotency_key(&self) -> String {
        self.context.idempotency_key()
    }

    /// Logs a line that names the execution.
    pub fn info(&self, message: impl AsRef<str>) {
        tracing::info!(
            tenant = %self.context.tenant.slug,
            action = %self.context.action,
            execution = %self.context.execution,
            attempt = self.context.attempt,
            "{}",
            message.as_ref(),
        );
    }

    /// Logs a line that names the execution, for somebody to look at.
    pub fn warn(&self, message: impl AsRef<str>) {
        tracing::warn!(
            tenant = %self.context.tenant.slug,
            action = %self.context.action,
            execution = %self.context.execution,
            attempt = self.context.attempt,
            "{}",
            message.as_ref(),
        );
    }

    /// Sends an event that this execution causes, in the same tenant. A repeated attempt that
    /// sends an event of the same type with the same data changes nothing, so that an attempt
    /// may be cut off after any line.
    ///
    /// # Errors
    /// Nothing of it was stored.
    pub async fn emit(
        &self,
        event_type: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Emitted, EmitError> {
        let source = format!("function/{}", self.context.action);
        let mut event = Event::new(event_type, data).into_new(&source)?;
        let digest = blake3_of(&[event.event_type.as_str(), event.data.as_str()]);
        event.external_id = Some(format!("{}/{digest}", self.context.execution));
        event.attributes.caused_by = Some(self.context.execution);
        if let Some(cause) = &self.context.event {
            event.attributes.depth = cause.attributes.depth.saturating_add(1);
            event.attributes.causation_id = Some(cause.id.0);
            event.attributes.correlation_id = cause.attributes.correlation_id.or(Some(cause.id.0));
            event.attributes.traceparent.clone_from(&cause.attributes.traceparent);
        }
        let tenant = self.context.tenant.id;
        let execution = self.context.execution;
        let caller = AuthorizationContext::of_execution(source, tenant, execution);
        let request = SubmitEvents { tenant, events: vec![event], idempotency: None };
        let accepted = submit_events(&self.app, &caller, request).await?;
        let accepted = accepted.into_iter().next().ok_or(SubmitEventsError::Busy)?;
        Ok(emitted(accepted))
    }
}

/// A short name of some texts. Each is preceded by its length.
fn blake3_of(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

impl std::fmt::Debug for Cx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx").field("context", &self.context).finish_non_exhaustive()
    }
}
