//! `actions bench`: how fast the engine is on this machine, in one process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actions_app::node::{self, Node};
use actions_app::quotas::ProcessLayers;
use actions_domain::action::ActionSpec;
use actions_domain::id::{ActionId, TenantId};
use actions_domain::ports::definitions::Expected;
use actions_domain::ports::handler::Handler;
use actions_domain::tenant::TenantSlug;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::column;
use super::progress::Progress;
use super::server::chain;
use crate::config::{Database, Durability, EngineConfig, PullQueue, RateLedger, Role, Secret};
use crate::wiring::{self, Engine};

mod baseline;
mod callers;
mod drain;
mod emit;
mod histogram;
mod http;
mod keyed;
mod latency;
mod matching;
mod noop;
mod process;
mod producer;
mod redis;
mod retry;
mod webhook;
mod workflow;

use noop::Noop;
use producer::Target;

/// Measure the engine on this machine
///
/// Everything runs in this process: producers, engine, handlers. A SQLite store is made in the
/// working directory and removed afterwards. A PostgreSQL database must be named, and should be
/// one of its own. Use a release build.
#[derive(Debug, Args)]
pub(super) struct Bench {
    #[arg(value_enum)]
    name: Name,
    /// Where the state is kept; sqlite, but memory for `match`
    #[arg(long, value_enum)]
    store: Option<Store>,
    /// The PostgreSQL database to use; events stay there
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The Redis server to use, for `redis`; its stream events:actions is read to its end
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// How long to go on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: Option<u64>,
    /// Executions that wait before anything starts, for `drain`
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    count: u64,
    /// Executions of a paused tenant that wait beside what is measured
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    backlog: u64,
    /// Callers at once, for `emit`, `http` and `workflow`
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    callers: u32,
    /// Events in a second, for `latency` and `retry`
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    rate: u32,
    /// Subscriptions, for `match`
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=200_000))]
    subscriptions: u32,
    /// Attempts that run at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: u32,
    /// An earlier result of the same measurement; exits with 1 when this one is clearly worse
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Finding the actions of an event among many subscriptions
    Match,
    /// Batches of events, matched, executed by a handler that does nothing, and recorded
    Noop,
    /// The same with an affinity key for each execution, and a rate for each of four tenants
    Keyed,
    /// Executions that have gathered while their tenant was paused, from its resumption
    Drain,
    /// Single events from many callers in this process, each durable before it is acknowledged
    Emit,
    /// The same over HTTP, while they are worked off
    Http,
    /// From sending an event to the start of its handler, at a steady rate
    Latency,
    /// How late the first retry is
    Retry,
    /// Signed deliveries to a receiver in this process
    Webhook,
    /// Events through the Redis stream, matched, executed, and recorded
    Redis,
    /// Runs of a workflow of three steps that do nothing, with their history
    Workflow,
}

impl Name {
    /// As it is typed.
    fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
    Memory,
}

/// What a measurement found.
struct Measured {
    count: u64,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
    extra: Value,
}

