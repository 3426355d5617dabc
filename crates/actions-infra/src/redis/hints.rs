//! Hints through publish and subscribe.

use std::pin::Pin;
use std::time::Duration;

use actions_domain::ports::hints::{Hint, HintError, Hints, read_hints, write_hints};
use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use redis::{Msg, RedisError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{ANSWER_MAX, CONNECT_MAX, Link, Redis};

/// Installations that share a server wake one another for nothing, which does no harm.
const CHANNEL: &str = "actions:hints";
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// A connection that was silent for so long may be dead without anybody knowing.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// Hints between all processes that use one server.
pub struct RedisHints {
    redis: Redis,
    link: Link,
    listener: Mutex<Option<Listener>>,
}

type Listener = Pin<Box<dyn Stream<Item = Msg> + Send + Sync>>;

impl RedisHints {
    pub fn new(redis: &Redis) -> Self {
        Self { redis: redis.clone(), link: redis.link(ANSWER_MAX), listener: Mutex::default() }
    }

    async fn subscribe(&self) -> Result<Listener, RedisError> {
        let mut subscriber = self.redis.client.get_async_pubsub().await?;
        subscriber.subscribe(CHANNEL).await?;
        Ok(Box::pin(subscriber.into_on_message()))
    }
}

#[async_trait]
impl Hints for RedisHints {
    async fn tell(&self, hints: &[Hint]) -> Result<(), HintError> {
        for text in write_hints(hints, TEXT_BYTES_MAX) {
            let told = self.link.ask::<()>(redis::cmd("PUBLISH").arg(CHANNEL).arg(text)).await;
            told.map_err(|error| HintError(Box::new(error)))?;
        }
        Ok(())
    }

    async fn next(&self) -> Result<Vec<Hint>, HintError> {
        let mut current = self.listener.lock().await;
        let mut listener = match current.take() {
            Some(listener) => listener,
            None => match timeout(CONNECT_MAX + ANSWER_MAX, self.subscribe()).await {
                Ok(subscribed) => subscribed.map_err(|error| HintError(Box::new(error)))?,
                Err(late) => return Err(HintError(Box::new(late))),
            },
        };
        match timeout(SILENT_MAX, listener.next()).await {
            Ok(Some(heard)) => {
                *current = Some(listener);
                let text: String = heard.get_payload().unwrap_or_default();
                Ok(read_hints(&text))
            }
            Ok(None) => Err(HintError("the connection was closed".into())),
            // The next call subscribes anew.
            Err(_silent) => Ok(Vec::new()),
        }
    }
}
