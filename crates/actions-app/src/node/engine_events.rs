//! Events that the engine publishes about its own work, written in the commit of what they
//! tell about.

use std::sync::Arc;

use actions_domain::Timestamp;
use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::execution::Status;
use actions_domain::id::{EventId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::CHAIN_DEPTH_MAX;
use actions_domain::work::{Finish, Ingest, Item, Later, Part, Submission};
use serde_json::{Value, json};

use crate::app::App;
use crate::commands::submit_event::works_of;

/// The source of every event that the engine publishes.
pub(crate) const SOURCE: &str = "actions";

/// What the end of an item has to say, when somebody listens.
pub(crate) fn about_finish(app: &App, part: Part, finish: &Finish) -> Vec<Submission> {
    let mut data = facts(app, &finish.item);
    data["status"] = json!(finish.status.word());
    data["error"] = json!(finish.error);
    let now = finish.ended_at;
    let event_type =
        if finish.status == Status::Completed { "actions.executed" } else { "actions.failed" };
    let mut events = vec![(event_type, data.clone())];
    if let Some(fingerprint) = &finish.dead {
        data["fingerprint"] = json!(fingerprint);
        events.push(("executions.dead_lettered", data));
    }
    events
        .into_iter()
        .filter_map(|(event_type, data)| publish(app, part, &finish.item, event_type, &data, now))
        .collect()
}

/// What a retry has to say, when somebody listens.
pub(crate) fn about_retry(app: &App, later: &Later, now: Timestamp) -> Option<Submission> {
    let mut data = facts(app, &later.item);
    data["delay_ms"] = json!(u64::try_from(later.delay.as_millis()).unwrap_or(u64::MAX));
    publish(app, later.item.part, &later.item, "actions.retried", &data, now)
}

/// Whether anything has to be said about this item at all. Asked first, because it is cheap.
pub(crate) fn wanted(app: &App, item: &Item) -> bool {
    // What an engine event caused publishes no further ones: that is how loops end.
    let by_engine = item.event.as_ref().is_some_and(|event| event.attributes.by_engine);
    let listens =
        || app.catalogue.find(item.work.tenant).is_some_and(|known| known.listens_to_engine());
    !by_engine && listens()
}

/// An event about a tenant's definitions.
pub(crate) fn about_action(app: &App, tenant: TenantId, event_type: &str, data: &Value) -> Event {
    event(app, tenant, event_type, data, Attributes::default(), app.ports.clock.now())
}

fn facts(app: &App, item: &Item) -> Value {
    let known = app.catalogue.find(item.work.tenant);
    let action = known.and_then(|known| known.action(item.work.action));
    json!({
        "execution": item.work.id,
        "event": item.work.event,
        "action": action.as_ref().map(|action| action.spec.name.as_str()),
        "attempts": item.attempts.len(),
    })
}

fn publish(
    app: &App,
    part: Part,
    item: &Item,
    event_type: &str,
    data: &Value,
    now: Timestamp,
) -> Option<Submission> {
    let depth = item.work.depth.saturating_add(1);
    if depth > CHAIN_DEPTH_MAX {
        return None;
    }
    let definitions = app.catalogue.find(item.work.tenant)?;
    let attributes = Attributes {
        causation_id: item.work.event.map(|event| event.0),
        caused_by: Some(item.work.id),
        correlation_id: item.event.as_ref().and_then(|event| event.attributes.correlation_id),
        depth,
        ..Attributes::default()
    };
    let event = event(app, item.work.tenant, event_type, data, attributes, now);
    let matched = definitions.matches(&event);
    if matched.actions.is_empty() {
        return None;
    }
    let mut works = works_of(app, &event, &matched, None);
    for (place, work) in &mut works {
        if work.key.is_none() {
            *place = part;
        }
    }
    let ingest = Ingest { event: Some(Arc::new(event)), dedupe: None, works, requeue_of: None };
    Some(Submission::new(item.work.tenant, Some(matched.defs), vec![ingest]))
}

fn event(
    app: &App,
    tenant: TenantId,
    event_type: &str,
    data: &Value,
    attributes: Attributes,
    now: Timestamp,
) -> Event {
    Event {
        id: EventId::mint(now, app.ports.dice.bytes()),
        tenant,
        event_type: EventType::parse(event_type).expect("our own event types are well formed"),
        source: SOURCE.to_owned(),
        external_id: None,
        accepted_at: now,
        data: Json::from_value(data),
        attributes: Attributes { by_engine: true, ..attributes },
    }
}
