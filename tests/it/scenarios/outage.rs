//! A store that fails for a while loses nothing and leaves nothing stuck.

use std::time::Duration;

use actions_app::commands::cancel_execution::{CancelExecution, cancel_execution};
use actions_app::commands::submit_event::SubmitEventsError;
use actions_app::ingress::IngressError;
use actions_domain::execution::{Cause, Status};
use serde_json::json;

use crate::support::engine::{Answer, TestEngine, caller, given_event};
use crate::support::faults::Fails;

/// A node dies in the middle of an attempt. While the next one takes its partitions over, one
/// call of the store fails; in the end the work is done all the same.
async fn a_takeover_whose_call_fails(method: &'static str, fails: Fails) {
    let mut engine = TestEngine::start().await;
    engine.define("slow", "orders.*", json!({})).await;
    // The second start is marked, because the partition was taken over.
    engine.script.answer([Answer::Hang, Answer::Hang]);
    let accepted = engine.emit("orders.paid", json!({})).await;
    engine.crash_and_restart().await;
    engine.advance(Duration::from_secs(1)).await;

    engine.faults.plan(method, fails, 1);
    engine.crash_and_restart().await;
    engine.advance(Duration::from_secs(30)).await;

    assert_eq!(engine.faults.outstanding(), 0, "{method} was never called");
    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!(execution.status, Status::Completed, "after {method} failed {fails:?}");
    assert_eq!(execution.attempts[0].cause, Cause::LeaseLost);
}

