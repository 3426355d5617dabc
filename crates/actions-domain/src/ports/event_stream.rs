//! A stream that other programs put events into, for this engine to take out. What it must do
//! is defined by `contract/event_stream.rs`.
//!
//! The stream is a way in and never the truth: an entry is acknowledged after its event is
//! committed, and until then somebody has it or can take it over.

use std::time::Duration;

use async_trait::async_trait;

/// One entry, as it was put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique in the stream, and never used again.
    pub id: String,
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// The first field with this name.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice())
    }

    /// What it holds, roughly.
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// An entry that can never be accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedEntry {
    pub entry: Entry,
    pub reason: String,
}

/// How far the consumers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Nobody has taken these. `None` when the server cannot tell.
    pub waiting: Option<u64>,
    /// Taken, and not acknowledged.
    pub taken: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The stream or its group of consumers is gone: it was flushed, or restarted empty.
    #[error("the stream has no group of consumers")]
    NotOpen,
    #[error("the stream is unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The stream, seen by a group of consumers of which each entry goes to one.
#[async_trait]
pub trait EventStream: Send + Sync {
    /// What the stream is called. With an entry's id it names the entry.
    fn name(&self) -> &str;

    /// Makes the stream and the group where they are missing. A new group begins with the oldest
    /// entry there is.
    async fn open(&self) -> Result<(), StreamError>;

    /// Takes entries that nobody has taken, oldest first. Waits this long for the first.
    async fn take(
        &self,
        consumer: &str,
        count: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, StreamError>;

    /// What this consumer has taken and not acknowledged, behind this id, oldest first.
    async fn taken(
        &self,
        consumer: &str,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<Entry>, StreamError>;

    /// Takes over what some consumer took so long ago without acknowledging it.
    async fn take_over(
        &self,
        consumer: &str,
        idle: Duration,
        count: usize,
    ) -> Result<Vec<Entry>, StreamError>;

    /// These are done with: they leave the stream. Unknown ones are left out.
    async fn acknowledge(&self, ids: &[String]) -> Result<(), StreamError>;

    /// These leave the stream as well, and are kept aside with the reason.
    async fn set_aside(&self, refused: &[RefusedEntry]) -> Result<(), StreamError>;

    /// How far the group is.
    async fn backlog(&self) -> Result<Backlog, StreamError>;

    /// Puts entries in, as other programs do.
    async fn put(&self, entries: &[Vec<(String, Vec<u8>)>]) -> Result<(), StreamError>;
}
