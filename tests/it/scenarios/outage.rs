//! A store that fails for a while loses nothing and leaves nothing stuck.

use std::time::Duration;

use actions_app::commands::submit_event::SubmitEventsError;
use actions_app::ingress::IngressError;
use actions_domain::execution::{Cause, Status};
use serde_json::json;

use crate::support::engine::{Answer, TestEngine, given_event};
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
    for fails in [Fails::Before, Fails::After] {
        engine.faults.plan("commit", fails, usize::MAX);
        let events = vec![given_event("orders.paid", json!({}))];
        let patience = engine.advance(Duration::from_secs(10));
        let (submitted, ()) = tokio::join!(engine.submit(events), patience);
        // Whether it was written is known in the one case and unknown in the other.
        let told = match fails {
            Fails::Before => {
                matches!(&submitted, Err(SubmitEventsError::Ingress(IngressError::Unavailable)))
            }
            Fails::After => {
                matches!(&submitted, Err(SubmitEventsError::Ingress(IngressError::Unknown)))
            }
        };
        assert!(told, "{submitted:?}");
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