pub(super) async fn run(cx: &Context, args: Bench) -> Result<Exit, CliError> {
    let by_default = if args.name == Name::Match { Store::Memory } else { Store::Sqlite };
    let place = Place::new(args.store.unwrap_or(by_default), args.database_url.as_deref())?;
    let (name, store) = (args.name.word(), place.database.kind());
    let baseline = args.baseline.as_deref().map(|path| baseline::read(path, &name, store));
    let baseline = baseline.transpose()?;
    let mut config = config(&place, args.slots as usize);
    config.redis_url = match (&args.redis_url, args.name) {
        (Some(url), Name::Redis) => {
            wiring::check_redis_url(url)
                .map_err(|expected| CliError::usage(format!("--redis-url: {expected}")))?;
            Some(Secret::new(url.clone()))
        }
        (Some(_), _) => return Err(CliError::usage("--redis-url goes with bench redis")),
        (None, _) => None,
    };
    let engine = super::server::engine(&config).await?;
    let bench = Running { cx, engine: &engine, config: &config, args: &args };
    if args.backlog > 0 {
        bench.burden().await?;
    }
    let measured = match args.name {
        Name::Match => Box::pin(matching::run(&bench)).await,
        Name::Noop => Box::pin(noop::run(&bench)).await,
        Name::Keyed => Box::pin(keyed::run(&bench)).await,
        Name::Drain => Box::pin(drain::run(&bench)).await,
        Name::Emit => Box::pin(emit::run(&bench)).await,
        Name::Http => Box::pin(http::run(&bench)).await,
        Name::Latency => Box::pin(latency::run(&bench)).await,
        Name::Retry => Box::pin(retry::run(&bench)).await,
        Name::Webhook => Box::pin(webhook::run(&bench)).await,
        Name::Redis => Box::pin(redis::run(&bench)).await,
        Name::Workflow => Box::pin(workflow::run(&bench)).await,
    };
    let result =
        measured.map(|measured| result(args.name, &config.database, args.backlog, measured));
    engine.close().await;
    place.remove();
    let result = result?;
    print(cx, &result)?;
    Ok(baseline.map_or(Exit::Done, |before| baseline::compare(cx, &before, &result)))
}

/// A measurement under way.
struct Running<'a> {
    cx: &'a Context,
    engine: &'a Engine,
    config: &'a EngineConfig,
    args: &'a Bench,
}

/// Where the state of a measurement is kept.
struct Place {
    database: Database,
    folder: Option<PathBuf>,
}

impl Place {
    fn new(store: Store, database_url: Option<&str>) -> Result<Self, CliError> {
        match (store, database_url) {
            (Store::Memory, None) => Ok(Self { database: Database::Memory, folder: None }),
            (Store::Sqlite, None) => {
                let folder = PathBuf::from(format!(".actions-bench-{}", std::process::id()));
                let database = Database::Sqlite(folder.join("bench.db"));
                Ok(Self { database, folder: Some(folder) })
            }
            (Store::Postgres, Some(url)) => {
                let database = Database::Postgres(Secret::new(url.to_owned()));
                Ok(Self { database, folder: None })
            }
            (Store::Postgres, None) => Err(CliError::usage(
                "--store postgres needs --database-url",
            )
            .with_hint("name a database of its own: the events of a measurement stay there")),
            (Store::Memory | Store::Sqlite, Some(_)) => {
                Err(CliError::usage("--database-url goes with --store postgres"))
            }
        }
    }

