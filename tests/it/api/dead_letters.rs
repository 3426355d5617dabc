//! Dead letters over HTTP: causes, requeue, discard.

use actions_domain::execution::Fault;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::engine::Answer as Told;

/// Lets `count` executions die of one cause.
async fn given_dead(app: &TestApp, code: &str, count: usize) {
    app.engine
        .script
        .answer((0..count).map(|n| Told::Reject(Fault::handler(code, format!("answered {n}")))));
    for number in 0..count {
        app.emit("orders.paid", json!({ "number": number })).await;
    }
}

async fn items(app: &TestApp, path: &str) -> Vec<Value> {
    app.get(path).await.body()["items"].as_array().unwrap().clone()
}

async fn start() -> TestApp {
    let app = TestApp::start().await;
    app.given_action("ship", "orders.paid", json!({})).await;
    app
}

#[tokio::test]
async fn what_a_list_leaves_out_runs_again_whole() {
    let app = TestApp::start().await;
    app.given_action("a", "never.matched", json!({})).await;
    app.engine.script.answer([Told::Reject(Fault::handler("x.y", "no"))]);
    let input = json!({ "text": "x".repeat(20_000) });
    app.post("actions/a:execute", json!({ "input": input })).await;
    app.engine.settle().await;
    let listed = app.get("executions").await.body()["items"][0].clone();
    assert_eq!(listed["input"], Value::Null);
    assert_eq!(listed["input_bytes"], input.to_string().len());

    let requeued = app.post("dead-letters:requeue", json!({ "where": "action:a" })).await;
    assert_eq!(requeued.status, 200, "{}", requeued.text);
    app.engine.settle().await;
    assert_eq!(app.engine.script.calls().last().unwrap().input, input);
}

