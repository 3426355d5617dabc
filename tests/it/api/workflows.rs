//! Workflows over HTTP.

use serde_json::{Value, json};

use crate::support::app::{TestApp, in_tenant};

fn document(steps: Value) -> Value {
    json!({ "action": {
        "name": "onboarding",
        "description": "greets",
        "triggers": [{ "event_pattern": "users.created", "conditions": ["event.data.vip"] }],
        "workflow": { "steps": steps },
    }})
}

fn two_steps() -> Value {
    json!([
        { "name": "check", "handler": "test.script" },
        { "name": "greet", "handler": "test.script", "depends_on": ["check"] },
    ])
}

#[tokio::test]
async fn a_workflow_is_put_shown_changed_and_deleted() {
    let app = TestApp::start().await;
    let path = "workflows/onboarding";
    let created = app.put(path, &[], document(two_steps())).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header("location"), in_tenant(path));
    let shown = app.get(path).await;
    assert_eq!(shown.header("etag"), created.header("etag"));
    let body = shown.body();
    assert_eq!(body["triggers"], json!(["users.created"]));
    assert_eq!(body["document"], document(two_steps()));
    assert_eq!(body["steps"][1]["after"], json!(["check"]));
    assert_eq!(body["digest"].as_str().unwrap().len(), 64);

    insta::assert_snapshot!(app.put(path, &[], document(two_steps())).await.problem(), @"428 version.required");
    let tag = created.header("etag").to_owned();
    let one = json!([{ "name": "check", "handler": "test.script" }]);
    let mut changed = document(one);
    changed["action"]["triggers"] = json!([{ "event_pattern": "users.changed" }]);
    let changed = app.put(path, &[("if-match", &tag)], changed).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.body()["triggers"], json!(["users.changed"]));
    assert_ne!(changed.body()["digest"], body["digest"]);

    let versions = app.get("workflows/onboarding/versions").await.body();
    let digests: Vec<&Value> =
        versions["items"].as_array().unwrap().iter().map(|version| &version["digest"]).collect();
    assert_eq!(digests, [&changed.body()["digest"], &body["digest"]]);
    let listed = app.get("workflows").await.body();
    assert_eq!(listed["items"][0]["name"], "onboarding");
    assert!(listed["items"][0].get("document").is_none(), "lists leave it out");

    assert_eq!(app.delete(path, &[("if-match", "*")]).await.status, 204);
    insta::assert_snapshot!(app.get(path).await.problem(), @"404 not_found");
    assert_eq!(app.get("subscriptions").await.body()["items"], json!([]));
}

/// Code, pointer and text of each place of a refusal.
async fn wrong(app: &TestApp, steps: Value) -> Vec<(String, String)> {
    let answer = app.post("workflows:validate", document(steps)).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    let errors = answer.body()["errors"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    errors.iter().map(|error| (text(&error["code"]), text(&error["pointer"]))).collect()
}

#[tokio::test]
async fn every_mistake_has_a_code_and_a_place() {
    let app = TestApp::start().await;
    let step = |name: &str, more: Value| {
        let mut step = json!({ "name": name, "handler": "test.script" });
        for (field, value) in more.as_object().unwrap() {
            step[field] = value.clone();
        }
        step
    };
    let at = |code: &str, pointer: &str| vec![(code.to_owned(), pointer.to_owned())];
    let a = "/action/workflow/steps/0";
    let cases = [
        (json!([step("a", json!({ "condition": "steps.b ==" }))]), "flow.expression", "/condition"),
        (json!([step("a", json!({ "condition": "secrets.x" }))]), "flow.expression", "/condition"),
        (
            json!([step("a", json!({ "input_mapping": { "x": ["{{ 1 + }}"] } }))]),
            "flow.template",
            "/input_mapping/x/0",
        ),
        (
            json!([step("a", json!({ "input_mapping": { "x": "{{ event.data" } }))]),
            "flow.template",
            "/input_mapping/x",
        ),
    ];
    for (steps, code, below) in cases {
        assert_eq!(wrong(&app, steps).await, at(code, &format!("{a}{below}")));
    }
    let unknown = json!([step("a", json!({ "depends_on": ["b"] }))]);
    assert_eq!(wrong(&app, unknown).await[0].0, "flow.unknown_step");
    let circle = json!([
        step("a", json!({ "depends_on": ["b"] })),
        step("b", json!({ "depends_on": ["a"] }))
    ]);
    assert_eq!(wrong(&app, circle).await[0].0, "flow.cycle");
    let handler = json!([{ "name": "a", "handler": "test.secretive", "config": { "url": 7 } }]);
    assert_eq!(wrong(&app, handler).await, at("workflow.step", &format!("{a}/config/url")));

    let other = app.put("workflows/other", &[], document(two_steps())).await;
    insta::assert_snapshot!(other.problem(), @"422 workflow.invalid /action/name");
    let nothing = app.put("workflows/other", &[], json!({})).await;
    insta::assert_snapshot!(nothing.problem(), @"422 workflow.invalid");
    assert_eq!(app.get("workflows").await.body()["items"], json!([]), "nothing was stored");
}

#[tokio::test]
async fn what_is_not_there_yet_is_only_a_warning() {
    let app = TestApp::start().await;
    let steps = json!([
        { "name": "a", "handler": "not.installed" },
        { "name": "b", "action": "unknown" },
    ]);
    let valid = app.post("workflows:validate", document(steps)).await;
    assert_eq!(valid.status, 200, "{}", valid.text);
    let warnings = valid.body()["warnings"].as_array().unwrap().clone();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0]["message"].as_str().unwrap().contains("no handler not.installed"));
    assert!(warnings[1]["message"].as_str().unwrap().contains("no action unknown"));
}

#[tokio::test]
async fn a_workflow_takes_no_other_actions_name_and_is_no_other_action() {
    let app = TestApp::start().await;
    app.given_action("onboarding", "never.matched", json!({})).await;
    let put = app.put("workflows/onboarding", &[("if-match", "*")], document(two_steps())).await;
    insta::assert_snapshot!(put.problem(), @"409 exists");
    insta::assert_snapshot!(app.get("workflows/onboarding").await.problem(), @"404 not_found");
    let started = app.post("workflows/onboarding/runs", json!({})).await;
    insta::assert_snapshot!(started.problem(), @"404 not_found");
}

#[tokio::test]
async fn a_workflow_is_drawn() {
    let app = TestApp::start().await;
    app.put("workflows/onboarding", &[], document(two_steps())).await;
    let drawn = app.get("workflows/onboarding/graph").await;
    insta::assert_snapshot!(drawn.text, @r#"
    flowchart TD
        s0["check: test.script"]
        s1["greet: test.script"]
        s0 --> s1
    "#);
    let drawn = app.get("workflows/onboarding/graph?format=dot").await;
    insta::assert_snapshot!(drawn.text, @r#"
    digraph {
        node [shape=box];
        s0 [label="check: test.script"];
        s1 [label="greet: test.script"];
        s0 -> s1;
    }
    "#);
    let wrong = app.get("workflows/onboarding/graph?format=svg").await;
    insta::assert_snapshot!(wrong.problem(), @"400 parameter.invalid");
}
