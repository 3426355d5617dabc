//! Executions: one matched or requested run of an action, and the attempts it took.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Timestamp;
use crate::id::{ActionId, EventId, ExecutionId, NodeId, TenantId};
use crate::json::Json;
use crate::limits::{ERROR_BYTES_MAX, ERROR_DETAILS_BYTES_MAX};
use crate::work::{Epoch, Key};

pub mod fingerprint;

/// How urgent something is. Compared by rank, never by its word.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
    VeryHigh,
    Critical,
}

impl Priority {
    pub const ALL: [Self; 5] =
        [Self::Low, Self::Normal, Self::High, Self::VeryHigh, Self::Critical];

    /// 0 for low, 4 for critical.
    pub fn rank(self) -> u8 {
        self as u8
    }

    pub fn from_rank(rank: u8) -> Option<Self> {
        Self::ALL.get(usize::from(rank)).copied()
    }

    /// The founding API's number, 0 to 1000.
    pub fn from_number(number: u16) -> Option<Self> {
        match number {
            0..=199 => Some(Self::Low),
            200..=399 => Some(Self::Normal),
            400..=599 => Some(Self::High),
            600..=799 => Some(Self::VeryHigh),
            800..=1000 => Some(Self::Critical),
            _ => None,
        }
    }
}

/// Where an execution stands. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pending = 0,
    Running = 1,
    Completed = 2,
    Failed = 3,
    Retrying = 4,
    Cancelled = 5,
    Timeout = 6,
    Skipped = 7,
    Paused = 8,
    Blocked = 9,
}

impl Status {
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Retrying,
        Self::Cancelled,
        Self::Timeout,
        Self::Skipped,
        Self::Paused,
        Self::Blocked,
    ];

    pub fn number(self) -> i16 {
        self as i16
    }

    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Retrying => "retrying",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::Skipped => "skipped",
            Self::Paused => "paused",
            Self::Blocked => "blocked",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Nothing follows any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled | Self::Timeout | Self::Skipped => {
                true
            }
            Self::Pending | Self::Running | Self::Retrying | Self::Paused | Self::Blocked => false,
        }
    }
}

/// One run of an action, as people see it: unfinished or finished.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub id: ExecutionId,
    pub tenant: TenantId,
    pub action: ActionId,
    /// The definitions' version that it was matched with and runs with.
    pub defs: i64,
    /// The event that caused it. A job has none.
    pub event: Option<EventId>,
    /// The dead execution that it repeats.
    pub parent: Option<ExecutionId>,
    pub priority: Priority,
    pub key: Option<Key>,
    pub status: Status,
    pub queued_at: Timestamp,
    /// When the next attempt may start, while it waits for a time.
    pub due_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// `None`: the event's data.
    pub input: Option<Json>,
    pub output: Option<Json>,
    pub error: Option<Fault>,
    pub attempts: Vec<Attempt>,
    /// Empty unless it was read as an item of a list.
    pub left_out: LeftOut,
}

/// What an execution in a list does not carry because it exceeds
/// [`LISTED_BYTES_MAX`](crate::limits::LISTED_BYTES_MAX), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    pub input: Option<usize>,
    pub output: Option<usize>,
}

/// One call of a handler, as the history keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    pub node: NodeId,
    pub epoch: Epoch,
    pub cause: Cause,
    /// The epoch whose owner may have started this before, when the cause is
    /// [`Cause::LeaseLost`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_epoch: Option<Epoch>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub outcome: AttemptOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
    /// Processor time of the call, where the handler can measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Memory of the call, where the handler can measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
}

/// Why an attempt was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    First,
    /// The attempt before failed.
    Retry,
    /// The attempt before ran out of time.
    Timeout,
    /// The node before lost its lease and may have started it.
    LeaseLost,
    /// A person asked again.
    Replay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    Completed,
    Failed,
    Timeout,
    Cancelled,
    /// Its node ended before it did.
    Lost,
    /// It may or may not have had its effect.
    Unknown,
}

/// What a handler says of one attempt. Whether to try again is decided here, where the
/// knowledge is.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done(Output),
    /// Worth another try.
    Retry(Fault),
    /// Never again.
    Reject(Fault),
}

/// What a successful attempt leaves behind.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    pub data: Value,
    pub cpu_ms: Option<u64>,
    pub memory_mb: Option<u64>,
}

