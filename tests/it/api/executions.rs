//! Executions over HTTP: lists, attempts, timelines, reasons, cancellation.

use std::time::Duration;

use actions_domain::execution::Fault;
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, in_tenant};
use crate::support::engine::Answer as Told;

async fn start(changes: Value) -> TestApp {
    let app = TestApp::start().await;
    app.given_action("ship", "orders.paid", changes).await;
    app
}

/// Emits an event and answers the path of its execution.
async fn given_execution(app: &TestApp) -> String {
    let accepted = app.emit("orders.paid", json!({})).await;
    format!("executions/{}", accepted["executions"][0]["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_history_does_not_claim_a_call_that_was_not_made() {
    let app = start(json!({})).await;
    app.post("actions/ship:pause", json!({})).await;
    let path = given_execution(&app).await;
    app.post("actions/ship:disable", json!({})).await;
    app.post("actions/ship:resume", json!({})).await;
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(app.get(&path).await.body()["status"], "cancelled");
    let text = app.get(&format!("{path}/timeline")).await.body()["text"].to_string();
    assert!(text.contains("cancelled before the handler was called"), "{text}");
    assert!(app.engine.script.calls().is_empty());
}

#[tokio::test]
async fn an_execution_tells_its_life() {
    let app = start(json!({ "retry_policy": { "max_retries": 3, "backoff": "exponential", "initial_delay_ms": 1000, "jitter": false } })).await;
    let fault = || Fault::handler("http.status", "answered 503");
    app.engine.script.answer([
        Told::Retry(fault()),
        Told::Retry(fault()),
        Told::Done(json!({ "ok": 1 })),
    ]);
    let path = given_execution(&app).await;
    assert_eq!(app.get(&path).await.body()["status"], "retrying");
    let why = app.get(&format!("{path}/why")).await.body();
    assert_eq!((&why["waits_for"], &why["setting"]), (&json!("time"), &json!("retry_policy")));
    let listed = app.get("executions").await.body();
    let error = &listed["items"][0]["error"];
    assert!(error["message"].is_string(), "a list shows why the last attempt failed: {listed}");
    app.advance(Duration::from_secs(10)).await;

    let execution = app.get(&path).await.body();
    assert_eq!(execution["status"], "completed");
    assert_eq!(execution["duration_ms"], 3000);
    let attempts = app.get(&format!("{path}/attempts")).await.body();
    assert_eq!(attempts["items"], execution["attempts"]);
    let causes: Vec<_> =
        attempts["items"].as_array().unwrap().iter().map(|one| &one["cause"]).collect();
    assert_eq!(causes, ["first", "retry", "retry"]);
    let text = [("accept", "text/plain")];
    let timeline = app.send(Method::GET, &in_tenant(&format!("{path}/timeline")), &text, "").await;
    insta::assert_snapshot!(timeline.text, @r#"
    00:00.000  orders.paid  matched ship
    00:00.000  attempt 1    failed on node 1 (http.status: answered 503), retried after 1 s
    00:01.000  attempt 2    retry: failed on node 1 (http.status: answered 503), retried after 2 s
    00:03.000  attempt 3    retry: completed on node 1
    "#);
    assert_eq!(app.get(&format!("{path}/timeline")).await.body()["text"], timeline.text.as_str());
    let why = app.get(&format!("{path}/why")).await.body();
    assert_eq!(why["because"], "it completed after 3 attempts");
}

#[tokio::test]
async fn executions_are_filtered() {
    let app = start(json!({})).await;
    app.given_action("audit", "orders.*", json!({ "priority": "low" })).await;
    app.engine.script.answer([
        Told::Done(json!(1)),
        Told::Reject(Fault::handler("http.status", "no")),
        Told::Done(json!(1)),
        Told::Hang,
    ]);
    let first = app.emit("orders.paid", json!({})).await;
    app.advance(Duration::from_secs(60)).await;
    app.emit("orders.paid", json!({})).await;
    let count = async |query: &str| {
        let answer = app.get(&format!("executions?{query}")).await;
        answer.body()["items"].as_array().unwrap_or_else(|| panic!("{}", answer.text)).len()
    };
    assert_eq!(count("").await, 4);
    assert_eq!(count("status=completed").await, 2);
    assert_eq!(count("status=completed,failed").await, 3);
    assert_eq!(count("where=status:running").await, 1);
    assert_eq!(count("where=-status:completed").await, 2);
    assert_eq!(count("action=ship").await, 2);
    assert_eq!(count("action=SHIP").await, 2);
    assert_eq!(count("where=action:a*").await, 2);
    assert_eq!(count("where=error:http.*").await, 1);
    assert_eq!(count("since=30s").await, 2);
    assert_eq!(count("until=30s").await, 2);
    assert_eq!(count("priority=low").await, 2);
    assert_eq!(count("attempts=1").await, 3);
    assert_eq!(count(&format!("event_id={}", first["id"].as_str().unwrap())).await, 2);
    insta::assert_snapshot!(app.get("executions?status=done").await.problem(), @"400 filter.invalid");
    insta::assert_snapshot!(app.get("executions?where=colour:red").await.problem(), @"400 filter.unknown_field");
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let app = start(json!({})).await;
    for _ in 0..3 {
        given_execution(&app).await;
    }
    let page = app.get("executions?limit=2").await.body();
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = app.get(&format!("executions?limit=2&cursor={cursor}")).await.body();
    assert_eq!(next["items"].as_array().unwrap().len(), 1);
    for foreign in
        [format!("executions?status=failed&cursor={cursor}"), format!("events?cursor={cursor}")]
    {
        assert_eq!(app.get(&foreign).await.problem(), "400 cursor.invalid");
    }
}

#[tokio::test]
async fn a_waiting_execution_is_cancelled() {
    let app = start(json!({ "retry_policy": "default" })).await;
    app.engine.script.answer([Told::Retry(Fault::handler("x.y", "later"))]);
    let path = given_execution(&app).await;
    let answer = app.post(&format!("{path}:cancel"), json!({})).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(app.get(&path).await.body()["status"], "cancelled");
    insta::assert_snapshot!(app.post(&format!("{path}:cancel"), json!({})).await.problem(), @"409 execution.final");
}

#[tokio::test]
async fn a_running_execution_is_told_to_end() {
    let app = start(json!({})).await;
    app.engine.script.answer([Told::Hang]);
    let path = given_execution(&app).await;
    assert_eq!(app.get(&path).await.body()["status"], "running");
    let why = app.get(&format!("{path}/why")).await.body();
    assert_eq!(why["waits_for"], "running");
    app.post(&format!("{path}:cancel"), json!({})).await;
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(app.get(&path).await.body()["status"], "cancelled");
}

#[tokio::test]
async fn who_waits_for_a_key_is_told_for_whom() {
    let app = start(json!({ "affinity": { "key": "order:{data.id}" } })).await;
    app.engine.script.answer([Told::Hang]);
    let holder = given_execution(&app).await;
    let waiter = given_execution(&app).await;
    let why = app.get(&format!("{waiter}/why")).await.body();
    assert_eq!(why["waits_for"], "key");
    assert!(holder.ends_with(why["holder"].as_str().unwrap()));
}

#[tokio::test]
async fn an_unknown_execution_is_not_found() {
    let app = start(json!({})).await;
    let unknown = "executions/01890000-0000-7000-8000-000000000000";
    for rest in ["", "/attempts", "/timeline", "/why"] {
        assert_eq!(app.get(&format!("{unknown}{rest}")).await.problem(), "404 not_found");
    }
    insta::assert_snapshot!(app.post(&format!("{unknown}:cancel"), json!({})).await.problem(), @"404 not_found");
}
