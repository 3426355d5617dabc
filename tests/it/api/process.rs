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
async fn the_root_leads_to_paths_that_there_are() {
    let app = TestApp::start().await;
    let index = open(&app, "/").await.body();
    assert_eq!(index["name"], "actions");
    let document: serde_json::Value = serde_json::from_str(&actions::openapi_json()).unwrap();
    let links = index["links"].as_object().unwrap();
    assert!(links.len() > 8, "{index:#}");
    for path in links.values() {
        assert!(document["paths"][path.as_str().unwrap()]["get"].is_object(), "{path}");
    }
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

#[tokio::test]
async fn every_code_is_explained_where_its_problem_leads() {
    let app = TestApp::start().await;
    let problem = app.get("events?limit=0").await.body();
    assert_eq!(problem["source"], "engine");
    let explained = open(&app, problem["doc"].as_str().unwrap()).await;
    assert!(explained.header("content-type").starts_with("text/markdown"));
    assert!(explained.text.starts_with("## Problems"), "{}", explained.text);
    assert!(explained.text.contains("| `parameter.invalid` | 400 |"), "{}", explained.text);
    for kind in actions::problem::KINDS {
        let answer = open(&app, &format!("/docs/errors/{}", kind.code)).await;
        assert_eq!(answer.status, 200, "{}", kind.code);
    }
    let both = open(&app, "/docs/errors/config.invalid").await.text;
    assert!(both.contains("## Problems") && both.contains("## Faults"), "{both}");
    assert!(open(&app, "/docs/errors").await.text.starts_with("# Errors"));
    insta::assert_snapshot!(open(&app, "/docs/errors/no.such").await.problem(), @"404 not_found");
}

#[tokio::test]
async fn a_problem_says_whose_rule_it_is() {
    let app = TestApp::start().await;
    let action =
        json!({ "name": "a", "action_type": "custom", "handler": "test.secretive", "config": {} });
    let refused = app.post("actions", action).await;
    assert_eq!(refused.body()["code"], "config.invalid", "{}", refused.text);
    assert_eq!(refused.body()["source"], "handler");
}

#[tokio::test]
async fn every_limit_is_published() {
    // What no caller can see: how often a node was lost, how much the engine moves or keeps at once, how many
    // keys an identity provider may publish, and how much is remembered of guesses, of sessions that
    // have ended and of a policy service's answers.
    const UNSEEN: [&str; 11] = [
        "LOSSES_MAX",
        "FLUSH_BYTES_MAX",
        "INTAKE_BYTES_MAX",
        "WINDOW_BYTES_MAX",
        "INBOX_BYTES_MAX",
        "RUN_CACHE_BYTES_MAX",
        "SKIPS_MAX",
        "JWKS_KEYS_MAX",
        "GUESSERS_MAX",
        "SESSION_KEPT",
        "POLICY_ANSWERS_MAX",
    ];
    let limits = include_str!("../../../crates/actions-domain/src/limits.rs");
    let published = include_str!("../../../crates/actions-api/src/routes/process.rs");
    let names =
        limits.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    for name in names.filter(|name| !UNSEEN.contains(name)) {
        let is_published =
            [".", ","].iter().any(|end| published.contains(&format!("limits::{name}{end}")));
        assert!(is_published, "GET /v1/limits does not tell {name}");
    }
    let app = TestApp::start().await;
    let shown = open(&app, "/v1/limits").await.body();
    for (name, value) in shown.as_object().unwrap() {
        assert!(value.as_u64().is_some_and(|value| value > 0), "{name}: {value}");
    }
}
