//! The SQLite adapter alone: what the contract cannot reach.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::action::ActionSpec;
use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::execution::{Priority, Status};
use actions_domain::id::{ActionId, EventId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::DEDUPE_WINDOW;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::definitions::{Definitions, Expected};
use actions_domain::ports::leases::Leases;
use actions_domain::ports::store::{Store, StoreError};
use actions_domain::work::{
    Commit, Dedupe, Fence, Finish, Home, Ingest, Ingested, Item, Part, Seq, Submission, Submitted,
    Work,
};
use async_trait::async_trait;
use chrono::TimeDelta;
use sqlx::Row;
use uuid::Uuid;

use super::{ConnectError, Durability, MigrateError, SqliteOptions, SqliteStore};

mod tend;

#[tokio::test]
async fn a_definition_that_cannot_be_read_is_blocked_and_hides_no_other() {
    let folder = Folder::new();
    let store = folder.open().await;
    let spec = |name| {
        let spec = serde_json::json!({ "name": name, "action_type": "custom", "handler": "a.b" });
        serde_json::from_value::<ActionSpec>(spec).unwrap()
    };
    for (number, name) in [(1, "broken"), (2, "sound")] {
        let uuid = Uuid::from_u128(number);
        store
            .save_action(TenantId::ADMIN, uuid, &spec(name), Expected::Absent, None)
            .await
            .unwrap();
    }
    let text = r#"update engine_action set spec = '{"name": "broken"}' where name = 'broken'"#;
    sqlx::query(text).execute(&store.writer).await.unwrap();

    let changes = store.changes(TenantId::ADMIN, 0).await.unwrap();
    let health: Vec<bool> = changes.actions.iter().map(|action| action.health.is_healthy).collect();
    assert_eq!(health, [false, true]);

    let uuid = Uuid::from_u128(1);
    let saved =
        store.save_action(TenantId::ADMIN, uuid, &spec("broken"), Expected::Anything, None).await;
    assert_eq!(saved.unwrap().spec, spec("broken"));
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = Folder::new();
    let store = folder.open().await;
    sqlx::query("insert into engine_schema (number, name, at) values (99, 'future', 0)")
        .execute(&store.writer)
        .await
        .unwrap();
    store.close().await;
    let before = std::fs::read(folder.path()).unwrap();

    let refused = folder.try_open().await;

    let Err(ConnectError::Migrate(MigrateError::Newer { found, known })) = refused else {
        panic!("opened a newer schema: {refused:?}");
    };
    assert_eq!((found, known > 0), (99, true));
    assert_eq!(std::fs::read(folder.path()).unwrap(), before);
}

#[tokio::test]
async fn opening_again_changes_nothing() {
    let folder = Folder::new();
    folder.open().await.close().await;
    let options =
        SqliteOptions { durability: Durability::Normal, part_count: 9, ..SqliteOptions::default() };
    let store = SqliteStore::connect(&folder.path(), options, folder.clock.clone()).await.unwrap();
    assert_eq!(store.part_count().await.unwrap(), 4, "the number of partitions is fixed");
}

#[tokio::test]
async fn a_full_disk_writes_nothing_and_is_survived() {
    let folder = Folder::new();
    let store = folder.open().await;
    // The largest size that SQLite may give the file stands for the end of the disk.
    let limit_pages = async |count: &'static str| {
        sqlx::query(count).execute(&store.writer).await.unwrap();
    };
    limit_pages("pragma max_page_count = 60").await;

    let large = (0..200).map(|n| event(n, "x".repeat(4_000))).collect();
    let refused = store.commit(submit(large)).await;

    let Err(StoreError::Unavailable { unknown, .. }) = refused else {
        panic!("the disk was not full: {refused:?}");
    };
    assert!(!unknown, "nothing can have been written");
    assert_eq!(count(&store, "select count(*) from engine_event").await, 0);
    limit_pages("pragma max_page_count = 1000000").await;
    let stored = store.commit(submit(vec![event(1, String::new())])).await.unwrap();
    assert_eq!(stored.submissions, [Submitted::Accepted(vec![Ingested::Stored])]);
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.close().await;
    let refused = store.commit(submit(vec![event(1, String::new())])).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { unknown: false, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_key_is_remembered_for_its_window_and_then_removed() {
    let folder = Folder::new();
    let store = folder.open().await;
    let mut now = folder.clock.now();
    let mut answers = Vec::new();
    // The last one comes after midnight twice: two days are asked for.
    for pause in [TimeDelta::zero(), window() - TimeDelta::seconds(1), TimeDelta::seconds(2)] {
        now += pause;
        folder.clock.set(now);
        let mut ingest = event(answers.len() as u128, String::new());
        let subject = ingest.event.as_ref().unwrap().id.0;
        ingest.dedupe = Some(Dedupe { key: [7; 16], subject });
        let receipt = store.commit(submit(vec![ingest])).await.unwrap();
        let Submitted::Accepted(ingested) = &receipt.submissions[0] else { panic!("{receipt:?}") };
        answers.push(ingested[0]);
    }

    let subject = event(0, String::new()).event.unwrap().id.0;
    let duplicate = Ingested::Duplicate { subject };
    assert_eq!(answers, [Ingested::Stored, duplicate, Ingested::Stored]);

    folder.clock.set(now + window() * 3);
    let mut ingest = event(9, String::new());
    ingest.dedupe = Some(Dedupe { key: [8; 16], subject });
    store.commit(submit(vec![ingest])).await.unwrap();
    assert_eq!(count(&store, "select count(*) from engine_dedupe").await, 1);
}

#[tokio::test]
async fn the_log_is_trimmed_below_its_low_mark() {
    let folder = Folder::new();
    let store = folder.open().await;
    let node = store.join("node").await.unwrap();
    let lease = store.claim(node, &[], 1).await.unwrap()[0];
    let fence = Fence { part: lease.part, epoch: lease.epoch };
    let ingests: Vec<Ingest> = (0..2_500).map(|n| event(n, String::new())).collect();
    let finishes = (1..)
        .zip(&ingests)
        .skip(1)
        .map(|(number, ingest)| Finish {
            item: Item {
                work: Arc::clone(&ingest.works[0].1),
                part: fence.part,
                ord: Seq(number),
                home: Home::Log,
                attempts: Vec::new(),
                losses: 0,
                event: None,
            },
            fin: number,
            epoch: fence.epoch,
            status: Status::Completed,
            started_at: None,
            ended_at: folder.clock.now(),
            output: None,
            error: None,
            rejected: false,
            dead: None,
        })
        .collect();
    let batch = Commit { node: Some(node), fences: vec![fence], finishes, ..submit(ingests) };
    store.commit(batch).await.unwrap();

    store.note_low(node, &[(fence, Seq(2_401))]).await.unwrap();

    let left = count(&store, "select count(*) from engine_work").await;
    assert_eq!(left, 101, "what is not finished stays, however low");
    assert_eq!(store.window(fence.part, Seq(1), 10, &[]).await.unwrap().items.len(), 1);
}

/// The statements of the hot path and of long lists, by index only.
#[tokio::test]
async fn no_statement_reads_a_large_table_from_end_to_end() {
    let folder = Folder::new();
    let store = folder.open().await;
    let plans = [
        concat!("explain query plan ", include_str!("store/window.sql")),
        concat!("explain query plan ", include_str!("store/due.sql")),
        concat!("explain query plan ", include_str!("store/cancel.sql")),
        concat!("explain query plan ", include_str!("leases/trim_log.sql")),
        concat!("explain query plan ", include_str!("history/list_events.sql")),
        concat!("explain query plan ", include_str!("history/find_execution.sql")),
        concat!("explain query plan ", include_str!("history/executions_of_event.sql")),
        concat!("explain query plan ", include_str!("history/list_executions.sql")),
        concat!("explain query plan ", include_str!("history/list_executions_of_action.sql")),
        concat!("explain query plan ", include_str!("history/list_dead_letters.sql")),
        concat!("explain query plan ", include_str!("history/list_dead_letters_of_group.sql")),
        concat!("explain query plan ", include_str!("history/action_counts_since.sql")),
        concat!("explain query plan ", include_str!("history/recent_durations.sql")),
        concat!("explain query plan ", include_str!("definitions/changed_actions.sql")),
        concat!("explain query plan ", include_str!("definitions/changed_subscriptions.sql")),
    ];
    for text in plans {
        let rows = sqlx::query(text).fetch_all(&store.readers).await.unwrap();
        for row in rows {
            let step: String = row.try_get("detail").unwrap();
            // Anything else is a small result of the statement's own.
            let scanned = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
            let is_large = scanned.is_some_and(|table| {
                table.starts_with("engine_")
                    || ["work", "execution", "later", "event", "dead"].contains(&table)
            });
            assert!(!is_large, "{step} in {text}");
        }
    }
}

/// A folder that goes with the test, and a clock that the test holds.
struct Folder {
    folder: PathBuf,
    clock: Arc<HeldClock>,
}

impl Folder {
    #[expect(clippy::disallowed_methods, reason = "a name that no other test has")]
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("actions-sqlite-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let now = "2026-01-31T23:30:00Z".parse().unwrap();
        Self { folder, clock: Arc::new(HeldClock(Mutex::new(now))) }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("actions.db")
    }

    async fn try_open(&self) -> Result<SqliteStore, ConnectError> {
        let path: &Path = &self.path();
        SqliteStore::connect(path, SqliteOptions::default(), self.clock.clone()).await
    }

    async fn open(&self) -> SqliteStore {
        self.try_open().await.unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct HeldClock(Mutex<Timestamp>);

impl HeldClock {
    fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = now;
    }
}

#[async_trait]
impl Clock for HeldClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, _: Duration) {}
}

fn window() -> TimeDelta {
    TimeDelta::from_std(DEDUPE_WINDOW).unwrap()
}

async fn count(store: &SqliteStore, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(&store.readers).await.unwrap()
}

fn submit(ingests: Vec<Ingest>) -> Commit {
    let submission = Submission::new(TenantId::ADMIN, None, ingests);
    Commit { submissions: vec![submission], ..Commit::default() }
}

/// An event with one work, the same for the same number.
fn event(number: u128, text: String) -> Ingest {
    let at: Timestamp = "2026-01-31T23:00:00Z".parse().unwrap();
    let id = EventId(Uuid::from_u128(1 << 100 | number));
    let event = Event {
        id,
        tenant: TenantId::ADMIN,
        event_type: EventType::parse("orders.paid").unwrap(),
        source: "shop".to_owned(),
        external_id: None,
        accepted_at: at,
        data: Json::from_value(&text.into()),
        attributes: Attributes::default(),
    };
    let work = Work {
        id: ExecutionId(Uuid::from_u128(1 << 101 | number)),
        tenant: TenantId::ADMIN,
        lane: Priority::Normal,
        action: ActionId(1),
        defs: 0,
        key: None,
        event: Some(id),
        parent: None,
        queued_at: at,
        delay: None,
        input: None,
        depth: 0,
        terms: None,
    };
    let works = vec![(Part(0), Arc::new(work))];
    Ingest { event: Some(Arc::new(event)), dedupe: None, works, requeue_of: None }
}
