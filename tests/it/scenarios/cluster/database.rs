//! PostgreSQL is in trouble while several nodes work.

use std::time::Duration;

use serde_json::json;

use super::storm::is_full;
use crate::support::audit::{
    every_call_is_explained, nothing_is_lost_or_doubled, wait_until_quiet,
};
use crate::support::cluster::Cluster;
use crate::support::postgres::{PrivateServer, fresh_database, terminate_connections};
use crate::support::process::pause;

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_and_a_restart_of_the_database_lose_nothing() {
    let (per_second, turns) = if is_full() { (1_000, 120) } else { (100, 20) };
    // The tests' own server is everybody's: only a private one is restarted.
    let server = PrivateServer::start().await;
    let database_url = match &server {
        Some(server) => server.url(),
        None => fresh_database().await,
    };
    let mut cluster = Cluster::start_over(&database_url, 3, Vec::new()).await;
    cluster.create_action("deliver", json!({})).await;
    cluster.wait_until_owned_by(&[0, 1, 2]).await;
    let producer = cluster.produce("deliver", per_second);
    for turn in 0..turns {
        pause(Duration::from_millis(250)).await;
        // All of them, or some by chance: then a session goes on with what it has left.
        let percent = if turn % 2 == 0 { 100 } else { 30 };
        terminate_connections(&database_url, percent).await;
        if let Some(server) = server.as_ref().filter(|_| turn % 20 == 10) {
            server.restart();
        }
    }
    let event_count = producer.stop().await;

    wait_until_quiet(&cluster.nodes[0], "deliver", event_count).await;
    for node in &mut cluster.nodes {
        assert!(node.is_running(), "no process may end with its database");
    }
    let executions = cluster.nodes[0].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, event_count);
    let calls = cluster.receiver.calls_by_execution();
    every_call_is_explained(&cluster.nodes[0], &executions, &calls).await;
}
