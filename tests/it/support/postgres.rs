//! A PostgreSQL database for each test that asks for one.

use std::str::FromStr;

use actions_domain::id::EventId;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::dice::Dice;
use actions_infra::system::{SystemClock, SystemDice};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

/// Creates an empty database on the tests' server and answers its URL. The server goes away
/// after the tests, or is the developer's to tidy: the names begin with `actions_test_`.
///
/// # Panics
/// When there is no server: a store is never skipped silently.
pub(crate) async fn fresh_database() -> String {
    create_database("template1").await
}

/// Copies a database of the tests' server that nobody is connected to, and answers the copy's
/// URL.
pub(crate) async fn copy_of(url: &str) -> String {
    let original = PgConnectOptions::from_str(url).expect("fresh_database answered this URL");
    create_database(original.get_database().expect("its URL names the database")).await
}

async fn create_database(template: &str) -> String {
    let mut connection = PgConnection::connect_with(&server())
        .await
        .expect("the server of ACTIONS_TEST_POSTGRES answers; ./scripts/test provides one");
    let name = EventId::mint(SystemClock.now(), SystemDice.bytes()).0.simple();
    let name = format!("actions_test_{name}");
    let text = sqlx::AssertSqlSafe(format!("create database {name} template {template}"));
    sqlx::raw_sql(text)
        .execute(&mut connection)
        .await
        .expect("the user of ACTIONS_TEST_POSTGRES may create databases");
    connection.close().await.expect("the connection closes");
    server().database(&name).to_url_lossy().to_string()
}

#[expect(clippy::disallowed_methods, reason = "the test program has no configuration")]
fn server() -> PgConnectOptions {
    let admin = std::env::var("ACTIONS_TEST_POSTGRES").expect(
        "ACTIONS_TEST_POSTGRES is the admin URL of a PostgreSQL server; run ./scripts/test, which provides one",
    );
    PgConnectOptions::from_str(&admin)
        .expect("ACTIONS_TEST_POSTGRES is a URL like postgres://user:password@host:port/database")
}
