//! Timers and signals.

use serde_json::json;

use super::world::{World, action, graph, impact, json_text, name};
use crate::flow::decide::{Command, Input, Refusal};
use crate::flow::graph::{Does, FailureImpact, Needs, Step, Wait};
use crate::flow::run::StepStatus;
use crate::limits::RUN_PAYLOAD_BYTES_MAX;

fn timer(millis: u64) -> Step {
    Step::new(Does::Timer(Wait::ForMs(millis)))
}

fn until(template: &str) -> Step {
    Step::new(Does::Timer(Wait::Until(template.to_owned())))
}

fn wait(signal: &str) -> Step {
    Step::new(Does::WaitSignal { signal: signal.to_owned() })
}

#[test]
fn a_timer_holds_the_steps_behind_it() {
    let mut world =
        World::started(graph([("nap", timer(7_200_000)), ("b", action())], &["nap > b"]));
    let call = world.call_of("nap");
    let due_at = world.now + chrono::TimeDelta::hours(2);
    assert_eq!(world.commands, [Command::SetTimer { call, due_at }]);
    let turn = world.fire("nap");
    assert_eq!(World::names(&turn), ["TimerFired", "StepScheduled"]);
    assert_eq!(world.open(), ["b"]);
    assert!(world.tell(Input::TimerFired { call }).is_empty());
}

#[test]
fn a_timer_may_wait_for_an_instant() {
    let steps = [("nap", until("{{ input.at }}"))];
    let world =
        World::started_with(graph(steps, &[]), json!({ "at": "1970-01-31T12:00:00+01:00" }));
    let due_at = "1970-01-31T11:00:00Z".parse().unwrap();
    assert_eq!(world.commands, [Command::SetTimer { call: world.call_of("nap"), due_at }]);
    let steps = [("nap", until("{{ input.at }}"))];
    let world = World::started_with(graph(steps, &[]), json!({ "at": "soon" }));
    assert_eq!(world.run.fault_of(&name("nap")).unwrap().code, "flow.no_instant");
    let steps = [("nap", until("{{ input.at }}"))];
    let world = World::started_with(graph(steps, &[]), json!({ "at": "1971-01-03T00:00:00Z" }));
    assert_eq!(world.run.fault_of(&name("nap")).unwrap().code, "flow.too_far");
}

#[test]
fn a_signal_that_comes_early_is_kept_and_one_is_taken_by_one_step() {
    let steps = [("before", action()), ("one", wait("go")), ("two", wait("go"))];
    let mut world = World::started(graph(steps, &["before > one", "one > two"]));
    world.signal("go", json!(1));
    world.signal("stop", json!("nobody asks"));
    assert_eq!(world.run.buffered_signals(), 2);
    world.complete("before");
    assert_eq!(world.run.output_of(&name("one")), Some(&json_text(json!(1))));
    assert_eq!(world.open(), ["two"]);
    world.signal("go", json!(2));
    assert_eq!(world.run.output_of(&name("two")), Some(&json_text(json!(2))));
    assert_eq!(world.phase(), "completed");
    let late = Input::Signal { name: "go".to_owned(), id: None, payload: json_text(json!(3)) };
    assert_eq!(
        world.try_tell(late).unwrap_err(),
        Refusal::State { what: "signal", state: "completed" }
    );
}

#[test]
fn signals_are_taken_in_the_order_in_which_they_came() {
    let steps = [("before", action()), ("one", wait("go")), ("two", wait("go"))];
    let mut world = World::started(graph(steps, &["before > one", "before > two"]));
    world.signal("go", json!("first"));
    world.signal("go", json!("second"));
    world.complete("before");
    assert_eq!(world.run.output_of(&name("one")), Some(&json_text(json!("first"))));
    assert_eq!(world.run.output_of(&name("two")), Some(&json_text(json!("second"))));
}

