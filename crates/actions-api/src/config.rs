//! The settings of the process: one table, read once, all mistakes told at once.
//!
//! Flags win over the environment, the environment over the file, the file over the defaults.
//! Settings of tenants are not here: they live in the store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actions_app::quotas::ProcessLayers;
use actions_domain::limits::CONCURRENCY_MAX;
use zeroize::Zeroizing;

use crate::sites::Sites;

mod environment;
mod sources;
mod table;
mod tenant_settings;
#[cfg(test)]
mod tests;
mod units;

pub(crate) use environment::Environment;
pub(crate) use sources::{Flags, Resolved};
pub(crate) use table::{ENGINE, Setting, setting};
use units::size;
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

/// Less memory for waiting items would make a node read the same rows over and over.
const WINDOW_BYTES_MIN: usize = 1 << 20;
/// An empty database takes a part of this.
const SQLITE_SIZE_MIN: u64 = 1 << 20;
/// Shortest and longest of the token that lets an administrator in.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

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
        let listen = self.parse("listen", listen);
        let engine = self.engine(database, listen, environment);
        let bootstrap_token = self.optional("bootstrap_token", token);
        let hosts = self.parse("hosts", hosts);
        let origins = self.parse("cors_origins", origins);
        let oidc = self.oidc();
        let filter = self.parse("log", log_filter);
        let format = self.optional("log_format", log_format);
        Some(Config {
            engine: engine?,
            listen: listen?,
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
        let redis_url = self.optional("redis_url", redis_url);
        let rate_ledger = self.parse("rate_ledger", rate_ledger);
        if rate_ledger == Some(RateLedger::Redis) && self.resolved.find("redis_url").is_none() {
            self.problem("ACTIONS_RATE_LEDGER=redis needs ACTIONS_REDIS_URL".to_owned());
        }
        let pull_queue = self.parse("pull_queue", pull_queue);
        if pull_queue == Some(PullQueue::Redis) && self.resolved.find("redis_url").is_none() {
            self.problem("ACTIONS_PULL_QUEUE=redis needs ACTIONS_REDIS_URL".to_owned());
        }
        let durability = self.parse("sqlite_durability", durability);
        let sqlite_size_max = self.optional("sqlite_max_size", sqlite_size);
        let keep_days = self.parse("keep_days", keep_days);
        let tenant_settings = self.tenant_settings(keep_days.flatten());
        let traces = self.traces();
        let master_keys = self.optional("master_key", master_keys);
        let egress_allow = self.parse("egress_allow", networks);
        let role = self.parse("role", role);
        let slots = self.parse("slots", slots);
        let beat = self.parse("beat", duration);
        let lease_ttl = self.parse("lease_ttl", duration);
        let drain_timeout = self.parse("drain_timeout", duration);
        let window_bytes = self.parse("window", window);
        let node_name = self.optional("node_name", node_name);
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

    fn oidc(&mut self) -> Option<OidcConfig> {
        let issuer = self.optional("oidc_issuer", issuer);
        let audience = self.parse("oidc_audience", word);
        let algorithms = self.parse("oidc_algorithms", algorithms);
        let tenant_claim = self.parse("oidc_tenant_claim", word);
        let role_claim = self.parse("oidc_role_claim", word);
        Some(OidcConfig {
            issuer: issuer?,
            audience: audience?,
            algorithms: algorithms?,
            tenant_claim: tenant_claim?,
            role_claim: role_claim?,
        })
    }

    fn traces(&mut self) -> Option<TracesConfig> {
        let endpoint = self.optional("otlp_endpoint", http_url);
        let headers = self.optional("otlp_headers", otlp_headers);
        let service = self.parse("service_name", |raw| Ok(raw.to_owned()));
        let kept_ppm = self.parse("trace_ratio", ratio);
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

fn listen(raw: &str) -> Result<SocketAddr, String> {
    raw.parse().map_err(|_| "expected ADDRESS:PORT, like 127.0.0.1:7070".to_owned())
}

fn redis_url(raw: &str) -> Result<Secret, String> {
    crate::wiring::check_redis_url(raw)?;
    Ok(Secret::new(raw.to_owned()))
}

fn master_keys(raw: &str) -> Result<Secret, String> {
    crate::wiring::check_master_keys(raw)?;
    Ok(Secret::new(raw.to_owned()))
}

fn http_url(raw: &str) -> Result<String, String> {
    match url::Url::parse(raw) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(raw.to_owned()),
        _ => Err("expected an http or https URL, like http://127.0.0.1:4318".to_owned()),
    }
}

/// What a provider says of itself is known to be its own over TLS alone; on this machine it may be
/// without, for trials.
fn issuer(raw: &str) -> Result<String, String> {
    let expected = "expected an https URL without a query, as the provider's tokens say it in iss";
    let url = url::Url::parse(raw).map_err(|_| expected.to_owned())?;
    let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_here;
    if is_safe && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() {
        return Ok(raw.to_owned());
    }
    Err(expected.to_owned())
}

fn algorithms(raw: &str) -> Result<Vec<String>, String> {
    let names = raw.split([',', ' ']).filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() {
        return Err("expected at least one algorithm, like RS256".to_owned());
    }
    names.iter().try_for_each(|name| crate::wiring::check_token_algorithm(name))?;
    Ok(names)
}

fn word(raw: &str) -> Result<String, String> {
    if (1..=255).contains(&raw.len()) && raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(raw.to_owned());
    }
    Err("expected 1 to 255 printable characters without spaces".to_owned())
}

fn otlp_headers(raw: &str) -> Result<Secret, String> {
    if pairs(raw).all(|pair| pair.is_some_and(|(name, _)| !name.is_empty())) {
        return Ok(Secret::new(raw.to_owned()));
    }
    Err("expected name=value pairs joined by commas".to_owned())
}

/// A share, in millionths.
fn ratio(raw: &str) -> Result<u32, String> {
    match raw.trim().parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok((ratio * 1e6).round() as u32),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn rate_ledger(raw: &str) -> Result<RateLedger, String> {
    match raw {
        "database" => Ok(RateLedger::Database),
        "redis" => Ok(RateLedger::Redis),
        _ => Err("expected database or redis".to_owned()),
    }
}

fn pull_queue(raw: &str) -> Result<PullQueue, String> {
    match raw {
        "database" => Ok(PullQueue::Database),
        "redis" => Ok(PullQueue::Redis),
        _ => Err("expected database or redis".to_owned()),
    }
}

fn durability(raw: &str) -> Result<Durability, String> {
    match raw {
        "full" => Ok(Durability::Full),
        "normal" => Ok(Durability::Normal),
        _ => Err("expected full or normal".to_owned()),
    }
}

fn role(raw: &str) -> Result<Role, String> {
    let all = [Role::All, Role::Api, Role::Worker];
    let named = all.into_iter().find(|role| role.word() == raw);
    named.ok_or_else(|| "expected all, api or worker".to_owned())
}

fn sqlite_size(raw: &str) -> Result<u64, String> {
    match size(raw)? as u64 {
        bytes if bytes >= SQLITE_SIZE_MIN => Ok(bytes),
        _ => Err("the least is 1MB".to_owned()),
    }
}

/// 0: for ever.
fn keep_days(raw: &str) -> Result<Option<u16>, String> {
    match raw.trim().parse::<u16>() {
        Ok(0) => Ok(None),
        Ok(days) if days >= 2 => Ok(Some(days)),
        _ => Err("expected a number of days from 2 to 65535, or 0 to keep everything".to_owned()),
    }
}

fn slots(raw: &str) -> Result<usize, String> {
    match raw.parse::<u32>() {
        Ok(slots) if (1..=CONCURRENCY_MAX).contains(&slots) => Ok(slots as usize),
        _ => Err(format!("expected a number from 1 to {CONCURRENCY_MAX}")),
    }
}

fn window(raw: &str) -> Result<usize, String> {
    match size(raw)? {
        bytes if bytes >= WINDOW_BYTES_MIN => Ok(bytes),
        _ => Err("the least is 1MB".to_owned()),
    }
}

fn token(raw: &str) -> Result<Secret, String> {
    if TOKEN_BYTES.contains(&raw.len()) && raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Secret::new(raw.to_owned()));
    }
    Err(format!(
        "expected {} to {} printable characters, like the output of: openssl rand -hex 32",
        TOKEN_BYTES.start(),
        TOKEN_BYTES.end()
    ))
}

