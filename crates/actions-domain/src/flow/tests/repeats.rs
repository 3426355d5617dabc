//! Steps that are done again and again, until something holds.

use std::time::Duration;

use serde_json::json;

use super::world::{World, action, call, graph, name, undoable};
use crate::flow::checked::Flow;
use crate::flow::decide::{Command, Input};
use crate::flow::graph::{Body, Child, Does, FailureImpact, Map, Repeat, Step};
use crate::flow::journal::What;
use crate::limits::FLOW_ROUNDS_MAX;

fn until(step: Step, rounds_max: u32) -> Step {
    let until = "output.state == ready".to_owned();
    Step { repeat: Some(Repeat { until, every_ms: 30_000, rounds_max }), ..step }
}

fn polling() -> World {
    World::started(graph([("poll", until(action(), 3)), ("next", action())], &["poll > next"]))
}

#[test]
fn a_step_is_done_again_until_what_it_left_behind_is_right() {
    let mut world = polling();
    let turn = world.complete_with("poll", json!({ "state": "busy" }));
    assert_eq!(World::names(&turn), ["StepRepeated"]);
    let due_at = world.now + Duration::from_secs(30);
    let [Command::SetTimer { due_at: given, .. }] = turn.commands.as_slice() else {
        panic!("{turn:?}")
    };
    assert_eq!(*given, due_at);
    assert_eq!(world.run.round(&name("poll")), 2);
    assert_eq!(world.called(), ["poll"]);
    world.fire("poll");
    assert_eq!(world.called(), ["poll", "poll"]);
    world.complete_with("poll", json!({ "state": "ready" }));
    assert_eq!(world.called(), ["poll", "poll", "next"]);
    assert_eq!(world.run.output_of(&name("poll")).unwrap().to_value(), json!({ "state": "ready" }));
}

#[test]
fn a_step_that_never_comes_right_fails_after_so_many_rounds() {
    let mut world = polling();
    for _ in 0..2 {
        world.complete_with("poll", json!({ "state": "busy" }));
        world.fire("poll");
    }
    world.complete_with("poll", json!({ "state": "busy" }));
    assert_eq!(world.run.fault_of(&name("poll")).unwrap().code, "flow.rounds");
    assert_eq!(world.phase(), "failed");
}

#[test]
fn an_end_that_cannot_be_evaluated_is_a_failure() {
    let mut world = polling();
    world.complete_with("poll", json!("text"));
    assert_eq!(world.run.fault_of(&name("poll")).unwrap().code, "flow.expression");
}

#[test]
fn a_late_answer_of_a_round_is_passed_over() {
    let mut world = polling();
    let call = world.call_of("poll");
    world.complete_with("poll", json!({ "state": "busy" }));
    let result = super::world::failed();
    assert!(world.tell(Input::Ended { call, result }).is_empty());
}

#[test]
fn a_run_that_stops_needs_no_other_round() {
    let mut steps = graph([("poll", until(undoable("poll"), 3)), ("fails", action())], &[]);
    steps.on_failure = FailureImpact::Compensate;
    let mut world = World::started(steps);
    world.fail("fails");
    world.complete_with("poll", json!({ "state": "busy" }));
    assert_eq!(world.called().last().unwrap(), "undo poll", "what was done last is undone");
}

#[test]
fn a_pause_between_rounds_is_given_up_with_the_run() {
    let mut world = polling();
    world.complete_with("poll", json!({ "state": "busy" }));
    let turn = world.tell(Input::Cancel { reason: None, compensate: false });
    assert!(turn.commands.iter().any(|one| matches!(one, Command::ClearTimer { .. })));
    assert_eq!(world.phase(), "cancelled");
}

#[test]
fn a_workflow_is_started_again_as_well() {
    let child = Child { flow: "other".to_owned(), input: json!(null) };
    let mut world =
        World::started(graph([("poll", until(Step::new(Does::SubFlow(child)), 3))], &[]));
    world.complete_with("poll", json!({ "state": "busy" }));
    let turn = world.fire("poll");
    assert!(turn.entries.iter().any(|entry| matches!(entry.what, What::ChildScheduled(_))));
}

#[test]
fn rounds_have_limits_and_steps_that_can_have_them() {
    let code = |step: Step| {
        let problems = Flow::check(graph([("a", step)], &[])).unwrap_err();
        problems[0].code()
    };
    assert_eq!(code(until(action(), 0)), "flow.repeat");
    assert_eq!(code(until(action(), FLOW_ROUNDS_MAX + 1)), "flow.repeat");
    let mut long = until(action(), 1);
    long.repeat.as_mut().unwrap().every_ms = u64::MAX;
    assert_eq!(code(long), "flow.repeat");
    let mut empty = until(action(), 1);
    empty.repeat.as_mut().unwrap().until = String::new();
    assert_eq!(code(empty), "flow.expression_length");
    let map = Map {
        items: json!("{{ event }}"),
        body: Body::Action(call("act")),
        concurrency: None,
        failures_max: 0,
    };
    assert_eq!(code(until(Step::new(Does::Map(map)), 1)), "flow.misplaced");
}
