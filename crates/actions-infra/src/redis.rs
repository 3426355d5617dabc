//! Redis: a way in, hints, a ledger of rates, and tasks for remote workers. It may be away, flushed or restarted at any
//! moment; nothing is lost by that, and nothing has to be restarted.
//!
//! A connection is opened when it is needed and dropped with the first error, so that there is
//! no state to repair. What fails is not sent again here: each caller knows what that means.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError};
use tokio::sync::Mutex;

mod event_stream;
mod hints;
mod permits;
mod pull_queue;

pub use event_stream::RedisStream;
pub use hints::RedisHints;
pub use permits::RedisPermits;
pub use pull_queue::RedisPullQueue;

/// How long opening a connection may take, and an answer that does not wait for anything.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A Redis server. Cheap to clone; opens nothing by itself.
#[derive(Debug, Clone)]
pub struct Redis {
    client: Client,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport {
    pub version: String,
    /// What it does when its memory is full: `noeviction` keeps everything and refuses writes.
    pub maxmemory_policy: String,
}

impl Redis {
    /// Understands `redis://…` and `rediss://…`.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(url: &str) -> Result<Self, String> {
        // The error of the library may quote the URL, which may hold a password.
        let client = Client::open(url);
        let client = client.map_err(|_| "expected redis://HOST:PORT or rediss://…".to_owned())?;
        Ok(Self { client })
    }

    /// Asks the server what it is.
    ///
    /// # Errors
    /// In words, when it does not answer.
    pub async fn report(&self) -> Result<ServerReport, String> {
        let link = self.link(ANSWER_MAX);
        let server: String = link
            .ask(::redis::cmd("INFO").arg("server").arg("memory"))
            .await
            .map_err(|error| error.to_string())?;
        let find = |name: &str| {
            let line = server.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or("unknown").trim().to_owned()
        };
        let (version, maxmemory_policy) = (find("redis_version:"), find("maxmemory_policy:"));
        Ok(ServerReport { version, maxmemory_policy })
    }

    /// A connection of one's own, for one purpose.
    fn link(&self, answer_max: Duration) -> Link {
        Link { client: self.client.clone(), answer_max, connection: Mutex::default() }
    }
}

/// One connection, opened when it is needed.
struct Link {
    client: Client,
    answer_max: Duration,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Link {
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection().await?;
        let answer = command.query_async(&mut connection).await;
        self.judge(answer).await
    }

    async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        let mut connection = self.connection().await?;
        let answer = commands.query_async(&mut connection).await;
        self.judge(answer).await
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(self.answer_max));
        let fresh = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(current.insert(fresh).clone())
    }

    /// An answer that is an error of the server leaves the connection as it is.
    async fn judge<T>(&self, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        if let Err(error) = &answer
            && (error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error())
        {
            self.connection.lock().await.take();
        }
        answer
    }
}
