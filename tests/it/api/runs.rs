//! Runs over HTTP.

use serde_json::{Value, json};

use super::roles::workflow;
use crate::support::app::{TestApp, in_tenant};

async fn given_run(app: &TestApp, body: Value) -> String {
    if app.get("workflows/w").await.status == 404 {
        let put = app.put("workflows/w", &[], workflow("w")).await;
        assert_eq!(put.status, 201, "{}", put.text);
    }
    let started = app.post("workflows/w/runs", body).await;
    assert_eq!(started.status, 202, "{}", started.text);
    app.engine.settle().await;
    let id = started.body()["id"].as_str().unwrap().to_owned();
    assert_eq!(started.header("location"), in_tenant(&format!("runs/{id}")));
    id
}

#[tokio::test]
async fn a_run_is_listed_and_shown_with_what_it_waits_for() {
    let app = TestApp::start().await;
    app.put("workflows/w", &[], workflow("w")).await;
    let headers = [("content-type", "application/json")];
    let path = in_tenant("workflows/w/runs");
    let body = r#"{"input": {"amount": 12.50}}"#;
    let run = app.send(axum::http::Method::POST, &path, &headers, body).await.body();
    let run = run["id"].as_str().unwrap();
    let shown = app.get(&format!("runs/{run}")).await;
    assert!(shown.text.contains("12.50"), "an input is kept as it was written: {}", shown.text);
    let body = shown.body();
    assert_eq!((&body["status"], &body["workflow"]), (&json!("running"), &json!("w")));
    assert_eq!(body["steps"][0]["status"], "open");
    assert_eq!(body["waits_for"][0]["signal"], "go");
    let listed = app.get("runs?status=running&workflow=w").await.body();
    assert_eq!(listed["items"][0]["id"], body["id"]);
    assert_eq!(app.get("runs?status=failed").await.body()["items"], json!([]));
    insta::assert_snapshot!(app.get("runs?status=odd").await.problem(), @"400 filter.invalid");
    insta::assert_snapshot!(app.get("runs?color=red").await.problem(), @"400 filter.unknown_field");
}

#[tokio::test]
async fn the_list_goes_on_page_by_page() {
    let app = TestApp::start().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(given_run(&app, json!({})).await);
        app.advance(std::time::Duration::from_millis(10)).await;
    }
    all.reverse();
    let mut seen = Vec::new();
    let mut path = "runs?limit=2".to_owned();
    loop {
        let page = app.get(&path).await.body();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|run| run["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("runs?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn the_journal_and_the_timeline_tell_what_happened() {
    let app = TestApp::start().await;
    let run = given_run(&app, json!({})).await;
    let told = app.post(&format!("runs/{run}:signal"), json!({ "name": "go" })).await;
    assert_eq!(told.status, 202, "{}", told.text);
    app.engine.settle().await;
    let journal = app.get(&format!("runs/{run}/journal")).await.body();
    let names: Vec<&str> = journal["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["entry"].as_str().unwrap())
        .collect();
    let expected = ["RunStarted", "SignalAwaited", "SignalReceived", "SignalTaken", "RunCompleted"];
    assert_eq!(names, expected);
    let page = app.get(&format!("runs/{run}/journal?limit=2")).await.body();
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = app.get(&format!("runs/{run}/journal?limit=2&cursor={cursor}")).await.body();
    assert_eq!(rest["items"][0]["number"], 2);
    let timeline = app.get(&format!("runs/{run}/timeline")).await.body();
    insta::assert_snapshot!(timeline["text"].as_str().unwrap(), @r"
    00:00.000  run   started
    00:00.000  wait  waits for a signal
    00:00.000  run   was sent the signal go
    00:00.000  wait  took its signal
    00:00.000  run   completed
    ");
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let run = given_run(&app, json!({})).await;
    let post = async |verb: &str, body: Value| {
        app.post(&format!("runs/{run}:{verb}"), body).await.problem()
    };
    insta::assert_snapshot!(post("resume", json!({})).await, @"409 run.state");
    insta::assert_snapshot!(post("retry", json!({ "step": "wait" })).await, @"409 run.state");
    insta::assert_snapshot!(post("retry", json!({ "step": "no step" })).await, @"422 run.invalid /step");
    insta::assert_snapshot!(post("signal", json!({ "name": "" })).await, @"422 run.invalid");
    insta::assert_snapshot!(post("signal", json!({})).await, @"400 body.invalid");
    let large = json!({ "name": "go", "payload": "x".repeat(70_000) });
    insta::assert_snapshot!(post("signal", large).await, @"413 body.too_large");
    let journal = app.get(&format!("runs/{run}/journal")).await.body();
    assert_eq!(journal["items"].as_array().unwrap().len(), 2);

    let nobody = "runs/0197a3c0-0000-7000-8000-000000000000";
    insta::assert_snapshot!(app.get(nobody).await.problem(), @"404 not_found");
    insta::assert_snapshot!(app.post(&format!("{nobody}:pause"), json!({})).await.problem(), @"404 not_found");
    insta::assert_snapshot!(app.get("runs/x").await.problem(), @"400 parameter.invalid");
    let id = json!({ "id": "x".repeat(300) });
    insta::assert_snapshot!(app.post("workflows/w/runs", id).await.problem(), @"422 run.invalid /id");
    let deep = json!({ "input": "x".repeat(1_100_000) });
    let deep = app.post("workflows/w/runs", deep).await;
    insta::assert_snapshot!(deep.problem(), @"413 body.too_large");
}

#[tokio::test]
async fn a_start_waits_for_the_end_when_it_is_asked_to() {
    let app = TestApp::start().await;
    let steps = json!([{ "name": "a", "handler": "test.script" }]);
    let document = json!({ "action": { "name": "quick", "workflow": { "steps": steps } } });
    app.put("workflows/quick", &[], document).await;
    let over = app.post("workflows/quick/runs?wait=5s", json!({})).await;
    assert_eq!((over.status.as_u16(), &over.body()["status"]), (200, &json!("completed")));
}

#[tokio::test]
async fn runs_of_another_tenant_are_not_there() {
    let app = TestApp::start().await;
    let run = given_run(&app, json!({})).await;
    let made = app
        .json(
            axum::http::Method::POST,
            "/v1/admin/tenants",
            &[],
            json!({ "slug": "other", "name": "O" }),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    for path in
        [format!("runs/{run}"), format!("runs/{run}/journal"), format!("runs/{run}/timeline")]
    {
        let path = format!("/v1/tenants/other/{path}");
        let answer = app.send(axum::http::Method::GET, &path, &[], "").await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
    for verb in ["signal", "pause", "resume", "cancel", "retry"] {
        let path = format!("/v1/tenants/other/runs/{run}:{verb}");
        let body = json!({ "name": "go", "step": "wait" });
        let body = match verb {
            "signal" => json!({ "name": body["name"] }),
            "retry" => json!({ "step": body["step"] }),
            _ => json!({}),
        };
        let answer = app.json(axum::http::Method::POST, &path, &[], body).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
    let listed = app.send(axum::http::Method::GET, "/v1/tenants/other/runs", &[], "").await;
    assert_eq!(listed.body()["items"], json!([]));
}
