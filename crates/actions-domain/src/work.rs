//! Work: what the engine has to do, and the one batch in which everything about it is written.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::audit::Deed;
use crate::event::Event;
use crate::execution::report::ReportOf;
use crate::execution::{Attempt, Fault, Priority, Status};
use crate::flow::record::{NewRun, RunTurn, StepOf, Tell};
use crate::id::{ActionId, EventId, ExecutionId, NodeId, TenantId};
use crate::json::Json;
use crate::limits::KEY_BYTES_MAX;
use crate::terms::{Terms, Yielded};

/// A partition's number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Part(pub u16);

/// How often a partition changed hands. A write under an old epoch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

/// A place in a partition's log. Gap-free, from 1, given under the lock of the log's tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub i64);

/// Items of a log that a reader has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// Those of a tenant without a key, in one lane.
    Lane(TenantId, Priority),
    /// Those of a tenant with a key.
    Keyed(TenantId),
}

impl Skip {
    /// What leaves this work out.
    pub fn of(work: &Work) -> Self {
        match work.key {
            None => Self::Lane(work.tenant, work.lane),
            Some(_) => Self::Keyed(work.tenant),
        }
    }

    /// A number of its own, for stores that compare numbers: the tenant's, eightfold, and its
    /// lane's rank, or 7 with a key.
    pub fn number(self) -> i64 {
        let (tenant, rest) = match self {
            Self::Lane(tenant, lane) => (tenant, lane.rank()),
            Self::Keyed(tenant) => (tenant, 7),
        };
        i64::from(tenant.0) * 8 + i64::from(rest)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an execution does to the thing its key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyMode {
    /// Runs beside other readers.
    Read,
    /// Runs beside creations under other parents.
    Create,
    /// Runs alone.
    #[default]
    Mutate,
}

/// What an execution excludes others from: a hierarchical name inside its tenant, and a mode.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Tokens from broad to narrow, joined by `:`.
    pub name: Arc<str>,
    pub mode: KeyMode,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an affinity key has two or more non-empty tokens joined by ':' and at most {max} bytes, not {raw:?}", max = KEY_BYTES_MAX)]
pub struct KeyError {
    raw: String,
}

impl Key {
    pub fn parse(raw: &str, mode: KeyMode) -> Result<Self, KeyError> {
        let tokens = raw.split(':');
        let is_valid = raw.len() <= KEY_BYTES_MAX
            && tokens.clone().count() >= 2
            && tokens.clone().all(|token| !token.is_empty());
        if !is_valid {
            return Err(KeyError { raw: raw.to_owned() });
        }
        Ok(Self { name: raw.into(), mode })
    }

    /// The first two tokens. All keys below one root live in one partition.
    pub fn root(&self) -> &str {
        let end = self.name.match_indices(':').nth(1).map_or(self.name.len(), |(at, _)| at);
        &self.name[..end]
    }

    /// The partition that a tenant's key lives in: BLAKE3 of tenant and root, cut to 64 bits,
    /// modulo the number of partitions. Stored decisions depend on it: it must never change.
    pub fn part(&self, tenant: TenantId, part_count: u16) -> Part {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&tenant.0.to_le_bytes());
        hasher.update(self.root().as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        let number = u64::from_le_bytes(first) % u64::from(part_count.max(1));
        Part(u16::try_from(number).unwrap_or(0))
    }
}

/// "Do this action, once": fixed for good when it is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    pub id: ExecutionId,
    pub tenant: TenantId,
    pub lane: Priority,
    pub action: ActionId,
    /// The definitions' version it was matched with. It runs with the action as of then.
    pub defs: i64,
    pub key: Option<Key>,
    /// The event that asked for it. A job has none.
    pub event: Option<EventId>,
    /// The dead execution that it repeats.
    pub parent: Option<ExecutionId>,
    pub queued_at: Timestamp,
    /// Not to be started before this much time has passed, on the store's clock.
    pub delay: Option<Duration>,
    /// `None`: the event's data.
    pub input: Option<Json>,
    /// How many executions led here.
    pub depth: u8,
    /// What it is counted by beside its tenant and its action. Most have none.
    pub terms: Option<Arc<Terms>>,
}

impl Work {
    /// The key with which others may join it until it begins.
    pub fn open_key(&self) -> Option<[u8; 16]> {
        self.terms.as_ref().and_then(|terms| terms.open_key())
    }

    /// The step of a run that it performs.
    pub fn step(&self) -> Option<&StepOf> {
        self.terms.as_ref()?.step.as_ref()
    }

    pub fn input_bytes(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.as_str().len())
    }
}

/// Where an unfinished item is kept. There is exactly one place for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In its partition's log, at [`Item::ord`].
    Log,
    /// Among the items that wait for a time, or that waited for one before.
    Later,
}

