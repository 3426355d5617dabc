//! What really happened, written down beside the engine: calls, records, and faults.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::AddAssign;

use actions_domain::id::ExecutionId;
use actions_domain::json::Json;
use actions_domain::work::{Commit, Epoch, Finish};

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
    /// What has joined a batch, with its head.
    pub(super) joined: BTreeMap<ExecutionId, ExecutionId>,
    /// What each call of a head found to have joined.
    pub(super) gathered: BTreeMap<ExecutionId, Vec<Vec<Json>>>,
    pub(super) calls: BTreeMap<ExecutionId, Vec<Call>>,
    /// Every end that a commit has written, also a second one.
    pub(super) finishes: BTreeMap<ExecutionId, Vec<Finish>>,
    /// What was seen to be wrong while it happened.
    pub(super) wrong: Vec<String>,
    /// When attempts of the limited action were started.
    pub(super) limited_starts: Vec<Micros>,
    pub(super) met: Met,
    trace: DefaultHasher,
}

/// How often the things happened that the simulator is for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Met {
    pub(super) crashes: u32,
    pub(super) stalls: u32,
    pub(super) drains: u32,
    pub(super) clean_claims: u32,
    pub(super) unclean_claims: u32,
    pub(super) fenced: u32,
    pub(super) lost_hints: u32,
    pub(super) repeated_hints: u32,
    pub(super) outages: u32,
    pub(super) unknown_commits: u32,
    pub(super) marks: u32,
    pub(super) carried: u32,
    pub(super) poisoned: u32,
    pub(super) held_retries: u32,
    pub(super) timeouts: u32,
    pub(super) cancels: u32,
    pub(super) extra_calls: u32,
    pub(super) refills: u32,
    pub(super) shared_limits: u32,
    pub(super) paced: u32,
    pub(super) given_up: u32,
    pub(super) given_back: u32,
    pub(super) kept: u32,
    pub(super) probes: u32,
    pub(super) unknown_ends: u32,
    pub(super) full_keys: u32,
    pub(super) joined: u32,
    pub(super) full_batches: u32,
}

impl Met {
    fn named(&self) -> [(&'static str, u32); 28] {
        [
            ("crash", self.crashes),
            ("stall", self.stalls),
            ("drain", self.drains),
            ("clean claim", self.clean_claims),
            ("unclean claim", self.unclean_claims),
            ("fenced commit", self.fenced),
            ("lost hint", self.lost_hints),
            ("repeated hint", self.repeated_hints),
            ("outage", self.outages),
            ("unknown commit", self.unknown_commits),
            ("mark", self.marks),
            ("carried item", self.carried),
            ("poisoned item", self.poisoned),
            ("retry that holds its key", self.held_retries),
            ("timeout", self.timeouts),
            ("cancel", self.cancels),
            ("extra call", self.extra_calls),
            ("refill of the window", self.refills),
            ("limit that another node waits for", self.shared_limits),
            ("rate that ran out", self.paced),
            ("partition for others", self.given_up),
            ("partition given back", self.given_back),
            ("partition kept after all", self.kept),
            ("probe", self.probes),
            ("end that nobody knows", self.unknown_ends),
            ("key with all that it may run", self.full_keys),
            ("event that joined a batch", self.joined),
            ("batch that was full", self.full_batches),
        ]
    }

    pub(super) fn missing(&self) -> Vec<&'static str> {
        self.named().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl AddAssign for Met {
    fn add_assign(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.stalls += other.stalls;
        self.drains += other.drains;
        self.clean_claims += other.clean_claims;
        self.unclean_claims += other.unclean_claims;
        self.fenced += other.fenced;
        self.lost_hints += other.lost_hints;
        self.repeated_hints += other.repeated_hints;
        self.outages += other.outages;
        self.unknown_commits += other.unknown_commits;
        self.marks += other.marks;
        self.carried += other.carried;
        self.poisoned += other.poisoned;
        self.held_retries += other.held_retries;
        self.timeouts += other.timeouts;
        self.cancels += other.cancels;
        self.extra_calls += other.extra_calls;
        self.refills += other.refills;
        self.shared_limits += other.shared_limits;
        self.paced += other.paced;
        self.given_up += other.given_up;
        self.given_back += other.given_back;
        self.kept += other.kept;
        self.probes += other.probes;
        self.unknown_ends += other.unknown_ends;
        self.full_keys += other.full_keys;
        self.joined += other.joined;
        self.full_batches += other.full_batches;
    }
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
            self.met.poisoned += u32::from(code == Some("execution.poison"));
            self.met.unknown_ends += u32::from(code == Some("outcome.unknown"));
        }
        self.met.marks += u32::try_from(batch.marks.len()).unwrap();
        let held = batch.retries.iter().filter(|later| later.hold).count();
        self.met.held_retries += u32::try_from(held).unwrap();
    }
}
