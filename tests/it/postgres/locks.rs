//! What a flush locks, in which order, and who waits for it.
//!
//! Somebody else holds one lock, and the test looks at who waits behind it. Nothing here depends
//! on who is faster.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::gathering::Gathering;
use actions_domain::id::TenantId;
use actions_domain::ports::leases::Leases;
use actions_domain::ports::store::{Store, StoreError};
use actions_domain::terms::Terms;
use actions_domain::work::{
    Commit, Home, Ingested, Item, Part, Receipt, Seq, Submission, Submitted, Work,
};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Postgres, Transaction};
use tokio::task::JoinHandle;

use super::fixture::{Database, and_submit, connect, event_id, open, outsider, submission};

const LEASES: &str = "select from engine.lease for update";
const FIRST_LEASE: &str = "select from engine.lease where part = 0 for update";
const TAILS: &str = "select from engine.tail for update";
const FIRST_TAIL: &str = "select from engine.tail where part = 0 for update";

/// A transaction of somebody else that holds what a statement locks.
async fn holding<'a>(
    connection: &'a mut PgConnection,
    statement: &'static str,
) -> Transaction<'a, Postgres> {
    let mut tx = connection.begin().await.unwrap();
    sqlx::query(statement).execute(&mut *tx).await.unwrap();
    tx
}

fn commit(database: &Database, batch: Commit) -> JoinHandle<Result<Receipt, StoreError>> {
    let store = database.store.clone();
    tokio::spawn(async move { store.commit(batch).await })
}

/// Events with one work each, in these partitions and in this order, with these keys.
fn jobs(places: &[(Part, Option<[u8; 16]>)]) -> Commit {
    let ingests = places.iter().map(|(part, key)| {
        let (_, mut commit) = submission(*part, *key);
        commit.submissions.remove(0).ingests.remove(0)
    });
    let submission = Submission::new(TenantId::ADMIN, None, ingests.collect());
    Commit { submissions: vec![submission], ..Commit::default() }
}

fn outcomes(receipt: &Receipt) -> Vec<Ingested> {
    let [Submitted::Accepted(ingested)] = receipt.submissions.as_slice() else {
        panic!("expected one accepted submission, not {receipt:?}")
    };
    ingested.clone()
}

#[tokio::test]
async fn a_flush_is_one_statement_in_autocommit() {
    let database = open().await;
    // What a session has sent last. After a transaction that would be its `commit`.
    let last = async || -> Vec<String> {
        sqlx::query_scalar(
            "select query from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid() and state = 'idle'
               and query ~ 'engine.(admit|settle|enqueue)_v1'",
        )
        .fetch_all(database.store.pool())
        .await
        .unwrap()
    };
    let has = |statement: &str, functions: [bool; 3]| {
        let found =
            ["admit", "settle", "enqueue"].map(|it| statement.contains(&format!("{it}_v1")));
        found == functions
    };

    let item = database.accept(Part(0)).await;
    let sent = last().await;
    assert!(sent.len() == 1 && has(&sent[0], [true, false, true]), "{sent:?}");

    let next = database.accept(Part(0)).await;
    database.store.commit(database.finish(item, 1)).await.unwrap();
    let sent = last().await;
    assert!(sent.iter().any(|sent| has(sent, [false, true, false])), "{sent:?}");

    database.store.commit(and_submit(database.finish(next, 2), Part(1))).await.unwrap();
    let sent = last().await;
    assert!(sent.iter().any(|sent| has(sent, [true, true, true])), "{sent:?}");
}

#[tokio::test]
async fn a_flush_holds_its_leases_until_its_end_and_a_takeover_waits() {
    let database = open().await;
    let item = database.accept(Part(0)).await;
    let right = connect(&database.url).await;
    let other = right.join("right").await.unwrap();
    let mut somebody = outsider(&database).await;
    let tails = holding(&mut somebody, TAILS).await;

    // It has passed its fence, and has not written into the log yet.
    let flush = commit(&database, and_submit(database.finish(item, 1), Part(0)));
    database.until_waiting(1).await;
    let (taker, victim) = (right.clone(), database.node);
    let claim = tokio::spawn(async move { taker.claim(other, &[victim], 2).await });
    database.until_waiting(2).await;
    tails.rollback().await.unwrap();

    flush.await.unwrap().unwrap();
    let leases = claim.await.unwrap().unwrap();
    assert_eq!((leases[0].part, leases[0].next_fin), (Part(0), 2));
    let window = right.window(Part(0), leases[0].low, 10, &[]).await.unwrap();
    assert_eq!(window.items.len(), 1, "the finished one is not there: {window:?}");
}

