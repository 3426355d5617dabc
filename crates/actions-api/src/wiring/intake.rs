//! Events from a transaction of the linking service, whichever store it uses.

use actions_domain::event::{Attributes, EventType};
use actions_domain::id::EventId;
use actions_domain::json::Json;
use actions_domain::tenant::TenantSlug;
use actions_infra::{postgres, sqlite};
use async_trait::async_trait;

/// Why an event was not left in a transaction. The transaction is the caller's to roll back.
#[derive(Debug, thiserror::Error)]
pub enum EmitInError {
    #[error("the event cannot be written")]
    Event(#[from] crate::library::EventError),
    #[error(transparent)]
    Sqlite(#[from] sqlite::EmitError),
    #[error(transparent)]
    Postgres(#[from] postgres::EmitError),
}

/// An event, ready to be left in a transaction.
#[derive(Debug, Clone)]
pub struct Leaving {
    pub(crate) tenant: TenantSlug,
    pub(crate) event_type: EventType,
    pub(crate) source: String,
    pub(crate) external_id: Option<String>,
    pub(crate) data: Json,
    pub(crate) attributes: Attributes,
}

/// A connection or transaction of sqlx to the engine's database.
#[async_trait]
pub trait UserTransaction: Send {
    /// Leaves the event in the intake, and answers the id that it will have. Nothing of the
    /// engine is locked.
    ///
    /// # Errors
    /// What the database says.
    async fn leave(&mut self, event: Leaving) -> Result<EventId, EmitInError>;
}

#[async_trait]
impl UserTransaction for sqlite::Connection {
    async fn leave(&mut self, event: Leaving) -> Result<EventId, EmitInError> {
        let emit = sqlite::Emit {
            event_type: event.event_type,
            data: event.data,
            source: Some(event.source),
            external_id: event.external_id,
            attributes: event.attributes,
        };
        Ok(sqlite::emit_in(self, &event.tenant, &emit).await?)
    }
}

#[async_trait]
impl UserTransaction for sqlite::UserTransaction<'_> {
    async fn leave(&mut self, event: Leaving) -> Result<EventId, EmitInError> {
        (**self).leave(event).await
    }
}

#[async_trait]
impl UserTransaction for postgres::UserConnection {
    async fn leave(&mut self, event: Leaving) -> Result<EventId, EmitInError> {
        let emit = postgres::Emit {
            event_type: event.event_type,
            data: event.data,
            source: Some(event.source),
            external_id: event.external_id,
            attributes: event.attributes,
        };
        Ok(postgres::emit_in(self, &event.tenant, &emit).await?)
    }
}

#[async_trait]
impl UserTransaction for postgres::UserTransaction<'_> {
    async fn leave(&mut self, event: Leaving) -> Result<EventId, EmitInError> {
        (**self).leave(event).await
    }
}
