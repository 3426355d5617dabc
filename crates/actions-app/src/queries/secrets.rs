//! Secrets, never their texts; and the master keys that they are in the care of.

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::TenantId;
use actions_domain::ports::store::StoreError;
use actions_domain::secret::{MasterKeyId, Secret, SecretName, references};
use tracing::warn;

use crate::app::App;
use crate::commands::rewrap_secrets;
use crate::queries::scan::Page;
use crate::queries::{QueryError, definitions_of};

/// A master key that is here, or that something was wrapped with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKeyUse {
    pub id: MasterKeyId,
    /// Data keys that it has wrapped.
    pub wrapped: u64,
    /// This process can unwrap with it.
    pub is_here: bool,
    /// It wraps what is stored now.
    pub is_current: bool,
}

/// Lists the secrets of a tenant, by name.
pub async fn list_secrets(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<Secret, String>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let all = app.ports.secrets.secrets(tenant).await?.into_iter();
    let mut rest = all.filter(|secret| after.is_none_or(|after| secret.name.as_str() > after));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let items: Vec<_> = rest.by_ref().take(limit).collect();
    let last = items.last().map(|secret| secret.name.to_string());
    let next = rest.next().and(last);
    Ok(Page { items, next })
}

/// Finds what may be told of a secret.
pub async fn find_secret(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &SecretName,
) -> Result<Secret, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let found = app.ports.secrets.find_secrets(tenant, std::slice::from_ref(name)).await?.pop();
    Ok(found.ok_or(QueryError::NotFound { what: "secret" })?.secret)
}

/// The actions whose configs name a secret, by name.
pub async fn users_of_secret(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &SecretName,
) -> Result<Vec<String>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let mut actions = definitions_of(app, tenant)?.actions();
    actions.retain(|action| {
        let named = references(&action.spec.config).into_iter();
        named.flat_map(|(_, found)| found.unwrap_or_default()).any(|found| found.name == *name)
    });
    Ok(actions.iter().map(|action| action.spec.name.to_string()).collect())
}

/// Lists the master keys: first those of this process in its order, then those that are missing.
pub async fn list_master_keys(
    app: &App,
    caller: &AuthorizationContext,
) -> Result<Vec<MasterKeyUse>, QueryError> {
    app.require(caller, Permission::ManageTenants, TenantId::ADMIN).await?;
    Ok(master_keys(app).await?)
}

async fn master_keys(app: &App) -> Result<Vec<MasterKeyUse>, StoreError> {
    let here = app.ports.vault.master_keys();
    let counts = app.ports.secrets.wrapped_counts().await?;
    if let Some(current) = here.first() {
        rewrap_secrets::left(&counts, current);
    }
    let count =
        |id: &MasterKeyId| counts.iter().find(|(key, _)| key == id).map_or(0, |(_, count)| *count);
    let known = here.iter().enumerate().map(|(place, id)| MasterKeyUse {
        id: id.clone(),
        wrapped: count(id),
        is_here: true,
        is_current: place == 0,
    });
    let gone = counts.iter().filter(|(id, _)| !here.contains(id));
    let gone = gone.map(|(id, wrapped)| MasterKeyUse {
        id: id.clone(),
        wrapped: *wrapped,
        is_here: false,
        is_current: false,
    });
    Ok(known.chain(gone).collect())
}

/// Says once at the start which secrets this process cannot open.
pub async fn warn_of_missing_keys(app: &App) {
    let Ok(keys) = master_keys(app).await else { return };
    for MasterKeyUse { id, wrapped, .. } in keys.iter().filter(|key| !key.is_here) {
        warn!(
            key = %id, secrets = wrapped,
            "a master key is missing: what it has wrapped cannot be opened here; add it to ACTIONS_MASTER_KEY"
        );
    }
}
