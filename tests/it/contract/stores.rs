//! Fresh stores of each kind, and nodes that share one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use actions_domain::event::EventType;
use actions_domain::id::NodeId;
use actions_domain::json::Json;
use actions_domain::ports::accounts::Accounts;
use actions_domain::ports::api_keys::ApiKeys;
use actions_domain::ports::audit::Audit;
use actions_domain::ports::bulks::Bulks;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::definitions::Definitions;
use actions_domain::ports::deletions::Deletions;
use actions_domain::ports::history::History;
use actions_domain::ports::leases::{Lease, Leases};
use actions_domain::ports::permits::Permits;
use actions_domain::ports::pull_queue::PullQueue;
use actions_domain::ports::runs::Runs;
use actions_domain::ports::schedules::Schedules;
use actions_domain::ports::secrets::Secrets;
use actions_domain::ports::store::{Store, StoreError};
use actions_domain::ports::usages::Usages;
use actions_domain::tenant::TenantSlug;
use actions_domain::work::{
    Commit, Fence, Finish, Ingest, Ingested, Item, Later, Part, Receipt, Submitted,
};
use actions_infra::memory::Memory;
use actions_infra::postgres::{self, Postgres, PostgresOptions};
use actions_infra::redis::{Redis, RedisPermits};
use actions_infra::sqlite::{self, SqliteOptions, SqliteStore};
use actions_infra::system::SystemClock;
use sqlx::Connection;
use tokio::sync::OnceCell;

use super::given;
use crate::support::postgres::{copy_of, fresh_database};

/// Partitions of every store here.
pub(crate) const PARTS: u16 = 4;

/// One empty store. Several nodes may open it.
pub(crate) struct Stores {
    backend: Backend,
    /// Rates are kept in this Redis server, under keys that begin so.
    rates: Option<(String, String)>,
}

enum Backend {
    Memory(Arc<Memory>),
    Sqlite(PathBuf),
    Postgres(String),
}

/// A database with the schema in it, which others are copies of: migrating takes longer.
static MIGRATED: OnceCell<String> = OnceCell::const_new();

impl Stores {
    pub(crate) fn memory() -> Self {
        Self::over(Backend::Memory(Arc::new(Memory::new(Arc::new(SystemClock), PARTS))))
    }

    fn over(backend: Backend) -> Self {
        Self { backend, rates: None }
    }

    /// In memory, but for the rates.
    pub(crate) fn with_rates_in_redis(url: String) -> Self {
        let mut stores = Self::memory();
        stores.rates = Some((url, crate::support::redis::name("rates")));
        stores
    }

    pub(crate) fn sqlite() -> Self {
        let folder = std::env::temp_dir().join(format!("actions-contract-{}", given::uuid()));
        std::fs::create_dir(&folder).unwrap();
        Self::over(Backend::Sqlite(folder))
    }

    pub(crate) async fn postgres() -> Self {
        let migrated = MIGRATED
            .get_or_init(|| async {
                let url = fresh_database().await;
                let database = Postgres::connect(postgres_options(&url)).await.unwrap();
                database.migrate().await.unwrap();
                database.close().await;
                url
            })
            .await;
        Self::over(Backend::Postgres(copy_of(migrated).await))
    }

    /// Opens the store once more.
    pub(crate) async fn open(&self) -> Ports {
        let mut ports = self.open_store().await;
        if let Some((url, prefix)) = &self.rates {
            let redis = Redis::new(url).unwrap();
            let clock = Arc::new(SystemClock);
            let permits = RedisPermits::named(&redis, ports.permits, clock, prefix);
            ports.permits = Arc::new(permits);
        }
        ports
    }

    /// The tasks for workers of a PostgreSQL store.
    pub(crate) async fn pull_queue(&self) -> Arc<dyn PullQueue> {
        let Backend::Postgres(url) = &self.backend else { panic!("no PostgreSQL") };
        Arc::new(Postgres::connect(postgres_options(url)).await.unwrap())
    }

    /// The tasks for workers, where the store keeps them.
    pub(crate) async fn pull_queue_of_store(&self) -> Option<Arc<dyn PullQueue>> {
        match &self.backend {
            Backend::Memory(_) | Backend::Sqlite(_) => None,
            Backend::Postgres(_) => Some(self.pull_queue().await),
        }
    }

