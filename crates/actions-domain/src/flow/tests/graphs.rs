//! What is wrong with a graph, and what names it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{action, call, graph, keyed, name};
use crate::flow::checked::Flow;
use crate::flow::graph::{
    Body, Child, Contract, Does, Edge, FlowGraph, Map, Needs, Step, StepName, Wait,
};
use crate::flow::problem::FlowProblem;
use crate::limits::{CEL_BYTES_MAX, FLOW_BYTES_MAX, FLOW_EDGES_MAX, FLOW_STEPS_MAX};
use crate::retry::RetryPolicy;

fn problems(graph: FlowGraph) -> Vec<FlowProblem> {
    Flow::check(graph).unwrap_err()
}

fn codes(graph: FlowGraph) -> Vec<&'static str> {
    problems(graph).iter().map(FlowProblem::code).collect()
}

fn one(step: Step) -> FlowGraph {
    graph([("a", step), ("b", action())], &[])
}

fn choice(ways: &[&str]) -> Step {
    Step::new(Does::Choice { ways: ways.iter().map(|way| name(way)).collect() })
}

fn map(concurrency: Option<u32>, body: Body) -> Step {
    Step::new(Does::Map(Map { items: json!([]), body, concurrency, failures_max: 0 }))
}

#[test]
fn each_mistake_has_its_code() {
    let retry = RetryPolicy { initial_delay_ms: 1, ..RetryPolicy::default() };
    let timer = || Step::new(Does::Timer(Wait::ForMs(1)));
    let gate = |needs| graph([("a", action()), ("g", Step::new(Does::Gate { needs }))], &["a > g"]);
    let child = |flow: &str| Child { flow: flow.to_owned(), input: Value::Null };
    let strict = Contract { strict: true, ..Contract::default() };
    let cases = [
        (graph([], &[]), "flow.no_steps"),
        (FlowGraph { name: "a b".to_owned(), ..one(action()) }, "flow.name"),
        (FlowGraph { max_total_retries: Some(10_001), ..one(action()) }, "flow.total_retries"),
        (one(Step { condition: Some(String::new()), ..action() }), "flow.expression_length"),
        (
            graph(
                [("a", action()), ("b", action())],
                &[&format!("a > b if {}", "x".repeat(CEL_BYTES_MAX + 1))],
            ),
            "flow.expression_length",
        ),
        (one(Step { retry: Some(retry), ..action() }), "flow.retry"),
        (one(Step { timeout_seconds: Some(0), ..action() }), "flow.timeout"),
        (one(Step { timeout_seconds: Some(3_601), ..action() }), "flow.timeout"),
        (one(Step { timeout_seconds: Some(1), ..timer() }), "flow.misplaced"),
        (one(Step { retry: Some(RetryPolicy::default()), ..timer() }), "flow.misplaced"),
        (one(Step { compensation: Some(call("undo")), ..timer() }), "flow.misplaced"),
        (one(Step { contract: strict, ..timer() }), "flow.misplaced"),
        (one(Step::new(Does::Timer(Wait::ForMs(0)))), "flow.wait"),
        (one(Step::new(Does::Timer(Wait::Until(String::new())))), "flow.expression_length"),
        (one(Step::new(Does::WaitSignal { signal: String::new() })), "flow.signal"),
        (one(Step::new(Does::SubFlow(child("a b")))), "flow.child"),
        (one(map(None, Body::SubFlow(child("")))), "flow.child"),
        (one(map(Some(0), Body::Action(call("act")))), "flow.concurrency"),
        (one(map(Some(1_001), Body::Action(call("act")))), "flow.concurrency"),
        (one(keyed("order")), "flow.key"),
        (gate(Needs::Count(2)), "flow.gate"),
        (gate(Needs::Count(0)), "flow.gate"),
        (one(Step::new(Does::Gate { needs: Needs::All })), "flow.gate"),
        (one(choice(&[])), "flow.choice"),
        (graph([("a", action())], &["a > a"]), "flow.self_dependency"),
        (graph([("a", action())], &["a > z"]), "flow.unknown_step"),
        (graph([("a", action()), ("b", action())], &["a > b", "b > a"]), "flow.cycle"),
        (graph([("a", action()), ("b", action())], &["a > b", "a > b if true"]), "flow.guards"),
    ];
    for (graph, code) in cases {
        assert_eq!(codes(graph.clone()), [code], "{graph:?}");
    }
    // A choice that is skipped would leave open which way is taken.
    let skipped = Step { condition: Some("true".to_owned()), ..choice(&["b"]) };
    assert_eq!(codes(graph([("a", skipped), ("b", action())], &["a > b"])), ["flow.misplaced"]);
}

#[test]
fn the_ways_of_a_choice_and_its_list_are_the_same() {
    let build = |ways: &[&str], edges: &[&str]| {
        graph([("c", choice(ways)), ("x", action()), ("y", action())], edges)
    };
    assert!(Flow::check(build(&["x", "y"], &["c > x if true", "c > y"])).is_ok());
    assert_eq!(
        problems(build(&["x", "y"], &["c > x if true"])),
        [FlowProblem::ChoiceWithoutWay { step: name("c"), to: name("y") }]
    );
    assert_eq!(
        problems(build(&["x"], &["c > x if true", "c > y"])),
        [FlowProblem::WayWithoutChoice { step: name("c"), to: name("y") }]
    );
    assert_eq!(
        problems(build(&["x", "x"], &["c > x if true"])),
        [FlowProblem::WayWithoutChoice { step: name("c"), to: name("x") }]
    );
    assert_eq!(
        problems(build(&["y", "x"], &["c > x if true", "c > y"])),
        [FlowProblem::ChoiceOrder { step: name("c"), to: name("y") }]
    );
}

