//! The handler inside a real engine, in memory.

// Tells lints that helpers are tests too.
#![cfg(test)]

use actions::{Actions, Event};
use hello_handler::Hello;
use serde_json::json;

async fn engine() -> Actions {
    let actions = Actions::builder().memory().handler(Hello::new()).build().await.unwrap();
    let spec = json!({
        "name": "greet",
        "action_type": "custom",
        "handler": "hello.greet",
        "config": { "greeting": "Welcome" },
        "event_patterns": ["users.created"],
        "retry_policy": { "max_retries": 1, "backoff": "fixed", "initial_delay_ms": 100, "jitter": false },
    });
    actions.define(serde_json::from_value(spec).unwrap()).await.unwrap();
    actions
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_greeted() {
    let actions = engine().await;
    let sent = actions.emit("users.created", &json!({ "name": "Ada" })).await.unwrap();
    let executions = actions.wait(&sent).await.unwrap();
    let output = executions[0].output.as_ref().unwrap().to_value();
    assert_eq!(output, json!({ "text": "Welcome, Ada!" }));
    actions.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_tried_again_and_a_rejection_is_not() {
    let actions = engine().await;
    let attempts = async |name: serde_json::Value| {
        let sent =
            actions.send(Event::new("users.created", &json!({ "name": name }))).await.unwrap();
        let executions = actions.wait(&sent).await.unwrap();
        assert!(executions[0].output.is_none());
        executions[0].attempts.len()
    };
    assert_eq!(attempts(json!("Godot")).await, 2);
    assert_eq!(attempts(json!(null)).await, 1);
    actions.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_the_schema_refuses_is_no_action() {
    let actions = engine().await;
    let spec = json!({
        "name": "mute",
        "action_type": "custom",
        "handler": "hello.greet",
        "config": { "greting": "Hi" },
    });
    let refused = actions.define(serde_json::from_value(spec).unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("greeting"), "{refused}");
    actions.stop().await.unwrap();
}