    /// All bytes of a SQLite store: the file, and the log of writes beside it.
    pub(crate) fn sqlite_files(&self) -> Vec<Vec<u8>> {
        let Backend::Sqlite(folder) = &self.backend else { panic!("no SQLite") };
        let files = std::fs::read_dir(folder).unwrap();
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    async fn open_store(&self) -> Ports {
        match &self.backend {
            Backend::Memory(memory) => Ports::of(Arc::clone(memory)),
            Backend::Sqlite(folder) => {
                let options = SqliteOptions { part_count: PARTS, ..SqliteOptions::default() };
                let path = folder.join("actions.db");
                let clock: Arc<dyn Clock> = Arc::new(SystemClock);
                Ports::of(Arc::new(SqliteStore::connect(&path, options, clock).await.unwrap()))
            }
            Backend::Postgres(url) => {
                let database = Postgres::connect(postgres_options(url)).await.unwrap();
                Ports::of(Arc::new(database))
            }
        }
    }

    /// Runs a statement beside the adapter, as somebody with the database's password may. `None`:
    /// there is no database.
    pub(crate) async fn run_sql(
        &self,
        sqlite: &'static str,
        postgres: &'static str,
    ) -> Option<Result<(), String>> {
        let done = match &self.backend {
            Backend::Memory(_) => return None,
            Backend::Sqlite(folder) => {
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("actions.db"));
                let mut user = sqlite::Connection::connect_with(&options).await.unwrap();
                sqlx::query(sqlite).execute(&mut user).await.map(drop)
            }
            Backend::Postgres(url) => {
                let mut user = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::query(postgres).execute(&mut user).await.map(drop)
            }
        };
        Some(done.map_err(|error| error.to_string()))
    }

    /// Starts a node that owns nothing.
    pub(crate) async fn join(&self, name: &str) -> Node {
        let ports = self.open().await;
        let id = ports.leases.join(name).await.unwrap();
        Node { ports, id, leases: Vec::new(), fins: Mutex::default() }
    }

    /// Starts a node that owns all partitions.
    pub(crate) async fn owner(&self, name: &str) -> Node {
        let node = self.join(name).await.claiming(&[]).await;
        assert_eq!(node.leases.len(), usize::from(PARTS), "all partitions were free");
        node
    }

    /// Starts a node that declares `dead` dead and takes its partitions.
    pub(crate) async fn take_over(&self, name: &str, dead: &Node) -> Node {
        self.join(name).await.claiming(&[dead.id]).await
    }

    /// Emits an event of the tenant `admin` inside a transaction of a user, committed or not.
    pub(crate) async fn emit(&self, event_type: &str, commits: bool) {
        let (slug, tenant) = (TenantSlug::admin(), actions_domain::id::TenantId::ADMIN);
        self.emit_of(&slug, tenant, event_type, commits).await;
    }

