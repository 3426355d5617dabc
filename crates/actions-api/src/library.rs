//! Actions inside your own service: typed functions, events in your own transactions, and the
//! HTTP interface as a router.
//!
//! ```no_run
//! # #[derive(serde::Serialize, serde::Deserialize)] struct User { email: String }
//! # async fn hello() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use actions::{Actions, Cx};
//!
//! let actions = Actions::builder().sqlite("app.db").build().await?;
//! actions.on("users.created", |cx: Cx, user: User| async move {
//!     cx.info(format!("welcome {}", user.email));
//!     Ok(())
//! }).await?;
//! actions.emit("users.created", &User { email: "user@example.com".into() }).await?;
//! actions.run_until_idle().await?;
//! # Ok(()) }
//! ```

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actions_app::app::App;
use actions_app::commands::put_secret::{PutSecret, put_secret};
use actions_app::commands::save_action::{SaveAction, SaveActionError, save_action};
use actions_app::commands::submit_event::{
    AcceptedEvent, SubmitEvents, SubmitEventsError, submit_events,
};
use actions_app::node::{DrainTimeout, Node};
use actions_domain::action::ActionSpec;
use actions_domain::authorization::AuthorizationContext;
use actions_domain::execution::Execution;
use actions_domain::id::{EventId, ExecutionId, TenantId};
use actions_domain::limits::SECRET_OVERLAP_DEFAULT;
use actions_domain::ports::definitions::Expected;
use actions_domain::ports::handler::Handler;
use actions_domain::ports::store::StoreError;
use actions_domain::secret::{SecretName, SecretText};
use actions_domain::tenant::{Tenant, TenantSlug};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub use crate::wiring::{EmitInError, Fail, Leaving, RegisterError, UserTransaction, WiringError};
use crate::wiring::{Engine, Functions};
use crate::{Access, Serving, Sites};

mod builder;
mod cx;
mod event;
mod wait;

pub use builder::{BuildError, Builder};
pub use cx::Cx;
pub use event::{Event, EventError};
pub use wait::{WaitError, WaitFor};

/// Why a secret was not stored.
pub use actions_app::commands::put_secret::PutSecretError;

/// Any error, for programs that only pass it on.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The engine inside this process. Cheap to clone.
#[derive(Clone)]
pub struct Actions {
    inner: Arc<Inner>,
}

struct Inner {
    app: App,
    functions: Functions,
    tenant: Tenant,
    source: String,
    wait_max: Duration,
    /// Cancelled when the engine begins to stop.
    draining: CancellationToken,
    /// Taken when the engine is stopped.
    running: Mutex<Option<(Node, Engine)>>,
}

/// What became of an event that was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    pub event: EventId,
    /// It had been accepted before, with the same source and id.
    pub duplicate: bool,
    /// What it led to, by action.
    pub executions: Vec<(String, ExecutionId)>,
}

