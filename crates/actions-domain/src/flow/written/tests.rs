use std::time::Duration;

use serde_json::{Value, json};

use super::{WrittenProblem, duration, read};
use crate::flow::graph::{Does, FailureImpact, StepName, Target, Wait};
use crate::limits::{FLOW_EDGES_MAX, FLOW_STEPS_MAX};
use crate::plan::compile::describe;

const STEPS: &str = "/action/workflow/steps";

/// The document of the founding plan, word for word, as a parser of YAML gives it.
fn founding() -> Value {
    json!({
        "action": {
            "name": "advanced_user_onboarding",
            "description": "Complex user onboarding with multiple steps",
            "triggers": [{
                "event_pattern": "users.created",
                "conditions": ["event.data.subscription_tier == 'premium'"],
            }],
            "workflow": {
                "steps": [
                    {
                        "name": "validate_user_data",
                        "handler": "validation.user_data_validator",
                        "input_mapping": { "user_data": "{{ event.data }}" },
                        "retry_policy": { "max_retries": 3, "backoff": "exponential" },
                    },
                    {
                        "name": "setup_premium_features",
                        "handler": "premium.feature_activator",
                        "depends_on": ["validate_user_data"],
                        "condition": "{{ steps.validate_user_data.output.is_valid }}",
                    },
                    {
                        "name": "send_welcome_sequence",
                        "handler": "email.sequence_sender",
                        "config": {
                            "template_sequence": "premium_welcome",
                            "delay_between_emails": "2 hours",
                        },
                        "parallel_with": ["setup_premium_features"],
                    },
                ],
            },
            "error_handling": {
                "strategy": "retry_then_deadletter",
                "max_total_retries": 5,
                "deadletter_action": "admin.manual_review",
            },
        },
    })
}

fn step_name(raw: &str) -> StepName {
    StepName::parse(raw).unwrap()
}

fn problems(document: &Value) -> Vec<(String, &'static str)> {
    let problems = read(document).unwrap_err();
    problems.into_iter().map(|WrittenProblem { pointer, code, .. }| (pointer, code)).collect()
}

#[test]
fn the_founding_document_is_read_word_for_word() {
    let written = read(&founding()).unwrap();
    assert_eq!(
        describe(&written.flow),
        "1. validate_user_data\n\
         2. send_welcome_sequence after validate_user_data (explicit)\n\
         3. setup_premium_features after validate_user_data (explicit)\n"
    );
    let graph = written.flow.graph();
    assert_eq!(graph.name, "advanced_user_onboarding");
    assert_eq!(graph.on_failure, FailureImpact::Abort);
    assert_eq!(graph.max_total_retries, Some(5));
    let Some(Target::Action(name)) = &graph.dead_letter else { panic!("{graph:?}") };
    assert_eq!(name.as_str(), "admin.manual_review");
    let validate = &graph.steps["validate_user_data"];
    assert_eq!(validate.retry.as_ref().unwrap().max_retries, 3);
    let Does::Action(call) = &validate.does else { panic!("{validate:?}") };
    assert_eq!(call.input, json!({ "user_data": "{{ event.data }}" }));
    let setup = &graph.steps["setup_premium_features"];
    assert_eq!(setup.condition.as_deref(), Some("steps.validate_user_data.output.is_valid"));
    let welcome = &graph.steps["send_welcome_sequence"];
    let Does::Action(call) = &welcome.does else { panic!("{welcome:?}") };
    let Target::Handler { id, config } = &call.target else { panic!("{call:?}") };
    assert_eq!(id.as_str(), "email.sequence_sender");
    assert_eq!(config["delay_between_emails"], "2 hours");
    let [trigger] = written.triggers.as_slice() else { panic!("{written:?}") };
    assert_eq!(trigger.pattern.to_string(), "users.created");
    assert_eq!(trigger.condition.0, json!(["event.data.subscription_tier == 'premium'"]));
}

#[test]
fn the_order_of_steps_does_not_change_the_address() {
    let mut document = founding();
    document["action"]["workflow"]["steps"].as_array_mut().unwrap().reverse();
    let one = read(&founding()).unwrap().flow.digest();
    assert_eq!(one, read(&document).unwrap().flow.digest());
}

#[test]
fn a_delay_is_a_timer_before_its_step() {
    let mut document = founding();
    document["action"]["workflow"]["steps"][1]["delay"] = json!("2 hours");
    document["action"]["workflow"]["steps"][1]["timeout"] = json!("90s");
    let flow = read(&document).unwrap().flow;
    let timer = step_name("setup_premium_features-delay");
    assert_eq!(flow.step(&timer).unwrap().does, Does::Timer(Wait::ForMs(7_200_000)));
    assert_eq!(flow.before(&timer), [step_name("validate_user_data")]);
    assert_eq!(flow.before(&step_name("setup_premium_features")), [timer]);
    assert_eq!(flow.step(&step_name("setup_premium_features")).unwrap().timeout_seconds, Some(90));
}

#[test]
fn steps_beside_one_another_come_after_the_same() {
    let step = |name: &str, after: &[&str], beside: &[&str]| json!({ "name": name, "action": "act", "depends_on": after, "parallel_with": beside });
    let mut document = founding();
    document["action"]["workflow"]["steps"] = json!([
        step("a", &[], &[]),
        step("d", &[], &["c"]),
        step("c", &[], &["b"]),
        step("b", &["a"], &["d"]),
    ]);
    let flow = read(&document).unwrap().flow;
    for name in ["b", "c", "d"] {
        assert_eq!(flow.before(&step_name(name)), [step_name("a")], "{name}");
    }
}

