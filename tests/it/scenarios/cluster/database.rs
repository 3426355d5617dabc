//! PostgreSQL is in trouble while several nodes work.

use std::time::Duration;

use serde_json::json;

use crate::support::audit::{
    every_call_is_explained, nothing_is_lost_or_doubled, wait_until_quiet,
};
use crate::support::cluster::Cluster;
use crate::support::postgres::{PrivateServer, fresh_database, terminate_connections};
use crate::support::process::pause;

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_and_a_restart_of_the_database_lose_nothing() {
    // The tests' own server is everybody's: only a private one is restarted.
    let server = PrivateServer::start();
    let database_url = match &server {
        Some(server) => server.url(),
        None => fresh_database().await,
    };
    let mut cluster = Cluster::start_over(&database_url, 3, Vec::new()).await;
    cluster.create_action("deliver", json!({})).await;
    cluster.wait_until_owned_by(&[0, 1, 2]).await;
    let producer = cluster.produce("deliver", 100);
    for turn in 0..20 {
        pause(Duration::from_millis(250)).await;
        terminate_connections(&database_url).await;
        if let Some(server) = server.as_ref().filter(|_| turn == 10) {
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
