//! Everything that answers something. One file per resource; each function asks for permission.

use std::sync::Arc;

use actions_domain::authorization::Forbidden;
use actions_domain::id::TenantId;
use actions_domain::ports::store::StoreError;

use crate::app::App;
use crate::catalogue::TenantDefinitions;
use crate::filter::FilterError;

pub mod accounts;
pub mod api_keys;
pub mod audit;
pub mod bulks;
pub mod controls;
pub mod dead_letters;
pub mod definitions;
pub mod events;
pub mod executions;
pub mod explain;
pub mod handlers;
pub mod limits;
pub mod metrics;
pub mod nodes;
pub mod run_timeline;
pub mod runs;
pub mod scan;
pub mod schedules;
pub mod secrets;
pub mod tenants;
pub mod timeline;
pub mod why;
pub mod workflows;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such {what}")]
    NotFound { what: &'static str },
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// The definitions of a tenant that this process knows.
fn definitions_of(app: &App, tenant: TenantId) -> Result<Arc<TenantDefinitions>, QueryError> {
    app.catalogue.find(tenant).ok_or(QueryError::NotFound { what: "tenant" })
}
