//! Handlers over HTTP.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn handlers_show_their_schemas() {
    let app = TestApp::start().await;
    let listed = app.get("handlers").await.body();
    let ids: Vec<_> = listed["items"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, ["test.script", "test.secretive", "worker.pull", "workflow.run"]);
    let one = app.get("handlers/test.secretive").await.body();
    assert_eq!(one["config_schema"]["properties"]["secret"]["writeOnly"], true);
    assert_eq!(one["delivery"], "at_least_once");
    assert_eq!(app.get("handlers/founding.SecretiveHandler").await.body()["id"], "test.secretive");
    insta::assert_snapshot!(app.get("handlers/no.such").await.problem(), @"404 handler.not_found");
    insta::assert_snapshot!(app.get("handlers/nodots").await.problem(), @"404 handler.not_found");
}

#[tokio::test]
async fn a_config_is_checked_without_being_stored() {
    let app = TestApp::start().await;
    let check = async |config: serde_json::Value| {
        app.post("handlers/test.secretive:validate", json!({ "config": config })).await.body()
    };
    assert_eq!(
        check(json!({ "url": "https://x" })).await,
        json!({ "valid": true, "errors": [], "warnings": [] })
    );
    assert_eq!(check(json!({ "url": 7 })).await["errors"][0]["pointer"], "/url");
    let doubtful = check(json!({ "url": "http://x" })).await;
    assert_eq!(doubtful["warnings"][0]["message"], "not encrypted");
    let missing = app.post("handlers/no.such:validate", json!({ "config": {} })).await;
    insta::assert_snapshot!(missing.problem(), @"404 handler.not_found");
}
