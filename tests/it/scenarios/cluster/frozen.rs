//! A node that sleeps through its lease and wakes up again.

use serde_json::json;

use crate::support::cluster::{Cluster, PARTS, event, eventually, post_somewhere};

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_that_wakes_up_changes_nothing() {
    // One slot, so that something waits in the memory of the frozen node.
    let quick = [("ACTIONS_BEAT", "1s"), ("ACTIONS_LEASE_TTL", "3s"), ("ACTIONS_SLOTS", "1")];
    let mut cluster = Cluster::start(0).await;
    for _ in 0..2 {
        cluster.add(&quick).await;
    }
    cluster.create_tenant().await;
    let policy = json!({ "max_retries": 0, "backoff": "fixed", "initial_delay_ms": 1000 });
    let no_retry = json!({ "retry_policy": policy });
    cluster.create_action("deliver", no_retry).await;
    cluster.wait_until_owned_by(&[0, 1]).await;
    // Whoever makes the first call is told that it failed for good.
    let fails = json!({ "take_ms": 500, "first_status": 400 });
    let events = json!([event("orders.deliver", 1, fails), event("orders.deliver", 2, json!({}))]);
    post_somewhere(vec![cluster.nodes[0].sender()], 0, events).await;
    eventually("the first attempt runs", async || !cluster.receiver.calls().is_empty()).await;
    cluster.nodes[0].signal("STOP");

    eventually("the other node has taken over", async || cluster.parts_of(1).await == PARTS).await;
    let executions = async || cluster.nodes[1].read("/v1/tenants/acme/executions").await;
    eventually("it has done the work", async || {
        let found = executions().await;
        found["items"].as_array().unwrap().iter().all(|one| one["status"] == "completed")
    })
    .await;
    let before = executions().await;

    cluster.nodes[0].signal("CONT");
    eventually("the late result is counted as fenced", async || {
        let told = cluster.nodes[0].get("/metrics").send().await.unwrap().text().await.unwrap();
        let count = told.lines().find_map(|line| line.strip_prefix("actions_fenced_total "));
        count.is_some_and(|count| count != "0")
    })
    .await;
    cluster.wait_until_owned_by(&[0, 1]).await;

    assert_eq!(executions().await, before, "what is recorded stays");
    let mut calls: Vec<u32> = cluster.receiver.calls_by_execution().into_values().collect();
    calls.sort_unstable();
    assert_eq!(calls, [1, 2], "the second waited in the frozen node, which started it no more");
}
