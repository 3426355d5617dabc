//! `…/secrets`: texts that go one way, what attempts are given of them, and what is never told.

use std::time::Duration;

use actions_app::commands::put_secret::{PutSecret, put_secret};
use actions_app::commands::rewrap_secrets::{Rewrapped, rewrap_secrets};
use actions_domain::execution::Fault;
use actions_domain::id::TenantId;
use actions_domain::limits::{SECRET_BYTES_MAX, SECRET_REWRAPS_MAX, SECRETS_MAX};
use actions_domain::secret::{SecretName, SecretText};
use actions_infra::system::SystemDice;
use actions_infra::vault::LocalKeys;
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, in_tenant};
use crate::support::engine::{Answer as Told, MASTER_KEY, TestEngine, caller};

/// What must not be found anywhere.
const CANARY: &str = "canary-7f3a-\"quoted\"-9c1e";

async fn put(app: &TestApp, name: &str, value: &str) -> Answer {
    app.put(&format!("secrets/{name}"), &[], json!({ "value": value })).await
}

async fn put_in(engine: &TestEngine, app: &actions_app::app::App, name: &str, value: &str) {
    let request = PutSecret {
        tenant: engine.tenant,
        name: SecretName::parse(name).unwrap(),
        text: SecretText::new(value.to_owned()),
        overlap: Duration::from_secs(60),
    };
    put_secret(app, &caller(engine.tenant), request).await.unwrap();
}

/// The configs that the handler was given, in order.
fn given(engine: &TestEngine) -> Vec<Value> {
    engine.script.calls().iter().map(|call| Value::clone(&call.config)).collect()
}

async fn execution(app: &TestApp, accepted: &Value) -> Value {
    let id = accepted["executions"][0]["id"].as_str().unwrap();
    app.get(&format!("executions/{id}")).await.body()
}

#[tokio::test]
async fn a_secret_is_stored_and_listed_and_its_text_is_never_answered() {
    let app = TestApp::start().await;
    let made = put(&app, "TOKEN", CANARY).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let view = made.body();
    assert_eq!((&view["name"], &view["version"]), (&json!("TOKEN"), &json!(1)));
    assert_eq!(
        (&view["updated_by"], &view["master_key"]),
        (&json!("token:bootstrap"), &json!("test"))
    );
    assert_eq!(view["previous_version"], Value::Null);

    let again = put(&app, "TOKEN", CANARY).await;
    assert_eq!(
        (again.status.as_u16(), &again.body()["version"]),
        (200, &json!(1)),
        "no new version"
    );
    let body = json!({ "value": format!("{CANARY}2"), "overlap_seconds": 60 });
    let next = app.put("secrets/TOKEN", &[], body).await.body();
    assert_eq!((&next["version"], &next["previous_version"]), (&json!(2), &json!(1)));
    assert_eq!(next["previous_ends_at"], "2026-01-01T00:01:00.000000Z");
    put(&app, "A", CANARY).await;
    app.given_action("a", "a.b", json!({ "config": { "t": "x {{ secrets.TOKEN }}" } })).await;

    let listed = app.get("secrets").await;
    let names: Vec<_> = listed.body()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|secret| secret["name"].clone())
        .collect();
    assert_eq!(names, ["A", "TOKEN"]);
    let first = app.get("secrets?limit=1").await.body();
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = app.get(&format!("secrets?limit=1&cursor={cursor}")).await.body();
    assert_eq!(
        (&first["items"][0]["name"], &rest["items"][0]["name"]),
        (&json!("A"), &json!("TOKEN"))
    );
    let shown = app.get("secrets/TOKEN").await;
    assert_eq!(shown.body()["used_by"], json!(["a"]));
    for answer in [&made, &again, &listed, &shown] {
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }

    app.advance(Duration::from_secs(60)).await;
    assert_eq!(app.get("secrets/TOKEN").await.body()["previous_version"], Value::Null);
    assert_eq!(app.delete("secrets/TOKEN", &[]).await.status, 204);
    for path in ["secrets/TOKEN", "secrets/no-name"] {
        assert_eq!(app.get(path).await.problem(), "404 not_found");
        assert_eq!(app.delete(path, &[]).await.problem(), "404 not_found");
    }
}

