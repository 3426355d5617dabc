//! Hints through NOTIFY and LISTEN, each on a connection of its own: a notification inside the
//! transaction of a flush would put all commits of the server in a row.

use std::time::Duration;

use actions_domain::ports::hints::{Hint, HintError, Hints, read_hints, write_hints};
use async_trait::async_trait;
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{ACQUIRE_TIMEOUT, Postgres};

const CHANNEL: &str = "actions_hints";
/// PostgreSQL takes less than 8,000.
const TEXT_BYTES_MAX: usize = 7_900;
/// How long a statement here may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A connection that was silent for so long is tried.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// Hints between all processes of one database.
pub struct PostgresHints {
    /// One connection for telling and one for listening.
    pool: PgPool,
    listener: Mutex<Option<PgListener>>,
}

impl PostgresHints {
    /// Opens nothing yet.
    pub fn new(postgres: &Postgres) -> Self {
        let options = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A hint that meets a dead connection may be lost.
            .test_before_acquire(false);
        let address = postgres.pool.connect_options();
        let pool = options.connect_lazy_with(address.as_ref().clone());
        Self { pool, listener: Mutex::default() }
    }

    async fn hear(&self) -> Result<Vec<Hint>, sqlx::Error> {
        let mut current = self.listener.lock().await;
        // Taken out: whatever fails below, or is given up, ends with a new connection.
        let mut listener = match current.take() {
            Some(listener) => listener,
            None => {
                let mut fresh = PgListener::connect_with(&self.pool).await?;
                in_time(fresh.listen(CHANNEL)).await?;
                fresh
            }
        };
        let heard = timeout(SILENT_MAX, listener.try_recv()).await;
        let hints = match heard {
            Ok(Ok(Some(heard))) => read_hints(heard.payload()),
            // It was cut off; the next call connects again.
            Ok(Ok(None)) => return Err(sqlx::Error::WorkerCrashed),
            Ok(Err(error)) => return Err(error),
            Err(_silent) => {
                in_time(listener.listen(CHANNEL)).await?;
                Vec::new()
            }
        };
        *current = Some(listener);
        Ok(hints)
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWER_MAX, asked).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

#[async_trait]
impl Hints for PostgresHints {
    async fn tell(&self, hints: &[Hint]) -> Result<(), HintError> {
        for text in write_hints(hints, TEXT_BYTES_MAX) {
            let notify = sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(text);
            let told = in_time(notify.execute(&self.pool)).await;
            told.map_err(|error| HintError(Box::new(error)))?;
        }
        Ok(())
    }

    async fn next(&self) -> Result<Vec<Hint>, HintError> {
        self.hear().await.map_err(|error| HintError(Box::new(error)))
    }
}
