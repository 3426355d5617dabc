//! Subscriptions over HTTP.

use actions_domain::ports::definitions::Expected;
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
async fn an_id_of_another_tenant_is_like_any_other() {
    let app = start().await;
    let theirs = app.post("subscriptions", subscription()).await.body();
    let other = json!({ "slug": "other" });
    app.json(Method::POST, "/v1/admin/tenants", &[], other).await;
    let action = json!({ "name": "ship", "action_type": "custom", "handler": "test.script" });
    let created = app.json(Method::POST, "/v1/tenants/other/actions", &[], action).await;
    assert_eq!(created.status, 201, "{}", created.text);
    for id in [theirs["id"].as_str().unwrap(), "01890000-0000-7000-8000-000000000000"] {
        let path = format!("/v1/tenants/other/subscriptions/{id}");
        let answer = app.json(Method::PUT, &path, &[], subscription()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert_eq!(
            app.send(Method::GET, &path, &[], "").await.body()["version"],
            answer.body()["version"]
        );
    }
    let path = format!("subscriptions/{}", theirs["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.body()["version"], theirs["version"]);
}

#[tokio::test]
async fn a_version_is_compared_with_what_is_stored() {
    let app = start().await;
    let created = app.post("subscriptions", subscription()).await.body();
    let id: uuid::Uuid = created["id"].as_str().unwrap().parse().unwrap();
    let definitions = &app.engine.app.ports.definitions;
    let tenant = app.engine.app.catalogue.find_named("acme").unwrap();
    let known = tenant.subscription(actions_domain::id::SubscriptionId(id)).unwrap();
    let path = format!("subscriptions/{id}");
    // Changed through another node, which this one has not heard of.
    let change = async |priority: u32| {
        let mut spec = known.spec.clone();
        spec.priority = priority;
        let expected = Expected::Anything;
        let saved = definitions.save_subscription(
            known.tenant,
            known.id,
            known.action,
            &spec,
            expected,
            None,
        );
        format!("\"{}\"", saved.await.unwrap().version)
    };
    let tag = change(1).await;
    let replaced = app.put(&path, &[("if-match", &tag)], subscription()).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    let tag = change(2).await;
    assert_eq!(app.delete(&path, &[("if-match", &tag)]).await.status, 204);
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