#[tokio::test]
async fn an_attempt_is_given_what_its_config_names() {
    let app = TestApp::start().await;
    let config = json!({
        "token": "{{ secrets.TOKEN }}",
        "headers": { "authorization": "Bearer {{secrets.TOKEN}}, {{ secrets.OTHER }}" },
        "list": ["{{ secrets.OTHER }}", 7, "{{ data.x }}"],
    });
    put(&app, "TOKEN", CANARY).await;
    put(&app, "OTHER", "other {{ secrets.TOKEN }}").await;
    let made = app.given_action("a", "a.b", json!({ "config": config })).await;
    assert_eq!(made["warnings"], json!([]), "{made:#}");
    let data = json!({ "token": "{{ secrets.TOKEN }}" });
    let accepted = app.emit("a.b", data.clone()).await;
    let expected = json!({
        "token": CANARY,
        "headers": { "authorization": format!("Bearer {CANARY}, other {{{{ secrets.TOKEN }}}}") },
        "list": ["other {{ secrets.TOKEN }}", 7, "{{ data.x }}"],
    });
    assert_eq!(given(&app.engine), [expected], "nothing is put into what a secret says");
    let call = &app.engine.script.calls()[0];
    assert_eq!(call.input, data, "nor into what a sender says");
    assert!(!format!("{call:?}").contains("canary"));
    assert_eq!(execution(&app, &accepted).await["status"], "completed");
    // What is stored and shown is the name.
    for path in ["actions/a", "actions/a/versions", "definitions"] {
        let answer = app.get(path).await.text;
        assert!(answer.contains("{{ secrets.TOKEN }}") && !answer.contains("canary"), "{answer}");
    }
}

#[tokio::test]
async fn the_next_attempt_uses_a_new_version() {
    let app = TestApp::start().await;
    let config = json!({ "now": "{{ secrets.KEY }}", "before": "{{ secrets.previous.KEY }}" });
    put(&app, "KEY", "first").await;
    app.given_action("a", "a.b", json!({ "config": config })).await;
    app.emit("a.b", json!({})).await;
    let next = json!({ "value": "second", "overlap_seconds": 30 });
    app.put("secrets/KEY", &[], next).await;
    app.emit("a.b", json!({})).await;
    app.advance(Duration::from_secs(30)).await;
    app.emit("a.b", json!({})).await;
    let expected = [
        json!({ "now": "first" }),
        json!({ "now": "second", "before": "first" }),
        json!({ "now": "second" }),
    ];
    assert_eq!(given(&app.engine), expected, "at once, and the one before for as long as was said");
}

#[tokio::test]
async fn a_version_put_through_another_process_is_used_within_two_seconds() {
    let engine = TestEngine::start().await;
    put_in(&engine, &engine.app, "KEY", "first").await;
    engine.define("a", "a.b", json!({ "config": { "key": "{{ secrets.KEY }}" } })).await;
    engine.emit("a.b", json!({})).await;
    let other = engine.other_process().await;
    put_in(&engine, &other, "KEY", "second").await;
    engine.advance(Duration::from_secs(2)).await;
    engine.emit("a.b", json!({})).await;
    assert_eq!(given(&engine), [json!({ "key": "first" }), json!({ "key": "second" })]);
}

#[tokio::test]
async fn without_its_secret_an_execution_fails_and_says_what_to_do() {
    let app = TestApp::start().await;
    let config = json!({ "token": "{{ secrets.LATER }}" });
    let body = json!({
        "name": "a", "action_type": "custom", "handler": "test.script", "event_patterns": ["a.b"],
        "config": config,
    });
    let made = app.post("actions", body).await.body();
    let warning = &made["warnings"][0];
    assert_eq!(warning["pointer"], "/config/token", "{made:#}");
    assert!(warning["message"].as_str().unwrap().contains("actions secret put LATER"), "{warning}");
    let accepted = app.emit("a.b", json!({})).await;
    let failed = execution(&app, &accepted).await;
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("secret.not_found"))
    );
    assert!(failed["error"]["message"].as_str().unwrap().contains("actions secret put LATER"));
    assert_eq!(failed["attempts"].as_array().unwrap().len(), 1, "trying again is of no use");
    assert!(app.engine.script.calls().is_empty(), "nothing was called");

    put(&app, "LATER", "here").await;
    let id = accepted["executions"][0]["id"].as_str().unwrap();
    let again = app.post(&format!("dead-letters/{id}:requeue"), json!({})).await;
    assert!(again.status.is_success(), "{}", again.text);
    app.engine.settle().await;
    assert_eq!(given(&app.engine), [json!({ "token": "here" })]);
}

