use std::collections::BTreeMap;

use actions_domain::Timestamp;
use actions_domain::flow::digest::FlowDigest;
use actions_domain::flow::expression::{Expressions, Item, Scope};
use actions_domain::flow::graph::StepName;
use actions_domain::flow::journal::{CallId, Completed, Entry, Place, Scheduled, What};
use actions_domain::flow::run::Run;
use actions_domain::json::Json;
use serde_json::{Value, json};

use super::CelExpressions;

/// A run whose step `check-user` is completed.
fn run() -> Run {
    let input = json!({ "type": "users.created", "data": {
        "id": 7, "name": "Ada", "tier": "premium", "tags": ["a", "b"], "none": null,
    }});
    let place = Place::step(&StepName::parse("check-user").unwrap());
    let entries = [
        What::RunStarted {
            flow: FlowDigest::try_from("0".repeat(64)).unwrap(),
            input: Json::from_value(&input),
            context: BTreeMap::from([("joke".to_owned(), Json::from_value(&json!("knock")))]),
            depth: 0,
        },
        What::StepScheduled(Scheduled {
            place: place.clone(),
            call: CallId(1),
            attempt: 1,
            due_at: None,
            timer: None,
        }),
        What::StepCompleted(Completed {
            place,
            call: Some(CallId(1)),
            output: Json::from_value(&json!({ "is_valid": true, "score": 3 })),
            context: BTreeMap::new(),
        }),
    ];
    let entries = entries.map(|what| Entry { at: Timestamp::UNIX_EPOCH, what });
    Run::replay(&entries)
}

fn fill(template: Value) -> Result<Value, String> {
    let run = run();
    let scope = Scope { run: &run, item: None, undone: None };
    CelExpressions::default().fill(&template, &scope).map(|json| json.to_value())
}

fn holds(expression: &str) -> Result<bool, String> {
    let run = run();
    let scope = Scope { run: &run, item: None, undone: None };
    CelExpressions::default().holds(expression, &scope)
}

#[test]
fn a_template_keeps_the_kind_of_a_value_and_puts_it_into_texts() {
    let filled = fill(json!({
        "user": "{{ event.data }}",
        "id": " {{ event.data.id }} ",
        "text": "{{ event.data.name }} has {{ event.data.id }}{{ event.data.none }}!",
        "first": ["{{ event.data.tags.0 }}", 1, null],
        "sum": "{{ steps['check-user'].output.score + 1 }}",
        "made": "{{ {'a': {'b': event.data.tier}} }}",
        "plain": "no { braces }",
        "joke": "{{ context.joke }}",
    }))
    .unwrap();
    assert_eq!(filled["user"]["tier"], "premium");
    assert_eq!(filled["id"], 7);
    assert_eq!(filled["text"], "Ada has 7!");
    assert_eq!(filled["first"], json!(["a", 1, null]));
    assert_eq!(filled["sum"], 4);
    assert_eq!(filled["made"], json!({ "a": { "b": "premium" } }));
    assert_eq!(filled["plain"], "no { braces }");
    assert_eq!(filled["joke"], "knock");
}

#[test]
fn an_expression_is_decided_over_the_run() {
    assert_eq!(holds("event.data.tier == 'premium' && event.data.id > 6"), Ok(true));
    assert_eq!(holds("steps.check-user.output.is_valid"), Ok(true));
    assert_eq!(holds("steps.later.status == 'waiting'"), Ok(true));
    assert_eq!(holds("steps['check-user'].output.score >= 4"), Ok(false));
    assert!(holds("event.data.id").unwrap_err().contains("a number"));
    assert!(holds("event.data.missing == 1").is_err());
    assert_eq!(holds("has(event.data.missing)"), Ok(false));
}

#[test]
fn what_is_missing_is_an_error_that_names_it() {
    assert_eq!(fill(json!("{{ event.data.gone }}")), Err("there is no event.data.gone".to_owned()));
    assert_eq!(fill(json!("{{ item }}")), Err("there is no item".to_owned()));
}

#[test]
fn an_item_has_its_value_and_its_place() {
    let run = run();
    let value = Json::from_value(&json!({ "to": "ada@example.com" }));
    let scope = Scope { run: &run, item: Some(Item { index: 2, value: &value }), undone: None };
    let filled = CelExpressions::default().fill(&json!("{{ item.to }} {{ index }}"), &scope);
    assert_eq!(filled.unwrap().to_value(), json!("ada@example.com 2"));
}

#[test]
fn a_name_is_made_of_tokens() {
    let run = run();
    let scope = Scope { run: &run, item: None, undone: None };
    let name = |text| CelExpressions::default().name(text, &scope);
    assert_eq!(name("user:{event.data.id}"), Ok("user:7".to_owned()));
    assert_eq!(name("type:{event.type}:{event.data.none}"), Ok("type:users.created:-".to_owned()));
    assert!(name("user:{event.data.id").is_err());
}

#[test]
fn a_text_that_means_nothing_is_refused_with_its_place() {
    let with = CelExpressions::default();
    assert!(with.check("event.data.id == 1").is_ok());
    let message = with.check("secrets.token == 'a'").unwrap_err();
    assert!(message.contains("secrets is not known"), "{message}");
    let message = with.check("event.data.id ==").unwrap_err();
    assert!(message.contains("column"), "{message}");
    let template = json!({ "a": ["{{ event.id }}", "{{ 1 + }}"] });
    assert_eq!(with.check_template(&template).unwrap_err().0, "/a/1");
    assert!(with.check_template(&json!("{{ event.id")).is_err());
}

#[test]
fn a_template_cannot_write_more_than_an_event() {
    let many = vec!["{{ event.data }}"; 40_000];
    assert!(fill(json!(many)).unwrap_err().contains("more than"));
}
