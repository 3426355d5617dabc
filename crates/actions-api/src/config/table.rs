//! The table of settings: the only place that knows their names.

/// One setting, by all its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its key in the file, and how the code calls it.
    pub(crate) key: &'static str,
    /// Its flag without the dashes and what stands behind it, when it has one.
    pub(crate) flag: Option<(&'static str, &'static str)>,
    pub(crate) variable: &'static str,
    pub(crate) default: Option<&'static str>,
    /// Never shown, and `<VARIABLE>_FILE` names a file that holds it.
    pub(crate) secret: bool,
    /// Belongs to the command line as a client, not to the engine: it has no file key.
    pub(crate) client: bool,
    pub(crate) about: &'static str,
}

impl Setting {
    const fn engine(
        key: &'static str,
        flag: Option<(&'static str, &'static str)>,
        variable: &'static str,
        default: Option<&'static str>,
        about: &'static str,
    ) -> Self {
        Self { key, flag, variable, default, secret: false, client: false, about }
    }

    const fn client(
        key: &'static str,
        flag: Option<(&'static str, &'static str)>,
        variable: &'static str,
        default: Option<&'static str>,
        about: &'static str,
    ) -> Self {
        Self { key, flag, variable, default, secret: false, client: true, about }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// What the help says of its flag.
    pub(crate) fn help(&self) -> String {
        let mut about = self.about.chars();
        let first = about.next().map(char::to_uppercase).into_iter().flatten();
        let text: String = first.chain(about).collect();
        let default = match self.default {
            Some(default) if !default.is_empty() => format!(" [default: {default}]"),
            _ => String::new(),
        };
        format!("{text} [variable: {}]{default}", self.variable)
    }

    /// The variable that names a file with the secret.
    pub(crate) fn file_variable(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.variable))
    }
}