fn log_filter(raw: &str) -> Result<String, String> {
    raw.parse::<tracing_subscriber::filter::Targets>()
        .map(|_| raw.to_owned())
        .map_err(|_| "expected a level, or target=level pairs joined by commas".to_owned())
}

fn log_format(raw: &str) -> Result<LogFormat, String> {
    match raw {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected pretty or json".to_owned()),
    }
}

fn hosts(raw: &str) -> Result<Vec<String>, String> {
    let hosts = list(raw);
    Sites::new(&hosts, &[]).map(|_| hosts)
}

fn origins(raw: &str) -> Result<Vec<String>, String> {
    let origins = list(raw);
    Sites::new(&[], &origins).map(|_| origins)
}

fn list(raw: &str) -> Vec<String> {
    raw.split([',', ' ']).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

fn networks(raw: &str) -> Result<Vec<String>, String> {
    let networks = list(raw);
    networks.iter().try_for_each(|network| crate::wiring::check_network(network))?;
    Ok(networks)
}

fn node_name(raw: &str) -> Result<String, String> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=100).contains(&raw.len()) && raw.bytes().all(is_allowed) {
        Ok(raw.to_owned())
    } else {
        Err("expected 1 to 100 letters, digits, '-', '_' or '.'".to_owned())
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
    let mut name = node_name(name.unwrap_or_default().trim()).unwrap_or_else(|_| "node".to_owned());
    name.truncate(80);
    name
}
