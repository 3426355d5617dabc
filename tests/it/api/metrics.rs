//! Figures of a tenant, queues, limits.

use axum::http::Method;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::engine::Answer as Told;

#[tokio::test]
async fn a_summary_adds_up() {
    let app = TestApp::start().await;
    app.given_action("a", "x.y", json!({})).await;
    app.given_action("b", "x.y", json!({})).await;
    app.given_action("c", "never.matched", json!({ "handler": "workflow.start" })).await;
    let fault = actions_domain::execution::Fault::handler("x.y", "no");
    app.engine.script.answer([Told::Done(json!(1)), Told::Reject(fault)]);
    app.emit("x.y", json!({})).await;
    let summary = app.get("metrics/summary?window=1h").await.body();
    assert_eq!(summary["actions"], 3);
    assert_eq!(summary["blocked_actions"], 1);
    assert_eq!(summary["total_executions"], 2);
    assert_eq!(summary["success_rate"], 50.0);
    assert_eq!(summary["dead_letters"], 1);
    assert_eq!(summary["by_action"].as_array().unwrap().len(), 2);
    insta::assert_snapshot!(app.get("metrics/summary?window=0s").await.problem(), @"400 parameter.invalid");
}

#[tokio::test]
async fn queues_show_what_waits_and_runs() {
    let app = TestApp::start().await;
    app.given_action("a", "x.y", json!({})).await;
    app.engine.script.answer([Told::Hang]);
    app.emit("x.y", json!({})).await;
    let queues = app.get("queues").await.body();
    assert_eq!(queues["here"]["running"], 1);
    assert!(queues["items"].is_array());
    app.engine.leave(app.engine.tenant, r#"{"id":"7","type":"orders"}"#);
    app.engine.advance(std::time::Duration::from_secs(1)).await;
    let refused = app.get("queues").await.body()["refused"].clone();
    assert_eq!(refused[0]["id"], "7");
    assert!(refused[0]["reason"].as_str().unwrap().contains("unreadable"), "{refused}");
    insta::assert_snapshot!(app.get("queues?limit=1001").await.problem(), @"400 parameter.invalid");
}

#[tokio::test]
async fn limits_tell_what_is_used() {
    let app = TestApp::start().await;
    app.given_action("a", "x.y", json!({})).await;
    let limits = app.get("limits").await.body();
    assert_eq!(limits["actions_used"], 1);
    assert_eq!(limits["limits"]["batch_events"], 1000);
}

#[tokio::test]
async fn callers_invent_no_labels() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let app = TestApp::start().await;
    for method in ["GET", "BREW", "get"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        app.send(method, "/v1/invented", &[], "").await;
    }
    let text = recorder.handle().render();
    let mut counted: Vec<_> =
        text.lines().filter(|line| line.starts_with("actions_http_requests_total")).collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            r#"actions_http_requests_total{method="GET",status="404"} 1"#,
            r#"actions_http_requests_total{method="other",status="404"} 2"#,
        ]
    );
}
