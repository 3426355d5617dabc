//! API keys, never their tokens.

use actions_domain::api_key::ApiKey;
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::{ApiKeyId, TenantId};

use crate::app::App;
use crate::queries::QueryError;
use crate::queries::scan::Page;

/// Lists the keys of a tenant, oldest first, with those that hold no more.
pub async fn list_api_keys(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    after: Option<ApiKeyId>,
    limit: u32,
) -> Result<Page<ApiKey, ApiKeyId>, QueryError> {
    app.require(caller, Permission::ManageApiKeys, tenant).await?;
    let all = app.ports.api_keys.api_keys(tenant).await?.into_iter();
    let mut rest = all.filter(|key| after.is_none_or(|after| key.id > after));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let items: Vec<_> = rest.by_ref().take(limit).collect();
    let last = items.last().map(|key| key.id);
    let next = rest.next().and(last);
    Ok(Page { items, next })
}

/// Finds a key by its id, or a living one by its name.
pub async fn find_api_key(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
) -> Result<ApiKey, QueryError> {
    app.require(caller, Permission::ManageApiKeys, tenant).await?;
    let (id, now) = (name.parse::<ApiKeyId>().ok(), app.ports.clock.now());
    let is_meant = |key: &ApiKey| match id {
        Some(id) => key.id == id,
        None => key.name.as_str() == name && key.is_living(now),
    };
    let mut all = app.ports.api_keys.api_keys(tenant).await?.into_iter();
    all.find(is_meant).ok_or(QueryError::NotFound { what: "API key" })
}