#[tokio::test]
async fn dead_letters_are_grouped_by_cause() {
    let app = start().await;
    given_dead(&app, "http.status", 3).await;
    given_dead(&app, "http.refused", 1).await;
    let groups = items(&app, "dead-letters/groups").await;
    assert_eq!(groups.iter().map(|group| &group["count"]).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(groups[0]["action"], "ship");
    assert_eq!(groups[0]["sample"]["code"], "http.status");
    let fingerprint = groups[0]["fingerprint"].as_str().unwrap();
    let group = app.get(&format!("dead-letters/groups/{fingerprint}")).await.body();
    assert_eq!(group["count"], 3);
    assert_eq!(items(&app, &format!("dead-letters?fingerprint={fingerprint}")).await.len(), 3);
    assert_eq!(items(&app, "dead-letters?where=error:http.refused").await.len(), 1);
    assert_eq!(items(&app, "dead-letters?action=ship&limit=2").await.len(), 2);
    let letter = &items(&app, "dead-letters").await[0];
    let one = app.get(&format!("dead-letters/{}", letter["id"].as_str().unwrap())).await.body();
    assert_eq!(one["execution"]["attempts"].as_array().unwrap().len(), 1);
    insta::assert_snapshot!(app.get("dead-letters/groups/0000").await.problem(), @"404 not_found");
}

#[tokio::test]
async fn a_requeued_dead_letter_is_a_new_execution() {
    let app = start().await;
    given_dead(&app, "http.status", 1).await;
    let dead = items(&app, "dead-letters").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("dead-letters/{dead}:requeue");
    let requeued = app.post(&path, json!({})).await;
    assert_eq!(requeued.status, 200, "{}", requeued.text);
    let fresh = requeued.body()["execution_id"].as_str().unwrap().to_owned();
    assert_ne!(fresh, dead);
    app.engine.settle().await;
    let execution = app.get(&format!("executions/{fresh}")).await.body();
    assert_eq!(execution["status"], "completed");
    assert_eq!(execution["parent_id"], json!(dead));
    assert_eq!(app.engine.script.calls()[1].input, json!({ "number": 0 }));
    assert!(items(&app, "dead-letters").await.is_empty());
    assert_eq!(app.get(&format!("executions/{dead}")).await.body()["status"], "failed");
    insta::assert_snapshot!(app.post(&path, json!({})).await.problem(), @"404 not_found");
}

#[tokio::test]
async fn a_dead_letter_of_an_action_that_cannot_run_stays_one() {
    let app = start().await;
    given_dead(&app, "http.status", 1).await;
    let dead = items(&app, "dead-letters").await[0]["id"].clone();
    app.post("actions/ship:disable", json!({})).await;
    let requeued = app.post("dead-letters:requeue", json!({ "ids": [dead] })).await.body();
    assert_eq!(requeued["requeued"], 0, "{requeued}");
    assert!(requeued.to_string().contains("switched off"), "{requeued}");
    app.engine.settle().await;
    assert_eq!(items(&app, "dead-letters").await.len(), 1);
}

#[tokio::test]
async fn a_group_is_requeued_in_portions() {
    let app = start().await;
    given_dead(&app, "http.status", 5).await;
    let group =
        items(&app, "dead-letters/groups").await[0]["fingerprint"].as_str().unwrap().to_owned();
    let path = format!("dead-letters/groups/{group}:requeue");
    let first = app.post(&path, json!({ "max": 2 })).await.body();
    assert_eq!((&first["requeued"], &first["more"]), (&json!(2), &json!(true)));
    let rest = app.post(&path, json!({})).await.body();
    assert_eq!((&rest["requeued"], &rest["more"]), (&json!(3), &json!(false)));
    app.engine.settle().await;
    assert!(items(&app, "dead-letters").await.is_empty());
    assert_eq!(app.engine.script.calls().len(), 10);
}

#[tokio::test]
async fn what_a_filter_lists_can_be_changed() {
    let app = start().await;
    given_dead(&app, "http.status", 2).await;
    given_dead(&app, "http.refused", 2).await;
    let body = json!({ "where": "error:http.refused", "reason": "the shop is closed" });
    let discarded = app.post("dead-letters:discard", body).await.body();
    assert_eq!(discarded, json!({ "discarded": 2, "more": false }));
    assert_eq!(items(&app, "dead-letters").await.len(), 2);
    let ids: Vec<_> =
        items(&app, "dead-letters").await.iter().map(|one| one["id"].clone()).collect();
    let requeued = app.post("dead-letters:requeue", json!({ "ids": ids })).await.body();
    assert_eq!(requeued["requeued"], 2);
}

#[tokio::test]
async fn a_discard_needs_a_reason() {
    let app = start().await;
    given_dead(&app, "http.status", 1).await;
    let dead = items(&app, "dead-letters").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("dead-letters/{dead}:discard");
    insta::assert_snapshot!(app.post(&path, json!({ "reason": " " })).await.problem(), @"400 parameter.invalid /reason");
    insta::assert_snapshot!(app.post(&path, json!({})).await.problem(), @"400 body.invalid");
    assert_eq!(app.post(&path, json!({ "reason": "old" })).await.body()["discarded"], 1);
    assert_eq!(app.get(&format!("executions/{dead}")).await.body()["status"], "failed");
    insta::assert_snapshot!(app.post(&path, json!({ "reason": "old" })).await.problem(), @"404 not_found");
}

#[tokio::test]
async fn a_selection_says_what_it_means() {
    let app = start().await;
    let post = async |body: Value| app.post("dead-letters:requeue", body).await.problem();
    insta::assert_snapshot!(post(json!({})).await, @"400 parameter.invalid");
    insta::assert_snapshot!(post(json!({ "ids": [] })).await, @"400 parameter.invalid /ids");
    insta::assert_snapshot!(post(json!({ "group": "x", "where": "" })).await, @"400 parameter.invalid");
    insta::assert_snapshot!(post(json!({ "where": "colour:red" })).await, @"400 filter.unknown_field");
    insta::assert_snapshot!(post(json!({ "group": "x", "max": 0 })).await, @"400 parameter.invalid /max");
    insta::assert_snapshot!(post(json!({ "ids": ["x"] })).await, @"400 body.invalid /ids/0");
}
