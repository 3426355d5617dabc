//! How a run fails, is cancelled, undoes what it did, and begins again.

use serde_json::json;

use super::world::{World, action, call, failed, graph, impact, json_text, name, undoable};
use crate::flow::decide::{CallResult, Command, Input, Refusal};
use crate::flow::graph::{Child, Does, FailureImpact, Step, Target};
use crate::flow::journal::{Cause, What};
use crate::flow::run::{Phase, StepStatus};
use crate::retry::{Backoff, RetryPolicy};

fn fixed(max_retries: u32) -> RetryPolicy {
    let (backoff, initial_delay_ms) = (Backoff::Fixed, 1_000);
    RetryPolicy { max_retries, backoff, initial_delay_ms, jitter: false, ..RetryPolicy::default() }
}

#[test]
fn a_failure_stops_the_run_when_what_is_under_way_has_ended() {
    let mut graph =
        graph([("a", action()), ("b", undoable("b")), ("c", action())], &["a > c", "b > c"]);
    let target = Target::Action(crate::action::ActionName::parse("admin.manual_review").unwrap());
    graph.dead_letter = Some(target.clone());
    let mut world = World::started(graph);
    let b = world.call_of("b");
    let turn = world.fail("a");
    assert_eq!(World::names(&turn), ["StepFailed", "RunStopped"]);
    assert_eq!(turn.commands, [Command::Cancel { call: b }]);
    assert_eq!(world.phase(), "stopping");
    // It came too late to be cancelled. Nothing was said of undoing it.
    let turn = world.complete("b");
    let Command::DeadLetter { target: told, cause: Cause::Step { step, .. } } = &turn.commands[0]
    else {
        panic!("{:?}", turn.commands);
    };
    assert_eq!((told, step), (&target, &name("a")));
    assert_eq!(turn.commands[1..], [Command::End]);
    assert_eq!(world.called(), ["a", "b"]);
    assert_eq!(world.status("c"), StepStatus::Waiting);
}

#[test]
fn what_was_done_is_undone_in_reverse_order() {
    let steps = [
        ("hold", undoable("hold")),
        ("pay", undoable("pay")),
        ("note", action()),
        ("pack", undoable("pack")),
        ("ship", impact(action(), FailureImpact::Compensate)),
    ];
    let ways = ["hold > note", "pay > note", "note > pack", "pack > ship"];
    let mut world = World::started(graph(steps, &ways));
    world.complete_with("pay", json!({ "payment": 7 }));
    world.complete("hold");
    world.complete("note");
    world.complete("pack");
    world.fail("ship");
    assert_eq!(world.open(), ["pack"], "one after the other");
    world.complete("pack");
    world.fail("hold");
    world.complete("pay");
    assert_eq!(world.called()[5..], ["undo pack", "undo hold", "undo pay"]);
    // What is undone is told what it left behind.
    assert_eq!(world.starts.last().unwrap().input, json_text(json!({ "payment": 7 })));
    let What::RunFailed { compensated, .. } = &world.journal.last().unwrap().what else {
        panic!("{:?}", world.journal.last());
    };
    assert_eq!(*compensated, Some(false), "one could not be undone");
}

#[test]
fn what_ends_while_the_run_stops_is_undone_as_well() {
    let steps = [("slow", undoable("slow")), ("bad", impact(action(), FailureImpact::Compensate))];
    let mut world = World::started(graph(steps, &[]));
    world.fail("bad");
    world.complete("slow");
    assert_eq!(world.called(), ["bad", "slow", "undo slow"]);
    world.complete("slow");
    assert_eq!(world.phase(), "failed");
}

#[test]
fn once_something_is_to_be_undone_it_is() {
    let steps = [
        ("done", undoable("done")),
        ("first", action()),
        ("second", impact(action(), FailureImpact::Compensate)),
    ];
    let mut world = World::started(graph(steps, &[]));
    world.complete("done");
    world.fail("first");
    world.fail("second");
    assert_eq!(world.open(), ["done"]);
    world.complete("done");
    let Phase::Failed { cause: Cause::Step { step, .. } } = world.run.phase() else {
        panic!("{:?}", world.run.phase());
    };
    assert_eq!(*step, name("first"), "the first cause stays");
}

#[test]
fn dependents_of_a_failure_are_skipped_and_the_run_fails_at_its_end() {
    let steps = [
        ("a", impact(action(), FailureImpact::SkipDependents)),
        ("b", action()),
        ("c", action()),
        ("other", action()),
    ];
    let mut world = World::started(graph(steps, &["a > b", "b > c"]));
    world.fail("a");
    assert_eq!([world.status("b"), world.status("c")], [StepStatus::Skipped; 2]);
    assert_eq!(world.open(), ["other"]);
    world.complete("other");
    assert_eq!(world.phase(), "failed");
}

