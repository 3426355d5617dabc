//! Adapters and handlers, put together by plain constructor calls. Of this crate, only this
//! file knows them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actions_app::app::{App, Ports};
use actions_app::handlers::{Handlers, Remake};
use actions_app::node::NodeConfig;
use actions_app::queries::secrets::warn_of_missing_keys;
use actions_app::stream_reader::StreamReader;
use actions_domain::flow::expression::Syntax;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::event_stream::EventStream;
use actions_domain::ports::hints::Hints;
use actions_domain::ports::pull_queue::PullQueue;
use actions_domain::ports::store::StoreError;
use actions_domain::ports::vault::Vault;
use actions_handlers::egress::{Egress, EgressError, EgressPolicy, install_crypto};
use actions_handlers::registry::builtin;
use actions_infra::matching::{CelExpressions, IndexedMatcherFactory};
use actions_infra::memory::{Memory, MemoryHints, MemoryPullQueue};
use actions_infra::passwords::{Argon2Passwords, Cost};
use actions_infra::postgres::{OpenError, Postgres, PostgresHints, PostgresOptions};
use actions_infra::redis::{
    Redis, RedisHints, RedisPermits, RedisPullQueue, RedisStream, ServerReport,
};
use actions_infra::schemas::JsonSchemas;
use actions_infra::sqlite::{self, ConnectError, Durability, SqliteOptions, SqliteStore};
use actions_infra::system::{SystemClock, SystemDice};
use actions_infra::vault::{Envelopes, LocalKeys};
use tracing::warn;

use self::traces::Collector;
use crate::config::{self, Database, EngineConfig, RateLedger};

pub use actions_handlers::functions::{Fail, RegisterError};
/// Functions of the linking service, and how they fail.
pub(crate) use actions_handlers::functions::{FunctionContext, Functions};

mod authorizer;
mod identities;
mod intake;
mod traces;

use authorizer::authorizer;
pub(crate) use authorizer::check_policy_url;
pub(crate) use identities::{check_token_algorithm, identities};
pub use intake::{EmitInError, Leaving, UserTransaction};
pub(crate) use traces::CAN_TRACE;

/// The oldest Redis whose streams tell all that we ask.
const REDIS_VERSION_MIN: u32 = 7;
/// Partitions of a store in memory.
const MEMORY_PARTS: u16 = 4;

/// An engine that accepts work. It runs what it accepts once a node was started.
pub(crate) struct Engine {
    pub(crate) app: App,
    pub(crate) functions: Functions,
    /// A stream that other programs put events into.
    pub(crate) stream: Option<Arc<dyn EventStream>>,
    backend: Backend,
    collector: Collector,
}

/// The open store, for what only its own technology can do.
enum Backend {
    Sqlite(Arc<SqliteStore>),
    Postgres(Postgres),
    Memory,
}

