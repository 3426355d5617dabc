//! Quotas over several processes: together they take in no more than one may, and what the platform
//! says holds on all of them.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::cluster::{Cluster, eventually};
use crate::support::process::{Server, pause};

const EVENTS: &str = "/v1/tenants/acme/events";
const LIMITS: &str = "/v1/tenants/acme/controls/limits";
const ALL: &str = "/v1/admin/tenant-limits";
/// What is measured: long enough that a block more or less does not matter.
const MEASURED: Duration = Duration::from_secs(8);

async fn put(node: &Server, path: &str, body: &Value) {
    let token = crate::support::process::TOKEN;
    let request = reqwest::Client::new().request(Method::PUT, node.url(path)).bearer_auth(token);
    let answer = request.json(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

async fn send(node: &Server) -> StatusCode {
    let event = json!({ "type": "orders.paid", "data": {} });
    node.post(EVENTS).json(&event).send().await.unwrap().status()
}

/// Sends until the time is over, and answers how many were taken in.
async fn send_until(node: &Server, end: Instant) -> u64 {
    let mut accepted = 0;
    while Instant::now() < end {
        match send(node).await {
            StatusCode::ACCEPTED => accepted += 1,
            status => {
                assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
                pause(Duration::from_millis(5)).await;
            }
        }
    }
    accepted
}

/// Two send at once.
async fn two_until(node: &Server, end: Instant) -> u64 {
    let (left, right) = tokio::join!(send_until(node, end), send_until(node, end));
    left + right
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_together_take_in_no_more_than_a_tenant_may_send() {
    let cluster = Cluster::start(2).await;
    let (one, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    put(one, LIMITS, &json!({ "events_per_second": 20 })).await;
    // What passes at once is used up before it is measured.
    let begun = Instant::now();
    let burst = vec![json!({ "type": "orders.paid", "data": {} }); 60];
    let burst = one.post(EVENTS).json(&burst).send().await.unwrap();
    assert_eq!(burst.status(), StatusCode::ACCEPTED);
    let end = begun + MEASURED;
    let (left, right) = tokio::join!(two_until(one, end), two_until(other, end));
    let wanted = 20.0 * begun.elapsed().as_secs_f64();
    let accepted = (left + right) as f64;
    assert!(accepted <= wanted * 1.05, "{left} and {right} of {wanted}");
    assert!(accepted >= wanted * 0.5, "{left} and {right} of {wanted}");
    assert!(left > 0 && right > 0, "{left} and {right}: none is shut out");
    let metrics = one.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains("actions_quota_refused_total{quota=\"events_per_second\"}"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_platform_and_the_process_say_holds_everywhere() {
    let mut cluster = Cluster::start(1).await;
    // It is no node, so no hint reaches it.
    let settings = [("ACTIONS_ROLE", "api"), ("ACTIONS_TENANT_SCHEDULES", "7")];
    let api = cluster.add(&settings).await;
    put(&cluster.nodes[0], ALL, &json!({ "weight": 4, "stored_bytes": 1000 })).await;
    let setting = async |node: &Server, name: &str| {
        let limits = node.read("/v1/tenants/acme/limits").await;
        let settings = limits["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].clone(), found["layer"].clone())
    };
    let api = &cluster.nodes[api];
    eventually("a process without a node knows it", async || {
        setting(api, "weight").await == (json!(4), json!("platform"))
    })
    .await;
    assert_eq!(setting(api, "schedules").await, (json!(7), json!("environment")));
    assert_eq!(setting(&cluster.nodes[0], "schedules").await.1, json!("default"));
}
