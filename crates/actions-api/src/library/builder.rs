//! Puts an engine together for a service.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actions_app::node::{self, NodeConfig};
use actions_app::quotas::ProcessLayers;
use actions_domain::audit::{Act, ActKind};
use actions_domain::authorization::AuthorizationContext;
use actions_domain::id::TenantId;
use actions_domain::limits::WAIT_MAX;
use actions_domain::ports::definitions::DefinitionsError;
use actions_domain::ports::handler::Handler;
use actions_domain::ports::store::StoreError;
use actions_domain::settings::{Layer, Setting};
use actions_domain::tenant::{Tenant, TenantSlug, TenantSlugError};
use tokio_util::sync::CancellationToken;

use super::{Actions, Inner};
use crate::config::{
    Database, Durability, EngineConfig, Environment, PullQueue, RateLedger, Role, Secret,
    process_name,
};
use crate::wiring::{self, Engine, WiringError};

/// The tenant of a service that has only one.
const TENANT_DEFAULT: &str = "default";
/// Days of history that a service keeps unless it says otherwise.
const KEEP_DAYS: u16 = 30;

/// How an engine is put together. The default keeps nothing.
pub struct Builder {
    database: Database,
    durability: Durability,
    tenant: String,
    source: String,
    node_name: Option<String>,
    slots: usize,
    keep_days: Option<u16>,
    master_keys: Option<Secret>,
    egress_allow: Vec<String>,
    handlers: Vec<Arc<dyn Handler>>,
    wait_max: Duration,
    drain_timeout: Duration,
}

