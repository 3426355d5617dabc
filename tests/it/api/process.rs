//! Routes about the process.

use actions::Access;
use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::support::app::{Answer, TestApp};

async fn open(app: &TestApp, path: &str) -> Answer {
    app.answer(Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn health_and_limits_need_no_credential() {
    let app = TestApp::start().await;
    assert_eq!(open(&app, "/healthz").await.body(), json!({ "status": "alive" }));
    assert_eq!(open(&app, "/readyz").await.body(), json!({ "status": "ready" }));
    assert_eq!(open(&app, "/version").await.body()["name"], "actions");
    let limits = open(&app, "/v1/limits").await.body();
    assert_eq!(limits["event_bytes"], 1024 * 1024);
    let checks = open(&app, "/readyz?verbose").await.body();
    assert_eq!(checks["checks"][1]["check"], "node");
}

#[tokio::test]
async fn metrics_need_one() {
    let app = TestApp::start().await;
    insta::assert_snapshot!(open(&app, "/metrics").await.problem(), @"401 auth.missing");
    let answer = app.send(axum::http::Method::GET, "/metrics", &[], "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
}

#[tokio::test]
async fn a_draining_or_joining_process_is_not_ready() {
    let mut app = TestApp::serving(Access::LocalDev).await;
    app.engine.stop_node().await.unwrap();
    let answer = open(&app, "/readyz").await;
    insta::assert_snapshot!(answer.problem(), @"503 not_ready");
    assert_eq!(answer.header("retry-after"), "2");
    app.draining.cancel();
    insta::assert_snapshot!(open(&app, "/readyz").await.problem(), @"503 draining");
}
