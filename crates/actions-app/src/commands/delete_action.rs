//! Deletes an action together with its subscriptions and its pause. What it did stays in the history.

use actions_domain::action::ActionName;
use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::store::StoreError;

use crate::app::App;
use crate::commands::save_action::current_definitions;
use crate::queries::definitions::shown_specification;

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
    app.require(caller, Permission::WriteDefinitions, request.tenant).await?;
    let DeleteAction { tenant, name, expected } = request;
    let known = current_definitions(app, tenant).await?;
    let before = known.as_ref().and_then(|known| known.action_named(name.as_str()));
    let expected = match (&before, expected) {
        (Some(before), Expected::Anything) => Expected::Version(before.version),
        (_, expected) => expected,
    };
    let subscriptions = before.as_ref().map_or(0, |before| {
        known.as_ref().map_or(0, |known| known.subscriptions_of(before.id).len())
    });
    let shown = before.as_ref().map(|before| {
        let mut shown = shown_specification(app, &before.spec);
        shown["subscription_count"] = subscriptions.into();
        shown
    });
    let act = app.act(caller, tenant, ActKind::ActionDeleted, format!("action:{name}")).from(shown);
    let definitions = &app.ports.definitions;
    let version = definitions.delete_action(tenant, &name, expected, Some(&act)).await?;
    app.catalogue.refresh(tenant, version).await?;
    Ok(())
}