/// Settings of a process that runs the engine.
pub(crate) const ENGINE: &[Setting] = &[
    Setting::engine(
        "database_url",
        Some(("database-url", "URL")),
        "DATABASE_URL",
        None,
        "where the state is kept: postgres://… or sqlite://FILE",
    )
    .secret(),
    Setting::engine(
        "redis_url",
        Some(("redis-url", "URL")),
        "ACTIONS_REDIS_URL",
        None,
        "a Redis server that makes things quicker and takes events in; events wait there until they are stored",
    )
    .secret(),
    Setting::engine(
        "rate_ledger",
        Some(("rate-ledger", "PLACE")),
        "ACTIONS_RATE_LEDGER",
        Some("database"),
        "where rates are counted: database or redis; the same on all nodes",
    ),
    Setting::engine(
        "pull_queue",
        Some(("pull-queue", "PLACE")),
        "ACTIONS_PULL_QUEUE",
        Some("database"),
        "where tasks wait for remote workers: database or redis; the same on all nodes",
    ),
    Setting::engine(
        "listen",
        Some(("listen", "ADDRESS")),
        "ACTIONS_LISTEN",
        Some("127.0.0.1:7070"),
        "address and port of the HTTP interface",
    ),
    Setting::engine(
        "admin_listen",
        Some(("admin-listen", "ADDRESS")),
        "ACTIONS_ADMIN_LISTEN",
        None,
        "address and port where alone /v1/admin, /v1/internal and /metrics answer; serve only",
    ),
    Setting::engine(
        "tls_cert",
        Some(("tls-cert", "FILE")),
        "ACTIONS_TLS_CERT",
        None,
        "the certificate of the HTTP interface with its chain, in PEM form; serve only",
    ),
    Setting::engine(
        "tls_key",
        Some(("tls-key", "FILE")),
        "ACTIONS_TLS_KEY",
        None,
        "the private key of that certificate, in PEM form; both are read again when they change",
    ),
    Setting::engine(
        "hosts",
        Some(("hosts", "NAMES")),
        "ACTIONS_HOSTS",
        Some(""),
        "names by which the server may be asked, joined by commas; any unless set",
    ),
    Setting::engine(
        "cors_origins",
        Some(("cors-origins", "ORIGINS")),
        "ACTIONS_CORS_ORIGINS",
        Some(""),
        "web sites whose pages may ask, like https://app.example.com, joined by commas; none unless set",
    ),
    Setting::engine(
        "bootstrap_token",
        None,
        "ACTIONS_BOOTSTRAP_TOKEN",
        None,
        "the first administrator's token; serve needs it or ACTIONS_OIDC_ISSUER",
    )
    .secret(),
    Setting::engine(
        "oidc_issuer",
        Some(("oidc-issuer", "URL")),
        "ACTIONS_OIDC_ISSUER",
        None,
        "an OpenID Connect provider whose tokens are accepted, exactly as their iss says it",
    ),
    Setting::engine(
        "oidc_audience",
        Some(("oidc-audience", "NAME")),
        "ACTIONS_OIDC_AUDIENCE",
        Some("actions"),
        "what the aud of such tokens must name",
    ),
    Setting::engine(
        "oidc_algorithms",
        Some(("oidc-algorithms", "NAMES")),
        "ACTIONS_OIDC_ALGORITHMS",
        Some("RS256"),
        "what such tokens may be signed with, joined by commas",
    ),
    Setting::engine(
        "oidc_tenant_claim",
        Some(("oidc-tenant-claim", "NAME")),
        "ACTIONS_OIDC_TENANT_CLAIM",
        Some("actions_tenant"),
        "the claim that names the caller's tenant, by its name or by a JSON pointer",
    ),
    Setting::engine(
        "oidc_role_claim",
        Some(("oidc-role-claim", "NAME")),
        "ACTIONS_OIDC_ROLE_CLAIM",
        Some("actions_role"),
        "the claim that names the caller's role, or several; by its name or by a JSON pointer",
    ),
    Setting::engine(
        "master_key",
        None,
        "ACTIONS_MASTER_KEY",
        None,
        "the keys of stored secrets, the same on all nodes: 32 random bytes in base64, or ID:BASE64; of several the first one wraps; dev makes one",
    )
    .secret(),
    Setting::engine(
        "node_name",
        Some(("node-name", "NAME")),
        "ACTIONS_NODE_NAME",
        None,
        "this process's name in the cluster, which no other may have; host and port unless set",
    ),
    Setting::engine(
        "role",
        Some(("role", "ROLE")),
        "ACTIONS_ROLE",
        Some("all"),
        "what this process is for: all, api (others run the work), or worker (it serves no API)",
    ),
    Setting::engine(
        "slots",
        Some(("slots", "COUNT")),
        "ACTIONS_SLOTS",
        Some("256"),
        "attempts that run at once on this node",
    ),
    Setting::engine(
        "lease_ttl",
        Some(("lease-ttl", "TIME")),
        "ACTIONS_LEASE_TTL",
        Some("6s"),
        "how long a node may be silent before others take its work; the same on all nodes",
    ),
    Setting::engine(
        "beat",
        Some(("beat", "TIME")),
        "ACTIONS_BEAT",
        Some("2s"),
        "how often a node says that it is alive; the same on all nodes",
    ),
    Setting::engine(
        "drain_timeout",
        Some(("drain-timeout", "TIME")),
        "ACTIONS_DRAIN_TIMEOUT",
        Some("30s"),
        "how long stopping waits for running attempts",
    ),
    Setting::engine(
        "window",
        Some(("window", "SIZE")),
        "ACTIONS_WINDOW",
        Some("64MB"),
        "memory for items that wait on this node",
    ),
    Setting::engine(
        "sqlite_durability",
        Some(("sqlite-durability", "MODE")),
        "ACTIONS_SQLITE_DURABILITY",
        Some("full"),
        "what commits survive: full, or normal, where a loss of power may take the last ones",
    ),
    Setting::engine(
        "sqlite_max_size",
        Some(("sqlite-max-size", "SIZE")),
        "ACTIONS_SQLITE_MAX_SIZE",
        None,
        "size that a SQLite file may reach; then events are refused until there is room again",
    ),
    Setting::engine(
        "keep_days",
        Some(("keep-days", "DAYS")),
        "ACTIONS_KEEP_DAYS",
        Some("30"),
        "days after which events, executions and dead letters are removed, at least 2; 0 keeps everything",
    ),
    Setting::engine(
        "tenant_max_concurrent_executions",
        None,
        "ACTIONS_TENANT_MAX_CONCURRENT_EXECUTIONS",
        None,
        "attempts of one tenant that run at once, over all nodes",
    ),
    Setting::engine(
        "tenant_rate_limit_per_minute",
        None,
        "ACTIONS_TENANT_RATE_LIMIT_PER_MINUTE",
        None,
        "attempts of one tenant that start in a minute, over all nodes",
    ),
    Setting::engine(
        "tenant_rate_limit_per_hour",
        None,
        "ACTIONS_TENANT_RATE_LIMIT_PER_HOUR",
        None,
        "the same in an hour",
    ),
    Setting::engine(
        "tenant_weight",
        None,
        "ACTIONS_TENANT_WEIGHT",
        None,
        "turns of one tenant where others get one",
    ),
    Setting::engine(
        "tenant_events_per_second",
        None,
        "ACTIONS_TENANT_EVENTS_PER_SECOND",
        None,
        "events of one tenant that are taken in, over all nodes",
    ),
    Setting::engine(
        "tenant_waiting_executions",
        None,
        "ACTIONS_TENANT_WAITING_EXECUTIONS",
        None,
        "executions of one tenant that have not ended; with so many, new events are refused",
    ),
    Setting::engine(
        "tenant_stored_bytes",
        None,
        "ACTIONS_TENANT_STORED_BYTES",
        None,
        "size of the events of one tenant that are kept, like 10GB; with so much, new events are refused",
    ),
    Setting::engine(
        "tenant_actions",
        None,
        "ACTIONS_TENANT_ACTIONS",
        None,
        "actions of one tenant",
    ),
    Setting::engine(
        "tenant_subscriptions",
        None,
        "ACTIONS_TENANT_SUBSCRIPTIONS",
        None,
        "subscriptions of one tenant",
    ),
    Setting::engine(
        "tenant_schedules",
        None,
        "ACTIONS_TENANT_SCHEDULES",
        None,
        "schedules of one tenant",
    ),
    Setting::engine(
        "tenant_secrets",
        None,
        "ACTIONS_TENANT_SECRETS",
        None,
        "secrets of one tenant",
    ),
    Setting::engine(
        "tenant_api_keys",
        None,
        "ACTIONS_TENANT_API_KEYS",
        None,
        "API keys of one tenant that hold",
    ),
    Setting::engine(
        "egress_allow",
        Some(("egress-allow", "NETWORKS")),
        "ACTIONS_EGRESS_ALLOW",
        Some(""),
        "networks that calls may reach although they are not public, joined by commas",
    ),
    Setting::engine(
        "otlp_endpoint",
        Some(("otlp-endpoint", "URL")),
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        "a collector of traces, by OTLP over HTTP; without one no traces are kept",
    ),
    Setting::engine(
        "otlp_headers",
        None,
        "OTEL_EXPORTER_OTLP_HEADERS",
        None,
        "name=value pairs joined by commas, sent to the collector of traces",
    )
    .secret(),
    Setting::engine(
        "service_name",
        Some(("service-name", "NAME")),
        "OTEL_SERVICE_NAME",
        Some("actions"),
        "what traces call this process's service",
    ),
    Setting::engine(
        "trace_ratio",
        Some(("trace-ratio", "SHARE")),
        "OTEL_TRACES_SAMPLER_ARG",
        Some("1"),
        "of the traces that begin here, how many are kept, 0 to 1; what began elsewhere says so itself",
    ),
    Setting::engine(
        "log",
        Some(("log", "FILTER")),
        "ACTIONS_LOG",
        Some("info"),
        "what is logged: a level, or target=level pairs",
    ),
    Setting::engine(
        "log_format",
        Some(("log-format", "FORMAT")),
        "ACTIONS_LOG_FORMAT",
        None,
        "how log lines look: pretty or json; pretty on a terminal unless set",
    ),
];

/// Settings of the command line as a client, and of finding the file.
const CLIENT: &[Setting] = &[
    Setting::client(
        "config",
        Some(("config", "FILE")),
        "ACTIONS_CONFIG",
        None,
        "the settings file; /etc/actions/server.toml is read when it exists",
    ),
    Setting::client(
        "url",
        Some(("url", "URL")),
        "ACTIONS_URL",
        Some("http://127.0.0.1:7070"),
        "the server that commands talk to",
    ),
    Setting::client(
        "tenant",
        Some(("tenant", "SLUG")),
        "ACTIONS_TENANT",
        Some("default"),
        "the tenant that commands are about",
    ),
    Setting::client("token", None, "ACTIONS_TOKEN", None, "the token that commands send").secret(),
];

/// Every setting there is.
pub(crate) const SETTINGS: [&[Setting]; 2] = [ENGINE, CLIENT];

/// The setting with this key, which the caller knows to exist.
pub(crate) fn setting(key: &str) -> &'static Setting {
    let mut all = SETTINGS.into_iter().flatten();
    all.find(|setting| setting.key == key).expect("callers name settings of the table")
}
