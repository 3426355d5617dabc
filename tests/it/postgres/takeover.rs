//! A takeover against a flush that is under way.

use actions_domain::ports::leases::Leases;
use actions_domain::ports::store::{Store, StoreError};
use actions_domain::work::{Part, Seq};
use sqlx::Connection;

use super::fixture::{connect, open, outsider};

#[tokio::test]
async fn a_takeover_waits_for_a_flush_and_sees_what_it_wrote() {
    let database = open().await;
    let item = database.accept(Part(0)).await;
    let right = connect(&database.url).await;
    let other = right.join("right").await.unwrap();

    // A flush of the old owner that has its locks and its rows, but no commit yet.
    let mut old_owner = outsider(&database).await;
    let mut flush = old_owner.begin().await.unwrap();
    sqlx::query("select from engine.lease where part = 0 for no key update")
        .execute(&mut *flush)
        .await
        .unwrap();
    sqlx::query(
        "insert into engine.execution (
            id, epoch, fin, defs, queued_at, ended_at, tenant, action, node, part, lane, status,
            attempt_count, attempts)
         values ($1, 1, 1, 0, now(), now(), 1, 1, $2, 0, 1, 2, 1, '[]')",
    )
    .bind(item.work.id.0)
    .bind(database.node.0)
    .execute(&mut *flush)
    .await
    .unwrap();

    sqlx::query("insert into engine.fin values (0, 1)").execute(&mut *flush).await.unwrap();

    let dead = [database.node];
    let (leases, ()) = tokio::join!(right.claim(other, &dead, 2), async {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *flush).await.unwrap() == 0 {}
        flush.commit().await.unwrap();
    });

    let leases = leases.unwrap();
    let taken = leases.iter().find(|lease| lease.part == Part(0)).unwrap();
    assert_eq!((taken.next_fin, taken.tail, taken.clean), (2, Seq(2), false));
    let window = right.window(Part(0), taken.low, 10, &[]).await.unwrap();
    assert!(window.items.is_empty(), "a finished item would run again: {window:?}");

    // And whatever the old owner sends now is refused whole.
    let late = database.store.commit(database.finish(item, 2)).await;
    assert!(matches!(&late, Err(StoreError::Fenced { lost }) if *lost == [Part(0)]), "{late:?}");
}

#[tokio::test]
async fn nodes_that_claim_at_once_share_the_partitions() {
    let database = open().await;
    database.store.leave(database.node).await.unwrap();
    let mut claims = tokio::task::JoinSet::new();
    for number in 0..4 {
        let store = database.store.clone();
        claims.spawn(async move {
            let node = store.join(&format!("node {number}")).await.unwrap();
            store.claim(node, &[], 1).await.unwrap()
        });
    }
    let mut parts: Vec<Part> =
        claims.join_all().await.into_iter().flatten().map(|lease| lease.part).collect();
    parts.sort_unstable();
    assert_eq!(parts, [Part(0), Part(1)]);
}
