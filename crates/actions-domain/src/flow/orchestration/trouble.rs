//! Why code cannot be followed any further, and how entries are compared with what it does.

use crate::flow::journal::{CallId, Cause, What};
use crate::flow::run::CallKind;

/// What keeps a run from going on. Entries are counted from 0, as in the run's journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error(
        "entry {entry}: the history says that the run {expected}, and the code {got}; let the code do what it did, with `patched` around what is new"
    )]
    Mismatch { entry: u32, expected: String, got: String },
    #[error("after entry {entry} the code panics: {message}")]
    Panicked { entry: u32, message: String },
    #[error(
        "after entry {entry} the code waits for something that is not of its context; only what the context gives is waited for"
    )]
    Stuck { entry: u32 },
    #[error("after entry {entry} the code goes round and round and waits for nothing")]
    Restless { entry: u32 },
}

/// What an entry says that the code does, as the rest of "the code …". Two entries that say the
/// same match: payloads and times are those of the history.
///
/// `None`: it came from outside, or it is of no account whether the code still does it.
pub(super) fn deed(what: &What, kind_of: impl Fn(CallId) -> Option<CallKind>) -> Option<String> {
    Some(match what {
        What::StepScheduled(scheduled) => format!("calls {}", scheduled.place.step),
        What::ChildScheduled(scheduled) => {
            format!("starts the workflow of {}", scheduled.place.step)
        }
        What::TimerCreated(scheduled) => format!("sets the timer {}", scheduled.place.step),
        What::SignalAwaited(scheduled) => format!("waits for the signal {}", scheduled.place.step),
        What::SignalTaken { step, call: None, .. } => format!("takes the signal {step} at once"),
        // Whatever is performed by others ends only when these say so.
        What::StepCancelled { place, call: Some(call) }
            if matches!(kind_of(*call), Some(CallKind::Timer | CallKind::Signal)) =>
        {
            format!("gives up {}", place.step)
        }
        What::SideEffectRecorded { name, .. } => format!("records {name}"),
        What::RunCompleted { .. } => "completes".to_owned(),
        What::RunContinued { .. } => "continues as a new run".to_owned(),
        What::RunStopped { cause: Cause::Run { .. }, .. } => "fails".to_owned(),
        What::RunStarted { .. }
        | What::StepCompleted(_)
        | What::StepFailed(_)
        | What::StepRetryScheduled { .. }
        | What::StepRepeated { .. }
        | What::StepSkipped { .. }
        | What::StepCancelled { .. }
        | What::ChildCompleted(_)
        | What::ChildFailed(_)
        | What::TimerFired { .. }
        | What::MapExpanded { .. }
        | What::ChoiceMade { .. }
        | What::WaysClosed { .. }
        | What::SignalReceived { .. }
        | What::SignalTaken { .. }
        | What::CompensationScheduled(_)
        | What::CompensationCompleted { .. }
        | What::CompensationFailed { .. }
        | What::RunPaused { .. }
        | What::RunResumed
        | What::RunStopped { .. }
        | What::RunRetried { .. }
        | What::RunFailed { .. }
        | What::RunCancelled { .. }
        | What::LimitNeared { .. }
        | What::PatchMarked { .. }
        | What::StatusSet { .. }
        | What::RunParked { .. } => return None,
    })
}

/// Entries that code may leave out later, and that are passed over when it is followed.
pub(super) fn is_remark(what: &What) -> bool {
    matches!(what, What::PatchMarked { .. } | What::StatusSet { .. } | What::LimitNeared { .. })
}
