//! Bulks over HTTP: previews, progress, canaries, and what is refused.

use actions_domain::execution::Fault;
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::app::{Answer, TestApp, in_tenant};
use crate::support::engine::Answer as Told;

const SECOND: Duration = Duration::from_secs(1);

/// An app with so many dead letters of the action `ship`.
async fn with_dead(count: usize) -> TestApp {
    let app = TestApp::start().await;
    app.given_action("ship", "orders.paid", json!({})).await;
    let fault = |_| Told::Reject(Fault::handler("http.status", "answered 503"));
    app.engine.script.answer((0..count).map(fault));
    for number in 0..count {
        app.emit("orders.paid", json!({ "number": number })).await;
    }
    app
}

/// An app with so many jobs of the action `ship` that wait for an hour.
async fn with_waiting(count: usize) -> TestApp {
    let app = TestApp::start().await;
    app.given_action("ship", "never.matched", json!({})).await;
    for _ in 0..count {
        let answer = app.post("actions/ship:execute", json!({ "delay": "1h" })).await;
        assert!(answer.status.is_success(), "{}", answer.text);
    }
    app.engine.settle().await;
    app
}

async fn items(app: &TestApp, path: &str) -> Vec<Value> {
    let answer = app.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body()["items"].as_array().unwrap().clone()
}

/// Starts a bulk and answers its path.
async fn start(app: &TestApp, body: Value) -> String {
    let started = app.post("bulk", body).await;
    assert_eq!(started.status, 202, "{}", started.text);
    let path = format!("bulk/{}", started.body()["id"].as_str().unwrap());
    assert_eq!(started.header("location"), in_tenant(&path));
    path
}

/// State, done, refused and left.
async fn progress(app: &TestApp, path: &str) -> String {
    let bulk = app.get(path).await.body();
    let count = |name: &str| bulk[name].as_u64().unwrap();
    let state = bulk["state"].as_str().unwrap();
    format!("{state} {} {} {}", count("done"), count("refused"), count("left"))
}

#[tokio::test]
async fn a_preview_counts_shows_samples_and_changes_nothing() {
    let app = with_dead(7).await;
    let body = json!({ "op": "requeue", "where": "error:http.status", "dry_run": true });
    let preview = app.post("bulk", body).await;
    assert_eq!(preview.status, 200, "{}", preview.text);
    let preview = preview.body();
    assert_eq!((&preview["count"], &preview["more"]), (&json!(7), &json!(false)));
    assert_eq!(preview["samples"].as_array().unwrap().len(), 5);
    assert_eq!(preview["samples"][0]["error"]["code"], "http.status");
    let body = json!({ "op": "requeue", "where": "", "max": 6, "dry_run": true });
    let preview = app.post("bulk", body).await.body();
    assert_eq!((&preview["count"], &preview["more"]), (&json!(6), &json!(true)));
    assert_eq!(items(&app, "bulk").await, Vec::<Value>::new());
    assert_eq!(items(&app, "dead-letters").await.len(), 7);
}

