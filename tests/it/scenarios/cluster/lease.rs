//! Attempts that take longer than a lease: whose node lives, keeps them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::storm::is_full;
use crate::support::audit::{nothing_is_lost_or_doubled, wait_until_quiet};
use crate::support::cluster::{Cluster, event, post_somewhere};
use crate::support::process::{Server, pause};
use crate::support::pulse::Pulse;

const LEASE: Duration = Duration::from_secs(3);
const QUICK: [(&str, &str); 2] = [("ACTIONS_BEAT", "1s"), ("ACTIONS_LEASE_TTL", "3s")];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_living_node_runs_is_never_stolen() {
    let (batches, size) = if is_full() { (60, 50) } else { (10, 12) };
    let mut cluster = Cluster::start(0).await;
    for _ in 0..2 {
        cluster.add(&QUICK).await;
    }
    cluster.create_tenant().await;
    cluster.create_action("deliver", json!({})).await;
    cluster.wait_until_owned_by(&[0, 1]).await;
    let pulse = Pulse::over(cluster.database_url()).await;
    let event_count = batches * size;
    for batch in 0..batches {
        // Around the lease's length: some end shortly before, some while it would be over.
        let numbers = batch * size..(batch + 1) * size;
        let events = numbers.map(|number| {
            let take_ms = 2_000 + (number * 37) % 2_500;
            event("orders.deliver", number, json!({ "take_ms": take_ms }))
        });
        let senders: Vec<_> = cluster.nodes.iter().map(Server::sender).collect();
        post_somewhere(senders, batch, json!(events.collect::<Vec<_>>())).await;
        pause(Duration::from_millis(300)).await;
        // Partitions change hands in the middle of it.
        if batch == batches / 2 {
            cluster.add(&QUICK).await;
        }
    }

    wait_until_quiet(&cluster.nodes[0], "deliver", event_count).await;
    let executions = cluster.nodes[0].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, event_count);
    // Who is not heard for a lease is given up, and rightly: then this run shows nothing.
    if pulse.longest() < LEASE / 2 {
        let calls = cluster.receiver.calls();
        let called: BTreeSet<&str> = calls.iter().map(|call| call.execution.as_str()).collect();
        assert_eq!((calls.len(), called.len()), (event_count, event_count), "called once each");
    }
}
