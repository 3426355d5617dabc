//! Processes that serve the API beside processes that run the work.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::audit::wait_until_quiet;
use crate::support::cluster::{Cluster, event, post_somewhere};

#[tokio::test(flavor = "multi_thread")]
async fn what_an_api_process_accepts_a_worker_runs() {
    let mut cluster = Cluster::start(0).await;
    let api = cluster.add(&[("ACTIONS_ROLE", "api")]).await;
    cluster.create_tenant().await;
    cluster.create_action("deliver", json!({})).await;
    let worker = cluster.add(&[("ACTIONS_ROLE", "worker")]).await;

    let events = (0..20).map(|number| event("orders.deliver", number, json!({})));
    let events = json!(events.collect::<Vec<_>>());
    post_somewhere(vec![cluster.nodes[api].sender()], 0, events).await;
    wait_until_quiet(&cluster.nodes[api], "deliver", 20).await;

    let listed = cluster.nodes[api].read("/v1/admin/nodes").await;
    let nodes = listed["items"].as_array().unwrap();
    assert_eq!(nodes.len(), 1, "a process that runs nothing is no node: {listed:#}");
    assert_eq!((&nodes[0]["name"], &nodes[0]["role"]), (&"node-1".into(), &"worker".into()));
    let tenants = cluster.nodes[worker].get("/v1/admin/tenants").send().await.unwrap();
    assert_eq!(tenants.status(), StatusCode::NOT_FOUND);
    for node in [api, worker] {
        cluster.nodes[node].signal("TERM");
        assert_eq!(cluster.nodes[node].ended().await, Some(0));
    }
}
