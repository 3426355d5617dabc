//! Schedules over HTTP.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, in_tenant};

async fn start() -> TestApp {
    let app = TestApp::start().await;
    app.given_action("report", "never.matched", json!({})).await;
    app
}

fn nightly() -> Value {
    json!({ "name": "nightly", "action": "report", "cron": "30 2 * * *", "timezone": "Europe/Berlin" })
}

fn with(changes: Value) -> Value {
    let mut body = nightly();
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_schedule_is_created_shown_changed_and_deleted() {
    let app = start().await;
    let created = app.post("schedules", nightly()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header("location"), in_tenant("schedules/nightly"));
    assert_eq!(created.body()["next_at"], "2026-01-01T01:30:00.000000Z");
    let mut shown = app.get("schedules/nightly").await.body();
    assert_eq!(shown, created.body());
    insta::assert_snapshot!(app.post("schedules", nightly()).await.problem(), @"409 exists");

    // What was read may be sent back, changed.
    shown["cron"] = json!("0 3 * * *");
    let path = "schedules/nightly";
    insta::assert_snapshot!(app.put(path, &[], shown.clone()).await.problem(), @"428 version.required");
    let stale = [("if-match", "\"1\"")];
    insta::assert_snapshot!(app.put(path, &stale, shown.clone()).await.problem(), @"412 version.stale");
    let tag = created.header("etag").to_owned();
    let changed = app.put(path, &[("if-match", &tag)], shown).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.body()["next_at"], "2026-01-01T02:00:00.000000Z");
    assert_ne!(changed.header("etag"), tag);

    let listed = app.get("schedules").await.body();
    assert_eq!(listed["items"], json!([changed.body()]));
    assert_eq!(app.delete(path, &[("if-match", "*")]).await.status, 204);
    insta::assert_snapshot!(app.get(path).await.problem(), @"404 not_found");
    let put = app.put("schedules/other", &[], json!({ "action": "report", "every_seconds": 60 }));
    assert_eq!(put.await.status, 201);
}

