//! What becomes of old rows.

use actions_domain::bulk::{Bulk, BulkChange, BulkSpec, Chosen, Operation};
use actions_domain::id::{BulkId, SecretId};
use actions_domain::ports::bulks::Bulks;
use actions_domain::ports::secrets::{NextVersion, Secrets};
use actions_domain::secret::{MasterKeyId, Sealed, SecretName, SecretPlace};
use actions_domain::tenant::{ControlChange, Retention};

use super::*;

async fn open(folder: &Folder) -> SqliteStore {
    let options = SqliteOptions { keep_days: Some(30), ..SqliteOptions::default() };
    SqliteStore::connect(&folder.path(), options, folder.clock.clone()).await.unwrap()
}

fn end(ingest: &Ingest, fence: Fence, number: i64, dead: Option<&str>) -> Finish {
    Finish {
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
        status: if dead.is_some() { Status::Failed } else { Status::Completed },
        started_at: None,
        ended_at: "1970-01-01T00:17:28Z".parse().unwrap(),
        output: None,
        error: None,
        rejected: false,
        dead: dead.map(str::to_owned),
    }
}

/// Three events of long ago: one is done, one is dead, and one still waits.
async fn given_history(store: &SqliteStore) -> (Fence, actions_domain::id::NodeId) {
    let node = store.join("node").await.unwrap();
    let lease = store.claim(node, &[], 1).await.unwrap()[0];
    let fence = Fence { part: lease.part, epoch: lease.epoch };
    let ingests: Vec<Ingest> = (0..3).map(|n| event(n, "x".repeat(20))).collect();
    let finishes =
        vec![end(&ingests[0], fence, 1, None), end(&ingests[1], fence, 2, Some("cause"))];
    let batch = Commit { node: Some(node), fences: vec![fence], finishes, ..submit(ingests) };
    store.commit(batch).await.unwrap();
    (fence, node)
}

async fn counts(store: &SqliteStore) -> [i64; 3] {
    [
        count(store, "select count(*) from engine_event").await,
        count(store, "select count(*) from engine_execution").await,
        count(store, "select count(*) from engine_dead").await,
    ]
}

#[tokio::test]
async fn history_beyond_its_days_is_removed_and_what_waits_keeps_its_event() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let (fence, node) = given_history(&store).await;
    store.tend().await.unwrap();
    assert_eq!(counts(&store).await, [3, 2, 1], "the log may still hold them");

    store.note_low(node, &[(fence, Seq(3))]).await.unwrap();
    store.tend().await.unwrap();

    assert_eq!(counts(&store).await, [1, 0, 0]);
    let waiting = store.window(Part(0), Seq(1), 10, &[]).await.unwrap();
    assert_eq!(waiting.items.len(), 1);
    let event = waiting.items[0].work.event.unwrap();
    assert_eq!(store.events(&[event]).await.unwrap().len(), 1);
    assert_eq!(store.tend().await.unwrap(), 0);
}

#[tokio::test]
async fn what_joined_a_batch_goes_with_its_head() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let (fence, node) = given_history(&store).await;
    let join = "insert into engine_member (head, place, tenant, action, body)
        select id, 1, 1, 1, '{}' from engine_work";
    sqlx::query(join).execute(&store.writer).await.unwrap();
    let members = "select count(*) from engine_member";
    store.tend().await.unwrap();
    assert_eq!(count(&store, members).await, 3, "the log may still hold the heads");

    store.note_low(node, &[(fence, Seq(3))]).await.unwrap();
    store.tend().await.unwrap();
    assert_eq!(count(&store, members).await, 1, "one of them waits");
}

