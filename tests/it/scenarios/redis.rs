//! Redis stops, forgets everything and comes back while events flow. Nothing that was
//! acknowledged is lost, and no process has to be restarted.

use std::time::Duration;

use actions_domain::ports::event_stream::EventStream;
use actions_infra::redis::{Redis, RedisStream};
use serde_json::{Value, json};

use crate::support::process::{Server, pause};
use crate::support::redis::{self, Gate};

/// How long everything may take until it is done.
const PATIENCE: u32 = 600;

struct Given {
    server: Server,
    gate: Gate,
    /// Not through the gate.
    url: String,
    stream: RedisStream,
    _folder: tempfile::TempDir,
}

impl Given {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}/actions.db", folder.path().display());
        let url = redis::own_database();
        let gate = Gate::to(&url).await;
        let settings = vec![("ACTIONS_REDIS_URL", gate.url())];
        let server = Server::start_with(&database, settings).await;
        server.create("/v1/admin/tenants", &json!({ "slug": "acme", "name": "Acme" })).await;
        server.create("/v1/tenants/acme/actions", &action()).await;
        let stream = RedisStream::new(&Redis::new(&url).unwrap());
        Self { server, gate, url, stream, _folder: folder }
    }

    async fn put(&self, numbers: std::ops::Range<u64>) {
        let entries: Vec<_> = numbers
            .map(|number| {
                let event =
                    json!({ "type": "orders.paid", "id": format!("s-{number}"), "data": {} });
                vec![
                    ("schema".to_owned(), b"tenant_acme".to_vec()),
                    ("event".to_owned(), event.to_string().into_bytes()),
                ]
            })
            .collect();
        self.stream.put(&entries).await.unwrap();
    }

    async fn flush(&self) {
        let _: String = redis::ask(&self.url, &::redis::cmd("FLUSHDB")).await;
    }

    /// Sends events over HTTP, which must be acknowledged whatever Redis does.
    async fn post(&self, count: usize) {
        for _ in 0..count {
            let event = json!({ "type": "orders.paid", "data": {} });
            let sent = self.server.post("/v1/tenants/acme/events").json(&event).send().await;
            assert_eq!(sent.unwrap().status(), 202);
        }
    }

    /// Waits until so many executions are completed, and answers how many there are.
    async fn completed(&self, wanted: usize) -> usize {
        let mut completed = 0;
        for _ in 0..PATIENCE {
            let summary = self.server.read("/v1/tenants/acme/metrics/summary").await;
            completed = summary["successful_executions"].as_u64().unwrap() as usize;
            if completed >= wanted {
                break;
            }
            pause(Duration::from_millis(100)).await;
        }
        completed
    }

    /// Waits until nothing is left in the stream, so that all of it was acknowledged.
    async fn drained(&self) {
        for _ in 0..PATIENCE {
            let mut length = ::redis::cmd("XLEN");
            let left: u64 = redis::ask(&self.url, length.arg("events:actions")).await;
            if left == 0 {
                return;
            }
            pause(Duration::from_millis(50)).await;
        }
        panic!("the stream is not read to its end");
    }
}

fn action() -> Value {
    json!({
        "name": "note",
        "action_type": "audit_log",
        "handler": "audit.log",
        "event_patterns": ["orders.*"],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_redis_comes_and_goes() {
    let mut given = Given::start().await;
    given.put(0..500).await;
    given.post(10).await;
    // Away for a while: what is in the stream waits there, HTTP goes on.
    given.gate.shut().await;
    given.put(500..1_000).await;
    given.post(10).await;
    assert_eq!(given.server.get("/readyz").send().await.unwrap().status(), 200);
    given.gate.open().await;
    given.drained().await;
    // Emptied: what had left the stream is safe.
    given.flush().await;
    given.put(1_000..1_500).await;
    given.post(10).await;
    given.drained().await;
    // Restarted without its data.
    given.gate.shut().await;
    given.flush().await;
    given.gate.open().await;
    given.put(1_500..2_000).await;
    given.post(10).await;
    // What a careful sender sends again counts once.
    given.put(0..500).await;
    given.drained().await;

    assert_eq!(given.completed(2_040).await, 2_040);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_and_works_without_its_redis() {
    let mut given = Given::start().await;
    given.gate.shut().await;
    given.server.kill_and_restart().await;
    given.post(5).await;
    assert_eq!(given.completed(5).await, 5);
    let metrics = given.server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("actions_stream_up 0"), "{metrics}");
    given.put(0..10).await;
    given.gate.open().await;
    assert_eq!(given.completed(15).await, 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_had_taken_is_taken_up_again() {
    let mut given = Given::start().await;
    given.put(0..2_000).await;
    given.server.kill_and_restart().await;
    given.drained().await;
    assert_eq!(given.completed(2_000).await, 2_000);
}
