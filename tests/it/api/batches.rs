//! Executions that gather into one, over HTTP.

use std::time::Duration;

use actions_domain::execution::{Fault, Status};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::engine::Answer as Handled;

const BATCH: &str = "batch";

async fn app_with(changes: Value) -> TestApp {
    let app = TestApp::start().await;
    app.given_action("bill", "orders.*", changes).await;
    app
}

fn by_customer(max_size: u32) -> Value {
    json!({ BATCH: { "key": "customer:{data.customer}", "max_size": max_size, "max_wait_seconds": 10 } })
}

async fn emit(app: &TestApp, customer: &str, order: u32) -> Value {
    let data = json!({ "customer": customer, "order": order });
    let answer = app.post("events", json!({ "type": "orders.paid", "data": data })).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.body()
}

fn id(event: &Value) -> &str {
    event["executions"][0]["id"].as_str().unwrap()
}

/// The orders of each call, in order.
fn called(app: &TestApp) -> Vec<Vec<u64>> {
    let calls = app.engine.script.calls();
    let orders = |input: &Value| {
        let events = input["events"].as_array().unwrap();
        assert_eq!(input["size"], events.len());
        events.iter().map(|event| event["data"]["order"].as_u64().unwrap()).collect()
    };
    calls.iter().map(|call| orders(&call.input)).collect()
}

#[tokio::test]
async fn what_comes_within_the_time_runs_at_once_and_in_order() {
    let app = app_with(by_customer(100)).await;
    assert_eq!(app.get("actions/bill").await.body()[BATCH], by_customer(100)[BATCH]);
    let first = emit(&app, "ann", 1).await;
    app.engine.advance(Duration::from_secs(4)).await;
    let (second, other) = (emit(&app, "ann", 2).await, emit(&app, "bob", 3).await);
    assert_eq!(second["executions"], json!([]));
    assert_eq!(second["joined"], json!([{ "action": "bill", "execution": id(&first) }]));
    assert_eq!((&second["yielded"], &other["joined"]), (&json!(null), &json!(null)));

    let why = app.get(&format!("executions/{}/why", id(&first))).await.body();
    assert_eq!((&why["waits_for"], &why["setting"]), (&json!("time"), &json!("batch")));
    assert_eq!(why["because"], "it gathers until then, 2 of 100 so far");
    app.engine.advance(Duration::from_secs(5)).await;
    assert_eq!(called(&app), Vec::<Vec<u64>>::new());
    app.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(called(&app), [[1, 2]]);
    app.engine.advance(Duration::from_secs(4)).await;
    assert_eq!(called(&app), [vec![1, 2], vec![3]]);

    let call = &app.engine.script.calls()[0];
    assert_eq!(call.execution.to_string(), id(&first));
    let envelope = &call.input["events"][1];
    assert_eq!((&envelope["id"], &envelope["type"]), (&second["id"], &json!("orders.paid")));
    assert_eq!(call.event.as_ref().unwrap().id.to_string(), first["id"].as_str().unwrap());

    let shown = app.get(&format!("executions/{}", id(&first))).await.body();
    assert_eq!(shown[BATCH], json!({ "size": 2, "events": [first["id"], second["id"]] }));
    let event = app.get(&format!("events/{}", second["id"].as_str().unwrap())).await.body();
    assert_eq!((&event["executions"], &event["joined"]), (&json!([]), &second["joined"]));
}

#[tokio::test]
async fn a_full_batch_runs_at_once() {
    let app = app_with(by_customer(3)).await;
    for order in 1..=4 {
        emit(&app, "ann", order).await;
    }
    app.engine.settle().await;
    assert_eq!(called(&app), [[1, 2, 3]]);
    app.engine.advance(Duration::from_secs(10)).await;
    assert_eq!(called(&app), [vec![1, 2, 3], vec![4]]);
}

#[tokio::test]
async fn without_a_key_all_of_the_action_gathers() {
    let app = app_with(json!({ BATCH: { "max_size": 2, "max_wait_seconds": 10 } })).await;
    let data = json!({ "customer": "ann", "order": 1 });
    let event = json!({ "type": "orders.paid", "data": data, "partitionkey": "p" });
    app.post("events", event).await;
    emit(&app, "bob", 2).await;
    app.engine.settle().await;
    assert_eq!(called(&app), [[1, 2]]);
}