#[test]
fn a_strategy_says_what_a_failure_means() {
    let impact = |strategy: &str| {
        let mut document = founding();
        document["action"]["error_handling"]["strategy"] = json!(strategy);
        read(&document).unwrap().flow.graph().on_failure
    };
    assert_eq!(impact("fail_fast"), FailureImpact::Abort);
    assert_eq!(impact("continue"), FailureImpact::SkipDependents);
    assert_eq!(impact("compensate"), FailureImpact::Compensate);
}

#[test]
fn everything_that_is_wrong_is_said_with_its_place() {
    let mut document = founding();
    let action = &mut document["action"];
    action["trigger"] = json!(1);
    action["triggers"][0]["event_pattern"] = json!("");
    action["error_handling"] = json!({ "strategy": "hope", "max_total_retries": 1 });
    let steps = &mut action["workflow"]["steps"];
    steps[0]["retry_policy"] = json!({ "max_retries": 1_000 });
    steps[0]["depend_on"] = json!(["x"]);
    steps[1]["delay"] = json!("soon");
    steps[1]["handler"] = json!("nodot");
    steps[1]["on_failure"] = json!("cry");
    steps[2]["action"] = json!("both");
    steps[2]["depends_on"] = json!([1]);
    assert_eq!(
        problems(&document),
        [
            ("/action/trigger".to_owned(), "workflow.unknown_field"),
            ("/action/triggers/0/event_pattern".to_owned(), "workflow.event_pattern"),
            ("/action/error_handling/strategy".to_owned(), "workflow.strategy"),
            ("/action/workflow/steps/0/depend_on".to_owned(), "workflow.unknown_field"),
            ("/action/workflow/steps/0/retry_policy".to_owned(), "workflow.retry_policy"),
            ("/action/workflow/steps/1/handler".to_owned(), "workflow.handler"),
            ("/action/workflow/steps/1/delay".to_owned(), "workflow.duration"),
            ("/action/workflow/steps/1/on_failure".to_owned(), "workflow.on_failure"),
            ("/action/workflow/steps/2".to_owned(), "workflow.target"),
            ("/action/workflow/steps/2/depends_on/0".to_owned(), "workflow.step_name"),
        ]
    );
    for (document, place, code) in [
        (json!([]), "", "workflow.type"),
        (json!({}), "", "workflow.missing"),
        (
            json!({ "action": { "name": "a", "workflow": { "steps": [] } } }),
            "/action/workflow/steps",
            "flow.no_steps",
        ),
    ] {
        assert_eq!(problems(&document), [(place.to_owned(), code)]);
    }
}

#[test]
fn what_is_wrong_with_the_graph_is_said_at_the_step() {
    let mut document = founding();
    document["action"]["workflow"]["steps"][2]["depends_on"] = json!(["validate_user_dat"]);
    let problems = read(&document).unwrap_err();
    assert_eq!(problems[0].pointer, "/action/workflow/steps/2/depends_on/0");
    assert!(problems[0].message.ends_with("do you mean validate_user_data?"), "{problems:?}");
    let mut document = founding();
    document["action"]["workflow"]["steps"][0]["depends_on"] = json!(["setup_premium_features"]);
    let problems = read(&document).unwrap_err();
    assert_eq!(problems[0].code, "flow.cycle");
}

#[test]
fn a_step_beside_one_that_is_not_there_is_wrong() {
    let mut document = founding();
    document["action"]["workflow"]["steps"][2]["parallel_with"] = json!(["setup_premium"]);
    assert_eq!(
        problems(&document),
        [("/action/workflow/steps/2/parallel_with/0".to_owned(), "flow.unknown_step")]
    );
}

#[test]
fn what_is_much_too_large_is_refused_before_it_is_looked_at() {
    let mut document = founding();
    let step = |n: usize| json!({ "name": format!("s{n}"), "action": "act" });
    document["action"]["workflow"]["steps"] = (0..=FLOW_STEPS_MAX).map(step).collect();
    assert_eq!(problems(&document), [(STEPS.to_owned(), "flow.too_many_steps")]);
    let mut document = founding();
    document["action"]["workflow"]["steps"][0]["parallel_with"] =
        json!(vec!["a"; FLOW_EDGES_MAX + 1]);
    assert_eq!(problems(&document), [(STEPS.to_owned(), "flow.too_many_edges")]);
}

#[test]
fn times_are_read_as_people_write_them() {
    let seconds = |text: &str| duration::parse(text).map(|time| time.as_secs());
    for (text, expected) in [
        ("2 hours", 7_200),
        ("2h", 7_200),
        ("PT2H30M", 9_000),
        ("P1DT1S", 86_401),
        ("P2W", 1_209_600),
        ("1h 30m", 5_400),
        ("90 Seconds", 90),
        ("1 day", 86_400),
    ] {
        assert_eq!(seconds(text), Some(expected), "{text}");
    }
    assert_eq!(duration::parse("250ms"), Some(Duration::from_millis(250)));
    let wrong = [
        "",
        "p",
        "soon",
        "2",
        "-1h",
        "2 moons",
        "h",
        "P1M",
        "PT1D",
        "1h30",
        "99999999999999999999d",
        "9999999w",
    ];
    for text in wrong {
        assert_eq!(seconds(text), None, "{text}");
    }
}
