//! The settings of the process: one table, read once, all mistakes told at once.
//!
//! Flags win over the environment, the environment over the file, the file over the defaults.
//! Settings of tenants are not here: they live in the store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actions_app::quotas::ProcessLayers;
use zeroize::Zeroizing;

use crate::sites::Sites;
use crate::tls::TlsFiles;

mod environment;
mod sources;
mod table;
mod tenant_settings;
#[cfg(test)]
mod tests;
mod units;
mod values;

pub(crate) use environment::Environment;
pub(crate) use sources::{Flags, Resolved};
pub(crate) use table::{ENGINE, Setting, setting};
pub(crate) use units::{byte_count, duration};

/// A text that is never shown. Its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for whoever has to send or compare it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where the state is kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    /// The whole URL, which may hold a password.
    Postgres(Secret),
    /// Nothing survives the process.
    Memory,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

impl Database {
    /// Reads `sqlite://path`, `postgres://…` or `memory:`.
    pub(crate) fn parse(raw: &str) -> Result<Self, String> {
        if raw == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = raw.strip_prefix("sqlite://").or_else(|| raw.strip_prefix("sqlite:")) {
            if path.is_empty() || path == ":memory:" || path.contains('?') {
                return Err(
                    "a SQLite URL is sqlite://FILE without parameters; use memory: to keep nothing"
                        .to_owned(),
                );
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if raw.starts_with("postgres://") || raw.starts_with("postgresql://") {
            let url = url::Url::parse(raw).map_err(|error| format!("not a URL: {error}"))?;
            if url.host_str().is_none_or(str::is_empty) && url.query().is_none() {
                return Err("the URL names no host".to_owned());
            }
            return Ok(Self::Postgres(Secret::new(raw.to_owned())));
        }
        Err("expected sqlite://FILE, postgres://… or memory:".to_owned())
    }

    /// Where it is, without credentials.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
            Self::Memory => "memory:".to_owned(),
            Self::Postgres(url) => match url::Url::parse(url.expose()) {
                Ok(url) => {
                    let host = url.host_str().unwrap_or_default();
                    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                    format!("postgres://{host}{port}{}", url.path())
                }
                Err(_) => "postgres://".to_owned(),
            },
        }
    }

    /// The word that benchmarks and answers use.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
            Self::Memory => "memory",
        }
    }
}

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It serves the API and runs work.
    All,
    /// It serves the API, and others run what it accepts.
    Api,
    /// It runs work, and serves only what is about the process.
    Worker,
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }

    pub(crate) fn has_node(self) -> bool {
        self != Self::Api
    }

    pub(crate) fn has_api(self) -> bool {
        self != Self::Worker
    }
}

/// What a commit to SQLite survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    Full,
    Normal,
}

/// Where rates are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateLedger {
    Database,
    Redis,
}

/// Where tasks wait for remote workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullQueue {
    Database,
    Redis,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Pretty,
    Json,
}

/// How the process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// `info`, or `info,actions_app=debug`.
    pub(crate) filter: String,
    /// `None`: pretty on a terminal, else JSON.
    pub(crate) format: Option<LogFormat>,
}

/// A collector of traces, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TracesConfig {
    pub(crate) endpoint: String,
    headers: Option<Secret>,
    pub(crate) service: String,
    /// Of a million traces that begin here, so many are kept.
    pub(crate) kept_ppm: u32,
}

impl TracesConfig {
    /// What is sent with each request.
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nobody sends traces"))]
    pub(crate) fn headers(&self) -> std::collections::HashMap<String, String> {
        let headers = self.headers.iter().flat_map(|headers| pairs(headers.expose()));
        headers.flatten().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// `name=value` pairs joined by commas. `None` stands for what is no pair.
fn pairs(raw: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    let parts = raw.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').map(|(name, value)| (name.trim(), value.trim())))
}

/// An identity provider, and what is expected of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OidcConfig {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// Names that are known to be algorithms.
    pub(crate) algorithms: Vec<String>,
    pub(crate) tenant_claim: String,
    pub(crate) role_claim: String,
}

/// What is needed to put an engine together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineConfig {
    pub(crate) database: Database,
    /// The whole URL, which may hold a password. `None`: everything works without it.
    pub(crate) redis_url: Option<Secret>,
    pub(crate) rate_ledger: RateLedger,
    pub(crate) pull_queue: PullQueue,
    pub(crate) durability: Durability,
    /// Bytes that a SQLite file may reach. `None`: until the disk is full.
    pub(crate) sqlite_size_max: Option<u64>,
    /// Days of history. `None` keeps everything.
    pub(crate) keep_days: Option<u16>,
    /// What holds for tenants of which the store says nothing.
    pub(crate) tenant_settings: ProcessLayers,
    /// Where traces go. `None`: nobody keeps them.
    pub(crate) traces: Option<TracesConfig>,
    /// The keys of stored secrets. `None`: none can be stored.
    pub(crate) master_keys: Option<Secret>,
    /// Networks that outgoing calls may reach although they are not public.
    pub(crate) egress_allow: Vec<String>,
    pub(crate) node_name: String,
    pub(crate) role: Role,
    pub(crate) slots: usize,
    pub(crate) beat: Duration,
    pub(crate) lease_ttl: Duration,
    pub(crate) drain_timeout: Duration,
    /// Memory for items that wait on this node, in bytes.
    pub(crate) window_bytes: usize,
}