/// An unfinished work item with what has happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub work: Arc<Work>,
    pub part: Part,
    /// Its place in the order of its partition. It keeps it over retries.
    pub ord: Seq,
    pub home: Home,
    pub attempts: Vec<Attempt>,
    /// How often it was lost with a node after it had been marked as started.
    pub losses: u8,
    /// Its event, while it is at hand. Loaded items come without.
    pub event: Option<Arc<Event>>,
}

/// An item that waits for a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Later {
    pub item: Item,
    /// From now on the store's clock, in both directions. Zero when it is due.
    pub delay: Duration,
    pub why: Why,
    /// Keeps its key while it waits.
    pub hold: bool,
}

/// Why an item waits for a time. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    Retry = 0,
    /// It was asked for later.
    Delay = 1,
    /// It was lost with a node and starts again.
    Carried = 2,
}

impl Why {
    pub fn number(self) -> i16 {
        self as i16
    }

    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Retry, Self::Delay, Self::Carried].into_iter().find(|why| why.number() == number)
    }
}

/// Proof that a node owns a partition. Compared by the very statement that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    pub part: Part,
    pub epoch: Epoch,
}

/// The only write of the engine: all of it or nothing.
///
/// Submissions need no lease: any node may accept events for any partition. Nor do `starts` and
/// `tells`, which only add to the inboxes of runs. Everything else is written under `fences`, which
/// name each partition that `marks`, `reports`, `retries`, `finishes` and `turns` touch.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub node: Option<NodeId>,
    pub submissions: Vec<Submission>,
    pub fences: Vec<Fence>,
    /// About to be started, written down before they are.
    pub marks: Vec<Item>,
    /// What running attempts told of themselves. The last one of an execution stands, until it
    /// is finished.
    pub reports: Vec<ReportOf>,
    /// Moved, or moved back, to the items that wait for a time.
    pub retries: Vec<Later>,
    pub finishes: Vec<Finish>,
    /// Asked to be cancelled. The owner of the item acts on it.
    pub cancels: Vec<Cancel>,
    /// Dead letters that somebody decided to forget.
    pub discards: Vec<Discard>,
    /// Rows of the intake that can never be accepted. They are set aside with the reason.
    pub refusals: Vec<IntakeRefusal>,
    /// Runs that begin, unless they are there.
    pub starts: Vec<NewRun>,
    /// What runs are told. Written together with what makes it true.
    pub tells: Vec<Tell>,
    /// What runs have taken, and what followed.
    pub turns: Vec<RunTurn>,
    /// What somebody does with all of this, for the audit. Then it is the commit of one request.
    pub deed: Option<Deed>,
}

impl Commit {
    pub fn is_empty(&self) -> bool {
        self.submissions.is_empty()
            && self.marks.is_empty()
            && self.reports.is_empty()
            && self.retries.is_empty()
            && self.finishes.is_empty()
            && self.cancels.is_empty()
            && self.discards.is_empty()
            && self.refusals.is_empty()
            && !self.has_runs()
    }

    /// Whether anything of it is about runs.
    pub fn has_runs(&self) -> bool {
        !(self.starts.is_empty() && self.tells.is_empty() && self.turns.is_empty())
    }

    /// Leaves out what is about tenants that are gone: it began before they went. Submissions stay:
    /// a store refuses those of a tenant that it does not have.
    pub fn leave_out(&mut self, gone: &[TenantId]) {
        let stays = |tenant: TenantId| !gone.contains(&tenant);
        self.marks.retain(|item| stays(item.work.tenant));
        self.reports.retain(|told| stays(told.tenant));
        self.retries.retain(|later| stays(later.item.work.tenant));
        self.finishes.retain(|finish| stays(finish.item.work.tenant));
        self.cancels.retain(|cancel| stays(cancel.tenant));
        self.discards.retain(|discard| stays(discard.tenant));
        self.starts.retain(|start| stays(start.tenant));
        self.tells.retain(|tell| stays(tell.tenant));
        self.turns.retain(|turn| stays(turn.tenant));
    }

    /// A partition that is written without its fence: nothing would keep a former owner out.
    pub fn unfenced(&self) -> Option<Part> {
        let mut written = (self.marks.iter().map(|item| item.part))
            .chain(self.reports.iter().map(|report| report.part))
            .chain(self.retries.iter().map(|later| later.item.part))
            .chain(self.finishes.iter().map(|finish| finish.item.part))
            .chain(self.turns.iter().map(|turn| turn.part));
        written.find(|part| !self.fences.iter().any(|fence| fence.part == *part))
    }
}

/// What one caller wants to have accepted: all of its ingests or none.
#[derive(Debug, Clone)]
pub struct Submission {
    pub tenant: TenantId,
    /// The definitions' version that its works were matched with. `None` when nothing was
    /// matched, as for a job.
    pub defs: Option<i64>,
    /// The caller's promise that two submissions are one request. A repetition is answered with
    /// what the first one led to, another body is refused whole.
    pub request: Option<RequestKey>,
    /// The row of the intake that it was made from. It goes with the submission, and stays when
    /// that is stale.
    pub intake: Option<i64>,
    pub ingests: Vec<Ingest>,
}

