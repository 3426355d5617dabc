//! Connecting and migrating.

use actions_infra::postgres::{OpenError, Postgres, PostgresOptions};

use super::fixture::{connect, open, outsider, run_text};
use crate::support::postgres::fresh_database;

#[tokio::test]
async fn several_programs_may_migrate_at_once_and_again() {
    let url = fresh_database().await;
    let (left, right) = (connect(&url).await, connect(&url).await);

    let (first, second) = tokio::join!(left.migrate(), right.migrate());
    first.unwrap();
    second.unwrap();
    left.migrate().await.unwrap();

    left.require_schema().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_before_anything_is_written() {
    let database = open().await;
    sqlx::query(
        "insert into engine._sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'of the future', true, '', 0)",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    sqlx::query("delete from engine.tail").execute(database.store.pool()).await.unwrap();

    let refused = database.store.migrate().await;

    assert!(matches!(refused, Err(OpenError::NewerSchema { found: 9999, .. })), "{refused:?}");
    assert_eq!(database.count("select count(*) from engine.tail").await, 0);
    let required = database.store.require_schema().await;
    assert!(matches!(required, Err(OpenError::NewerSchema { .. })), "{required:?}");
}

#[tokio::test]
async fn an_empty_database_is_told_from_a_migrated_one() {
    let store = connect(&fresh_database().await).await;
    let required = store.require_schema().await;
    assert!(matches!(required, Err(OpenError::OlderSchema { found: 0, .. })), "{required:?}");
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_confirmed_is_refused() {
    let database = open().await;
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    let setting = format!("alter database {name} set synchronous_commit = off");
    run_text(&mut outsider(&database).await, setting).await;

    let refused = Postgres::connect(PostgresOptions::new(&database.url)).await;

    assert!(matches!(refused, Err(OpenError::NotDurable { .. })), "{refused:?}");
}

#[tokio::test]
async fn every_session_limits_how_long_it_waits() {
    let database = open().await;
    let settings: Vec<(String, String)> = sqlx::query_as(
        "select name, setting from pg_settings where name in (
            'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
            'tcp_keepalives_idle')
         order by name",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert_eq!(settings.len(), 4);
    for (name, setting) in settings {
        assert_ne!(setting, "0", "{name} is off");
    }
}

#[tokio::test]
async fn an_address_never_shows_its_password() {
    let options = PostgresOptions::new("postgres://me:hush@127.0.0.1/db");
    assert!(!format!("{options:?}").contains("hush"));
}
