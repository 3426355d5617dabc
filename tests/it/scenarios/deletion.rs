//! A tenant that is being deleted while the power fails.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::process::{Server, TOKEN, pause};

/// So many that the removal takes a while.
const BATCHES: u64 = 20;
const BATCH: u64 = 500;

async fn deletion(server: &Server) -> Value {
    server.read("/v1/admin/tenants/acme/deletion").await
}

fn rows(deletion: &Value, table: &str) -> u64 {
    deletion["removed"][table].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_goes_on_after_the_process_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/actions.db", folder.path().display());
    let mut server = Server::start(&url).await;
    for slug in ["acme", "other"] {
        server.create("/v1/admin/tenants", &json!({ "slug": slug })).await;
        let batches = if slug == "acme" { BATCHES } else { 1 };
        for batch in 0..batches {
            let events: Vec<Value> = (0..BATCH)
                .map(|number| {
                    let id = format!("{slug}-{batch}-{number}");
                    json!({ "specversion": "1.0", "type": "a.b", "source": "/test", "id": id, "data": {} })
                })
                .collect();
            let path = format!("/v1/tenants/{slug}/events");
            let media = "application/cloudevents-batch+json";
            server.sender().post_until_acknowledged(&path, media, &Value::from(events)).await;
        }
    }
    let suspended = server.post("/v1/admin/tenants/acme:suspend").json(&json!({})).send().await;
    assert!(suspended.unwrap().status().is_success());
    let url = server.url("/v1/admin/tenants/acme?confirm=acme");
    let begun = reqwest::Client::new().delete(url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(begun.status().as_u16(), 202);

    let mut seen = deletion(&server).await;
    while rows(&seen, "event") == 0 && seen["certificate"].is_null() {
        pause(Duration::from_millis(2)).await;
        seen = deletion(&server).await;
    }
    assert_eq!(seen["state"], "deleting", "it was killed too late to be interrupted: {seen}");
    server.kill_and_restart().await;

    while deletion(&server).await["certificate"].is_null() {
        pause(Duration::from_millis(50)).await;
    }
    let done = deletion(&server).await;
    assert_eq!(rows(&done, "event"), BATCHES * BATCH, "{done}");
    assert_eq!(done["certificate"]["intact"], true);
    let kept = server.read("/v1/tenants/other/events?limit=1").await;
    assert_eq!(kept["items"].as_array().unwrap().len(), 1, "the other tenant has its events");
    let gone = server.get("/v1/tenants/acme/events").send().await.unwrap();
    assert_eq!(gone.status().as_u16(), 404);
}
