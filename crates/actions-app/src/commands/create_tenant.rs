//! Creates a tenant.

use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::limits::NAME_BYTES_MAX;
use actions_domain::ports::definitions::DefinitionsError;
use actions_domain::tenant::{Tenant, TenantSlug};
use serde_json::json;

use crate::app::App;
use crate::commands::save_action::new_uuid;

pub struct CreateTenant {
    pub slug: TenantSlug,
    /// For people. Defaults to the slug.
    pub name: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateTenantError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("a tenant's name has 1 to {max} bytes, not {bytes}", max = NAME_BYTES_MAX)]
    Name { bytes: usize },
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
}

/// Creates a tenant, which may be used at once.
pub async fn create_tenant(
    app: &App,
    caller: &AuthorizationContext,
    request: CreateTenant,
) -> Result<Tenant, CreateTenantError> {
    app.require(caller, Permission::ManageTenants, TenantId::ADMIN).await?;
    let name = request.name.unwrap_or_else(|| request.slug.to_string());
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(CreateTenantError::Name { bytes: name.len() });
    }
    let uuid = new_uuid(app);
    let subject = format!("tenant:{}", request.slug);
    let act = app
        .act(caller, TenantId::ADMIN, ActKind::TenantCreated, subject)
        .to(json!({ "id": uuid, "slug": request.slug, "name": name }));
    let definitions = &app.ports.definitions;
    let tenant = definitions.create_tenant(uuid, &request.slug, &name, Some(&act)).await?;
    app.catalogue.adopt(&tenant);
    Ok(tenant)
}
