//! From an event to what ran, in order and within limits.

use std::time::Duration;

use actions_app::commands::submit_event::{NewEvent, SubmitEventsError};
use actions_domain::execution::Status;
use actions_domain::limits::SCHEDULE_AHEAD_MAX;
use actions_domain::ports::clock::Clock;
use actions_domain::work::Cancel;
use chrono::NaiveTime;
use serde_json::json;

use crate::support::engine::{Answer, TestEngine, given_event};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn the_actions_of_an_event_run_independently_of_one_another() {
    let engine = TestEngine::start().await;
    engine.define("first", "orders.*", json!({ "priority": "high" })).await;
    engine.define("second", "orders.paid", json!({})).await;
    engine.define("other", "users.*", json!({})).await;
    let fault = actions_domain::execution::Fault::handler("test.bad", "never");
    engine.script.answer([Answer::Reject(fault)]);

    let accepted = engine.emit("orders.paid", json!({ "id": 9 })).await;
    engine.advance(Duration::from_secs(1)).await;

    let names: Vec<_> = accepted.executions.iter().map(|it| it.action.as_str()).collect();
    assert_eq!(names, ["first", "second"], "by priority");
    let mut statuses = Vec::new();
    for accepted in &accepted.executions {
        statuses.push(engine.execution(accepted.execution).await.status);
    }
    assert_eq!(statuses, [Status::Failed, Status::Completed]);
    assert_eq!(engine.script.calls()[0].input, json!({ "id": 9 }));
}

#[tokio::test]
async fn an_edit_holds_for_the_very_next_event() {
    let engine = TestEngine::start().await;
    engine.define("greet", "orders.*", json!({ "config": { "text": "old" } })).await;
    engine.emit("orders.paid", json!({})).await;
    engine.define("greet", "users.*", json!({ "config": { "text": "new" } })).await;

    assert!(engine.emit("orders.paid", json!({})).await.executions.is_empty());
    engine.emit("users.created", json!({})).await;

    let texts: Vec<_> =
        engine.script.calls().iter().map(|call| call.config["text"].clone()).collect();
    assert_eq!(texts, ["old", "new"]);
}

#[tokio::test]
async fn an_edit_made_elsewhere_holds_for_the_very_next_event() {
    let engine = TestEngine::start().await;
    engine.define("greet", "orders.*", json!({})).await;
    engine.save("greet", "users.*", json!({})).await;

    assert!(engine.emit("orders.paid", json!({})).await.executions.is_empty());
    assert_eq!(engine.emit("users.created", json!({})).await.executions.len(), 1);
}

#[tokio::test]
async fn an_event_is_known_over_midnight_and_for_a_day() {
    let mut engine = TestEngine::start().await;
    engine.stop_node().await.unwrap();
    let day = Duration::from_secs(24 * 3_600);
    let to_midnight = (engine.clock.now() + day).date_naive().and_time(NaiveTime::MIN).and_utc();
    let before_midnight = (to_midnight - engine.clock.now()).to_std().unwrap() - SECOND;

    let mut duplicates = Vec::new();
    for pause in [before_midnight, 2 * SECOND, day - 3 * SECOND, 2 * SECOND] {
        engine.advance(pause).await;
        let named =
            NewEvent { external_id: Some("7".to_owned()), ..given_event("orders.paid", json!({})) };
        duplicates.push(engine.submit(vec![named]).await.unwrap()[0].duplicate);
    }
    assert_eq!(duplicates, [false, true, true, false]);
}

#[tokio::test]
async fn an_execution_runs_with_the_definition_that_it_was_accepted_with() {
    let engine = TestEngine::start().await;
    engine.define("greet", "orders.*", json!({ "config": { "text": "old" } })).await;
    let later = given_event("orders.paid", json!({}));
    let later = actions_app::commands::submit_event::NewEvent {
        delay: Some(Duration::from_secs(60)),
        ..later
    };
    engine.submit(vec![later]).await.unwrap();
    engine.define("greet", "orders.*", json!({ "config": { "text": "new" } })).await;

    engine.advance(Duration::from_secs(61)).await;

    assert_eq!(engine.script.calls()[0].config["text"], "old");
}

#[tokio::test]
async fn an_inactive_action_does_not_run_what_it_was_matched_for() {
    let engine = TestEngine::start().await;
    engine.define("greet", "orders.*", json!({})).await;
    let later = actions_app::commands::submit_event::NewEvent {
        delay: Some(Duration::from_secs(60)),
        ..given_event("orders.paid", json!({}))
    };
    let accepted = engine.submit(vec![later]).await.unwrap();
    engine.define("greet", "orders.*", json!({ "is_active": false })).await;

    engine.advance(Duration::from_secs(61)).await;

    let execution = engine.execution(accepted[0].executions[0].execution).await;
    assert_eq!(execution.status, Status::Cancelled);
    assert!(engine.script.calls().is_empty());
}