#[tokio::test]
async fn a_run_goes_with_its_journal_when_it_ended_long_ago() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let lately = crate::sqlite::record::micros(folder.clock.now() - TimeDelta::days(1));
    // One ended long ago, one lately, and one goes on since long ago.
    for (id, ended_at) in [("x'01'", "1"), ("x'02'", "?1"), ("x'03'", "null")] {
        let run = format!(
            "insert into engine_run (
                tenant, id, part, name, workflow, defs, status, entry_count, started_at,
                updated_at, ended_at)
             values (1, {id}, 0, 'w', 1, 1, 4, 2, 1, 1, {ended_at})"
        );
        let run = sqlx::query(sqlx::AssertSqlSafe(run.as_str()));
        let run = if ended_at == "?1" { run.bind(lately) } else { run };
        run.execute(&store.writer).await.unwrap();
        for number in 0..2 {
            let entry = format!(
                "insert into engine_run_entry (run, number, tenant, body)
                 values ({id}, {number}, 1, '')"
            );
            let entry = sqlx::query(sqlx::AssertSqlSafe(entry.as_str()));
            entry.execute(&store.writer).await.unwrap();
        }
    }
    store.tend().await.unwrap();
    assert_eq!(count(&store, "select count(*) from engine_run").await, 2);
    assert_eq!(count(&store, "select count(*) from engine_run_entry").await, 4);
    assert_eq!(count(&store, "select count(*) from engine_run where id = x'01'").await, 0);
}

/// What was asked for long ahead has an old id when it ends.
#[tokio::test]
async fn what_ended_lately_stays_however_old_its_id_is() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let (fence, node) = given_history(&store).await;
    let lately = folder.clock.now() - TimeDelta::days(1);
    sqlx::query("update engine_execution set ended_at = ?")
        .bind(crate::sqlite::record::micros(lately))
        .execute(&store.writer)
        .await
        .unwrap();
    store.note_low(node, &[(fence, Seq(3))]).await.unwrap();
    store.tend().await.unwrap();
    assert_eq!(counts(&store).await[1..], [2, 1]);
}

#[tokio::test]
async fn history_within_its_days_stays() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let (fence, node) = given_history(&store).await;
    store.note_low(node, &[(fence, Seq(3))]).await.unwrap();
    // The ids of these events are of 1970-01-01T00:17:28Z.
    folder.clock.set("1970-01-31T00:17:28Z".parse().unwrap());
    assert_eq!(store.tend().await.unwrap(), 0);
    assert_eq!(counts(&store).await, [3, 2, 1]);
    folder.clock.set("1970-01-31T00:17:29Z".parse().unwrap());
    store.tend().await.unwrap();
    assert_eq!(counts(&store).await[0], 1);
}

#[tokio::test]
async fn a_file_gets_smaller_when_much_was_removed() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let node = store.join("node").await.unwrap();
    let lease = store.claim(node, &[], 1).await.unwrap()[0];
    let fence = Fence { part: lease.part, epoch: lease.epoch };
    let pages = async || count(&store, "select page_count from pragma_page_count").await;
    for batch in 0..12 {
        let ingests: Vec<Ingest> =
            (0..200).map(|n| event(batch * 200 + n, "x".repeat(10_000))).collect();
        let finishes = (i64::try_from(batch).unwrap() * 200 + 1..)
            .zip(&ingests)
            .map(|(number, ingest)| end(ingest, fence, number, None))
            .collect();
        let batch = Commit { node: Some(node), fences: vec![fence], finishes, ..submit(ingests) };
        store.commit(batch).await.unwrap();
    }
    let before = pages().await;
    store.note_low(node, &[(fence, Seq(2_401))]).await.unwrap();
    while store.tend().await.unwrap() > 0 {}
    let after = pages().await;
    assert!(after < before - 1_000, "{before} pages before, {after} after");
}

async fn keep(store: &SqliteStore, retention: Retention) {
    let change = ControlChange::SetRetention(retention);
    store.change_controls(TenantId::ADMIN, &change, None).await.unwrap();
}

#[tokio::test]
async fn a_tenant_may_keep_less_than_the_installation_and_never_more() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let (fence, node) = given_history(&store).await;
    store.note_low(node, &[(fence, Seq(3))]).await.unwrap();
    keep(&store, Retention { keep_days: Some(2), dead_letter_days: None }).await;
    // The ids of these events are of 1970-01-01T00:17:28Z.
    folder.clock.set("1970-01-03T00:17:28Z".parse().unwrap());
    assert_eq!(store.tend().await.unwrap(), 0);
    folder.clock.set("1970-01-03T00:17:29Z".parse().unwrap());
    store.tend().await.unwrap();
    assert_eq!(counts(&store).await, [1, 0, 0], "what waits keeps its event");
    keep(&store, Retention { keep_days: Some(3_650), dead_letter_days: None }).await;
    given_more(&store, fence, node).await;
    folder.clock.set("1970-02-01T00:17:29Z".parse().unwrap());
    store.tend().await.unwrap();
    assert_eq!(counts(&store).await[1], 0);
}