#[tokio::test]
async fn what_comes_after_the_start_is_in_the_next_batch() {
    let mut changes = by_customer(100);
    changes["retry_policy"] = json!("default");
    let app = app_with(changes).await;
    app.engine.script.answer([Handled::Retry(Fault::system("test.down", "down"))]);
    emit(&app, "ann", 1).await;
    emit(&app, "ann", 2).await;
    app.engine.advance(Duration::from_secs(10)).await;
    let third = emit(&app, "ann", 3).await;
    assert_eq!(third["joined"], json!(null));
    app.engine.advance(Duration::from_secs(90)).await;
    let mut called = called(&app);
    called.sort();
    assert_eq!(called, [vec![1, 2], vec![1, 2], vec![3]], "a retry has the same members");
}

#[tokio::test]
async fn a_batch_outlives_its_process() {
    let mut app = app_with(by_customer(100)).await;
    emit(&app, "ann", 1).await;
    emit(&app, "ann", 2).await;
    app.engine.crash_and_restart().await;
    app.engine.advance(Duration::from_secs(60)).await;
    assert_eq!(called(&app), [[1, 2]]);
}

#[tokio::test]
async fn jobs_gather_as_well() {
    let app = app_with(by_customer(100)).await;
    let job = |order: u32| json!({ "input": { "customer": "ann", "order": order } });
    let first = app.post("actions/bill:execute", job(1)).await.body();
    let second = app.post("actions/bill:execute", job(2)).await;
    assert_eq!((second.status.as_u16(), &second.body()["id"]), (202, &first["id"]));
    assert_eq!(second.body()[BATCH], json!({ "size": 2, "events": [] }));
    let mut later = job(3);
    later["delay"] = json!("5s");
    let later = app.post("actions/bill:execute", later).await.body();
    assert_ne!(later["id"], first["id"], "what was asked for later runs by itself");
    let why = app.get(&format!("executions/{}/why", later["id"].as_str().unwrap())).await.body();
    assert_ne!(why["setting"], BATCH);
    app.engine.advance(Duration::from_secs(5)).await;
    assert_eq!(called(&app), [[3]]);
    app.engine.advance(Duration::from_secs(5)).await;
    assert_eq!(called(&app), [vec![3], vec![1, 2]]);
}

#[tokio::test]
async fn an_event_that_is_sent_twice_is_in_the_batch_once() {
    let app = app_with(by_customer(100)).await;
    let order = |order: u32| {
        let data = json!({ "customer": "ann", "order": order });
        json!({ "type": "orders.paid", "id": order.to_string(), "source": "shop", "data": data })
    };
    app.post("events", order(1)).await;
    let second = app.post("events", order(2)).await.body();
    let again = app.post("events", order(2)).await.body();
    assert_eq!((&again["duplicate"], &again["joined"]), (&json!(true), &second["joined"]));
    assert_eq!(second["joined"].as_array().unwrap().len(), 1);
    app.engine.advance(Duration::from_secs(10)).await;
    assert_eq!(called(&app), [[1, 2]]);
}

#[tokio::test]
async fn an_edit_holds_for_the_next_event() {
    let app = app_with(by_customer(100)).await;
    emit(&app, "ann", 1).await;
    let mut edited = app.get("actions/bill").await.body();
    edited["config"] = json!({ "edited": true });
    let saved = app.put("actions/bill", &[("if-match", "*")], edited).await;
    assert_eq!(saved.status, 200, "{}", saved.text);
    emit(&app, "ann", 2).await;
    app.engine.advance(Duration::from_secs(10)).await;
    assert_eq!(called(&app), [[1], [2]]);
    let configs: Vec<Value> =
        app.engine.script.calls().iter().map(|call| Value::clone(&call.config)).collect();
    assert_ne!(configs[0], configs[1]);
}

