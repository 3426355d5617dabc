//! All stores in one process's memory: for demos, tests and the simulator.
//!
//! One lock stands for the database: a commit happens whole under it. What the ports promise
//! holds here as in the other adapters; nothing survives the process, and nothing is pruned
//! but the deduplication window.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actions_domain::Timestamp;
use actions_domain::action::Action;
use actions_domain::audit::Entry;
use actions_domain::bulk::{Bulk, BulkItem};
use actions_domain::event::Event;
use actions_domain::execution::Attempt;
use actions_domain::execution::report::ReportOf;
use actions_domain::gathering::{Member, OpenBatch};
use actions_domain::id::{
    AccountId, ActionId, ApiKeyId, BulkId, EventId, ExecutionId, NodeId, SessionId, SubscriptionId,
    TenantId,
};
use actions_domain::json::Json;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::history::{QueueMetric, RefusedIntake};
use actions_domain::ports::leases::Vitals;
use actions_domain::ports::store::IntakeRow;
use actions_domain::schedule::{Schedule, ScheduleName};
use actions_domain::secret::{SealedSecret, SecretName};
use actions_domain::subscription::Subscription;
use actions_domain::tenant::deletion::TenantDeletion;
use actions_domain::tenant::{Controls, Tenant, TenantSlug};
use actions_domain::terms::{ClaimHolder, YieldNote};
use actions_domain::throttle::{Bucket, Holder, Scope};
use actions_domain::usage::{Day, Usage};
use actions_domain::work::{Epoch, Finish, Home, Item, Part, Seq, Why, Work};
use uuid::Uuid;

mod accounts;
mod api_keys;
mod audit;
mod batches;
mod bounds;
mod bulks;
mod claims;
mod definitions;
mod deletions;
mod event_stream;
mod hints;
mod history;
mod leases;
mod permits;
mod pull_queue;
mod runs;
mod schedules;
mod secrets;
mod store;
mod usages;

pub use event_stream::MemoryStream;
pub use hints::MemoryHints;
pub use pull_queue::MemoryPullQueue;

/// The in-memory adapter of thirteen ports.
///
/// They are [`actions_domain::ports::store::Store`], [`actions_domain::ports::leases::Leases`],
/// [`actions_domain::ports::permits::Permits`], [`actions_domain::ports::schedules::Schedules`],
/// [`actions_domain::ports::definitions::Definitions`], [`actions_domain::ports::bulks::Bulks`],
/// [`actions_domain::ports::accounts::Accounts`],
/// [`actions_domain::ports::api_keys::ApiKeys`], [`actions_domain::ports::audit::Audit`],
/// [`actions_domain::ports::secrets::Secrets`], [`actions_domain::ports::usages::Usages`],
/// [`actions_domain::ports::deletions::Deletions`], [`actions_domain::ports::runs::Runs`] and
/// [`actions_domain::ports::history::History`].
pub struct Memory {
    clock: Arc<dyn Clock>,
    tables: Mutex<Tables>,
}

impl Memory {
    /// Makes an empty store with the tenant `admin` in it. It has at least one partition.
    pub fn new(clock: Arc<dyn Clock>, part_count: u16) -> Self {
        let tables = Tables::new(part_count.max(1), clock.now());
        Self { clock, tables: Mutex::new(tables) }
    }

