//! The adapter of all stores to PostgreSQL 15 or newer.
//!
//! It implements [`actions_domain::ports::store::Store`],
//! [`actions_domain::ports::leases::Leases`], [`actions_domain::ports::definitions::Definitions`],
//! [`actions_domain::ports::history::History`], [`actions_domain::ports::permits::Permits`] and
//! [`actions_domain::ports::schedules::Schedules`].
//!
//! The engine's tables are in the schema `engine`; `schema/postgres` creates them. Each flush is
//! one statement in autocommit, so a client that freezes holds no lock. People read the views in
//! `admin` and `tenant_<slug>`; users' own transactions call `actions.emit`.
//!
//! No statement is built at run time: schemas of tenants are made by a function in the database,
//! which quotes their names.
//!
//! What the callers of a tenant ask runs under row-level security: see `roles`.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, SqlSafeStr};

use actions_domain::ports::leases::Leases;
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::Controls;

mod accounts;
mod api_keys;
mod audit;
mod batch;
mod bounds;
mod bulks;
mod definitions;
mod deletions;
mod emit;
mod error;
mod hints;
mod history;
mod leases;
mod permits;
mod pull_queue;
mod record;
mod roles;
mod runs;
mod schedules;
mod secrets;
mod store;
mod usages;

pub use emit::{Emit, EmitError, emit_in};
pub use hints::PostgresHints;

/// A connection of the linking service to the same database.
pub type UserConnection = sqlx::PgConnection;
/// A transaction of the linking service on the same database.
pub type UserTransaction<'a> = sqlx::Transaction<'a, sqlx::Postgres>;

/// The oldest server that has what we use.
const SERVER_VERSION_MIN: i32 = 150_000;
/// How long a caller waits for a connection before it is told to come back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was idle for longer is tried before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);
/// Connections of one node for what the callers of tenants read, and as many for everything else
/// that people and services ask.
const CONNECTIONS_DEFAULT: u32 = 6;
/// Connections beside them for the engine's own work, beats apart. It is batched, so few are
/// enough.
const ENGINE_CONNECTIONS: u32 = 4;
/// One question about changes of API keys and one about a token are asked at a time.
const DOOR_CONNECTIONS: u32 = 2;
/// Partitions of a new installation.
const PARTS_DEFAULT: u16 = 16;

