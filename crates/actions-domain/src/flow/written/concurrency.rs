//! How many runs of a workflow go on at once.

use serde_json::{Map, Value};

use super::reader::Reader;
use crate::limits::{KEY_BYTES_MAX, RUN_OPEN_MAX};

/// How many runs of a workflow go on at once, and what becomes of one more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    pub max: u32,
    /// Counted for each key by itself. The text has places such as `order:{event.data.id}`.
    pub key: Option<String>,
    pub when_full: WhenFull,
}

/// What becomes of a run for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It waits until another one has ended.
    #[default]
    Queue,
    /// It is not started.
    Skip,
    /// The oldest one is cancelled.
    Replace,
}

impl WhenFull {
    pub fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Skip => "skip",
            Self::Replace => "replace",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Queue, Self::Skip, Self::Replace].into_iter().find(|known| known.word() == word)
    }
}

impl Reader<'_> {
    /// A number, or an object with it.
    pub(super) fn concurrency(
        &mut self,
        action: &Map<String, Value>,
        at: &str,
    ) -> Option<Concurrency> {
        let value = action.get("concurrency")?;
        if value.is_number() {
            let max = self.whole(action, at, "concurrency")?;
            self.room(max, format!("{at}/concurrency"));
            return Some(Concurrency { max, key: None, when_full: WhenFull::Queue });
        }
        let at = format!("{at}/concurrency");
        let members = self.members(value, &at, &["max", "key", "when_full"])?;
        self.needed(members, &at, "max")?;
        let max = self.whole(members, &at, "max")?;
        self.room(max, format!("{at}/max"));
        let key = self.text(members, &at, "key").map(str::to_owned);
        if key.as_ref().is_some_and(|key| !(1..=KEY_BYTES_MAX).contains(&key.len())) {
            let message = format!("a key has 1 to {KEY_BYTES_MAX} bytes");
            self.wrong(format!("{at}/key"), "workflow.concurrency", message);
        }
        let word = self.text(members, &at, "when_full").unwrap_or("queue");
        let when_full = WhenFull::from_word(word);
        if when_full.is_none() {
            let message = format!("when_full is queue, skip or replace, not {word:?}");
            self.wrong(format!("{at}/when_full"), "workflow.concurrency", message);
        }
        Some(Concurrency { max, key, when_full: when_full? })
    }

    fn room(&mut self, max: u32, pointer: String) {
        let is_allowed = max > 0 && usize::try_from(max).is_ok_and(|max| max <= RUN_OPEN_MAX);
        if !is_allowed {
            let message = format!("1 to {RUN_OPEN_MAX} runs go on at once, not {max}");
            self.wrong(pointer, "workflow.concurrency", message);
        }
    }
}
