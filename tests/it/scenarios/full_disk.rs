//! A full disk refuses events, and keeps what it has acknowledged.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::process::{Server, pause};

const EVENTS: &str = "/v1/tenants/acme/events";

#[tokio::test]
async fn a_full_disk_refuses_events_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/actions.db", folder.path().display());
    let narrow = vec![("ACTIONS_SQLITE_MAX_SIZE", "4MB".to_owned())];
    let mut server = Server::start_with(&database, narrow).await;
    server.create("/v1/admin/tenants", &json!({ "slug": "acme", "name": "Acme" })).await;
    let action = json!({
        "name": "note",
        "action_type": "audit_log",
        "handler": "audit.log",
        "event_patterns": ["orders.placed"],
    });
    server.create("/v1/tenants/acme/actions", &action).await;

    let acknowledged = fill(&server).await;
    assert!(acknowledged.len() > 5, "{acknowledged:?}");

    server.kill_and_restart_with(Vec::new()).await;
    let stored = server.read_all(EVENTS).await;
    let stored: BTreeSet<String> = stored.iter().map(id).collect();
    assert_eq!(stored, acknowledged, "what was refused is not there");
    let path = "/v1/tenants/acme/actions/note/metrics";
    for _ in 0..200 {
        if server.read(path).await["successful_executions"] == acknowledged.len() {
            return;
        }
        pause(Duration::from_millis(50)).await;
    }
    panic!("not everything has run: {}", server.read(path).await);
}

/// Sends events until one is refused, and answers the ids of those that were not.
async fn fill(server: &Server) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    for number in 0..100 {
        let data = json!({ "number": number, "ballast": "x".repeat(100_000) });
        let event = json!({ "type": "orders.placed", "data": data });
        let answer = server.post(EVENTS).json(&event).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body: Value = answer.json().await.unwrap();
        if status == StatusCode::ACCEPTED {
            acknowledged.insert(id(&body));
            continue;
        }
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert!(headers.contains_key("retry-after"), "{headers:?}");
        assert_eq!(body["code"], "store.unavailable", "{body}");
        return acknowledged;
    }
    panic!("the file grew beyond its limit");
}

fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}