/// Why an engine could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Wiring(#[from] WiringError),
    #[error(transparent)]
    Tenant(#[from] TenantSlugError),
    #[error("the tenant cannot be created")]
    Definitions(#[from] DefinitionsError),
    #[error("the tenants cannot be read")]
    Store(#[from] StoreError),
}

impl Default for Builder {
    fn default() -> Self {
        let node = NodeConfig::default();
        Self {
            database: Database::Memory,
            durability: Durability::Full,
            tenant: TENANT_DEFAULT.to_owned(),
            source: "service".to_owned(),
            node_name: None,
            slots: node.slots,
            keep_days: Some(KEEP_DAYS),
            master_keys: None,
            egress_allow: Vec::new(),
            handlers: Vec::new(),
            wait_max: WAIT_MAX,
            drain_timeout: node.drain_timeout,
        }
    }
}

impl Builder {
    /// Keeps everything in one SQLite file, which may be your own.
    #[must_use]
    pub fn sqlite(self, path: impl Into<PathBuf>) -> Self {
        Self { database: Database::Sqlite(path.into()), ..self }
    }

    /// Keeps everything in a PostgreSQL database, in schemas of its own.
    #[must_use]
    pub fn postgres(self, url: impl Into<String>) -> Self {
        Self { database: Database::Postgres(Secret::new(url.into())), ..self }
    }

    /// Keeps everything in memory, for tests.
    #[must_use]
    pub fn memory(self) -> Self {
        Self { database: Database::Memory, ..self }
    }

    /// The tenant of this service, created when it is missing. Defaults to `default`.
    #[must_use]
    pub fn tenant(self, slug: impl Into<String>) -> Self {
        Self { tenant: slug.into(), ..self }
    }

    /// The source that events of this service have.
    #[must_use]
    pub fn source(self, source: impl Into<String>) -> Self {
        Self { source: source.into(), ..self }
    }

    /// This process's name in the cluster. Two processes on one database that have one name take
    /// the work from each other, so the default is the host's name with the process's number. A
    /// name that stays over restarts gets the last start's work back at once, also after a crash.
    #[must_use]
    pub fn node_name(self, name: impl Into<String>) -> Self {
        Self { node_name: Some(name.into()), ..self }
    }

    /// Attempts that run at once.
    #[must_use]
    pub fn slots(self, slots: usize) -> Self {
        Self { slots: slots.max(1), ..self }
    }

    /// Days after which events, executions and dead letters are removed: 30 unless said
    /// otherwise, at least 2. `None` keeps everything.
    #[must_use]
    pub fn keep_days(self, days: Option<u16>) -> Self {
        Self { keep_days: days, ..self }
    }

    /// The keys of stored secrets, as `ACTIONS_MASTER_KEY` takes them: 32 random bytes in base64,
    /// or several, of which the first one wraps. Without one no secret can be stored.
    #[must_use]
    pub fn master_key(self, keys: impl Into<String>) -> Self {
        Self { master_keys: Some(Secret::new(keys.into())), ..self }
    }

    /// Lets outgoing calls reach a network that is not public, like `127.0.0.0/8`.
    #[must_use]
    pub fn egress_allow(mut self, network: impl Into<String>) -> Self {
        self.egress_allow.push(network.into());
        self
    }

    /// Adds a handler of your own.
    #[must_use]
    pub fn handler(mut self, handler: impl Handler + 'static) -> Self {
        self.handlers.push(Arc::new(handler));
        self
    }

    /// How long [`Actions::wait`] and [`Actions::run_until_idle`] wait at most. Defaults to a
    /// minute.
    #[must_use]
    pub fn wait_max(self, wait_max: Duration) -> Self {
        Self { wait_max, ..self }
    }

    /// How long [`Actions::stop`] waits for what runs. Defaults to 30 s.
    #[must_use]
    pub fn drain_timeout(self, drain_timeout: Duration) -> Self {
        Self { drain_timeout, ..self }
    }

    /// Opens the store, creates the tenant where it is missing, and starts to run.
    ///
    /// # Errors
    /// When the store cannot be used, or the tenant's name is none.
    pub async fn build(self) -> Result<Actions, BuildError> {
        wiring::prepare_process();
        let slug = TenantSlug::parse(&self.tenant)?;
        let node_defaults = NodeConfig::default();
        let config = EngineConfig {
            database: self.database,
            durability: self.durability,
            redis_url: None,
            rate_ledger: RateLedger::Database,
            pull_queue: PullQueue::Database,
            sqlite_size_max: None,
            keep_days: self.keep_days,
            tenant_settings: tenant_settings(self.keep_days),
            traces: None,
            master_keys: self.master_keys,
            egress_allow: self.egress_allow,
            node_name: self.node_name.unwrap_or_else(own_name),
            role: Role::All,
            slots: self.slots,
            beat: node_defaults.beat,
            lease_ttl: node_defaults.lease_ttl,
            drain_timeout: self.drain_timeout,
            window_bytes: node_defaults.window_bytes,
        };
        let engine = wiring::engine(&config).await?;
        for handler in self.handlers {
            engine.app.handlers.register(handler);
        }
        let tenant = tenant(&engine, &slug).await?;
        let node = node::start(engine.app.clone(), wiring::node_config(&config));
        let inner = Inner {
            app: engine.app.clone(),
            functions: engine.functions.clone(),
            tenant,
            source: self.source,
            wait_max: self.wait_max,
            draining: CancellationToken::new(),
            running: Mutex::new(Some((node, engine))),
        };
        Ok(Actions { inner: Arc::new(inner) })
    }
}

/// What holds for tenants of which the store says nothing.
fn tenant_settings(keep_days: Option<u16>) -> ProcessLayers {
    let values = [(Setting::KeepDays, keep_days.map(u64::from))].into_iter().collect();
    ProcessLayers(vec![(Layer::Default, values)])
}

/// A name that no other process has, and no other engine of this one.
fn own_name() -> String {
    static ENGINES: AtomicU32 = AtomicU32::new(1);
    let name = process_name(&Environment::of_process());
    match ENGINES.fetch_add(1, Ordering::Relaxed) {
        1 => name,
        number => format!("{name}-{number}"),
    }
}

/// The service's tenant, created when it is missing. Another process may do the same now.
async fn tenant(engine: &Engine, slug: &TenantSlug) -> Result<Tenant, BuildError> {
    let app = &engine.app;
    if let Some(known) = app.catalogue.find_named(slug.as_str()) {
        return Ok(known.tenant.clone());
    }
    let uuid = actions_domain::id::EventId::mint(app.ports.clock.now(), app.ports.dice.bytes()).0;
    let caller = AuthorizationContext::of_library("library", TenantId::ADMIN, "build");
    let (now, subject) = (app.ports.clock.now(), format!("tenant:{slug}"));
    let act = Act::new(&caller, TenantId::ADMIN, now, ActKind::TenantCreated, subject);
    let act = act.to(serde_json::json!({ "id": uuid, "slug": slug, "name": slug }));
    match app.ports.definitions.create_tenant(uuid, slug, slug.as_str(), Some(&act)).await {
        Ok(tenant) => Ok(app.catalogue.adopt(&tenant).tenant.clone()),
        Err(DefinitionsError::Exists { .. }) => {
            app.catalogue.refresh_all().await?;
            let known = app.catalogue.find_named(slug.as_str());
            let missing = DefinitionsError::NotFound { what: "tenant", name: slug.to_string() };
            Ok(known.ok_or(missing)?.tenant.clone())
        }
        Err(
            error @ (DefinitionsError::NotFound { .. }
            | DefinitionsError::Retired { .. }
            | DefinitionsError::Stale { .. }
            | DefinitionsError::TooMany(_)
            | DefinitionsError::Store(_)),
        ) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::own_name;

    #[test]
    fn two_engines_of_one_process_have_different_names() {
        assert_ne!(own_name(), own_name());
    }
}
