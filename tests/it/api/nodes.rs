//! The list of nodes over HTTP.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};

use crate::support::app::TestApp;

const NODES: &str = "/v1/admin/nodes";

#[tokio::test]
async fn a_node_is_listed_with_what_it_owns_and_how_it_is() {
    let mut app = TestApp::start().await;
    app.engine.advance(Duration::from_secs(3)).await;
    let listed = app.send(Method::GET, NODES, &[], "").await.body();
    let node = &listed["items"][0];
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed:#}");
    assert_eq!((&node["name"], &node["role"]), (&"test-node".into(), &"all".into()));
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(node["partitions"], serde_json::json!([0, 1, 2, 3]));
    assert_eq!((&node["alive"], &node["draining"]), (&true.into(), &false.into()));
    assert_eq!((&node["running"], &node["waiting"]), (&0.into(), &0.into()));
    assert_eq!(node["last_beat_ms"], 1_000);

    app.engine.stop_node().await.unwrap();
    let listed = app.send(Method::GET, NODES, &[], "").await.body();
    assert_eq!(listed["items"], serde_json::json!([]));
}

#[tokio::test]
async fn the_list_of_nodes_is_for_operators() {
    let app = TestApp::start().await;
    let answer = app.answer(Request::get(NODES).body(Body::empty()).unwrap()).await;
    insta::assert_snapshot!(answer.problem(), @"401 auth.missing");
}

#[tokio::test]
async fn a_worker_serves_only_what_is_about_the_process() {
    let app = TestApp::worker().await;
    let ask = async |path: &str| {
        let request = Request::get(path).header("host", "localhost").body(Body::empty());
        app.answer(request.unwrap()).await.status.as_u16()
    };
    for path in ["/healthz", "/readyz", "/metrics", "/version"] {
        assert_eq!(ask(path).await, 200, "{path}");
    }
    for path in [NODES, "/v1/tenants/acme/events", "/v1/admin/tenants"] {
        assert_eq!(ask(path).await, 404, "{path}");
    }
}
