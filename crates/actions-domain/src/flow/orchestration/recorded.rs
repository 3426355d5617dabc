//! Histories that were kept, to find out whether changed code still follows them.
//!
//! Keep the histories of real runs beside the code, and let a test replay them all:
//!
//! ```no_run
//! use actions_domain::flow::orchestration::Orchestrations;
//! use actions_domain::flow::orchestration::recorded::Recorded;
//!
//! # let orchestrations = Orchestrations::default();
//! for file in std::fs::read_dir("histories")? {
//!     let text = std::fs::read_to_string(file?.path())?;
//!     Recorded::parse(&text)?.replay(&orchestrations)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Orchestrations, Past, Trouble, replay};
use crate::flow::digest::FlowDigest;
use crate::flow::journal::{Entry, What};
use crate::flow::run::Run;

/// A run's history, with its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    pub run: Uuid,
    pub entries: Vec<Entry>,
}

/// Why a history cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("the history does not begin with the start of a run")]
    NotStarted,
    #[error("no code is registered that has the digest {digest}")]
    Unknown { digest: FlowDigest },
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl Recorded {
    /// # Errors
    /// It is no history.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The history as text, one that [`Recorded::parse`] reads.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Follows the code that the run is pinned to, and answers where it stands.
    ///
    /// # Errors
    /// There is no such code, or it does something else than the history says.
    pub fn replay(&self, orchestrations: &Orchestrations) -> Result<Run, ReplayError> {
        let digest = self.entries.iter().find_map(|entry| {
            if let What::RunStarted { flow, .. } = &entry.what { Some(*flow) } else { None }
        });
        let digest = digest.ok_or(ReplayError::NotStarted)?;
        let code = orchestrations.find(digest).ok_or(ReplayError::Unknown { digest })?;
        Ok(replay(code, Past { run: self.run, entries: &self.entries })?)
    }
}