/// All settings of a process that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) engine: EngineConfig,
    pub(crate) listen: SocketAddr,
    /// Where operators alone are answered. `None`: where everybody is.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// `None`: HTTP without TLS.
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) bootstrap_token: Option<Secret>,
    pub(crate) sites: Sites,
    pub(crate) oidc: Option<OidcConfig>,
    pub(crate) log: LogConfig,
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems(pub(crate) Vec<String>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Which database holds, beside one that a flag names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DatabaseDefault<'a> {
    /// The variable or the file must name one.
    Required,
    /// What the variable or the file names, else this SQLite file.
    Unset(&'a Path),
    /// This SQLite file, whatever the variable and the file name.
    Always(&'a Path),
}

impl Config {
    /// Reads every setting of [`ENGINE`].
    ///
    /// # Errors
    /// All that is wrong, with the place that each value came from.
    pub(crate) fn read(
        flags: &Flags,
        environment: &Environment,
        default: DatabaseDefault<'_>,
    ) -> Result<Self, Problems> {
        let (resolved, problems) = Resolved::collect(flags, environment);
        let mut reader = Reader { resolved: &resolved, problems };
        let is_named = resolved.find("database_url").is_some();
        let file = match default {
            DatabaseDefault::Required => None,
            DatabaseDefault::Unset(path) => (!is_named).then_some(path),
            DatabaseDefault::Always(path) => (!flags.contains_key("database_url")).then_some(path),
        };
        let database = match file {
            Some(path) => Some(Database::Sqlite(path.to_owned())),
            None if is_named => reader.parse("database_url", Database::parse),
            None => {
                reader.problem("DATABASE_URL is needed: postgres://… or sqlite://FILE".to_owned());
                None
            }
        };
        match reader.config(database, environment) {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(Problems(reader.problems)),
        }
    }
}

/// Turns texts into values and gathers what is wrong with them.
struct Reader<'a> {
    resolved: &'a Resolved,
    problems: Vec<String>,
}

impl Reader<'_> {
    /// Reads everything before it gives up, so that all mistakes are told at once.
    fn config(&mut self, database: Option<Database>, environment: &Environment) -> Option<Config> {
        let listen = self.parse("listen", values::listen);
        let admin_listen = self.optional("admin_listen", values::listen);
        // Port 0 is another one each time.
        if admin_listen.is_some() && admin_listen == listen && listen.is_some_and(|l| l.port() != 0)
        {
            self.problem(
                "ACTIONS_ADMIN_LISTEN must be another address than ACTIONS_LISTEN".to_owned(),
            );
        }
        let tls = self.tls();
        let engine = self.engine(database, listen, environment);
        let bootstrap_token = self.optional("bootstrap_token", values::token);
        let hosts = self.parse("hosts", values::hosts);
        let origins = self.parse("cors_origins", values::origins);
        let oidc = self.oidc();
        let filter = self.parse("log", values::log_filter);
        let format = self.optional("log_format", values::log_format);
        Some(Config {
            engine: engine?,
            listen: listen?,
            admin_listen,
            tls,
            bootstrap_token,
            sites: Sites::new(&hosts?, &origins?).ok()?,
            oidc,
            log: LogConfig { filter: filter?, format },
        })
    }

    fn engine(
        &mut self,
        database: Option<Database>,
        listen: Option<SocketAddr>,
        environment: &Environment,
    ) -> Option<EngineConfig> {
        let redis_url = self.optional("redis_url", values::redis_url);
        let rate_ledger = self.parse("rate_ledger", values::rate_ledger);
        if rate_ledger == Some(RateLedger::Redis) && self.resolved.find("redis_url").is_none() {
            self.problem("ACTIONS_RATE_LEDGER=redis needs ACTIONS_REDIS_URL".to_owned());
        }
        let pull_queue = self.parse("pull_queue", values::pull_queue);
        if pull_queue == Some(PullQueue::Redis) && self.resolved.find("redis_url").is_none() {
            self.problem("ACTIONS_PULL_QUEUE=redis needs ACTIONS_REDIS_URL".to_owned());
        }
        let durability = self.parse("sqlite_durability", values::durability);
        let sqlite_size_max = self.optional("sqlite_max_size", values::sqlite_size);
        let keep_days = self.parse("keep_days", values::keep_days);
        let tenant_settings = self.tenant_settings(keep_days.flatten());
        let traces = self.traces();
        let master_keys = self.optional("master_key", values::master_keys);
        let egress_allow = self.parse("egress_allow", values::networks);
        let role = self.parse("role", values::role);
        let slots = self.parse("slots", values::slots);
        let beat = self.parse("beat", duration);
        let lease_ttl = self.parse("lease_ttl", duration);
        let drain_timeout = self.parse("drain_timeout", duration);
        let window_bytes = self.parse("window", values::window);
        let node_name = self.optional("node_name", values::node_name);
        if let (Some(beat), Some(ttl)) = (beat, lease_ttl)
            && (beat.is_zero() || ttl < beat * 2)
        {
            self.problem(
                "ACTIONS_LEASE_TTL must be at least twice ACTIONS_BEAT: a node that misses one beat is not dead"
                    .to_owned(),
            );
        }
        if role.is_some_and(|role| role != Role::All)
            && database.as_ref().is_some_and(|database| !matches!(database, Database::Postgres(_)))
        {
            self.problem(
                "ACTIONS_ROLE must be all without PostgreSQL: other stores are for one process"
                    .to_owned(),
            );
        }
        Some(EngineConfig {
            database: database?,
            redis_url,
            rate_ledger: rate_ledger?,
            pull_queue: pull_queue?,
            durability: durability?,
            sqlite_size_max,
            keep_days: keep_days?,
            tenant_settings,
            traces,
            master_keys,
            egress_allow: egress_allow?,
            node_name: node_name.or_else(|| Some(server_name(environment, listen?)))?,
            role: role?,
            slots: slots?,
            beat: beat?,
            lease_ttl: lease_ttl?,
            drain_timeout: drain_timeout?,
            window_bytes: window_bytes?,
        })
    }

    fn tls(&mut self) -> Option<TlsFiles> {
        let file = |raw: &str| match raw {
            "" => Err("expected the path of a file".to_owned()),
            path => Ok(PathBuf::from(path)),
        };
        match (self.optional("tls_cert", file), self.optional("tls_key", file)) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => {
                self.problem("ACTIONS_TLS_CERT needs ACTIONS_TLS_KEY, its private key".to_owned());
                None
            }
            (None, Some(_)) => {
                self.problem("ACTIONS_TLS_KEY needs ACTIONS_TLS_CERT, its certificate".to_owned());
                None
            }
        }
    }

    fn oidc(&mut self) -> Option<OidcConfig> {
        let issuer = self.optional("oidc_issuer", values::issuer);
        let audience = self.parse("oidc_audience", values::word);
        let algorithms = self.parse("oidc_algorithms", values::algorithms);
        let tenant_claim = self.parse("oidc_tenant_claim", values::word);
        let role_claim = self.parse("oidc_role_claim", values::word);
        Some(OidcConfig {
            issuer: issuer?,
            audience: audience?,
            algorithms: algorithms?,
            tenant_claim: tenant_claim?,
            role_claim: role_claim?,
        })
    }

    fn traces(&mut self) -> Option<TracesConfig> {
        let endpoint = self.optional("otlp_endpoint", values::http_url);
        let headers = self.optional("otlp_headers", values::otlp_headers);
        let service = self.parse("service_name", |raw| Ok(raw.to_owned()));
        let kept_ppm = self.parse("trace_ratio", values::ratio);
        let endpoint = endpoint?;
        if !crate::wiring::CAN_TRACE {
            self.problem(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, and this program was built without the feature otlp"
                    .to_owned(),
            );
        }
        Some(TracesConfig { endpoint, headers, service: service?, kept_ppm: kept_ppm? })
    }

    fn parse<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let Some(value) = self.resolved.find(key) else {
            self.problem(format!("{key} is not set"));
            return None;
        };
        match parse(&value.text) {
            Ok(parsed) => Some(parsed),
            Err(expected) => {
                self.problem(value.complaint(&expected));
                None
            }
        }
    }

    fn optional<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.resolved.find(key)?;
        self.parse(key, parse)
    }

    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

/// The name of a server that has none: its host and its port, which no two servers share. It is
/// the same after a restart, so what the last start owned is taken back at once.
fn server_name(environment: &Environment, listen: SocketAddr) -> String {
    match listen.port() {
        // The system picks a port later.
        0 => process_name(environment),
        port => format!("{}-{port}", host_name(environment)),
    }
}

/// The name of a process that does not listen, like a service that links the engine.
pub(crate) fn process_name(environment: &Environment) -> String {
    format!("{}-{}", host_name(environment), std::process::id())
}

/// The machine's or container's name, short enough to have a number behind it.
fn host_name(environment: &Environment) -> String {
    let from_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = environment.find("HOSTNAME").map(str::to_owned).or(from_kernel);
    let mut name =
        values::node_name(name.unwrap_or_default().trim()).unwrap_or_else(|_| "node".to_owned());
    name.truncate(80);
    name
}