    /// Leaves an event in the intake, as a user's own transaction does through
    /// `actions.emit`, and answers the number of its row.
    pub fn insert_intake(&self, tenant: TenantId, body: Json) -> i64 {
        let mut tables = self.tables();
        tables.intake_next += 1;
        let id = tables.intake_next;
        tables.intake.insert(id, IntakeRow { id, tenant, body });
        id
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A panic inside a commit is a broken invariant already; the other threads go on with
        // what is there instead of falling like dominoes.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// What a database would hold.
struct Tables {
    /// By partition number.
    parts: Vec<PartRow>,
    /// By node number, from 1.
    nodes: BTreeMap<NodeId, NodeRow>,
    /// Who holds what of each limit.
    shares: HashMap<Scope, Vec<Holder>>,
    rates: HashMap<Scope, Bucket>,

    events: BTreeMap<EventId, Arc<Event>>,
    executions_of_event: HashMap<EventId, Vec<ExecutionId>>,
    /// Where each accepted id is: exactly one place.
    places: BTreeMap<ExecutionId, Place>,
    /// Marked as started, with the partition.
    marks: BTreeMap<ExecutionId, Part>,
    /// What attempts of unfinished executions have told.
    reports: BTreeMap<ExecutionId, ReportOf>,
    cancels: BTreeMap<ExecutionId, TenantId>,
    /// Who takes whose place.
    superseded: BTreeMap<ExecutionId, ExecutionId>,
    claims: HashMap<(TenantId, [u8; 16]), ClaimHolder>,
    yields_of_event: HashMap<EventId, Vec<YieldNote>>,
    /// Batches that others may join.
    batches: HashMap<(TenantId, [u8; 16]), OpenBatch>,
    /// What joined, by the heads.
    members: HashMap<ExecutionId, Vec<MemberRow>>,
    /// Fingerprints of dead letters.
    dead: BTreeMap<ExecutionId, String>,
    dedupe: HashMap<(TenantId, [u8; 16]), DedupeRow>,
    /// Oldest first, so that the window can move on.
    dedupe_order: VecDeque<(Timestamp, TenantId, [u8; 16])>,
    intake: BTreeMap<i64, IntakeRow>,
    intake_next: i64,
    refused_intake: Vec<RefusedIntake>,

    tenants: BTreeMap<TenantId, Tenant>,
    controls: HashMap<TenantId, Controls>,
    /// All versions, oldest first.
    actions: BTreeMap<ActionId, Vec<Action>>,
    subscriptions: BTreeMap<(TenantId, SubscriptionId), Arc<Subscription>>,
    schedules: BTreeMap<(TenantId, ScheduleName), Schedule>,
    /// With their items.
    bulks: BTreeMap<(TenantId, BulkId), (Bulk, Vec<BulkItem>)>,
    accounts: BTreeMap<AccountId, accounts::AccountRow>,
    sessions: BTreeMap<SessionId, accounts::SessionRow>,
    api_keys: BTreeMap<ApiKeyId, api_keys::ApiKeyRow>,
    api_key_version: i64,
    /// Keys of tenants that are gone, with the version of when they went.
    keys_of_gone: Vec<(i64, Vec<ApiKeyId>)>,
    sessions_of_gone: Vec<(i64, Vec<SessionId>)>,
    /// Oldest first.
    audit: HashMap<TenantId, Vec<Entry>>,
    secrets: BTreeMap<(TenantId, SecretName), SealedSecret>,
    secrets_version: i64,
    queue_metrics: Vec<QueueMetric>,
    deletions: BTreeMap<TenantId, TenantDeletion>,
    usage: BTreeMap<(TenantId, Day), Usage>,
    /// Executions that had not ended, and when they were counted.
    backlog: HashMap<TenantId, (u64, Timestamp)>,
    runs: runs::RunTables,
}

struct PartRow {
    log: BTreeMap<Seq, Arc<Work>>,
    /// The number that the next entry of the log gets.
    tail: Seq,
    laters: HashSet<ExecutionId>,
    fin_max: i64,
    epoch: Epoch,
    owner: Option<NodeId>,
    /// Given back, or never owned.
    clean: bool,
    low: Seq,
}

struct NodeRow {
    name: String,
    beats: i64,
    alive: bool,
    joined_at: Timestamp,
    seen_at: Timestamp,
    vitals: Vitals,
}

/// The one home of an accepted id.
enum Place {
    Log { part: Part, seq: Seq },
    Later(Box<LaterRow>),
    Finished(Box<Finish>),
}

struct LaterRow {
    part: Part,
    ord: Seq,
    work: Arc<Work>,
    due_at: Timestamp,
    why: Why,
    hold: bool,
    attempts: Vec<Attempt>,
    losses: u8,
}

#[derive(Clone)]
struct MemberRow {
    tenant: TenantId,
    action: ActionId,
    member: Member,
}

struct DedupeRow {
    /// Of a request.
    body: Option<[u8; 16]>,
    /// What a repetition is answered with: one of an ingest, one for each ingest of a request.
    subjects: Vec<Uuid>,
    until: Timestamp,
}

impl Tables {
    fn new(part_count: u16, now: Timestamp) -> Self {
        let admin = Tenant {
            id: TenantId::ADMIN,
            uuid: Uuid::nil(),
            slug: TenantSlug::admin(),
            name: "Platform".to_owned(),
            defs_version: 0,
            created_at: now,
        };
        Self {
            parts: (0..part_count).map(|_| PartRow::new()).collect(),
            nodes: BTreeMap::new(),
            shares: HashMap::new(),
            rates: HashMap::new(),
            events: BTreeMap::new(),
            executions_of_event: HashMap::new(),
            places: BTreeMap::new(),
            marks: BTreeMap::new(),
            reports: BTreeMap::new(),
            cancels: BTreeMap::new(),
            superseded: BTreeMap::new(),
            claims: HashMap::new(),
            yields_of_event: HashMap::new(),
            batches: HashMap::new(),
            members: HashMap::new(),
            dead: BTreeMap::new(),
            dedupe: HashMap::new(),
            dedupe_order: VecDeque::new(),
            intake: BTreeMap::new(),
            intake_next: 0,
            refused_intake: Vec::new(),
            tenants: BTreeMap::from([(admin.id, admin)]),
            controls: HashMap::new(),
            actions: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            schedules: BTreeMap::new(),
            bulks: BTreeMap::new(),
            accounts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            api_keys: BTreeMap::new(),
            api_key_version: 0,
            keys_of_gone: Vec::new(),
            sessions_of_gone: Vec::new(),
            audit: HashMap::new(),
            secrets: BTreeMap::new(),
            secrets_version: 0,
            queue_metrics: Vec::new(),
            deletions: BTreeMap::new(),
            usage: BTreeMap::new(),
            backlog: HashMap::new(),
            runs: runs::RunTables::default(),
        }
    }

    /// The unfinished item with this id, as its home knows it.
    fn item(&self, id: ExecutionId) -> Option<Item> {
        match self.places.get(&id)? {
            Place::Log { part, seq } => {
                let work = self.parts.get(usize::from(part.0))?.log.get(seq)?;
                Some(log_item(*part, *seq, work))
            }
            Place::Later(row) => Some(row.item()),
            Place::Finished(_) => None,
        }
    }
}

impl PartRow {
    fn new() -> Self {
        Self {
            log: BTreeMap::new(),
            tail: Seq(1),
            laters: HashSet::new(),
            fin_max: 0,
            epoch: Epoch(0),
            owner: None,
            clean: true,
            low: Seq(1),
        }
    }
}

impl LaterRow {
    fn item(&self) -> Item {
        Item {
            work: Arc::clone(&self.work),
            part: self.part,
            ord: self.ord,
            home: Home::Later,
            attempts: self.attempts.clone(),
            losses: self.losses,
            event: None,
        }
    }
}

fn log_item(part: Part, seq: Seq, work: &Arc<Work>) -> Item {
    Item {
        work: Arc::clone(work),
        part,
        ord: seq,
        home: Home::Log,
        attempts: Vec::new(),
        losses: 0,
        event: None,
    }
}

#[cfg(test)]
mod tests;
