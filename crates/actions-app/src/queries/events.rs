//! Events, as they were accepted.

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::event::Event;
use actions_domain::id::{EventId, TenantId};
use actions_domain::ports::history::{EventQuery, ListedEvent};
use actions_domain::ports::store::StoreError;
use serde_json::Value;

use crate::app::App;
use crate::filter::{Compiled, Fact, Filter};
use crate::queries::QueryError;
use crate::queries::scan::{Page, Scan, Step};

/// The fields that a filter of events may name.
pub const FIELDS: [&str; 9] = [
    "type",
    "source",
    "id",
    "subject",
    "correlation",
    "partition_key",
    "source_service",
    "user",
    "data.",
];

/// Which events to list.
#[derive(Debug, Clone)]
pub struct EventList {
    pub tenant: TenantId,
    pub filter: Filter,
    pub before: Option<EventId>,
    pub limit: u32,
}

/// Finds an event.
pub async fn find_event(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: EventId,
) -> Result<Event, QueryError> {
    app.require(caller, Permission::ReadEvents, tenant).await?;
    let found = app.ports.history.find_event(tenant, id).await?;
    found.ok_or(QueryError::NotFound { what: "event" })
}

/// Lists events, newest first.
pub async fn list_events(
    app: &App,
    caller: &AuthorizationContext,
    list: EventList,
) -> Result<Page<ListedEvent, EventId>, QueryError> {
    app.require(caller, Permission::ReadEvents, list.tenant).await?;
    let mut filter = list.filter.compile(&FIELDS, app.ports.clock.now())?;
    let mut event_type = None;
    if let Some([one]) = filter.clone().take("type").as_deref() {
        filter.take("type");
        event_type = Some(one.clone());
    }
    let mut scan = Scan::new(list.limit, list.before, filter.is_selective());
    loop {
        let query = EventQuery {
            tenant: list.tenant,
            event_type: event_type.clone(),
            before: scan.before(),
            limit: scan.page(),
        };
        let found = app.ports.history.list_events(query).await?;
        let found = judged(app, &filter, found, list.limit).await?;
        let is_over = |event: &Event| filter.since.is_some_and(|since| event.accepted_at < since);
        match scan.take(
            found,
            |(listed, _)| listed.event.id,
            |(listed, _)| is_over(&listed.event),
            |(_, keeps)| *keeps,
        ) {
            Step::Read(next) => scan = next,
            Step::Done(Page { items, next }) => {
                let items = items.into_iter().map(|(listed, _)| listed).collect();
                return Ok(Page { items, next });
            }
        }
    }
}

/// Says of each event whether it passes. Data that the list left out are read, one event at a
/// time, where the filter asks for them. Nothing is said of events beyond a full page.
async fn judged(
    app: &App,
    filter: &Compiled,
    found: Vec<ListedEvent>,
    limit: u32,
) -> Result<Vec<(ListedEvent, bool)>, StoreError> {
    let asks_for_data = filter.names(|field| field.starts_with("data."));
    let holds = |event: &Event| filter.holds(event.accepted_at, |field| fact(event, field));
    let mut judged = Vec::with_capacity(found.len());
    // One more than the page, which tells that there is another.
    let mut left = limit.saturating_add(1);
    for listed in found {
        let keeps = if listed.is_whole() || !asks_for_data || left == 0 {
            holds(&listed.event)
        } else {
            let Event { tenant, id, .. } = listed.event;
            let whole = app.ports.history.find_event(tenant, id).await?;
            whole.as_ref().is_some_and(holds)
        };
        left = left.saturating_sub(u32::from(keeps));
        judged.push((listed, keeps));
    }
    Ok(judged)
}

fn fact<'a>(event: &'a Event, field: &str) -> Fact<'a> {
    let attributes = &event.attributes;
    match field {
        "type" => Fact::text(event.event_type.as_str()),
        "source" => Fact::text(event.source.as_str()),
        "id" => Fact::maybe(event.external_id.as_deref()),
        "subject" => Fact::maybe(attributes.subject.as_deref()),
        "correlation" => Fact::maybe(attributes.correlation_id.map(|id| id.to_string())),
        "partition_key" => Fact::maybe(attributes.partition_key.as_deref()),
        "source_service" => Fact::maybe(attributes.source_service.as_deref()),
        "user" => Fact::maybe(attributes.user_id.map(|id| id.to_string())),
        _ => field.strip_prefix("data.").map_or(Fact::Absent, |path| data_fact(event, path)),
    }
}

fn data_fact<'a>(event: &Event, path: &str) -> Fact<'a> {
    let data = event.data.to_value();
    let found = path.split('.').try_fold(&data, |value, word| match word.parse::<usize>() {
        Ok(index) if value.is_array() => value.get(index),
        Ok(_) | Err(_) => value.get(word),
    });
    match found {
        Some(Value::String(text)) => Fact::text(text.clone()),
        Some(Value::Bool(flag)) => Fact::text(flag.to_string()),
        Some(Value::Number(number)) => number.as_f64().map_or(Fact::Absent, Fact::Number),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => Fact::Absent,
    }
}
