//! Takes a stored event to be accepted once more.

use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::event::Event;
use actions_domain::id::{EventId, TenantId};

use crate::app::App;
use crate::queries::QueryError;
use crate::queries::events::find_event;

/// Finds an event that is to be submitted again, and writes down who wants that. Submitting it is
/// the caller's.
pub async fn take_for_replay(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: EventId,
) -> Result<Event, QueryError> {
    app.require(caller, Permission::SubmitEvent, tenant).await?;
    let event = find_event(app, caller, tenant, id).await?;
    let act = app.act(caller, tenant, ActKind::EventReplayed, format!("event:{id}"));
    app.ports.audit.record_act(&act).await?;
    Ok(event)
}