#[test]
fn a_failure_that_is_ignored_can_be_asked_for() {
    let steps = [
        ("ask", impact(action(), FailureImpact::Ignore)),
        ("escalate", action()),
        ("go", action()),
    ];
    let ways = [
        "ask > escalate if steps.ask.status == failed",
        "ask > go if steps.ask.status == completed",
    ];
    let mut world = World::started(graph(steps, &ways));
    world.fail("ask");
    assert_eq!(world.open(), ["escalate"]);
    world.complete("escalate");
    assert_eq!(world.phase(), "completed");
}

#[test]
fn somebody_cancels_a_run_with_or_without_undoing() {
    for (compensate, called) in [(false, 2), (true, 3)] {
        let steps = [("a", undoable("a")), ("b", action()), ("c", action())];
        let mut world = World::started(graph(steps, &["a > b", "b > c"]));
        world.complete("a");
        let reason = Some("wrong order".to_owned());
        let turn = world.tell(Input::Cancel { reason, compensate });
        assert_eq!(turn.commands, [Command::Cancel { call: world.call_of("b") }]);
        let again = world.try_tell(Input::Cancel { reason: None, compensate: true }).unwrap_err();
        assert_eq!(again, Refusal::State { what: "cancel", state: "stopping" });
        world.end("b", CallResult::Cancelled);
        if compensate {
            world.complete("a");
        }
        assert_eq!(world.called().len(), called);
        assert_eq!(world.phase(), "cancelled");
        assert_eq!(world.status("b"), StepStatus::Cancelled);
    }
}

#[test]
fn a_step_that_somebody_else_cancelled_has_failed() {
    let mut world = World::started(graph([("a", action())], &[]));
    world.end("a", CallResult::Cancelled);
    assert_eq!(world.run.fault_of(&name("a")).unwrap().code, "flow.cancelled");
    assert_eq!(world.phase(), "failed");
}

#[test]
fn undoing_waits_while_the_run_is_paused() {
    let steps = [("a", undoable("a")), ("b", impact(action(), FailureImpact::Compensate))];
    let mut world = World::started(graph(steps, &["a > b"]));
    world.complete("a");
    world.tell(Input::Pause { reason: None });
    world.fail("b");
    assert_eq!((world.phase(), world.open().len()), ("stopping", 0));
    world.tell(Input::Resume);
    assert_eq!(world.open(), ["a"]);
    world.complete("a");
    assert_eq!(world.phase(), "failed");
}

#[test]
fn a_run_goes_on_from_a_step_and_keeps_what_is_not_behind_it() {
    let steps =
        [("a", action()), ("b", action()), ("c", action()), ("d", action()), ("e", action())];
    let ways = ["a > b", "b > c if steps.b.output.go", "a > d", "d > e if steps.d.output.go"];
    let mut world = World::started(graph(steps, &ways));
    let retry = |step| Input::RetryFrom { step: name(step) };
    assert_eq!(
        world.try_tell(retry("b")).unwrap_err().to_string(),
        "cannot retry a run that is running"
    );
    world.complete("a");
    let late = world.call_of("b");
    world.fail("b");
    // It ends while the run stops, so the guard behind it has not been asked.
    world.complete_with("d", json!({ "go": false }));
    assert_eq!(world.phase(), "failed");
    assert_eq!(world.try_tell(retry("z")).unwrap_err(), Refusal::UnknownStep { step: name("z") });

    world.tell(retry("b"));
    assert_eq!(world.open(), ["b"]);
    assert_eq!(world.status("e"), StepStatus::Skipped, "the guard is asked now");
    assert!(world.tell(Input::Ended { call: late, result: failed() }).is_empty());
    world.complete_with("b", json!({ "go": true }));
    world.complete("c");
    assert_eq!(world.phase(), "completed");
    assert_eq!(world.called(), ["a", "b", "d", "b", "c"]);
}

#[test]
fn what_was_undone_runs_again_when_a_run_is_retried() {
    let steps = [
        ("hold", undoable("hold")),
        ("log", action()),
        ("pay", impact(action(), FailureImpact::Compensate)),
    ];
    let mut world = World::started(graph(steps, &["hold > pay"]));
    world.complete("hold");
    world.complete("log");
    world.fail("pay");
    world.complete("hold");
    world.tell(Input::RetryFrom { step: name("pay") });
    assert_eq!(world.open(), ["hold"]);
    world.complete("hold");
    world.complete("pay");
    assert_eq!(world.called(), ["hold", "log", "pay", "undo hold", "hold", "pay"]);
    assert_eq!(world.phase(), "completed");
}