/// What every session of ours starts with. A client that dies or freezes must not hold a lock
/// for long; a plan with dozens of partitions must not be compiled.
const SESSION: [(&str, &str); 11] = [
    ("timezone", "UTC"),
    ("statement_timeout", "20s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "15s"),
    ("default_transaction_isolation", "read committed"),
    ("jit", "off"),
    ("client_min_messages", "warning"),
];

/// Every migration, oldest first. Applied ones never change.
const MIGRATIONS: [(&str, &str); 27] = [
    ("create engine", include_str!("../../../schema/postgres/0001_create_engine.sql")),
    ("create partitions", include_str!("../../../schema/postgres/0002_create_partitions.sql")),
    (
        "create flush functions",
        include_str!("../../../schema/postgres/0003_create_flush_functions.sql"),
    ),
    (
        "create lease functions",
        include_str!("../../../schema/postgres/0004_create_lease_functions.sql"),
    ),
    (
        "create definition functions",
        include_str!("../../../schema/postgres/0005_create_definition_functions.sql"),
    ),
    (
        "create tenant schemas",
        include_str!("../../../schema/postgres/0006_create_tenant_schemas.sql"),
    ),
    ("create permits", include_str!("../../../schema/postgres/0007_create_permits.sql")),
    ("keep needed events", include_str!("../../../schema/postgres/0008_keep_needed_events.sql")),
    ("add node vitals", include_str!("../../../schema/postgres/0009_add_node_vitals.sql")),
    ("create schedules", include_str!("../../../schema/postgres/0010_create_schedules.sql")),
    ("create reports", include_str!("../../../schema/postgres/0011_create_reports.sql")),
    ("create pull queue", include_str!("../../../schema/postgres/0012_create_pull_queue.sql")),
    ("count by key", include_str!("../../../schema/postgres/0013_count_by_key.sql")),
    ("claim uniqueness", include_str!("../../../schema/postgres/0014_claim_uniqueness.sql")),
    ("create bulks", include_str!("../../../schema/postgres/0015_create_bulks.sql")),
    ("add retention", include_str!("../../../schema/postgres/0016_add_retention.sql")),
    ("gather batches", include_str!("../../../schema/postgres/0017_gather_batches.sql")),
    (
        "inline days and segments",
        include_str!("../../../schema/postgres/0018_inline_days_and_segments.sql"),
    ),
    ("create api keys", include_str!("../../../schema/postgres/0019_create_api_keys.sql")),
    (
        "flush in fewer statements",
        include_str!("../../../schema/postgres/0020_flush_in_fewer_statements.sql"),
    ),
    ("create audit", include_str!("../../../schema/postgres/0021_create_audit.sql")),
    ("create secrets", include_str!("../../../schema/postgres/0022_create_secrets.sql")),
    ("guard tenants", include_str!("../../../schema/postgres/0023_guard_tenants.sql")),
    ("count usage", include_str!("../../../schema/postgres/0024_count_usage.sql")),
    ("delete tenants", include_str!("../../../schema/postgres/0025_delete_tenants.sql")),
    ("create accounts", include_str!("../../../schema/postgres/0026_create_accounts.sql")),
    ("create runs", include_str!("../../../schema/postgres/0027_create_runs.sql")),
];

/// Steps that remove what is so many days old, of one tenant or, where it is null, of all. Each
/// answers how many rows went.
const DROP_BULKS: &str =
    "select engine.drop_old_bulks_v1(clock_timestamp() - make_interval(days => $2), $1)";
const DROP_RUNS: &str =
    "select engine.drop_old_runs_v1(clock_timestamp() - make_interval(days => $2), $1)";
const EXPIRE_HISTORY: &str = "select engine.expire_history_v1($1, $2)";
const EXPIRE_MEMBERS: &str = "select engine.expire_members_v1($1, $2)";
const EXPIRE_DEAD: &str = "select engine.expire_dead_v1($1, $2)";
/// Tasks for workers whose attempt is long gone: they hold what a tenant sent. New tasks clear them
/// away as well, where there are any.
const DROP_TASKS: &str = "delete from engine.pull
    where put_at < now() - interval '1 hour' and wanted_until < now() - interval '1 hour'";
/// Versions of secrets beyond their end, by an hour, so that clocks may differ.
const DROP_SECRETS: &str =
    "delete from engine.secret_version where ends_at < now() - interval '1 hour'";

/// How to reach the database.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?…`. Never printed.
    pub url: String,
    pub connections_max: u32,
    /// Partitions of work, when the installation is new. Fixed afterwards.
    pub part_count: u16,
    /// Days of events and executions to keep, at least 2. `None` keeps everything.
    pub keep_days: Option<u16>,
}

impl PostgresOptions {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections_max: CONNECTIONS_DEFAULT,
            part_count: PARTS_DEFAULT,
            keep_days: None,
        }
    }
}

