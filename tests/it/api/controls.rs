//! Limits and pauses over HTTP: they hold at once, and an execution that waits says for what.

use std::time::Duration;

use actions_app::queries::executions::find_execution;
use actions_domain::authorization::AuthorizationContext;
use axum::http::Method;
use serde_json::json;

use crate::support::app::{Answer, TestApp, in_tenant};

async fn set_limits(app: &TestApp, limits: serde_json::Value) -> Answer {
    app.json(Method::PUT, &in_tenant("controls/limits"), &[], limits).await
}

async fn emit(app: &TestApp, event_type: &str) -> String {
    let answer = app.post("events", json!({ "type": event_type, "data": {} })).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.body()["executions"][0]["id"].as_str().unwrap().to_owned()
}

fn without(mut event: serde_json::Value, member: &str) -> serde_json::Value {
    event.as_object_mut().unwrap().remove(member);
    event
}

async fn why(app: &TestApp, execution: &str) -> String {
    let body = app.get(&format!("executions/{execution}/why")).await.body();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    format!("{}: {} ({})", text("waits_for"), text("because"), text("setting"))
}

#[tokio::test]
async fn a_paused_action_keeps_what_comes_in_until_it_is_resumed() {
    let app = TestApp::start().await;
    app.given_action("greet", "users.*", json!({})).await;
    app.given_action("count", "orders.*", json!({})).await;
    let paused = app.post("actions/greet:pause", json!({ "reason": "their side is down" })).await;
    assert_eq!(paused.status, 200, "{}", paused.text);
    let pause = &paused.body()["paused_actions"][0];
    assert_eq!(
        (&pause["action"], &pause["reason"], &pause["by"]),
        (&json!("greet"), &json!("their side is down"), &json!("token:bootstrap"))
    );
    assert_eq!(app.get("actions/greet").await.body()["status"], "paused");

    let waiting = emit(&app, "users.created").await;
    emit(&app, "orders.paid").await;
    app.engine.advance(Duration::from_secs(60)).await;
    let calls = app.engine.script.calls();
    assert_eq!(calls.iter().map(|call| call.action.as_str()).collect::<Vec<_>>(), ["count"]);
    insta::assert_snapshot!(
        why(&app, &waiting).await,
        @"resume: the action is paused; what came in waits until it is resumed (pause)"
    );

    assert_eq!(app.post("actions/greet:resume", json!({})).await.status, 200);
    app.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(app.engine.script.calls().len(), 2);
    assert_eq!(app.get("actions/greet").await.body()["status"], "active");
}

#[tokio::test]
async fn a_paused_tenant_starts_nothing() {
    let app = TestApp::start().await;
    app.given_action("greet", "users.*", json!({})).await;
    let paused = app.send(Method::POST, &in_tenant("controls:pause"), &[], "").await;
    assert_eq!(paused.body()["pause"]["reason"], json!(null));
    let since = &paused.body()["pause"]["at"];
    let tenant = app.send(Method::GET, "/v1/admin/tenants/acme", &[], "").await;
    assert_eq!((&tenant.body()["paused_at"], since.is_string()), (since, true));
    assert_eq!(&app.get("limits").await.body()["controls"]["pause"]["at"], since);
    let explained = app.post("events:explain", json!({ "type": "users.created" })).await.body();
    let because = explained["items"][0]["because"].as_str().unwrap();
    assert!(because.ends_with("; it waits: token:bootstrap paused the tenant"), "{because}");
    let waiting = emit(&app, "users.created").await;
    app.engine.advance(Duration::from_secs(5)).await;
    assert!(app.engine.script.calls().is_empty());
    insta::assert_snapshot!(
        why(&app, &waiting).await,
        @"resume: the tenant is paused; what came in waits until it is resumed (pause)"
    );
    // Whoever is asked, and whichever node has it.
    let other = app.engine.other_process().await;
    let caller = AuthorizationContext::of_bootstrap_token("request");
    let id = waiting.parse().unwrap();
    let execution = find_execution(&other, &caller, app.engine.tenant, id).await.unwrap();
    let told = actions_app::queries::why::why(&other, &caller, &execution).await.unwrap();
    assert_eq!((told.waits_for, told.setting.as_deref()), ("resume", Some("pause")));

    app.post("controls:resume", json!({})).await;
    app.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(app.engine.script.calls().len(), 1);
}

