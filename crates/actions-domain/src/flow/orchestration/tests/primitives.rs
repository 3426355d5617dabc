//! Each thing that code can ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Timestamp;
use crate::execution::Fault;
use crate::flow::decide::{Command, Input};
use crate::flow::journal::{CallId, What};
use crate::flow::orchestration::rehearsal::Rehearsal;
use crate::flow::orchestration::{
    Activity, Context, Either, Orchestration, Orchestrations, Past, all, decide, either, race,
};
use crate::flow::run::StepStatus;
use crate::limits::RUN_OPEN_MAX;
use crate::retry::RetryPolicy;
use crate::work::KeyMode;

const ACT: Activity<Value, Value> = Activity::new("act");
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn code<F, Fut>(code: F) -> Orchestration
where
    F: Fn(Context, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, Fault>> + Send + 'static,
{
    Orchestration::new("orders.fulfil", 1, code).unwrap()
}

pub(super) fn fault(code: &str) -> Fault {
    Fault::handler("http.status", code)
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Order {
    id: u32,
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Receipt {
    total: u32,
}

#[test]
fn a_typed_activity_takes_and_answers_its_types() {
    const CHARGE: Activity<Order, Receipt> = Activity::new("billing.charge");
    let charge = |run: Context, order: Order| async move {
        let receipt = run.call(&CHARGE, &order).await?;
        Ok(receipt.total + 1)
    };
    let code = Orchestration::new("orders.charge", 1, charge).unwrap();
    let mut run = Rehearsal::new(code).answering("billing.charge", |order| {
        assert_eq!(*order, json!({ "id": 7 }));
        Ok(json!({ "total": 41 }))
    });
    run.start(&json!({ "id": 7 }));
    assert_eq!(run.output(), Some(json!(42)));
}

#[test]
fn an_answer_of_another_shape_is_a_fault_that_says_so() {
    const CHARGE: Activity<Value, Receipt> = Activity::new("billing.charge");
    let code = code(|run, input| async move {
        let fault = run.call(&CHARGE, &input).await.unwrap_err();
        Ok(json!([fault.code, fault.message]))
    });
    let mut run = Rehearsal::new(code).answering("billing.charge", |_| Ok(json!("no")));
    run.start(&json!(null));
    let output = run.output().unwrap();
    assert_eq!(output[0], "flow.decode");
    assert!(output[1].as_str().unwrap().contains("Receipt"), "{output}");
}

#[test]
fn an_input_of_another_shape_fails_the_run() {
    let charge = |_: Context, order: Order| async move { Ok(order.id) };
    let mut run = Rehearsal::new(Orchestration::new("orders.charge", 1, charge).unwrap());
    run.start(&json!("seven"));
    assert_eq!(run.run().phase().word(), "failed");
}

#[test]
fn a_call_says_how_carefully_it_is_performed() {
    let code = code(|run, input| async move {
        let call = run.call(&ACT, &input).named("first").key("order:1", KeyMode::Mutate);
        let call = call.timeout(Duration::from_millis(1_500));
        call.retry(RetryPolicy::preset("no_retry").unwrap()).await
    });
    let mut run = Rehearsal::new(code);
    let input = crate::json::Json::parse("[1]").unwrap();
    let start = Input::Start { input, context: [].into(), depth: 0 };
    let turn = run.tell(start).unwrap();
    let [Command::Start(start)] = turn.commands.as_slice() else { panic!("{turn:?}") };
    assert_eq!(start.place.step.as_str(), "first");
    assert_eq!(start.key, Some(("order:1".to_owned(), KeyMode::Mutate)));
    assert_eq!(start.timeout_seconds, Some(2));
    assert_eq!(start.retry, RetryPolicy::preset("no_retry"));
    assert_eq!(start.call, CallId(1));
}

#[test]
fn a_call_that_cannot_be_made_is_a_fault() {
    let code = code(|run, input| async move {
        let mut codes = Vec::new();
        let unnamed = Activity::<Value, Value>::named("no name".to_owned());
        codes.push(run.call(&unnamed, &input).await.unwrap_err().code);
        codes.push(run.call(&ACT, &input).key("one", KeyMode::Read).await.unwrap_err().code);
        codes.push(run.call(&ACT, &input).undo("no name").await.unwrap_err().code);
        codes.push(run.call(&ACT, &input).timeout(Duration::ZERO).await.unwrap_err().code);
        codes.push(run.signal::<Value>("").await.unwrap_err().code);
        codes.push(run.child::<Value>("no name", &input).await.unwrap_err().code);
        Ok(json!(codes))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    assert_eq!(run.output(), Some(json!(["flow.call"; 6].to_vec())));
}

#[test]
fn steps_with_one_name_are_told_apart() {
    let code = code(|run, input| async move {
        let second = Activity::<Value, Value>::named("act-2".to_owned());
        run.call(&second, &input).await?;
        run.call(&ACT, &input).await?;
        run.call(&ACT, &input).await?;
        let dotted = Activity::<Value, Value>::named("7.act".to_owned());
        run.call(&dotted, &input).await
    });
    let mut run = Rehearsal::new(code);
    for name in ["act", "act-2", "7.act"] {
        run = run.answering(name, |_| Ok(json!(null)));
    }
    run.start(&json!(null));
    let steps: Vec<String> = run.run().steps().map(|(step, _)| step.to_string()).collect();
    assert_eq!(steps, ["_7-act", "act", "act-2", "act-3"]);
}

#[test]
fn a_timer_lasts_as_long_as_it_says() {
    let code = code(|run, _| async move {
        let before = run.now();
        run.sleep(60 * SECOND).await;
        run.sleep_until(before + chrono::TimeDelta::seconds(90)).await;
        Ok(json!((run.now() - before).num_seconds()))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    run.advance(59 * SECOND);
    assert_eq!(run.run().entry_count(), 2);
    run.advance(31 * SECOND);
    assert_eq!(run.output(), Some(json!(90)));
}

#[test]
fn an_early_signal_is_kept_until_the_code_waits_for_it() {
    let code = code(|run, _| async move {
        run.sleep(SECOND).await;
        let first: Value = run.signal("go").await?;
        let second: Value = run.signal("go").await?;
        Ok(json!([first, second]))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    run.signal("go", &json!(1)).unwrap();
    run.signal("other", &json!(0)).unwrap();
    run.advance(SECOND);
    run.signal("go", &json!(2)).unwrap();
    assert_eq!(run.output(), Some(json!([1, 2])));
}

#[test]
fn a_signal_goes_to_who_has_waited_longest() {
    let code = code(|run, _| async move {
        let (first, second) = (run.signal::<Value>("go"), run.signal::<Value>("go"));
        let all = all([first, second]).await;
        Ok(all.into_iter().map(Result::unwrap).collect())
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    run.signal("go", &json!(1)).unwrap();
    run.signal("go", &json!(2)).unwrap();
    assert_eq!(run.output(), Some(json!([1, 2])));
}

#[test]
fn a_signal_that_does_not_come_in_time_is_a_fault() {
    let code = code(|run, _| async move {
        let fault = run.signal::<Value>("approve").within(60 * SECOND).await.unwrap_err();
        Ok(json!([fault.code, fault.message]))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    run.advance(60 * SECOND);
    let expected = json!(["flow.signal_timeout", "no signal approve came within 60 s"]);
    assert_eq!(run.output(), Some(expected));
}

#[test]
fn a_signal_in_time_clears_its_timer() {
    let code = code(|run, _| async move {
        let name: String = run.signal("approve").within(60 * SECOND).await?;
        Ok(json!(name))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    let payload = crate::json::Json::parse("\"ann\"").unwrap();
    let signal = Input::Signal { name: "approve".to_owned(), id: None, payload };
    let turn = run.tell(signal).unwrap();
    assert!(turn.commands.contains(&Command::ClearTimer { call: CallId(1) }), "{turn:?}");
    assert_eq!(run.output(), Some(json!("ann")));
}

#[test]
fn another_workflow_answers_as_an_activity_does() {
    let code = code(|run, input| async move {
        let good: Value = run.child("shipping", &input).await?;
        let bad = run.child::<Value>("customs", &input).await.unwrap_err();
        Ok(json!([good, bad.message]))
    });
    let mut run = Rehearsal::new(code)
        .answering("shipping", |_| Ok(json!("sent")))
        .answering("customs", |_| Err(fault("closed")));
    run.start(&json!(null));
    assert_eq!(run.output(), Some(json!(["sent", "closed"])));
}

#[test]
fn all_are_under_way_at_once_and_answer_in_their_order() {
    let code = code(|run, _| async move {
        let names = ["a", "b", "c"].map(|name| Activity::named(name.to_owned()));
        let calls = names.iter().map(|activity| run.call(activity, &json!(null)));
        let outputs: Result<Vec<Value>, Fault> = all(calls).await.into_iter().collect();
        Ok(json!(outputs?))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    assert_eq!(run.called(), ["a", "b", "c"]);
    for (call, output) in [(3, 30), (1, 10), (2, 20)] {
        answer(&mut run, call, &json!(output));
    }
    assert_eq!(run.output(), Some(json!([10, 20, 30])));
}

pub(super) fn answer(run: &mut Rehearsal, call: u32, output: &Value) {
    let result = crate::flow::decide::CallResult::Completed {
        output: crate::json::Json::from_value(output),
        context: [].into(),
    };
    run.tell(Input::Ended { call: CallId(call), result }).unwrap();
}

#[test]
fn those_who_lost_a_race_are_given_up() {
    let code = code(|run, _| async move {
        let names = ["a", "b"].map(|name| Activity::named(name.to_owned()));
        let calls: Vec<_> = names.iter().map(|name| run.call(name, &json!(null))).collect();
        let (place, output): (usize, Result<Value, Fault>) = race(calls).await;
        let slow = run.sleep(60 * SECOND);
        let Either::Second(signal) = either(slow, run.signal::<Value>("go")).await else {
            return Ok(json!("too late"));
        };
        run.signal::<Value>("end").await?;
        Ok(json!([place, output?, signal?]))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    let result = crate::flow::decide::CallResult::Completed {
        output: crate::json::Json::parse("5").unwrap(),
        context: [].into(),
    };
    let turn = run.tell(Input::Ended { call: CallId(2), result }).unwrap();
    assert!(turn.commands.contains(&Command::Cancel { call: CallId(1) }), "{turn:?}");
    run.signal("go", &json!(6)).unwrap();
    assert_eq!(
        run.run().status(&crate::flow::graph::StepName::parse("timer").unwrap()),
        StepStatus::Cancelled
    );
    run.advance(100 * SECOND);
    run.signal("end", &json!(null)).unwrap();
    assert_eq!(run.output(), Some(json!([1, 5, 6])), "{run:?}");
}

#[test]
fn what_lost_a_race_may_end_late_without_being_noticed() {
    let code = code(|run, input| async move {
        match either(run.call(&ACT, &input), run.sleep(SECOND)).await {
            Either::First(_) => Ok(json!("done")),
            Either::Second(()) => {
                run.sleep(SECOND).await;
                Ok(json!("late"))
            }
        }
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    // Nobody answers the cancelling at once.
    let turn = run.tell(Input::TimerFired { call: CallId(2) }).unwrap();
    assert!(turn.commands.contains(&Command::Cancel { call: CallId(1) }), "{turn:?}");
    answer(&mut run, 1, &json!(1));
    run.advance(3 * SECOND);
    assert_eq!(run.output(), Some(json!("late")), "{run:?}");
}

#[test]
fn a_side_effect_happens_once() {
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    let code = code(move |run, _| {
        let counter = Arc::clone(&counter);
        async move {
            let number = run.record("number", || counter.fetch_add(1, Ordering::Relaxed)).await?;
            run.sleep(SECOND).await;
            run.sleep(SECOND).await;
            Ok(json!(number))
        }
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    run.advance(5 * SECOND);
    assert_eq!(run.output(), Some(json!(0)));
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[test]
fn ids_are_the_same_whenever_the_code_is_followed_and_differ_between_runs() {
    let code = code(|run, _| async move {
        let ids = [run.new_id(), run.new_id()];
        run.sleep(SECOND).await;
        run.publish("ids", &ids)?;
        run.sleep(SECOND).await;
        Ok(json!(ids))
    });
    let mut run = Rehearsal::new(code.clone());
    run.start(&json!(null));
    run.advance(SECOND);
    let seen = run.query("ids").unwrap();
    run.advance(SECOND);
    assert_eq!(run.output(), seen);
    let ids = seen.unwrap();
    assert_ne!(ids[0], ids[1]);
    let history = run.history();
    let other = Past { run: Uuid::from_u128(77), entries: &history.entries[..1] };
    let fired = decide(&code, other, Input::TimerFired { call: CallId(9) }, Timestamp::UNIX_EPOCH);
    assert!(fired.is_ok());
    let past = Past { run: Uuid::from_u128(77), entries: &history.entries[..4] };
    let others = crate::flow::orchestration::query(&code, past, "ids").unwrap();
    assert_ne!(others.unwrap().to_value()[0], ids[0]);
}

#[test]
fn the_status_is_kept_and_what_is_published_is_found_by_following() {
    let code = code(|run, _| async move {
        for percent in [50, 50, 100] {
            run.set_status(&json!({ "percent": percent }))?;
            run.publish("percent", &percent)?;
            run.sleep(SECOND).await;
        }
        Ok(json!(null))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    let status = |run: &Rehearsal| run.run().custom_status().unwrap().to_value();
    assert_eq!(status(&run), json!({ "percent": 50 }));
    run.advance(2 * SECOND);
    assert_eq!(status(&run), json!({ "percent": 100 }));
    assert_eq!(run.query("percent").unwrap(), Some(json!(100)));
    assert_eq!(run.query("nothing").unwrap(), None);
    let said = |what: &What| matches!(what, What::StatusSet { .. });
    let count = run.history().entries.iter().filter(|entry| said(&entry.what)).count();
    assert_eq!(count, 2, "what is the same is said once");
}

#[test]
fn what_goes_on_for_ever_goes_on_as_a_new_run() {
    let code = code(|run, input| async move {
        let round = input.as_u64().unwrap();
        if round == 3 {
            let left: Value = run.signal("left").await?;
            return Ok(json!([round, left]));
        }
        let name = Activity::named("act".to_owned());
        let (_, _): (usize, Result<Value, Fault>) =
            race([run.call(&name, &input), run.call(&ACT, &input)]).await;
        run.continue_as_new(&(round + 1)).await
    });
    let mut run = Rehearsal::new(code.clone());
    run.start(&json!(1));
    run.signal("left", &json!("over")).unwrap();
    let mut run = run.answering("act", |_| Ok(json!(null)));
    run.settle();
    assert_eq!(run.output(), Some(json!([3, "over"])), "{run:?}");
    assert_eq!(run.before().len(), 2);
    let mut known = Orchestrations::default();
    known.register(code).unwrap();
    for before in run.before() {
        assert_eq!(before.replay(&known).unwrap().phase().word(), "continued");
    }
}

#[test]
fn more_than_may_be_open_waits_for_room() {
    let count = RUN_OPEN_MAX + 5;
    let code = code(move |run, input| async move {
        let calls = (0..count).map(|_| run.call(&ACT, &input));
        Ok(json!(all(calls).await.len()))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    assert_eq!(run.called().len(), RUN_OPEN_MAX);
    answer(&mut run, 5, &json!(null));
    assert_eq!(run.called().len(), RUN_OPEN_MAX + 1);
}

#[test]
fn versions_stay_beside_one_another() {
    let of = |version| {
        let code = |_: Context, input: Value| async move { Ok(input) };
        Orchestration::new("orders.fulfil", version, code).unwrap()
    };
    let mut known = Orchestrations::default();
    known.register(of(2)).unwrap();
    known.register(of(1)).unwrap();
    assert!(known.register(of(1)).is_err());
    assert_eq!(known.latest("orders.fulfil").unwrap().version(), 2);
    assert_eq!(known.find(of(1).digest()).unwrap().version(), 1);
    assert!(known.latest("orders").is_none());
    assert!(known.find(of(3).digest()).is_none());
    assert_eq!(known.iter().count(), 2);
    assert!(
        Orchestration::new("no name", 1, |_: Context, input: Value| async move { Ok(input) })
            .is_err()
    );
}
