//! Pauses a bulk, lets it go on, or ends it. A piece that is under way is finished.

use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::bulk::{Bulk, BulkChange, BulkRefusal};
use actions_domain::id::{BulkId, TenantId};
use actions_domain::ports::store::StoreError;

use crate::app::App;
use crate::commands::start_bulk::permission_for;

/// What is done to a bulk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkVerb {
    Pause,
    Resume,
    Cancel,
}

#[derive(Debug, thiserror::Error)]
pub enum ChangeBulkError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such bulk")]
    NotFound,
    #[error(transparent)]
    Ended(#[from] BulkRefusal),
    #[error("the bulk could not be changed")]
    Store(#[from] StoreError),
}

/// Changes a bulk. What is so already stays as it is.
pub async fn change_bulk(
    app: &App,
    caller: &AuthorizationContext,
    (tenant, id): (TenantId, BulkId),
    verb: BulkVerb,
) -> Result<Bulk, ChangeBulkError> {
    // Whoever may not see it is told nothing of it.
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let found = app.ports.bulks.find_bulk(tenant, id).await?;
    let found = found.ok_or(ChangeBulkError::NotFound)?;
    app.require(caller, permission_for(found.spec.operation), tenant).await?;
    let by = caller.actor.clone();
    let (kind, change) = match verb {
        BulkVerb::Pause => (ActKind::BulkPaused, BulkChange::Pause { by }),
        BulkVerb::Resume => (ActKind::BulkResumed, BulkChange::Resume { by }),
        BulkVerb::Cancel => (ActKind::BulkCancelled, BulkChange::Cancel { by }),
    };
    let now = app.ports.clock.now();
    let act = app.act(caller, tenant, kind, format!("bulk:{id}"));
    let step = app.ports.bulks.change_bulk(tenant, id, &change, now, Some(&act)).await?;
    let after = step.ok_or(ChangeBulkError::NotFound)?.after?;
    app.bulks_changed.notify_one();
    Ok(after)
}
