//! Tasks for workers outside of the program.

use std::time::Duration;

use actions_domain::ports::clock::Clock;
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};

const SECOND: Duration = Duration::from_secs(1);

async fn pull(app: &TestApp, verb: &str, body: Value) -> Answer {
    app.json(Method::POST, &format!("/v1/internal/pull:{verb}?tenant=acme"), &[], body).await
}

/// An application with one execution that waits for a worker, and the execution's id.
async fn waiting(changes: Value) -> (TestApp, String) {
    let app = TestApp::start().await;
    let mut action = json!({
        "handler": "worker.pull",
        "config": { "queue": "images", "settings": { "width": 80 } },
    });
    for (field, value) in changes.as_object().unwrap() {
        action[field] = value.clone();
    }
    app.given_action("resize", "images.added", action).await;
    let accepted = app.emit("images.added", json!({ "file": "a.png" })).await;
    let id = accepted["executions"][0]["id"].as_str().unwrap_or_else(|| panic!("{accepted}"));
    (app, id.to_owned())
}

/// Claims the one task that is there.
async fn claim(app: &TestApp) -> Value {
    let body = json!({ "queues": ["images"], "worker": "resizer", "wait": 2 });
    let answer = pull(app, "claim", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body()["items"][0].clone()
}

async fn execution(app: &TestApp, id: &str) -> Value {
    app.get(&format!("executions/{id}")).await.body()
}

#[tokio::test]
async fn a_worker_takes_a_task_and_completes_it() {
    let (app, id) = waiting(json!({})).await;
    let claimed = claim(&app).await;
    let task = &claimed["task"];
    assert_eq!((&claimed["queue"], &claimed["lease_seconds"]), (&json!("images"), &json!(30)));
    assert_eq!((&task["execution_id"], &task["attempt"]), (&json!(id), &json!(1)));
    assert_eq!(
        (&task["input"], &task["settings"]),
        (&json!({ "file": "a.png" }), &json!({ "width": 80 }))
    );
    assert_eq!(
        (&task["action"], &task["event"]["type"]),
        (&json!("resize"), &json!("images.added"))
    );
    assert_eq!(claim(&app).await, Value::Null, "it is one worker's");

    let output = json!({ "size": 7 });
    let told = pull(&app, "complete", json!({ "token": claimed["token"], "output": output })).await;
    assert_eq!(told.status, 200, "{}", told.text);
    app.advance(2 * SECOND).await;

    let execution = execution(&app, &id).await;
    assert_eq!((&execution["status"], &execution["output"]), (&json!("completed"), &output));
}

#[tokio::test]
async fn what_a_worker_tells_is_shown_and_handed_to_the_next_one() {
    let retry = json!({ "max_retries": 1, "backoff": "fixed", "initial_delay_ms": 1000 });
    let (app, id) = waiting(json!({ "retry_policy": retry })).await;
    let token = claim(&app).await["token"].clone();
    let word =
        json!({ "token": token, "progress": 0.5, "note": "page 2", "checkpoint": { "page": 2 } });
    assert_eq!(pull(&app, "progress", word).await.status, 200);
    app.advance(SECOND).await;
    let report = execution(&app, &id).await["report"].clone();
    assert_eq!((&report["progress"], &report["note"]), (&json!(0.5), &json!("page 2")));
    assert_eq!(report["checkpoint"], json!({ "page": 2 }));

    let failed = json!({ "token": token, "message": "no disk", "code": "disk.full" });
    assert_eq!(pull(&app, "fail", failed).await.status, 200);
    app.advance(3 * SECOND).await;
    let next = claim(&app).await;
    assert_eq!(
        (&next["task"]["attempt"], &next["task"]["checkpoint"]),
        (&json!(2), &json!({ "page": 2 }))
    );

    let last = json!({ "token": next["token"], "message": "no such file", "retryable": false });
    assert_eq!(pull(&app, "fail", last).await.status, 200);
    app.advance(2 * SECOND).await;
    let execution = execution(&app, &id).await;
    assert_eq!(
        (&execution["status"], &execution["error"]["code"]),
        (&json!("failed"), &json!("worker.failed"))
    );
    assert_eq!(execution["attempts"][0]["error"]["code"], "disk.full");
}

#[tokio::test]
async fn a_worker_that_goes_silent_loses_its_task_to_another_one() {
    let (app, _) = waiting(json!({})).await;
    let lost = claim(&app).await;
    app.advance(25 * SECOND).await;
    assert_eq!(pull(&app, "extend", json!({ "token": lost["token"] })).await.status, 200);
    app.advance(25 * SECOND).await;
    assert_eq!(claim(&app).await, Value::Null);
    app.advance(10 * SECOND).await;

    let next = claim(&app).await;
    assert_eq!(next["task"]["execution_id"], lost["task"]["execution_id"]);
    let late = pull(&app, "complete", json!({ "token": lost["token"] })).await;
    insta::assert_snapshot!(late.problem(), @"409 claim.over");
    assert!(late.body()["detail"].as_str().unwrap().contains("stop working on it"));
}

#[tokio::test]
async fn a_worker_is_told_that_its_attempt_is_over() {
    let (app, id) = waiting(json!({ "timeout_seconds": 5 })).await;
    let token = claim(&app).await["token"].clone();
    app.advance(30 * SECOND).await;
    assert_eq!(execution(&app, &id).await["status"], "timeout");
    for verb in ["extend", "progress", "complete"] {
        let answer = pull(&app, verb, json!({ "token": token })).await;
        assert_eq!(answer.problem(), "409 claim.over", "{verb}");
    }
    assert_eq!(claim(&app).await, Value::Null, "the task is gone");
}

#[tokio::test]
async fn waiting_for_a_worker_is_no_silence() {
    let (app, id) =
        waiting(json!({ "heartbeat_timeout_seconds": 5, "timeout_seconds": 600 })).await;
    app.advance(60 * SECOND).await;
    let claimed = claim(&app).await;
    assert_eq!(
        (&claimed["task"]["execution_id"], &claimed["task"]["attempt"]),
        (&json!(id), &json!(1))
    );
    // A worker that has the task is heard by its own words alone.
    app.advance(10 * SECOND).await;
    let attempts = execution(&app, &id).await["attempts"].clone();
    assert_eq!(attempts[0]["error"]["code"], "execution.heartbeat_timeout", "{attempts}");
}

#[tokio::test]
async fn what_the_queue_has_lost_is_put_in_again() {
    let (app, id) = waiting(json!({})).await;
    let token = claim(&app).await["token"].clone();
    let word = json!({ "token": token, "checkpoint": 7 });
    assert_eq!(pull(&app, "progress", word).await.status, 200);
    app.advance(2 * SECOND).await;
    app.engine.tasks.flush();
    app.advance(2 * SECOND).await;

    assert_eq!(pull(&app, "extend", json!({ "token": token })).await.problem(), "409 claim.over");
    let again = claim(&app).await;
    assert_eq!(
        (&again["task"]["execution_id"], &again["task"]["checkpoint"]),
        (&json!(id), &json!(7))
    );
}

#[tokio::test]
async fn a_worker_never_notices_that_the_node_behind_its_task_has_died() {
    let (mut app, id) = waiting(json!({})).await;
    let token = claim(&app).await["token"].clone();
    app.engine.crash_and_restart().await;
    app.advance(2 * SECOND).await;

    let told = pull(&app, "complete", json!({ "token": token, "output": 9 })).await;
    assert_eq!(told.status, 200, "{}", told.text);
    app.advance(2 * SECOND).await;
    let id = id.parse().unwrap();
    let execution = app.engine.execution(actions_domain::id::ExecutionId(id)).await;
    assert_eq!(execution.output.unwrap().to_value(), json!(9));
}

#[tokio::test]
async fn a_claim_waits_for_the_first_task() {
    let (app, _) = waiting(json!({})).await;
    claim(&app).await;
    let before = app.engine.clock.now();
    assert_eq!(claim(&app).await, Value::Null);
    assert!(app.engine.clock.now() - before >= chrono::TimeDelta::seconds(2));
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_place() {
    let (app, _) = waiting(json!({})).await;
    let claimed = claim(&app).await;
    let with = async |verb: &str, field: &str, value: Value| {
        let mut body = match verb {
            "claim" => json!({ "queues": ["images"], "worker": "resizer" }),
            _ => json!({ "token": claimed["token"] }),
        };
        body[field] = value;
        pull(&app, verb, body).await.problem()
    };
    assert_eq!(with("claim", "queues", json!([])).await, "400 parameter.invalid /queues");
    assert_eq!(with("claim", "queues", json!(["a b"])).await, "400 parameter.invalid /queues");
    assert_eq!(
        with("claim", "queues", json!(vec!["a"; 21])).await,
        "400 parameter.invalid /queues"
    );
    assert_eq!(with("claim", "max", json!(0)).await, "400 parameter.invalid /max");
    assert_eq!(with("claim", "max", json!(101)).await, "400 parameter.invalid /max");
    assert_eq!(with("claim", "worker", json!("")).await, "400 parameter.invalid /worker");
    assert_eq!(
        with("claim", "lease_seconds", json!(3_601)).await,
        "400 parameter.invalid /lease_seconds"
    );
    assert_eq!(with("claim", "wait", json!(61)).await, "400 parameter.invalid /wait");
    assert_eq!(
        with("extend", "lease_seconds", json!(0)).await,
        "400 parameter.invalid /lease_seconds"
    );
    assert_eq!(with("progress", "progress", json!(1.5)).await, "400 parameter.invalid /progress");
    let large = json!("x".repeat(64 * 1024));
    assert_eq!(
        with("progress", "checkpoint", large.clone()).await,
        "413 body.too_large /checkpoint"
    );
    assert_eq!(with("complete", "output", large).await, "413 body.too_large /output");
    let failed = json!({ "token": claimed["token"], "message": "no", "code": "No Code" });
    assert_eq!(pull(&app, "fail", failed).await.problem(), "400 parameter.invalid /code");
    assert_eq!(with("extend", "token", json!("nonsense")).await, "409 claim.over");
    let mut body = json!({
        "name": "bad",
        "action_type": "custom",
        "handler": "worker.pull",
        "config": { "queue": "images" },
        "delivery": "at_most_once",
    });
    // A silent worker's task goes to another one, in the same attempt.
    assert_eq!(app.post("actions", body.clone()).await.problem(), "422 action.invalid /delivery");
    body["delivery"] = json!("at_least_once");
    body["config"]["queue"] = json!("a:b");
    assert_eq!(app.post("actions", body).await.problem(), "422 config.invalid /config/queue");
}

#[tokio::test]
async fn another_tenant_sees_nothing_of_a_task() {
    let (app, _) = waiting(json!({})).await;
    let body = json!({ "queues": ["images"], "worker": "stranger" });
    let answer = app.json(Method::POST, "/v1/internal/pull:claim", &[], body).await;
    assert_eq!(answer.body()["items"], json!([]));
    let token = claim(&app).await["token"].clone();
    let body = json!({ "token": token });
    let answer = app.json(Method::POST, "/v1/internal/pull:complete", &[], body).await;
    assert_eq!(answer.problem(), "409 claim.over");
}
