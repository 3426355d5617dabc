//! Definitions as one document: export, check, compare, apply.

use serde_json::{Value, json};

use crate::support::app::TestApp;

fn set() -> Value {
    json!({ "actions": [
        {
            "name": "hook", "action_type": "webhook", "handler": "test.secretive",
            "config": { "url": "https://example.com", "secret": "s3cret" },
            "event_patterns": ["users.created"],
            "subscriptions": [
                { "event_pattern": "users.invited", "conditions": { "tier": "gold" } },
                { "name": "late", "event_pattern": "users.invited", "priority": 3 },
            ],
        },
        { "name": "note", "action_type": "custom", "handler": "test.script" },
    ] })
}

fn changes(plan: &Value) -> Vec<String> {
    let changes = plan["changes"].as_array().unwrap_or_else(|| panic!("{plan}"));
    let word = |change: &Value, name: &str| change[name].as_str().unwrap().to_owned();
    changes
        .iter()
        .map(|one| format!("{}/{} {}", word(one, "kind"), word(one, "name"), word(one, "change")))
        .collect()
}

#[tokio::test]
async fn a_set_is_compared_then_applied_and_then_the_same() {
    let app = TestApp::start().await;
    let plan = app.post("definitions:diff", set()).await.body();
    let created = [
        "action/hook created",
        "subscription/hook/users.invited created",
        "subscription/hook/late created",
        "action/note created",
    ];
    assert_eq!(changes(&plan), created);
    assert_eq!(app.get("actions").await.body()["items"], json!([]));
    assert_eq!(changes(&app.post("definitions:apply", set()).await.body()), created);
    assert_eq!(app.post("definitions:diff", set()).await.body()["same"], true);
    let again = app.post("definitions:apply", set()).await.body();
    assert!(changes(&again).iter().all(|change| change.ends_with("unchanged")), "{again}");

    let accepted = app.emit("users.invited", json!({ "tier": "tin" })).await;
    assert_eq!(accepted["executions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refusal_names_a_mistake_of_each_action() {
    let app = TestApp::start().await;
    let action =
        |name: &str| json!({ "name": name, "action_type": "custom", "handler": "test.script" });
    let (good, mut one, mut two) = (action("good"), action("one"), action("two"));
    one["timeout_seconds"] = json!("soon");
    two["subscriptions"] = json!([{ "event_patern": "a.b" }]);
    let set = json!({ "actions": [one, good, two] });
    for verb in ["validate", "diff", "apply"] {
        let refused = app.post(&format!("definitions:{verb}"), set.clone()).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        let body = refused.body();
        let errors = body["errors"].as_array().unwrap();
        let places: Vec<_> = errors
            .iter()
            .map(|error| error["pointer"].as_str().unwrap().split('/').nth(2).unwrap())
            .collect();
        assert_eq!(places, ["0", "2"], "{body:#}");
        let message = errors[0]["message"].as_str().unwrap();
        assert!(message.ends_with("expected a whole number that is not negative"), "{message}");
    }
    assert_eq!(app.get("actions").await.body()["items"], json!([]));
}

#[tokio::test]
async fn what_is_exported_can_be_applied() {
    let app = TestApp::start().await;
    app.post("definitions:apply", set()).await;
    let exported = app.get("definitions").await;
    assert!(!exported.text.contains("s3cret"));
    assert_eq!(app.post("definitions:diff", exported.body()).await.body()["same"], true);
    app.post("definitions:apply", exported.body()).await;
    let ran = app.post("actions/hook:execute?wait=1s", json!({ "input": { "to": 1 } })).await;
    assert_eq!(ran.body()["output"], json!({ "knew": "s3cret" }));
}

#[tokio::test]
async fn differences_are_shown_without_secrets() {
    let app = TestApp::start().await;
    app.post("definitions:apply", set()).await;
    let mut changed = set();
    changed["actions"][0]["config"]["secret"] = json!("other");
    changed["actions"][0]["priority"] = json!("high");
    changed["actions"][0]["subscriptions"][1]["priority"] = json!(4);
    changed["actions"][0]["subscriptions"].as_array_mut().unwrap().remove(0);
    changed["actions"].as_array_mut().unwrap().remove(1);
    changed["prune"] = json!(true);
    let plan = app.post("definitions:diff", changed.clone()).await.body();
    insta::assert_json_snapshot!(plan["changes"], @r#"
    [
      {
        "change": "updated",
        "differences": [
          {
            "after": "***",
            "before": "***",
            "pointer": "/config/secret"
          },
          {
            "after": "high",
            "before": "normal",
            "pointer": "/priority"
          }
        ],
        "kind": "action",
        "name": "hook"
      },
      {
        "change": "updated",
        "kind": "subscription",
        "name": "hook/late"
      },
      {
        "change": "deleted",
        "kind": "subscription",
        "name": "hook/users.invited"
      },
      {
        "change": "deleted",
        "kind": "action",
        "name": "note"
      }
    ]
    "#);
    let applied = app.post("definitions:apply", changed).await.body();
    assert_eq!(changes(&applied), changes(&plan));
    insta::assert_snapshot!(app.get("actions/note").await.problem(), @"404 not_found");
}

#[tokio::test]
async fn nothing_is_changed_when_something_is_wrong() {
    let app = TestApp::start().await;
    let mut broken = set();
    broken["actions"][0]["subscriptions"][0]["conditions"] = json!("event.data.x ==");
    broken["actions"][1]["timeout_seconds"] = json!(0);
    let refused = app.post("definitions:apply", broken.clone()).await;
    insta::assert_snapshot!(refused.problem(), @"422 condition.invalid /actions/0/subscriptions/0/conditions /actions/1/timeout_seconds");
    assert_eq!(app.get("actions").await.body()["items"], json!([]));
    let found = app.post("definitions:validate", broken).await.body();
    assert_eq!(found["valid"], false);
    assert_eq!(found["errors"].as_array().unwrap().len(), 2);
    assert_eq!(app.post("definitions:validate", set()).await.body()["valid"], true);
}

#[tokio::test]
async fn a_misspelt_field_is_found() {
    let app = TestApp::start().await;
    let post = async |body: Value| app.post("definitions:apply", body).await.problem();
    let mut body = set();
    body["actions"][1]["tiemout"] = json!(1);
    insta::assert_snapshot!(post(body).await, @"400 body.unknown_field /actions/1/tiemout");
    insta::assert_snapshot!(post(json!({ "action": [] })).await, @"400 body.unknown_field /action");
    let twice = json!({ "actions": [set()["actions"][1], set()["actions"][1]] });
    insta::assert_snapshot!(post(twice).await, @"422 action.invalid /actions/1/name");
}