/// Why an engine could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    #[error("the folder {folder} cannot be made")]
    Folder {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the SQLite store cannot be used")]
    Sqlite(#[from] ConnectError),
    #[error("the PostgreSQL store cannot be used")]
    Postgres(#[from] OpenError),
    #[error("outgoing calls cannot be set up")]
    Egress(#[from] EgressError),
    #[error("the URL of Redis cannot be used: {0}")]
    Redis(String),
    #[error("traces cannot be sent: {0}")]
    Traces(String),
    #[error("the master keys cannot be used: {0}")]
    MasterKeys(String),
    #[error("the identity provider cannot be used: {0}")]
    Identities(String),
    #[error("the policy service cannot be used: {0}")]
    Policy(String),
    #[error("{network} is no network")]
    Network { network: String },
    #[error("the definitions cannot be read")]
    Definitions(#[from] StoreError),
}

/// What has to be chosen once for a whole process, before anything else.
pub(crate) fn prepare_process() {
    install_crypto();
}

/// Opens the store, brings its schema up to date, reads all definitions and starts the way in.
pub(crate) async fn engine(config: &EngineConfig) -> Result<Engine, WiringError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let egress = Egress::new(egress_policy(&config.egress_allow)?)?;
    let functions = Functions::new();
    let redis = redis(config)?;
    let stream = redis.as_ref().map(|redis| Arc::new(RedisStream::new(redis)) as _);
    let backend = open(config, &clock).await?;
    let pull_queue = pull_queue(&backend, redis.as_ref(), config.pull_queue, &clock);
    let builtin = builtin(&egress, &functions, &pull_queue, &clock);
    let handlers = Handlers::new(builtin.list().cloned());
    let (tasks, remake_clock, remake_functions) =
        (pull_queue.clone(), clock.clone(), functions.clone());
    let remake: Remake = Box::new(move |reach| {
        let gate = egress.within(reach).map_err(|error| error.to_string())?;
        let remade = self::builtin(&gate, &remake_functions, &tasks, &remake_clock);
        Ok(remade.list().cloned().collect())
    });
    let handlers = Arc::new(handlers.remade_by(remake));
    let vault = vault(config)?;
    let mut ports = ports(&backend, redis.as_ref(), clock.clone(), &handlers, pull_queue, vault);
    if let (Some(redis), RateLedger::Redis) = (&redis, config.rate_ledger) {
        ports.permits = Arc::new(RedisPermits::new(redis, ports.permits, clock));
    }
    let collector = Collector::start(config).map_err(WiringError::Traces)?;
    ports.traces = collector.port();
    ports.authorizer = authorizer(config)?;
    let app = App::start_with(ports, handlers, config.tenant_settings.clone()).await?;
    app.catalogue.refresh_all().await?;
    warn_of_missing_keys(&app).await;
    Ok(Engine { app, functions, stream, backend, collector })
}

/// Redis, where one is named. It need not be there.
fn redis(config: &EngineConfig) -> Result<Option<Redis>, WiringError> {
    let url = config.redis_url.as_ref();
    url.map(|url| Redis::new(url.expose()).map_err(WiringError::Redis)).transpose()
}

/// Whether a text can be the URL of a Redis server.
pub(crate) fn check_redis_url(raw: &str) -> Result<(), String> {
    Redis::new(raw).map(|_| ())
}

/// Judges the texts of workflows, as the engine does.
pub(crate) fn syntax() -> impl Syntax {
    CelExpressions::default()
}

/// Seals secrets with the keys of the settings. Without any, nothing can be sealed.
fn vault(config: &EngineConfig) -> Result<Arc<dyn Vault>, WiringError> {
    let dice = Arc::new(SystemDice);
    let keys = match &config.master_keys {
        Some(keys) => LocalKeys::parse(keys.expose(), dice.clone())
            .map_err(|error| WiringError::MasterKeys(error.to_string()))?,
        None => LocalKeys::none(dice.clone()),
    };
    Ok(Arc::new(Envelopes::new(Arc::new(keys), dice)))
}

/// Whether a text holds master keys.
pub(crate) fn check_master_keys(raw: &str) -> Result<(), String> {
    let keys = LocalKeys::parse(raw, Arc::new(SystemDice));
    keys.map(|_| ()).map_err(|error| error.to_string())
}

/// A new master key, as the setting takes it.
pub(crate) fn new_master_key() -> config::Secret {
    config::Secret::new(LocalKeys::generate(&SystemDice).to_string())
}

/// Asks Redis what it is.
pub(crate) async fn redis_report(config: &EngineConfig) -> Option<Result<RedisReport, String>> {
    match redis(config) {
        Ok(redis) => Some(redis?.report().await.map(RedisReport::new)),
        Err(error) => Some(Err(error.to_string())),
    }
}

fn ports(
    backend: &Backend,
    redis: Option<&Redis>,
    clock: Arc<dyn Clock>,
    handlers: &Arc<Handlers>,
    pull_queue: Arc<dyn PullQueue>,
    vault: Arc<dyn Vault>,
) -> Ports {
    let hints: Arc<dyn Hints> = match (redis, backend) {
        (Some(redis), Backend::Postgres(_)) => Arc::new(RedisHints::new(redis)),
        (None, Backend::Postgres(store)) => Arc::new(PostgresHints::new(store)),
        // Of these stores there is one process only.
        (_, Backend::Sqlite(_) | Backend::Memory) => Arc::new(MemoryHints::default()),
    };
    let installed = handlers.clone();
    let is_installed = Arc::new(move |id: &_| installed.is_installed(id));
    let matchers = Arc::new(IndexedMatcherFactory::new(is_installed));
    let (dice, schemas) = (Arc::new(SystemDice), Arc::new(JsonSchemas::default()));
    let passwords = Arc::new(Argon2Passwords::new(Cost::default(), dice.clone()));
    macro_rules! ports {
        ($store:expr) => {{
            let store = $store;
            Ports {
                clock,
                dice,
                store: store.clone(),
                leases: store.clone(),
                permits: store.clone(),
                definitions: store.clone(),
                history: store.clone(),
                matchers,
                schemas,
                hints,
                schedules: store.clone(),
                bulks: store.clone(),
                api_keys: store.clone(),
                accounts: store.clone(),
                passwords,
                authorizer: None,
                audit: store.clone(),
                secrets: store.clone(),
                deletions: store.clone(),
                usages: store.clone(),
                runs: store,
                expressions: Arc::new(CelExpressions::default()),
                vault,
                traces: None,
                pull_queue,
            }
        }};
    }
    match backend {
        Backend::Sqlite(store) => ports!(store.clone()),
        Backend::Postgres(store) => ports!(Arc::new(store.clone())),
        Backend::Memory => {
            ports!(Arc::new(Memory::new(clock.clone(), MEMORY_PARTS)))
        }
    }
}

/// Where tasks wait for remote workers.
fn pull_queue(
    backend: &Backend,
    redis: Option<&Redis>,
    place: config::PullQueue,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn PullQueue> {
    match (redis, place, backend) {
        (Some(redis), config::PullQueue::Redis, _) => Arc::new(RedisPullQueue::new(redis)),
        (_, _, Backend::Postgres(store)) => Arc::new(store.clone()),
        // Of these stores there is one process only.
        (_, _, Backend::Sqlite(_) | Backend::Memory) => {
            Arc::new(MemoryPullQueue::new(clock.clone()))
        }
    }
}

async fn open(config: &EngineConfig, clock: &Arc<dyn Clock>) -> Result<Backend, WiringError> {
    match &config.database {
        Database::Sqlite(path) => {
            make_folder(path)?;
            let durability = match config.durability {
                config::Durability::Full => Durability::Full,
                config::Durability::Normal => Durability::Normal,
            };
            let size_max = config.sqlite_size_max;
            let keep_days = config.keep_days;
            let options =
                SqliteOptions { durability, size_max, keep_days, ..SqliteOptions::default() };
            let store = SqliteStore::connect(path, options, clock.clone()).await?;
            Ok(Backend::Sqlite(Arc::new(store)))
        }
        Database::Postgres(url) => {
            let keep_days = config.keep_days;
            let options = PostgresOptions { keep_days, ..PostgresOptions::new(url.expose()) };
            let store = Postgres::connect(options).await?;
            store.migrate().await?;
            Ok(Backend::Postgres(store))
        }
        Database::Memory => Ok(Backend::Memory),
    }
}

/// Events and secrets are nobody else's business on a shared machine.
pub(crate) fn make_folder(file: &Path) -> Result<(), WiringError> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    if folder.is_dir() {
        return Ok(());
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| WiringError::Folder { folder: folder.to_owned(), source })
}

fn egress_policy(allow: &[String]) -> Result<EgressPolicy, WiringError> {
    let networks = allow.iter().map(|network| {
        network.parse().map_err(|_| WiringError::Network { network: network.clone() })
    });
    Ok(EgressPolicy::allowing(networks.collect::<Result<_, _>>()?))
}

/// Whether a text names a network, like `10.0.0.0/8`.
pub(crate) fn check_network(raw: &str) -> Result<(), String> {
    match egress_policy(&[raw.to_owned()]) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{raw:?} is no network; expected one like 10.0.0.0/8")),
    }
}

/// The node's part of the settings.
pub(crate) fn node_config(config: &EngineConfig) -> NodeConfig {
    NodeConfig {
        name: config.node_name.clone(),
        role: config.role.word().to_owned(),
        slots: config.slots,
        beat: config.beat,
        lease_ttl: config.lease_ttl,
        drain_timeout: config.drain_timeout,
        window_bytes: config.window_bytes,
        ..NodeConfig::default()
    }
}

/// Time and randomness for what runs outside an engine.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

impl WiringError {
    /// Whether the same may work in a while.
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Self::Postgres(error) => matches!(error, OpenError::Unreachable(_)),
            Self::Definitions(error) => matches!(error, StoreError::Unavailable { .. }),
            Self::Folder { .. }
            | Self::Sqlite(_)
            | Self::Egress(_)
            | Self::Redis(_)
            | Self::Traces(_)
            | Self::MasterKeys(_)
            | Self::Identities(_)
            | Self::Policy(_)
            | Self::Network { .. } => false,
        }
    }
}