#[tokio::test]
async fn a_tenants_limits_hold_for_what_waits_already() {
    let app = TestApp::start().await;
    app.given_action("greet", "users.*", json!({})).await;
    let set = set_limits(&app, json!({ "max_concurrent_executions": 1, "weight": 3 })).await;
    assert_eq!(set.status, 200, "{}", set.text);
    insta::assert_snapshot!(
        set.body()["limits"],
        @r#"{"max_concurrent_executions":1,"weight":3}"#
    );
    app.engine.script.answer([crate::support::engine::Answer::Hang]);
    let first = emit(&app, "users.created").await;
    app.engine.advance(Duration::from_secs(1)).await;
    let second = emit(&app, "users.created").await;
    app.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(app.engine.script.calls().len(), 1);
    insta::assert_snapshot!(
        why(&app, &second).await,
        @"concurrency: the tenant may run 1 at once, over all nodes, and has no more room where it is (max_concurrent_executions of the tenant)"
    );
    set_limits(&app, json!({})).await;
    app.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(app.engine.script.calls().len(), 2, "the limit is gone");
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_rate_paces_the_attempts_of_an_action() {
    let app = TestApp::start().await;
    app.given_action("greet", "users.*", json!({ "rate_limit_per_minute": 60 })).await;
    let mut last = String::new();
    for _ in 0..20 {
        last = emit(&app, "users.created").await;
    }
    assert_eq!(app.engine.script.calls().len(), 3, "a twentieth of a minute's at once");
    insta::assert_snapshot!(
        why(&app, &last).await,
        @"rate: the action has started as much as its rate allows; its turn comes (rate_limit_per_minute)"
    );
    app.engine.advance(Duration::from_secs(10)).await;
    let started = app.engine.script.calls().len();
    assert!((12..=13).contains(&started), "{started} in ten seconds at one a second");
}

#[tokio::test]
async fn why_names_the_setting_that_made_the_key() {
    let app = TestApp::start().await;
    app.given_action("alone", "a.*", json!({ "max_concurrent_executions": 1 })).await;
    let affinity = json!({ "affinity": { "key": "order:{data.id}" } });
    app.given_action("ordered", "b.*", affinity).await;
    app.given_action("plain", "c.*", json!({})).await;
    app.engine.script.answer([const { crate::support::engine::Answer::Hang }; 3]);
    for (event_type, setting) in [
        ("a.x", "max_concurrent_executions"),
        ("b.x", "affinity"),
        ("c.x", "partitionkey of the event"),
    ] {
        let event = json!({ "type": event_type, "data": { "id": 1 }, "partitionkey": "k" });
        let event = if event_type == "c.x" { event } else { without(event, "partitionkey") };
        app.post("events", event.clone()).await;
        app.engine.advance(Duration::from_secs(1)).await;
        let second = app.post("events", event).await.body();
        app.engine.advance(Duration::from_secs(1)).await;
        let told = why(&app, second["executions"][0]["id"].as_str().unwrap()).await;
        assert!(told.starts_with("key: ") && told.ends_with(&format!("({setting})")), "{told}");
    }
}

#[tokio::test]
async fn limits_out_of_range_are_refused() {
    let app = TestApp::start().await;
    for (limits, expected) in [
        (
            json!({ "max_concurrent_executions": 0 }),
            "422 tenant.invalid /max_concurrent_executions",
        ),
        (json!({ "rate_limit_per_hour": 1_000_001 }), "422 tenant.invalid /rate_limit_per_hour"),
        (json!({ "weight": 101 }), "422 tenant.invalid /weight"),
        (json!({ "speed": 1 }), "400 body.unknown_field /speed"),
    ] {
        assert_eq!(set_limits(&app, limits).await.problem(), expected);
    }
    assert_eq!(set_limits(&app, json!({ "weight": 100 })).await.status, 200);
    let long = "x".repeat(1_025);
    let paused = app.post("controls:pause", json!({ "reason": long })).await;
    assert_eq!(paused.problem(), "422 tenant.invalid /reason");
    assert_eq!(app.post("actions/none:pause", json!({})).await.problem(), "404 not_found");
}

/// Emits an event of a customer and answers its execution.
async fn emit_of(app: &TestApp, customer: u32) -> String {
    let body = json!({ "type": "users.created", "data": { "customer": customer } });
    let answer = app.post("events", body).await;
    answer.body()["executions"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_action_runs_so_many_at_once_of_each_key() {
    let app = TestApp::start().await;
    let concurrency = json!({ "key": "customer:{data.customer}", "max": 2 });
    app.given_action("greet", "users.*", json!({ "concurrency": concurrency })).await;
    assert_eq!(app.get("actions/greet").await.body()["concurrency"], concurrency);
    app.engine.script.answer([1, 2, 3].map(|_| crate::support::engine::Answer::Hang));
    for _ in 0..2 {
        emit_of(&app, 7).await;
    }
    let third = emit_of(&app, 7).await;
    app.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(app.engine.script.calls().len(), 2);
    insta::assert_snapshot!(
        why(&app, &third).await,
        @"key_concurrency: 2 executions of the action with customer:7 run, and 2 may at once (concurrency)"
    );
    emit_of(&app, 8).await;
    app.engine.advance(Duration::from_secs(1)).await;
    assert_eq!(app.engine.script.calls().len(), 3, "another customer does not wait");
}

#[tokio::test]
async fn an_action_starts_each_key_at_its_own_rate() {
    let app = TestApp::start().await;
    let throttle = json!({ "key": "customer:{data.customer}", "per_minute": 60 });
    app.given_action("greet", "users.*", json!({ "throttle": throttle })).await;
    let mut last = String::new();
    for _ in 0..5 {
        last = emit_of(&app, 7).await;
    }
    emit_of(&app, 8).await;
    assert_eq!(app.engine.script.calls().len(), 4, "three of one, one of the other");
    insta::assert_snapshot!(
        why(&app, &last).await,
        @"key_rate: the action has started as much for customer:7 as its rate for each key allows (throttle)"
    );
    app.engine.advance(Duration::from_secs(2)).await;
    assert_eq!(app.engine.script.calls().len(), 6);
}

#[tokio::test]
async fn a_subscription_starts_what_it_leads_to_at_its_rate() {
    let app = TestApp::start().await;
    app.given_action("greet", "never.matched", json!({})).await;
    let rated =
        json!({ "action": "greet", "event_pattern": "users.*", "rate_limit_per_minute": 60 });
    let created = app.post("subscriptions", rated).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.body()["warnings"], json!([]));
    app.post("subscriptions", json!({ "action": "greet", "event_pattern": "orders.*" })).await;
    let mut last = String::new();
    for _ in 0..5 {
        last = emit_of(&app, 7).await;
        emit(&app, "orders.paid").await;
    }
    assert_eq!(app.engine.script.calls().len(), 8, "three of the one, all of the other");
    insta::assert_snapshot!(
        why(&app, &last).await,
        @"rate: the subscription that it came by has started as much as its rate allows; its turn comes (rate_limit_per_minute of the subscription)"
    );
    app.engine.advance(Duration::from_secs(10)).await;
    assert_eq!(app.engine.script.calls().len(), 10);
}

#[tokio::test]
async fn a_tenant_may_be_kept_for_fewer_days() {
    let app = TestApp::start().await;
    let set = async |body| app.json(Method::PUT, &in_tenant("controls/retention"), &[], body).await;
    assert_eq!(app.get("controls").await.body()["retention"], json!({}));
    let wanted = json!({ "keep_days": 7, "dead_letter_days": 3 });
    assert_eq!(set(wanted.clone()).await.body()["retention"], wanted);
    assert_eq!(app.get("controls").await.body()["retention"], wanted);
    for (body, expected) in [
        (json!({ "keep_days": 1 }), "422 tenant.invalid /keep_days"),
        (json!({ "keep_days": 3_651 }), "422 tenant.invalid /keep_days"),
        (json!({ "dead_letter_days": 0 }), "422 tenant.invalid /dead_letter_days"),
        (json!({ "keep_days": -1 }), "400 body.invalid /keep_days"),
        (json!({ "days": 3 }), "400 body.unknown_field /days"),
    ] {
        assert_eq!(set(body).await.problem(), expected);
    }
    assert_eq!(app.get("controls").await.body()["retention"], wanted);
    assert_eq!(set(json!({})).await.body()["retention"], json!({}));
}
