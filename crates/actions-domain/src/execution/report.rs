//! What a running attempt tells of itself: that it lives, how far it is, and where the next
//! attempt may go on.
//!
//! A [`Reporter`] is the attempt's side. What it is told is in memory at once; the node writes it
//! down now and then, so a report may be some seconds old after the node has died.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::Timestamp;
use crate::id::{ExecutionId, TenantId};
use crate::json::Json;
use crate::limits::{CHECKPOINT_BYTES_MAX, PROGRESS_NOTE_BYTES_MAX};
use crate::ports::clock::Clock;
use crate::secret::Masking;
use crate::work::Part;

/// The last word of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The attempt's number, from 1.
    pub attempt: u32,
    pub told_at: Timestamp,
    /// How much is done, from 0 to 1.
    pub progress: Option<f64>,
    pub note: Option<String>,
    /// Where the next attempt may go on. It is kept over attempts until another one is told.
    pub checkpoint: Option<Json>,
}

/// A report to write down, with where its execution lives.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportOf {
    pub execution: ExecutionId,
    pub tenant: TenantId,
    pub part: Part,
    pub report: Report,
}

/// Why a checkpoint is not taken. The one before stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("the checkpoint has {bytes} bytes, allowed are {max}; keep the rest elsewhere and its place here", max = CHECKPOINT_BYTES_MAX)]
    TooLarge { bytes: usize },
    #[error("the checkpoint cannot be stored: {reason}")]
    Unfit { reason: String },
}

impl CheckpointError {
    pub fn unfit(reason: impl fmt::Display) -> Self {
        Self::Unfit { reason: reason.to_string() }
    }
}

/// Takes the word of one attempt. Clones speak for the same attempt.
#[derive(Clone, Default)]
pub struct Reporter {
    /// `None`: nobody listens.
    heard: Option<Arc<Heard>>,
}

struct Heard {
    clock: Arc<dyn Clock>,
    masking: Masking,
    state: Mutex<State>,
}

struct State {
    report: Report,
    has_spoken: bool,
    /// Something was told since it was last written down.
    has_news: bool,
}

impl Reporter {
    /// Listens to an attempt that begins now, with what the one before has left. What it tells is
    /// kept without its secrets.
    pub fn new(
        clock: Arc<dyn Clock>,
        attempt: u32,
        checkpoint: Option<Json>,
        masking: Masking,
    ) -> Self {
        let report =
            Report { attempt, told_at: clock.now(), progress: None, note: None, checkpoint };
        let state = State { report, has_spoken: false, has_news: false };
        Self { heard: Some(Arc::new(Heard { clock, masking, state: Mutex::new(state) })) }
    }

    /// Says that the attempt lives.
    pub fn beat(&self) {
        self.hear(|_| {});
    }

    /// Says how much is done, from 0 to 1, in a few words. A beat as well. What is beyond is
    /// taken as the nearest end, and a long note is cut.
    pub fn progress(&self, done: f64, note: &str) {
        let note = Some(cut(&self.masked(note))).filter(|note| !note.is_empty());
        let done = if done.is_nan() { None } else { Some(done.clamp(0.0, 1.0)) };
        self.hear(|report| (report.progress, report.note) = (done, note));
    }

    /// Leaves something for the next attempt, if there has to be one. A beat as well.
    ///
    /// It is written down with the end of a failed attempt, and within some seconds otherwise.
    ///
    /// # Errors
    /// When it is too large or cannot be stored. The checkpoint before stands.
    pub fn checkpoint(&self, checkpoint: &Value) -> Result<(), CheckpointError> {
        let text = self.masked(&checkpoint.to_string());
        if text.len() > CHECKPOINT_BYTES_MAX {
            return Err(CheckpointError::TooLarge { bytes: text.len() });
        }
        let checkpoint = Json::parse(&text).map_err(CheckpointError::unfit)?;
        self.hear(|report| report.checkpoint = Some(checkpoint));
        Ok(())
    }

    /// Whether both speak for the same attempt.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.heard, &other.heard) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, _) | (_, None) => false,
        }
    }

    /// When it was last heard, or when it began.
    pub fn heard_at(&self) -> Option<Timestamp> {
        self.heard.as_ref().map(|heard| heard.state().report.told_at)
    }

    /// The last word, if there was any.
    pub fn report(&self) -> Option<Report> {
        let heard = self.heard.as_ref()?;
        let state = heard.state();
        state.has_spoken.then(|| state.report.clone())
    }

    /// What was told since this was last asked.
    pub fn take_news(&self) -> Option<Report> {
        let heard = self.heard.as_ref()?;
        let mut state = heard.state();
        std::mem::take(&mut state.has_news).then(|| state.report.clone())
    }

    fn masked(&self, text: &str) -> String {
        self.heard.as_ref().map_or_else(|| text.to_owned(), |heard| heard.masking.text(text))
    }

    fn hear(&self, change: impl FnOnce(&mut Report)) {
        let Some(heard) = &self.heard else { return };
        let now = heard.clock.now();
        let mut state = heard.state();
        change(&mut state.report);
        state.report.told_at = now;
        (state.has_spoken, state.has_news) = (true, true);
    }
}

impl Heard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("report", &self.report()).finish()
    }
}

/// A note as every store can keep it.
fn cut(note: &str) -> String {
    let mut note = note.replace('\0', "\u{fffd}");
    if note.len() > PROGRESS_NOTE_BYTES_MAX {
        note.truncate(note.floor_char_boundary(PROGRESS_NOTE_BYTES_MAX - '…'.len_utf8()));
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests;
