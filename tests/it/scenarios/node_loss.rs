//! A node that is killed again and again loses nothing and records nothing twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::audit::{
    every_call_is_explained, nothing_is_lost_or_doubled, wait_until_quiet,
};
use crate::support::postgres::fresh_database;
use crate::support::process::{Sender, Server, pause};
use crate::support::receiver::Receiver;

const BATCH: usize = 100;
const KILLS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_nothing_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/actions.db", folder.path().display());
    storm(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_nothing_on_postgres() {
    storm(&fresh_database().await).await;
}

/// Sends events to a webhook while the server is killed at irregular times, then compares what
/// was acknowledged, what was recorded, and what the receiver saw.
async fn storm(database_url: &str) {
    let receiver = Receiver::start().await;
    let mut server = Server::start(database_url).await;
    server.create("/v1/admin/tenants", &json!({ "slug": "acme", "name": "Acme" })).await;
    let action = json!({
        "name": "deliver",
        "action_type": "webhook",
        "handler": "webhook.signed",
        "event_patterns": ["orders.placed"],
        "config": { "webhook_url": receiver.url(), "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
    });
    server.create("/v1/tenants/acme/actions", &action).await;

    let event_count = event_count();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let producer = tokio::spawn(send(server.sender(), event_count, acknowledged.clone()));
    for kill in 1..=KILLS {
        // Somewhere between two batches, or inside one.
        while acknowledged.load(Ordering::Relaxed) < event_count * kill / (KILLS + 1) {
            pause(Duration::from_millis(7)).await;
        }
        server.kill_and_restart().await;
    }
    producer.await.unwrap();
    eprintln!("{event_count} events acknowledged over {KILLS} kills");

    wait_until_quiet(&server, "deliver", event_count).await;
    let executions = server.read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, event_count);
    every_call_is_explained(&server, &executions, &receiver.calls_by_execution()).await;
}

/// Sends all events in batches, each until it is acknowledged. An event has the same id in
/// every try.
async fn send(sender: Sender, event_count: usize, acknowledged: Arc<AtomicUsize>) {
    for start in (0..event_count).step_by(BATCH) {
        let batch: Vec<Value> = (start..(start + BATCH).min(event_count))
            .map(|number| {
                json!({
                    "specversion": "1.0",
                    "id": number.to_string(),
                    "source": "storm",
                    "type": "orders.placed",
                    "data": { "number": number },
                })
            })
            .collect();
        let media = "application/cloudevents-batch+json";
        sender.post_until_acknowledged("/v1/tenants/acme/events", media, &json!(batch)).await;
        acknowledged.fetch_add(batch.len(), Ordering::Relaxed);
    }
}

/// More by `ACTIONS_TEST_STORM_EVENTS`.
#[expect(clippy::disallowed_methods, reason = "a test's size is chosen outside")]
fn event_count() -> usize {
    std::env::var("ACTIONS_TEST_STORM_EVENTS").map_or(20_000, |count| count.parse().unwrap())
}
