//! What a run may not exceed, and what it says before.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::world::{World, action, call, entry_name, graph, json_text, name, undoable};
use crate::flow::decide::{CallResult, Input, Refusal};
use crate::flow::graph::{Body, Child, Does, FailureImpact, Map, Step, Wait};
use crate::flow::journal::{Cause, Limit, What};
use crate::flow::run::{Phase, Run};
use crate::limits::{
    FLOW_DEPTH_MAX, RUN_BYTES_MAX, RUN_ENTRIES_MAX, RUN_ENTRIES_WARN, RUN_OPEN_MAX,
    RUN_PAYLOAD_BYTES_MAX, RUN_SIGNALS_MAX,
};

fn over_all(failures_max: u32) -> Step {
    let (items, body) = (json!("{{ input }}"), Body::Action(call("act")));
    Step::new(Does::Map(Map { items, body, concurrency: None, failures_max }))
}

fn signal(payload: &Value) -> Input {
    Input::Signal { name: "tick".to_owned(), id: None, payload: json_text(payload.clone()) }
}

/// Sends signals until the run takes no more, and says why.
fn flood(world: &mut World, payload: &Value) -> Refusal {
    loop {
        if let Err(refusal) = world.try_tell_light(signal(payload)) {
            return refusal;
        }
    }
}

fn warnings(world: &World) -> Vec<Limit> {
    let limit =
        |what: &What| if let What::LimitNeared { limit } = what { Some(*limit) } else { None };
    world.journal.iter().filter_map(|entry| limit(&entry.what)).collect()
}

#[test]
fn no_more_than_so_many_are_open_at_once_and_the_others_get_their_turn() {
    let items: Vec<usize> = (0..RUN_OPEN_MAX + 10).collect();
    let mut world = World::new(graph([("each", over_all(0)), ("zero", action())], &[]));
    world.start(json!(items));
    assert_eq!(world.run.calls().count(), RUN_OPEN_MAX);
    let mut most = 0;
    let first = |world: &World| world.run.calls().next().map(|(call, _)| call);
    while let Some(call) = first(&world) {
        most = most.max(world.run.calls().count());
        let (output, context) = (json_text(json!(1)), BTreeMap::new());
        let result = CallResult::Completed { output, context };
        world.try_tell_light(Input::Ended { call, result }).unwrap();
    }
    assert_eq!((most, world.phase()), (RUN_OPEN_MAX, "completed"));
    assert_eq!(world.called().len(), RUN_OPEN_MAX + 11);
    assert_eq!(Run::replay(&world.journal), world.run);
}

#[test]
fn signals_that_nobody_takes_are_kept_up_to_a_limit() {
    let mut world = World::started(graph([("a", action())], &[]));
    assert_eq!(flood(&mut world, &json!(1)), Refusal::SignalsFull);
    assert_eq!(world.run.buffered_signals(), RUN_SIGNALS_MAX);
    assert_eq!(warnings(&world), [Limit::Entries], "said once");
    let at = world.journal.iter().position(|entry| entry_name(&entry.what) == "LimitNeared");
    assert_eq!(at, Some(usize::try_from(RUN_ENTRIES_WARN).unwrap()));
}

#[test]
fn a_full_history_takes_no_signals_starts_nothing_and_still_ends() {
    let steps =
        [("a", undoable("a")), ("b", action()), ("c", Step::new(Does::Timer(Wait::ForMs(1_000))))];
    let mut graph = graph(steps, &["a > b", "b > c"]);
    graph.on_failure = FailureImpact::Compensate;
    let mut world = World::started(graph);
    world.complete("a");
    let payload = json!("x".repeat(RUN_PAYLOAD_BYTES_MAX - 2));
    let refusal = flood(&mut world, &payload);
    let (entries, bytes) = (world.run.entry_count(), world.run.bytes());
    assert_eq!(refusal, Refusal::HistoryFull { entries, bytes });
    assert!(bytes >= RUN_BYTES_MAX && entries < RUN_ENTRIES_MAX);
    assert_eq!(warnings(&world), [Limit::Bytes]);
    assert!(world.try_tell_light(Input::Pause { reason: None }).is_err());

    world.complete("b");
    assert_eq!(world.open(), ["a"], "it is undone");
    world.complete("a");
    let Phase::Failed { cause: Cause::Run { fault } } = world.run.phase() else {
        panic!("{:?}", world.run.phase());
    };
    assert_eq!(fault.code, "flow.bytes");
    assert!(world.try_tell(Input::RetryFrom { step: name("b") }).is_err());
}

#[test]
fn a_run_with_too_many_entries_fails_and_says_so() {
    let steps = [("each", over_all(4_000)), ("wait", action()), ("after", action())];
    let mut world = World::started_with(graph(steps, &["wait > after"]), json!([]));
    let mut signals = 0;
    while world.run.entry_count() < RUN_ENTRIES_MAX {
        // Taken from the buffer by nobody, so they would be too many. Pausing is an entry, too.
        signals += 1;
        let input = if signals % 2 == 1 { Input::Pause { reason: None } } else { Input::Resume };
        world.try_tell_light(input).unwrap();
    }
    if world.run.is_paused() {
        world.try_tell_light(Input::Resume).unwrap();
    }
    world.complete("wait");
    let Phase::Failed { cause: Cause::Run { fault } } = world.run.phase() else {
        panic!("{:?}", world.run.phase());
    };
    assert_eq!(fault.code, "flow.entries");
    assert_eq!(world.called(), ["wait"]);
}

#[test]
fn workflows_that_start_one_another_are_limited_in_depth() {
    let child = Does::SubFlow(Child { flow: "self".to_owned(), input: Value::Null });
    let graph = graph([("again", Step::new(child))], &[]);
    let start =
        |depth| Input::Start { input: json_text(json!({})), context: BTreeMap::new(), depth };
    let mut world = World::new(graph.clone());
    world.tell(start(FLOW_DEPTH_MAX - 1));
    assert_eq!(world.open(), ["again"]);
    let mut world = World::new(graph.clone());
    world.tell(start(FLOW_DEPTH_MAX));
    assert_eq!(world.run.fault_of(&name("again")).unwrap().code, "flow.depth");
    let mut world = World::new(graph);
    assert_eq!(world.try_tell(start(FLOW_DEPTH_MAX + 1)), Err(Refusal::Depth));
}

#[test]
fn an_output_that_is_too_large_fails_its_step() {
    let mut world = World::started(graph([("a", action())], &[]));
    world.complete_with("a", json!("x".repeat(RUN_PAYLOAD_BYTES_MAX)));
    assert_eq!(world.run.fault_of(&name("a")).unwrap().code, "flow.payload");
}

#[test]
fn an_entry_is_counted_with_about_what_it_takes() {
    let mut world = World::started_with(
        graph([("each", over_all(1)), ("b", undoable("b")), ("c", action())], &["b > c"]),
        json!(["a", "b"]),
    );
    world.fail("each[0]");
    world.complete_with("each[1]", json!({ "text": "x".repeat(900) }));
    world.complete("b");
    world.tell(signal(&json!({ "some": "signal" })));
    world.tell(Input::Cancel { reason: Some("because".to_owned()), compensate: true });
    world.fail("c");
    world.complete("b");
    for entry in &world.journal {
        let written = serde_json::to_string(entry).unwrap().len();
        let counted = usize::try_from(entry.bytes()).unwrap();
        assert!(counted * 5 >= written * 4, "{counted} for {written}: {entry:?}");
        assert!(counted <= written + 160, "{counted} for {written}: {entry:?}");
    }
}
