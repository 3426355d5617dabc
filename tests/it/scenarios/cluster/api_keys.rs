//! API keys over several processes: what one creates another one lets in, and what one takes away
//! another one refuses.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::cluster::Cluster;
use crate::support::process::{Server, pause};

const KEYS: &str = "/v1/tenants/acme/keys";
/// What is promised of a revocation.
const REFUSED_AFTER: Duration = Duration::from_secs(2);

/// What a token is answered.
async fn ask(node: &Server, token: &str) -> StatusCode {
    let path = "/v1/tenants/acme/actions";
    // Tokens are sent instead of the one of every test.
    let client = reqwest::Client::new();
    client.get(node.url(path)).bearer_auth(token).send().await.unwrap().status()
}

async fn create(node: &Server, name: &str) -> String {
    let made = node.create(KEYS, &json!({ "name": name, "role": "viewer" })).await;
    made["token"].as_str().unwrap().to_owned()
}

/// Asks until the token is refused. No question that was begun later than promised is let in.
async fn refused_in_time(node: &Server, token: &str) {
    let taken_away = Instant::now();
    loop {
        let begun = taken_away.elapsed();
        match ask(node, token).await {
            StatusCode::OK => assert!(begun <= REFUSED_AFTER, "let in after {begun:?}"),
            status => {
                assert_eq!(status, StatusCode::UNAUTHORIZED);
                return;
            }
        }
        pause(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_holds_and_is_revoked_on_every_process() {
    let mut cluster = Cluster::start(2).await;
    // It is no node, so no hint reaches it.
    let api = cluster.add(&[("ACTIONS_ROLE", "api")]).await;
    for (number, other) in [1, api].into_iter().enumerate() {
        let (first, other) = (&cluster.nodes[0], &cluster.nodes[other]);
        let token = create(first, &format!("revoked-{number}")).await;
        assert_eq!(ask(other, &token).await, StatusCode::OK, "at once");
        let revoked = format!("{KEYS}/revoked-{number}");
        let path = first.url(&revoked);
        let client = reqwest::Client::new();
        let root = crate::support::process::TOKEN;
        let answer = client.delete(path).bearer_auth(root).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        refused_in_time(other, &token).await;
        assert_eq!(ask(first, &token).await, StatusCode::UNAUTHORIZED);

        let old = create(first, &format!("rotated-{number}")).await;
        assert_eq!(ask(other, &old).await, StatusCode::OK);
        let path = format!("{KEYS}/rotated-{number}:rotate");
        let rotated = first.post(&path).json(&json!({ "overlap_seconds": 0 })).send().await;
        let rotated: Value = rotated.unwrap().json().await.unwrap();
        let new = rotated["token"].as_str().unwrap();
        assert_eq!(ask(other, new).await, StatusCode::OK, "at once");
        refused_in_time(other, &old).await;
        assert_eq!(ask(other, new).await, StatusCode::OK);
    }
}
