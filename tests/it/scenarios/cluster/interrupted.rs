//! A node takes over from a dead one, and dies over it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::storm::is_full;
use crate::support::audit::{
    every_call_is_explained, nothing_is_lost_or_doubled, wait_until_quiet,
};
use crate::support::cluster::{Cluster, PARTS, eventually};
use crate::support::process::pause;

/// Short, so that the dead are missed soon.
const QUICK: [(&str, &str); 2] = [("ACTIONS_BEAT", "1s"), ("ACTIONS_LEASE_TTL", "3s")];

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_is_cut_short_is_done_by_the_next_node() {
    let (per_second, rounds) = if is_full() { (1_000, 6) } else { (150, 1) };
    let mut cluster = Cluster::start(0).await;
    for _ in 0..3 {
        cluster.add(&QUICK).await;
    }
    cluster.create_tenant().await;
    cluster.create_action("deliver", json!({})).await;
    cluster.wait_until_owned_by(&[0, 1, 2]).await;
    let producer = cluster.produce("deliver", per_second);
    for round in 0..rounds {
        pause(Duration::from_secs(1)).await;
        let killed_at = Instant::now();
        let first = round % 3;
        let orphans = cluster.parts_in_store(first).await;
        assert!(!orphans.is_empty(), "the first to die owns something");
        cluster.nodes[first].kill();
        // Whoever claims them first is killed at once: what it has claimed is not taken over yet.
        let second = cluster.next_owner_of(&orphans, first).await;
        cluster.nodes[second].kill();
        let third = 3 - first - second;
        eventually("the last one has everything", async || {
            cluster.parts_in_store(third).await.len() == PARTS as usize
        })
        .await;
        eprintln!("two deaths were made good within {:?}", killed_at.elapsed());
        for node in [first, second] {
            cluster.nodes[node].start_again().await;
        }
        cluster.wait_until_owned_by(&[0, 1, 2]).await;
    }
    let event_count = producer.stop().await;

    wait_until_quiet(&cluster.nodes[0], "deliver", event_count).await;
    let executions = cluster.nodes[0].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, event_count);
    let calls = cluster.receiver.calls_by_execution();
    every_call_is_explained(&cluster.nodes[0], &executions, &calls).await;
}