#[tokio::test]
async fn a_flush_takes_its_keys_before_its_leases() {
    let database = open().await;
    let item = database.accept(Part(0)).await;
    let mut somebody = outsider(&database).await;
    let leases = holding(&mut somebody, LEASES).await;

    let (_, keyed) = submission(Part(0), Some([7; 16]));
    let settled = database.finish(item, 1);
    let first = commit(&database, Commit { submissions: keyed.submissions, ..settled });
    database.until_waiting(1).await;
    let second = commit(&database, jobs(&[(Part(0), Some([7; 16]))]));
    database.until_waiting(2).await;
    leases.rollback().await.unwrap();

    assert_eq!(outcomes(&first.await.unwrap().unwrap()), [Ingested::Stored]);
    let second = outcomes(&second.await.unwrap().unwrap());
    assert!(matches!(second[..], [Ingested::Duplicate { .. }]), "{second:?}");
}

#[tokio::test]
async fn who_waits_for_a_key_holds_no_later_one() {
    let database = open().await;
    let mut somebody = outsider(&database).await;
    let mut low_key = somebody.begin().await.unwrap();
    sqlx::query(
        "insert into engine.dedupe (day, tenant, key, subject)
         select engine.day_of(clock_timestamp()) + day, 1, $1, $2
         from generate_series(-1, 0) as day",
    )
    .bind(&[1_u8; 16][..])
    .bind(event_id().0)
    .execute(&mut *low_key)
    .await
    .unwrap();

    let waiting = commit(&database, jobs(&[(Part(0), Some([2; 16])), (Part(0), Some([1; 16]))]));
    database.until_waiting(1).await;
    let free = database.store.commit(jobs(&[(Part(0), Some([2; 16]))])).await;
    low_key.rollback().await.unwrap();

    assert_eq!(outcomes(&free.unwrap()), [Ingested::Stored]);
    let waited = outcomes(&waiting.await.unwrap().unwrap());
    assert!(matches!(waited[..], [Ingested::Duplicate { .. }, Ingested::Stored]), "{waited:?}");
}

#[tokio::test]
async fn who_waits_for_a_lease_holds_no_later_one() {
    let database = open().await;
    let (low, high) = (database.accept(Part(0)).await, database.accept(Part(1)).await);
    let next = database.accept(Part(1)).await;
    let mut somebody = outsider(&database).await;
    let first_lease = holding(&mut somebody, FIRST_LEASE).await;

    let (mut both, other) = (database.finish(high, 1), database.finish(low, 1));
    both.fences.extend(other.fences);
    both.finishes.extend(other.finishes);
    let waiting = commit(&database, both);
    database.until_waiting(1).await;
    let free = database.store.commit(database.finish(next, 2)).await;
    first_lease.rollback().await.unwrap();

    free.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(database.count("select count(*) from engine.execution").await, 3);
}

#[tokio::test]
async fn who_waits_for_a_log_holds_no_later_one() {
    let database = open().await;
    let mut somebody = outsider(&database).await;
    let first_tail = holding(&mut somebody, FIRST_TAIL).await;

    let waiting = commit(&database, jobs(&[(Part(1), None), (Part(0), None)]));
    database.until_waiting(1).await;
    let free = database.store.commit(jobs(&[(Part(1), None)])).await;
    first_tail.rollback().await.unwrap();

    free.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(database.count("select count(*) from engine.work").await, 3);
}

#[tokio::test]
async fn a_number_is_looked_for_after_the_wait_for_its_log() {
    let database = open().await;
    // The log has entered its segment, so that nothing is left to write in its end.
    database.accept(Part(0)).await;
    let mut somebody = outsider(&database).await;
    let mut tails = holding(&mut somebody, TAILS).await;

    let waiting = commit(&database, jobs(&[(Part(0), None)]));
    database.until_waiting(1).await;
    sqlx::query(
        "insert into engine.work (
            seq, defs, queued_at, seg, tenant, action, part, lane, mode, depth, id)
         values (2, 0, now(), engine.segment_of(clock_timestamp()), 1, 1, 0, 2, null, 0, $1)",
    )
    .bind(event_id().0)
    .execute(&mut *tails)
    .await
    .unwrap();
    tails.commit().await.unwrap();

    let receipt = waiting.await.unwrap().unwrap();
    assert_eq!(receipt.first, [(Part(0), Seq(3))]);
}

