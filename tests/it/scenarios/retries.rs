//! What follows a failed attempt.

use std::time::Duration;

use actions_domain::execution::{Fault, Status};
use actions_domain::ports::history::DeadLetterQuery;
use serde_json::json;

use crate::support::engine::{Answer, TestEngine};

fn failure(text: &str) -> Answer {
    Answer::Retry(Fault::handler("test.failed", text))
}

#[tokio::test]
async fn a_failing_action_is_retried_on_schedule() {
    let engine = TestEngine::start().await;
    engine.define("flaky", "orders.*", json!({})).await;
    engine.script.answer([failure("busy"), failure("busy")]);
    let accepted = engine.emit("orders.paid", json!({})).await;

    engine.advance(Duration::from_secs(10)).await;

    insta::assert_snapshot!(engine.timeline(accepted.executions[0].execution).await, @r"
    00:00 attempt 1 (First) Failed: busy
    00:01 attempt 2 (Retry) Failed: busy
    00:03 attempt 3 (Retry) Completed
    completed
    ");
}

#[tokio::test]
async fn an_exhausted_execution_becomes_a_dead_letter_with_all_its_attempts() {
    let engine = TestEngine::start().await;
    engine.define("doomed", "orders.*", json!({})).await;
    engine.script.answer((0..9).map(|_| failure("no luck")));
    let accepted = engine.emit("orders.paid", json!({})).await;

    engine.advance(Duration::from_secs(60)).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!((execution.status, execution.attempts.len()), (Status::Failed, 4));
    let query = DeadLetterQuery {
        tenant: engine.tenant,
        fingerprint: None,
        action: None,
        before: None,
        limit: 10,
    };
    let dead = engine.app.ports.history.list_dead_letters(query).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].execution.id, execution.id);
}

#[tokio::test]
async fn a_rejected_attempt_is_not_repeated() {
    let engine = TestEngine::start().await;
    engine.define("strict", "orders.*", json!({})).await;
    engine.script.answer([Answer::Reject(Fault::handler("test.bad", "never"))]);
    let accepted = engine.emit("orders.paid", json!({})).await;

    engine.advance(Duration::from_secs(60)).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!((execution.status, execution.attempts.len()), (Status::Failed, 1));
}

#[tokio::test]
async fn a_handler_that_does_not_answer_is_stopped_at_its_timeout() {
    let engine = TestEngine::start().await;
    let policy = json!({ "max_retries": 1, "backoff": "fixed", "initial_delay_ms": 1000 });
    let changes = json!({ "timeout_seconds": 5, "retry_policy": policy });
    engine.define("slow", "orders.*", changes).await;
    engine.script.answer([Answer::Hang, Answer::Hang]);
    let accepted = engine.emit("orders.paid", json!({})).await;

    engine.advance(Duration::from_secs(30)).await;

    insta::assert_snapshot!(engine.timeline(accepted.executions[0].execution).await, @r"
    00:00 attempt 1 (First) Timeout: no answer within 5000 ms
    00:06 attempt 2 (Timeout) Timeout: no answer within 5000 ms
    timeout
    ");
}

#[tokio::test]
async fn a_handler_that_panics_has_failed() {
    let engine = TestEngine::start().await;
    engine.define("fragile", "orders.*", json!({})).await;
    engine.script.answer([Answer::Panic]);
    let accepted = engine.emit("orders.paid", json!({})).await;

    engine.advance(Duration::from_secs(5)).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!(execution.status, Status::Completed);
    let fault = execution.attempts[0].error.clone().unwrap();
    assert_eq!(fault.message, "the handler panicked: told to");
}

#[tokio::test]
async fn a_pause_that_the_other_side_asked_for_is_never_undercut() {
    let engine = TestEngine::start().await;
    engine.define("polite", "orders.*", json!({})).await;
    let fault =
        Fault::handler("http.status", "429").with_retry_after(Some(Duration::from_secs(90)));
    engine.script.answer([Answer::Retry(fault)]);
    let accepted = engine.emit("orders.paid", json!({})).await;

    engine.advance(Duration::from_secs(89)).await;
    assert_eq!(engine.script.calls().len(), 1);
    engine.advance(Duration::from_secs(2)).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!(execution.status, Status::Completed);
}

#[tokio::test]
async fn a_receiver_that_is_gone_for_good_switches_its_action_off() {
    let engine = TestEngine::start().await;
    engine.define("gone", "orders.*", json!({})).await;
    let fault = Fault { disables: true, ..Fault::handler("http.gone", "410") };
    engine.script.answer([Answer::Reject(fault)]);
    engine.emit("orders.paid", json!({})).await;
    engine.advance(Duration::from_secs(1)).await;

    let next = engine.emit("orders.paid", json!({})).await;

    assert!(next.executions.is_empty());
}

#[tokio::test]
async fn an_action_that_was_mended_meanwhile_stays_on() {
    let engine = TestEngine::start().await;
    engine.define("gone", "orders.*", json!({})).await;
    let fault = Fault { disables: true, ..Fault::handler("http.gone", "410") };
    let again = Fault::handler("http.status", "503");
    engine.script.answer([Answer::Retry(again), Answer::Reject(fault)]);
    engine.emit("orders.paid", json!({})).await;
    engine.define("gone", "orders.*", json!({ "description": "to the new address" })).await;
    engine.advance(Duration::from_secs(10)).await;
    assert_eq!(engine.script.calls().len(), 2);

    let next = engine.emit("orders.paid", json!({})).await;

    assert_eq!(next.executions.len(), 1);
}
