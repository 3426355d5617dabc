//! Code that cannot be followed: the run is parked, says why, and goes on with code that can be.

use std::time::Duration;

use serde_json::{Value, json};

use super::primitives::{answer, code};
use crate::flow::decide::{Input, Refusal};
use crate::flow::journal::What;
use crate::flow::orchestration::rehearsal::Rehearsal;
use crate::flow::orchestration::{Activity, Orchestration, Orchestrations, Past, Trouble, replay};

const RESERVE: Activity<Value, Value> = Activity::new("reserve");
const CHARGE: Activity<Value, Value> = Activity::new("charge");
const CHECK: Activity<Value, Value> = Activity::new("check");

fn before() -> Orchestration {
    code(|run, order| async move {
        run.call(&RESERVE, &order).await?;
        run.call(&CHARGE, &order).await
    })
}

fn changed() -> Orchestration {
    code(|run, order| async move {
        run.call(&CHECK, &order).await?;
        run.call(&RESERVE, &order).await?;
        run.call(&CHARGE, &order).await
    })
}

fn patched() -> Orchestration {
    code(|run, order| async move {
        if run.patched("check-first") {
            run.call(&CHECK, &order).await?;
        }
        run.call(&RESERVE, &order).await?;
        run.call(&CHARGE, &order).await
    })
}

fn parked(run: &Rehearsal) -> Option<String> {
    let entries = run.history().entries;
    entries
        .into_iter()
        .rev()
        .find_map(|entry| if let What::RunParked { why } = entry.what { Some(why) } else { None })
}

#[test]
fn changed_code_parks_the_run_and_says_where() {
    let mut run = Rehearsal::new(before());
    run.start(&json!(1));
    run.change(changed());
    answer(&mut run, 1, &json!("hold"));
    assert_eq!(
        parked(&run).unwrap(),
        "entry 1: the history says that the run calls reserve, and the code calls check; \
         let the code do what it did, with `patched` around what is new"
    );
    assert!(run.run().is_paused());
    let refused = run.tell(Input::Resume).unwrap_err();
    let Refusal::Parked { why } = refused else { panic!("{refused:?}") };
    assert!(why.starts_with("entry 1"), "{why}");
}

#[test]
fn a_parked_run_goes_on_with_code_that_can_be_followed() {
    let mut run = Rehearsal::new(before());
    run.start(&json!(1));
    run.change(changed());
    answer(&mut run, 1, &json!("hold"));
    run.change(patched());
    run.tell(Input::Resume).unwrap();
    answer(&mut run, 5, &json!("paid"));
    assert_eq!(run.called(), ["reserve", "charge"], "{run:?}");
    assert_eq!(run.output(), Some(json!("paid")));
}

#[test]
fn a_patch_is_for_runs_that_come_by_after_it() {
    let mut old = Rehearsal::new(before());
    old.start(&json!(1));
    old.change(patched());
    answer(&mut old, 1, &json!(null));
    assert_eq!(old.called(), ["reserve", "charge"]);

    let mut new = Rehearsal::new(patched())
        .answering("check", |_| Ok(json!(null)))
        .answering("reserve", |_| Ok(json!(null)));
    new.start(&json!(1));
    assert_eq!(new.called(), ["check", "reserve", "charge"]);
    // Later the question is left out, and runs that were asked go on.
    new.change(changed());
    let last = u32::try_from(new.history().entries.len()).unwrap() - 1;
    answer(&mut new, last, &json!("paid"));
    assert_eq!(new.output(), Some(json!("paid")), "{new:?}");
}

#[test]
fn code_that_does_less_is_found_as_well() {
    let mut run = Rehearsal::new(before()).answering("reserve", |_| Ok(json!(null)));
    run.start(&json!(1));
    let history = run.history();
    let past = Past { run: history.run, entries: &history.entries };
    let shorter = code(|run, order| async move { run.call(&RESERVE, &order).await });
    let trouble = replay(&shorter, past).unwrap_err();
    let (expected, got) = ("calls charge".to_owned(), "completes".to_owned());
    assert_eq!(trouble, Trouble::Mismatch { entry: 3, expected, got });
    let waiting = code(|run, order| async move {
        run.call(&RESERVE, &order).await?;
        run.sleep(Duration::from_secs(1)).await;
        Ok(json!(null))
    });
    let trouble = replay(&waiting, past).unwrap_err();
    let (expected, got) = ("calls charge".to_owned(), "sets the timer timer".to_owned());
    assert_eq!(trouble, Trouble::Mismatch { entry: 3, expected, got });
    let more = code(|run, order| async move {
        run.call(&RESERVE, &order).await?;
        let calls = [run.call(&CHARGE, &order), run.call(&CHECK, &order)];
        crate::flow::orchestration::all(calls).await;
        Ok(json!(null))
    });
    let trouble = replay(&more, past).unwrap_err();
    let (expected, got) = ("did nothing more".to_owned(), "calls check".to_owned());
    assert_eq!(trouble, Trouble::Mismatch { entry: 4, expected, got });
    let idle = code(|run, _| async move { run.signal("x").await });
    assert!(matches!(replay(&idle, past), Err(Trouble::Mismatch { entry: 1, .. })));
}

