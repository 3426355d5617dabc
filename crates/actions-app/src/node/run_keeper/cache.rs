//! Runs that go on, in memory. What is not here is read again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actions_domain::Timestamp;
use actions_domain::action::Action;
use actions_domain::flow::checked::Flow;
use actions_domain::flow::journal::{CallId, Entry, What};
use actions_domain::flow::record::{RunRecord, StepOf, WorkflowVersion};
use actions_domain::flow::run::Run;
use actions_domain::id::RunId;
use actions_domain::limits::RUN_CACHE_BYTES_MAX;
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Epoch, Fence, Part};

use crate::app::App;

/// What a run takes in memory beside its history.
const RUN_BYTES: u64 = 2_048;
/// Entries that one read takes.
const ENTRIES_AT_ONCE: u32 = 1_000;

/// A run with all that its next turn needs.
pub(super) struct Loaded {
    pub(super) record: RunRecord,
    pub(super) run: Run,
    pub(super) flow: Arc<Flow>,
    /// The action that its workflow is.
    pub(super) action: Arc<Action>,
    /// When its open calls were made, and what they are: their executions and children are called
    /// after that.
    pub(super) made: BTreeMap<CallId, Made>,
    /// The epoch under which it was read. Under another one somebody else may have led it on.
    epoch: Epoch,
    used: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Made {
    Execution(Timestamp),
    Child(Timestamp),
}

/// What became of looking for a run.
pub(super) enum Found {
    Run(Box<Loaded>),
    /// This program cannot follow it; a newer one can.
    Unknown,
}

#[derive(Default)]
pub(super) struct Cache {
    runs: HashMap<RunId, Loaded>,
    bytes: u64,
    clock: u64,
}

impl Loaded {
    fn bytes(&self) -> u64 {
        RUN_BYTES + self.run.bytes()
    }

    pub(super) fn workflow(&self) -> WorkflowVersion {
        self.record.workflow
    }

    /// Notes what an entry has called.
    pub(super) fn note(&mut self, entry: &Entry) {
        note(&mut self.made, entry);
    }

    /// Forgets the calls that have ended.
    pub(super) fn forget_ended(&mut self) {
        let run = &self.run;
        self.made.retain(|call, _| run.call(*call).is_some());
    }

    /// What an execution of this run is for it.
    pub(super) fn step_of(&self) -> StepOf {
        StepOf {
            run: self.record.id,
            part: self.record.part,
            call: None,
            workflow: self.record.workflow,
            step: None,
            undoes: false,
            once: false,
        }
    }
}

fn note(made: &mut BTreeMap<CallId, Made>, entry: &Entry) {
    if let What::StepScheduled(scheduled) | What::CompensationScheduled(scheduled) = &entry.what {
        made.insert(scheduled.call, Made::Execution(entry.at));
    } else if let What::ChildScheduled(scheduled) = &entry.what {
        made.insert(scheduled.call, Made::Child(entry.at));
    }
}

impl Cache {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets the runs of partitions that others own.
    pub(super) fn keep(&mut self, fences: &BTreeMap<Part, Fence>) {
        let is_own = |loaded: &Loaded| {
            fences.get(&loaded.record.part).is_some_and(|fence| fence.epoch == loaded.epoch)
        };
        if self.runs.values().all(is_own) {
            return;
        }
        self.runs.retain(|_, loaded| is_own(loaded));
        self.bytes = self.runs.values().map(Loaded::bytes).sum();
    }

    pub(super) fn has(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// Takes a run out, to be put back after its turn was written.
    pub(super) fn take(&mut self, run: RunId) -> Option<Box<Loaded>> {
        let loaded = self.runs.remove(&run)?;
        self.bytes = self.bytes.saturating_sub(loaded.bytes());
        Some(Box::new(loaded))
    }

    /// Reads what else is needed of a run.
    pub(super) async fn load(
        app: &App,
        record: RunRecord,
        fence: Fence,
    ) -> Result<Found, StoreError> {
        let (tenant, id) = (record.tenant, record.id);
        let WorkflowVersion { action, defs } = record.workflow;
        let Some(action) = app.catalogue.pinned_action(tenant, action, defs).await? else {
            tracing::warn!(run = %id, "the workflow of a run is not there");
            return Ok(Found::Unknown);
        };
        let flow = match app.workflows.of(&action) {
            Ok(flow) => flow,
            Err(why) => {
                tracing::warn!(run = %id, why = &*why, "a run waits for a newer program");
                return Ok(Found::Unknown);
            }
        };
        let (mut run, mut made) = (Run::default(), BTreeMap::new());
        while run.entry_count() < record.state.entry_count {
            let entries =
                app.ports.runs.journal(tenant, id, run.entry_count(), ENTRIES_AT_ONCE).await?;
            if entries.is_empty() {
                let what = format!("the journal of run {id}, which ends too early");
                return Err(StoreError::Corrupt { what });
            }
            for entry in &entries {
                run.evolve(entry);
                note(&mut made, entry);
            }
        }
        let mut loaded = Loaded { record, run, flow, action, made, epoch: fence.epoch, used: 0 };
        loaded.forget_ended();
        Ok(Found::Run(Box::new(loaded)))
    }

    /// Keeps a run whose turn was written. One that has ended is not needed any more.
    pub(super) fn put(&mut self, loaded: Option<Box<Loaded>>) {
        let Some(mut loaded) = loaded else { return };
        if loaded.run.phase().is_final() {
            return;
        }
        self.clock += 1;
        loaded.used = self.clock;
        self.bytes += loaded.bytes();
        self.runs.insert(loaded.record.id, *loaded);
        if self.bytes > RUN_CACHE_BYTES_MAX {
            self.make_room();
        }
    }

    /// Forgets the half that was not used for longest.
    fn make_room(&mut self) {
        let mut used: Vec<u64> = self.runs.values().map(|loaded| loaded.used).collect();
        used.sort_unstable();
        let middle = used.get(used.len() / 2).copied().unwrap_or_default();
        self.runs.retain(|_, loaded| loaded.used > middle);
        self.bytes = self.runs.values().map(Loaded::bytes).sum();
    }
}
