//! A server that is killed again and again while runs go on: each comes to its end, and each of its
//! steps is recorded once.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::postgres::fresh_database;
use crate::support::process::{Server, pause};
use crate::support::receiver::Receiver;

const RUNS: usize = 60;
const KILLS: usize = 8;
/// How long all of them may take after the last kill, in tenths of a second.
const WAITS_MAX: usize = 600;

#[tokio::test(flavor = "multi_thread")]
async fn killed_runs_end_once_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    sweep(&format!("sqlite://{}/actions.db", folder.path().display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_runs_end_once_on_postgres() {
    sweep(&fresh_database().await).await;
}

/// Two steps beside one another, a pause, and a last one, each a call of the receiver.
fn document(url: &str) -> Value {
    let config =
        json!({ "webhook_url": url, "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" });
    let step = |name: &str, after: &[&str]| {
        json!({
            "name": name,
            "handler": "webhook.signed",
            "config": config,
            "depends_on": after,
            "input_mapping": { "step": name, "run": "{{ input.number }}", "take_ms": 20 },
        })
    };
    let mut last = step("last", &["left", "right"]);
    last["delay"] = json!("1 second");
    let steps = [step("first", &[]), step("left", &["first"]), step("right", &["first"]), last];
    json!({ "action": { "name": "swept", "workflow": { "steps": steps } } })
}

async fn sweep(database_url: &str) {
    let receiver = Receiver::start().await;
    let mut server = Server::start(database_url).await;
    server.create("/v1/admin/tenants", &json!({ "slug": "acme", "name": "Acme" })).await;
    let put = server.put("/v1/tenants/acme/workflows/swept").json(&document(receiver.url()));
    let put = put.send().await.unwrap();
    assert_eq!(put.status(), 201, "{}", put.text().await.unwrap());
    let sender = server.sender();
    let starting = tokio::spawn(async move {
        for number in 0..RUNS {
            let body = json!({ "id": format!("run-{number}"), "input": { "number": number } });
            let path = "/v1/tenants/acme/workflows/swept/runs";
            sender.post_until_acknowledged(path, "application/json", &body).await;
        }
    });
    for kill in 0..KILLS {
        // At another place of the runs each time.
        pause(Duration::from_millis(90 + 130 * u64::try_from(kill).unwrap())).await;
        server.kill_and_restart().await;
    }
    starting.await.unwrap();
    let runs = ended(&server).await;

    assert_eq!(runs.len(), RUNS, "what was started twice is one run");
    let mut executions = HashSet::new();
    for run in &runs {
        let id = run["id"].as_str().unwrap();
        assert_eq!(run["status"], "completed", "{run}");
        let journal = server.read(&format!("/v1/tenants/acme/runs/{id}/journal?limit=1000")).await;
        let entries = journal["items"].as_array().unwrap();
        let count = |name: &str| entries.iter().filter(|entry| entry["entry"] == name).count();
        assert_eq!((count("StepScheduled"), count("StepCompleted")), (4, 4), "{journal}");
        assert_eq!((count("TimerFired"), count("RunCompleted")), (1, 1), "{journal}");
        let whole = server.read(&format!("/v1/tenants/acme/runs/{id}")).await;
        for step in whole["steps"].as_array().unwrap() {
            executions.extend(step["execution"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(executions.len(), 4 * RUNS, "each step has made one execution");
    let called = receiver.calls_by_execution();
    assert!(executions.iter().all(|id| called.contains_key(id)), "each was called");
    assert!(called.keys().all(|id| executions.contains(id)), "nothing else was called");
    // Whatever was called again was cut off by a kill: the history says so.
    for (id, calls) in called.iter().filter(|(_, calls)| **calls > 1) {
        let execution = server.read(&format!("/v1/tenants/acme/executions/{id}")).await;
        let lost = execution["attempts"].as_array().unwrap().iter();
        let lost = lost.filter(|attempt| attempt["cause"] == "lease_lost").count();
        assert!(lost > 0 && usize::try_from(*calls).unwrap() <= KILLS + 1, "{execution}");
    }
}

/// Waits until all runs have ended.
async fn ended(server: &Server) -> Vec<Value> {
    for _ in 0..WAITS_MAX {
        let runs = server.read_all("/v1/tenants/acme/runs").await;
        if runs.len() >= RUNS && runs.iter().all(|run| !run["ended_at"].is_null()) {
            return runs;
        }
        pause(Duration::from_millis(100)).await;
    }
    panic!("the runs do not end: {:?}", server.read_all("/v1/tenants/acme/runs").await);
}
