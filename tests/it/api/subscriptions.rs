//! Subscriptions over HTTP.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, in_tenant};

async fn start() -> TestApp {
    let app = TestApp::start().await;
    app.given_action("ship", "never.matched", json!({})).await;
    app
}

fn subscription() -> Value {
    json!({ "action": "ship", "event_pattern": "orders.*", "conditions": { "total": { "$gt": 10 } } })
}

#[tokio::test]
async fn a_subscription_leads_events_to_its_action() {
    let app = start().await;
    let created = app.post("subscriptions", subscription()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let small = app.emit("orders.paid", json!({ "total": 5 })).await;
    let large = app.emit("orders.paid", json!({ "total": 50 })).await;
    assert_eq!(small["executions"], json!([]));
    assert_eq!(large["executions"][0]["action"], "ship");

    let path = format!("subscriptions/{}", created.body()["id"].as_str().unwrap());
    assert_eq!(app.post(&format!("{path}:disable"), json!({})).await.body()["is_active"], false);
    let off = app.emit("orders.paid", json!({ "total": 50 })).await;
    assert_eq!(off["executions"], json!([]));
    assert_eq!(app.post(&format!("{path}:enable"), json!({})).await.body()["is_active"], true);

    let mut body = app.get(&path).await.body();
    body["conditions"] = json!({});
    insta::assert_snapshot!(app.put(&path, &[], body.clone()).await.problem(), @"428 version.required");
    let tag = app.get(&path).await.header("etag").to_owned();
    assert_eq!(app.put(&path, &[("if-match", &tag)], body).await.status, 200);
    assert_eq!(
        app.emit("orders.paid", json!({ "total": 5 })).await["executions"][0]["action"],
        "ship"
    );
    assert_eq!(app.delete(&path, &[("if-match", "*")]).await.status, 204);
    insta::assert_snapshot!(app.get(&path).await.problem(), @"404 not_found");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let app = start().await;
    let with = async |changes: Value| {
        let mut body = subscription();
        for (field, value) in changes.as_object().unwrap() {
            body[field] = value.clone();
        }
        app.post("subscriptions", body).await.problem()
    };
    insta::assert_snapshot!(with(json!({ "action": "nobody" })).await, @"422 subscription.invalid /action");
    insta::assert_snapshot!(with(json!({ "event_pattern": ".a" })).await, @"422 pattern.invalid /event_pattern");
    insta::assert_snapshot!(with(json!({ "event_pattern": "" })).await, @"422 pattern.invalid /event_pattern");
    insta::assert_snapshot!(with(json!({ "conditions": "1 +" })).await, @"422 condition.invalid /conditions");
    insta::assert_snapshot!(with(json!({ "rate_limit_per_hour": 0 })).await, @"422 subscription.invalid /rate_limit_per_hour");
    insta::assert_snapshot!(with(json!({ "tenant_filter": ["x"] })).await, @"400 body.invalid /tenant_filter/0");
    insta::assert_snapshot!(with(json!({ "pattern": "x" })).await, @"400 body.unknown_field /pattern");
}

#[tokio::test]
async fn subscriptions_are_listed_and_filtered() {
    let app = start().await;
    app.given_action("bill", "never.matched", json!({})).await;
    for (action, pattern) in [("ship", "orders.paid"), ("bill", "orders.paid"), ("bill", "users.*")]
    {
        let body = json!({ "action": action, "event_pattern": pattern });
        app.post("subscriptions", body).await;
    }
    let count = async |query: &str| {
        app.get(&format!("subscriptions?{query}")).await.body()["items"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 3);
    assert_eq!(count("action=bill").await, 2);
    assert_eq!(count("pattern=orders.paid").await, 2);
    let page = app.get("subscriptions?limit=2").await.body();
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(count(&format!("limit=2&cursor={cursor}")).await, 1);
}

#[tokio::test]
async fn a_chosen_id_is_kept() {
    let app = start().await;
    let path = "subscriptions/01890000-0000-7000-8000-000000000001";
    let created = app.put(path, &[], subscription()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header("location"), in_tenant(path));
    let again =
        app.json(Method::PUT, &in_tenant(path), &[("if-none-match", "*")], subscription()).await;
    insta::assert_snapshot!(again.problem(), @"412 version.stale");
}
