//! One process accepts, another one runs, and a hint saves the time until the next poll. In
//! these tests no time passes, so nobody polls.

use std::time::Duration;

use actions_app::app::App;
use actions_app::commands::cancel_execution::{CancelExecution, cancel_execution};
use actions_app::commands::change_api_key::revoke_api_key;
use actions_app::commands::create_api_key::{CreateApiKey, create_api_key};
use actions_app::commands::submit_event::{NewEvent, SubmitEvents, submit_events};
use actions_app::queries::executions::find_execution;
use actions_app::queries::why::why;
use actions_domain::api_key::ApiKeyName;
use actions_domain::authorization::Role;
use actions_domain::execution::Status;
use actions_domain::id::ExecutionId;
use serde_json::json;

use crate::support::engine::{Answer, TestEngine, caller, given_event};

async fn submit(engine: &TestEngine, app: &App, event: NewEvent) -> ExecutionId {
    let request = SubmitEvents { tenant: engine.tenant, events: vec![event], idempotency: None };
    let accepted = submit_events(app, &caller(engine.tenant), request).await.unwrap();
    accepted[0].executions[0].execution
}

#[tokio::test]
async fn what_another_process_accepted_starts_at_once() {
    let engine = TestEngine::start().await;
    engine.define("quick", "orders.*", json!({})).await;
    let other = engine.other_process().await;
    let execution = submit(&engine, &other, given_event("orders.paid", json!({}))).await;
    engine.settle().await;
    assert_eq!(engine.execution(execution).await.status, Status::Completed);
}

#[tokio::test]
async fn what_another_process_delayed_starts_on_time() {
    let engine = TestEngine::start().await;
    engine.define("quick", "orders.*", json!({})).await;
    let other = engine.other_process().await;
    let mut event = given_event("orders.paid", json!({}));
    // Sooner than the next poll.
    event.delay = Some(Duration::from_millis(20));
    let execution = submit(&engine, &other, event).await;
    engine.settle().await;
    engine.advance(Duration::from_millis(30)).await;
    assert_eq!(engine.execution(execution).await.status, Status::Completed);
}

#[tokio::test]
async fn an_edit_in_one_process_is_known_to_the_others_at_once() {
    let engine = TestEngine::start().await;
    let other = engine.other_process().await;
    let saved = engine.save("quick", "orders.*", json!({})).await;
    other.catalogue.refresh(engine.tenant, saved.version).await.unwrap();
    engine.settle().await;
    let known = engine.app.catalogue.find(engine.tenant).unwrap();
    assert_eq!(known.version(), saved.version);
}

#[tokio::test]
async fn a_key_that_one_process_revokes_is_refused_by_a_node_at_once() {
    let engine = TestEngine::start().await;
    let other = engine.other_process().await;
    let by = caller(engine.tenant);
    let request = CreateApiKey {
        tenant: engine.tenant,
        name: ApiKeyName::parse("reader").unwrap(),
        role: Role::Viewer,
        expires_at: None,
    };
    let token = create_api_key(&other, &by, request).await.unwrap().token;
    assert!(engine.app.api_keys.verify(token.expose()).await.is_ok());
    revoke_api_key(&other, &by, engine.tenant, "reader").await.unwrap();
    engine.settle().await;
    assert!(engine.app.api_keys.verify(token.expose()).await.is_err());
}

#[tokio::test]
async fn a_cancel_in_one_process_reaches_the_owner_at_once() {
    let engine = TestEngine::start().await;
    engine.define("slow", "orders.*", json!({})).await;
    engine.script.answer([Answer::Hang]);
    let other = engine.other_process().await;
    let execution = submit(&engine, &other, given_event("orders.paid", json!({}))).await;
    engine.settle().await;
    assert_eq!(engine.script.calls().len(), 1);
    let request = CancelExecution { tenant: engine.tenant, execution };
    cancel_execution(&other, &caller(engine.tenant), request).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.execution(execution).await.status, Status::Cancelled);
}

#[tokio::test]
async fn whoever_is_asked_says_why_something_waits_on_another_node() {
    let engine = TestEngine::start().await;
    let limited = json!({ "max_concurrent_executions": 1 });
    engine.define("slow", "orders.*", limited).await;
    engine.script.answer([Answer::Hang]);
    let other = engine.other_process().await;
    let ask = async |id: ExecutionId| {
        let by = caller(engine.tenant);
        let execution = find_execution(&other, &by, engine.tenant, id).await.unwrap();
        why(&other, &by, &execution).await.unwrap()
    };
    let first = submit(&engine, &other, given_event("orders.paid", json!({}))).await;
    engine.settle().await;
    let second = submit(&engine, &other, given_event("orders.paid", json!({}))).await;
    engine.settle().await;
    assert_eq!(ask(first).await.waits_for, "running");
    let told = ask(second).await;
    assert_eq!((told.waits_for, told.holder), ("key", Some(first)), "{told:?}");
}

#[tokio::test]
async fn a_question_that_nobody_answers_ends() {
    let mut engine = TestEngine::start().await;
    engine.define("slow", "orders.*", json!({})).await;
    let other = engine.other_process().await;
    engine.stop_node().await.unwrap();
    let id = submit(&engine, &other, given_event("orders.paid", json!({}))).await;
    let by = caller(engine.tenant);
    let execution = find_execution(&other, &by, engine.tenant, id).await.unwrap();
    let asked = tokio::spawn(async move { why(&other, &by, &execution).await.unwrap() });
    engine.advance(Duration::from_secs(2)).await;
    assert_eq!(asked.await.unwrap().waits_for, "node");
}
