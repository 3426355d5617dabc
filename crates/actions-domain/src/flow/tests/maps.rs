//! The same for each item of a list.

use serde_json::{Value, json};

use super::world::{World, action, call, graph, impact, json_text, name};
use crate::flow::decide::{CallResult, Command, Input};
use crate::flow::graph::{Body, Call, Child, Does, FailureImpact, Map, Step};
use crate::flow::run::StepStatus;
use crate::limits::MAP_ITEMS_MAX;

fn map(concurrency: Option<u32>, failures_max: u32) -> Step {
    let items = json!("{{ input }}");
    let body = Body::Action(Call { input: json!({ "url": "{{ item }}" }), ..call("resize") });
    Step::new(Does::Map(Map { items, body, concurrency, failures_max }))
}

fn over(items: Value, step: Step) -> World {
    World::started_with(graph([("each", step), ("after", action())], &["each > after"]), items)
}

#[test]
fn items_run_beside_each_other_up_to_a_limit_and_keep_their_order() {
    let mut world = over(json!(["a", "b", "c"]), map(Some(2), 0));
    assert_eq!(world.open(), ["each[0]", "each[1]"]);
    assert_eq!(world.starts[1].input.to_value(), json!({ "url": "b" }));
    world.complete_with("each[1]", json!("B"));
    assert_eq!(world.open(), ["each[0]", "each[2]"]);
    world.complete_with("each[2]", json!("C"));
    world.complete_with("each[0]", json!("A"));
    assert_eq!(world.run.output_of(&name("each")), Some(&json_text(json!(["A", "B", "C"]))));
    assert_eq!(world.open(), ["after"]);
}

#[test]
fn an_empty_list_is_through_at_once() {
    let world = over(json!([]), map(None, 0));
    assert_eq!(world.run.output_of(&name("each")), Some(&json_text(json!([]))));
    assert_eq!(world.open(), ["after"]);
}

#[test]
fn some_items_may_fail() {
    let mut world = over(json!([1, 2, 3]), map(None, 1));
    world.fail("each[1]");
    world.complete_with("each[0]", json!("A"));
    world.complete_with("each[2]", json!("C"));
    assert_eq!(world.run.output_of(&name("each")), Some(&json_text(json!(["A", null, "C"]))));
}

#[test]
fn one_failure_too_many_gives_the_others_up() {
    let step = impact(map(Some(3), 1), FailureImpact::SkipDependents);
    let mut world = over(json!([1, 2, 3, 4, 5]), step);
    world.fail("each[0]");
    let turn = world.fail("each[2]");
    let (two, four) = (world.call_of("each[1]"), world.call_of("each[3]"));
    assert_eq!(turn.commands, [Command::Cancel { call: two }, Command::Cancel { call: four }]);
    world.end("each[1]", CallResult::Cancelled);
    world.complete("each[3]");
    assert_eq!(world.status("each"), StepStatus::Failed);
    assert_eq!(world.status("after"), StepStatus::Skipped);
    assert_eq!(world.called(), ["each[0]", "each[1]", "each[2]", "each[3]"], "the fifth never was");
}

#[test]
fn completed_items_are_undone_one_by_one() {
    let undo =
        Call { input: json!({ "of": "{{ item }}", "made": "{{ output }}" }), ..call("undo") };
    let step = Step { compensation: Some(undo), ..map(None, 0) };
    let mut world = over(json!(["a", "b"]), step);
    world.complete_with("each[1]", json!("B"));
    world.complete_with("each[0]", json!("A"));
    world.tell(Input::Cancel { reason: None, compensate: true });
    world.end("after", CallResult::Cancelled);
    world.complete("each[0]");
    world.complete("each[1]");
    assert_eq!(world.called()[3..], ["undo each[0]", "undo each[1]"]);
    assert_eq!(world.starts[4].input.to_value(), json!({ "of": "b", "made": "B" }));
    assert_eq!(world.phase(), "cancelled");
}

#[test]
fn a_map_that_is_stopped_half_way_is_cancelled() {
    let mut world = over(json!([1, 2, 3]), map(Some(1), 0));
    world.complete("each[0]");
    world.tell(Input::Cancel { reason: None, compensate: false });
    world.complete("each[1]");
    assert_eq!(world.status("each"), StepStatus::Cancelled);
    assert_eq!(world.phase(), "cancelled");
    assert_eq!(world.called(), ["each[0]", "each[1]"]);
}

#[test]
fn items_wait_while_the_run_is_paused() {
    let mut world = over(json!([1, 2]), map(Some(1), 0));
    world.tell(Input::Pause { reason: None });
    world.complete("each[0]");
    assert_eq!(world.open(), [] as [&str; 0]);
    world.tell(Input::Resume);
    assert_eq!(world.open(), ["each[1]"]);
}

#[test]
fn an_item_may_be_a_workflow() {
    let body = Body::SubFlow(Child { flow: "one".to_owned(), input: json!(null) });
    let map = Map { items: json!("{{ input }}"), body, concurrency: None, failures_max: 0 };
    let mut world = over(json!(["a"]), Step::new(Does::Map(map)));
    assert!(
        matches!(&world.commands[0], Command::StartChild { input, depth: 1, .. } if input.as_str() == "\"a\"")
    );
    let turn = world.complete("each[0]");
    assert_eq!(World::names(&turn), ["ChildCompleted", "StepCompleted", "StepScheduled"]);
}

#[test]
fn what_is_no_list_or_too_long_fails_the_step() {
    let world = over(json!({ "a": 1 }), map(None, 0));
    let fault = world.run.fault_of(&name("each")).unwrap();
    assert_eq!(fault.message, "the items of step each are an object, not a list");
    let world = over(json!(vec![0; MAP_ITEMS_MAX + 1]), map(None, 0));
    assert_eq!(world.run.fault_of(&name("each")).unwrap().code, "flow.too_many_items");
}
