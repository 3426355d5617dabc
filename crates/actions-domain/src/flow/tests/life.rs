//! How a run goes from its first step to its last.

use std::collections::BTreeMap;

use serde_json::json;

use super::world::{
    World, action, call, entry_name, failed, graph, impact, json_text, keyed, name,
};
use crate::flow::decide::{CallResult, Command, Input, Refusal};
use crate::flow::graph::{Call, Does, FailureImpact, Needs, Reason, Step};
use crate::flow::journal::{CallId, Skip, What};
use crate::flow::run::{Phase, StepStatus};

fn choice(ways: &[&str]) -> Step {
    Step::new(Does::Choice { ways: ways.iter().map(|way| name(way)).collect() })
}

fn gate(needs: Needs) -> Step {
    Step::new(Does::Gate { needs })
}

#[test]
fn steps_are_begun_when_all_before_them_are_through() {
    let mut world = World::started(graph(
        [("a", action()), ("b", action()), ("c", action())],
        &["a > c", "b > c"],
    ));
    assert_eq!(world.open(), ["a", "b"]);
    world.complete("b");
    assert_eq!(world.open(), ["a"]);
    world.complete("a");
    assert_eq!(world.open(), ["c"]);
    let turn = world.complete("c");
    assert_eq!(World::names(&turn), ["StepCompleted", "RunCompleted"]);
    assert_eq!(turn.commands, [Command::End]);
    assert_eq!(world.called(), ["a", "b", "c"]);
}

#[test]
fn inputs_keys_and_outputs_are_filled_in() {
    let input = json!({ "total": "{{ steps.count.output.n }}", "of": "{{ input.order }}" });
    let pay = Step::new(Does::Action(Call { input, ..call("pay") }));
    let literal = Call { input: json!("{{ input }}"), is_literal: true, ..call("say") };
    let mut graph = graph(
        [
            ("count", keyed("order:{input.order}")),
            ("pay", pay),
            ("say", Step::new(Does::Action(literal))),
        ],
        &["count > pay"],
    );
    graph.output = Some(json!({ "paid": "{{ steps.pay.output }}" }));
    let mut world = World::started_with(graph, json!({ "order": "o7" }));
    assert_eq!(world.starts[0].key.as_ref().unwrap().0, "order:o7");
    assert_eq!(world.starts[0].input, json_text(json!({ "order": "o7" })));
    assert_eq!(world.starts[1].input, json_text(json!("{{ input }}")));
    world.complete_with("count", json!({ "n": 3 }));
    assert_eq!(world.starts[2].input.to_value(), json!({ "total": 3, "of": "o7" }));
    world.complete("say");
    world.complete_with("pay", json!(true));
    let output = json_text(json!({ "paid": true }));
    assert_eq!(*world.run.phase(), Phase::Completed { output });
}

#[test]
fn an_answer_counts_once_and_only_to_what_was_asked() {
    let mut world = World::started(graph([("a", action()), ("b", action())], &["a > b"]));
    let first = world.call_of("a");
    world.complete("a");
    let before = world.run.clone();
    let repeated = [
        Input::Ended { call: first, result: failed() },
        Input::Ended { call: CallId(77), result: failed() },
        Input::TimerFired { call: first },
        Input::TimerFired { call: world.call_of("b") },
    ];
    for input in repeated {
        assert!(world.tell(input.clone()).is_empty(), "{input:?}");
    }
    assert_eq!(world.run, before);
    world.complete("b");
    assert!(world.tell(Input::Ended { call: first, result: failed() }).is_empty());
    assert_eq!(world.phase(), "completed");
}

#[test]
fn a_step_whose_condition_does_not_hold_is_skipped_and_others_go_on() {
    let setup = Step { condition: Some("steps.check.output.is_valid".to_owned()), ..action() };
    let graph = graph(
        [("check", action()), ("setup", setup), ("report", action())],
        &["check > setup", "setup > report"],
    );
    let mut world = World::started(graph.clone());
    world.complete_with("check", json!({ "is_valid": false }));
    assert_eq!(world.status("setup"), StepStatus::Skipped);
    assert_eq!(world.open(), ["report"]);

    let mut world = World::started(graph);
    let turn = world.complete("check");
    assert_eq!(world.phase(), "failed", "it cannot be said whether it holds");
    let why = format!("{:?}", turn.entries[1].what);
    assert!(why.contains("the condition of step setup cannot be evaluated"), "{why}");
}

