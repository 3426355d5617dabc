//! Wake-ups between processes, and what they ask one another. What they must do is defined by `contract/hints.rs`.
//!
//! A hint may be lost, late, repeated or false; the only effect is latency. Whoever hears one
//! looks into the store, and looks there without one too.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;

use crate::dispatch::Waiting;
use crate::id::{ExecutionId, TenantId};
use crate::work::Part;

/// Where it may be worth looking.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hint {
    /// This partition's log has grown.
    Work(Part),
    /// Something in this partition waits for a time.
    Later(Part),
    /// A tenant's definitions have reached this version.
    Definitions(TenantId, i64),
    /// Somebody asked for a cancellation.
    Cancels,
    /// An API key was revoked or rotated.
    ApiKeys,
    /// Somebody asks why this execution is not running.
    Why(ExecutionId),
    /// The node that has it says so.
    Because(ExecutionId, Waiting),
    /// Runs of this partition were told something.
    Runs(Part),
}

/// Hints do not get through at the moment.
#[derive(Debug, thiserror::Error)]
#[error("hints do not get through: {0}")]
pub struct HintError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

#[async_trait]
pub trait Hints: Send + Sync {
    /// Tells every process that listens, this one included.
    async fn tell(&self, hints: &[Hint]) -> Result<(), HintError>;

    /// Waits for the next hints. One caller at a time; what came while nobody called may be lost.
    async fn next(&self) -> Result<Vec<Hint>, HintError>;
}

/// One short word, as it is sent.
impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(part) => write!(f, "w{}", part.0),
            Self::Later(part) => write!(f, "l{}", part.0),
            Self::Definitions(tenant, version) => write!(f, "d{}:{version}", tenant.0),
            Self::Cancels => f.write_str("c"),
            Self::ApiKeys => f.write_str("k"),
            Self::Why(execution) => write!(f, "y{execution}"),
            Self::Because(execution, waiting) => {
                let waiting = serde_json::to_string(waiting).map_err(|_| fmt::Error)?;
                // The only spaces of such a JSON are in its strings.
                write!(f, "b{execution}:{}", waiting.replace(' ', "\\u0020"))
            }
            Self::Runs(part) => write!(f, "r{}", part.0),
        }
    }
}

/// A word of a newer program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hint that this program knows")]
pub struct UnknownHint;

impl FromStr for Hint {
    type Err = UnknownHint;

    fn from_str(word: &str) -> Result<Self, UnknownHint> {
        let part = |raw: &str| raw.parse().map(Part).map_err(|_| UnknownHint);
        match word.split_at_checked(1) {
            Some(("w", raw)) => part(raw).map(Self::Work),
            Some(("l", raw)) => part(raw).map(Self::Later),
            Some(("r", raw)) => part(raw).map(Self::Runs),
            Some(("d", raw)) => {
                let (tenant, version) = raw.split_once(':').ok_or(UnknownHint)?;
                match (tenant.parse(), version.parse()) {
                    (Ok(tenant), Ok(version)) => Ok(Self::Definitions(TenantId(tenant), version)),
                    _ => Err(UnknownHint),
                }
            }
            Some(("y", raw)) => raw.parse().map(Self::Why).map_err(|_| UnknownHint),
            Some(("b", raw)) => {
                let (execution, waiting) = raw.split_once(':').ok_or(UnknownHint)?;
                match (execution.parse(), serde_json::from_str(waiting)) {
                    (Ok(execution), Ok(waiting)) => Ok(Self::Because(execution, waiting)),
                    _ => Err(UnknownHint),
                }
            }
            Some(("c", "")) => Ok(Self::Cancels),
            Some(("k", "")) => Ok(Self::ApiKeys),
            _ => Err(UnknownHint),
        }
    }
}

/// Hints as one text, in pieces of at most this many bytes.
pub fn write_hints(hints: &[Hint], bytes_max: usize) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for hint in hints {
        let word = hint.to_string();
        match texts.last_mut() {
            Some(text) if text.len() + 1 + word.len() <= bytes_max => {
                text.push(' ');
                text.push_str(&word);
            }
            Some(_) | None => texts.push(word),
        }
    }
    texts
}

/// The hints of a text. Unknown ones are left out.
pub fn read_hints(text: &str) -> Vec<Hint> {
    text.split(' ').filter_map(|word| word.parse().ok()).collect()
}
