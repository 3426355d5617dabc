//! What operators have set for a tenant beside its definitions.

use std::sync::Arc;

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::TenantId;
use actions_domain::tenant::Controls;

use crate::app::App;
use crate::queries::QueryError;

/// Reads a tenant's limits and pauses.
pub async fn controls(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
) -> Result<Arc<Controls>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let known = app.catalogue.find(tenant);
    known.map(|known| known.controls()).ok_or(QueryError::NotFound { what: "tenant" })
}
