//! The worker of the how-to, as a process of its own against a real server.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::postgres::fresh_database;
use crate::support::process::{Server, pause};

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/remote_worker.py");

/// A worker that ends with the test.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn worker(server: &Server) -> Worker {
    let worker = Command::new("python3")
        .arg(WORKER)
        .env("ACTIONS_URL", server.url(""))
        .env("ACTIONS_TOKEN", crate::support::process::TOKEN)
        .env("ACTIONS_TENANT", "acme")
        .stdin(Stdio::null())
        .spawn();
    Worker(worker.expect("python3 is installed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_of_the_how_to_adds_up_and_survives_a_killed_server() {
    let mut server = Server::start(&fresh_database().await).await;
    server.create("/v1/admin/tenants", &json!({ "slug": "acme", "name": "Acme" })).await;
    let action = json!({
        "name": "add-up",
        "action_type": "custom",
        "handler": "worker.pull",
        "event_patterns": ["orders.counted"],
        "config": { "queue": "sums" },
    });
    server.create("/v1/tenants/acme/actions", &action).await;
    let _workers = [worker(&server), worker(&server)];
    emit(&server, 0).await;
    server.kill_and_restart().await;
    emit(&server, 1).await;

    let executions = loop {
        let executions = server.read_all("/v1/tenants/acme/executions").await;
        if executions.len() == 20 && executions.iter().all(|one| one["ended_at"].is_string()) {
            break executions;
        }
        pause(Duration::from_millis(100)).await;
    };

    for execution in &executions {
        let numbers = execution["input"]["numbers"].as_array();
        assert_eq!(execution["status"], "completed", "{execution}");
        let total: i64 = numbers.into_iter().flatten().filter_map(Value::as_i64).sum();
        if total > 0 {
            assert_eq!(execution["output"], json!({ "total": total }));
        }
        assert!(execution["output"]["total"].is_number(), "{execution}");
    }
}

/// Asks for ten sums.
async fn emit(server: &Server, round: i64) {
    for number in 0..10 {
        let numbers = [round, number, 5];
        let event = json!({ "type": "orders.counted", "data": { "numbers": numbers } });
        let answer = server.post("/v1/tenants/acme/events").json(&event).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }
}

#[test]
fn the_how_to_shows_the_worker_that_is_tested() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
    let page =
        std::fs::read_to_string(format!("{root}docs/how-to/write-a-remote-worker.md")).unwrap();
    assert!(page.contains(&std::fs::read_to_string(WORKER).unwrap()));
}