fn pool_options(connections_max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, age| {
            Box::pin(async move {
                let is_trusted = age.idle_for < IDLE_TRUSTED;
                Ok(is_trusted || connection.ping().await.is_ok())
            })
        })
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("connections_max", &self.connections_max)
            .field("part_count", &self.part_count)
            .field("keep_days", &self.keep_days)
            .finish_non_exhaustive()
    }
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the database's address is not valid, expected postgres://user:password@host:port/database"
    )]
    Url(#[source] sqlx::Error),
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    #[error("the server is PostgreSQL {version}, at least 15 is needed")]
    TooOld { version: String },
    #[error("{setting} is {value}: an acknowledged event could be lost; switch it on")]
    NotDurable { setting: &'static str, value: String },
    #[error(
        "the database's schema has version {found}, this program knows {known}: use the newer program"
    )]
    NewerSchema { found: i64, known: i64 },
    #[error(
        "the database's schema has version {found}, this program needs {known}: run `actions migrate`"
    )]
    OlderSchema { found: i64, known: i64 },
    #[error(
        "the role {role} is a superuser, whom no row-level security holds back: with it, run \
         `create role actions login password '…'; create role actions_tenant nologin; \
         grant actions_tenant to actions; alter database {database} owner to actions;` and name \
         the new role in the database's address; what is in the database changes hands as \
         docs/operations.md says under \"The database's roles\""
    )]
    Superuser { role: String, database: String },
    #[error(
        "the role {role} has BYPASSRLS, so that no row-level security holds it back: as a \
         superuser, run `alter role {role} nobypassrls;`"
    )]
    BypassesRules { role: String },
    #[error(
        "tables of the engine belong to {owner}, and row-level security would hide their rows from \
         {role}: as a superuser in this database, run\n{statements}"
    )]
    Stranger { role: String, owner: String, statements: String },
    #[error(
        "what tenants ask runs as the role actions_tenant, which {role} cannot become: as a \
         superuser, run `{statements}`"
    )]
    TenantRole {
        role: String,
        statements: String,
        #[source]
        source: Option<sqlx::Error>,
    },
    #[error(
        "the role actions_tenant may do more than read what tenants ask: as a superuser, run \
         `alter role actions_tenant nosuperuser nobypassrls;` and revoke the roles that it is a \
         member of"
    )]
    TenantRoleIsMore,
    #[error("the schema could not be changed; nothing of the failed step was written")]
    Migrate(#[source] MigrateError),
    #[error("the database could not be prepared")]
    Prepare(#[source] sqlx::Error),
}

/// Connections to one installation. Clones share them.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: PgPool,
    /// For what the callers of a tenant ask: under row-level security, reading only.
    readers: PgPool,
    /// For claims, commits and what the scheduler reads: no reader of history holds these up.
    engine: PgPool,
    /// For beats alone: a node that writes slowly must not seem dead.
    beats: PgPool,
    /// For whether an API key holds: no reader and no lock of one tenant shuts out the others.
    door: PgPool,
    options: Arc<PostgresOptions>,
    /// Housekeeping runs in this process.
    is_tending: Arc<AtomicBool>,
}

impl Postgres {
    /// Connects, and checks that the server is new enough and does not lose what it confirmed, and
    /// that the role owns what it works on and is held back by row-level security.
    /// Writes nothing. The schema may still be missing: [`Postgres::migrate`] or
    /// [`Postgres::require_schema`] come next.
    ///
    /// # Errors
    /// [`OpenError`] says what to change.
    pub async fn connect(options: PostgresOptions) -> Result<Self, OpenError> {
        let address = PgConnectOptions::from_str(&options.url).map_err(OpenError::Url)?;
        let address = address.application_name("actions").options(SESSION);
        let pool = match pool_options(options.connections_max).connect_with(address.clone()).await {
            Ok(pool) => pool,
            Err(error) => return Err(OpenError::Unreachable(cause(error, &address).await)),
        };
        let readers = address.clone().options(roles::READER_SESSION);
        let store = Self {
            pool,
            // Lazy, because only a migrated database has its role.
            readers: pool_options(options.connections_max).connect_lazy_with(readers),
            engine: pool_options(ENGINE_CONNECTIONS).connect_lazy_with(address.clone()),
            beats: pool_options(1).connect_lazy_with(address.clone()),
            door: pool_options(DOOR_CONNECTIONS).connect_lazy_with(address),
            options: Arc::new(options),
            is_tending: Arc::new(AtomicBool::new(false)),
        };
        store.check_server().await?;
        store.check_own_role().await?;
        Ok(store)
    }

