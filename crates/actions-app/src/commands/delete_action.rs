//! Deletes an action together with its subscriptions. What it did stays in the history.

use actions_domain::action::ActionName;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::ControlChange;

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
    let known = app.catalogue.find(tenant);
    let deleted = known.as_ref().and_then(|known| known.action_named(name.as_str()));
    let version = app.ports.definitions.delete_action(tenant, &name, expected).await?;
    app.catalogue.refresh(tenant, version).await?;
    // A pause of what is not there any more would only be in the way.
    if let (Some(known), Some(action)) = (known, deleted)
        && known.controls().paused_actions.contains_key(&action.id)
    {
        let change = ControlChange::ResumeAction(action.id);
        app.ports.definitions.change_controls(tenant, &change).await?;
    }
    Ok(())
}
