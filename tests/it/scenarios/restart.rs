//! What a process leaves behind, in order or not, the next one goes on with.

use std::time::Duration;

use actions_domain::execution::{Cause, Fault, Status};
use serde_json::json;

use crate::support::engine::{Answer, TestEngine};

#[tokio::test]
async fn a_retry_that_waits_survives_a_crash() {
    let mut engine = TestEngine::start().await;
    engine.define("flaky", "orders.*", json!({})).await;
    engine.script.answer([Answer::Retry(Fault::handler("test.failed", "busy"))]);
    let accepted = engine.emit("orders.paid", json!({})).await;

    engine.crash_and_restart().await;
    engine.advance(Duration::from_secs(10)).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!((execution.status, execution.attempts.len()), (Status::Completed, 2));
}

#[tokio::test]
async fn an_attempt_that_a_crash_cut_off_is_made_again_and_says_why() {
    let mut engine = TestEngine::start().await;
    engine.define("slow", "orders.*", json!({})).await;
    engine.script.answer([Answer::Hang]);
    let accepted = engine.emit("orders.paid", json!({})).await;
    assert_eq!(engine.script.calls().len(), 1);

    engine.crash_and_restart().await;
    engine.advance(Duration::from_secs(10)).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!(execution.status, Status::Completed);
    assert_eq!(execution.attempts[0].cause, Cause::LeaseLost);
    assert_eq!(engine.script.calls().len(), 2);
    let keys: Vec<_> = engine.script.calls().iter().map(|call| call.execution).collect();
    assert_eq!(keys[0], keys[1], "the idempotency key stays the same");
}

#[tokio::test]
async fn an_item_that_kills_its_node_again_and_again_is_set_aside() {
    let mut engine = TestEngine::start().await;
    engine.define("poison", "orders.*", json!({})).await;
    engine.script.answer((0..9).map(|_| Answer::Hang));
    let accepted = engine.emit("orders.paid", json!({})).await;

    for _ in 0..8 {
        engine.crash_and_restart().await;
        engine.advance(Duration::from_secs(1)).await;
    }

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!(execution.status, Status::Failed);
    assert_eq!(execution.error.unwrap().code, "execution.poison");
    // The first start was not marked; four marked ones were lost.
    assert_eq!(engine.script.calls().len(), 5);
}

#[tokio::test]
async fn an_orderly_stop_lets_attempts_end_and_spends_none() {
    let mut engine = TestEngine::start().await;
    engine.define("quick", "orders.*", json!({})).await;
    for _ in 0..50 {
        engine
            .submit(vec![crate::support::engine::given_event("orders.paid", json!({}))])
            .await
            .unwrap();
    }

    engine.stop_node().await.unwrap();
    let before = engine.script.calls().len();
    engine.start_node().await;
    engine.advance(Duration::from_secs(5)).await;

    let calls = engine.script.calls();
    assert_eq!(calls.len(), 50, "{before} before the stop");
    assert!(calls.iter().all(|call| call.attempt == 1));
}

#[tokio::test]
async fn a_stop_gives_up_on_an_attempt_that_does_not_end() {
    let mut engine = TestEngine::start().await;
    engine.define("slow", "orders.*", json!({})).await;
    engine.script.answer([Answer::Hang]);
    let accepted = engine.emit("orders.paid", json!({})).await;

    assert!(engine.stop_node().await.is_err());
    engine.start_node().await;
    engine.advance(Duration::from_secs(5)).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!(execution.status, Status::Completed);
    assert_eq!(execution.attempts[0].cause, Cause::LeaseLost);
}
