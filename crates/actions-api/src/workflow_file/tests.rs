use actions_domain::flow::expression::Syntax;
use actions_domain::flow::graph::{Does, FailureImpact, Needs, Wait};
use actions_domain::flow::written::{Concurrency, WhenFull, Written};
use actions_domain::limits::{FLOW_BYTES_MAX, FLOW_STEPS_MAX};
use insta::assert_snapshot;

use super::{WorkflowMistake, read_workflow};

/// Texts with a `?` are wrong.
struct Plain;

impl Syntax for Plain {
    fn expression(&self, text: &str) -> Result<(), String> {
        if text.contains('?') { Err("a ? stands in it".to_owned()) } else { Ok(()) }
    }

    fn template(&self, text: &str) -> Result<(), String> {
        self.expression(text)
    }
}

fn read(text: &str) -> Result<Written, Vec<WorkflowMistake>> {
    read_workflow(text, &Plain)
}

fn good(text: &str) -> Written {
    read(text).unwrap_or_else(|mistakes| panic!("{}", shown(&mistakes)))
}

fn shown(mistakes: &[WorkflowMistake]) -> String {
    mistakes.iter().map(|mistake| mistake.at("f.yaml")).collect::<Vec<_>>().join("\n")
}

fn mistakes(text: &str) -> String {
    shown(&read(text).unwrap_err())
}

/// The code, line and column of the first mistake.
fn first(text: &str) -> (&'static str, u64, u64) {
    let mistakes = read(text).unwrap_err();
    let mistake = &mistakes[0];
    assert!(!mistake.hint.is_empty() && !mistake.message.is_empty());
    (mistake.code, mistake.line, mistake.column)
}

const FOUNDING: &str = r#"
action:
  name: "advanced_user_onboarding"
  description: "Complex user onboarding with multiple steps"
  
  triggers:
    - event_pattern: "users.created"
      conditions:
        - "event.data.subscription_tier == 'premium'"
        
  workflow:
    steps:
      - name: "validate_user_data"
        handler: "validation.user_data_validator"
        input_mapping:
          user_data: "{{ event.data }}"
        retry_policy:
          max_retries: 3
          backoff: "exponential"
          
      - name: "setup_premium_features"
        handler: "premium.feature_activator"
        depends_on: ["validate_user_data"]
        condition: "{{ steps.validate_user_data.output.is_valid }}"
        
      - name: "send_welcome_sequence"
        handler: "email.sequence_sender"
        config:
          template_sequence: "premium_welcome"
          delay_between_emails: "2 hours"
        parallel_with: ["setup_premium_features"]
        
  error_handling:
    strategy: "retry_then_deadletter"
    max_total_retries: 5
    deadletter_action: "admin.manual_review"
"#;

const SHORT: &str = r#"
action: advanced_user_onboarding
description: Complex user onboarding with multiple steps
on: users.created
when: ["event.data.subscription_tier == 'premium'"]
steps:
  - validate_user_data: { handler: validation.user_data_validator, with: { user_data: "{{ event.data }}" }, retry: 3 }
  - setup_premium_features: { handler: premium.feature_activator, after: validate_user_data, if: steps.validate_user_data.output.is_valid }
  - send_welcome_sequence:
      handler: email.sequence_sender
      config: { template_sequence: premium_welcome, delay_between_emails: 2 hours }
      parallel_with: setup_premium_features
on_failure: { max_total_retries: 5, then: admin.manual_review }
"#;

#[test]
fn both_forms_of_one_workflow_have_one_address() {
    let (long, short) = (good(FOUNDING), good(SHORT));
    assert_eq!(long.flow.digest(), short.flow.digest());
    assert_eq!(long.triggers, short.triggers);
    assert_eq!(long.flow.graph().max_total_retries, Some(5));
}