    /// Brings the schema to this program's version and makes partitions. Safe to call from
    /// several programs at once, and again.
    ///
    /// # Errors
    /// `NewerSchema` before anything is written, when a newer program was here.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        self.refuse_newer_schema().await?;
        let mut connection = self.pool.acquire().await.map_err(OpenError::Unreachable)?;
        // Schema changes may wait for whoever reads, and for another program that migrates.
        let patient = "select set_config(name, '0', false)
            from unnest(array['statement_timeout', 'lock_timeout']) as name";
        sqlx::query(patient).execute(&mut *connection).await.map_err(OpenError::Prepare)?;
        let migrated = match self.ensure_tenant_role(&mut connection).await {
            Ok(()) => {
                let migrated = migrator().run_direct(None, &mut *connection, false).await;
                migrated.map_err(OpenError::Migrate)
            }
            Err(error) => Err(error),
        };
        // The session is not one of ours any more.
        connection.close().await.map_err(OpenError::Prepare)?;
        migrated?;

        sqlx::query(include_str!("postgres/prepare.sql"))
            .bind(i32::from(self.options.part_count.max(1)))
            .execute(&self.pool)
            .await
            .map_err(OpenError::Prepare)?;
        self.ensure_partitions().await.map_err(OpenError::Prepare)
    }

    /// Checks that the schema is this program's, and writes nothing.
    ///
    /// # Errors
    /// `NewerSchema` or `OlderSchema`.
    pub async fn require_schema(&self) -> Result<(), OpenError> {
        let found = self.schema_version().await?;
        match found.cmp(&known_version()) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => {
                Err(OpenError::NewerSchema { found, known: known_version() })
            }
            std::cmp::Ordering::Less => {
                Err(OpenError::OlderSchema { found, known: known_version() })
            }
        }
    }

    /// The names of all steps of the schema, in order, and how many of them the database has.
    ///
    /// # Errors
    /// `Unreachable`.
    pub async fn schema_steps(&self) -> Result<(Vec<&'static str>, i64), OpenError> {
        let names = MIGRATIONS.map(|(name, _)| name).to_vec();
        Ok((names, self.schema_version().await?))
    }

    /// Closes all connections. Afterwards every call answers `Unavailable`.
    pub async fn close(&self) {
        self.beats.close().await;
        self.door.close().await;
        self.engine.close().await;
        self.readers.close().await;
        self.pool.close().await;
    }

    /// The owner's pool, for tests and for tools that look at the database directly.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The pool of what tenants ask, for tests.
    pub fn readers(&self) -> &PgPool {
        &self.readers
    }

    /// Keeps house now: makes partitions ahead, carries unfinished work out of old segments,
    /// drops what is no longer needed, sums up old statistics. Each step is a short transaction,
    /// so this can be stopped anywhere and run by several nodes.
    ///
    /// # Errors
    /// `Unavailable`: the next hour tries again.
    pub async fn tend(&self) -> Result<(), StoreError> {
        // A step that fails must not keep the others from being done.
        let swept = sqlx::query("select engine.sweep_v1()").execute(&self.pool).await;
        let permits = sqlx::query("select engine.sweep_permits_v1()").execute(&self.pool).await;
        let terms = self.sweep("select engine.sweep_terms_v1()").await;
        let claims = self.sweep("select engine.sweep_claims_v1()").await;
        let mut outcomes = vec![
            self.ensure_partitions().await.map_err(error::read_error),
            swept.map(drop).map_err(error::read_error),
            permits.map(drop).map_err(error::read_error),
            terms,
            claims,
        ];
        for part in 0..self.part_count().await? {
            outcomes.push(self.carry_old_work(part).await);
        }
        let work = "select engine.drop_old_work_v1()";
        outcomes.push(self.drop_all(work, "an old segment of the log was dropped").await);
        let dedupe = "select engine.drop_old_dedupe_v1()";
        outcomes.push(self.drop_all(dedupe, "an old day of deduplication was dropped").await);
        if let Some(days) = self.options.keep_days {
            outcomes.push(self.drop_old_history(days).await);
        }
        for text in [DROP_TASKS, DROP_SECRETS] {
            let dropped = sqlx::query(text).execute(&self.pool).await;
            outcomes.push(dropped.map(drop).map_err(error::read_error));
        }
        outcomes.push(self.expire_by_tenant().await);
        outcomes.push(self.erase_late_rows().await);
        outcomes.into_iter().collect()
    }

    /// Removes what tenants keep for fewer days than the installation.
    async fn expire_by_tenant(&self) -> Result<(), StoreError> {
        let with_retention = "select id, controls::text from engine.tenant
            where controls -> 'retention' is not null order by id";
        let tenants: Vec<(i32, String)> = sqlx::query_as(with_retention)
            .fetch_all(&self.pool)
            .await
            .map_err(error::read_error)?;
        let keeps = self.options.keep_days.map(u32::from);
        for (tenant, controls) in tenants {
            let Controls { retention, .. } = record::from_text("controls", &controls)?;
            let own = retention.keep_days_within(keeps).filter(|days| Some(*days) != keeps);
            if let Some(days) = own {
                self.remove_all(EXPIRE_HISTORY, Some(tenant), days).await?;
                self.remove_all(EXPIRE_MEMBERS, Some(tenant), days).await?;
                self.remove_all(DROP_BULKS, Some(tenant), days).await?;
                self.remove_all(DROP_RUNS, Some(tenant), days).await?;
            }
            if let Some(days) = retention.dead_letter_days {
                self.remove_all(EXPIRE_DEAD, Some(tenant), days).await?;
            }
        }
        Ok(())
    }

    /// Runs a step until it finds nothing more to remove.
    async fn sweep(&self, step: &'static str) -> Result<(), StoreError> {
        loop {
            let gone = sqlx::query_scalar::<_, i64>(step).fetch_one(&self.pool).await;
            if gone.map_err(error::read_error)? == 0 {
                return Ok(());
            }
        }
    }

    /// Runs a step for a tenant, or for all, until it finds nothing more to remove.
    async fn remove_all(
        &self,
        step: &'static str,
        tenant: Option<i32>,
        days: u32,
    ) -> Result<(), StoreError> {
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        let mut removed = 0;
        loop {
            let gone: i64 = sqlx::query_scalar(step)
                .bind(tenant)
                .bind(days)
                .fetch_one(&self.pool)
                .await
                .map_err(error::read_error)?;
            if gone == 0 {
                break;
            }
            removed += gone;
        }
        if removed > 0 {
            tracing::info!(tenant, rows = removed, step, "what is beyond its days was removed");
        }
        Ok(())
    }

    /// Makes the partitions that are missing, each in a transaction of its own.
    async fn ensure_partitions(&self) -> Result<(), sqlx::Error> {
        let step = "select engine.ensure_partitions()";
        while sqlx::query_scalar::<_, i32>(step).fetch_one(&self.pool).await? > 0 {}
        Ok(())
    }

    /// Moves unfinished items of one partition out of old segments, some at a time.
    async fn carry_old_work(&self, part: u16) -> Result<(), StoreError> {
        let part = i32::from(part);
        loop {
            let moved: i64 = sqlx::query_scalar("select engine.carry_old_work_v1($1)")
                .bind(part)
                .fetch_one(&self.pool)
                .await
                .map_err(error::read_error)?;
            if moved == 0 {
                return Ok(());
            }
        }
    }

    /// Keeps house once an hour in the whole cluster, beside the caller. What is missed or
    /// stopped half-way is done an hour later.
    fn tend_in_passing(&self) {
        if self.is_tending.swap(true, Ordering::AcqRel) {
            return;
        }
        let store = self.clone();
        tokio::spawn(async move {
            match store.is_chore_due().await {
                Ok(true) => match store.tend().await {
                    Ok(()) => tracing::debug!("the database was tended"),
                    // Stopping half-way is how a process ends: the next one goes on.
                    Err(_) if store.pool.is_closed() => {}
                    Err(error) => tracing::warn!(%error, "the database was not tended"),
                },
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "whether to tend the database is unknown"),
            }
            store.is_tending.store(false, Ordering::Release);
        });
    }

    async fn is_chore_due(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar("select engine.claim_chore_v1('hourly')")
            .fetch_one(&self.pool)
            .await
            .map_err(error::read_error)
    }

    async fn drop_all(&self, step: &'static str, told: &'static str) -> Result<(), StoreError> {
        while let Some(name) = sqlx::query_scalar::<_, Option<String>>(step)
            .fetch_one(&self.pool)
            .await
            .map_err(error::read_error)?
        {
            tracing::info!(table = name, "{told}");
        }
        Ok(())
    }

    async fn drop_old_history(&self, days: u16) -> Result<(), StoreError> {
        self.remove_all(DROP_BULKS, None, u32::from(days)).await?;
        self.remove_all(DROP_RUNS, None, u32::from(days)).await?;
        while let Some(name) =
            sqlx::query_scalar::<_, Option<String>>("select engine.drop_old_history_v1($1)")
                .bind(i32::from(days))
                .fetch_one(&self.pool)
                .await
                .map_err(error::read_error)?
        {
            tracing::info!(table = name, "an old day of the history was dropped");
        }
        self.remove_all(EXPIRE_MEMBERS, None, u32::from(days)).await
    }

    async fn check_server(&self) -> Result<(), OpenError> {
        let (version, version_number, synchronous_commit, fsync): (String, i32, String, String) =
            sqlx::query_as(include_str!("postgres/server.sql"))
                .fetch_one(&self.pool)
                .await
                .map_err(OpenError::Unreachable)?;
        if version_number < SERVER_VERSION_MIN {
            return Err(OpenError::TooOld { version });
        }
        if synchronous_commit == "off" {
            return Err(OpenError::NotDurable {
                setting: "synchronous_commit",
                value: synchronous_commit,
            });
        }
        if fsync == "off" {
            tracing::warn!("fsync is off: a loss of power may lose acknowledged events");
        }
        Ok(())
    }

    async fn refuse_newer_schema(&self) -> Result<(), OpenError> {
        let found = self.schema_version().await?;
        if found > known_version() {
            return Err(OpenError::NewerSchema { found, known: known_version() });
        }
        Ok(())
    }

    /// Zero before the first migration.
    async fn schema_version(&self) -> Result<i64, OpenError> {
        let is_there: bool =
            sqlx::query_scalar("select to_regclass('engine._sqlx_migrations') is not null")
                .fetch_one(&self.pool)
                .await
                .map_err(OpenError::Unreachable)?;
        if !is_there {
            return Ok(0);
        }
        sqlx::query_scalar("select coalesce(max(version), 0) from engine._sqlx_migrations")
            .fetch_one(&self.pool)
            .await
            .map_err(OpenError::Unreachable)
    }

    /// A connection for a flush, or `Unavailable` with nothing written.
    async fn connection(&self) -> Result<PoolConnection<sqlx::Postgres>, StoreError> {
        self.engine.acquire().await.map_err(StoreError::unavailable)
    }
}

/// Why there is no connection. A pool tries again and again while it is refused, and then tells
/// only of its own patience.
async fn cause(error: sqlx::Error, address: &PgConnectOptions) -> sqlx::Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error;
    }
    let once = PgConnection::connect_with(address);
    match tokio::time::timeout(ACQUIRE_TIMEOUT, once).await {
        Ok(Err(cause)) => cause,
        Ok(Ok(_)) | Err(_) => error,
    }
}

fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn migrator() -> Migrator {
    let migrations = (1..).zip(MIGRATIONS).map(|(version, (name, sql))| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.create_schema("engine");
    // Named before the first migration ever ran, so nothing can be left behind.
    migrator.dangerous_set_table_name("engine._sqlx_migrations");
    migrator
}