/// Why an event was not accepted. Nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    #[error("the event cannot be written")]
    Event(#[from] EventError),
    #[error(transparent)]
    Submit(#[from] SubmitEventsError),
    #[error("the tenants cannot be read")]
    Store(#[from] StoreError),
}

/// Why an action was not defined.
#[derive(Debug, thiserror::Error)]
pub enum DefineError {
    #[error(transparent)]
    Function(#[from] RegisterError),
    #[error("the action cannot be read: {0}")]
    Spec(#[from] serde_json::Error),
    #[error("{}", explained(.0))]
    Save(#[from] SaveActionError),
}

/// All findings in the message: whoever links the library sees nothing else.
fn explained(error: &SaveActionError) -> String {
    match error {
        SaveActionError::Invalid(findings) => {
            let all =
                findings.iter().map(|finding| format!("{}: {}", finding.pointer, finding.message));
            format!("{error}: {}", all.collect::<Vec<_>>().join("; "))
        }
        SaveActionError::Forbidden(_)
        | SaveActionError::UnknownTenant
        | SaveActionError::NotFound
        | SaveActionError::TooMany(_)
        | SaveActionError::Definitions(_)
        | SaveActionError::Store(_) => error.to_string(),
    }
}

impl Actions {
    /// Begins to put an engine together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Runs a typed function for every event of this service's tenant that matches `pattern`.
    ///
    /// The action that does it is called `on.<pattern>` and is stored, so events that come while
    /// this process is away wait for it. `?` inside the function means *try again*;
    /// [`Fail::reject`] means *never again*.
    ///
    /// # Errors
    /// When the pattern is none.
    pub async fn on<I, O, F, R>(&self, pattern: &str, function: F) -> Result<(), DefineError>
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize,
        F: Fn(Cx, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Fail>> + Send + 'static,
    {
        let name = self.free_name(pattern);
        self.function(&name, function)?;
        let spec = json!({
            "name": name,
            "action_type": "function_execution",
            "handler": "function.call",
            "config": { "function_name": name },
            "event_patterns": [pattern],
        });
        self.define(serde_json::from_value(spec)?).await
    }

    /// Makes a typed function callable by name, from actions whose handler is `function.call`.
    ///
    /// # Errors
    /// When the name is taken, empty or too long.
    pub fn function<I, O, F, R>(&self, name: &str, function: F) -> Result<(), RegisterError>
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize,
        F: Fn(Cx, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Fail>> + Send + 'static,
    {
        // A function may send events, so it holds the engine as the engine holds it: both stay
        // until the process ends.
        let app = self.inner.app.clone();
        self.inner
            .functions
            .register(name, move |input: I, context| function(Cx::new(app.clone(), context), input))
    }

    /// Adds a handler of your own to this process.
    pub fn handler(&self, handler: Arc<dyn Handler>) {
        self.inner.app.handlers.register(handler);
    }

    /// Creates or replaces an action of this service's tenant.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn define(&self, spec: ActionSpec) -> Result<(), DefineError> {
        let request =
            SaveAction { tenant: self.inner.tenant.id, spec, expected: Expected::Anything };
        save_action(&self.inner.app, &self.caller(self.inner.tenant.id), request).await?;
        Ok(())
    }

    /// Stores a secret of this service's tenant, which actions name as `{{ secrets.NAME }}`. The
    /// version before may be used for a day. It needs [`Builder::master_key`].
    ///
    /// # Errors
    /// When the name or the value breaks a rule, or there is no master key.
    pub async fn put_secret(
        &self,
        name: &str,
        value: impl Into<String>,
    ) -> Result<(), PutSecretError> {
        let tenant = self.inner.tenant.id;
        let (name, text) = (SecretName::parse(name)?, SecretText::new(value.into()));
        let request = PutSecret { tenant, name, text, overlap: SECRET_OVERLAP_DEFAULT };
        put_secret(&self.inner.app, &self.caller(tenant), request).await?;
        Ok(())
    }

    /// Sends an event of this service's tenant. It is durable when this returns.
    ///
    /// # Errors
    /// Nothing of it was stored.
    pub async fn emit(
        &self,
        event_type: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Emitted, EmitError> {
        self.send(Event::new(event_type, data)).await
    }

    /// Sends an event with everything that can be said of it.
    ///
    /// # Errors
    /// Nothing of it was stored.
    pub async fn send(&self, event: Event) -> Result<Emitted, EmitError> {
        let tenant = match event.tenant_slug()? {
            Some(slug) => self.tenant_id(&slug).await?,
            None => self.inner.tenant.id,
        };
        let event = event.into_new(&self.inner.source)?;
        let request = SubmitEvents { tenant, events: vec![event], idempotency: None };
        let accepted = submit_events(&self.inner.app, &self.caller(tenant), request).await?;
        let accepted = accepted.into_iter().next().ok_or(SubmitEventsError::Busy)?;
        Ok(emitted(accepted))
    }

    /// Leaves an event in your own transaction on the engine's database: both are there after
    /// your commit, or neither. The id is valid at once; [`Actions::wait`] for it only after the
    /// commit.
    ///
    /// # Errors
    /// What the database says. There is no second try inside your transaction.
    pub async fn emit_in(
        &self,
        transaction: &mut impl UserTransaction,
        event: Event,
    ) -> Result<EventId, EmitInError> {
        let slug = event.tenant_slug()?.unwrap_or_else(|| self.inner.tenant.slug.clone());
        transaction.leave(event.into_leaving(slug, &self.inner.source)?).await
    }

    /// Waits until an execution, or everything that an event led to, has ended.
    ///
    /// # Errors
    /// `TimedOut` after [`Builder::wait_max`]; the work goes on all the same.
    pub async fn wait(&self, what: impl Into<WaitFor>) -> Result<Vec<Execution>, WaitError> {
        let Inner { app, tenant, wait_max, .. } = self.inner.as_ref();
        wait::wait(app, tenant.id, *wait_max, what.into()).await
    }

    /// Waits until nothing is left to be done now. What waits for a time, like a retry, counts
    /// as left only when its time is near.
    ///
    /// # Errors
    /// `TimedOut` after [`Builder::wait_max`].
    pub async fn run_until_idle(&self) -> Result<(), WaitError> {
        wait::until_idle(&self.inner.app, self.inner.wait_max).await
    }

    /// The tenant that events and actions of this service belong to.
    pub fn tenant(&self) -> &Tenant {
        &self.inner.tenant
    }

    /// The engine's commands and queries, for what has no short form here.
    pub fn app(&self) -> &App {
        &self.inner.app
    }

    /// The HTTP interface, to be nested into a router of your own. Who is let in has no default.
    pub fn api(&self, access: Access) -> axum::Router {
        // A recorder of figures belongs to the whole process, so it is the program's to install;
        // this one only shows that there is none.
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let draining = self.inner.draining.clone();
        let sites = Sites::default();
        let serving = Serving { access, metrics, has_node: true, has_api: true, draining, sites };
        crate::router(self.inner.app.clone(), serving)
    }

    /// Lets what runs end, hands over the rest, and closes the store.
    ///
    /// # Errors
    /// When something still ran after the drain timeout. It runs again after the next start.
    pub async fn stop(&self) -> Result<(), DrainTimeout> {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((node, engine)) = running else { return Ok(()) };
        self.inner.draining.cancel();
        let drained = node.stop().await;
        engine.close().await;
        drained
    }

    /// The library acts for its own process, which owns the store.
    fn caller(&self, tenant: TenantId) -> AuthorizationContext {
        let request_id =
            EventId::mint(self.inner.app.ports.clock.now(), self.inner.app.ports.dice.bytes());
        AuthorizationContext::of_library(&self.inner.source, tenant, request_id.to_string())
    }

    async fn tenant_id(&self, slug: &TenantSlug) -> Result<TenantId, EmitError> {
        let catalogue = &self.inner.app.catalogue;
        if catalogue.find_named(slug.as_str()).is_none() {
            catalogue.refresh_all().await?;
        }
        let found = catalogue.find_named(slug.as_str()).ok_or(SubmitEventsError::UnknownTenant)?;
        Ok(found.tenant.id)
    }

    /// The same over restarts, as long as the calls come in the same order.
    fn free_name(&self, pattern: &str) -> String {
        let is_kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let words: String =
            pattern.chars().map(|c| if is_kept(c) { c } else { '_' }).take(80).collect();
        let first = format!("on.{words}");
        let numbered = (2..).map(|number| format!("{first}.{number}"));
        std::iter::once(first.clone())
            .chain(numbered)
            .find(|name| !self.inner.functions.contains(name))
            .unwrap_or(first)
    }
}

fn emitted(accepted: AcceptedEvent) -> Emitted {
    let executions = accepted.executions.into_iter();
    let executions = executions.map(|made| (made.action, made.execution)).collect();
    Emitted { event: accepted.event, duplicate: accepted.duplicate, executions }
}
