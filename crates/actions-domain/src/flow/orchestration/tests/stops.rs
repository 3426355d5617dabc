//! How runs of code end, and what is undone then.

use std::time::Duration;

use serde_json::{Value, json};

use super::primitives::{answer, code, fault};
use crate::flow::decide::{CallResult, Command, Input, Refusal};
use crate::flow::graph::StepName;
use crate::flow::journal::{CallId, What};
use crate::flow::orchestration::rehearsal::Rehearsal;
use crate::flow::orchestration::{Activity, Orchestration, all};
use crate::flow::run::Phase;

const RESERVE: Activity<Value, Value> = Activity::new("stock.reserve");
const CHARGE: Activity<Value, Value> = Activity::new("billing.charge");
const SHIP: Activity<Value, Value> = Activity::new("courier.book");

fn saga() -> Orchestration {
    code(|run, order| async move {
        let hold = run.call(&RESERVE, &order).undo("stock.release").await?;
        let paid = run.call(&CHARGE, &hold).undo_with("billing.refund", &json!("all")).await?;
        run.signal::<Value>("approve").await?;
        run.call(&SHIP, &paid).await
    })
}

fn rehearsal() -> Rehearsal {
    Rehearsal::new(saga())
        .answering("stock.reserve", |_| Ok(json!("hold")))
        .answering("billing.charge", |_| Ok(json!("paid")))
}

#[test]
fn a_failure_undoes_what_was_done_in_reverse() {
    let mut run = rehearsal()
        .answering("courier.book", |_| Err(fault("no courier")))
        .answering("billing.refund", |input| {
            assert_eq!(*input, json!("all"));
            Ok(json!(null))
        })
        .answering("stock.release", |input| {
            assert_eq!(*input, json!("hold"), "it gets what the step left behind");
            Ok(json!(null))
        });
    run.start(&json!(1));
    run.signal("approve", &json!(null)).unwrap();
    let called = run.called();
    assert_eq!(called[2..], ["courier.book", "billing.refund", "stock.release"]);
    let last = run.history().entries.pop().unwrap().what;
    let What::RunFailed { compensated, .. } = last else { panic!("{last:?}") };
    assert_eq!(compensated, Some(true));
}

#[test]
fn what_cannot_be_undone_does_not_keep_the_rest_from_it() {
    let mut run = rehearsal()
        .answering("courier.book", |_| Err(fault("no courier")))
        .answering("billing.refund", |_| Err(fault("closed")))
        .answering("stock.release", |_| Ok(json!(null)));
    run.start(&json!(1));
    run.signal("approve", &json!(null)).unwrap();
    assert_eq!(run.called().last(), Some(&"stock.release"));
    let last = run.history().entries.pop().unwrap().what;
    let What::RunFailed { compensated, .. } = last else { panic!("{last:?}") };
    assert_eq!(compensated, Some(false));
}

#[test]
fn a_run_that_is_cancelled_gives_up_what_is_open_and_undoes_the_rest() {
    let mut run = rehearsal()
        .answering("billing.refund", |_| Ok(json!(null)))
        .answering("stock.release", |_| Ok(json!(null)));
    run.start(&json!(1));
    let cancel = Input::Cancel { reason: Some("no".to_owned()), compensate: true };
    let turn = run.tell(cancel).unwrap();
    assert!(
        turn.entries.iter().any(|entry| matches!(entry.what, What::StepCancelled { .. })),
        "{turn:?}"
    );
    run.settle();
    assert_eq!(*run.run().phase(), Phase::Cancelled);
    assert_eq!(run.called()[2..], ["billing.refund", "stock.release"]);
}

#[test]
fn a_run_that_is_cancelled_waits_for_what_is_under_way() {
    let mut run = Rehearsal::new(saga());
    run.start(&json!(1));
    let turn = run.tell(Input::Cancel { reason: None, compensate: true }).unwrap();
    assert_eq!(turn.commands, [Command::Cancel { call: CallId(1) }]);
    // The rehearsal has told it that the execution was cancelled.
    assert_eq!(*run.run().phase(), Phase::Cancelled);

    let both = code(|run, order| async move {
        let calls = [run.call(&RESERVE, &order).undo("stock.release"), run.call(&CHARGE, &order)];
        Ok(json!(all(calls).await.len()))
    });
    let mut run = Rehearsal::new(both);
    run.start(&json!(1));
    let fired = run.tell(Input::TimerFired { call: CallId(1) }).unwrap();
    assert!(fired.is_empty(), "nobody waits for this timer");
    answer(&mut run, 1, &json!("hold"));
    run.tell(Input::Cancel { reason: None, compensate: false }).unwrap();
    assert_eq!(run.called(), ["stock.reserve", "billing.charge"], "nothing is undone");
}

#[test]
fn what_somebody_else_cancels_is_a_failure_for_the_code() {
    let code = code(|run, order| async move {
        let fault = run.call(&RESERVE, &order).await.unwrap_err();
        Ok(json!(fault.code))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(1));
    run.tell(Input::Ended { call: CallId(1), result: CallResult::Cancelled }).unwrap();
    assert_eq!(run.output(), Some(json!("flow.cancelled")));
}

#[test]
fn a_paused_run_keeps_answers_and_starts_nothing() {
    let mut run = rehearsal();
    run = run.answering("courier.book", |_| Ok(json!("sent")));
    run.start(&json!(1));
    run.tell(Input::Pause { reason: None }).unwrap();
    run.signal("approve", &json!(null)).unwrap();
    assert_eq!(run.called().len(), 2);
    run.tell(Input::Resume).unwrap();
    run.settle();
    assert_eq!(run.output(), Some(json!("sent")), "{run:?}");
}

#[test]
fn time_stands_still_between_two_looks_of_the_code_at_it() {
    let code = code(|run, _| async move {
        let calls = [run.call(&RESERVE, &json!(1)), run.call(&CHARGE, &json!(1))];
        all(calls).await;
        let before = run.now();
        run.signal::<Value>("go").await?;
        Ok(json!(before.timestamp()))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    answer(&mut run, 1, &json!(null));
    run.advance(Duration::from_secs(5));
    answer(&mut run, 2, &json!(null));
    run.advance(Duration::from_secs(5));
    run.signal("go", &json!(null)).unwrap();
    assert_eq!(run.output(), Some(json!(5)));
}

#[test]
fn a_run_of_code_has_no_steps_to_begin_again_from() {
    let mut run = Rehearsal::new(code(|_, _| async move { Err(fault("no")) }));
    run.start(&json!(1));
    let step = StepName::parse("act").unwrap();
    assert_eq!(run.tell(Input::RetryFrom { step }).unwrap_err(), Refusal::OfCode);
}

#[test]
fn a_late_answer_changes_nothing() {
    let mut run = rehearsal();
    run.start(&json!(1));
    let result = CallResult::Completed { output: crate::json::Json::null(), context: [].into() };
    let turn = run.tell(Input::Ended { call: CallId(1), result }).unwrap();
    assert!(turn.is_empty());
    let payload = crate::json::Json::null();
    let signal = Input::Signal { name: "x".to_owned(), id: Some("1".to_owned()), payload };
    assert!(!run.tell(signal.clone()).unwrap().is_empty());
    assert!(run.tell(signal).unwrap().is_empty());
}
