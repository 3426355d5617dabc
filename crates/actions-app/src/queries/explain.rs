//! Why an event leads to which actions: for stored events and for samples, told by the code
//! that matches.

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::event::Event;
use actions_domain::id::{EventId, TenantId};
use actions_domain::matching::explanation::Explanation;

use crate::app::App;
use crate::commands::submit_event::NewEvent;
use crate::queries::events::find_event;
use crate::queries::{QueryError, definitions_of};

/// The ways from one event to actions, under the definitions of this moment.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The definitions' version that the answer holds for, or a later one.
    pub defs: i64,
    pub event: Event,
    /// Those that matched first.
    pub ways: Vec<Explanation>,
}

impl Explained {
    /// Names of the actions that would run, each once, in their order.
    pub fn actions(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for way in self.ways.iter().filter(|way| way.matched) {
            if !names.contains(&way.action.as_str()) {
                names.push(&way.action);
            }
        }
        names
    }
}

/// Explains a stored event.
pub async fn explain_event(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: EventId,
) -> Result<Explained, QueryError> {
    let event = find_event(app, caller, tenant, id).await?;
    explain(app, caller, event).await
}

/// Explains an event that was not sent.
pub async fn explain_sample(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    sample: NewEvent,
) -> Result<Explained, QueryError> {
    let now = app.ports.clock.now();
    let event = Event {
        id: EventId::mint(now, app.ports.dice.bytes()),
        tenant,
        event_type: sample.event_type,
        source: sample.source.unwrap_or_else(|| caller.actor.clone()),
        external_id: sample.external_id,
        accepted_at: now,
        data: sample.data,
        attributes: sample.attributes,
    };
    explain(app, caller, event).await
}

async fn explain(
    app: &App,
    caller: &AuthorizationContext,
    event: Event,
) -> Result<Explained, QueryError> {
    app.require(caller, Permission::ReadDefinitions, event.tenant).await?;
    let definitions = definitions_of(app, event.tenant)?;
    // Read first, so that the answer is never older.
    let defs = definitions.version();
    let mut ways = definitions.explain(&event);
    let controls = definitions.controls();
    for way in ways.iter_mut().filter(|way| way.matched) {
        let paused = match (controls.stopped(), controls.paused_actions.get(&way.action_id)) {
            (Some(pause), _) => Some(("tenant", pause)),
            (None, Some(pause)) => Some(("action", pause)),
            (None, None) => None,
        };
        if let Some((what, pause)) = paused {
            let by = &pause.by;
            way.because.push_str(&format!("; it waits: {by} paused the {what}"));
        }
    }
    Ok(Explained { defs, event, ways })
}