/// One step of each kind, in one form and in the other.
const EVERYTHING_SHORT: &str = r#"
version: 1
action: everything
on: [orders.paid, { event: "orders.*", when: event.data.total > 5 }]
seeds: [tenant]
steps:
  - call: { action: act, with: { id: "{{ event.id }}" }, key: "order:{input.id}", produces: [order], priority: high, timeout: 90s, undo: { action: undo } }
  - child: { workflow: other, with: { id: 1 }, requires: order }
  - pause: { wait: 2 hours, after: child }
  - until_noon: { wait_until: "{{ event.noon }}", after: pause }
  - paid: { signal: paid, timeout: 2 days, after: pause }
  - either: { gate: any, after: [until_noon, paid] }
  - poll: { handler: http.request, after: either, until: output.status == 'ready', every: 30s, rounds: 20 }
  - items: { each: "{{ event.items }}", action: act, limit: 5, failures_max: 1, after: poll, undo: { handler: http.request, config: { url: x } } }
  - check: { choose: [{ if: event.vip, then: late }, { then: ask }], after: items }
  - late: { action: act, delay: 1h }
  - ask: { approval: { signal: manager, count: 2, otherwise: refuse }, timeout: 3 days }
  - grant: { action: act, after: ask }
  - refuse: { action: act, on_failure: ignore }
output: { id: "{{ steps.call.output.id }}" }
concurrency: { max: 1, key: "order:{event.id}", when_full: skip }
on_failure: compensate
"#;

const EVERYTHING_LONG: &str = r#"
version: 1
action:
  name: everything
  seeds: [tenant]
  triggers:
    - event_pattern: orders.paid
    - { event_pattern: "orders.*", conditions: event.data.total > 5 }
  workflow:
    steps:
      - { name: refuse, action: act, on_failure: ignore }
      - { name: grant, action: act, depends_on: [ask] }
      - { name: ask, approval: { signal: manager, count: 2, otherwise: refuse }, timeout: 3 days }
      - { name: late, action: act, delay: 1h }
      - { name: check, choose: [{ if: event.vip, then: late }, { then: ask }], depends_on: [items] }
      - name: items
        each: "{{ event.items }}"
        action: act
        limit: 5
        failures_max: 1
        depends_on: [poll]
        compensation: { handler: http.request, config: { url: x } }
      - name: poll
        handler: http.request
        depends_on: [either]
        until: output.status == 'ready'
        every: 30s
        rounds: 20
      - { name: either, gate: any, depends_on: [until_noon, paid] }
      - { name: paid, signal: paid, timeout: 2 days, depends_on: [pause] }
      - { name: until_noon, wait_until: "{{ event.noon }}", depends_on: [pause] }
      - { name: pause, wait: 2 hours, depends_on: [child] }
      - { name: child, workflow: other, input_mapping: { id: 1 }, requires: [order] }
      - name: call
        action: act
        input_mapping: { id: "{{ event.id }}" }
        key: "order:{input.id}"
        produces: [order]
        priority: high
        timeout: 90s
        compensation: { action: undo }
  output: { id: "{{ steps.call.output.id }}" }
  concurrency: { max: 1, key: "order:{event.id}", when_full: skip }
  error_handling: { strategy: compensate }
"#;

