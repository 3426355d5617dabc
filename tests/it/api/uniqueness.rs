//! Executions that are the only ones for something, over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::support::engine::Answer as Handled;

async fn app_with(changes: Value) -> TestApp {
    let app = TestApp::start().await;
    app.given_action("bill", "orders.*", changes).await;
    app
}

async fn emit(app: &TestApp, order: u32) -> Value {
    let body = json!({ "type": "orders.paid", "data": { "id": order } });
    let answer = app.post("events", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.body()
}

async fn execute(app: &TestApp, order: u32) -> Answer {
    app.post("actions/bill:execute", json!({ "input": { "id": order } })).await
}

fn id(event: &Value) -> &str {
    event["executions"][0]["id"].as_str().unwrap()
}

async fn status(app: &TestApp, execution: &str) -> String {
    let found = app.get(&format!("executions/{execution}")).await.body();
    let error = found["error"]["message"].as_str().unwrap_or_default().to_owned();
    format!("{} {error}", found["status"].as_str().unwrap())
}

#[tokio::test]
async fn one_execution_stands_for_all_until_it_has_ended() {
    let app = app_with(json!({ "unique": { "key": "order:{data.id}" } })).await;
    app.engine.script.answer([Handled::Hang]);
    let first = emit(&app, 7).await;
    let second = emit(&app, 7).await;
    let other = emit(&app, 8).await;
    let yielded = json!([{ "action": "bill", "execution": id(&first), "on_conflict": "existing" }]);
    assert_eq!((&second["executions"], &second["yielded"]), (&json!([]), &yielded));
    assert_ne!(id(&other), id(&first));
    assert_eq!(other["yielded"], json!(null));

    let shown = app.get(&format!("events/{}", second["id"].as_str().unwrap())).await.body();
    assert_eq!((&shown["executions"], &shown["yielded"]), (&json!([]), &yielded));
    let path = format!("events/{}/matches", second["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.body()["yielded"], yielded);

    let job = execute(&app, 7).await;
    assert_eq!((job.status.as_u16(), &job.body()["id"]), (202, &json!(id(&first))), "{}", job.text);

    app.post(&format!("executions/{}:cancel", id(&first)), json!({})).await;
    app.engine.advance(Duration::from_secs(1)).await;
    let third = emit(&app, 7).await;
    assert_ne!(id(&third), id(&first));
}

#[tokio::test]
async fn what_is_sent_twice_is_answered_alike() {
    let app = app_with(json!({ "unique": { "key": "order:{data.id}" } })).await;
    app.engine.script.answer([Handled::Hang]);
    emit(&app, 7).await;
    let body = json!({ "type": "orders.paid", "id": "e-1", "source": "shop", "data": { "id": 7 } });
    let first = app.post("events", body.clone()).await.body();
    let again = app.post("events", body).await.body();
    assert_eq!((&again["duplicate"], &again["yielded"]), (&json!(true), &first["yielded"]));
    assert_eq!(first["yielded"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_second_one_is_refused_where_the_action_says_so() {
    let unique = json!({ "key": "order:{data.id}", "on_conflict": "reject", "period_seconds": 60 });
    let app = app_with(json!({ "unique": unique })).await;
    assert_eq!(app.get("actions/bill").await.body()["unique"], unique);
    let first = emit(&app, 7).await;
    assert_eq!(emit(&app, 7).await["yielded"][0]["on_conflict"], "reject");
    let refused = execute(&app, 7).await;
    assert_eq!(refused.problem(), "409 execution.not_unique");
    assert!(refused.text.contains(id(&first)), "{}", refused.text);
    app.engine.advance(Duration::from_secs(60)).await;
    assert_eq!(execute(&app, 7).await.status, 202, "its minute is over");
}

#[tokio::test]
async fn a_newer_one_takes_the_place_of_one_that_has_not_started() {
    let unique = json!({ "key": "order:{data.id}", "on_conflict": "replace" });
    let app = app_with(json!({ "unique": unique })).await;
    app.post("actions/bill:pause", json!({})).await;
    let (first, second) = (emit(&app, 7).await, emit(&app, 7).await);
    app.engine.advance(Duration::from_secs(1)).await;
    let why = format!("skipped superseded by {}", id(&second));
    assert_eq!(status(&app, id(&first)).await, why);
    let dead = app.get("dead-letters").await.body();
    assert_eq!(dead["items"], json!([]));
    app.post("actions/bill:resume", json!({})).await;
    app.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(status(&app, id(&second)).await, "completed ");
    assert_eq!(app.engine.script.calls().len(), 1);
}

#[tokio::test]
async fn the_last_of_a_burst_starts_when_nothing_has_come_for_a_while() {
    let debounce = json!({ "key": "order:{data.id}", "wait_seconds": 10, "max_wait_seconds": 25 });
    let app = app_with(json!({ "debounce": debounce })).await;
    assert_eq!(app.get("actions/bill").await.body()["debounce"], debounce);
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(emit(&app, 7).await);
        if sent.len() == 1 {
            let why = app.get(&format!("executions/{}/why", id(&sent[0]))).await.body();
            assert_eq!((&why["waits_for"], &why["setting"]), (&json!("time"), &json!("debounce")));
        }
        app.engine.advance(Duration::from_secs(8)).await;
        if app.engine.script.calls().len() == 1 {
            break;
        }
    }
    // At 0, 8, 16 and 24 seconds: the fourth one starts with the 25th.
    assert_eq!(sent.len(), 4);
    let calls = app.engine.script.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].execution.to_string(), id(&sent[3]));
    for (older, newer) in sent.iter().zip(&sent[1..]) {
        let why = format!("skipped superseded by {}", id(newer));
        assert_eq!(status(&app, id(older)).await, why);
    }
    emit(&app, 7).await;
    app.engine.advance(Duration::from_secs(9)).await;
    assert_eq!(app.engine.script.calls().len(), 1, "a new burst waits anew");
    app.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(app.engine.script.calls().len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_keys_and_claims_is_named() {
    let app = TestApp::start().await;
    let with = async |changes: Value| {
        let mut body = json!({
            "name": "bill", "action_type": "custom", "handler": "test.script",
            "event_patterns": ["orders.*"],
        });
        for (field, value) in changes.as_object().unwrap() {
            body[field] = value.clone();
        }
        app.post("actions", body).await.problem()
    };
    let concurrency = |key: &str, max: u32| json!({ "concurrency": { "key": key, "max": max } });
    insta::assert_snapshot!(with(concurrency("order", 1)).await, @"422 action.invalid /concurrency/key");
    insta::assert_snapshot!(with(concurrency("order:{data.a:b}", 1)).await, @"422 action.invalid /concurrency/key");
    insta::assert_snapshot!(with(concurrency("order:{data.id}", 0)).await, @"422 action.invalid /concurrency/max");
    let roots = json!({
        "affinity": { "key": "order:{data.id}:line:{data.line}" },
        "concurrency": { "key": "order:{data.id}", "max": 2 },
        "throttle": { "key": "customer:{data.customer}", "per_minute": 1 },
    });
    insta::assert_snapshot!(with(roots).await, @"422 action.invalid /throttle/key");
    insta::assert_snapshot!(with(json!({ "throttle": { "key": "a:{data.b}" } })).await, @"422 action.invalid /throttle");
    insta::assert_snapshot!(with(json!({ "throttle": { "key": "a:{data.b}", "per_hour": 0 } })).await, @"422 action.invalid /throttle/per_hour");
    insta::assert_snapshot!(with(json!({ "unique": { "key": "" } })).await, @"422 action.invalid /unique/key");
    insta::assert_snapshot!(with(json!({ "unique": { "key": "a", "period_seconds": 2_592_001 } })).await, @"422 action.invalid /unique/period_seconds");
    insta::assert_snapshot!(with(json!({ "unique": { "key": "a", "on_conflict": "wait" } })).await, @"400 body.invalid /unique/on_conflict");
    insta::assert_snapshot!(with(json!({ "debounce": { "key": "a", "wait_seconds": 10, "max_wait_seconds": 9 } })).await, @"422 action.invalid /debounce/max_wait_seconds");
    let both = json!({ "unique": { "key": "a" }, "debounce": { "key": "a", "wait_seconds": 1 } });
    insta::assert_snapshot!(with(both).await, @"422 action.invalid /debounce");
}
