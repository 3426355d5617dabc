//! What really happened, written down beside the engine: calls, records, and faults.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::AddAssign;
use std::sync::Arc;

use actions_domain::execution::Status;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::work::{Commit, Epoch, Finish, Part};

use super::accelerator::Drawer;
use super::batches::Batches;
use super::claims::Claims;
use super::dice::Micros;
use super::workload::Order;

/// A call of a handler.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) epoch: Epoch,
    pub(super) at: Micros,
    /// False: the node held it back, because it was not heard for too long.
    pub(super) was_made: bool,
    /// The other side has acted.
    pub(super) has_effect: bool,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What was asked for, once it was accepted.
    pub(super) accepted: BTreeMap<ExecutionId, Order>,
    pub(super) calls: BTreeMap<ExecutionId, Vec<Call>>,
    /// Every end that a commit has written, also a second one.
    pub(super) finishes: BTreeMap<ExecutionId, Vec<Finish>>,
    /// What was seen to be wrong while it happened.
    pub(super) wrong: Vec<String>,
    /// When attempts of the limited action were started.
    pub(super) limited_starts: Vec<Micros>,
    /// What was drawn for it, and when the accelerator forgot that.
    pub(super) drawn: BTreeMap<Drawer, Vec<(Micros, u32)>>,
    pub(super) emptied: Vec<Micros>,
    /// When attempts with a key of the paced action were counted.
    pub(super) paced_starts: BTreeMap<(TenantId, Part, Arc<str>), Vec<Micros>>,
    /// When a partition was claimed.
    pub(super) takeovers: BTreeMap<Part, Vec<Micros>>,
    pub(super) claims: Claims,
    pub(super) batches: Batches,
    pub(super) met: Met,
    trace: DefaultHasher,
}

/// Things that the simulator is for, how often each of them happened, and what they are called.
macro_rules! met {
    ($($field:ident => $name:literal,)*) => {
        #[derive(Debug, Clone, Copy, Default)]
        pub(super) struct Met {
            $(pub(super) $field: u32,)*
        }

        impl Met {
            pub(super) fn missing(&self) -> Vec<&'static str> {
                let all = [$(($name, self.$field)),*];
                all.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
            }
        }

        impl AddAssign for Met {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

met! {
    crashes => "crash",
    stalls => "stall",
    drains => "drain",
    clean_claims => "clean claim",
    unclean_claims => "unclean claim",
    fenced => "fenced commit",
    lost_hints => "lost hint",
    repeated_hints => "repeated hint",
    outages => "outage",
    unknown_commits => "unknown commit",
    marks => "mark",
    carried => "carried item",
    poisoned => "poisoned item",
    held_retries => "retry that holds its key",
    timeouts => "timeout",
    cancels => "cancel",
    extra_calls => "extra call",
    refills => "refill of the window",
    shared_limits => "limit that another node waits for",
    paced => "rate that ran out",
    given_up => "partition for others",
    given_back => "partition given back",
    kept => "partition kept after all",
    probes => "probe",
    unknown_ends => "end that nobody knows",
    full_keys => "key with all that it may run",
    accelerator_losses => "accelerator away",
    drawn_elsewhere => "rate drawn from the store instead",
    yielded => "execution that yields",
    superseded => "execution whose place was taken",
    skipped => "execution that was skipped",
    joined => "event that joined a batch",
    full_batches => "batch that was full",
}

impl Ledger {
    /// Adds something to the hash of the run.
    pub(super) fn note(&mut self, what: impl Hash) {
        what.hash(&mut self.trace);
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub(super) fn call(&mut self, id: ExecutionId, call: Call) {
        let calls = self.calls.entry(id).or_default();
        calls.push(call);
        let made = calls.iter().filter(|call| call.was_made).count();
        self.met.extra_calls += u32::from(call.was_made && made > 1);
    }

    /// Notes what a successful commit has written.
    pub(super) fn written(&mut self, batch: &Commit) {
        for finish in &batch.finishes {
            self.finishes.entry(finish.item.work.id).or_default().push(finish.clone());
            let code = finish.error.as_ref().map(|fault| fault.code.as_str());
            self.met.skipped += u32::from(finish.status == Status::Skipped);
            self.met.poisoned += u32::from(code == Some("execution.poison"));
            self.met.unknown_ends += u32::from(code == Some("outcome.unknown"));
        }
        self.met.marks += u32::try_from(batch.marks.len()).unwrap();
        let held = batch.retries.iter().filter(|later| later.hold).count();
        self.met.held_retries += u32::try_from(held).unwrap();
    }
}
