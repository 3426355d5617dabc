//! Attempts that take their time, and those that must not be made twice.

use std::time::Duration;

use actions_app::commands::submit_event::NewEvent;
use actions_app::queries::executions::report_of;
use actions_domain::execution::{AttemptOutcome, Cause, Fault, Output, Status};
use actions_domain::id::ExecutionId;
use actions_domain::ports::handler::{Call, Probe};
use actions_domain::retry::RetryPolicy;
use serde_json::{Value, json};

use crate::support::engine::{Answer, TestEngine, caller, given_event};
use crate::support::faults::Fails;
use crate::support::process::{Server, pause};
use crate::support::receiver::Receiver;

const SECOND: Duration = Duration::from_secs(1);

/// An engine with one execution of this action, whose first call never answers.
async fn hanging(action: Value) -> (TestEngine, ExecutionId) {
    let engine = TestEngine::start().await;
    engine.define("import", "orders.*", action).await;
    engine.script.answer([Answer::Hang]);
    let accepted = engine.emit("orders.paid", json!({})).await;
    (engine, accepted.executions[0].execution)
}

fn last_call(engine: &TestEngine) -> Call {
    engine.script.calls().pop().expect("the handler was called")
}

/// How many reports were sent to the store.
fn reports(engine: &TestEngine) -> usize {
    engine.faults.commits().iter().map(|commit| commit.reports.len()).sum()
}

#[tokio::test]
async fn what_an_attempt_tells_is_seen_at_once_and_elsewhere_after_a_while() {
    let (engine, id) = hanging(json!({})).await;
    let execution = engine.execution(id).await;
    let elsewhere = engine.other_process().await;
    let caller = caller(engine.tenant);
    assert_eq!(report_of(&engine.app, &caller, &execution).await.unwrap(), None);

    last_call(&engine).reporter.progress(0.4, "page 2 of 5");

    let seen = report_of(&engine.app, &caller, &execution).await.unwrap().expect("a report");
    assert_eq!(
        (seen.attempt, seen.progress, seen.note.as_deref()),
        (1, Some(0.4), Some("page 2 of 5"))
    );
    assert_eq!(report_of(&elsewhere, &caller, &execution).await.unwrap(), None);
    engine.advance(10 * SECOND).await;
    assert_eq!(report_of(&elsewhere, &caller, &execution).await.unwrap(), Some(seen));
}

#[tokio::test]
async fn the_checkpoint_of_a_failed_attempt_is_handed_to_the_next_one() {
    let (engine, id) = hanging(json!({ "timeout_seconds": 3 })).await;
    assert_eq!(last_call(&engine).checkpoint, None);
    last_call(&engine).reporter.checkpoint(&json!({ "page": 7 })).unwrap();
    engine.script.answer([Answer::Retry(Fault::handler("test.failed", "busy"))]);

    engine.advance(60 * SECOND).await;

    let calls = engine.script.calls();
    let told: Vec<_> = calls.iter().map(|call| (call.attempt, call.checkpoint.clone())).collect();
    let page = Some(json!({ "page": 7 }));
    assert_eq!(told, [(1, None), (2, page.clone()), (3, page)]);
    assert_eq!(engine.execution(id).await.status, Status::Completed);
    assert_eq!(engine.app.ports.store.report(id).await.unwrap(), None, "it goes with the end");
}

#[tokio::test]
async fn a_checkpoint_outlives_its_node() {
    let (mut engine, id) = hanging(json!({})).await;
    last_call(&engine).reporter.checkpoint(&json!({ "page": 7 })).unwrap();
    engine.advance(10 * SECOND).await;

    engine.crash_and_restart().await;
    engine.advance(10 * SECOND).await;

    assert_eq!(last_call(&engine).checkpoint, Some(json!({ "page": 7 })));
    let execution = engine.execution(id).await;
    assert_eq!(
        (execution.status, execution.attempts[0].cause),
        (Status::Completed, Cause::LeaseLost)
    );
}

#[tokio::test]
async fn reports_are_written_every_ten_seconds_and_not_more_often() {
    let (engine, _) = hanging(json!({})).await;
    for _ in 0..300 {
        last_call(&engine).reporter.beat();
        engine.advance(SECOND / 10).await;
    }
    assert!((2..=3).contains(&reports(&engine)), "{}", reports(&engine));
    let before = reports(&engine);
    engine.advance(60 * SECOND).await;
    assert!(reports(&engine) <= before + 1, "nothing new is nothing to write");
}

#[tokio::test]
async fn a_silent_attempt_is_over_and_one_that_is_heard_goes_on() {
    let no_retry = RetryPolicy::preset("no_retry");
    let action = json!({ "heartbeat_timeout_seconds": 2, "retry_policy": no_retry });
    let (engine, id) = hanging(action).await;
    for _ in 0..5 {
        engine.advance(SECOND).await;
        last_call(&engine).reporter.beat();
    }
    engine.advance(SECOND).await;
    assert!(!engine.execution(id).await.status.is_final());

    engine.advance(SECOND).await;

    let execution = engine.execution(id).await;
    assert_eq!(execution.status, Status::Timeout);
    assert_eq!(execution.error.unwrap().code, "execution.heartbeat_timeout");
    assert_eq!(execution.attempts[0].outcome, AttemptOutcome::Timeout);
}

#[tokio::test]
async fn what_must_not_happen_twice_is_written_down_before_it_starts() {
    let engine = TestEngine::start().await;
    engine.define("pay", "orders.*", json!({ "delivery": "at_most_once" })).await;
    let accepted = engine.emit("orders.paid", json!({})).await;
    let id = accepted.executions[0].execution;

    let commits = engine.faults.commits();
    let marked = commits.iter().position(|batch| batch.marks.iter().any(|item| item.work.id == id));
    let finished =
        commits.iter().position(|batch| batch.finishes.iter().any(|end| end.item.work.id == id));
    assert!(marked.is_some() && marked < finished, "{marked:?} {finished:?}");
    assert_eq!(engine.script.calls().len(), 1);
    assert_eq!(engine.execution(id).await.status, Status::Completed);
}

