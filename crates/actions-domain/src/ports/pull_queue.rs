//! Tasks for workers outside of this program, in whatever language. What it must do is defined by
//! `contract/pull_queue.rs`.
//!
//! A task is disposable: the truth is the attempt that waits for it. The attempt visits its task
//! and puts it in again when the queue has lost it; a task that nobody visits any more is gone,
//! and whoever works on it is told so. An attempt of the same number after a change of owner finds
//! the task as it is, and the worker never notices.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{ExecutionId, TenantId};
use crate::json::Json;
use crate::limits::NAME_BYTES_MAX;
use crate::ports::store::StoreError;

/// Where attempts leave tasks and workers find them.
#[async_trait]
pub trait PullQueue: Send + Sync {
    /// Puts an attempt's task in. It replaces that of an earlier attempt, and leaves that of this
    /// or of a later one as it is. It stays for `wanted_for`, unless it is visited.
    async fn put(&self, task: &Task, wanted_for: Duration) -> Result<(), StoreError>;

    /// Keeps an attempt's task for another `wanted_for`, and answers what workers have said of
    /// it. `None`: the queue does not have it.
    async fn visit(
        &self,
        execution: ExecutionId,
        attempt: u32,
        wanted_for: Duration,
    ) -> Result<Option<Seen>, StoreError>;

    /// Takes tasks that nobody works on, oldest first. Each is the worker's until its lease is
    /// over, and goes back then.
    async fn claim(&self, wish: &Wish) -> Result<Vec<Claimed>, StoreError>;

    /// Takes a worker's word, which extends its claim. `None`: the claim is over, because another
    /// worker has the task or its attempt has ended. The first answer stands.
    async fn tell(
        &self,
        tenant: TenantId,
        token: ClaimToken,
        word: &Word,
    ) -> Result<Option<Duration>, StoreError>;
}

/// A name that workers ask for: 1 to 100 letters, digits, `_`, `-` or `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a queue's name has 1 to {max} letters, digits, '_', '-' or '.', not {raw:?}", max = NAME_BYTES_MAX)]
pub struct QueueNameError {
    raw: String,
}

impl QueueName {
    pub fn parse(raw: &str) -> Result<Self, QueueNameError> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if raw.is_empty() || raw.len() > NAME_BYTES_MAX || !raw.bytes().all(is_allowed) {
            return Err(QueueNameError { raw: raw.chars().take(NAME_BYTES_MAX).collect() });
        }
        Ok(Self(raw.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an attempt wants to have done.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub execution: ExecutionId,
    pub attempt: u32,
    pub tenant: TenantId,
    /// A name that workers ask for.
    pub queue: String,
    /// What workers are told.
    pub body: Json,
}

/// What workers have said of a task.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// Grows with each claim and each word.
    pub words: u32,
    /// Who works on it, or did.
    pub worker: Option<String>,
    pub progress: Option<f64>,
    pub note: Option<String>,
    pub checkpoint: Option<Json>,
    pub answer: Option<Answer>,
}

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    pub tenant: TenantId,
    pub queues: Vec<String>,
    pub max: u32,
    pub worker: String,
    /// How long it may say nothing.
    pub lease: Duration,
    /// Makes the tokens of this claim different from all others.
    pub nonce: Uuid,
}

/// A task that a worker has now.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    pub token: ClaimToken,
    pub queue: String,
    pub body: Json,
    /// What the worker before has left.
    pub checkpoint: Option<Json>,
}

/// Names one claim of one task. As a text, `execution.nonce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimToken {
    pub execution: ExecutionId,
    pub nonce: Uuid,
}

/// What a worker says of a task that it has.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// It is still at it, and may be silent for so long from now on.
    Extend(Option<Duration>),
    Progress {
        done: Option<f64>,
        note: Option<String>,
        /// `None`: the one before stands.
        checkpoint: Option<Json>,
    },
    Answer(Answer),
}

/// How a worker ends a task. Adapters store it as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Done {
        /// JSON, as text.
        output: String,
    },
    Failed {
        code: String,
        message: String,
        /// Another try may help.
        retryable: bool,
        retry_after_ms: Option<u64>,
    },
}

impl ClaimToken {
    pub fn parse(raw: &str) -> Option<Self> {
        let (execution, nonce) = raw.split_once('.')?;
        let execution = ExecutionId(execution.parse().ok()?);
        Some(Self { execution, nonce: nonce.parse().ok()? })
    }
}

impl fmt::Display for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.execution, self.nonce.simple())
    }
}
