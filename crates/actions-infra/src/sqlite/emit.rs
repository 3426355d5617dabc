//! Events from a service's own transaction: they happen when it commits, or not at all.

use actions_domain::event::EventType;
use actions_domain::json::Json;
use actions_domain::tenant::TenantSlug;
use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

/// An event to leave for the engine.
#[derive(Debug, Clone, Serialize)]
pub struct Emit<'a> {
    #[serde(skip)]
    pub tenant: &'a TenantSlug,
    #[serde(rename = "type")]
    pub event_type: &'a EventType,
    /// Where it happened: the service's name.
    pub source: &'a str,
    pub data: &'a Json,
}

/// Why an event was not left.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    #[error("there is no tenant {slug}")]
    NoTenant { slug: TenantSlug },
    #[error("the event cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("the intake cannot be written")]
    Database(#[from] sqlx::Error),
}

/// Leaves an event in the intake as part of the caller's transaction, and answers the number of
/// its row. The engine accepts it after that commit, in the order of commits. Nothing of the
/// engine is read or locked here but the tenant's name.
///
/// # Errors
/// [`EmitError::NoTenant`], or what SQLite says. The transaction is the caller's to roll back.
pub async fn emit_in(conn: &mut SqliteConnection, emit: &Emit<'_>) -> Result<i64, EmitError> {
    let body = serde_json::to_string(emit)?;
    let row = sqlx::query(include_str!("emit.sql"))
        .bind(emit.tenant.as_str())
        .bind(body)
        .fetch_optional(conn)
        .await?;
    let row = row.ok_or_else(|| EmitError::NoTenant { slug: emit.tenant.clone() })?;
    Ok(sqlx::Row::try_get(&row, 0)?)
}
