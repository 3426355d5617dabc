//! Events that are emitted inside a user's own transaction.

use actions_domain::event::{Attributes, EventType};
use actions_domain::id::EventId;
use actions_domain::json::Json;
use actions_domain::limits::EVENT_BYTES_MAX;
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::TenantSlug;
use serde::Serialize;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::error::store_error;
use super::record::{corrupt, to_text};

/// An event to emit.
#[derive(Debug, Clone)]
pub struct Emit {
    pub event_type: EventType,
    pub data: Json,
    /// Where it happened. `None`: `sqlite`.
    pub source: Option<String>,
    /// The caller's id for it: a second event with the same source and id is a repetition.
    pub external_id: Option<String>,
    pub attributes: Attributes,
}

impl Emit {
    pub fn new(event_type: EventType, data: Json) -> Self {
        Self {
            event_type,
            data,
            source: None,
            external_id: None,
            attributes: Attributes::default(),
        }
    }
}

/// Why nothing was emitted.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    #[error("there is no tenant {slug}")]
    NoTenant { slug: TenantSlug },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A row of the intake without its id.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    event_type: &'a EventType,
    source: &'a str,
    external_id: Option<&'a str>,
    data: &'a Json,
    attributes: &'a Attributes,
}

/// Emits an event in the caller's own transaction, and answers the id that it will have.
///
/// It exists if that transaction commits; then the engine picks it up within its next poll. The
/// transaction has SQLite's write lock from here on, as after any write.
///
/// # Errors
/// `NoTenant`; `Store` when the event is too large or the database cannot be written.
pub async fn emit_in(
    connection: &mut SqliteConnection,
    tenant: &TenantSlug,
    emit: &Emit,
) -> Result<EventId, EmitError> {
    let bytes = emit.data.as_str().len();
    if bytes > EVENT_BYTES_MAX {
        let reason = format!("an event has at most {EVENT_BYTES_MAX} bytes, not {bytes}");
        return Err(StoreError::Refused { reason }.into());
    }
    let body = Body {
        event_type: &emit.event_type,
        source: emit.source.as_deref().unwrap_or("sqlite"),
        external_id: emit.external_id.as_deref(),
        data: &emit.data,
        attributes: &emit.attributes,
    };
    let id: Option<String> = sqlx::query_scalar(include_str!("emit.sql"))
        .bind(tenant.as_str())
        .bind(to_text(&body)?)
        .fetch_optional(connection)
        .await
        .map_err(store_error)?;
    let id = id.ok_or_else(|| EmitError::NoTenant { slug: tenant.clone() })?;
    let id: Uuid = id.parse().map_err(|error| corrupt("id", error))?;
    Ok(EventId(id))
}