#[test]
fn every_kind_of_step_has_both_forms() {
    let (long, short) = (good(EVERYTHING_LONG), good(EVERYTHING_SHORT));
    assert_eq!(long.flow.graph(), short.flow.graph());
    assert_eq!(long.flow.digest(), short.flow.digest());
    assert_eq!(long.triggers, short.triggers);
    let expected =
        Concurrency { max: 1, key: Some("order:{event.id}".to_owned()), when_full: WhenFull::Skip };
    assert_eq!(long.concurrency, Some(expected));
    let graph = short.flow.graph();
    assert_eq!(graph.on_failure, FailureImpact::Compensate);
    assert_eq!(graph.steps["pause"].does, Does::Timer(Wait::ForMs(7_200_000)));
    assert_eq!(graph.steps["either"].does, Does::Gate { needs: Needs::Any });
    assert_eq!(graph.steps["poll"].repeat.as_ref().unwrap().rounds_max, 20);
    let ways: Vec<String> = (graph.edges.iter())
        .map(|edge| {
            let guard = edge.guard.as_ref().map(|guard| format!(" if {guard}"));
            format!("{} > {}{}", edge.from, edge.to, guard.unwrap_or_default())
        })
        .collect();
    assert_snapshot!(ways.join("\n"), @r#"
    ask > grant if steps["ask"].status == "skipped" || (steps["ask"].status == "completed" && steps["ask"].output.approved == true)
    ask > refuse if !(steps["ask"].status == "skipped" || (steps["ask"].status == "completed" && steps["ask"].output.approved == true))
    ask-1 > ask if steps["ask-1"].status == "skipped" || (steps["ask-1"].status == "completed" && steps["ask-1"].output.approved == true)
    ask-1 > refuse if !(steps["ask-1"].status == "skipped" || (steps["ask-1"].status == "completed" && steps["ask-1"].output.approved == true))
    call > child
    check > ask-1
    check > late-delay if event.vip
    child > pause
    either > poll
    items > check
    late-delay > late
    paid > either
    pause > paid
    pause > until_noon
    poll > items
    until_noon > either
    "#);
}

/// Five steps with everything around them, in a dozen lines.
#[test]
fn a_workflow_of_five_steps_is_a_dozen_lines() {
    let text = r#"
action: orders.fulfil
on: orders.paid
when: event.data.total > 0
steps:
  - reserve: { action: stock.reserve, with: { order: "{{ event.data.id }}" }, undo: { action: stock.release } }
  - charge:  { action: billing.charge, after: reserve, retry: 5, undo: { action: billing.refund } }
  - pack:    { each: "{{ event.data.items }}", action: warehouse.pack, limit: 5, after: charge }
  - ship:    { action: courier.book, after: pack, delay: 1h, timeout: 30s }
  - tell:    { handler: email.template, after: ship, config: { template: shipped }, on_failure: ignore }
on_failure: compensate
"#;
    assert!(text.trim().lines().count() <= 12);
    assert_eq!(good(text).flow.graph().steps.len(), 6);
}

#[test]
fn jobs_after_one_another_and_beside_one_another_are_a_workflow_too() {
    let text = r#"
action: etl
steps:
  - extract: { action: extract }
  - clean:   { each: "{{ steps.extract.output.parts }}", action: clean, limit: 10, after: extract }
  - left:    { action: left, after: clean }
  - right:   { action: right, after: clean }
  - first:   { gate: any, after: [left, right] }
  - report:  { action: report, after: first, with: { parts: "{{ steps.clean.output }}" } }
"#;
    assert_eq!(good(text).flow.before(&name("first")).len(), 2);
}

fn name(raw: &str) -> actions_domain::flow::graph::StepName {
    actions_domain::flow::graph::StepName::parse(raw).unwrap()
}

/// A short workflow with one step more, in line 6.
fn with(step: &str) -> String {
    format!("action: a\nsteps:\n  - one: {{ action: act }}\n  - two:\n      action: act\n{step}\n")
}

#[test]
fn each_kind_of_mistake_has_its_own_code_and_place() {
    let mut wrong = Vec::new();
    for (text, expected) in [
        // What is not there, and what goes round.
        (with("      after: thre"), ("flow.unknown_step", 6, 14)),
        (with("      after: [one, thre]"), ("flow.unknown_step", 6, 20)),
        (with("      parallel_with: thre"), ("flow.unknown_step", 6, 22)),
        (with("      after: two"), ("flow.self_dependency", 6, 14)),
        (with("      after: three\n  - three: { action: act, after: two }"), ("flow.cycle", 7, 34)),
        (with("      requires: user"), ("workflow.missing_producer", 6, 17)),
        (
            with(
                "      requires: k\n  - x: { action: a, produces: k }\n  - y: { action: a, produces: k }",
            ),
            ("workflow.ambiguous_producer", 6, 17),
        ),
        // Texts.
        (with("      with: { id: \"{{ event?id }}\" }"), ("flow.template", 6, 19)),
        (with("      with: { id: \"{{ event.id\" }"), ("flow.template", 6, 19)),
        (with("      if: steps?x"), ("flow.expression", 6, 11)),
        (with("      until: steps?x"), ("flow.expression", 6, 14)),
        // Sizes and versions.
        (
            "version: 2\naction: a\nsteps: [{ one: { action: a } }]".to_owned(),
            ("workflow.version", 1, 10),
        ),
        (
            with(&format!("      description: {}", "x".repeat(FLOW_BYTES_MAX))),
            ("flow.too_large", 1, 1),
        ),
        (
            format!("action: a\nsteps:\n{}", "  - x: { action: a }\n".repeat(FLOW_STEPS_MAX + 1)),
            ("flow.too_many_steps", 2, 1),
        ),
        ("action: a\nsteps: []".to_owned(), ("flow.no_steps", 2, 1)),
        ("action: a b\nsteps: [{ one: { action: a } }]".to_owned(), ("flow.name", 1, 9)),
        // Members.
        (with("      afer: one"), ("workflow.unknown_field", 6, 7)),
        (with("      handler: a.b"), ("workflow.target", 4, 5)),
        (with("      limit: 5"), ("workflow.misplaced", 6, 14)),
        (with("      config: { a: 1 }"), ("workflow.config", 6, 7)),
        (with("      timeout: soon"), ("workflow.duration", 6, 16)),
        (with("      timeout: 90 days"), ("flow.timeout", 6, 16)),
        (with("      retry: { max_retries: 1000 }"), ("workflow.retry_policy", 6, 7)),
        (with("      retry: often"), ("workflow.retry_policy", 6, 14)),
        (with("      on_failure: cry"), ("workflow.on_failure", 6, 19)),
        (with("      priority: urgent"), ("workflow.priority", 6, 17)),
        (with("      key: one"), ("flow.key", 6, 12)),
        (with("      until: a\n      rounds: 0"), ("flow.repeat", 7, 15)),
        (with("      after: { one: 1 }"), ("workflow.step_name", 6, 7)),
        (with("  - one: { action: a }"), ("workflow.duplicate_step", 6, 5)),
        (with("  - 9x: { action: a }"), ("workflow.step_name", 6, 5)),
        (with("  - x: { action: a }\n    y: { action: b }"), ("workflow.type", 6, 5)),
        (with("  - x: { handler: nodot }"), ("workflow.handler", 6, 19)),
        (with("  - x: { action: no name }"), ("workflow.action", 6, 18)),
        (with("  - x: { gate: 3, after: one }"), ("flow.gate", 6, 16)),
        (with("  - x: { gate: some }"), ("workflow.type", 6, 16)),
        (with("  - x: { choose: [] }"), ("flow.choice", 6, 10)),
        (with("  - x: { choose: [{ then: one }, { if: a, then: two }] }"), ("flow.choice", 6, 27)),
        (with("  - x: { wait: 0s }"), ("flow.wait", 6, 16)),
        (with("  - x: { wait: 2h, retry: 3 }"), ("flow.misplaced", 6, 27)),
        (with("  - x: { approval: { count: 99 } }"), ("workflow.approval", 6, 29)),
        (with("  - x: { signal: \"\" }"), ("flow.signal", 6, 18)),
        (with("  - x: { workflow: no name }"), ("flow.child", 6, 20)),
        (with("  - x: { action: a, each: \"{{ x }}\", limit: 0 }"), ("flow.concurrency", 6, 45)),
        // Around the steps.
        (with("on_failure: hope"), ("workflow.strategy", 6, 13)),
        (with("on_failure: { max_total_retries: 99999 }"), ("flow.total_retries", 6, 34)),
        (with("on: { event: \"\" }"), ("workflow.event_pattern", 6, 14)),
        (with("on: x.y\nwhen: { $no: 1 }"), ("workflow.condition", 7, 14)),
        (with("when: a == 1"), ("workflow.misplaced", 6, 7)),
        (with("concurrency: 0"), ("workflow.concurrency", 6, 14)),
        (with("concurrency: { max: 1, when_full: cry }"), ("workflow.concurrency", 6, 35)),
        // YAML.
        (with("  : ["), ("workflow.yaml", 6, 3)),
        ("action: a\naction: b\n".to_owned(), ("workflow.yaml", 2, 1)),
        ("action: a\nsteps: .nan".to_owned(), ("workflow.yaml", 2, 8)),
        ("[]".to_owned(), ("workflow.type", 1, 1)),
        (String::new(), ("workflow.type", 1, 1)),
    ] {
        let found = first(&text);
        if found != expected {
            let shortened: String = text.chars().take(200).collect();
            wrong.push(format!("{found:?}, not {expected:?}:\n{shortened}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_mistake_is_told_in_the_order_of_the_file() {
    let text = "
action: a
on: 'users.[created'
steps:
  - one: { handler: nodot, afer: x }
  - two: { action: act, timeout: soon, if: 'a?' }
  - wait: { wait: never }
on_failure: hope
";
    let mistakes = read(text).unwrap_err();
    let places: Vec<_> = mistakes.iter().map(|one| (one.line, one.column, one.code)).collect();
    assert_eq!(
        places,
        [
            (3, 5, "workflow.event_pattern"),
            (5, 21, "workflow.handler"),
            (5, 28, "workflow.unknown_field"),
            (6, 34, "workflow.duration"),
            (6, 44, "flow.expression"),
            (7, 19, "workflow.duration"),
            (8, 13, "workflow.strategy"),
        ]
    );
    assert_snapshot!(mistakes[3].at("f.yaml"), @r#"f.yaml:6:34: workflow.duration: timeout is a time such as "2 hours", 90s or PT2H, not "soon"; write a number with its unit"#);
}

#[test]
fn the_long_form_has_places_as_well() {
    let text =
        FOUNDING.replace("depends_on: [\"validate_user_data\"]", "depends_on: [\"validate_user\"]");
    assert_snapshot!(mistakes(&text), @"f.yaml:23:22: flow.unknown_step: there is no step validate_user, which setup_premium_features is connected with; correct the name, or add the step");
    let text = FOUNDING.replace("max_retries: 3", "max_retries: 300");
    assert_eq!(first(&text), ("workflow.retry_policy", 17, 9));
}

#[test]
fn json_is_read_as_well() {
    let text = r#"{ "action": "a", "steps": [{ "one": { "action": "act", "after": "two" } }] }"#;
    assert_eq!(first(text), ("flow.unknown_step", 1, 65));
}

#[test]
fn what_is_nested_too_deeply_is_said_and_fills_no_stack() {
    let nested = |open: &str, close: &str| {
        let (open, close) = (open.repeat(60), close.repeat(60));
        format!("action: a\nsteps:\n  - x: {{ action: a, with: {{ a: {open}1{close} }} }}")
    };
    for text in [nested("[", "]"), nested("{a: ", "}"), "- ".repeat(500), "? ".repeat(500)] {
        let mistakes = read(&text).unwrap_err();
        assert_eq!(mistakes[0].code, "workflow.yaml");
        assert!(mistakes[0].message.contains("nested more than 24"), "{}", shown(&mistakes));
    }
}

#[test]
fn words_that_look_like_values_stay_words() {
    let text = "action: a\non: users.created\nsteps:\n  - no: { action: act, with: { country: no, zip: 0123 } }\n";
    let graph = good(text).flow.graph().clone();
    let Does::Action(call) = &graph.steps["no"].does else { panic!("{graph:?}") };
    assert_eq!(call.input, serde_json::json!({ "country": "no", "zip": "0123" }));
}
