//! Deletes an action together with its subscriptions and its pause. What it did stays in the history.

use actions_domain::action::ActionName;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::store::StoreError;

use crate::app::App;

pub struct DeleteAction {
    pub tenant: TenantId,
    pub name: ActionName,
    pub expected: Expected,
}

#[derive(Debug, thiserror::Error)]
pub enum DeleteActionError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Deletes an action. Executions that were accepted before still run, as they were accepted.
pub async fn delete_action(
    app: &App,
    caller: &AuthorizationContext,
    request: DeleteAction,
) -> Result<(), DeleteActionError> {
    caller.require(Permission::WriteDefinitions, request.tenant)?;
    let DeleteAction { tenant, name, expected } = request;
    let version = app.ports.definitions.delete_action(tenant, &name, expected).await?;
    app.catalogue.refresh(tenant, version).await?;
    Ok(())
}
