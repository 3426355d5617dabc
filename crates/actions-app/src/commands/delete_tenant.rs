//! Deletes a tenant: it is gone at once, and what it had is removed by the node's `Eraser`.

use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::limits::REASON_BYTES_MAX;
use actions_domain::ports::deletions::BeginDeletionError;
use actions_domain::ports::hints::Hint;
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::TenantSlug;
use actions_domain::tenant::deletion::{DeletionRequest, TenantDeletion};
use serde_json::json;
use tracing::info;

use crate::app::App;

pub struct DeleteTenant {
    pub slug: TenantSlug,
    /// The slug once more: what is deleted does not come back.
    pub confirm: Option<String>,
    pub reason: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum DeleteTenantError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such tenant")]
    NotFound,
    #[error("the platform's own tenant cannot be deleted")]
    Platform,
    #[error("confirm has to repeat the slug {slug}: nothing of the tenant comes back")]
    Unconfirmed { slug: TenantSlug },
    #[error("suspend the tenant first: nothing of it may be going on when it is deleted")]
    NotSuspended,
    #[error("a reason has at most {REASON_BYTES_MAX} bytes")]
    Reason,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Deletes a suspended tenant. One that is being deleted, or was, is answered as it stands.
pub async fn delete_tenant(
    app: &App,
    caller: &AuthorizationContext,
    request: DeleteTenant,
) -> Result<TenantDeletion, DeleteTenantError> {
    caller.require(Permission::ManageTenants, TenantId::ADMIN)?;
    let DeleteTenant { slug, confirm, reason } = request;
    if slug == TenantSlug::admin() {
        return Err(DeleteTenantError::Platform);
    }
    if confirm.as_deref() != Some(slug.as_str()) {
        return Err(DeleteTenantError::Unconfirmed { slug });
    }
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(DeleteTenantError::Reason);
    }
    let subject = format!("tenant:{slug}");
    let act = app
        .act(caller, TenantId::ADMIN, ActKind::TenantDeletionBegun, subject)
        .to(json!({ "slug": slug }))
        .because(reason.as_deref());
    let at = app.ports.clock.now();
    let request = DeletionRequest { at, by: caller.actor.clone(), reason };
    let begun = app.ports.deletions.begin_deletion(&slug, &request, Some(&act)).await;
    let deletion = begun.map_err(|error| match error {
        BeginDeletionError::NotFound => DeleteTenantError::NotFound,
        BeginDeletionError::NotSuspended => DeleteTenantError::NotSuspended,
        BeginDeletionError::Store(error) => DeleteTenantError::Store(error),
    })?;
    info!(tenant = %deletion.slug, by = deletion.requested_by, "a tenant is being deleted");
    app.catalogue.forget(deletion.tenant);
    app.live.look_at_limits();
    app.api_keys.doubt();
    app.hints.tell(Hint::ApiKeys);
    app.deletions_begun.notify_one();
    Ok(deletion)
}