#[tokio::test]
async fn it_fires_and_tells_what_it_has_started() {
    let app = start().await;
    let body = r#"{"name":"beat","action":"report","every_seconds":60,"data":{"n":1.50}}"#;
    let headers = [("content-type", "application/json")];
    let created = app.send(Method::POST, &in_tenant("schedules"), &headers, body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert!(created.text.contains(r#""data":{"n":1.50}"#), "{}", created.text);
    app.advance(Duration::from_secs(90)).await;
    let shown = app.get("schedules/beat").await.body();
    assert_eq!(shown["last_at"], "2026-01-01T00:01:00.000000Z");
    let path = format!("executions/{}", shown["last_execution"].as_str().unwrap());
    let execution = app.get(&path).await;
    assert_eq!(execution.body()["status"], "completed");
    assert!(execution.text.contains("1.50"), "{}", execution.text);
}

#[tokio::test]
async fn coming_times_are_told() {
    let app = start().await;
    app.post("schedules", with(json!({ "is_active": false }))).await;
    let answer = app.get("schedules/nightly/next?count=2").await.body();
    assert_eq!(
        answer["times"],
        json!(["2026-01-01T01:30:00.000000Z", "2026-01-02T01:30:00.000000Z"])
    );
    assert_eq!(app.get("schedules/nightly").await.body()["next_at"], Value::Null, "it is paused");
    let default = app.get("schedules/nightly/next").await.body();
    assert_eq!(default["times"].as_array().unwrap().len(), 5);
    for wrong in ["0", "101", "x", "-1"] {
        let answer = app.get(&format!("schedules/nightly/next?count={wrong}")).await;
        assert_eq!(answer.problem(), "400 parameter.invalid", "{wrong}");
    }
    insta::assert_snapshot!(app.get("schedules/none/next").await.problem(), @"404 not_found");
}

#[tokio::test]
async fn it_is_paused_resumed_and_fired_by_hand() {
    let app = start().await;
    app.post("schedules", with(json!({ "cron": "* * * * *" }))).await;
    let paused = app.post("schedules/nightly:pause", json!({})).await;
    assert_eq!(
        (&paused.body()["is_active"], &paused.body()["next_at"]),
        (&json!(false), &Value::Null)
    );
    app.advance(Duration::from_secs(300)).await;
    assert_eq!(app.get("executions").await.body()["items"], json!([]));

    let fired = app.post("schedules/nightly:fire", json!({})).await;
    assert_eq!(fired.status, 202, "{}", fired.text);
    app.advance(Duration::from_secs(1)).await;
    let path = format!("executions/{}", fired.body()["executions"][0].as_str().unwrap());
    assert_eq!(app.get(&path).await.body()["status"], "completed");

    let resumed = app.post("schedules/nightly:resume", json!({})).await.body();
    assert_eq!(resumed["is_active"], true);
    app.advance(Duration::from_secs(61)).await;
    assert_eq!(app.get("executions").await.body()["items"].as_array().unwrap().len(), 2);
    for verb in ["pause", "resume", "fire"] {
        let answer = app.post(&format!("schedules/none:{verb}"), json!({})).await;
        assert_eq!(answer.problem(), "404 not_found", "{verb}");
    }
}

#[tokio::test]
async fn past_times_are_filled_in_once() {
    let app = start().await;
    app.post("schedules", with(json!({ "cron": "0 * * * *" }))).await;
    app.advance(Duration::from_secs(3_700)).await;
    let range = json!({ "from": "2025-12-31T22:00:00Z", "to": "2026-01-01T02:00:00Z" });
    let filled = app.post("schedules/nightly:backfill", range).await;
    assert_eq!(filled.status, 202, "{}", filled.text);
    let fired = filled.body()["fired"].as_array().unwrap().clone();
    let told: Vec<_> = fired
        .iter()
        .map(|one| (one["at"].as_str().unwrap()[11..13].to_owned(), one["duplicate"] == true))
        .collect();
    let told: Vec<_> = told.iter().map(|(hour, known)| (hour.as_str(), *known)).collect();
    assert_eq!(told, [("22", false), ("23", false), ("00", false), ("01", true)]);

    let long = json!({ "from": "2025-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z" });
    let refused = app.post("schedules/nightly:backfill", long).await;
    insta::assert_snapshot!(refused.problem(), @"400 parameter.invalid /to");
    let backwards = json!({ "from": "2026-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z" });
    let refused = app.post("schedules/nightly:backfill", backwards).await;
    insta::assert_snapshot!(refused.problem(), @"400 parameter.invalid /to");
}

#[tokio::test]
async fn a_wrong_schedule_is_refused_at_its_place() {
    let app = start().await;
    for (changes, place) in [
        (json!({ "name": "a b" }), "/name"),
        (json!({ "name": null }), "/name"),
        (json!({ "cron": "0 0 30 2 *" }), "/cron"),
        (json!({ "cron": "61 * * * *" }), "/cron"),
        (json!({ "cron": "x".repeat(200) }), "/cron"),
        (json!({ "timezone": "Europe/Nowhere" }), "/timezone"),
        (json!({ "cron": null, "every_seconds": 5 }), "/timezone"),
        (json!({ "cron": null, "timezone": null, "every_seconds": 0 }), "/every_seconds"),
        (json!({ "cron": null, "timezone": null, "at": "2020-01-01T00:00:00Z" }), "/at"),
        (json!({ "cron": null, "timezone": null }), ""),
        (json!({ "every_seconds": 5 }), ""),
        (json!({ "action": null }), ""),
        (json!({ "action": "unknown" }), "/action"),
        (json!({ "event_type": "a.b" }), "/event_type"),
        (json!({ "action": null, "event_type": "plain" }), "/event_type"),
        (json!({ "action": null, "event_type": "a.b", "overlap": "skip" }), "/overlap"),
        (json!({ "data": "x".repeat(20_000) }), "/data"),
        (json!({ "description": "x".repeat(2_000) }), "/description"),
    ] {
        let answer = app.post("schedules", with(changes.clone())).await;
        let expected = format!("422 schedule.invalid {place}").trim_end().to_owned();
        assert_eq!(answer.problem(), expected, "{changes} {}", answer.text);
    }
    for (changes, problem) in [
        (json!({ "missed": "never" }), "400 body.invalid"),
        (json!({ "every": 5 }), "400 body.unknown_field"),
        (json!({ "at": "noon" }), "400 body.invalid"),
    ] {
        let answer = app.post("schedules", with(changes)).await;
        assert!(answer.problem().starts_with(problem), "{}", answer.text);
    }
    assert_eq!(app.get("schedules").await.body()["items"], json!([]));
}

#[tokio::test]
async fn what_was_fired_may_be_saved_again() {
    let app = start().await;
    let once = json!({ "name": "once", "action": "report", "at": "2026-01-01T00:05:00Z" });
    app.post("schedules", once).await;
    app.advance(Duration::from_secs(600)).await;
    let mut shown = app.get("schedules/once").await.body();
    assert_eq!((&shown["next_at"], shown["last_at"].is_string()), (&Value::Null, true));
    shown["description"] = json!("It was fun.");
    let saved = app.put("schedules/once", &[("if-match", "*")], shown).await;
    assert_eq!(saved.status, 200, "{}", saved.text);
    app.advance(Duration::from_secs(600)).await;
    assert_eq!(app.get("executions").await.body()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_schedule_of_another_tenant_is_like_a_missing_one() {
    let app = start().await;
    app.post("schedules", nightly()).await;
    app.json(Method::POST, "/v1/admin/tenants", &[], json!({ "slug": "other" })).await;
    for (method, path) in [
        (Method::GET, "schedules/nightly"),
        (Method::DELETE, "schedules/nightly"),
        (Method::POST, "schedules/nightly:fire"),
        (Method::GET, "schedules/nightly/next"),
    ] {
        let path = format!("/v1/tenants/other/{path}");
        let answer = app.json(method, &path, &[], json!({})).await;
        assert_eq!(answer.problem(), "404 not_found", "{path}");
    }
}