    fn remove(&self) {
        if let Some(folder) = &self.folder {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn config(place: &Place, slots: usize) -> EngineConfig {
    let node = node::NodeConfig::default();
    EngineConfig {
        database: place.database.clone(),
        durability: Durability::Full,
        redis_url: None,
        rate_ledger: RateLedger::Database,
        pull_queue: PullQueue::Database,
        sqlite_size_max: None,
        keep_days: None,
        tenant_settings: ProcessLayers::default(),
        traces: None,
        master_keys: None,
        policy_url: None,
        egress_allow: vec!["127.0.0.0/8".to_owned()],
        node_name: format!("bench-{}", std::process::id()),
        role: Role::All,
        slots,
        beat: node.beat,
        lease_ttl: node.lease_ttl,
        drain_timeout: node.drain_timeout,
        window_bytes: node.window_bytes,
    }
}

impl Running<'_> {
    fn seconds(&self, by_default: u64) -> Duration {
        Duration::from_secs(self.args.seconds.unwrap_or(by_default))
    }

    /// A tenant that nobody else has, also in a database that was used before.
    async fn tenant(&self) -> Result<TenantId, CliError> {
        let app = &self.engine.app;
        let slug = format!("bench_{:012x}", app.ports.dice.roll() & 0xffff_ffff_ffff);
        let slug = TenantSlug::parse(&slug).map_err(|error| CliError::failed(error.to_string()))?;
        let uuid =
            actions_domain::id::EventId::mint(app.ports.clock.now(), app.ports.dice.bytes()).0;
        let created = app.ports.definitions.create_tenant(uuid, &slug, slug.as_str(), None).await;
        let tenant = created.map_err(|error| CliError::failed(chain(&error)))?;
        app.catalogue.adopt(&tenant);
        Ok(tenant.id)
    }

    /// Defines the one action of a measurement.
    async fn action(&self, tenant: TenantId, spec: Value) -> Result<ActionId, CliError> {
        let app = &self.engine.app;
        let spec: ActionSpec =
            serde_json::from_value(spec).map_err(|error| CliError::failed(error.to_string()))?;
        let uuid =
            actions_domain::id::EventId::mint(app.ports.clock.now(), app.ports.dice.bytes()).0;
        let saved =
            app.ports.definitions.save_action(tenant, uuid, &spec, Expected::Absent, None).await;
        let action = saved.map_err(|error| CliError::failed(chain(&error)))?;
        let refreshed = app.catalogue.refresh(tenant, action.version).await;
        refreshed.map_err(|error| CliError::failed(chain(&error)))?;
        Ok(action.id)
    }

    /// A tenant with one action.
    async fn target(&self, spec: Value) -> Result<Target, CliError> {
        let tenant = self.tenant().await?;
        Ok(Target { tenant, action: self.action(tenant, spec).await? })
    }

    /// Lets executions of a paused tenant gather.
    async fn burden(&self) -> Result<(), CliError> {
        let handler = Arc::new(Noop::new(self.engine.app.ports.clock.clone()));
        self.install(handler.clone());
        let target = self.target(noop::spec()).await?;
        drain::gather(self, target, self.args.backlog, &handler).await.map(drop)
    }

    /// Says what is going on until the answer is dropped.
    fn step(&self, text: impl Into<std::borrow::Cow<'static, str>>) -> Progress {
        Progress::step(self.cx, text)
    }

    /// Says that events are sent now, and for how long.
    fn sending(&self, time: Duration) -> Progress {
        self.step(format!("{}: sending events for {} s", self.args.name.word(), time.as_secs()))
    }

    fn install(&self, handler: Arc<dyn Handler>) {
        self.engine.app.handlers.register(handler);
    }

    /// Starts the node and waits until it owns something.
    async fn start(&self) -> Result<Node, CliError> {
        let app = &self.engine.app;
        let node = node::start(app.clone(), wiring::node_config(self.config));
        for _ in 0..1_000 {
            if !app.live.parts().is_empty() {
                return Ok(node);
            }
            app.ports.clock.sleep(Duration::from_millis(10)).await;
        }
        Err(CliError::failed("the node did not get any work to own within 10 s"))
    }
}

fn result(name: Name, database: &Database, backlog: u64, measured: Measured) -> Value {
    let mut result = json!({
        "bench": name.word(),
        "store": database.kind(),
        "count": measured.count,
        "seconds": rounded(measured.seconds),
        "rate_per_s": rounded(measured.count as f64 / measured.seconds.max(f64::EPSILON)),
        "p50_ms": rounded(measured.p50_ms),
        "p99_ms": rounded(measured.p99_ms),
        "peak_rss_mb": process::peak_rss_mb().map(rounded),
        "cpu_seconds": process::cpu_seconds().map(rounded),
        "backlog": backlog,
    });
    if let (Value::Object(result), Value::Object(extra)) = (&mut result, measured.extra) {
        result.extend(extra);
    }
    result
}

/// Three digits behind the point.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

fn print(cx: &Context, result: &Value) -> Result<(), CliError> {
    let columns = [
        column("bench", "/bench"),
        column("store", "/store"),
        column("count", "/count"),
        column("seconds", "/seconds"),
        column("rate/s", "/rate_per_s"),
        column("p50 ms", "/p50_ms"),
        column("p99 ms", "/p99_ms"),
        column("peak MB", "/peak_rss_mb"),
    ];
    if cx.output.wants_data() {
        cx.output.one(&columns, "/bench", result)
    } else {
        cx.output.list(&columns, "/bench", std::slice::from_ref(result))
    }
}