/// One step of the schema's way to this program's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaStep {
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) is_applied: bool,
}

/// Looks at a schema without changing it.
pub(crate) async fn schema_steps(config: &EngineConfig) -> Result<Vec<SchemaStep>, WiringError> {
    let (names, applied) = match &config.database {
        Database::Sqlite(path) => sqlite::schema_steps(path).await.map_err(ConnectError::from)?,
        Database::Postgres(url) => {
            let store = Postgres::connect(PostgresOptions::new(url.expose())).await?;
            let steps = store.schema_steps().await;
            store.close().await;
            steps?
        }
        Database::Memory => (Vec::new(), 0),
    };
    let steps = (1..).zip(names).map(|(number, name)| SchemaStep {
        number,
        name: name.replace('_', " "),
        is_applied: number <= applied,
    });
    Ok(steps.collect())
}

/// What a Redis server says of itself, and what is wrong with that.
pub(crate) struct RedisReport {
    pub(crate) version: String,
    pub(crate) problem: Option<(String, &'static str)>,
}

impl RedisReport {
    fn new(ServerReport { version, maxmemory_policy: policy }: ServerReport) -> Self {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        let problem = if major.is_none_or(|major| major < REDIS_VERSION_MIN) {
            Some((format!("it has version {version}"), "version 7 or a newer one is needed"))
        } else if policy != "noeviction" {
            Some((
                format!(
                    "maxmemory-policy is {policy}: when memory is short, it may drop events that wait in the stream"
                ),
                "set maxmemory-policy to noeviction: then writers are refused instead",
            ))
        } else {
            None
        };
        Self { version, problem }
    }
}

impl Engine {
    /// Starts taking events out of the stream, where there is one.
    pub(crate) fn read_stream(&self, node_name: &str) -> Option<StreamReader> {
        let stream = self.stream.clone()?;
        let read_event = Arc::new(crate::event_body::stream_event);
        Some(StreamReader::start(self.app.clone(), stream, node_name.to_owned(), read_event))
    }

    /// Closes the store after everything that was running has ended.
    pub(crate) async fn close(self) {
        self.collector.close().await;
        if let Err(error) = self.app.quotas.write_usage().await {
            warn!(%error, "the last seconds of what tenants used are not counted");
        }
        match &self.backend {
            Backend::Sqlite(store) => store.close().await,
            Backend::Postgres(store) => store.close().await,
            Backend::Memory => {}
        }
    }
}
