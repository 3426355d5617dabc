//! Actions over HTTP: definitions with their versions, switches, jobs, tests.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, in_tenant};
use crate::support::engine::Answer as Told;

fn webhook(name: &str) -> Value {
    json!({
        "name": name,
        "action_type": "webhook",
        "handler": "test.secretive",
        "config": { "url": "https://example.com", "secret": "s3cret" },
        "event_patterns": ["users.created"],
    })
}

#[tokio::test]
async fn an_action_is_created_read_replaced_and_deleted() {
    let app = TestApp::start().await;
    let created = app.post("actions", webhook("hook")).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header("location"), in_tenant("actions/hook"));
    let tag = created.header("etag").to_owned();
    assert_eq!(created.body()["status"], "active");
    assert_eq!(created.body()["retry_policy"]["max_retries"], 3);
    insta::assert_snapshot!(app.post("actions", webhook("hook")).await.problem(), @"409 exists");

    let mut body = app.get("actions/hook").await.body();
    body["timeout_seconds"] = json!(7);
    body["heartbeat_timeout_seconds"] = json!(5);
    body["delivery"] = json!("at_most_once");
    let put = async |headers: &[(&str, &str)]| app.put("actions/hook", headers, body.clone()).await;
    insta::assert_snapshot!(put(&[]).await.problem(), @"428 version.required");
    insta::assert_snapshot!(put(&[("if-none-match", "*")]).await.problem(), @"412 version.stale");
    insta::assert_snapshot!(put(&[("if-match", "\"999\"")]).await.problem(), @"412 version.stale");
    insta::assert_snapshot!(put(&[("if-match", "7")]).await.problem(), @"400 parameter.invalid");
    let replaced = put(&[("if-match", &tag)]).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    assert_ne!(replaced.header("etag"), tag);
    assert_eq!(replaced.body()["timeout_seconds"], 7);
    assert_eq!(replaced.body()["heartbeat_timeout_seconds"], 5);
    assert_eq!(replaced.body()["delivery"], "at_most_once");

    insta::assert_snapshot!(app.delete("actions/hook", &[]).await.problem(), @"428 version.required");
    assert_eq!(app.delete("actions/hook", &[("if-match", "*")]).await.status, 204);
    insta::assert_snapshot!(app.get("actions/hook").await.problem(), @"404 not_found");
}

#[tokio::test]
async fn put_creates_what_is_not_there() {
    let app = TestApp::start().await;
    let stale = app.put("actions/hook", &[("if-match", "\"1\"")], webhook("hook")).await;
    insta::assert_snapshot!(stale.problem(), @"412 version.stale");
    let created = app.put("actions/hook", &[("if-none-match", "*")], webhook("hook")).await;
    assert_eq!(created.status, 201);
    let other = app.put("actions/other", &[], webhook("hook")).await;
    insta::assert_snapshot!(other.problem(), @"422 action.invalid /name");
}

#[tokio::test]
async fn secrets_are_never_shown_and_survive_being_sent_back() {
    let app = TestApp::start().await;
    app.post("actions", webhook("hook")).await;
    let shown = app.get("actions/hook").await;
    assert_eq!(shown.body()["config"], json!({ "url": "https://example.com", "secret": "***" }));
    let mut body = shown.body();
    body["config"]["url"] = json!("https://example.org");
    app.put("actions/hook", &[("if-match", shown.header("etag"))], body).await;
    let ran = app.post("actions/hook:execute?wait=1s", json!({ "input": { "to": "x" } })).await;
    assert_eq!(ran.body()["output"], json!({ "knew": "s3cret" }));

    for path in ["actions", "actions/hook", "actions/hook/versions", "definitions"] {
        assert!(!app.get(path).await.text.contains("s3cret"), "{path}");
    }
    let mut fresh = webhook("fresh");
    fresh["config"]["secret"] = json!("***");
    insta::assert_snapshot!(app.post("actions", fresh).await.problem(), @"422 config.invalid /config/secret");
}

