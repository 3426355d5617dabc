//! The founding routes for services of the platform.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;

async fn post(app: &TestApp, path: &str, body: Value) -> crate::support::app::Answer {
    app.json(Method::POST, &format!("/v1/internal/{path}"), &[], body).await
}

async fn get(app: &TestApp, path: &str) -> crate::support::app::Answer {
    app.send(Method::GET, &format!("/v1/internal/{path}"), &[], "").await
}

#[tokio::test]
async fn events_are_executed_for_a_named_tenant() {
    let app = TestApp::start().await;
    app.given_action("ship", "orders.paid", json!({})).await;
    let event = json!({ "type": "orders.paid" });
    let done = post(&app, "events:execute?tenant=acme&wait=5s", event.clone()).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(done.body()["executions"][0]["status"], "completed");
    let platform = post(&app, "events:execute", event.clone()).await;
    assert_eq!(platform.body()["executions"], json!([]));
    let unknown = post(&app, "events:execute?tenant=nobody", event).await;
    insta::assert_snapshot!(unknown.problem(), @"404 not_found");
}

#[tokio::test]
async fn actions_are_found_by_type_and_pattern() {
    let app = TestApp::start().await;
    app.given_action(
        "ship",
        "orders.paid",
        json!({ "event_patterns": ["orders.paid", "orders.sent"] }),
    )
    .await;
    app.given_action("mail", "users.created", json!({ "action_type": "email" })).await;
    let names = async |query: &str| {
        let body = get(&app, &format!("actions?tenant=acme&{query}")).await.body();
        let items = body["items"].as_array().unwrap_or_else(|| panic!("{body}")).clone();
        items.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("type=email").await, ["mail"]);
    assert_eq!(names("pattern=orders.sent").await, ["ship"]);
    assert_eq!(names("").await, ["mail", "ship"]);
}

#[tokio::test]
async fn health_is_a_percentage() {
    let app = TestApp::start().await;
    let health = async || get(&app, "health?tenant=acme").await.body();
    assert_eq!(health().await["status"], "healthy");
    for number in 0..9 {
        app.given_action(&format!("a{number}"), "a.b", json!({})).await;
    }
    app.given_action("blocked", "a.b", json!({ "handler": "workflow.start" })).await;
    let found = health().await;
    assert_eq!((&found["status"], &found["healthy_percentage"]), (&json!("degraded"), &json!(90)));
    app.given_action("blocked2", "a.b", json!({ "handler": "workflow.start" })).await;
    app.given_action("blocked3", "a.b", json!({ "handler": "workflow.start" })).await;
    assert_eq!(health().await["status"], "unhealthy");
}

#[tokio::test]
async fn jobs_are_accepted_in_bulk_each_by_itself() {
    let app = TestApp::start().await;
    app.given_action("ship", "orders.paid", json!({})).await;
    let body = json!({ "executions": [
        { "action": "ship", "input": 1 },
        { "action": "nobody" },
        { "action": "ship", "input_data": 2, "priority": "low" },
    ] });
    let answer = post(&app, "executions:bulk?tenant=acme", body).await.body();
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(2), &json!(1)));
    assert_eq!(answer["items"][1]["code"], "not_found");
    app.engine.settle().await;
    assert_eq!(app.engine.script.calls().len(), 2);
    let empty = post(&app, "executions:bulk?tenant=acme", json!({ "executions": [] })).await;
    insta::assert_snapshot!(empty.problem(), @"400 parameter.invalid /executions");
}

#[tokio::test]
async fn jobs_in_bulk_with_a_key_run_once() {
    let app = TestApp::start().await;
    app.given_action("ship", "never.matched", json!({})).await;
    let send = async |inputs: &[i32]| {
        let jobs = inputs.iter().map(|input| json!({ "action": "ship", "input": input }));
        let body = json!({ "executions": jobs.collect::<Vec<_>>() });
        let path = "/v1/internal/executions:bulk?tenant=acme";
        let answer = app.json(Method::POST, path, &[("idempotency-key", "k")], body).await;
        app.engine.settle().await;
        answer
    };
    let (first, again) = (send(&[1, 2]).await, send(&[1, 2]).await);
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.body(), again.body());
    assert_eq!(app.engine.script.calls().len(), 2);
    let other = send(&[1, 3]).await.body();
    assert_eq!(other["items"][0], first.body()["items"][0]);
    assert_eq!(other["items"][1]["code"], "idempotency.mismatch");
}

#[tokio::test]
async fn a_handler_is_validated_with_a_config() {
    let app = TestApp::start().await;
    let check = async |handler: &str| {
        let body = json!({ "handler": handler, "config": { "url": "https://x" } });
        post(&app, "handlers:validate", body).await
    };
    assert_eq!(check("test.secretive").await.body()["valid"], true);
    insta::assert_snapshot!(check("no.such").await.problem(), @"404 handler.not_found");
}
