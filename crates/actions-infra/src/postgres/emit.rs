//! Events that are emitted inside a user's own transaction.

use sqlx::PgConnection;
use uuid::Uuid;

use actions_domain::event::{Attributes, EventType};
use actions_domain::id::EventId;
use actions_domain::json::Json;
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::TenantSlug;

use super::error::write_error;
use super::record::to_text;

/// An event to emit.
#[derive(Debug, Clone)]
pub struct Emit {
    pub event_type: EventType,
    pub data: Json,
    /// Where it happened. `None`: the database role that the transaction runs as.
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
    /// The transaction cannot go on either.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Emits an event in the caller's own transaction, and answers the id that it will have.
///
/// It exists if that transaction commits; then the engine picks it up within its next poll.
/// Touches one table of the engine and none of its locks.
///
/// # Errors
/// `NoTenant`; `Store` when the database refuses or cannot be reached.
pub async fn emit_in(
    connection: &mut PgConnection,
    tenant: &TenantSlug,
    emit: &Emit,
) -> Result<EventId, EmitError> {
    let emitted: Result<Uuid, _> = sqlx::query_scalar(include_str!("emit.sql"))
        .bind(emit.event_type.as_str())
        .bind(emit.data.as_str())
        .bind(tenant.as_str())
        .bind(emit.source.as_deref())
        .bind(emit.external_id.as_deref())
        .bind(to_text(&emit.attributes)?)
        .fetch_one(connection)
        .await;
    match emitted {
        Ok(id) => Ok(EventId(id)),
        Err(error) if is_no_tenant(&error) => Err(EmitError::NoTenant { slug: tenant.clone() }),
        Err(error) => Err(write_error(error).into()),
    }
}

fn is_no_tenant(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|refusal| refusal.code());
    code.is_some_and(|code| code == "AX004")
}
