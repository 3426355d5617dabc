//! Tenants.

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::TenantId;
use actions_domain::tenant::Tenant;

use crate::app::App;
use crate::queries::QueryError;

/// Lists tenants, the platform's own first, as the store has them.
pub async fn list_tenants(
    app: &App,
    caller: &AuthorizationContext,
) -> Result<Vec<Tenant>, QueryError> {
    caller.require(Permission::ManageTenants, TenantId::ADMIN)?;
    Ok(app.ports.definitions.tenants().await?)
}

/// Finds a tenant by its slug or founding id.
pub async fn find_tenant(
    app: &App,
    caller: &AuthorizationContext,
    name: &str,
) -> Result<Tenant, QueryError> {
    let id = name.parse().ok();
    let mut tenants = list_tenants(app, caller).await?.into_iter();
    let found = tenants.find(|tenant| tenant.slug.as_str() == name || Some(tenant.uuid) == id);
    found.ok_or(QueryError::NotFound { what: "tenant" })
}