    /// The same of another tenant.
    pub(crate) async fn emit_of(
        &self,
        slug: &TenantSlug,
        tenant: actions_domain::id::TenantId,
        event_type: &str,
        commits: bool,
    ) {
        let event_type = EventType::parse(event_type).unwrap();
        let data = Json::parse(r#"{"n": 1.50}"#).unwrap();
        match &self.backend {
            Backend::Memory(memory) if commits => {
                let id = given::event_id(0);
                let body = format!(r#"{{"id":"{id}","type":"{event_type}","data":{data}}}"#);
                let body = Json::parse(&body).unwrap();
                memory.insert_intake(tenant, body);
            }
            // Memory has no transactions of users.
            Backend::Memory(_) => {}
            Backend::Sqlite(folder) => {
                let path = folder.join("actions.db");
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let mut user = sqlite::Connection::connect_with(&options).await.unwrap();
                let mut tx = user.begin().await.unwrap();
                let emit = sqlite::Emit::new(event_type, data);
                sqlite::emit_in(&mut tx, slug, &emit).await.unwrap();
                if commits { tx.commit().await.unwrap() } else { tx.rollback().await.unwrap() }
            }
            Backend::Postgres(url) => {
                let mut user = sqlx::PgConnection::connect(url).await.unwrap();
                let mut tx = user.begin().await.unwrap();
                let emit = postgres::Emit::new(event_type, data);
                postgres::emit_in(&mut tx, slug, &emit).await.unwrap();
                if commits { tx.commit().await.unwrap() } else { tx.rollback().await.unwrap() }
            }
        }
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        if let Backend::Sqlite(folder) = &self.backend {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn postgres_options(url: &str) -> PostgresOptions {
    PostgresOptions { connections_max: 3, part_count: PARTS, ..PostgresOptions::new(url) }
}

/// One node's way to the store.
#[derive(Clone)]
pub(crate) struct Ports {
    pub store: Arc<dyn Store>,
    pub leases: Arc<dyn Leases>,
    pub permits: Arc<dyn Permits>,
    pub definitions: Arc<dyn Definitions>,
    pub history: Arc<dyn History>,
    pub schedules: Arc<dyn Schedules>,
    pub bulks: Arc<dyn Bulks>,
    pub accounts: Arc<dyn Accounts>,
    pub api_keys: Arc<dyn ApiKeys>,
    pub audit: Arc<dyn Audit>,
    pub secrets: Arc<dyn Secrets>,
    pub deletions: Arc<dyn Deletions>,
    pub usages: Arc<dyn Usages>,
    pub runs: Arc<dyn Runs>,
}

impl Ports {
    fn of<
        T: Store
            + Leases
            + Permits
            + Definitions
            + History
            + Schedules
            + Bulks
            + Accounts
            + ApiKeys
            + Audit
            + Secrets
            + Deletions
            + Usages
            + Runs
            + 'static,
    >(
        all: Arc<T>,
    ) -> Self {
        Self {
            store: Arc::clone(&all) as _,
            leases: Arc::clone(&all) as _,
            permits: Arc::clone(&all) as _,
            definitions: Arc::clone(&all) as _,
            history: Arc::clone(&all) as _,
            schedules: Arc::clone(&all) as _,
            bulks: Arc::clone(&all) as _,
            accounts: Arc::clone(&all) as _,
            api_keys: Arc::clone(&all) as _,
            audit: Arc::clone(&all) as _,
            secrets: Arc::clone(&all) as _,
            deletions: Arc::clone(&all) as _,
            usages: Arc::clone(&all) as _,
            runs: all as _,
        }
    }
}

/// A node with what it owns.
pub(crate) struct Node {
    pub ports: Ports,
    pub id: NodeId,
    pub leases: Vec<Lease>,
    fins: Mutex<HashMap<Part, i64>>,
}

impl Node {
    async fn claiming(self, dead: &[NodeId]) -> Self {
        let leases = self.ports.leases.claim(self.id, dead, PARTS).await.unwrap();
        Self { leases, ..self }
    }

    pub(crate) fn lease(&self, part: Part) -> Lease {
        *self.leases.iter().find(|lease| lease.part == part).expect("the node claimed it")
    }

    pub(crate) fn fence(&self, part: Part) -> Fence {
        Fence { part, epoch: self.lease(part).epoch }
    }

    /// A batch of this node under all its fences.
    pub(crate) fn batch(&self) -> Commit {
        let fences = self.leases.iter().map(|lease| self.fence(lease.part)).collect();
        Commit { node: Some(self.id), fences, ..Commit::default() }
    }

    pub(crate) async fn commit(&self, batch: Commit) -> Result<Receipt, StoreError> {
        self.ports.store.commit(batch).await
    }

    /// Submits for the tenant `admin`, without definitions, and answers what became of each.
    pub(crate) async fn submit(&self, ingests: Vec<Ingest>) -> Vec<Ingested> {
        submit(&self.ports, ingests).await
    }

    /// Accepts that many events with one work each, and answers the items in order.
    pub(crate) async fn enqueue(&self, part: Part, count: usize) -> Vec<Item> {
        let ingests: Vec<Ingest> = (0..count).map(|_| given::ingest(part)).collect();
        self.enqueue_these(part, ingests).await
    }

    /// Accepts ingests whose works all go into the log of one partition.
    pub(crate) async fn enqueue_these(&self, part: Part, ingests: Vec<Ingest>) -> Vec<Item> {
        let works: Vec<_> = (ingests.iter())
            .flat_map(|ingest| ingest.works.iter().map(|(_, work)| Arc::clone(work)))
            .collect();
        let batch = Commit { submissions: vec![given::submission(ingests)], ..Commit::default() };
        let receipt = self.commit(batch).await.unwrap();
        let first = receipt.first.iter().find(|(at, _)| *at == part).expect("something is new").1;
        (first.0..).zip(works).map(|(seq, work)| given::log_item(part, seq, work)).collect()
    }

    /// The end of an item with one successful attempt.
    pub(crate) fn end(&self, item: &Item) -> Finish {
        let mut fins = self.fins.lock().unwrap();
        let lease = self.lease(item.part);
        let fin = fins.entry(item.part).or_insert(lease.next_fin);
        let finish = given::finish(item, self.id, lease.epoch, *fin);
        *fin += 1;
        finish
    }

    pub(crate) async fn finish(&self, item: &Item) -> Result<Receipt, StoreError> {
        let finishes = vec![self.end(item)];
        self.commit(Commit { finishes, ..self.batch() }).await
    }

    /// Lets an item die with this fingerprint.
    pub(crate) async fn bury(&self, item: &Item, fingerprint: &str) {
        let finish = given::death(self.end(item), fingerprint);
        self.commit(Commit { finishes: vec![finish], ..self.batch() }).await.unwrap();
    }

    pub(crate) async fn retry(&self, later: Later) -> Result<Receipt, StoreError> {
        self.commit(Commit { retries: vec![later], ..self.batch() }).await
    }

    /// The whole log of a partition, as far as it is not finished or moved.
    pub(crate) async fn log(&self, part: Part) -> Vec<Item> {
        self.ports
            .store
            .window(part, actions_domain::work::Seq(1), 10_000, &[])
            .await
            .unwrap()
            .items
    }
}

/// Submits for the tenant `admin`, without definitions, and answers what became of each.
pub(crate) async fn submit(ports: &Ports, ingests: Vec<Ingest>) -> Vec<Ingested> {
    let batch = Commit { submissions: vec![given::submission(ingests)], ..Commit::default() };
    let receipt = ports.store.commit(batch).await.unwrap();
    match receipt.submissions.as_slice() {
        [Submitted::Accepted(ingested)] => ingested.clone(),
        other => panic!("expected one accepted submission, not {other:?}"),
    }
}
