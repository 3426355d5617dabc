//! The handlers of this process.

use std::sync::Arc;

use actions_domain::action::HandlerId;
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::TenantId;
use actions_domain::ports::handler::Handler;

use crate::app::App;
use crate::commands::check_definition::reach_of;
use crate::queries::QueryError;

/// Lists handlers by id.
pub fn list_handlers(
    app: &App,
    caller: &AuthorizationContext,
) -> Result<Vec<Arc<dyn Handler>>, QueryError> {
    caller.require(Permission::ReadDefinitions, caller.tenant)?;
    Ok(app.handlers.list())
}

/// Finds a handler by its id or by a founding class name, as a tenant has it.
pub fn find_handler(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: &str,
) -> Result<Arc<dyn Handler>, QueryError> {
    caller.require(Permission::ReadDefinitions, caller.tenant)?;
    let found = HandlerId::parse(id)
        .ok()
        .and_then(|id| app.handlers.find_within(&id, &reach_of(app, tenant)));
    found.ok_or(QueryError::NotFound { what: "handler" })
}
