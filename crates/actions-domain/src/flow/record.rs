//! A run as stores keep it, and what is written of it in one commit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::graph::StepName;
use super::journal::{CallId, Entry};
use super::run::{Phase, Run};
use super::told::Told;
use crate::Timestamp;
use crate::id::{ActionId, ExecutionId, RunId, TenantId};
use crate::json::Json;
use crate::work::{Key, KeyMode, Part};

/// What is known of a run without reading its history.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    pub id: RunId,
    pub tenant: TenantId,
    pub part: Part,
    /// The name of its workflow.
    pub name: String,
    pub workflow: WorkflowVersion,
    pub parent: Option<ParentCall>,
    pub started_at: Timestamp,
    pub state: RunState,
}

/// The definition that a run follows: the action that the workflow is, as of a version of the
/// tenant's definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkflowVersion {
    pub action: ActionId,
    pub defs: i64,
}

/// Who waits for the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParentCall {
    pub run: RunId,
    pub part: Part,
    pub call: CallId,
}

/// What changes of a run from turn to turn, as lists show it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    pub status: RunStatus,
    pub entry_count: u32,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Why it failed, or stops.
    pub error: Option<String>,
}

/// How a run stands. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It was asked for, and its owner has not begun.
    Pending = 0,
    Running = 1,
    Paused = 2,
    /// What is under way comes to its end; then what was done may be undone.
    Stopping = 3,
    Completed = 4,
    Failed = 5,
    Cancelled = 6,
    /// It goes on as another run.
    Continued = 7,
}

impl RunStatus {
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Paused,
        Self::Stopping,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Continued,
    ];

    pub fn of(run: &Run) -> Self {
        match run.phase() {
            Phase::New => Self::Pending,
            Phase::Running | Phase::Stopping { .. } if run.is_paused() => Self::Paused,
            Phase::Running => Self::Running,
            Phase::Stopping { .. } => Self::Stopping,
            Phase::Completed { .. } => Self::Completed,
            Phase::Failed { .. } => Self::Failed,
            Phase::Cancelled => Self::Cancelled,
            Phase::Continued => Self::Continued,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Continued => "continued",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    pub fn number(self) -> i16 {
        self as i16
    }

    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }

    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Continued)
    }
}

impl RunState {
    /// What lists show of a run after a turn.
    pub fn of(run: &Run, now: Timestamp) -> Self {
        let cause = match run.phase() {
            Phase::Failed { cause } | Phase::Stopping { cause, .. } => Some(cause),
            Phase::New
            | Phase::Running
            | Phase::Completed { .. }
            | Phase::Cancelled
            | Phase::Continued => None,
        };
        Self {
            status: RunStatus::of(run),
            entry_count: run.entry_count(),
            updated_at: now,
            ended_at: run.phase().is_final().then_some(now),
            error: cause.map(ToString::to_string),
        }
    }
}

/// A run that is to begin. One with the same number that is there already stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    pub id: RunId,
    pub tenant: TenantId,
    pub part: Part,
    pub name: String,
    pub workflow: WorkflowVersion,
    pub parent: Option<ParentCall>,
    pub started_at: Timestamp,
    pub input: Json,
    pub context: BTreeMap<String, Json>,
    pub depth: u8,
}

impl NewRun {
    /// What its owner is told.
    pub fn told(&self) -> Told {
        let (input, context) = (self.input.clone(), self.context.clone());
        Told::Start { input, context, depth: self.depth }
    }

    /// The run as it is before its owner has begun.
    pub fn record(&self) -> RunRecord {
        RunRecord {
            id: self.id,
            tenant: self.tenant,
            part: self.part,
            name: self.name.clone(),
            workflow: self.workflow,
            parent: self.parent,
            started_at: self.started_at,
            state: RunState {
                status: RunStatus::Pending,
                entry_count: 0,
                updated_at: self.started_at,
                ended_at: None,
                error: None,
            },
        }
    }
}