#[tokio::test]
async fn nothing_is_called_when_its_start_cannot_be_written_down() {
    let engine = TestEngine::start().await;
    engine.define("pay", "orders.*", json!({ "delivery": "at_most_once" })).await;
    let event = given_event("orders.paid", json!({}));
    engine.submit(vec![NewEvent { delay: Some(5 * SECOND), ..event }]).await.unwrap();
    engine.faults.plan("commit", Fails::Before, 1_000);
    engine.advance(8 * SECOND).await;
    assert_eq!(engine.script.calls().len(), 0);

    engine.faults.plan("commit", Fails::Before, 0);
    engine.advance(30 * SECOND).await;
    assert_eq!(engine.script.calls().len(), 1);
}

/// One execution that must not happen twice, whose node dies while it runs. Answers it as it is
/// some time after the next start, with the number of calls.
async fn lost(probes: Vec<Probe>) -> (actions_domain::execution::Execution, usize) {
    let (mut engine, id) = hanging(json!({ "delivery": "at_most_once" })).await;
    engine.script.find(probes);
    engine.crash_and_restart().await;
    engine.advance(10 * SECOND).await;
    (engine.execution(id).await, engine.script.calls().len())
}

#[tokio::test]
async fn what_may_have_happened_is_not_repeated_and_waits_for_a_person() {
    let (execution, calls) = lost(Vec::new()).await;
    assert_eq!((execution.status, calls), (Status::Failed, 1));
    let outcomes: Vec<_> = execution.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Unknown, AttemptOutcome::Unknown]);
    let fault = execution.error.unwrap();
    assert_eq!(fault.code, "outcome.unknown");
    assert!(fault.message.contains("a person has to"), "{}", fault.message);
}

#[tokio::test]
async fn what_did_happen_is_completed_without_another_call() {
    let (execution, calls) = lost(vec![Probe::Happened(Output::new(json!({ "paid": 9 })))]).await;
    assert_eq!((execution.status, calls), (Status::Completed, 1));
    assert_eq!(execution.output.unwrap().to_value(), json!({ "paid": 9 }));
}

#[tokio::test]
async fn what_did_not_happen_is_made_again() {
    // Asked before it is written down, and before it is called.
    let (execution, calls) = lost(vec![Probe::DidNotHappen, Probe::DidNotHappen]).await;
    assert_eq!((execution.status, calls), (Status::Completed, 2));
}

#[tokio::test]
async fn an_attempt_that_ran_out_of_time_is_asked_about_before_it_is_repeated() {
    let action = json!({ "delivery": "at_most_once", "timeout_seconds": 2 });
    let (engine, id) = hanging(action.clone()).await;
    engine.advance(60 * SECOND).await;
    let execution = engine.execution(id).await;
    assert_eq!((execution.status, engine.script.calls().len()), (Status::Failed, 1));
    assert_eq!(execution.error.unwrap().code, "outcome.unknown");

    let (engine, id) = hanging(action).await;
    engine.script.find([Probe::DidNotHappen]);
    engine.advance(60 * SECOND).await;
    let execution = engine.execution(id).await;
    assert_eq!((execution.status, engine.script.calls().len()), (Status::Completed, 2));
    assert_eq!(execution.attempts[1].cause, Cause::Timeout);
}

#[tokio::test]
async fn a_failure_that_is_certain_is_retried_as_ever() {
    let engine = TestEngine::start().await;
    engine.define("pay", "orders.*", json!({ "delivery": "at_most_once" })).await;
    let refused = Fault::system("egress.connect", "connection refused");
    let broken = Fault::system("egress.exchange", "the connection broke").unsure();
    engine.script.answer([Answer::Retry(refused), Answer::Retry(broken)]);
    let accepted = engine.emit("orders.paid", json!({})).await;
    engine.advance(60 * SECOND).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    let outcomes: Vec<_> = execution.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Failed, AttemptOutcome::Unknown]);
    assert_eq!(execution.error.unwrap().code, "outcome.unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_must_not_happen_twice_is_not_repeated_by_a_killed_server() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let mut server =
        Server::start(&format!("sqlite://{}/actions.db", folder.path().display())).await;
    server.create("/v1/admin/tenants", &json!({ "slug": "acme", "name": "Acme" })).await;
    let action = json!({
        "name": "pay",
        "action_type": "webhook",
        "handler": "webhook.signed",
        "delivery": "at_most_once",
        "event_patterns": ["orders.placed"],
        "config": { "webhook_url": receiver.url(), "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
    });
    server.create("/v1/tenants/acme/actions", &action).await;
    let event = json!({ "type": "orders.placed", "data": { "take_ms": 20_000 } });
    let answer = server.post("/v1/tenants/acme/events").json(&event).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    while receiver.calls().is_empty() {
        pause(SECOND / 50).await;
    }

    server.kill_and_restart().await;
    let executions = loop {
        let executions = server.read_all("/v1/tenants/acme/executions").await;
        if executions[0]["ended_at"].is_string() {
            break executions;
        }
        pause(SECOND / 10).await;
    };

    assert_eq!(executions[0]["error"]["code"], "outcome.unknown", "{}", executions[0]);
    let dead = server.read_all("/v1/tenants/acme/dead-letters").await;
    assert_eq!(dead.len(), 1);
    assert_eq!(receiver.calls().len(), 1);
}