#[test]
fn a_choice_takes_the_first_way_that_holds_and_the_others_are_skipped() {
    let steps = || {
        [
            ("order", action()),
            ("size", choice(&["big", "small", "other"])),
            ("big", action()),
            ("small", action()),
            ("other", action()),
            ("done", action()),
        ]
    };
    let ways = [
        "order > size",
        "size > big if steps.order.output.size == big",
        "size > small if steps.order.output.size == small",
        "size > other",
        "big > done",
        "small > done",
        "other > done",
    ];
    for (size, taken) in [("small", "small"), ("big", "big"), ("medium", "other")] {
        let mut world = World::started(graph(steps(), &ways));
        let turn = world.complete_with("order", json!({ "size": size }));
        assert_eq!(world.open(), [taken]);
        assert!(turn.entries.iter().any(|entry| {
            entry.what == What::ChoiceMade { step: name("size"), to: name(taken) }
        }));
        world.complete(taken);
        assert_eq!(world.open(), ["done"]);
        world.complete("done");
        assert_eq!(world.phase(), "completed");
    }
    // Without a way for all other cases, none may hold.
    let ways = &ways[..3];
    let steps = [
        ("order", action()),
        ("size", impact(choice(&["big", "small"]), FailureImpact::Ignore)),
        ("big", action()),
        ("small", action()),
    ];
    let mut world = World::started(graph(steps, ways));
    world.complete_with("order", json!({ "size": "medium" }));
    assert_eq!(world.run.fault_of(&name("size")).unwrap().code, "flow.no_choice");
    assert_eq!([world.status("big"), world.status("small")], [StepStatus::Skipped; 2]);
}

#[test]
fn a_way_whose_guard_does_not_hold_is_closed_for_good() {
    let mut world = World::started(graph(
        [("a", action()), ("b", action()), ("both", action()), ("only", action())],
        &["a > both if steps.a.output.go", "b > both", "a > only if steps.a.output.go"],
    ));
    let turn = world.complete_with("a", json!({ "go": false }));
    let skipped = What::StepSkipped { step: name("only"), why: Skip::NotChosen };
    assert_eq!(turn.entries.last().unwrap().what, skipped);
    world.complete("b");
    assert_eq!(world.open(), ["both"], "one way is open, and all are decided");
}

#[test]
fn a_gate_opens_when_enough_ways_are_open() {
    let build = |needs| {
        let steps = [
            ("a", impact(action(), FailureImpact::SkipDependents)),
            ("b", impact(action(), FailureImpact::SkipDependents)),
            ("c", impact(action(), FailureImpact::SkipDependents)),
            ("gate", gate(needs)),
            ("after", action()),
        ];
        World::started(graph(steps, &["a > gate", "b > gate", "c > gate", "gate > after"]))
    };
    let mut any = build(Needs::Any);
    any.fail("a");
    assert_eq!(any.open(), ["b", "c"]);
    any.complete("b");
    assert_eq!(any.open(), ["after", "c"], "an action before a gate is not given up");
    let mut two = build(Needs::Count(2));
    two.complete("c");
    assert_eq!(two.open(), ["a", "b"]);
    two.complete("a");
    assert_eq!(two.open(), ["after", "b"]);
    let mut all = build(Needs::All);
    all.complete("a");
    all.complete("b");
    all.fail("c");
    assert_eq!([all.status("gate"), all.status("after")], [StepStatus::Skipped; 2]);
    assert_eq!(all.phase(), "failed");
}

#[test]
fn what_a_step_needs_and_lacks_is_named_with_who_should_have_produced_it() {
    let mut generate = impact(action(), FailureImpact::Ignore);
    generate.contract.produces.insert("joke".to_owned());
    let mut email = action();
    email.contract.requires.insert("joke".to_owned());
    let mut graph = graph([("generate", generate), ("email", email)], &["generate > email"]);
    graph.edges[0].reasons.insert(Reason::Context("joke".to_owned()));

    let mut world = World::started(graph.clone());
    world.fail("generate");
    let fault = world.run.fault_of(&name("email")).unwrap();
    assert_eq!(fault.code, "context.missing");
    assert_eq!(
        fault.message,
        "step email needs joke in the context, and step generate, which produces it, failed: it answered 500"
    );

    let mut world = World::started(graph.clone());
    world.complete("generate");
    let fault = world.run.fault_of(&name("generate")).unwrap();
    assert_eq!(fault.code, "context.not_produced");

    let put = |keys: &[&str]| CallResult::Completed {
        output: json_text(json!(null)),
        context: keys.iter().map(|key| ((*key).to_owned(), json_text(json!("ha")))).collect(),
    };
    let mut world = World::started(graph.clone());
    world.end("generate", put(&["joke", "more"]));
    assert_eq!(world.run.value_of("more"), Some(&json_text(json!("ha"))), "recorded all the same");
    let found = BTreeMap::from([("joke".to_owned(), json_text(json!("ha")))]);
    assert_eq!(world.starts[1].context, found);

    graph.steps.get_mut("generate").unwrap().contract.strict = true;
    let mut world = World::started(graph);
    world.end("generate", put(&["joke", "more"]));
    assert_eq!(world.run.fault_of(&name("generate")).unwrap().code, "context.undeclared");
}