#[test]
fn a_signal_that_is_sent_again_counts_once() {
    let steps = [("one", wait("go")), ("two", wait("go"))];
    let mut world = World::started(graph(steps, &["one > two"]));
    let signal = || {
        let (name, id) = ("go".to_owned(), Some("click-1".to_owned()));
        Input::Signal { name, id, payload: json_text(json!(1)) }
    };
    world.tell(signal());
    assert!(world.tell(signal()).is_empty());
    assert_eq!(world.open(), ["two"]);
}

#[test]
fn a_signal_that_does_not_come_in_time_is_a_failure_to_act_upon() {
    let approve = Step { timeout_seconds: Some(3_600), ..wait("approve") };
    let steps = [("approve", impact(approve, FailureImpact::Ignore)), ("escalate", action())];
    let ways = ["approve > escalate if steps.approve.status == failed"];
    let mut world = World::started(graph(steps.clone(), &ways));
    world.fire("approve");
    assert_eq!(world.run.fault_of(&name("approve")).unwrap().code, "flow.signal_timeout");
    assert_eq!(world.open(), ["escalate"]);

    let mut world = World::started(graph(steps, &ways));
    let call = world.call_of("approve");
    let turn = world.signal("approve", json!({ "by": "elke" }));
    assert!(turn.commands.contains(&Command::ClearTimer { call }));
    assert_eq!(world.status("escalate"), StepStatus::Skipped);
}

#[test]
fn a_gate_gives_up_waits_that_lead_nowhere_else() {
    let steps = [
        ("paid", wait("paid")),
        ("deadline", timer(1_000)),
        ("reminder", timer(500)),
        ("first", Step::new(Does::Gate { needs: Needs::Any })),
        ("remind", action()),
        ("go", action()),
    ];
    let ways =
        ["paid > first", "deadline > first", "reminder > first", "reminder > remind", "first > go"];
    let mut world = World::started(graph(steps, &ways));
    let deadline = world.call_of("deadline");
    let turn = world.signal("paid", json!(true));
    assert!(turn.commands.contains(&Command::ClearTimer { call: deadline }));
    assert_eq!(world.open(), ["go", "reminder"], "somebody else waits for the reminder");
    assert!(world.tell(Input::TimerFired { call: deadline }).is_empty());
    world.complete("go");
    world.fire("reminder");
    world.complete("remind");
    assert_eq!(world.phase(), "completed");
    assert_eq!(world.status("deadline"), StepStatus::Cancelled);
}

#[test]
fn a_wait_for_a_gate_that_is_open_already_is_not_begun() {
    let steps = [
        ("fast", action()),
        ("slow", action()),
        ("late", wait("late")),
        ("first", Step::new(Does::Gate { needs: Needs::Any })),
    ];
    let mut world = World::started(graph(steps, &["fast > first", "slow > late", "late > first"]));
    world.complete("fast");
    world.complete("slow");
    assert_eq!(world.status("late"), StepStatus::Skipped);
    assert_eq!(world.phase(), "completed");
}

#[test]
fn waits_end_at_once_when_the_run_stops() {
    let steps = [("nap", timer(1_000)), ("go", wait("go")), ("act", action())];
    let mut world = World::started(graph(steps, &[]));
    world.fail("act");
    assert_eq!(world.phase(), "failed");
    assert_eq!([world.status("nap"), world.status("go")], [StepStatus::Cancelled; 2]);
}

#[test]
fn what_is_too_large_or_has_no_name_is_refused_at_the_door() {
    let mut world = World::started(graph([("go", wait("go"))], &[]));
    let large = json!("x".repeat(RUN_PAYLOAD_BYTES_MAX));
    let signal = |name: &str, payload| Input::Signal {
        name: name.to_owned(),
        id: None,
        payload: json_text(payload),
    };
    let codes = [signal("go", large), signal("", json!(1)), signal(&"x".repeat(101), json!(1))]
        .map(|input| world.try_tell(input).unwrap_err().code());
    assert_eq!(codes, ["run.too_large", "run.signal_name", "run.signal_name"]);
}