impl Output {
    pub fn new(data: Value) -> Self {
        Self { data, cpu_ms: None, memory_mb: None }
    }
}

/// What a failure is due to. A retry policy may name classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    Timeout,
    /// A connection, a name, a store.
    SystemError,
    /// Everything else.
    HandlerError,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub class: ErrorClass,
    /// `area.reason`, stable: `http.status`, `config.invalid`.
    pub code: String,
    /// One sentence for a person, at most [`ERROR_BYTES_MAX`] bytes.
    pub message: String,
    /// Facts for a program: a status code, response headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// The other side asked not to be called earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The other side is gone for good: the action is switched off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disables: bool,
}

/// Codes of what the engine finds out before it calls a handler.
const NOT_CALLED_CODES: [&str; 7] = [
    "action.inactive",
    "action.not_found",
    "action.unhealthy",
    "event.not_found",
    "handler.not_found",
    "store.corrupt",
    "tenant.not_found",
];

impl Fault {
    pub fn new(class: ErrorClass, code: &str, message: impl Into<String>) -> Self {
        let message = storable(&message.into());
        Self {
            class,
            code: code.to_owned(),
            message,
            details: None,
            retry_after_ms: None,
            disables: false,
        }
    }

    /// A failure of the handler or the other side.
    pub fn handler(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::HandlerError, code, message)
    }

    /// A failure of the way there: connection, name, store.
    pub fn system(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::SystemError, code, message)
    }

    pub fn timeout(limit: Duration) -> Self {
        let message = format!("no answer within {} ms", limit.as_millis());
        Self::new(ErrorClass::Timeout, "execution.timeout", message)
    }

    /// Adds details. What is too large or cannot be stored is replaced by the reason.
    #[must_use]
    pub fn with_details(self, details: Value) -> Self {
        let text = details.to_string();
        let omitted = if text.len() > ERROR_DETAILS_BYTES_MAX {
            Some(json!({ "omitted": "details too large", "bytes": text.len() }))
        } else {
            let cannot = |error| json!({ "omitted": format!("details cannot be stored: {error}") });
            Json::parse(&text).err().map(cannot)
        };
        Self { details: Some(omitted.unwrap_or(details)), ..self }
    }

    /// Whether it was found out before the handler was called.
    pub fn is_before_call(&self) -> bool {
        NOT_CALLED_CODES.contains(&self.code.as_str())
    }

    #[must_use]
    pub fn with_retry_after(self, pause: Option<Duration>) -> Self {
        let retry_after_ms = pause.and_then(|pause| u64::try_from(pause.as_millis()).ok());
        Self { retry_after_ms, ..self }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

/// What other programs say may hold a U+0000, which no text of a database can.
fn storable(message: &str) -> String {
    let mut message = message.replace('\0', "\u{fffd}");
    if message.len() > ERROR_BYTES_MAX {
        let mut end = ERROR_BYTES_MAX - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Fault;
    use crate::limits::{ERROR_BYTES_MAX, ERROR_DETAILS_BYTES_MAX};

    #[test]
    fn a_fault_can_be_stored_whatever_others_say() {
        let fault = Fault::handler("sms.refused", "no\0number");
        assert_eq!(fault.message, "no\u{fffd}number");
        let fault = Fault::handler("sms.refused", "\0".repeat(ERROR_BYTES_MAX));
        assert!(fault.message.len() <= ERROR_BYTES_MAX, "{}", fault.message.len());
        let fault = fault.with_details(json!({ "answer": "a\0b" }));
        let details = fault.details.expect("details").to_string();
        assert!(details.contains("details cannot be stored"), "{details}");
    }

    #[test]
    fn a_fault_keeps_small_details_and_the_size_of_large_ones() {
        let small = json!({ "status_code": 500 });
        let fault = Fault::handler("http.status", "500").with_details(small.clone());
        assert_eq!(fault.details, Some(small));
        let large = json!({ "body": "x".repeat(ERROR_DETAILS_BYTES_MAX) });
        let bytes = large.to_string().len();
        let fault = Fault::handler("http.status", "500").with_details(large);
        assert_eq!(fault.details, Some(json!({ "omitted": "details too large", "bytes": bytes })));
    }
}
