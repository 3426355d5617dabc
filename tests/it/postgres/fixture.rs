//! A migrated database with one node that owns all partitions, and things to put into it.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::action::{Action, ActionSpec};
use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::execution::{Attempt, AttemptOutcome, Cause, Priority, Status};
use actions_domain::id::{ActionId, EventId, ExecutionId, NodeId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::definitions::{Definitions, Expected};
use actions_domain::ports::dice::Dice;
use actions_domain::ports::leases::{Lease, Leases};
use actions_domain::ports::store::Store;
use actions_domain::work::{
    Commit, Dedupe, Fence, Finish, Home, Ingest, Item, Later, Part, Receipt, Seq, Submission, Why,
    Work,
};
use actions_infra::postgres::{Postgres, PostgresOptions};
use actions_infra::system::{SystemClock, SystemDice};
use serde_json::json;
use sqlx::{Connection, PgConnection};

pub(super) use crate::support::postgres::run_text;
use crate::support::postgres::{administrator, fresh_database};

/// How often a state is looked for that has to come.
const LOOKS: usize = 5_000;

pub(super) struct Database {
    pub(super) url: String,
    pub(super) store: Postgres,
    pub(super) node: NodeId,
    pub(super) leases: Vec<Lease>,
}

/// Opens and migrates an empty database with two partitions.
pub(super) async fn open() -> Database {
    let url = fresh_database().await;
    let store = connect(&url).await;
    store.migrate().await.unwrap();
    let node = store.join("left").await.unwrap();
    let leases = store.claim(node, &[], 2).await.unwrap();
    Database { url, store, node, leases }
}

pub(super) async fn connect(url: &str) -> Postgres {
    let options = PostgresOptions { part_count: 2, ..PostgresOptions::new(url) };
    Postgres::connect(options).await.unwrap()
}

impl Database {
    /// Submits one event with one execution, and answers its item.
    pub(super) async fn accept(&self, part: Part) -> Item {
        let (item, commit) = submission(part, None);
        let receipt = self.store.commit(commit).await.unwrap();
        placed(item, &receipt)
    }

    pub(super) fn fence(&self, part: Part) -> Fence {
        let lease = self.leases.iter().find(|lease| lease.part == part).unwrap();
        Fence { part, epoch: lease.epoch }
    }

    /// A commit of the end of an item.
    pub(super) fn finish(&self, item: Item, fin: i64) -> Commit {
        let fence = self.fence(item.part);
        Commit {
            node: Some(self.node),
            fences: vec![fence],
            finishes: vec![completed(item, fence, fin)],
            ..Commit::default()
        }
    }

    /// A commit that moves an item to the later ones.
    pub(super) fn retry(&self, item: Item, delay: Duration) -> Commit {
        Commit {
            node: Some(self.node),
            fences: vec![self.fence(item.part)],
            retries: vec![Later { item, delay, why: Why::Retry, hold: false }],
            ..Commit::default()
        }
    }

    /// Defines an action of a tenant.
    pub(super) async fn define(&self, tenant: TenantId, name: &str) -> Action {
        let spec: ActionSpec = serde_json::from_value(json!({
            "name": name, "action_type": "webhook", "handler": "webhook.http",
            "event_patterns": ["orders.*"],
        }))
        .unwrap();
        self.store.save_action(tenant, event_id().0, &spec, Expected::Absent, None).await.unwrap()
    }

    /// Returns once so many sessions wait for a lock.
    ///
    /// # Panics
    /// When they do not, after some seconds.
    pub(super) async fn until_waiting(&self, sessions: i64) {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        for _ in 0..LOOKS {
            if self.count(waiting).await == sessions {
                return;
            }
        }
        panic!("{} sessions wait for a lock, not {sessions}", self.count(waiting).await);
    }

    pub(super) async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(self.store.pool()).await.unwrap()
    }
}

/// A connection of somebody else with the login of the database's owner.
pub(super) async fn outsider(database: &Database) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    // A lock that should not be there makes a test fail and not hang.
    sqlx::query("set lock_timeout = '5s'").execute(&mut connection).await.unwrap();
    connection
}

/// A role without any right, which a connection may take. Roles belong to the server, so its name
/// is new.
pub(super) async fn role(connection: &mut PgConnection) -> String {
    let name = format!("actions_test_{}", event_id().0.simple());
    let login: String =
        sqlx::query_scalar("select session_user::text").fetch_one(connection).await.unwrap();
    let text = format!("create role {name}; grant {name} to {login}");
    run_text(&mut administrator().await, text).await;
    name
}

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

pub(super) fn event_id() -> EventId {
    EventId::mint(now(), SystemDice.bytes())
}

/// One event with one execution of action 1 for the platform's tenant, as an item that has no
/// place yet.
pub(super) fn submission(part: Part, key: Option<[u8; 16]>) -> (Item, Commit) {
    submission_of(TenantId::ADMIN, ActionId(1), part, key)
}

pub(super) fn submission_of(
    tenant: TenantId,
    action: ActionId,
    part: Part,
    key: Option<[u8; 16]>,
) -> (Item, Commit) {
    let now = now();
    let event = Event {
        id: event_id(),
        tenant,
        event_type: EventType::parse("orders.paid").unwrap(),
        source: "/shop".to_owned(),
        external_id: None,
        accepted_at: now,
        data: Json::parse(r#"{"order": 7.00}"#).unwrap(),
        attributes: Attributes::default(),
    };
    let work = Arc::new(Work {
        id: ExecutionId::mint(now, SystemDice.bytes()),
        tenant,
        lane: Priority::Normal,
        action,
        defs: 0,
        key: None,
        event: Some(event.id),
        parent: None,
        queued_at: now,
        delay: None,
        input: None,
        depth: 0,
        terms: None,
    });
    let dedupe = key.map(|key| Dedupe { key, subject: event.id.0 });
    let works = vec![(part, Arc::clone(&work))];
    let ingest = Ingest { event: Some(Arc::new(event)), dedupe, works, requeue_of: None };
    let submission = Submission::new(tenant, None, vec![ingest]);
    let item = Item {
        work,
        part,
        ord: Seq(0),
        home: Home::Log,
        attempts: Vec::new(),
        losses: 0,
        event: None,
    };
    (item, Commit { submissions: vec![submission], ..Commit::default() })
}

/// The same commit, which accepts a new event with one execution as well.
pub(super) fn and_submit(settled: Commit, part: Part) -> Commit {
    let (_, submitted) = submission(part, None);
    Commit { submissions: submitted.submissions, ..settled }
}

/// The item where the receipt says that it was put.
pub(super) fn placed(item: Item, receipt: &Receipt) -> Item {
    Item { ord: receipt.first.first().unwrap().1, ..item }
}

pub(super) fn attempt(number: u32, outcome: AttemptOutcome) -> Attempt {
    Attempt {
        number,
        node: NodeId(1),
        epoch: actions_domain::work::Epoch(1),
        cause: if number == 1 { Cause::First } else { Cause::Retry },
        lost_epoch: None,
        started_at: now(),
        ended_at: now(),
        outcome,
        error: None,
        cpu_ms: None,
        memory_mb: None,
    }
}

pub(super) fn completed(item: Item, fence: Fence, fin: i64) -> Finish {
    let started_at = Some(item.work.queued_at);
    Finish {
        item,
        fin,
        epoch: fence.epoch,
        status: Status::Completed,
        started_at,
        ended_at: now(),
        output: None,
        error: None,
        rejected: false,
        dead: None,
    }
}
