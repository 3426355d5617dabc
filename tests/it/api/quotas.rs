//! Quotas over HTTP: allowed up to the number, refused beyond it, allowed again afterwards. And who
//! says what.

use std::time::Duration;

use actions_app::commands::submit_event::{SubmitEvents, SubmitEventsError, submit_events};
use actions_app::quotas::QuotaError;
use actions_domain::authorization::AuthorizationContext;
use actions_domain::ports::clock::Clock;
use axum::http::Method;
use serde_json::{Value, json};

use super::api_keys::{given_key, with};
use crate::support::app::{Answer, TestApp, in_tenant};
use crate::support::engine::{Answer as Told, given_event};

/// What is noted every five seconds is known by then.
const A_LOOK: Duration = Duration::from_secs(6);
const ALL: &str = "/v1/admin/tenant-limits";

async fn limit(app: &TestApp, limits: Value) {
    let set = app.json(Method::PUT, &in_tenant("controls/limits"), &[], limits).await;
    assert_eq!(set.status, 200, "{}", set.text);
}

async fn limit_all(app: &TestApp, limits: Value) {
    let set = app.json(Method::PUT, ALL, &[], limits).await;
    assert_eq!(set.status, 200, "{}", set.text);
}

async fn send(app: &TestApp) -> Answer {
    app.post("events", json!({ "type": "orders.paid", "data": { "n": 1 } })).await
}

async fn batch(app: &TestApp, count: usize) -> Answer {
    let one = json!({ "type": "orders.paid", "data": { "n": 1 } });
    app.post("events", Value::Array(vec![one; count])).await
}

fn refused(answer: &Answer, quota: &str) {
    assert_eq!(answer.problem(), "429 quota.exceeded");
    let detail = answer.body()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(quota), "{detail}");
}

/// The setting of `GET …/limits`: its value, layer and what is used.
async fn setting(app: &TestApp, name: &str) -> (Value, Value, Value) {
    let limits = app.get("limits").await;
    assert_eq!(limits.status, 200, "{}", limits.text);
    let settings = limits.body()["settings"].as_array().unwrap().clone();
    let found = settings.into_iter().find(|setting| setting["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {}", limits.text));
    (found["value"].clone(), found["layer"].clone(), found["used"].clone())
}

#[tokio::test]
async fn events_beyond_the_rate_are_refused_until_there_is_room_again() {
    let app = TestApp::start().await;
    assert_eq!(send(&app).await.header("ratelimit"), "", "there is no rate yet");
    limit(&app, json!({ "events_per_second": 2 })).await;
    for left in 0..6 {
        let answer = send(&app).await;
        assert_eq!(answer.status, 202, "three seconds' worth passes at once: {left}");
        assert_eq!(answer.header("ratelimit-policy"), "\"events\";q=6;w=3");
    }
    let answer = send(&app).await;
    refused(&answer, "events_per_second");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("ratelimit"), "\"events\";r=0;t=1");
    assert_eq!(answer.body()["retryable"], true);

    app.advance(Duration::from_secs(1)).await;
    for _ in 0..2 {
        assert_eq!(send(&app).await.status, 202, "a second's worth has come");
    }
    refused(&send(&app).await, "events_per_second");
    app.advance(Duration::from_secs(60)).await;
    assert_eq!(batch(&app, 6).await.status, 202, "no more than a burst is saved up");
    refused(&batch(&app, 1).await, "events_per_second");
}

#[tokio::test]
async fn a_batch_passes_whole_or_not_at_all() {
    let app = TestApp::start().await;
    limit(&app, json!({ "events_per_second": 2 })).await;
    assert_eq!(batch(&app, 4).await.status, 202);
    refused(&batch(&app, 3).await, "events_per_second");
    assert_eq!(app.get("events").await.body()["items"].as_array().unwrap().len(), 4);
    assert_eq!(batch(&app, 2).await.status, 202, "a smaller one fits");
    let large = batch(&app, 7).await;
    refused(&large, "smaller batches");
    assert_eq!((large.header("retry-after"), &large.body()["retryable"]), ("", &json!(false)));
}

#[tokio::test]
async fn other_tenants_do_not_notice_a_quota() {
    let app = TestApp::start().await;
    limit(&app, json!({ "events_per_second": 1 })).await;
    let made = app.json(Method::POST, "/v1/admin/tenants", &[], json!({ "slug": "fresh" })).await;
    assert_eq!(made.status, 201, "{}", made.text);
    for _ in 0..20 {
        let event = json!({ "type": "a.b" });
        let sent = app.json(Method::POST, "/v1/tenants/fresh/events", &[], event).await;
        assert_eq!((sent.status.as_u16(), sent.header("ratelimit")), (202, ""));
    }
}

