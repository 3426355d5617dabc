//! The handlers of this process.

use std::sync::Arc;

use actions_domain::action::HandlerId;
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::ports::handler::Handler;

use crate::app::App;
use crate::queries::QueryError;

/// Lists handlers by id.
pub async fn list_handlers(
    app: &App,
    caller: &AuthorizationContext,
) -> Result<Vec<Arc<dyn Handler>>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, caller.tenant).await?;
    Ok(app.handlers.list())
}

/// Finds a handler by its id or by a founding class name.
pub async fn find_handler(
    app: &App,
    caller: &AuthorizationContext,
    id: &str,
) -> Result<Arc<dyn Handler>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, caller.tenant).await?;
    let found = HandlerId::parse(id).ok().and_then(|id| app.handlers.find(&id));
    found.ok_or(QueryError::NotFound { what: "handler" })
}