#[tokio::test]
async fn a_bulk_requeues_what_its_filter_found_and_tells_the_new_executions() {
    let app = with_dead(3).await;
    let body = json!({ "op": "requeue", "where": "action:ship", "reason": "mended" });
    let path = start(&app, body).await;
    app.advance(2 * SECOND).await;
    assert_eq!(progress(&app, &path).await, "completed 3 0 0");
    let bulk = app.get(&path).await.body();
    assert_eq!((&bulk["where"], &bulk["reason"]), (&json!("action:ship"), &json!("mended")));
    assert_eq!(bulk["started_by"], "token:bootstrap");
    assert_ne!(bulk["ended_at"], Value::Null);
    let done = items(&app, &format!("{path}/items")).await;
    for item in &done {
        let fresh = item["execution_id"].as_str().unwrap();
        let execution = app.get(&format!("executions/{fresh}")).await.body();
        assert_eq!(
            (&execution["status"], &execution["parent_id"]),
            (&json!("completed"), &item["target_id"])
        );
    }
    assert_eq!(done.len(), 3);
    assert_eq!(items(&app, "dead-letters").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_bulk_cancels_what_has_not_ended_and_nothing_that_came_later() {
    let app = with_waiting(4).await;
    app.post("actions/ship:execute", json!({})).await;
    app.engine.settle().await;
    let path = start(&app, json!({ "op": "cancel", "where": "action:ship" })).await;
    app.post("actions/ship:execute", json!({ "delay": "1h" })).await;
    app.advance(2 * SECOND).await;
    assert_eq!(progress(&app, &path).await, "completed 4 0 0");
    assert_eq!(items(&app, "executions?status=cancelled").await.len(), 4);
    assert_eq!(items(&app, "executions?status=completed").await.len(), 1);
    assert_eq!(items(&app, "executions?status=pending").await.len(), 1);
}

#[tokio::test]
async fn a_bulk_discards_a_group_with_a_reason() {
    let app = with_dead(2).await;
    let group = items(&app, "dead-letters/groups").await[0]["fingerprint"].clone();
    let path =
        start(&app, json!({ "op": "discard", "group": group, "reason": "not needed" })).await;
    app.advance(2 * SECOND).await;
    assert_eq!(progress(&app, &path).await, "completed 2 0 0");
    assert_eq!(items(&app, "dead-letters").await, Vec::<Value>::new());
    // A group is meant as it is written: nothing stands for all.
    let none = json!({ "op": "discard", "group": "*", "reason": "x", "dry_run": true });
    assert_eq!(app.post("bulk", none).await.body()["count"], 0);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_one_by_one() {
    let app = with_dead(2).await;
    let dead: Vec<Value> =
        items(&app, "dead-letters").await.iter().map(|letter| letter["id"].clone()).collect();
    app.post(
        &format!("dead-letters/{}:discard", dead[0].as_str().unwrap()),
        json!({ "reason": "x" }),
    )
    .await;
    let nobody = "01890000-0000-7000-8000-000000000000";
    let ids = json!([dead[0], nobody, dead[1], dead[1]]);
    let path = start(&app, json!({ "op": "requeue", "ids": ids })).await;
    app.advance(2 * SECOND).await;
    assert_eq!(progress(&app, &path).await, "completed 1 2 0");
    let refused = items(&app, &format!("{path}/items?outcome=refused")).await;
    assert_eq!(refused[1]["target_id"], nobody);
    assert_eq!(refused[1]["reason"], "there is no such dead letter");
    // Of executions too.
    let path = start(&app, json!({ "op": "cancel", "ids": [dead[1], nobody] })).await;
    app.advance(2 * SECOND).await;
    let refused = items(&app, &format!("{path}/items?where=outcome:refused&limit=1")).await;
    assert_eq!(refused[0]["reason"], "the execution is failed already");
}

#[tokio::test]
async fn a_canary_comes_first_and_the_rest_waits_for_somebody() {
    let app = with_dead(5).await;
    let path = start(&app, json!({ "op": "requeue", "where": "", "canary": 2 })).await;
    app.advance(10 * SECOND).await;
    assert_eq!(progress(&app, &path).await, "paused 2 0 3");
    assert_eq!(app.get(&path).await.body()["after_canary"], true);
    assert_eq!(items(&app, &format!("{path}/items?outcome=pending")).await.len(), 3);
    app.post(&format!("{path}:resume"), json!({})).await;
    app.advance(2 * SECOND).await;
    assert_eq!(progress(&app, &path).await, "completed 5 0 0");
}

#[tokio::test]
async fn a_rate_spreads_a_bulk_over_time() {
    let app = with_waiting(30).await;
    let path = start(&app, json!({ "op": "cancel", "where": "", "rate": 4 })).await;
    app.advance(3 * SECOND).await;
    let done = app.get(&path).await.body()["done"].as_u64().unwrap();
    assert!((10..=14).contains(&done), "{done}");
    app.advance(10 * SECOND).await;
    assert_eq!(progress(&app, &path).await, "completed 30 0 0");
}

#[tokio::test]
async fn a_bulk_is_paused_resumed_and_ended_by_people() {
    let app = with_waiting(20).await;
    let path = start(&app, json!({ "op": "cancel", "where": "", "rate": 2 })).await;
    app.advance(2 * SECOND).await;
    let paused = app.post(&format!("{path}:pause"), json!({})).await.body();
    assert_eq!(
        (&paused["state"], &paused["changed_by"]),
        (&json!("paused"), &json!("token:bootstrap"))
    );
    assert_eq!(paused["after_canary"], false);
    let before = progress(&app, &path).await;
    app.advance(5 * SECOND).await;
    assert_eq!(progress(&app, &path).await, before, "nothing goes on");
    app.post(&format!("{path}:resume"), json!({})).await;
    app.advance(2 * SECOND).await;
    assert_ne!(progress(&app, &path).await, before);
    let cancelled = app.post(&format!("{path}:cancel"), json!({})).await.body();
    assert_eq!(cancelled["state"], "cancelled");
    app.advance(20 * SECOND).await;
    let ended = app.get(&path).await.body();
    assert_eq!(ended["done"], cancelled["done"]);
    assert!(ended["left"].as_u64().unwrap() > 0);
    for (verb, expected) in [("pause", "409 bulk.ended"), ("resume", "409 bulk.ended")] {
        assert_eq!(app.post(&format!("{path}:{verb}"), json!({})).await.problem(), expected);
    }
    assert_eq!(app.post(&format!("{path}:cancel"), json!({})).await.body(), ended);
}

#[tokio::test]
async fn bulks_are_listed_newest_first() {
    let app = with_waiting(1).await;
    let mut paths = Vec::new();
    for _ in 0..3 {
        paths.push(start(&app, json!({ "op": "cancel", "where": "status:failed" })).await);
        app.advance(SECOND).await;
    }
    let first = app.get("bulk?limit=2").await.body();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = app.get(&format!("bulk?limit=2&cursor={cursor}")).await.body();
    let listed = [&first, &second].map(|page| page["items"].as_array().unwrap().clone()).concat();
    let listed: Vec<_> =
        listed.iter().map(|bulk| format!("bulk/{}", bulk["id"].as_str().unwrap())).collect();
    paths.reverse();
    assert_eq!(listed, paths);
    assert_eq!(progress(&app, &paths[0]).await, "completed 0 0 0", "nothing was found");
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_where_it_stands() {
    let app = with_dead(1).await;
    let many: Vec<_> = vec!["01890000-0000-7000-8000-000000000000"; 10_001];
    for (body, expected) in [
        (json!({}), "400 body.invalid"),
        (json!({ "op": "requeue" }), "400 parameter.invalid "),
        (json!({ "op": "explode", "where": "" }), "400 body.invalid"),
        (json!({ "op": "requeue", "where": "", "group": "x" }), "400 parameter.invalid "),
        (json!({ "op": "requeue", "ids": [] }), "400 parameter.invalid /ids"),
        (json!({ "op": "requeue", "ids": many }), "400 parameter.invalid /ids"),
        (json!({ "op": "requeue", "ids": ["x"] }), "400 body.invalid"),
        (json!({ "op": "cancel", "group": "x" }), "400 parameter.invalid /group"),
        (json!({ "op": "requeue", "group": "" }), "400 parameter.invalid /group"),
        (json!({ "op": "discard", "where": "" }), "400 parameter.invalid /reason"),
        (json!({ "op": "discard", "where": "", "reason": " " }), "400 parameter.invalid /reason"),
        (json!({ "op": "requeue", "where": "", "max": 0 }), "400 parameter.invalid /max"),
        (json!({ "op": "requeue", "where": "", "max": 100_001 }), "400 parameter.invalid /max"),
        (json!({ "op": "requeue", "where": "", "canary": 0 }), "400 parameter.invalid /canary"),
        (json!({ "op": "requeue", "where": "", "rate": 10_001 }), "400 parameter.invalid /rate"),
        (json!({ "op": "requeue", "where": "", "rate": -1 }), "400 body.invalid"),
        (json!({ "op": "requeue", "where": "status" }), "400 filter.invalid /where"),
        (json!({ "op": "requeue", "where": "status:failed" }), "400 filter.unknown_field /where"),
        (json!({ "op": "cancel", "where": "status:odd" }), "400 filter.invalid /where"),
        (json!({ "op": "requeue", "where": "", "extra": 1 }), "400 body.unknown_field"),
    ] {
        for dry_run in [false, true] {
            let mut body = body.clone();
            if dry_run {
                body["dry_run"] = json!(true);
            }
            let told = app.post("bulk", body.clone()).await.problem();
            assert!(told.starts_with(expected.trim_end()), "{body}: {told}, not {expected}");
        }
    }
    assert_eq!(items(&app, "bulk").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_tenant_has_only_so_many_bulks_at_once() {
    // Each bulk takes one, and waits with the others.
    let app = with_waiting(45).await;
    let body = json!({ "op": "cancel", "where": "", "canary": 1 });
    let mut paths = Vec::new();
    for _ in 0..20 {
        let path = start(&app, body.clone()).await;
        app.post(&format!("{path}:pause"), json!({})).await;
        paths.push(path);
    }
    assert_eq!(app.post("bulk", body.clone()).await.problem(), "429 quota.exceeded");
    app.post(&format!("{}:cancel", paths[0]), json!({})).await;
    start(&app, body).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let app = with_dead(1).await;
    let path = start(&app, json!({ "op": "requeue", "where": "" })).await;
    let elsewhere = |path: &str| format!("/v1/admin/{path}");
    let nobody = "bulk/01890000-0000-7000-8000-000000000000";
    let ask =
        async |method: Method, path: String| -> Answer { app.send(method, &path, &[], "").await };
    for path in [elsewhere(&path), in_tenant(nobody)] {
        for (method, rest) in [
            (Method::GET, ""),
            (Method::GET, "/items"),
            (Method::POST, ":pause"),
            (Method::POST, ":resume"),
            (Method::POST, ":cancel"),
        ] {
            let answer = ask(method.clone(), format!("{path}{rest}")).await;
            assert_eq!(answer.problem(), "404 not_found", "{method} {path}{rest}");
        }
    }
    let answer = app.get("bulk/x").await;
    assert_eq!(answer.problem(), "400 parameter.invalid");
    let answer = app.get(&format!("{path}/items?outcome=odd")).await;
    assert_eq!(answer.problem(), "400 filter.invalid");
}
