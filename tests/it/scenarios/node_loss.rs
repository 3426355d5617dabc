//! A node that is killed again and again loses nothing and records nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

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

    wait_until_quiet(&server, event_count).await;
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

/// Waits until as many executions are finished as there were events.
async fn wait_until_quiet(server: &Server, event_count: usize) {
    let mut completed = 0;
    for _ in 0..2_400 {
        let metrics = server.read("/v1/tenants/acme/actions/deliver/metrics").await;
        completed = metrics["successful_executions"].as_u64().unwrap();
        if completed >= event_count as u64 {
            return;
        }
        pause(Duration::from_millis(50)).await;
    }
    panic!("only {completed} of {event_count} executions have ended");
}

fn nothing_is_lost_or_doubled(executions: &[Value], event_count: usize) {
    let mut by_event: BTreeMap<&str, usize> = BTreeMap::new();
    for execution in executions {
        assert_eq!(execution["status"], "completed", "{execution}");
        *by_event.entry(execution["event_id"].as_str().unwrap()).or_default() += 1;
    }
    let doubled: Vec<_> = by_event.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "recorded twice: {doubled:?}");
    assert_eq!(by_event.len(), event_count, "lost or invented events");
}

/// An execution may have been called more than once only when its attempts say so: each attempt
/// is one call, and one whose node took over a lease admits one more that was not recorded.
async fn every_call_is_explained(
    server: &Server,
    executions: &[Value],
    calls: &HashMap<String, u32>,
) {
    let mut extra_calls = 0;
    for execution in executions {
        let id = execution["id"].as_str().unwrap();
        let seen = calls.get(id).copied().unwrap_or(0);
        assert!(seen >= 1, "{id} is completed but was never called");
        if seen == 1 {
            continue;
        }
        extra_calls += seen - 1;
        let full = server.read(&format!("/v1/tenants/acme/executions/{id}")).await;
        let attempts = full["attempts"].as_array().unwrap();
        let admitted = attempts.iter().filter(|attempt| attempt["cause"] == "lease_lost").count();
        assert!(
            seen as usize <= attempts.len() + admitted,
            "{id} was called {seen} times; its attempts are {attempts:?}"
        );
    }
    let all: u32 = calls.values().sum();
    eprintln!("{all} calls, {extra_calls} of them repeated and explained");
}

/// More by `ACTIONS_TEST_STORM_EVENTS`.
#[expect(clippy::disallowed_methods, reason = "a test's size is chosen outside")]
fn event_count() -> usize {
    std::env::var("ACTIONS_TEST_STORM_EVENTS").map_or(20_000, |count| count.parse().unwrap())
}
