//! A PostgreSQL database for each test that asks for one.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use uuid::Uuid;

/// Creates an empty database on the tests' server and answers its URL. The server goes away
/// after the tests, or is the developer's to tidy: the names begin with `actions_test_`.
///
/// # Panics
/// When there is no server: a store is never skipped silently.
pub async fn fresh_database() -> String {
    let admin = std::env::var("ACTIONS_TEST_POSTGRES")
        .expect("ACTIONS_TEST_POSTGRES is the admin URL of a PostgreSQL server: run ./scripts/test, which provides one");
    let options = PgConnectOptions::from_str(&admin)
        .expect("ACTIONS_TEST_POSTGRES is a URL like postgres://user:password@host:port/database");
    let mut connection = PgConnection::connect_with(&options)
        .await
        .expect("the server of ACTIONS_TEST_POSTGRES answers: run ./scripts/test, which provides one");
    let name = format!("actions_test_{}", Uuid::new_v4().simple());
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await
        .expect("the user of ACTIONS_TEST_POSTGRES may create databases");
    connection.close().await.expect("the connection closes");
    options.database(&name).to_url_lossy().to_string()
}