#[tokio::test]
async fn what_waits_for_different_keys_does_not_gather() {
    let mut changes = json!({ BATCH: { "max_size": 100, "max_wait_seconds": 10 } });
    changes["affinity"] = json!({ "key": "customer:{data.customer}" });
    let app = app_with(changes).await;
    for (customer, order) in [("ann", 1), ("bob", 2), ("ann", 3)] {
        emit(&app, customer, order).await;
    }
    app.engine.advance(Duration::from_secs(10)).await;
    let mut called = called(&app);
    called.sort();
    assert_eq!(called, [vec![1, 3], vec![2]]);
}

#[tokio::test]
async fn a_cancelled_head_takes_its_batch_along() {
    let app = app_with(by_customer(100)).await;
    let first = emit(&app, "ann", 1).await;
    emit(&app, "ann", 2).await;
    app.post(&format!("executions/{}:cancel", id(&first)), json!({})).await;
    app.engine.settle().await;
    let third = emit(&app, "ann", 3).await;
    assert_eq!(third["joined"], json!(null), "nobody joins what has ended");
    app.engine.advance(Duration::from_secs(10)).await;
    assert_eq!(called(&app), [[3]]);
}

#[tokio::test]
async fn a_dead_batch_is_requeued_with_all_that_it_gathered() {
    let app = app_with(by_customer(100)).await;
    app.engine.script.answer([Handled::Reject(Fault::handler("test.no", "no"))]);
    let first = emit(&app, "ann", 1).await;
    let second = emit(&app, "ann", 2).await;
    app.engine.advance(Duration::from_secs(10)).await;
    let requeued = app.post(&format!("dead-letters/{}:requeue", id(&first)), json!({})).await;
    assert_eq!(requeued.status, 200, "{}", requeued.text);
    app.engine.settle().await;
    assert_eq!(called(&app), [[1, 2], [1, 2]]);
    let again = app.engine.script.calls()[1].execution;
    let shown = app.get(&format!("executions/{again}")).await.body();
    assert_eq!(shown[BATCH]["events"], json!([first["id"], second["id"]]));
    assert_eq!(app.engine.execution(again).await.status, Status::Completed);
}

#[tokio::test]
async fn what_must_not_happen_twice_gathers_as_well() {
    let mut changes = by_customer(2);
    changes["delivery"] = json!("at_most_once");
    let app = app_with(changes).await;
    emit(&app, "ann", 1).await;
    emit(&app, "ann", 2).await;
    app.engine.settle().await;
    assert_eq!(called(&app), [[1, 2]]);
}

#[tokio::test]
async fn what_is_wrong_with_a_batch_is_named() {
    let app = TestApp::start().await;
    let with = async |changes: Value| {
        let mut body = json!({ "name": "bill", "action_type": "custom", "handler": "test.script" });
        for (field, value) in changes.as_object().unwrap() {
            body[field] = value.clone();
        }
        app.post("actions", body).await.problem()
    };
    let batch =
        |max_size: u32, wait: u32| json!({ "max_size": max_size, "max_wait_seconds": wait });
    let sized = |max_size: u32, wait: u32| json!({ BATCH: batch(max_size, wait) });
    insta::assert_snapshot!(with(sized(1, 10)).await, @"422 action.invalid /batch/max_size");
    insta::assert_snapshot!(with(sized(1_001, 10)).await, @"422 action.invalid /batch/max_size");
    insta::assert_snapshot!(with(sized(10, 0)).await, @"422 action.invalid /batch/max_wait_seconds");
    insta::assert_snapshot!(with(sized(10, 3_601)).await, @"422 action.invalid /batch/max_wait_seconds");
    let mut keyed = sized(10, 10);
    keyed[BATCH]["key"] = json!("");
    insta::assert_snapshot!(with(keyed).await, @"422 action.invalid /batch/key");
    let unique = json!({ BATCH: batch(10, 10), "unique": { "key": "a" } });
    insta::assert_snapshot!(with(unique).await, @"422 action.invalid /batch");
    let debounce = json!({ BATCH: batch(10, 10), "debounce": { "key": "a", "wait_seconds": 1 } });
    insta::assert_snapshot!(with(debounce).await, @"422 action.invalid /batch");
}
