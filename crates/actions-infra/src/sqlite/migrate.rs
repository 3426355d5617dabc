//! Brings the schema up to date. Migrations are part of the program and only go forward.

use std::path::Path;

use actions_domain::Timestamp;
use actions_domain::id::TenantId;
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::TenantSlug;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool};
use sqlx::{Connection, Row};
use uuid::Uuid;

use super::error::{commit_error, store_error};
use super::record::micros;

/// All migrations, in order. The place in this list, from 1, is the number.
const MIGRATIONS: [(&str, &str); 27] = [
    ("create_engine", include_str!("../../../../schema/sqlite/0001_create_engine.sql")),
    ("create_partitions", include_str!("../../../../schema/sqlite/0002_create_partitions.sql")),
    (
        "create_flush_functions",
        include_str!("../../../../schema/sqlite/0003_create_flush_functions.sql"),
    ),
    (
        "create_lease_functions",
        include_str!("../../../../schema/sqlite/0004_create_lease_functions.sql"),
    ),
    (
        "create_definition_functions",
        include_str!("../../../../schema/sqlite/0005_create_definition_functions.sql"),
    ),
    (
        "create_tenant_schemas",
        include_str!("../../../../schema/sqlite/0006_create_tenant_schemas.sql"),
    ),
    ("create_permits", include_str!("../../../../schema/sqlite/0007_create_permits.sql")),
    ("keep_needed_events", include_str!("../../../../schema/sqlite/0008_keep_needed_events.sql")),
    ("add_node_vitals", include_str!("../../../../schema/sqlite/0009_add_node_vitals.sql")),
    ("create_schedules", include_str!("../../../../schema/sqlite/0010_create_schedules.sql")),
    ("create_reports", include_str!("../../../../schema/sqlite/0011_create_reports.sql")),
    ("create_pull_queue", include_str!("../../../../schema/sqlite/0012_create_pull_queue.sql")),
    ("count_by_key", include_str!("../../../../schema/sqlite/0013_count_by_key.sql")),
    ("claim_uniqueness", include_str!("../../../../schema/sqlite/0014_claim_uniqueness.sql")),
    ("create_bulks", include_str!("../../../../schema/sqlite/0015_create_bulks.sql")),
    ("add_retention", include_str!("../../../../schema/sqlite/0016_add_retention.sql")),
    ("gather_batches", include_str!("../../../../schema/sqlite/0017_gather_batches.sql")),
    (
        "inline_days_and_segments",
        include_str!("../../../../schema/sqlite/0018_inline_days_and_segments.sql"),
    ),
    ("create_api_keys", include_str!("../../../../schema/sqlite/0019_create_api_keys.sql")),
    (
        "flush_in_fewer_statements",
        include_str!("../../../../schema/sqlite/0020_flush_in_fewer_statements.sql"),
    ),
    ("create_audit", include_str!("../../../../schema/sqlite/0021_create_audit.sql")),
    ("create_secrets", include_str!("../../../../schema/sqlite/0022_create_secrets.sql")),
    ("guard_tenants", include_str!("../../../../schema/sqlite/0023_guard_tenants.sql")),
    ("count_usage", include_str!("../../../../schema/sqlite/0024_count_usage.sql")),
    ("delete_tenants", include_str!("../../../../schema/sqlite/0025_delete_tenants.sql")),
    ("create_accounts", include_str!("../../../../schema/sqlite/0026_create_accounts.sql")),
    ("create_runs", include_str!("../../../../schema/sqlite/0027_create_runs.sql")),
];

/// Why a schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer version of Actions has been there. Nothing was written.
    #[error(
        "the database has schema version {found}, and this version of Actions knows {known}; use a newer Actions or another database"
    )]
    Newer { found: i64, known: i64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks at a file without writing to it.
pub(super) async fn refuse_newer(path: &Path) -> Result<(), MigrateError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut conn = SqliteConnection::connect_with(&options).await.map_err(store_error)?;
    let found = stored_version(&mut conn).await?;
    conn.close().await.map_err(store_error)?;
    check(found)
}

/// The names of all steps of the schema, in order, and how many of them a file has. A file that
/// is not there has none, and stays away.
///
/// # Errors
/// When the file cannot be read.
pub async fn schema_steps(path: &Path) -> Result<(Vec<&'static str>, i64), MigrateError> {
    let names = MIGRATIONS.map(|(name, _)| name).to_vec();
    if !path.exists() {
        return Ok((names, 0));
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut conn = SqliteConnection::connect_with(&options).await.map_err(store_error)?;
    let found = stored_version(&mut conn).await?;
    conn.close().await.map_err(store_error)?;
    Ok((names, found))
}

/// Runs what is missing, all of it or nothing, and fills a new store.
pub(super) async fn migrate(
    writer: &SqlitePool,
    part_count: u16,
    now: Timestamp,
) -> Result<(), MigrateError> {
    let mut tx = writer.begin_with("begin immediate").await.map_err(store_error)?;
    // Read again: another process may have been here since.
    let found = stored_version(&mut tx).await?;
    check(found)?;
    if found == 0 {
        let text = "create table engine_schema (
                number integer primary key, name text not null, at integer not null
            ) strict";
        sqlx::query(text).execute(&mut *tx).await.map_err(store_error)?;
    }
    for (number, (name, text)) in (1_i64..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
        sqlx::raw_sql(text).execute(&mut *tx).await.map_err(store_error)?;
        sqlx::query("insert into engine_schema (number, name, at) values (?, ?, ?)")
            .bind(number)
            .bind(name)
            .bind(micros(now))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
    }
    if found == 0 {
        fill(&mut tx, part_count, now).await?;
    }
    tx.commit().await.map_err(commit_error)?;
    Ok(())
}

/// The newest migration that was run, or zero.
async fn stored_version(conn: &mut SqliteConnection) -> Result<i64, StoreError> {
    let text = "select count(*) from sqlite_schema where type = 'table' and name = 'engine_schema'";
    let exists: i64 = sqlx::query(text)
        .fetch_one(&mut *conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(store_error)?;
    if exists == 0 {
        return Ok(0);
    }
    sqlx::query("select coalesce(max(number), 0) from engine_schema")
        .fetch_one(conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(store_error)
}

fn check(found: i64) -> Result<(), MigrateError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known { Err(MigrateError::Newer { found, known }) } else { Ok(()) }
}

/// The partitions, whose number is fixed for good, and the platform's own tenant.
async fn fill(
    conn: &mut SqliteConnection,
    part_count: u16,
    now: Timestamp,
) -> Result<(), StoreError> {
    for part in 0..part_count.max(1) {
        for text in [
            "insert into engine_lease (part) values (?)",
            "insert into engine_tail (part) values (?)",
        ] {
            sqlx::query(text).bind(part).execute(&mut *conn).await.map_err(store_error)?;
        }
    }
    let text = "insert into engine_tenant (id, uuid, slug, name, created_at)
        values (?, ?, ?, 'Platform', ?)";
    sqlx::query(text)
        .bind(TenantId::ADMIN.0)
        .bind(Uuid::nil())
        .bind(TenantSlug::admin().as_str())
        .bind(micros(now))
        .execute(conn)
        .await
        .map_err(store_error)?;
    Ok(())
}