#[tokio::test]
async fn without_a_master_key_secrets_are_refused_with_the_remedy() {
    let app = TestApp::with_keys("").await;
    let refused = put(&app, "TOKEN", CANARY).await;
    assert_eq!(refused.problem(), "409 secret.no_key");
    let detail = refused.body()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("ACTIONS_MASTER_KEY") && detail.contains("openssl"), "{detail}");
    assert_eq!(app.get("secrets").await.body()["items"], json!([]));
    let rewrap = app.send(Method::POST, "/v1/admin/master-keys:rewrap", &[], "").await;
    assert_eq!(rewrap.problem(), "409 secret.no_key");
    app.given_action("a", "a.b", json!({})).await;
    let accepted = app.emit("a.b", json!({})).await;
    assert_eq!(execution(&app, &accepted).await["status"], "completed", "nothing else needs it");
}

#[tokio::test]
async fn a_missing_master_key_is_waited_for() {
    let mut engine = TestEngine::start().await;
    put_in(&engine, &engine.app, "KEY", "first").await;
    engine
        .define(
            "a",
            "a.b",
            json!({
                "config": { "key": "{{ secrets.KEY }}" },
                "retry_policy": { "max_retries": 3, "initial_delay_ms": 60000, "backoff": "fixed" },
            }),
        )
        .await;
    engine.master_keys = format!("other:{}", LocalKeys::generate(&SystemDice).as_str());
    engine.crash_and_restart().await;
    let execution = engine.emit("a.b", json!({})).await.executions[0].execution;
    engine.advance(Duration::from_secs(2)).await;
    let attempts = engine.timeline(execution).await;
    assert!(attempts.contains("the master key test is not known here"), "{attempts}");
    assert!(!attempts.contains("failed"), "it is retried: {attempts}");
    engine.master_keys = format!("{} {MASTER_KEY}", engine.master_keys);
    engine.crash_and_restart().await;
    engine.advance(Duration::from_secs(120)).await;
    let attempts = engine.timeline(execution).await;
    assert!(attempts.ends_with("completed"), "{attempts}");
    assert_eq!(given(&engine), [json!({ "key": "first" })]);
}

#[tokio::test]
async fn a_change_of_master_keys_stops_nothing() {
    let mut engine = TestEngine::start().await;
    for number in 0..7 {
        put_in(&engine, &engine.app, &format!("K{number}"), &format!("value {number}")).await;
        put_in(&engine, &engine.app, &format!("K{number}"), &format!("value {number}b")).await;
    }
    engine
        .define(
            "a",
            "a.b",
            json!({ "config": {
        "now": "{{ secrets.K3 }}", "before": "{{ secrets.previous.K3 }}",
    } }),
        )
        .await;
    let new = format!("new:{}", LocalKeys::generate(&SystemDice).as_str());
    let nobody = caller(TenantId::ADMIN);
    // First every process learns the new key, then it wraps.
    for keys in [format!("{MASTER_KEY},{new}"), format!("{new},{MASTER_KEY}")] {
        engine.master_keys = keys;
        engine.crash_and_restart().await;
        engine.emit("a.b", json!({})).await;
        engine.advance(Duration::from_secs(2)).await;
    }
    let done = rewrap_secrets(&engine.app, &nobody).await.unwrap();
    assert_eq!(done, Rewrapped { rewrapped: 14, left: 0, stuck: 0 });
    let again = rewrap_secrets(&engine.app, &nobody).await.unwrap();
    assert_eq!(again, Rewrapped { rewrapped: 0, left: 0, stuck: 0 }, "once is as good as twice");
    engine.master_keys = new;
    engine.crash_and_restart().await;
    engine.emit("a.b", json!({})).await;
    engine.advance(Duration::from_secs(2)).await;
    let config = json!({ "now": "value 3b", "before": "value 3" });
    assert_eq!(given(&engine), [config.clone(), config.clone(), config]);
}