#[test]
fn a_budget_of_retries_is_spent_first_come_first_served() {
    let retried = || Step { retry: Some(fixed(2)), ..action() };
    let mut graph = graph([("a", retried()), ("b", retried())], &[]);
    graph.on_failure = FailureImpact::Ignore;
    graph.max_total_retries = Some(3);
    let mut world = World::started(graph);
    assert_eq!(world.starts[0].retry, RetryPolicy::preset("no_retry"), "the run decides");
    let turn = world.fail("a");
    let timer = world.call_of("a");
    let due_at = world.now + chrono::TimeDelta::seconds(1);
    assert_eq!(turn.commands, [Command::SetTimer { call: timer, due_at }]);
    world.fire("a");
    assert_eq!(world.starts.last().unwrap().attempt, 2);
    assert!(world.tell(Input::TimerFired { call: timer }).is_empty());
    world.fail("b");
    world.fire("b");
    world.fail("a");
    world.fire("a");
    // Its own policy would allow another one; the budget does not.
    world.fail("b");
    assert_eq!(world.status("b"), StepStatus::Failed);
    // And here it is the other way round.
    world.fail("a");
    assert_eq!(world.status("a"), StepStatus::Failed);
    assert_eq!(world.called(), ["a", "b", "a", "b", "a"]);
    assert_eq!(world.phase(), "completed");
}

#[test]
fn without_a_budget_an_execution_retries_by_itself() {
    let step = Step { retry: Some(fixed(2)), ..action() };
    let mut world = World::started(graph([("a", step)], &[]));
    assert_eq!(world.starts[0].retry, Some(fixed(2)));
    world.fail("a");
    assert_eq!(world.phase(), "failed");
}

#[test]
fn a_retry_that_comes_due_while_the_run_is_paused_waits() {
    let mut graph = graph([("a", Step { retry: Some(fixed(2)), ..action() })], &[]);
    graph.max_total_retries = Some(9);
    let mut world = World::started(graph);
    world.fail("a");
    world.tell(Input::Pause { reason: None });
    world.fire("a");
    assert_eq!(world.called(), ["a"]);
    world.tell(Input::Resume);
    assert_eq!(world.called(), ["a", "a"]);
    world.complete("a");
    assert_eq!(world.phase(), "completed");
}

#[test]
fn a_retry_that_waits_is_given_up_when_the_run_stops() {
    let mut graph =
        graph([("a", Step { retry: Some(fixed(2)), ..action() }), ("b", action())], &[]);
    graph.max_total_retries = Some(9);
    let mut world = World::started(graph);
    world.fail("a");
    let timer = world.call_of("a");
    let turn = world.tell(Input::Cancel { reason: None, compensate: false });
    assert!(turn.commands.contains(&Command::ClearTimer { call: timer }));
    assert_eq!(world.status("a"), StepStatus::Cancelled);
    assert!(world.tell(Input::TimerFired { call: timer }).is_empty());
}

#[test]
fn another_workflow_is_started_retried_and_cut_off() {
    let child = Does::SubFlow(Child { flow: "ship".to_owned(), input: json!("{{ input.id }}") });
    let child = Step { timeout_seconds: Some(60), ..Step::new(child) };
    let mut world = World::started_with(graph([("ship", child.clone())], &[]), json!({ "id": 5 }));
    let call = world.call_of("ship");
    let due_at = world.now + chrono::TimeDelta::seconds(60);
    let (place, flow) = (crate::flow::journal::Place::step(&name("ship")), "ship".to_owned());
    let input = json_text(json!(5));
    assert_eq!(
        world.commands,
        [
            Command::StartChild { call, place, flow, input, depth: 1 },
            Command::SetTimer { call, due_at }
        ]
    );
    let turn = world.fire("ship");
    assert_eq!(turn.commands[0], Command::Cancel { call });
    assert_eq!(World::names(&turn)[0], "ChildFailed");
    assert_eq!(world.run.fault_of(&name("ship")).unwrap().code, "flow.child_timeout");

    let retried = Step { retry: Some(fixed(1)), timeout_seconds: None, ..child };
    let mut world = World::started_with(graph([("ship", retried)], &[]), json!({ "id": 5 }));
    world.fail("ship");
    world.fire("ship");
    let turn = world.complete_with("ship", json!("sent"));
    assert_eq!(World::names(&turn), ["ChildCompleted", "RunCompleted"]);
}

#[test]
fn what_cannot_be_undone_for_want_of_an_input_is_said_and_the_rest_is_undone() {
    let broken = crate::flow::graph::Call { input: json!("{{ output.gone }}"), ..call("undo.b") };
    let steps = [
        ("a", undoable("a")),
        ("b", Step { compensation: Some(broken), ..action() }),
        ("c", impact(action(), FailureImpact::Compensate)),
    ];
    let mut world = World::started(graph(steps, &["a > b", "b > c"]));
    world.complete("a");
    world.complete("b");
    let turn = world.fail("c");
    assert_eq!(
        World::names(&turn),
        ["StepFailed", "RunStopped", "CompensationFailed", "CompensationScheduled"]
    );
    assert_eq!(world.open(), ["a"]);
}
