//! Events come through a stream that may vanish at any moment.

use std::sync::Arc;
use std::time::Duration;

use actions_app::commands::submit_event::NewEvent;
use actions_app::stream_reader::StreamReader;
use actions_domain::execution::Status;
use actions_domain::ports::event_stream::EventStream;
use actions_domain::ports::history::EventQuery;
use actions_domain::tenant::{ControlChange, TenantLimits};
use actions_infra::memory::MemoryStream;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::engine::{TestEngine, given_event};
use crate::support::faults::Fails;

struct Streaming {
    engine: TestEngine,
    stream: Arc<MemoryStream>,
}

impl Streaming {
    async fn start() -> Self {
        let engine = TestEngine::start().await;
        engine.define("quick", "orders.*", json!({})).await;
        let stream = Arc::new(MemoryStream::new(engine.clock.clone()));
        Self { engine, stream }
    }

    fn read_as(&self, consumer: &str) -> StreamReader {
        let read_event = Arc::new(actions::stream_event);
        let (app, stream) = (self.engine.app.clone(), self.stream.clone());
        StreamReader::start(app, stream, consumer.to_owned(), read_event)
    }

    async fn put(&self, schema: &str, event: impl ToString) {
        let fields = vec![
            ("schema".to_owned(), schema.as_bytes().to_vec()),
            ("event".to_owned(), event.to_string().into_bytes()),
        ];
        self.stream.put(&[fields]).await.unwrap();
    }

    async fn put_order(&self, number: usize) {
        self.put("tenant_acme", json!({ "type": "orders.paid", "data": number })).await;
    }

    /// The inputs that the handler was called with, in order.
    fn inputs(&self) -> Vec<i64> {
        let calls = self.engine.script.calls();
        calls.iter().map(|call| call.input.as_i64().unwrap()).collect()
    }

    async fn left(&self) -> usize {
        self.stream.taken("one", None, 1_000).await.unwrap().len()
    }

    fn reasons(&self) -> Vec<String> {
        self.stream.aside().into_iter().map(|refused| refused.reason).collect()
    }
}

#[tokio::test]
async fn an_entry_becomes_an_event_and_leaves_the_stream_after_the_commit() {
    let given = Streaming::start().await;
    given.engine.faults.plan("commit", Fails::Before, 3);
    let reader = given.read_as("one");
    given.engine.settle().await;
    given.put_order(7).await;
    given.engine.settle().await;
    assert_eq!((given.inputs(), given.left().await), (vec![], 1), "nothing is committed yet");

    given.engine.advance(Duration::from_secs(5)).await;
    assert_eq!((given.inputs(), given.left().await), (vec![7], 0));
    drop(reader);
}

#[tokio::test]
async fn entries_keep_their_order_however_many_come() {
    let given = Streaming::start().await;
    given
        .engine
        .define("keyed", "keyed.*", json!({ "affinity": { "key": "one", "mode": "mutate" } }))
        .await;
    for number in 0..250 {
        given.put("tenant_acme", json!({ "type": "keyed.paid", "data": number })).await;
    }
    let reader = given.read_as("one");
    given.engine.advance(Duration::from_secs(5)).await;
    assert_eq!(given.inputs(), (0..250).collect::<Vec<_>>());
    drop(reader);
}

