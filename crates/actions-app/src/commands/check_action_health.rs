//! Asks an action's handler whether it has a chance, and writes the answer down. An action that
//! is unhealthy starts nothing more until a later check succeeds.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::action::{Action, Health};
use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::limits::ERROR_BYTES_MAX;
use actions_domain::ports::definitions::DefinitionsError;
use actions_domain::ports::store::StoreError;
use serde_json::json;

use crate::app::App;
use crate::commands::check_definition::reach_of;
use crate::config_secrets::resolve;

/// How long a handler may take for the answer.
const CHECK_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum CheckActionHealthError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such action")]
    NotFound,
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
    #[error("the definitions cannot be read")]
    Store(#[from] StoreError),
}

/// Checks an action's health now and answers the action with the result.
pub async fn check_action_health(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
) -> Result<Arc<Action>, CheckActionHealthError> {
    caller.require(Permission::WriteDefinitions, tenant)?;
    let action = app
        .catalogue
        .find(tenant)
        .and_then(|definitions| definitions.action_named(name))
        .ok_or(CheckActionHealthError::NotFound)?;
    let verdict = ask_handler(app, tenant, &action).await?;
    let health = Health {
        is_healthy: verdict.is_ok(),
        last_check_at: Some(app.ports.clock.now()),
        error: verdict.err().map(shortened),
    };
    let shown = |health: &Health| json!({ "is_healthy": health.is_healthy, "error": health.error });
    let act = app
        .act(caller, tenant, ActKind::ActionChecked, format!("action:{name}"))
        .from(shown(&action.health))
        .to(shown(&health));
    let definitions = &app.ports.definitions;
    let checked = definitions.set_health(tenant, action.id, &health, Some(&act)).await?;
    app.catalogue.refresh(tenant, checked.version).await?;
    Ok(Arc::new(checked))
}

async fn ask_handler(
    app: &App,
    tenant: TenantId,
    action: &Action,
) -> Result<Result<(), String>, StoreError> {
    let reach = reach_of(app, tenant);
    let Some(handler) = app.handlers.find_within(&action.spec.handler, &reach) else {
        return Ok(Err(format!("no handler {} is installed", action.spec.handler)));
    };
    let config = &action.spec.config;
    let config = match resolve(app, tenant, handler.descriptor(), config).await? {
        Ok(config) => config,
        Err(refused) => return Ok(Err(refused.fault.message)),
    };
    let verdict = tokio::select! {
        verdict = handler.check_health(&config) => verdict,
        () = app.ports.clock.sleep(CHECK_MAX) => {
            Err(format!("the health check did not end within {} s", CHECK_MAX.as_secs()))
        }
    };
    Ok(verdict.map_err(|error| config.masking().text(&error)))
}

fn shortened(mut error: String) -> String {
    if error.len() > ERROR_BYTES_MAX {
        let mut end = ERROR_BYTES_MAX;
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        error.truncate(end);
    }
    error
}