/// Something that a run is told, by whoever knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tell {
    pub tenant: TenantId,
    pub part: Part,
    pub run: RunId,
    pub told: Told,
}

/// What one run has taken and what followed, written under the fence of its partition.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTurn {
    pub tenant: TenantId,
    pub part: Part,
    pub run: RunId,
    /// Places in the inbox, which are taken.
    pub taken: Vec<i64>,
    /// Timers that fired or are not needed any more.
    pub timers_cleared: Vec<CallId>,
    pub timers_set: Vec<(CallId, Timestamp)>,
    /// The number of the first entry, from 0.
    pub first: u32,
    pub entries: Vec<RunEntry>,
    /// `None`: the run is not there any more.
    pub state: Option<RunState>,
}

/// An entry of a run's journal with the execution that it made.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEntry {
    pub entry: Entry,
    pub execution: Option<ExecutionId>,
}

/// Something that a run was told and has not taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its place in the inbox: what comes later has a larger one.
    pub place: i64,
    pub tenant: TenantId,
    pub part: Part,
    pub run: RunId,
    pub told: Told,
}

/// A timer of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTimer {
    pub tenant: TenantId,
    pub part: Part,
    pub run: RunId,
    pub call: CallId,
    pub due_at: Timestamp,
}

/// What an execution is for a run. Kept with its terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOf {
    pub run: RunId,
    pub part: Part,
    /// `None`: nobody waits for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    pub workflow: WorkflowVersion,
    /// `None`: it tells of the failure of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undoes: bool,
    /// The run decides about retries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
}

impl RunId {
    /// The partition in which a run lives: that of the key `run:{id}`.
    pub fn part(self, tenant: TenantId, part_count: u16) -> Part {
        let name = format!("run:{self}");
        let key = Key { name: name.into(), mode: KeyMode::Mutate };
        key.part(tenant, part_count)
    }

    /// The execution that a call of this run makes. The same one, whoever makes it again.
    pub fn execution(self, call: CallId, at: Timestamp) -> ExecutionId {
        ExecutionId::mint(at, self.derived(b"execution", call))
    }

    /// The run that a call of this run starts.
    pub fn child(self, call: CallId, at: Timestamp) -> Self {
        Self::mint(at, self.derived(b"run", call))
    }

    /// The run that somebody has given a name of their own.
    pub fn named(tenant: TenantId, workflow: &str, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&tenant.0.to_le_bytes());
        hasher.update(&u64::try_from(workflow.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(workflow.as_bytes());
        hasher.update(name.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    fn derived(self, what: &[u8], call: CallId) -> [u8; 10] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(what);
        hasher.update(self.0.as_bytes());
        hasher.update(&call.0.to_le_bytes());
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..10]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_makes_the_same_execution_whoever_makes_it_again() {
        let run = RunId(uuid::Uuid::from_u128(7));
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(run.execution(CallId(1), at), run.execution(CallId(1), at));
        assert_ne!(run.execution(CallId(1), at), run.execution(CallId(2), at));
        assert_ne!(run.execution(CallId(1), at).0, run.child(CallId(1), at).0);
    }

    #[test]
    fn a_name_means_one_run_of_one_workflow_of_one_tenant() {
        let named = |tenant, workflow, name| RunId::named(TenantId(tenant), workflow, name);
        assert_eq!(named(1, "a", "b"), named(1, "a", "b"));
        let others = [named(2, "a", "b"), named(1, "ab", ""), named(1, "a", "c")];
        assert!(others.iter().all(|other| *other != named(1, "a", "b")), "{others:?}");
    }

    #[test]
    fn statuses_are_kept_as_numbers_and_said_as_words() {
        for status in RunStatus::ALL {
            assert_eq!(RunStatus::from_number(status.number()), Some(status));
            assert_eq!(RunStatus::from_word(status.word()), Some(status));
        }
    }
}
