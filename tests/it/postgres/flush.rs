//! The flush, seen from the database.

use std::collections::HashSet;

use actions_domain::event::Event;
use actions_domain::id::TenantId;
use actions_domain::ports::history::History;
use actions_domain::ports::store::{Store, StoreError};
use actions_domain::work::{Commit, Ingested, Part, Submitted};
use sqlx::Connection;

use super::fixture::{Database, connect, event_id, open, outsider, submission};

#[tokio::test]
async fn a_flush_leaves_no_row_version_behind() {
    let database = open().await;
    database.accept(Part(0)).await;
    let before = hot_rows(&database).await;

    for fin in 1..=3 {
        let item = database.accept(Part(0)).await;
        database.store.commit(database.finish(item, fin)).await.unwrap();
    }

    assert_eq!(hot_rows(&database).await, before);
}

/// Where the rows that every flush locks lie, and who wrote them.
async fn hot_rows(database: &Database) -> Vec<String> {
    sqlx::query_scalar(
        "select 'lease ' || part || ctid::text || xmin::text from engine.lease
         union all select 'tail ' || part || ctid::text || xmin::text from engine.tail
         union all select 'tenant ' || id || ctid::text || xmin::text from engine.tenant
         order by 1",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn the_text_of_an_event_is_kept_byte_for_byte() {
    let database = open().await;
    let (_, commit) = submission(Part(0), None);
    let event: Event = (**commit.submissions[0].ingests[0].event.as_ref().unwrap()).clone();
    database.store.commit(commit).await.unwrap();

    let found = database.store.find_event(TenantId::ADMIN, event.id).await.unwrap();

    assert_eq!(found.as_ref().map(|found| found.data.as_str()), Some(r#"{"order": 7.00}"#));
    assert_eq!(found, Some(event));
}

#[tokio::test]
async fn concurrent_flushes_number_one_log_without_gaps() {
    let database = open().await;
    let mut flushes = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let store = database.store.clone();
        flushes.spawn(async move {
            let (_, commit) = submission(Part(1), None);
            store.commit(commit).await.unwrap().first[0].1.0
        });
    }
    let numbers: HashSet<i64> = flushes.join_all().await.into_iter().collect();
    assert_eq!(numbers, (1..=40).collect());
}

#[tokio::test]
async fn of_two_flushes_with_one_key_the_second_finds_the_first() {
    let database = open().await;
    let other = connect(&database.url).await;
    let mut stored = 0;
    for round in 0..20 {
        let key = [round; 16];
        let (_, left) = submission(Part(0), Some(key));
        let (_, right) = submission(Part(1), Some(key));
        let (left, right) = tokio::join!(database.store.commit(left), other.commit(right));
        for receipt in [left.unwrap(), right.unwrap()] {
            let Submitted::Accepted(ingested) = &receipt.submissions[0] else { panic!("stale") };
            stored += usize::from(ingested[0] == Ingested::Stored);
        }
    }
    assert_eq!(stored, 20);
    assert_eq!(database.count("select count(*) from engine.event").await, 20);
    assert_eq!(database.count("select count(*) from engine.work").await, 20);
}

#[tokio::test]
async fn keys_of_yesterday_are_still_known() {
    let database = open().await;
    let (_, first) = submission(Part(0), Some([7; 16]));
    database.store.commit(first).await.unwrap();
    sqlx::query("update engine.dedupe set day = day - 1")
        .execute(database.store.pool())
        .await
        .unwrap();

    let (_, second) = submission(Part(0), Some([7; 16]));
    let receipt = database.store.commit(second).await.unwrap();

    let Submitted::Accepted(ingested) = &receipt.submissions[0] else { panic!("stale") };
    assert!(matches!(ingested[0], Ingested::Duplicate { .. }), "{ingested:?}");
}

#[tokio::test]
async fn a_key_holds_over_midnight() {
    const ADMIT: &str = "select (engine.admit_keys_v1(
        $1::timestamptz, '{1}', '{1}', array['\\x0707'::bytea], array[null::bytea],
        array[$2], '{0}'::int2[])).verdicts";
    let database = open().await;
    let (mut old, mut new) = (outsider(&database).await, outsider(&database).await);
    // A flush of yesterday that is still under way when the day changes.
    let mut yesterday = old.begin().await.unwrap();
    let first: Vec<i16> = sqlx::query_scalar(ADMIT)
        .bind("2026-03-01T23:59:59.9Z")
        .bind(event_id().0)
        .fetch_one(&mut *yesterday)
        .await
        .unwrap();

    let today = sqlx::query_scalar(ADMIT).bind("2026-03-02T00:00:02Z").bind(event_id().0);
    let (second, ()) = tokio::join!(today.fetch_one(&mut new), async {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        while database.count(waiting).await == 0 {}
        yesterday.commit().await.unwrap();
    });
    let second: Vec<i16> = second.unwrap();

    assert_eq!((first, second), (vec![0], vec![1]));

    // A key of the first minute is known for the rest of the day as well.
    let later = |at: &'static str, id| sqlx::query_scalar(ADMIT).bind(at).bind(id);
    let early: Vec<i16> =
        later("2026-03-03T00:00:30Z", event_id().0).fetch_one(&mut new).await.unwrap();
    let again: Vec<i16> =
        later("2026-03-03T12:00:00Z", event_id().0).fetch_one(&mut new).await.unwrap();
    assert_eq!((early, again), (vec![0], vec![1]));
    let forgotten: Vec<i16> =
        later("2026-03-05T12:00:00Z", event_id().0).fetch_one(&mut new).await.unwrap();
    assert_eq!(forgotten, [0]);
}

#[tokio::test]
async fn a_statement_that_waits_too_long_wrote_nothing_for_certain() {
    let database = open().await;
    let item = database.accept(Part(0)).await;
    let mut blocker = outsider(&database).await;
    let mut tx = blocker.begin().await.unwrap();
    sqlx::query("select from engine.lease for update").execute(&mut *tx).await.unwrap();

    let late = database.store.commit(database.finish(item, 1)).await;

    assert!(matches!(late, Err(StoreError::Unavailable { unknown: false, .. })), "{late:?}");
    tx.rollback().await.unwrap();
    assert_eq!(database.count("select count(*) from engine.execution").await, 0);
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_outcome_open() {
    let database = open().await;
    let item = database.accept(Part(0)).await;
    let mut blocker = outsider(&database).await;
    let mut tx = blocker.begin().await.unwrap();
    sqlx::query("select from engine.lease for update").execute(&mut *tx).await.unwrap();

    let (broken, ()) = tokio::join!(database.store.commit(database.finish(item, 1)), async {
        // Until the flush waits for the lock, then its server process ends.
        loop {
            let ended: i64 = sqlx::query_scalar(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&mut *tx)
            .await
            .unwrap();
            if ended > 0 {
                break;
            }
        }
    });

    assert!(matches!(broken, Err(StoreError::Unavailable { unknown: true, .. })), "{broken:?}");
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn data_that_no_row_can_hold_are_refused_with_a_reason() {
    let database = open().await;
    let (_, mut commit) = submission(Part(0), None);
    let ingest = &mut commit.submissions[0].ingests[0];
    let event = ingest.event.as_ref().unwrap();
    ingest.event =
        Some(std::sync::Arc::new(Event { source: "\0".to_owned(), ..(**event).clone() }));

    let refused = database.store.commit(commit).await;

    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    let nothing = Commit { submissions: Vec::new(), ..Commit::default() };
    assert!(database.store.commit(nothing).await.is_ok());
}
