//! Which connections do what, and what every session starts with.

use std::collections::BTreeMap;

use actions_domain::id::TenantId;
use actions_domain::ports::history::History;
use actions_domain::ports::leases::{Leases, Vitals};
use actions_domain::ports::store::Store;
use actions_domain::work::Part;
use actions_infra::postgres::{Postgres, PostgresOptions};
use sqlx::Connection;

use super::fixture::{and_submit, connect, open, outsider, run_text, submission};

#[tokio::test]
async fn slow_readers_of_history_hold_up_no_beat_and_no_commit() {
    const READERS: u32 = 3;
    let database = open().await;
    let (item, next) = (database.accept(Part(0)).await, database.accept(Part(1)).await);
    let options =
        PostgresOptions { connections_max: READERS, ..PostgresOptions::new(&database.url) };
    let store = Postgres::connect(options).await.unwrap();
    let mut somebody = outsider(&database).await;
    let mut table = somebody.begin().await.unwrap();
    sqlx::query("lock table engine.queue_metric in access exclusive mode")
        .execute(&mut *table)
        .await
        .unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let store = store.clone();
        readers.spawn(async move { store.queue_metrics(TenantId::ADMIN, 10).await });
    }
    database.until_waiting(i64::from(READERS)).await;

    let beat = store.beat(database.node, &Vitals::default()).await;
    let settled = store.commit(database.finish(item, 1)).await;
    let accepted = store.commit(submission(Part(0), None).1).await;
    let mixed = store.commit(and_submit(database.finish(next, 1), Part(1))).await;
    table.rollback().await.unwrap();

    beat.unwrap();
    settled.unwrap();
    accepted.unwrap();
    mixed.unwrap();
    for read in readers.join_all().await {
        read.unwrap();
    }
}

#[tokio::test]
async fn flushes_that_take_long_hold_up_no_beat() {
    const FLUSHES: u32 = 8;
    let database = open().await;
    let store = connect(&database.url).await;
    let mut somebody = outsider(&database).await;
    let mut table = somebody.begin().await.unwrap();
    sqlx::query("lock table engine.work in access exclusive mode")
        .execute(&mut *table)
        .await
        .unwrap();
    let mut flushes = tokio::task::JoinSet::new();
    for _ in 0..FLUSHES {
        let store = store.clone();
        flushes.spawn(async move { store.commit(submission(Part(0), None).1).await });
    }
    database.until_waiting(1).await;

    let beat = store.beat(database.node, &Vitals::default()).await;
    table.rollback().await.unwrap();

    beat.unwrap();
    flushes.join_all().await;
}

/// Looked at from inside a beat and from inside a flush, whichever connections they take.
#[tokio::test]
async fn every_session_that_writes_is_bounded_and_reads_what_is_committed() {
    let database = open().await;
    let mut somebody = outsider(&database).await;
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&mut somebody).await.unwrap();
    run_text(
        &mut somebody,
        format!(
            "alter database {name} set default_transaction_isolation = 'serializable';
             create table seen (place text, name text, setting text);
             create function look() returns trigger language plpgsql as $$ begin
                 insert into seen select tg_table_name, name, setting from pg_settings;
                 return null;
             end $$;
             create trigger look after update on engine.node execute function look();
             create trigger look after insert on engine.work execute function look();
             create trigger look after insert on engine.execution execute function look()"
        ),
    )
    .await;
    let store = connect(&database.url).await;
    store.beat(database.node, &Vitals::default()).await.unwrap();
    let item = database.accept(Part(0)).await;
    store.commit(submission(Part(1), None).1).await.unwrap();
    store.commit(database.finish(item, 1)).await.unwrap();

    for place in ["node", "work", "execution"] {
        // The last one in each place is of the store that was opened just now.
        let settings: BTreeMap<String, String> = sqlx::query_as::<_, (String, String)>(
            "select name, setting from seen where place = $1 order by ctid",
        )
        .bind(place)
        .fetch_all(&mut somebody)
        .await
        .unwrap()
        .into_iter()
        .collect();
        for bounded in [
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "tcp_keepalives_idle",
            "tcp_user_timeout",
        ] {
            assert_ne!(settings[bounded], "0", "{bounded} is off at {place}");
        }
        assert_eq!(settings["transaction_isolation"], "read committed", "at {place}");
    }
}