#[tokio::test]
async fn processes_share_a_rate() {
    let app = TestApp::start().await;
    limit(&app, json!({ "events_per_second": 20 })).await;
    let other = app.engine.other_process().await;
    let tenant = app.engine.tenant;
    let caller = AuthorizationContext::of_bootstrap_token("test");
    let mut accepted = 0;
    for _ in 0..200 {
        accepted += usize::from(send(&app).await.status == 202);
        let events = vec![given_event("orders.paid", json!(1))];
        let request = SubmitEvents { tenant, events, idempotency: None };
        match submit_events(&other, &caller, request).await {
            Ok(_) => accepted += 1,
            Err(SubmitEventsError::Quota(QuotaError::Rate { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
    // Each holds what it draws ahead: a tenth of a second.
    assert!((56..=60).contains(&accepted), "{accepted} of three seconds' worth");
}

#[tokio::test]
async fn a_time_of_a_schedule_is_never_refused_and_others_wait_for_it() {
    let app = TestApp::start().await;
    app.given_action("report", "reports.due", json!({})).await;
    let at = app.engine.clock.now() + chrono::TimeDelta::seconds(10);
    let schedule = json!({ "name": "once", "event_type": "reports.due", "at": at });
    assert_eq!(app.post("schedules", schedule).await.status, 201);
    limit(&app, json!({ "events_per_second": 1 })).await;
    app.advance(Duration::from_millis(9_500)).await;
    assert_eq!(batch(&app, 3).await.status, 202);
    // Whoever fires one is asked like anybody else.
    refused(&app.post("schedules/once:fire", json!({})).await, "events_per_second");
    let (from, to) = (at, at + chrono::TimeDelta::seconds(1));
    let times = json!({ "from": from, "to": to });
    refused(&app.post("schedules/once:backfill", times).await, "events_per_second");
    assert_eq!(app.engine.script.calls().len(), 0);
    app.advance(Duration::from_millis(600)).await;
    assert_eq!(app.engine.script.calls().len(), 1);
    refused(&send(&app).await, "events_per_second");
    app.advance(Duration::from_secs(2)).await;
    assert_eq!(send(&app).await.status, 202, "what was owed is paid");
}

#[tokio::test]
async fn nothing_new_is_taken_in_while_too_much_waits() {
    let app = TestApp::start().await;
    app.given_action("slow", "orders.*", json!({ "max_concurrent_executions": 1 })).await;
    app.engine.script.answer([Told::Hang]);
    limit(&app, json!({ "waiting_executions": 2 })).await;
    assert_eq!((send(&app).await.status.as_u16(), send(&app).await.status.as_u16()), (202, 202));
    app.advance(A_LOOK).await;
    let answer = send(&app).await;
    refused(&answer, "waiting_executions");
    assert_eq!(answer.header("retry-after"), "5");
    refused(&app.post("actions/slow:execute", json!({})).await, "waiting_executions");
    assert_eq!(setting(&app, "waiting_executions").await, (json!(2), json!("tenant"), json!(2)));

    // What waits goes on, and makes room.
    app.advance(Duration::from_secs(310)).await;
    assert!(app.engine.script.calls().len() >= 2);
    app.advance(A_LOOK).await;
    assert_eq!(send(&app).await.status, 202);
    assert_eq!(app.post("actions/slow:execute", json!({})).await.status, 202);
}

#[tokio::test]
async fn nothing_new_is_taken_in_while_too_much_is_stored() {
    let app = TestApp::start().await;
    limit(&app, json!({ "stored_bytes": 100 })).await;
    let large = json!({ "type": "a.b", "data": "x".repeat(98) });
    assert_eq!(app.post("events", large).await.status, 202);
    app.advance(A_LOOK).await;
    refused(&send(&app).await, "stored_bytes");
    assert_eq!(setting(&app, "stored_bytes").await, (json!(100), json!("tenant"), json!(100)));
    limit(&app, json!({ "stored_bytes": 105 })).await;
    assert_eq!(send(&app).await.status, 202, "{{\"n\":1}} has seven bytes");
    refused(&send(&app).await, "stored_bytes");
}

#[tokio::test]
async fn a_tenant_has_as_many_things_as_it_may() {
    let app = TestApp::start().await;
    app.given_action("first", "a.b", json!({})).await;
    let action =
        |name: &str| json!({ "name": name, "action_type": "custom", "handler": "test.script" });
    let schedule = |name: &str| json!({ "name": name, "action": "first", "every_seconds": 60 });
    let key = |name: &str| json!({ "name": name, "role": "viewer" });
    limit(
        &app,
        json!({ "actions": 2, "subscriptions": 1, "schedules": 1, "secrets": 1, "api_keys": 1 }),
    )
    .await;
    assert_eq!(app.post("actions", action("second")).await.status, 201);
    refused(&app.post("actions", action("third")).await, "2 actions");
    let set = json!({ "actions": [action("third")] });
    refused(&app.post("definitions:apply", set).await, "2 actions");
    assert_eq!(app.put("actions/second", &[("if-match", "*")], action("second")).await.status, 200);
    assert_eq!(app.delete("actions/second", &[("if-match", "*")]).await.status, 204);
    assert_eq!(app.post("actions", action("third")).await.status, 201);

    let subscription = json!({ "action": "first", "event_pattern": "a.c" });
    let made = app.post("subscriptions", subscription.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    refused(&app.post("subscriptions", subscription.clone()).await, "1 subscriptions");
    let path = format!("subscriptions/{}", made.body()["id"].as_str().unwrap());
    assert_eq!(app.delete(&path, &[("if-match", "*")]).await.status, 204);
    assert_eq!(app.post("subscriptions", subscription).await.status, 201);

    assert_eq!(app.post("schedules", schedule("one")).await.status, 201);
    refused(&app.post("schedules", schedule("two")).await, "1 schedules");
    assert_eq!(app.delete("schedules/one", &[("if-match", "*")]).await.status, 204);
    assert_eq!(app.post("schedules", schedule("two")).await.status, 201);

    let secret = json!({ "value": "hunter22" });
    assert!(app.put("secrets/ONE", &[], secret.clone()).await.status.is_success());
    refused(&app.put("secrets/TWO", &[], secret.clone()).await, "1 secrets");
    assert!(app.put("secrets/ONE", &[], json!({ "value": "hunter23" })).await.status.is_success());
    assert_eq!(app.delete("secrets/ONE", &[("if-match", "*")]).await.status, 204);
    assert!(app.put("secrets/TWO", &[], secret).await.status.is_success());

    given_key(&app, "acme", key("one")).await;
    refused(&app.post("keys", key("two")).await, "1 api_keys");
    assert_eq!(app.delete("keys/one", &[]).await.status, 204);
    given_key(&app, "acme", key("two")).await;
    assert_eq!(setting(&app, "api_keys").await, (json!(1), json!("tenant"), json!(1)));
    assert_eq!(setting(&app, "actions").await, (json!(2), json!("tenant"), json!(2)));
}

#[tokio::test]
async fn each_value_comes_from_the_last_layer_that_says_something() {
    let app = TestApp::start().await;
    let per_second = async || setting(&app, "events_per_second").await;
    assert_eq!(per_second().await, (json!(null), json!("default"), json!(null)));
    assert_eq!(setting(&app, "weight").await.0, json!(1));
    limit_all(&app, json!({ "events_per_second": 1, "weight": 2 })).await;
    assert_eq!(
        app.send(Method::GET, ALL, &[], "").await.body(),
        json!({ "events_per_second": 1, "weight": 2 })
    );
    assert_eq!(per_second().await, (json!(1), json!("platform"), json!(null)));
    assert_eq!(batch(&app, 3).await.status, 202);
    refused(&send(&app).await, "events_per_second");
    limit(&app, json!({ "events_per_second": 50 })).await;
    assert_eq!(per_second().await, (json!(50), json!("tenant"), json!(null)));
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(batch(&app, 40).await.status, 202, "a tenant's own value holds");
    assert_eq!(setting(&app, "weight").await, (json!(2), json!("platform"), json!(null)));
    limit(&app, json!({})).await;
    assert_eq!(per_second().await.1, "platform");
    limit_all(&app, json!({})).await;
    assert_eq!(per_second().await.1, "default");
}

#[tokio::test]
async fn what_the_platform_says_limits_attempts_of_every_tenant() {
    let app = TestApp::start().await;
    app.given_action("slow", "orders.*", json!({})).await;
    limit_all(&app, json!({ "max_concurrent_executions": 1 })).await;
    app.engine.script.answer([Told::Hang]);
    send(&app).await;
    app.advance(Duration::from_secs(1)).await;
    send(&app).await;
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(app.engine.script.calls().len(), 1);
    limit(&app, json!({ "max_concurrent_executions": 2 })).await;
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(app.engine.script.calls().len(), 2);
}

#[tokio::test]
async fn an_action_shows_its_own_limits_beside_its_tenants() {
    let app = TestApp::start().await;
    app.given_action("ship", "orders.*", json!({ "max_concurrent_executions": 3 })).await;
    limit(&app, json!({ "max_concurrent_executions": 9 })).await;
    limit_all(&app, json!({ "rate_limit_per_hour": 7 })).await;
    let limits = app.get("actions/ship/limits").await.body();
    let rows: Vec<String> = limits["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {} {}", row["name"], row["value"], row["layer"]))
        .collect();
    insta::assert_snapshot!(rows.join("\n"), @r#"
    "max_concurrent_executions" 3 "action"
    "max_concurrent_executions" 9 "tenant"
    "rate_limit_per_minute" null "action"
    "rate_limit_per_minute" null "default"
    "rate_limit_per_hour" null "action"
    "rate_limit_per_hour" 7 "platform"
    "#);
    assert_eq!(app.get("actions/none/limits").await.problem(), "404 not_found");
}

#[tokio::test]
async fn the_retention_of_a_tenant_is_a_setting_too() {
    let app = TestApp::start().await;
    let days = json!({ "keep_days": 7 });
    let set = app.json(Method::PUT, &in_tenant("controls/retention"), &[], days).await;
    assert_eq!(set.status, 200, "{}", set.text);
    assert_eq!(setting(&app, "keep_days").await, (json!(7), json!("tenant"), json!(null)));
    assert_eq!(setting(&app, "dead_letter_days").await.0, json!(null));
}

#[tokio::test]
async fn usage_is_told_by_day() {
    let app = TestApp::start().await;
    app.given_action("ship", "orders.*", json!({})).await;
    assert_eq!(app.get("usage").await.body(), json!({ "items": [], "stored_bytes": 0 }));
    send(&app).await;
    let repeated = json!({ "type": "orders.paid", "id": "o-1", "data": {} });
    app.post("events", repeated.clone()).await;
    app.post("events", repeated).await;
    app.post("actions/ship:execute", json!({ "input": { "n": 1 } })).await;
    let usage = app.get("usage").await.body();
    assert_eq!(
        usage,
        json!({
            "items": [{ "day": "2026-01-01", "events": 2, "bytes": 16, "executions": 3 }],
            "stored_bytes": 16,
        })
    );
    for wrong in ["usage?days=0", "usage?days=367", "usage?days=x", "usage?since=1"] {
        assert_eq!(app.get(wrong).await.problem(), "400 parameter.invalid", "{wrong}");
    }
}

#[tokio::test]
async fn numbers_beyond_what_there_is_are_refused_with_their_place() {
    let app = TestApp::start().await;
    for path in [in_tenant("controls/limits"), ALL.to_owned()] {
        for (name, wrong) in [
            ("events_per_second", json!(0)),
            ("events_per_second", json!(50_001)),
            ("waiting_executions", json!(100_000_001)),
            ("stored_bytes", json!(0)),
            ("actions", json!(200_001)),
            ("subscriptions", json!(200_001)),
            ("schedules", json!(1_001)),
            ("secrets", json!(1_001)),
            ("api_keys", json!(501)),
        ] {
            let answer = app.json(Method::PUT, &path, &[], json!({ name: wrong })).await;
            assert_eq!(answer.problem(), format!("422 tenant.invalid /{name}"), "{path}");
        }
        let unknown = app.json(Method::PUT, &path, &[], json!({ "events": 1 })).await;
        assert_eq!(unknown.status, 400, "{}", unknown.text);
    }
}

#[tokio::test]
async fn what_holds_for_all_tenants_is_the_platforms_to_say() {
    let app = TestApp::start().await;
    let token = given_key(&app, "acme", json!({ "name": "boss", "role": "tenant_admin" })).await;
    let bearer = with(&token);
    let headers = [("authorization", bearer.as_str())];
    let set = app.json(Method::PUT, ALL, &headers, json!({ "weight": 9 })).await;
    assert!(set.status == 403 || set.status == 404, "{}", set.text);
    let own = app.json(Method::PUT, &in_tenant("controls/limits"), &headers, json!({})).await;
    assert_eq!(own.problem(), "403 auth.role");
}