#[tokio::test]
async fn a_pause_begins_when_it_is_written_and_not_when_the_flush_began_to_wait() {
    const PAUSE: Duration = Duration::from_secs(30);
    let database = open().await;
    let item = database.accept(Part(0)).await;
    let mut somebody = outsider(&database).await;
    let mut leases = holding(&mut somebody, LEASES).await;
    sqlx::query(TAILS).execute(&mut *leases).await.unwrap();

    let retry = commit(&database, database.retry(item, PAUSE));
    let mut delayed = jobs(&[(Part(0), None)]);
    let work = &mut delayed.submissions[0].ingests[0].works[0].1;
    *work = Arc::new(Work { delay: Some(PAUSE), ..(**work).clone() });
    let delayed = commit(&database, delayed);
    database.until_waiting(2).await;
    let freed_at: Timestamp =
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut *leases).await.unwrap();
    leases.rollback().await.unwrap();
    retry.await.unwrap().unwrap();
    delayed.await.unwrap().unwrap();

    let due: Vec<Timestamp> = sqlx::query_scalar("select due from engine.later")
        .fetch_all(database.store.pool())
        .await
        .unwrap();
    assert_eq!(due.len(), 2);
    for due in due {
        assert!(due - freed_at >= chrono::TimeDelta::from_std(PAUSE).unwrap(), "{due} {freed_at}");
    }
}

#[tokio::test]
async fn a_low_mark_that_has_not_moved_writes_nothing() {
    let database = open().await;
    let low = [(database.fence(Part(0)), Seq(2))];
    database.store.note_low(database.node, &low).await.unwrap();
    let version = "select xmin::text::int8 from engine.lease where part = 0";
    let before = database.count(version).await;

    database.store.note_low(database.node, &low).await.unwrap();

    assert_eq!(database.count(version).await, before);
}

/// A job that gathers with all others like it.
fn gathering() -> (Item, Commit) {
    let (item, mut commit) = submission(Part(0), None);
    let gathering = Some(Gathering { key: Some([7; 16]), size_max: 100 });
    let terms = Terms { gathering, ..Terms::default() }.unless_empty();
    let delay = Some(Duration::from_secs(20));
    let work = Arc::new(Work { terms, delay, ..(*item.work).clone() });
    commit.submissions[0].ingests[0].works = vec![(Part(0), Arc::clone(&work))];
    (Item { work, home: Home::Later, ..item }, commit)
}

async fn member_count(database: &Database, head: &Item) -> usize {
    database.store.members(head.work.id).await.unwrap().len()
}

#[tokio::test]
async fn whoever_closes_a_batch_waits_for_whoever_joins_it() {
    let database = open().await;
    let (head, first) = gathering();
    database.store.commit(first).await.unwrap();
    let mut somebody = outsider(&database).await;
    let tails = holding(&mut somebody, TAILS).await;

    // It has joined, and waits for the place of another work.
    let (_, mut joining) = gathering();
    joining.submissions[0].ingests.extend(jobs(&[(Part(0), None)]).submissions.remove(0).ingests);
    let joining = commit(&database, joining);
    database.until_waiting(1).await;
    let fences = vec![database.fence(Part(0))];
    let marks = vec![head.clone()];
    let node = Some(database.node);
    let closing = commit(&database, Commit { node, fences, marks, ..Commit::default() });
    database.until_waiting(2).await;
    assert_eq!(member_count(&database, &head).await, 0, "it is not committed yet");
    tails.rollback().await.unwrap();

    assert_eq!(joining.await.unwrap().unwrap().yielded[0].to, head.work.id);
    closing.await.unwrap().unwrap();
    assert_eq!(member_count(&database, &head).await, 1);
}

#[tokio::test]
async fn whoever_joins_a_batch_waits_for_whoever_closes_it() {
    let database = open().await;
    let (head, first) = gathering();
    database.store.commit(first).await.unwrap();
    let mut somebody = outsider(&database).await;
    let leases = holding(&mut somebody, LEASES).await;

    // It has closed the batch, and waits for its fence.
    let fences = vec![database.fence(Part(0))];
    let marks = vec![head.clone()];
    let node = Some(database.node);
    let closing = commit(&database, Commit { node, fences, marks, ..Commit::default() });
    database.until_waiting(1).await;
    let (next, late) = gathering();
    let late = commit(&database, late);
    database.until_waiting(2).await;
    leases.rollback().await.unwrap();

    closing.await.unwrap().unwrap();
    assert_eq!(late.await.unwrap().unwrap().yielded, [], "it begins the next batch");
    assert_eq!(member_count(&database, &head).await, 0);
    let (_, another) = gathering();
    let joined = database.store.commit(another).await.unwrap().yielded;
    assert_eq!(joined[0].to, next.work.id);
}
