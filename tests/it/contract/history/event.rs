//! What has come in.

use actions_domain::event::{Event, EventType};
use actions_domain::json::Json;
use actions_domain::limits::LISTED_BYTES_MAX;
use actions_domain::ports::history::{EventQuery, ListedEvent};
use actions_domain::work::Ingest;

use super::super::given;
use super::super::stores::{Node, Stores};
use super::{ADMIN, create_tenant, events, text_of};

contract! { History:
    an_event_is_found_by_its_own_tenant,
    events_are_listed_newest_first,
    events_are_listed_by_type,
    events_are_listed_page_by_page,
    large_data_of_events_are_left_out_of_lists,
}

async fn an_event_is_found_by_its_own_tenant(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let event = given::event();
    node.submit(vec![given::ingest_of(event.clone(), vec![])]).await;
    let history = &node.ports.history;

    assert_eq!(history.find_event(ADMIN, event.id).await.unwrap(), Some(event.clone()));
    assert_eq!(history.find_event(acme, event.id).await.unwrap(), None);
    assert_eq!(history.find_event(ADMIN, given::event_id(0)).await.unwrap(), None);
    assert_eq!(list_events(&node, events(acme)).await, []);
}

async fn events_are_listed_newest_first(stores: &Stores) {
    let node = stores.owner("node").await;
    let [old, new, middle] = [(0, "a.b"), (20, "a.c"), (10, "a.d")].map(event_at);
    submit_events(&node, [&old, &new, &middle]).await;

    assert_eq!(list_events(&node, events(ADMIN)).await, [new, middle, old]);
}

async fn events_are_listed_by_type(stores: &Stores) {
    let node = stores.owner("node").await;
    let [first, other, second] = [(0, "a.b"), (10, "a.b.c"), (20, "a.b")].map(event_at);
    submit_events(&node, [&first, &other, &second]).await;

    let event_type = Some("a.b".to_owned());
    let page = EventQuery { event_type: event_type.clone(), limit: 1, ..events(ADMIN) };
    let all = EventQuery { event_type, ..events(ADMIN) };
    let none = EventQuery { event_type: Some("a".to_owned()), ..events(ADMIN) };

    assert_eq!(list_events(&node, page).await, std::slice::from_ref(&second));
    assert_eq!(list_events(&node, all).await, [second, first]);
    assert_eq!(list_events(&node, none).await, []);
}

async fn events_are_listed_page_by_page(stores: &Stores) {
    let node = stores.owner("node").await;
    let all: Vec<Event> = (0..5).map(|at| event_at((at * 10, "a.b"))).collect();
    submit_events(&node, &all).await;

    let mut listed = Vec::new();
    let mut before = None;
    loop {
        let page = list_events(&node, EventQuery { before, limit: 2, ..events(ADMIN) }).await;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        listed.extend(page);
    }

    listed.reverse();
    assert_eq!(listed, all);
}

async fn large_data_of_events_are_left_out_of_lists(stores: &Stores) {
    let node = stores.owner("node").await;
    let small = Event { data: text_of(LISTED_BYTES_MAX), ..event_at((0, "a.b")) };
    let large = Event { data: text_of(LISTED_BYTES_MAX + 1), ..event_at((10, "a.b")) };
    submit_events(&node, [&small, &large]).await;
    let cut = Event { data: Json::null(), ..large.clone() };
    let expected = [
        ListedEvent { event: cut, data_bytes: LISTED_BYTES_MAX + 1 },
        ListedEvent { event: small, data_bytes: LISTED_BYTES_MAX },
    ];

    let history = &node.ports.history;
    assert_eq!(history.list_events(events(ADMIN)).await.unwrap(), expected);
    let of_type = EventQuery { event_type: Some("a.b".to_owned()), ..events(ADMIN) };
    assert_eq!(history.list_events(of_type).await.unwrap(), expected);
    assert_eq!(history.find_event(ADMIN, large.id).await.unwrap(), Some(large));
}

async fn list_events(node: &Node, query: EventQuery) -> Vec<Event> {
    let listed = node.ports.history.list_events(query).await.unwrap();
    listed.into_iter().map(|listed| listed.event).collect()
}

fn event_at((offset_ms, event_type): (i64, &str)) -> Event {
    let event_type = EventType::parse(event_type).unwrap();
    Event { id: given::event_id(offset_ms), event_type, ..given::event() }
}

async fn submit_events<'a>(node: &Node, events: impl IntoIterator<Item = &'a Event>) {
    let ingests: Vec<Ingest> =
        events.into_iter().map(|event| given::ingest_of(event.clone(), vec![])).collect();
    node.submit(ingests).await;
}