#[test]
fn code_that_panics_parks_the_run_without_what_it_did() {
    let broken = code(|run, order| async move {
        run.call(&RESERVE, &order).await?;
        let calls = [run.call(&CHARGE, &order)];
        assert!(calls.is_empty(), "nobody thought of this");
        Ok(json!(null))
    });
    let mut run = Rehearsal::new(broken).answering("reserve", |_| Ok(json!(null)));
    run.start(&json!(1));
    assert_eq!(parked(&run).unwrap(), "after entry 2 the code panics: nobody thought of this");
    run.change(before());
    run.tell(Input::Resume).unwrap();
    assert_eq!(run.called(), ["reserve", "charge"]);
}

#[test]
fn code_that_panics_at_once_parks_the_run_as_well() {
    let broken = code(|_, order: Value| async move { Ok(json!(order.as_u64().unwrap())) });
    let mut run = Rehearsal::new(broken);
    run.start(&json!("one"));
    assert!(parked(&run).is_some(), "{run:?}");
    run.change(before());
    run.tell(Input::Resume).unwrap();
    assert_eq!(run.called(), ["reserve"]);
}

#[test]
fn waiting_for_something_foreign_is_said_and_does_not_hang() {
    let foreign = code(|_, _| async move {
        std::future::pending::<()>().await;
        Ok(json!(null))
    });
    let mut run = Rehearsal::new(foreign);
    run.start(&json!(1));
    assert!(parked(&run).unwrap().contains("waits for something that is not of its context"));
    let restless = code(|_, _| async move {
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            std::task::Poll::<()>::Pending
        })
        .await;
        Ok(json!(null))
    });
    let mut run = Rehearsal::new(restless);
    run.start(&json!(1));
    assert!(parked(&run).unwrap().contains("round and round"));
}

#[test]
fn a_parked_run_keeps_what_comes_and_can_be_cancelled() {
    let mut run = Rehearsal::new(before());
    run.start(&json!(1));
    run.change(changed());
    run.signal("later", &json!(1)).unwrap();
    answer(&mut run, 1, &json!(1));
    let kept = run.run().output_of(&crate::flow::graph::StepName::parse("reserve").unwrap());
    assert_eq!(kept.unwrap().to_value(), json!(1));
    run.tell(Input::Cancel { reason: None, compensate: true }).unwrap();
    assert_eq!(run.run().phase().word(), "cancelled");
}

#[test]
fn a_run_that_cannot_say_what_to_undo_waits_for_code_that_can() {
    let saga = |name: &'static str| {
        code(move |run, order| async move {
            let first = Activity::<Value, Value>::new(name);
            run.call(&first, &order).undo("release").await?;
            run.call(&CHARGE, &order).await?;
            Err(super::primitives::fault("no"))
        })
    };
    let mut run = Rehearsal::new(saga("reserve"))
        .answering("reserve", |_| Ok(json!(null)))
        .answering("charge", |_| Ok(json!(null)));
    run.start(&json!(1));
    assert_eq!(run.called(), ["reserve", "charge", "release"]);
    let call = run.run().calls().next().unwrap().0;
    run.change(saga("other"));
    answer(&mut run, call.0, &json!(null));
    assert_eq!(run.run().phase().word(), "stopping", "{run:?}");
    run.change(saga("reserve"));
    run.tell(Input::Resume).unwrap();
    assert_eq!(run.run().phase().word(), "failed", "{run:?}");
}

#[test]
fn a_history_without_its_code_says_so() {
    let mut run = Rehearsal::new(before());
    run.start(&json!(1));
    let error = run.history().replay(&Orchestrations::default()).unwrap_err();
    assert!(error.to_string().starts_with("no code is registered"), "{error}");
}