#[test]
fn what_is_seeded_has_to_be_there_from_the_start() {
    let mut email = action();
    email.contract.requires.insert("joke".to_owned());
    let mut graph = graph([("email", email)], &[]);
    graph.seeds.insert("joke".to_owned());
    let mut world = World::new(graph);
    let start = |context| Input::Start { input: json_text(json!({})), context, depth: 0 };
    let refusal = world.try_tell(start(BTreeMap::new())).unwrap_err();
    assert_eq!(refusal, Refusal::SeedMissing { key: "joke".to_owned() });
    world.tell(start(BTreeMap::from([("joke".to_owned(), json_text(json!("ha")))])));
    assert_eq!(world.starts[0].context["joke"], json_text(json!("ha")));
}

#[test]
fn nothing_is_begun_while_a_run_is_paused() {
    let mut world = World::started(graph(
        [("a", action()), ("b", action()), ("c", action())],
        &["a > b", "a > c if false"],
    ));
    assert_eq!(world.try_tell(Input::Resume).unwrap_err(), Refusal::NotPaused);
    world.tell(Input::Pause { reason: Some("a look".to_owned()) });
    let again = world.try_tell(Input::Pause { reason: None });
    assert_eq!(again.unwrap_err(), Refusal::AlreadyPaused);
    world.complete("a");
    assert_eq!(world.open(), [] as [&str; 0]);
    assert_eq!(world.status("c"), StepStatus::Waiting);
    world.tell(Input::Resume);
    assert_eq!(world.open(), ["b"]);
    world.complete("b");
    assert_eq!(world.phase(), "completed");
}

#[test]
fn a_run_follows_the_version_that_it_began_with() {
    let mut world = World::started(graph([("a", action()), ("b", action())], &["a > b"]));
    let other = graph([("a", action()), ("c", action())], &["a > c"]);
    world.flow = crate::flow::checked::Flow::check(other).unwrap();
    assert_eq!(world.try_tell(Input::Pause { reason: None }), Err(Refusal::OtherVersion));
}

#[test]
fn a_run_starts_once_and_nothing_comes_before() {
    let mut world = World::new(graph([("a", action())], &[]));
    let cancel = Input::Cancel { reason: None, compensate: false };
    assert_eq!(world.try_tell(cancel.clone()), Err(Refusal::NotStarted));
    let early = Input::Ended { call: CallId(0), result: failed() };
    assert!(world.tell(early).is_empty());
    world.start(json!(1));
    let start = Input::Start { input: json_text(json!(1)), context: BTreeMap::new(), depth: 0 };
    assert_eq!(world.try_tell(start), Err(Refusal::AlreadyStarted));
    world.complete("a");
    let late = world.try_tell(cancel).unwrap_err();
    assert_eq!(late.to_string(), "cannot cancel a run that is completed");
}

#[test]
fn names_of_entries_and_their_members_do_not_change() {
    let mut world = World::started(graph([("a", action())], &[]));
    world.complete_with("a", json!({ "n": 1.50 }));
    let texts: Vec<String> =
        world.journal.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    let digest = world.flow.digest();
    assert_eq!(
        texts,
        [
            format!(
                r#"{{"at":"1970-01-01T00:00:00Z","what":{{"RunStarted":{{"flow":"{digest}","input":{{}},"depth":0}}}}}}"#
            ),
            r#"{"at":"1970-01-01T00:00:00Z","what":{"StepScheduled":{"place":{"step":"a"},"call":1,"attempt":1}}}"#.to_owned(),
            r#"{"at":"1970-01-01T00:00:00Z","what":{"StepCompleted":{"place":{"step":"a"},"call":1,"output":{"n":1.5}}}}"#.to_owned(),
            r#"{"at":"1970-01-01T00:00:00Z","what":{"RunCompleted":{"output":null}}}"#.to_owned(),
        ]
    );
    assert_eq!(entry_name(&world.journal[0].what), "RunStarted");
}