#[tokio::test]
async fn an_entry_that_was_committed_but_not_acknowledged_counts_once() {
    let given = Streaming::start().await;
    // As if the process had ended between the commit and the acknowledgement.
    let committed = |source: &str, id: &str| NewEvent {
        source: Some(source.to_owned()),
        external_id: Some(id.to_owned()),
        ..given_event("orders.paid", json!(1))
    };
    let events = vec![
        committed("stream:memory", "memory/1"),
        committed("stream:memory", "o-2"),
        committed("shop", "memory/3"),
    ];
    given.engine.submit(events).await.unwrap();
    let order = json!({ "type": "orders.paid", "data": 2 });
    let merged = |more: Value| {
        let mut order = order.clone();
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    given.put("tenant_acme", &order).await;
    given.put("tenant_acme", merged(json!({ "id": "o-2" }))).await;
    given.put("tenant_acme", merged(json!({ "source": "shop" }))).await;
    let reader = given.read_as("one");
    given.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(given.inputs(), [1, 1, 1]);
    assert_eq!(given.left().await, 0);
    drop(reader);
}

#[tokio::test]
async fn entries_of_a_node_that_died_are_taken_over() {
    let given = Streaming::start().await;
    given.stream.open().await.unwrap();
    given.put_order(1).await;
    assert_eq!(given.stream.take("dead", 10, Duration::ZERO).await.unwrap().len(), 1);
    let reader = given.read_as("one");
    given.engine.advance(Duration::from_secs(20)).await;
    assert!(given.inputs().is_empty(), "it may only be slow");
    given.engine.advance(Duration::from_secs(20)).await;
    assert_eq!(given.inputs(), [1]);
    drop(reader);
}

#[tokio::test]
async fn a_stream_that_is_lost_is_opened_again() {
    let given = Streaming::start().await;
    let reader = given.read_as("one");
    for number in 0..5 {
        given.engine.advance(Duration::from_secs(2)).await;
        given.put_order(number).await;
        given.engine.advance(Duration::from_secs(2)).await;
        given.stream.flush();
    }
    assert_eq!(given.inputs(), [0, 1, 2, 3, 4]);
    drop(reader);
}

#[tokio::test]
async fn entries_that_can_never_be_accepted_are_set_aside_with_the_reason() {
    let given = Streaming::start().await;
    given.put("tenant_acme", "{").await;
    given.put("tenant_nobody", json!({ "type": "orders.paid" })).await;
    given.put("acme", json!({ "type": "orders.paid" })).await;
    given.put("tenant_acme", json!({ "type": "orders.paid", "tenant": "globex" })).await;
    given.put("tenant_acme", json!({ "type": "orders.paid", "colour": "red" })).await;
    let long = "s".repeat(2_000);
    given.put("tenant_acme", json!({ "type": "orders.paid", "source": long })).await;
    given.stream.put(&[vec![("schema".to_owned(), b"tenant_acme".to_vec())]]).await.unwrap();
    given.stream.put(&[vec![("event".to_owned(), b"{}".to_vec())]]).await.unwrap();
    given.put_order(7).await;
    let reader = given.read_as("one");
    given.engine.advance(Duration::from_secs(1)).await;

    assert_eq!((given.inputs(), given.left().await), (vec![7], 0));
    let mut reasons = given.reasons();
    reasons.sort();
    insta::assert_snapshot!(reasons.join("\n"), @r#"
    event: not valid JSON: EOF while parsing an object (line 1, column 1)
    event: the event names another tenant than the path
    event: unknown field `colour`
    it has no field `event`
    it has no field `schema`
    schema: no tenant has the schema "acme"
    schema: no tenant has the schema "tenant_nobody"
    source of event 0 has 2000 bytes, allowed are 1024
    "#);
    drop(reader);
}

#[tokio::test]
async fn an_entry_is_not_refused_because_the_store_is_away() {
    let given = Streaming::start().await;
    given.engine.faults.plan("commit", Fails::Before, 8);
    given.put_order(1).await;
    let reader = given.read_as("one");
    given.engine.advance(Duration::from_secs(60)).await;
    assert_eq!((given.inputs(), given.reasons()), (vec![1], Vec::new()));
    drop(reader);
}

#[tokio::test]
async fn stopping_ends_the_batch_that_is_under_way() {
    let given = Streaming::start().await;
    let reader = given.read_as("one");
    given.engine.settle().await;
    given.put_order(1).await;
    let stopping = tokio::spawn(reader.stop());
    given.engine.advance(Duration::from_secs(3)).await;
    assert!(stopping.is_finished());
    assert_eq!((given.inputs(), given.left().await), (vec![1], 0));
    let execution = given.engine.script.calls()[0].execution;
    assert_eq!(given.engine.execution(execution).await.status, Status::Completed);
}

#[tokio::test]
async fn entries_beyond_a_tenants_quota_wait_and_others_go_on() {
    let given = Streaming::start().await;
    let slug = "fresh".parse().unwrap();
    let definitions = &given.engine.app.ports.definitions;
    let fresh = definitions.create_tenant(Uuid::from_u128(8), &slug, "F", None).await.unwrap();
    let limits = TenantLimits { events_per_second: Some(1), ..TenantLimits::default() };
    let change = ControlChange::SetLimits(limits);
    definitions.change_controls(given.engine.tenant, &change, None).await.unwrap();
    given.engine.app.catalogue.refresh_tenant(given.engine.tenant).await.unwrap();
    for number in 0..6 {
        given.put_order(number).await;
    }
    given.put("tenant_fresh", json!({ "type": "orders.paid", "data": {} })).await;

    let reader = given.read_as("one");
    given.engine.advance(Duration::from_millis(500)).await;
    assert_eq!(given.inputs(), [0, 1, 2], "three seconds' worth passes at once");
    let all = EventQuery { tenant: fresh.id, event_type: None, before: None, limit: 10 };
    let others = given.engine.app.ports.history.list_events(all).await.unwrap();
    assert_eq!((others.len(), given.left().await), (1, 3), "nobody waits for another tenant");
    given.engine.advance(Duration::from_secs(10)).await;
    assert_eq!(given.inputs(), [0, 1, 2, 3, 4, 5], "in their order, each once");
    assert_eq!((given.left().await, given.reasons().len()), (0, 0));
    drop(reader);
}