#[tokio::test]
async fn what_is_scheduled_starts_at_its_time_and_not_before() {
    let engine = TestEngine::start().await;
    engine.define("remind", "orders.*", json!({})).await;
    let later = actions_app::commands::submit_event::NewEvent {
        delay: Some(Duration::from_secs(100)),
        ..given_event("orders.paid", json!({}))
    };
    engine.submit(vec![later]).await.unwrap();

    engine.advance(Duration::from_secs(99)).await;
    assert!(engine.script.calls().is_empty());
    engine.advance(Duration::from_secs(1)).await;

    assert_eq!(engine.script.calls().len(), 1);
}

#[tokio::test]
async fn executions_of_one_key_run_one_at_a_time_and_in_order() {
    let engine = TestEngine::start().await;
    let affinity = json!({ "key": "order:{data.order}", "mode": "mutate" });
    engine.define("ship", "orders.*", json!({ "affinity": affinity })).await;
    let events =
        (0..40).map(|number| given_event("orders.paid", json!({ "order": 1, "n": number })));
    engine.submit(events.collect()).await.unwrap();

    engine.advance(Duration::from_secs(1)).await;

    let order: Vec<_> = engine.script.calls().iter().map(|call| call.input["n"].clone()).collect();
    assert_eq!(order, (0..40).map(|n| json!(n)).collect::<Vec<_>>());
    assert_eq!(engine.script.most_at_once(), 1);
}

#[tokio::test]
async fn an_action_never_runs_more_often_at_once_than_it_may() {
    let engine = TestEngine::start().await;
    engine.define("few", "orders.*", json!({ "max_concurrent_executions": 3 })).await;
    let events = (0..40).map(|number| given_event("orders.paid", json!({ "n": number })));
    engine.submit(events.collect()).await.unwrap();

    engine.advance(Duration::from_secs(1)).await;

    assert_eq!(engine.script.calls().len(), 40);
    assert_eq!(engine.script.most_at_once(), 3);
}

#[tokio::test]
async fn a_cancelled_execution_ends_whether_it_waits_or_runs() {
    let engine = TestEngine::start().await;
    engine.define("slow", "orders.*", json!({ "max_concurrent_executions": 1 })).await;
    engine.script.answer([Answer::Hang]);
    let running = engine.emit("orders.paid", json!({})).await.executions[0].execution;
    let waiting = engine.emit("orders.paid", json!({})).await.executions[0].execution;

    for execution in [waiting, running] {
        engine
            .app
            .ingress
            .cancel(Cancel { tenant: engine.tenant, execution, by: None }, None)
            .await
            .unwrap();
        engine.advance(Duration::from_secs(1)).await;
        assert_eq!(engine.execution(execution).await.status, Status::Cancelled);
    }
    assert_eq!(engine.script.calls().len(), 1);
}

#[tokio::test]
async fn the_engine_tells_about_its_own_work_to_those_who_ask_by_name() {
    let engine = TestEngine::start().await;
    engine.define("everything", "*", json!({})).await;
    engine.define("mourner", "executions.dead_lettered", json!({ "priority": "low" })).await;
    let fault = actions_domain::execution::Fault::handler("test.bad", "never");
    engine.script.answer([Answer::Reject(fault.clone()), Answer::Reject(fault)]);

    engine.emit("orders.paid", json!({})).await;
    engine.advance(Duration::from_secs(1)).await;

    // `*` does not match the engine's own events, and what they cause publishes no further ones.
    let actions: Vec<_> = engine.script.calls().iter().map(|call| call.action.clone()).collect();
    assert_eq!(actions, ["everything", "mourner"]);
    assert_eq!(engine.script.calls()[1].input["action"], "everything");
}

#[tokio::test]
async fn an_event_cannot_be_delayed_for_ever() {
    let engine = TestEngine::start().await;
    engine.define("late", "orders.*", json!({})).await;
    for delay in [SCHEDULE_AHEAD_MAX + Duration::from_secs(1), Duration::MAX] {
        let event = NewEvent { delay: Some(delay), ..given_event("orders.paid", json!({})) };
        let refused = engine.submit(vec![event]).await;
        assert!(matches!(refused, Err(SubmitEventsError::TooFarAhead { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn events_with_a_long_key_run_one_at_a_time() {
    let engine = TestEngine::start().await;
    engine.define("ship", "orders.*", json!({ "affinity": { "key": "o:{a}:{b}:{c}:{d}" } })).await;
    engine.script.answer([Answer::Hang]);
    let long = "\u{1F980}".repeat(64);
    let data = json!({ "a": long, "b": long, "c": long, "d": long });
    engine.emit("orders.paid", data.clone()).await;
    engine.emit("orders.paid", data).await;
    assert_eq!(engine.script.calls().len(), 1);
}
