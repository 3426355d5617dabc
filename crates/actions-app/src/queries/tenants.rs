//! Tenants.

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::TenantId;
use actions_domain::tenant::deletion::TenantDeletion;
use actions_domain::tenant::{Tenant, TenantSlug};

use crate::app::App;
use crate::queries::QueryError;
use crate::queries::scan::Page;

/// Lists tenants, the platform's own first, as the store has them. Whoever matches events knows
/// them all, so only the answer is a page.
pub async fn list_tenants(
    app: &App,
    caller: &AuthorizationContext,
    after: Option<i32>,
    limit: u32,
) -> Result<Page<Tenant, i32>, QueryError> {
    let tenants = all(app, caller).await?.into_iter();
    let mut rest = tenants.filter(|tenant| after.is_none_or(|after| tenant.id.0 > after));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let items: Vec<_> = rest.by_ref().take(limit).collect();
    let last = items.last().map(|tenant| tenant.id.0);
    let next = rest.next().and(last);
    Ok(Page { items, next })
}

async fn all(app: &App, caller: &AuthorizationContext) -> Result<Vec<Tenant>, QueryError> {
    caller.require(Permission::ManageTenants, TenantId::ADMIN)?;
    let mut tenants = app.ports.definitions.tenants().await?;
    tenants.sort_by_key(|tenant| tenant.id);
    Ok(tenants)
}

/// Finds a tenant by its slug or founding id.
pub async fn find_tenant(
    app: &App,
    caller: &AuthorizationContext,
    name: &str,
) -> Result<Tenant, QueryError> {
    let id = name.parse().ok();
    let mut tenants = all(app, caller).await?.into_iter();
    let found = tenants.find(|tenant| tenant.slug.as_str() == name || Some(tenant.uuid) == id);
    found.ok_or(QueryError::NotFound { what: "tenant" })
}

/// Finds a tenant that is being deleted, or that was, by its slug.
pub async fn find_deletion(
    app: &App,
    caller: &AuthorizationContext,
    slug: &str,
) -> Result<TenantDeletion, QueryError> {
    caller.require(Permission::ManageTenants, TenantId::ADMIN)?;
    let missing = QueryError::NotFound { what: "deleted tenant" };
    let Ok(slug) = TenantSlug::parse(slug) else { return Err(missing) };
    app.ports.deletions.find_deletion(&slug).await?.ok_or(missing)
}