#[tokio::test]
async fn wrapping_anew_goes_on_where_it_was_and_tells_what_is_left() {
    let mut engine = TestEngine::start().await;
    let count = u64::from(SECRET_REWRAPS_MAX) + 150;
    for number in 0..count {
        put_in(&engine, &engine.app, &format!("K{number}"), "value").await;
    }
    let new = format!("new:{}", LocalKeys::generate(&SystemDice).as_str());
    let nobody = caller(TenantId::ADMIN);
    engine.master_keys = new.clone();
    let without = engine.other_process().await;
    let stuck = rewrap_secrets(&without, &nobody).await.unwrap();
    assert_eq!(stuck, Rewrapped { rewrapped: 0, left: count, stuck: count });
    engine.master_keys = format!("{new},{MASTER_KEY}");
    let (one, other) = (engine.other_process().await, engine.other_process().await);
    let first = rewrap_secrets(&one, &nobody).await.unwrap();
    assert!(first.rewrapped >= u64::from(SECRET_REWRAPS_MAX), "{first:?}");
    assert_eq!(first.left, count - first.rewrapped);
    let rest = rewrap_secrets(&other, &nobody).await.unwrap();
    assert_eq!(rest, Rewrapped { rewrapped: first.left, left: 0, stuck: 0 });
}

#[tokio::test]
async fn the_platform_sees_its_master_keys() {
    let app = TestApp::start().await;
    put(&app, "A", "one").await;
    put(&app, "A", "two").await;
    let keys = app.send(Method::GET, "/v1/admin/master-keys", &[], "").await.body();
    let expected =
        json!({ "items": [{ "id": "test", "is_current": true, "is_here": true, "wrapped": 2 }] });
    assert_eq!(keys, expected);
    let done = app.send(Method::POST, "/v1/admin/master-keys:rewrap", &[], "").await.body();
    assert_eq!(done, json!({ "rewrapped": 0, "left": 0, "stuck": 0 }));
}