impl Submission {
    pub fn new(tenant: TenantId, defs: Option<i64>, ingests: Vec<Ingest>) -> Self {
        Self { tenant, defs, request: None, intake: None, ingests }
    }
}

/// What names a request inside its tenant, and what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey {
    /// BLAKE3, 128 bits, of the caller's key and what it is unique in.
    pub key: [u8; 16],
    /// BLAKE3, 128 bits, of the body: a different one is a mistake.
    pub body: [u8; 16],
}

/// An event with the work that it leads to, or a job alone.
#[derive(Debug, Clone)]
pub struct Ingest {
    pub event: Option<Arc<Event>>,
    /// Makes a second submission of the same thing harmless. A job always has one, because
    /// nothing else tells that a repeated flush is a repetition.
    pub dedupe: Option<Dedupe>,
    pub works: Vec<(Part, Arc<Work>)>,
    /// The dead letter that this work repeats. It stops being one in the same commit.
    pub requeue_of: Option<ExecutionId>,
}

impl Ingest {
    /// The event or execution that a repetition is answered with.
    pub fn subject(&self) -> Option<Uuid> {
        let event = || self.event.as_ref().map(|event| event.id.0);
        self.dedupe.map(|dedupe| dedupe.subject).or_else(event)
    }
}

/// What two ingests have in common when they mean the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedupe {
    /// BLAKE3, 128 bits, of what names the ingest inside its tenant.
    pub key: [u8; 16],
    /// The event or execution that a repetition is answered with.
    pub subject: Uuid,
}

/// The end of an item.
#[derive(Debug, Clone)]
pub struct Finish {
    pub item: Item,
    /// Gap-free number of this end in its partition, from 1, given by its owner.
    pub fin: i64,
    pub epoch: Epoch,
    pub status: Status,
    pub started_at: Option<Timestamp>,
    pub ended_at: Timestamp,
    pub output: Option<Json>,
    pub error: Option<Fault>,
    /// Its handler said that another try is of no use.
    pub rejected: bool,
    /// The fingerprint under which it becomes a dead letter.
    pub dead: Option<String>,
}

/// A request to cancel an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    pub tenant: TenantId,
    pub execution: ExecutionId,
    /// The execution that takes its place. Then it is only ended if it has not started.
    pub by: Option<ExecutionId>,
}

/// A decision to forget a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    pub tenant: TenantId,
    pub execution: ExecutionId,
    pub reason: String,
}

/// A row of the intake that can never be accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeRefusal {
    pub row: i64,
    pub reason: String,
}

/// What a commit did. `submissions` has one entry for each submission, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Receipt {
    pub submissions: Vec<Submitted>,
    /// For each partition with new log entries: the first sequence number. The entries of one
    /// partition are numbered in the order of the batch, leaving out what was not stored or has
    /// yielded, and what went to the items that wait for a time.
    pub first: Vec<(Part, Seq)>,
    /// Dead letters that were there to be discarded.
    pub discarded: u64,
    /// Works of stored ingests that were not stored, because others stand for them.
    pub yielded: Vec<Yielded>,
    /// Executions whose places were taken.
    pub superseded: Vec<Cancel>,
    /// Where batches were closed that are due now.
    pub closed: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// One entry for each ingest, in order.
    Accepted(Vec<Ingested>),
    /// The definitions have changed: match again with at least this version.
    Stale { defs: i64 },
    /// Its request key was used for another body. Nothing of it was stored.
    Mismatch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingested {
    Stored,
    /// It was there before.
    Duplicate {
        subject: Uuid,
    },
    /// The dead letter to requeue is none any more.
    NotDead,
}

#[cfg(test)]
mod tests {
    use super::{Key, KeyMode, Part};
    use crate::id::TenantId;

    #[test]
    fn the_root_is_the_first_two_tokens() {
        let root = |raw| Key::parse(raw, KeyMode::Read).unwrap().root().to_owned();
        assert_eq!(root("order:9"), "order:9");
        assert_eq!(root("order:9:line:3"), "order:9");
        assert!(Key::parse("order", KeyMode::Read).is_err());
        assert!(Key::parse("order:", KeyMode::Read).is_err());
    }

    #[test]
    fn the_partition_of_a_key_never_changes() {
        let part = |raw| Key::parse(raw, KeyMode::Mutate).unwrap().part(TenantId(7), 16);
        assert_eq!(part("order:9"), part("order:9:line:3"));
        assert_eq!([part("order:1"), part("order:2"), part("user:9")], [Part(6), Part(6), Part(4)]);
    }
}