#[test]
fn everything_that_is_wrong_is_said_in_words_at_once() {
    let steps = [("fetch", action()), ("left", action()), ("right", keyed("k"))];
    let graph = graph(steps, &["fetsh > left", "left > right", "right > left"]);
    let said: Vec<String> = problems(graph).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "there is no step fetsh, which left is connected with; do you mean fetch?",
            "steps wait for each other: left → right → left",
            "a key has 2 to 6 tokens joined by ':', like order:{input.id}, and at most 255 bytes; step right has \"k\"",
        ]
    );
}

/// All steps are compared for each: who writes ten thousand wrong names gets a few hints.
#[test]
fn a_hint_is_given_for_the_first_wrong_names() {
    let ways: Vec<String> = (0..30).map(|n| format!("fetc{n} > fetch")).collect();
    let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
    let problems = problems(graph([("fetch", action())], &ways));
    let is_hinted = |problem: &&FlowProblem| problem.to_string().contains("do you mean fetch?");
    assert_eq!((problems.len(), problems.iter().filter(is_hinted).count()), (30, 10));
}

#[test]
fn a_graph_has_a_size() {
    let many = |count: usize| -> FlowGraph {
        let mut graph = one(action());
        graph.steps = (0..count).map(|n| (name(&format!("s{n}")), action())).collect();
        graph
    };
    assert!(Flow::check(many(FLOW_STEPS_MAX)).is_ok());
    assert_eq!(codes(many(FLOW_STEPS_MAX + 1)), ["flow.too_many_steps"]);
    let mut dense = many(150);
    for to in 0..150 {
        let ways =
            (0..to).map(|from| Edge::explicit(name(&format!("s{from}")), name(&format!("s{to}"))));
        dense.edges.extend(ways);
    }
    assert!(dense.edges.len() > FLOW_EDGES_MAX);
    assert_eq!(codes(dense), ["flow.too_many_edges"]);
    let description = Some("x".repeat(FLOW_BYTES_MAX));
    assert_eq!(codes(FlowGraph { description, ..one(action()) }), ["flow.too_large"]);
}

#[test]
fn a_name_of_a_step_can_stand_in_an_expression() {
    assert!(["a", "_", "validate_user-data2"].iter().all(|raw| StepName::parse(raw).is_ok()));
    for raw in ["", "2a", "a b", "a.b", "ä", &"x".repeat(65)] {
        assert!(StepName::parse(raw).is_err(), "{raw}");
    }
}

#[test]
fn a_graph_is_read_as_it_was_written_and_refuses_what_it_does_not_know() {
    let mut graph = graph(
        [("a", keyed("order:{input.id}")), ("b", action()), ("c", choice(&["b"]))],
        &["a > c", "c > b if true"],
    );
    graph.output = Some(json!({ "n": "{{ steps.a.output }}" }));
    let text = serde_json::to_string(&graph).unwrap();
    assert_eq!(serde_json::from_str::<FlowGraph>(&text).unwrap(), graph);
    let mut value = serde_json::to_value(&graph).unwrap();
    value["steps"]["a"]["retries"] = json!(3);
    let error = serde_json::from_value::<FlowGraph>(value).unwrap_err();
    assert!(error.to_string().contains("unknown field `retries`"), "{error}");
}

/// Runs are pinned to it: it may never change for a graph that was stored.
#[test]
fn the_address_of_a_graph_is_settled() {
    let graph = graph([("a", keyed("order:{input.id}")), ("b", action())], &["a > b if true"]);
    assert_eq!(
        graph.canonical(),
        r#"{"edges":[{"from":"a","guard":"true","reasons":["explicit"],"to":"b"}],"name":"flow","on_failure":"abort","steps":{"a":{"does":{"action":{"key":{"mode":"mutate","text":"order:{input.id}"},"target":{"action":"act"}}}},"b":{"does":{"action":{"target":{"action":"act"}}}}}}"#
    );
    assert_eq!(
        graph.digest().to_string(),
        "7639674495068c9a412058025b3eec763188a5d9f8cabb31f0943c5557d6e3b7"
    );
    let text = serde_json::to_string(&graph.digest()).unwrap();
    assert_eq!(
        serde_json::from_str::<crate::flow::digest::FlowDigest>(&text).unwrap(),
        graph.digest()
    );
}

proptest! {
    /// However edges are ordered, and however often one is said: it is the same workflow.
    #[test]
    fn the_same_workflow_has_the_same_address(
        (edges, shuffled) in proptest::collection::vec((0_u8..10, 0_u8..10), 0..20)
            .prop_flat_map(|edges| (Just(edges.clone()), Just(edges).prop_shuffle())),
    ) {
        let build = |edges: &[(u8, u8)]| {
            let mut graph = one(action());
            graph.steps = (0..10).map(|n| (name(&format!("s{n}")), action())).collect();
            let forward = edges.iter().filter(|(from, to)| from < to);
            let edge = |(from, to): &(u8, u8)| {
                Edge::explicit(name(&format!("s{from}")), name(&format!("s{to}")))
            };
            graph.edges = forward.map(edge).collect();
            graph
        };
        let (one, other) = (build(&edges), build(&shuffled));
        let twice: Vec<_> = edges.iter().chain(&edges).copied().collect();
        prop_assert_eq!(one.digest(), other.digest());
        prop_assert_eq!(one.digest(), build(&twice).digest());
        let (one, other) = (Flow::check(one).unwrap(), Flow::check(other).unwrap());
        prop_assert_eq!(one.order(), other.order());
        if let Some((from, to)) = edges.iter().find(|(from, to)| from < to) {
            let mut less = edges.clone();
            less.retain(|edge| edge != &(*from, *to));
            prop_assert_ne!(one.digest(), build(&less).digest());
        }
    }
}