#[tokio::test]
async fn what_an_attempt_leaves_behind_is_masked() {
    let app = TestApp::start().await;
    put(&app, "TOKEN", CANARY).await;
    let config = json!({ "token": "{{ secrets.TOKEN }}" });
    let changes = json!({ "config": config, "retry_policy": "no_retry" });
    app.given_action("a", "a.b", changes).await;
    let quoted = json!({ "echo": [CANARY, format!("x{CANARY}y")], CANARY: 1 });
    app.engine.script.answer([
        Told::Done(quoted.clone()),
        Told::Reject(Fault::handler("http.status", format!("said {CANARY}")).with_details(quoted)),
    ]);
    let done = app.emit("a.b", json!({})).await;
    let done = execution(&app, &done).await;
    assert_eq!(done["output"], json!({ "echo": ["***", "x***y"], "***": 1 }));
    let failed = app.emit("a.b", json!({})).await;
    let failed = execution(&app, &failed).await;
    assert_eq!(failed["error"]["message"], "said ***", "{failed:#}");
    for path in ["executions", "dead-letters", "dead-letters/groups", "events"] {
        let answer = app.get(path).await;
        assert!(answer.status.is_success(), "{}", answer.text);
        assert!(!answer.text.contains("canary"), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_value_outside_its_limits_is_refused_with_its_place() {
    let app = TestApp::start().await;
    let long = "x".repeat(SECRET_BYTES_MAX + 1);
    for value in ["", "a\u{1}\u{0}b", &long] {
        let refused = put(&app, "TOKEN", value).await;
        let expected = if value.contains('\0') {
            "400 body.invalid /value"
        } else {
            "422 secret.invalid /value"
        };
        assert_eq!(refused.problem(), expected);
    }
    assert_eq!(put(&app, "TOKEN", &long[1..]).await.status, 201);
    for name in ["1A", "a-b", "previous", "a.b", &"x".repeat(101)] {
        assert_eq!(put(&app, name, "x").await.problem(), "422 secret.invalid", "{name}");
    }
    let overlap = json!({ "value": "x", "overlap_seconds": 31 * 24 * 60 * 60 });
    let refused = app.put("secrets/TOKEN", &[], overlap).await;
    assert_eq!(refused.problem(), "422 secret.invalid /overlap_seconds");
}

#[tokio::test]
async fn a_tenant_has_so_many_secrets() {
    let engine = TestEngine::start().await;
    for number in 0..SECRETS_MAX {
        put_in(&engine, &engine.app, &format!("K{number}"), "x").await;
    }
    put_in(&engine, &engine.app, "K7", "another version is no other secret").await;
    let request = PutSecret {
        tenant: engine.tenant,
        name: SecretName::parse("ONE_MORE").unwrap(),
        text: SecretText::new("x".to_owned()),
        overlap: Duration::ZERO,
    };
    let refused = put_secret(&engine.app, &caller(engine.tenant), request).await.unwrap_err();
    assert!(refused.to_string().contains("1000 secrets"), "{refused}");
}

#[tokio::test]
async fn a_refusal_does_not_repeat_what_was_sent() {
    let app = TestApp::start().await;
    let path = in_tenant("secrets/TOKEN");
    let json_type = [("content-type", "application/json")];
    for body in [
        "\"canary\"",
        "[\"canary\"]",
        "canary",
        "{\"value\": canary}",
        "{\"value\": [\"canary\"]}",
        "{\"value\": {\"canary\": 1}}",
        "{\"valeu\": \"canary\"}",
        "{\"value\": \"x\", \"other\": \"canary\"}",
        "{\"value\": \"x\", \"overlap_seconds\": \"canary\"}",
        "{\"value\": \"canary",
        "{\"value\": \"canary\u{0}\"}",
        "{\"value\": \"canary\\ud800\"}",
        "{\"value\": \"canary\", \"value\": \"canary\"",
    ] {
        let answer = app.send(Method::PUT, &path, &json_type, body.to_owned()).await;
        assert_eq!(answer.status.as_u16(), 400, "{body}: {}", answer.text);
        assert!(!answer.text.contains("canary"), "{body}: {}", answer.text);
    }
    let plain = app.send(Method::PUT, &path, &[("content-type", "text/plain")], "canary").await;
    assert_eq!(plain.status, 415);
    assert!(!plain.text.contains("canary"), "{}", plain.text);
}

#[tokio::test]
async fn a_definition_is_told_what_is_wrong_with_its_secrets() {
    let app = TestApp::start().await;
    put(&app, "TOKEN", "x").await;
    let body = |handler: &str, config: Value| json!({ "name": "a", "action_type": "custom", "handler": handler, "config": config });
    let refused = [
        ("test.script", json!({ "a": { "b": "{{ secrets.TOKEN | upper }}" } }), "/config/a/b"),
        ("test.script", json!({ "a": "{{ secrets }}" }), "/config/a"),
        ("test.secretive", json!({ "url": 7, "secret": "{{ secrets.TOKEN }}" }), "/config/url"),
        (
            "worker.pull",
            json!({ "queue": "q", "settings": { "k": "{{ secrets.TOKEN }}" } }),
            "/config/settings/k",
        ),
    ];
    for (handler, config, place) in refused {
        let answer = app.post("actions", body(handler, config)).await;
        assert_eq!(answer.problem(), format!("422 config.invalid {place}"), "{}", answer.text);
    }
    // What a secret says, nobody knows before it is used.
    let named = json!({ "url": "{{ secrets.TOKEN }}", "secret": "{{ secrets.TOKEN }}" });
    let answer = app.post("actions:validate", body("test.secretive", named)).await.body();
    assert_eq!(answer, json!({ "valid": true, "errors": [], "warnings": [] }));
    let plain = json!({ "url": "https://x", "secret": "hunter2" });
    let answer = app.post("actions:validate", body("test.secretive", plain)).await;
    let warning = &answer.body()["warnings"][0];
    assert_eq!(warning["pointer"], "/config/secret");
    assert!(warning["message"].as_str().unwrap().contains("actions secret put"), "{warning}");
    assert!(!answer.text.contains("hunter2"));
    let config = json!({ "config": { "url": "https://x", "secret": "{{ secrets.NONE }}" } });
    let answer = app.post("handlers/test.secretive:validate", config).await.body();
    assert_eq!(answer["warnings"][0]["pointer"], "/secret", "{answer:#}");
}

#[tokio::test]
async fn a_health_check_is_given_secrets_and_its_answer_is_masked() {
    let app = TestApp::start().await;
    put(&app, "URL", "https://down").await;
    let config = json!({ "url": "{{ secrets.URL }}" });
    let body = json!({
        "name": "a", "action_type": "custom", "handler": "test.secretive", "config": config,
    });
    assert_eq!(app.post("actions", body).await.status, 201);
    let checked = app.post("actions/a:check-health", json!({})).await;
    assert!(checked.text.contains("it is down"), "{}", checked.text);
    app.delete("secrets/URL", &[]).await;
    let checked = app.post("actions/a:check-health", json!({})).await;
    assert!(checked.text.contains("there is no secret URL"), "{}", checked.text);
}