#[tokio::test]
async fn a_takeover_that_fails_anywhere_is_tried_again() {
    for method in ["join", "beat", "claim", "marked", "commit", "window", "due", "events"] {
        a_takeover_whose_call_fails(method, Fails::Before).await;
        a_takeover_whose_call_fails(method, Fails::After).await;
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_is_not_acknowledged() {
    let engine = TestEngine::start().await;
    engine.define("quick", "orders.*", json!({})).await;
    // Whether it was written is known in the one case and unknown in the other.
    for (fails, is_known) in [(Fails::Before, true), (Fails::After, false)] {
        engine.faults.plan("commit", fails, usize::MAX);
        let events = vec![given_event("orders.paid", json!({}))];
        let patience = engine.advance(Duration::from_secs(10));
        let (submitted, ()) = tokio::join!(engine.submit(events), patience);
        let Err(SubmitEventsError::Ingress(error)) = submitted else { panic!("{submitted:?}") };
        assert_eq!(matches!(error, IngressError::Unavailable), is_known, "{error:?}");
        assert_eq!(matches!(error, IngressError::Unknown), !is_known, "{error:?}");
        engine.faults.plan("commit", fails, 0);
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_an_outage_is_done_after_it() {
    let mut engine = TestEngine::start().await;
    engine.define("quick", "orders.*", json!({})).await;
    let accepted = engine.submit(vec![given_event("orders.paid", json!({}))]).await.unwrap();
    for method in ["commit", "beat", "join", "window", "events"] {
        engine.faults.plan(method, Fails::Before, usize::MAX);
    }
    engine.advance(Duration::from_secs(60)).await;
    for method in ["commit", "beat", "join", "window", "events"] {
        engine.faults.plan(method, Fails::Before, 0);
    }
    engine.advance(Duration::from_secs(30)).await;

    let execution = engine.execution(accepted[0].executions[0].execution).await;
    assert_eq!(execution.status, Status::Completed);
    engine.stop_node().await.unwrap();
}

#[tokio::test]
async fn a_node_whose_beat_is_never_answered_stops_before_its_lease_is_over() {
    let engine = TestEngine::start().await;
    engine.define("quick", "orders.*", json!({})).await;
    let first = engine.app.live.node();
    engine.faults.plan("beat", Fails::Never, 1);
    engine.advance(Duration::from_millis(6_900)).await;
    assert_eq!(engine.faults.outstanding(), 0);
    assert_ne!(engine.app.live.node(), first, "a new session has begun");

    let accepted = engine.emit("orders.paid", json!({})).await;
    engine.advance(Duration::from_secs(10)).await;
    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!(execution.status, Status::Completed);
}

#[tokio::test]
async fn an_attempt_whose_event_cannot_be_read_waits_and_spends_no_retry() {
    let mut engine = TestEngine::start().await;
    engine.define("once", "orders.*", json!({ "retry_policy": { "max_retries": 0, "backoff": "fixed", "initial_delay_ms": 1000 } })).await;
    engine.stop_node().await.unwrap();
    let accepted = engine.emit("orders.paid", json!({ "total": 7 })).await;
    engine.faults.plan("events", Fails::Before, 5);
    engine.start_node().await;
    engine.advance(Duration::from_secs(10)).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!((execution.status, execution.attempts.len()), (Status::Completed, 1));
    assert_eq!(engine.script.calls()[0].input, json!({ "total": 7 }));
}

#[tokio::test]
async fn a_failed_beat_of_ones_own_starts_the_count_of_silent_ones_again() {
    const BEAT: Duration = Duration::from_secs(2);
    let mut engine = TestEngine::start().await;
    engine.stop_node().await.unwrap();
    let leases = engine.app.ports.leases.clone();
    let silent = leases.join("silent").await.unwrap();
    leases.claim(silent, &[], 1).await.unwrap();
    engine.start_node().await;
    let own = || engine.app.live.parts().len();
    assert_eq!(own(), 2);

    engine.advance(2 * BEAT).await;
    engine.faults.plan("beat", Fails::Before, 1);
    engine.advance(BEAT).await;
    assert_eq!(engine.faults.outstanding(), 0);
    for _ in 0..3 {
        engine.advance(BEAT).await;
        assert_eq!(own(), 2, "the silent one may only have been unheard");
    }
    engine.advance(BEAT).await;
    assert_eq!(own(), 4);
}

#[tokio::test]
async fn a_node_that_was_declared_dead_begins_anew() {
    let engine = TestEngine::start().await;
    engine.define("slow", "orders.*", json!({})).await;
    engine.script.answer([Answer::Hang]);
    let accepted = engine.emit("orders.paid", json!({})).await;
    let before = engine.app.live.node().unwrap();
    let leases = engine.app.ports.leases.clone();
    let judge = leases.join("judge").await.unwrap();
    leases.claim(judge, &[before], 0).await.unwrap();

    // With its next beat, and not only when it was silent for too long.
    engine.advance(Duration::from_secs(3)).await;
    assert!(engine.app.live.node().is_some_and(|node| node > before));
    engine.advance(Duration::from_secs(30)).await;

    let execution = engine.execution(accepted.executions[0].execution).await;
    assert_eq!(execution.status, Status::Completed, "its attempt was given up and made again");
    assert_eq!(execution.attempts[0].cause, Cause::LeaseLost);
}

#[tokio::test]
async fn an_acceptance_that_nobody_heard_of_is_asked_for_again_and_counts_once() {
    let engine = TestEngine::start().await;
    engine.define("quick", "orders.*", json!({})).await;
    engine.faults.plan("commit", Fails::After, 1);

    let events = vec![given_event("orders.paid", json!({}))];
    let patience = engine.advance(Duration::from_secs(1));
    let (submitted, ()) = tokio::join!(engine.submit(events), patience);

    let execution = submitted.unwrap()[0].executions[0].execution;
    assert_eq!(engine.execution(execution).await.status, Status::Completed);
    assert_eq!(engine.script.calls().len(), 1);
    let sent = engine.faults.commits();
    let sent = sent.iter().flat_map(|commit| &commit.submissions);
    let works: Vec<_> = sent.map(|submission| submission.ingests[0].works[0].1.id).collect();
    assert_eq!(works, [execution, execution], "under the same id");
}

#[tokio::test]
async fn an_end_that_nobody_heard_of_is_never_sent_again() {
    let engine = TestEngine::start().await;
    engine.define("quick", "orders.*", json!({})).await;
    let mut event = given_event("orders.paid", json!({}));
    event.delay = Some(Duration::from_secs(5));
    let accepted = engine.submit(vec![event]).await.unwrap();
    let id = accepted[0].executions[0].execution;
    let (before, epoch) = (engine.app.live.node(), engine.app.live.fences()[0].epoch);

    engine.faults.plan("commit", Fails::After, 1);
    engine.advance(Duration::from_secs(10)).await;

    assert_eq!(engine.faults.outstanding(), 0);
    assert_ne!(engine.app.live.node(), before, "everything is read again");
    assert!(engine.app.live.fences()[0].epoch > epoch);
    assert_eq!(engine.execution(id).await.status, Status::Completed);
    let sent = engine.faults.commits();
    let ends = sent.iter().flat_map(|commit| &commit.finishes);
    assert_eq!(ends.filter(|finish| finish.item.work.id == id).count(), 1);
}

#[tokio::test]
async fn a_scheduled_execution_is_cancelled_long_before_it_is_due() {
    let engine = TestEngine::start().await;
    engine.define("late", "orders.*", json!({})).await;
    let mut event = given_event("orders.paid", json!({}));
    event.delay = Some(Duration::from_secs(10 * 24 * 3_600));
    let accepted = engine.submit(vec![event]).await.unwrap();
    let id = accepted[0].executions[0].execution;
    engine.advance(Duration::from_secs(1)).await;

    let request = CancelExecution { tenant: engine.tenant, execution: id };
    cancel_execution(&engine.app, &caller(engine.tenant), request).await.unwrap();
    engine.advance(Duration::from_secs(1)).await;
    assert_eq!(engine.execution(id).await.status, Status::Cancelled);
}

#[tokio::test]
async fn a_limit_holds_from_the_first_event_on() {
    let engine = TestEngine::start().await;
    let saved = engine.save("narrow", "orders.*", json!({ "max_concurrent_executions": 2 })).await;
    engine.app.catalogue.refresh(engine.tenant, saved.version).await.unwrap();
    engine.script.answer((0..8).map(|_| Answer::Hang));
    let events = (0..8).map(|_| given_event("orders.paid", json!({}))).collect();
    engine.submit(events).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.script.calls().len(), 2);
}
