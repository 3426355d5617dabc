//! Redis Streams. An entry that was acknowledged is deleted, so the stream holds what is still
//! to do, and a group that had to be made again begins with just that.

use std::time::Duration;

use actions_domain::ports::event_stream::{Backlog, Entry, EventStream, RefusedEntry, StreamError};
use async_trait::async_trait;
use redis::{Cmd, Pipeline, RedisError, cmd};

use super::{ANSWER_MAX, Link, Redis};

/// The founding names.
const STREAM: &str = "events:actions";
const GROUP: &str = "action-processors";
/// Refused entries that are kept, about.
const ASIDE_MAX: usize = 100_000;
/// How much longer than it may wait a waiting read may take.
const WAIT_SLACK: Duration = Duration::from_secs(5);
/// The longest that a read may wait.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The stream `events:actions` with its group `action-processors`.
pub struct RedisStream {
    name: String,
    aside: String,
    /// A read that waits would hold up everything else on its connection.
    waiting: Link,
    other: Link,
}

/// Entries as the server writes them. One that was deleted meanwhile has no fields.
type RawEntries = Vec<(String, Option<Vec<Vec<u8>>>)>;

impl RedisStream {
    pub fn new(redis: &Redis) -> Self {
        Self::named(redis, STREAM)
    }

    /// A stream with another name.
    pub fn named(redis: &Redis, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            aside: format!("{name}:dead"),
            waiting: redis.link(WAIT_MAX + WAIT_SLACK),
            other: redis.link(ANSWER_MAX),
        }
    }

    fn read(&self, consumer: &str, count: usize) -> Cmd {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(consumer).arg("COUNT").arg(count);
        read
    }

    /// Acknowledges and deletes in one step.
    fn remove(&self, pipeline: &mut Pipeline, ids: &[&str]) {
        pipeline.cmd("XACK").arg(&self.name).arg(GROUP).arg(ids).ignore();
        pipeline.cmd("XDEL").arg(&self.name).arg(ids).ignore();
    }
}

#[async_trait]
impl EventStream for RedisStream {
    fn name(&self) -> &str {
        &self.name
    }

    async fn open(&self) -> Result<(), StreamError> {
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(&self.name).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.other.ask::<()>(&create).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            made => made.map_err(stream_error),
        }
    }

    async fn take(
        &self,
        consumer: &str,
        count: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, StreamError> {
        let mut read = self.read(consumer, count);
        let is_waiting = !wait.is_zero();
        if is_waiting {
            // Zero would wait for ever.
            read.arg("BLOCK").arg(wait.min(WAIT_MAX).as_millis().max(1) as u64);
        }
        read.arg("STREAMS").arg(&self.name).arg(">");
        let link = if is_waiting { &self.waiting } else { &self.other };
        let found: Option<Vec<(String, RawEntries)>> =
            link.ask(&read).await.map_err(stream_error)?;
        Ok(entries(found.into_iter().flatten().flat_map(|(_, raw)| raw)))
    }

    async fn taken(
        &self,
        consumer: &str,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<Entry>, StreamError> {
        let mut read = self.read(consumer, count);
        read.arg("STREAMS").arg(&self.name).arg(after.unwrap_or("0"));
        let found: Option<Vec<(String, RawEntries)>> =
            self.other.ask(&read).await.map_err(stream_error)?;
        Ok(entries(found.into_iter().flatten().flat_map(|(_, raw)| raw)))
    }

    async fn take_over(
        &self,
        consumer: &str,
        idle: Duration,
        count: usize,
    ) -> Result<Vec<Entry>, StreamError> {
        let mut claim = cmd("XAUTOCLAIM");
        claim.arg(&self.name).arg(GROUP).arg(consumer).arg(idle.as_millis() as u64);
        claim.arg("0").arg("COUNT").arg(count);
        let (_, claimed, _deleted): (String, RawEntries, Vec<String>) =
            self.other.ask(&claim).await.map_err(stream_error)?;
        Ok(entries(claimed))
    }

    async fn acknowledge(&self, ids: &[String]) -> Result<(), StreamError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut pipeline = redis::pipe();
        self.remove(pipeline.atomic(), &ids);
        self.other.ask_all(&pipeline).await.map_err(stream_error)
    }

    async fn set_aside(&self, refused: &[RefusedEntry]) -> Result<(), StreamError> {
        if refused.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for RefusedEntry { entry, reason } in refused {
            let add = pipeline.cmd("XADD").arg(&self.aside).arg("MAXLEN").arg("~").arg(ASIDE_MAX);
            add.arg("*").arg("entry").arg(&entry.id).arg("reason").arg(reason);
            for (name, value) in &entry.fields {
                add.arg(name).arg(value);
            }
            add.ignore();
        }
        let ids: Vec<&str> = refused.iter().map(|refused| refused.entry.id.as_str()).collect();
        self.remove(&mut pipeline, &ids);
        self.other.ask_all(&pipeline).await.map_err(stream_error)
    }

    async fn backlog(&self) -> Result<Backlog, StreamError> {
        let mut info = cmd("XINFO");
        info.arg("GROUPS").arg(&self.name);
        let groups: Vec<std::collections::HashMap<String, redis::Value>> =
            self.other.ask(&info).await.map_err(stream_error)?;
        let name = |group: &std::collections::HashMap<String, redis::Value>| {
            group.get("name").and_then(|name| redis::from_redis_value_ref::<String>(name).ok())
        };
        let group = groups.into_iter().find(|group| name(group).as_deref() == Some(GROUP));
        let group = group.ok_or(StreamError::NotOpen)?;
        let number = |key: &str| {
            group.get(key).and_then(|value| redis::from_redis_value_ref::<u64>(value).ok())
        };
        Ok(Backlog { waiting: number("lag"), taken: number("pending").unwrap_or(0) })
    }

    async fn put(&self, entries: &[Vec<(String, Vec<u8>)>]) -> Result<(), StreamError> {
        let mut pipeline = redis::pipe();
        for fields in entries {
            let add = pipeline.cmd("XADD").arg(&self.name).arg("*");
            for (name, value) in fields {
                add.arg(name).arg(value);
            }
            add.ignore();
        }
        self.other.ask_all(&pipeline).await.map_err(stream_error)
    }
}

fn entries(raw: impl IntoIterator<Item = (String, Option<Vec<Vec<u8>>>)>) -> Vec<Entry> {
    let entry = |(id, fields): (String, Option<Vec<Vec<u8>>>)| {
        let mut parts = fields.unwrap_or_default().into_iter();
        let mut fields = Vec::new();
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            fields.push((String::from_utf8_lossy(&name).into_owned(), value));
        }
        Entry { id, fields }
    };
    raw.into_iter().map(entry).collect()
}

/// A stream that was flushed away has no group and, for some commands, no key.
fn stream_error(error: RedisError) -> StreamError {
    // The last is said to a read that was waiting when it happened.
    let is_gone = matches!(error.code(), Some("NOGROUP" | "UNBLOCKED"))
        || error.detail().is_some_and(|detail| detail.contains("no such key"));
    if is_gone { StreamError::NotOpen } else { StreamError::Unavailable(Box::new(error)) }
}
