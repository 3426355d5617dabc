//! All of the engine's state in one SQLite file, with the same promises as PostgreSQL.
//!
//! One writer: a pool of exactly one connection, whose transactions begin with
//! `begin immediate`, so that two of them never read first and fail later. Readers have a
//! read-only pool of their own and see what was committed when their statement began. Several
//! processes may open one file; SQLite's lock makes their writers take turns.
//!
//! The store's clock is the node's: there is one machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::limits::KEEP_DAYS_MIN;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::store::StoreError;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};

mod accounts;
mod api_keys;
mod audit;
mod bounds;
mod bulk;
mod bulks;
mod definitions;
mod deletions;
mod emit;
mod error;
mod history;
mod leases;
mod migrate;
mod permits;
mod record;
mod runs;
mod schedules;
mod secrets;
mod store;
mod tend;
mod usages;

pub use emit::{Emit, EmitError, emit_in};
pub use migrate::{MigrateError, schema_steps};
/// What a service's own transaction runs on.
pub use sqlx::SqliteConnection as Connection;

/// A transaction of the linking service on the same file.
pub type UserTransaction<'a> = Transaction<'a, Sqlite>;

use error::store_error;

/// How long a writer waits for another process's writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that only read: queries of people, loaders of the node.
const READERS: u32 = 4;
/// Pages of the log of writes before it is moved into the file: 32 MB. Fewer moves write hot
/// pages less often; more would make a restart slower.
const CHECKPOINT_PAGES: &str = "8000";
/// What stays of the log of writes on the disk after it was moved.
const JOURNAL_BYTES: &str = "67108864";
/// Prepared statements that the writer keeps: all sizes of all bulk statements.
const STATEMENTS: usize = 256;
/// Page caches, in kibibytes, negative as SQLite wants it.
const WRITER_CACHE: &str = "-32768";
const READER_CACHE: &str = "-4096";

/// Whether a commit survives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Every commit is on the disk when it is acknowledged.
    #[default]
    Full,
    /// A loss of power, not of the process, may take the last commits with it.
    Normal,
}

/// How to open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqliteOptions {
    pub durability: Durability,
    /// How many partitions a new store gets. An existing one keeps its number.
    pub part_count: u16,
    /// Bytes that the file may reach. Beyond, whatever needs room is refused as on a full disk.
    pub size_max: Option<u64>,
    /// Days of events and executions to keep, at least 2. `None` keeps everything.
    pub keep_days: Option<u16>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { durability: Durability::Full, part_count: 4, size_max: None, keep_days: None }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot open the database {path}")]
    Open {
        path: String,
        #[source]
        source: sqlx::Error,
    },
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The file system or an older build of SQLite did not take a setting that our promises
    /// depend on.
    #[error("SQLite runs with {pragma} = {actual}, needed is {expected}")]
    Pragma { pragma: &'static str, expected: i64, actual: i64 },
    #[error("SQLite keeps its journal as {actual}, needed is wal")]
    Journal { actual: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One open SQLite file.
///
/// It implements [`actions_domain::ports::store::Store`],
/// [`actions_domain::ports::leases::Leases`],
/// [`actions_domain::ports::permits::Permits`],
/// [`actions_domain::ports::definitions::Definitions`] and
/// [`actions_domain::ports::history::History`].
#[derive(Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    keep_days: Option<u32>,
    chores: Arc<tend::Chores>,
}

/// A limit of bytes in pages, as `max_page_count` takes it.
fn pages_of(size_max: Option<u64>) -> String {
    // SQLite's own most, and its size of a page.
    const PAGES_MAX: u64 = 4_294_967_294;
    const PAGE_BYTES: u64 = 4_096;
    size_max.map_or(PAGES_MAX, |bytes| bytes / PAGE_BYTES).to_string()
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the file, creating it when it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`MigrateError::Newer`] before anything is written when a newer version of Actions has
    /// been there; [`ConnectError::Pragma`] when SQLite does not take our settings.
    pub async fn connect(
        path: &Path,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        let open_error = |source| ConnectError::Open { path: path.display().to_string(), source };
        if path.exists() {
            migrate::refuse_newer(path).await?;
        }
        let synchronous = match options.durability {
            Durability::Full => SqliteSynchronous::Full,
            Durability::Normal => SqliteSynchronous::Normal,
        };
        let base = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .synchronous(synchronous);
        let writing = base
            .clone()
            .create_if_missing(true)
            .statement_cache_capacity(STATEMENTS)
            .journal_mode(SqliteJournalMode::Wal)
            // A new file only: what is removed can then be given back.
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", JOURNAL_BYTES)
            .pragma("max_page_count", pages_of(options.size_max))
            .pragma("cache_size", WRITER_CACHE);
        let writer = pool(1).connect_with(writing).await.map_err(open_error)?;
        check_settings(&writer, options.durability).await?;
        migrate::migrate(&writer, options.part_count, clock.now()).await?;
        let reading = base.read_only(true).pragma("cache_size", READER_CACHE);
        let readers = pool(READERS).connect_with(reading).await.map_err(open_error)?;
        let keep_days = options.keep_days.map(|days| u32::from(days).max(KEEP_DAYS_MIN));
        Ok(Self { writer, readers, clock, keep_days, chores: Arc::default() })
    }

    /// Waits for running statements and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a transaction of the writer.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        match self.writer.begin_with("begin immediate").await {
            // SQLite ended the last transaction by itself, as it does when the disk is full,
            // and the driver still counts it. A new connection has nothing to count.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                let stuck = self.writer.acquire().await.map_err(store_error)?;
                stuck.close().await.map_err(store_error)?;
                self.writer.begin_with("begin immediate").await.map_err(store_error)
            }
            result => result.map_err(store_error),
        }
    }
}

fn pool(size: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(size)
        .min_connections(1)
        // A file does not go away: asking before each use would cost as much as a small commit.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(Duration::from_secs(30))
}

/// Reads back what our promises depend on.
async fn check_settings(writer: &SqlitePool, durability: Durability) -> Result<(), ConnectError> {
    let journal: String = sqlx::query("pragma journal_mode")
        .fetch_one(writer)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(store_error)?;
    if journal != "wal" {
        return Err(ConnectError::Journal { actual: journal });
    }
    let synchronous = match durability {
        Durability::Full => 2,
        Durability::Normal => 1,
    };
    let busy = i64::try_from(BUSY_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
    let settings = [
        ("synchronous", "pragma synchronous", synchronous),
        ("foreign_keys", "pragma foreign_keys", 1),
        ("busy_timeout", "pragma busy_timeout", busy),
    ];
    for (pragma, text, expected) in settings {
        let actual: i64 = sqlx::query(text)
            .fetch_one(writer)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(store_error)?;
        if actual != expected {
            return Err(ConnectError::Pragma { pragma, expected, actual });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