/// One more event of the same time, which is done.
async fn given_more(store: &SqliteStore, fence: Fence, node: actions_domain::id::NodeId) {
    let ingests = vec![event(7, "x".repeat(20))];
    let finishes = vec![end(&ingests[0], fence, 4, None)];
    let batch = Commit { node: Some(node), fences: vec![fence], finishes, ..submit(ingests) };
    store.commit(batch).await.unwrap();
    store.note_low(node, &[(fence, Seq(5))]).await.unwrap();
    assert_eq!(counts(store).await[1], 1);
}

#[tokio::test]
async fn dead_letters_expire_before_their_executions_where_a_tenant_says_so() {
    let folder = Folder::new();
    let store = open(&folder).await;
    given_history(&store).await;
    keep(&store, Retention { keep_days: None, dead_letter_days: Some(1) }).await;
    folder.clock.set("1970-01-02T00:17:28Z".parse().unwrap());
    store.tend().await.unwrap();
    assert_eq!(counts(&store).await, [3, 2, 1]);
    folder.clock.set("1970-01-02T00:17:29Z".parse().unwrap());
    store.tend().await.unwrap();
    assert_eq!(counts(&store).await, [3, 2, 0]);
}

#[tokio::test]
async fn bulks_go_with_the_history_once_they_have_ended() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let at = "1970-01-01T00:20:00Z".parse().unwrap();
    let spec = BulkSpec {
        operation: Operation::Requeue,
        chosen: Chosen::Ids,
        canary: None,
        rate: None,
        reason: None,
    };
    let targets: Vec<ExecutionId> = (0..1_200).map(|_| ExecutionId(uuid::Uuid::nil())).collect();
    let ids = [1, 2].map(|n| BulkId::mint(at, [n; 10]));
    for id in ids {
        let bulk =
            Bulk::new(id, TenantId::ADMIN, spec.clone(), "me".to_owned(), (1_200, false), at);
        store.create_bulk(&bulk, &targets, None).await.unwrap();
    }
    let cancel = BulkChange::Cancel { by: "me".to_owned() };
    store.change_bulk(TenantId::ADMIN, ids[0], &cancel, at, None).await.unwrap();
    folder.clock.set("1970-02-01T00:00:00Z".parse().unwrap());
    store.tend().await.unwrap();
    let left = store.list_bulks(TenantId::ADMIN, None, 10).await.unwrap();
    assert_eq!(left.iter().map(|bulk| bulk.id).collect::<Vec<_>>(), [ids[1]]);
    assert_eq!(count(&store, "select count(*) from engine_bulk_item").await, 1_200);
}

#[tokio::test]
async fn a_replaced_version_of_a_secret_goes_an_hour_after_its_end() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let name = SecretName::parse("TOKEN").unwrap();
    let id = SecretId(uuid::Uuid::from_u128(1));
    for number in [1, 2] {
        let sealed =
            Sealed { key: MasterKeyId::parse("test").unwrap(), wrapped: vec![1], text: vec![2] };
        let place = SecretPlace { tenant: TenantId::ADMIN, id, name: name.clone(), number };
        let at = folder.clock.now();
        let previous_ends_at = at + chrono::TimeDelta::hours(24);
        let put = NextVersion { place, sealed, at, by: "me".to_owned(), previous_ends_at };
        store.put_secret(&put, None).await.unwrap();
    }
    let versions = "select count(*) from engine_secret_version";
    folder.clock.set(folder.clock.now() + chrono::TimeDelta::hours(25));
    store.tend().await.unwrap();
    assert_eq!(count(&store, versions).await, 2);
    folder.clock.set(folder.clock.now() + chrono::TimeDelta::seconds(1));
    store.tend().await.unwrap();
    assert_eq!(count(&store, versions).await, 1);
}