#[tokio::test]
async fn versions_are_kept_compared_and_restored() {
    let app = TestApp::start().await;
    let first = app.post("actions", webhook("hook")).await.body()["version"].clone();
    let mut body = webhook("hook");
    body["priority"] = json!("high");
    body["config"]["secret"] = json!("another");
    let second =
        app.put("actions/hook", &[("if-match", "*")], body).await.body()["version"].clone();
    let versions = app.get("actions/hook/versions").await.body();
    let numbers: Vec<_> =
        versions["items"].as_array().unwrap().iter().map(|v| &v["version"]).collect();
    assert_eq!(numbers, [&second, &first]);
    let differences = app.get(&format!("actions/hook/versions/{first}/diff/{second}")).await;
    insta::assert_json_snapshot!(differences.body()["items"], @r#"
    [
      {
        "after": "***",
        "before": "***",
        "pointer": "/config/secret"
      },
      {
        "after": "high",
        "before": "normal",
        "pointer": "/priority"
      }
    ]
    "#);
    app.post("actions/hook:restore", json!({ "version": first })).await;
    assert_eq!(app.get("actions/hook").await.body()["priority"], "normal");
    let missing = app.post("actions/hook:restore", json!({ "version": 999 })).await;
    insta::assert_snapshot!(missing.problem(), @"404 not_found");
}

#[tokio::test]
async fn what_is_wrong_with_an_action_is_told_at_once() {
    let app = TestApp::start().await;
    let with = async |changes: Value| {
        let mut body = webhook("hook");
        for (field, value) in changes.as_object().unwrap() {
            body[field] = value.clone();
        }
        app.post("actions", body).await.problem()
    };
    insta::assert_snapshot!(with(json!({ "timeout_seconds": 0, "max_concurrent_executions": 0 })).await, @"422 action.invalid /timeout_seconds /max_concurrent_executions");
    insta::assert_snapshot!(with(json!({ "heartbeat_timeout_seconds": 3_601 })).await, @"422 action.invalid /heartbeat_timeout_seconds");
    insta::assert_snapshot!(with(json!({ "delivery": "twice" })).await, @"400 body.invalid /delivery");
    insta::assert_snapshot!(with(json!({ "event_patterns": ["a..b"] })).await, @"422 pattern.invalid /event_patterns/0");
    insta::assert_snapshot!(with(json!({ "event_patterns": ["/(/"] })).await, @"422 pattern.invalid /event_patterns/0");
    insta::assert_snapshot!(with(json!({ "conditions": "event.data.x ==" })).await, @"422 condition.invalid /conditions");
    insta::assert_snapshot!(with(json!({ "conditions": { "a": { "$gt": {} } } })).await, @"422 condition.invalid /conditions/a/$gt");
    insta::assert_snapshot!(with(json!({ "config": {} })).await, @"422 config.invalid /config");
    insta::assert_snapshot!(with(json!({ "config": { "url": 7, "colour": 1 } })).await, @"422 config.invalid /config/url /config");
    insta::assert_snapshot!(with(json!({ "config": { "url": "http://169.254.169.254" } })).await, @"422 config.invalid /config/url");
    insta::assert_snapshot!(with(json!({ "handler": "nodots" })).await, @"400 body.invalid /handler");
    insta::assert_snapshot!(with(json!({ "name": "with space" })).await, @"400 body.invalid /name");
    insta::assert_snapshot!(with(json!({ "priority": 1001 })).await, @"400 body.invalid /priority");
    insta::assert_snapshot!(with(json!({ "retry_policy": "sometimes" })).await, @"400 body.invalid /retry_policy");
    insta::assert_snapshot!(with(json!({ "retry_policy": { "max_retries": 1 } })).await, @"400 body.invalid /retry_policy");
    insta::assert_snapshot!(with(json!({ "tiemout": 1 })).await, @"400 body.unknown_field /tiemout");
    insta::assert_snapshot!(with(json!({ "action_type": "fax" })).await, @"400 body.invalid /action_type");
}

#[tokio::test]
async fn a_check_stores_nothing_and_warns() {
    let app = TestApp::start().await;
    let mut body = webhook("hook");
    body["config"]["url"] = json!("http://example.com");
    body["event_patterns"] =
        json!(["*", "internal.x", "users.a", "users.b", "users.c", "users.a", "users.d"]);
    let found = app.post("actions:validate", body.clone()).await.body();
    assert_eq!(found["valid"], true);
    insta::assert_json_snapshot!(found["warnings"], @r#"
    [
      {
        "message": "* is very broad: it matches most events",
        "pointer": "/event_patterns/0"
      },
      {
        "message": "internal.x asks for events of the platform: internal is a reserved word",
        "pointer": "/event_patterns/1"
      },
      {
        "message": "users.a stands there more than once",
        "pointer": "/event_patterns/5"
      },
      {
        "message": "4 patterns start with users: users.* would do",
        "pointer": "/event_patterns"
      },
      {
        "message": "not encrypted",
        "pointer": "/config/url"
      },
      {
        "message": "this secret is stored in plain text with the definition; store it with `actions secret put NAME` and write {{ secrets.NAME }} here",
        "pointer": "/config/secret"
      }
    ]
    "#);
    let mut calm = webhook("calm");
    calm["config"] = json!({ "url": "https://example.com" });
    assert_eq!(app.post("actions:validate", calm).await.body()["warnings"], json!([]));
    body["timeout_seconds"] = json!(0);
    let found = app.post("actions:validate", body).await.body();
    assert_eq!(found["valid"], false);
    assert_eq!(found["errors"][0]["pointer"], "/timeout_seconds");
    assert_eq!(app.get("actions").await.body()["items"], json!([]));
}

#[tokio::test]
async fn an_action_without_a_handler_is_kept_as_blocked() {
    let app = TestApp::start().await;
    let mut body = webhook("flow");
    body["handler"] = json!("workflow.start");
    body["config"] = json!({ "api_token": "s3cret" });
    let created = app.post("actions", body).await.body();
    assert_eq!(created["status"], "blocked");
    assert_eq!(created["blocked_reason"], "its handler workflow.start is not installed");
    assert_eq!(created["config"], json!({ "api_token": "***" }));
    let accepted = app.emit("users.created", json!({})).await;
    assert_eq!(accepted["executions"], json!([]));
    let refused = app.post("actions/flow:execute", json!({})).await;
    insta::assert_snapshot!(refused.problem(), @"409 action.blocked");
}

#[tokio::test]
async fn an_action_that_is_off_starts_nothing() {
    let app = TestApp::start().await;
    app.given_action("a", "users.created", json!({})).await;
    assert_eq!(app.post("actions/a:disable", json!({})).await.body()["status"], "inactive");
    assert_eq!(app.emit("users.created", json!({})).await["executions"], json!([]));
    insta::assert_snapshot!(app.post("actions/a:execute", json!({})).await.problem(), @"409 action.blocked");
    assert_eq!(app.get("actions/active").await.body()["items"], json!([]));
    assert_eq!(app.post("actions/a:enable", json!({})).await.body()["status"], "active");
    assert_eq!(app.emit("users.created", json!({})).await["executions"][0]["action"], "a");
    insta::assert_snapshot!(app.post("actions/nobody:enable", json!({})).await.problem(), @"404 not_found");
}

#[tokio::test]
async fn an_unhealthy_action_starts_nothing_until_it_is_well() {
    let app = TestApp::start().await;
    let mut body = webhook("hook");
    body["config"]["url"] = json!("https://down");
    app.post("actions", body.clone()).await;
    let checked = app.post("actions/hook:check-health", json!({})).await.body();
    assert_eq!(checked["status"], "unhealthy");
    assert_eq!(checked["health_check_error"], "it is down");
    assert_eq!(app.emit("users.created", json!({})).await["executions"], json!([]));
    body["config"]["url"] = json!("https://up");
    app.put("actions/hook", &[("if-match", "*")], body).await;
    let checked = app.post("actions/hook:check-health", json!({})).await.body();
    assert_eq!(checked["status"], "active");
}

#[tokio::test]
async fn a_job_runs_an_action_without_an_event() {
    let app = TestApp::start().await;
    app.given_action("a", "never.matched", json!({})).await;
    app.engine.script.answer([Told::Done(json!({ "n": 1 }))]);
    let input = json!({ "input": { "x": 1 }, "priority": "high" });
    let done = app.post("actions/a:execute?wait=5s", input).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let body = done.body();
    assert_eq!(body["status"], "completed");
    assert_eq!(body["event_id"], Value::Null);
    assert_eq!(body["input"], json!({ "x": 1 }));
    assert_eq!(body["output"], json!({ "n": 1 }));
    assert_eq!(body["priority"], "high");
    assert!(done.header("location").ends_with(body["id"].as_str().unwrap()));

    let later = app.post("actions/a:execute", json!({ "delay": "10m" })).await;
    assert_eq!(later.status, 202);
    assert_eq!(later.body()["status"], "pending");
    app.advance(Duration::from_secs(601)).await;
    let path = format!("executions/{}", later.body()["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.body()["status"], "completed");
}

#[tokio::test]
async fn versions_are_listed_page_by_page() {
    let app = TestApp::start().await;
    app.given_action("a", "never.matched", json!({})).await;
    for _ in 0..2 {
        app.post("actions/a:disable", json!({})).await;
        app.post("actions/a:enable", json!({})).await;
    }
    let mut seen = Vec::new();
    let mut path = "actions/a/versions?limit=2".to_owned();
    loop {
        let page = app.get(&path).await.body();
        seen.extend(page["items"].as_array().unwrap().iter().map(|one| one["version"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("actions/a/versions?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_job_with_a_key_runs_once() {
    let app = TestApp::start().await;
    app.given_action("a", "never.matched", json!({})).await;
    let send = async |input: i32| {
        let body = json!({ "input": input });
        let path = in_tenant("actions/a:execute");
        let answer = app.json(Method::POST, &path, &[("idempotency-key", "k")], body).await;
        app.engine.settle().await;
        answer
    };
    let (first, again) = (send(1).await, send(1).await);
    assert_eq!(first.body()["id"], again.body()["id"]);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(app.engine.script.calls().len(), 1);
    insta::assert_snapshot!(send(2).await.problem(), @"422 idempotency.mismatch");
}

#[tokio::test]
async fn a_job_is_checked() {
    let app = TestApp::start().await;
    app.post("actions", webhook("hook")).await;
    let send = async |body: Value| app.post("actions/hook:execute", body).await.problem();
    insta::assert_snapshot!(send(json!({ "input": {} })).await, @"422 input.invalid /input");
    insta::assert_snapshot!(send(json!({ "inptu": {} })).await, @"400 body.unknown_field /inptu");
    insta::assert_snapshot!(send(json!({ "input": { "to": 1 }, "delay": "400d" })).await, @"400 parameter.invalid");
    insta::assert_snapshot!(app.post("actions/nobody:execute", json!({})).await.problem(), @"404 not_found");
}

#[tokio::test]
async fn a_test_tells_whether_an_event_would_match() {
    let app = TestApp::start().await;
    app.given_action("gold", "users.*", json!({ "conditions": { "tier": "gold" } })).await;
    app.given_action("other", "users.*", json!({})).await;
    let test = async |tier: &str| {
        let event = json!({ "type": "users.created", "data": { "tier": tier } });
        app.post("actions/gold:test", json!({ "event": event })).await.body()
    };
    assert_eq!(test("gold").await["matched"], true);
    let no = test("tin").await;
    assert_eq!(no["matched"], false);
    assert!(no["reason"].as_str().unwrap().contains("tin"), "{no}");
    assert_eq!(no["explanations"].as_array().unwrap().len(), 1);
    assert!(app.engine.script.calls().is_empty());
    let broken = app.post("actions/gold:test", json!({ "event": { "type": "users" } })).await;
    insta::assert_snapshot!(broken.problem(), @"422 event.invalid /event/type");
}

#[tokio::test]
async fn actions_are_listed_by_name_and_filtered() {
    let app = TestApp::start().await;
    for name in ["c", "a", "b"] {
        app.given_action(name, "users.created", json!({ "tags": [name], "owner_team": "core" }))
            .await;
    }
    app.post("actions", webhook("hook")).await;
    app.post("actions/b:disable", json!({})).await;
    let names = async |query: &str| {
        let body = app.get(&format!("actions?{query}")).await.body();
        let items = body["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names("").await, "a b c hook");
    assert_eq!(names("action_type=webhook").await, "hook");
    assert_eq!(names("is_active=false").await, "b");
    assert_eq!(names("where=-handler:test.script").await, "hook");
    assert_eq!(names("owner_team=core&where=-state:inactive").await, "a c");
    assert_eq!(names("tag=c").await, "c");
    let page = app.get("actions?limit=3").await.body();
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(names(&format!("limit=3&cursor={cursor}")).await, "hook");
}

#[tokio::test]
async fn figures_are_counted() {
    let app = TestApp::start().await;
    app.given_action("a", "users.created", json!({})).await;
    let fault = || actions_domain::execution::Fault::handler("x.y", "no");
    app.engine.script.answer([Told::Done(json!(1)), Told::Reject(fault()), Told::Done(json!(1))]);
    for _ in 0..3 {
        app.emit("users.created", json!({})).await;
    }
    let figures = app.get("actions/a/metrics").await.body();
    assert_eq!(figures["total_executions"], 3);
    assert_eq!(figures["successful_executions"], 2);
    assert_eq!(figures["failed_executions"], 1);
    assert!((figures["success_rate"].as_f64().unwrap() - 66.6).abs() < 0.1);
    assert_eq!(figures["common_errors"][0]["sample"]["code"], "x.y");
    assert!(figures["p95_duration_ms"].is_number());
    let listed = app.get("actions/a/executions?status=failed").await.body();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    insta::assert_snapshot!(app.get("actions/a/metrics?window=never").await.problem(), @"400 parameter.invalid");
}

#[tokio::test]
async fn the_creation_of_an_action_is_an_event_for_who_asks() {
    let app = TestApp::start().await;
    app.given_action("watcher", "actions.created", json!({})).await;
    app.given_action("new", "users.created", json!({})).await;
    app.engine.settle().await;
    let calls = app.engine.script.calls();
    assert_eq!(calls.len(), 2, "its own creation and that of the other");
    assert_eq!(calls[1].input["action"], "new");
}

#[tokio::test]
async fn the_platform_has_actions_too() {
    let app = TestApp::start().await;
    let path = "/v1/admin/actions";
    let created = app.json(Method::POST, path, &[], webhook("platform")).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(app.send(Method::GET, "/v1/admin/actions/platform", &[], "").await.status, 200);
    insta::assert_snapshot!(app.get("actions/platform").await.problem(), @"404 not_found");
}
