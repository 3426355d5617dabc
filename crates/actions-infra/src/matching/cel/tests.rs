use std::sync::Arc;

use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::id::{EventId, TenantId};
use actions_domain::json::Json;
use actions_domain::matching::condition::{Condition, Expression, Truth, Undecided};
use actions_domain::tenant::{Tenant, TenantSlug};
use cel::Env;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::facts::EventFacts;
use super::super::regex::{TextRegex, TextRegexes};
use super::{Cel, CelError, compile, on_deep_stack, standard_env};

fn event(data: &Value) -> Event {
    Event {
        id: EventId(Uuid::nil()),
        tenant: TenantId(2),
        event_type: EventType::parse("orders.paid").expect("is a type"),
        source: "/shop".to_owned(),
        external_id: None,
        accepted_at: chrono::DateTime::UNIX_EPOCH,
        data: Json::from_value(data),
        attributes: Attributes { source_service: Some("shop".to_owned()), ..Default::default() },
    }
}

fn tenant() -> Tenant {
    Tenant {
        id: TenantId(2),
        uuid: Uuid::nil(),
        slug: "acme".parse::<TenantSlug>().expect("is a slug"),
        name: "Acme".to_owned(),
        defs_version: 0,
        created_at: chrono::DateTime::UNIX_EPOCH,
    }
}

fn compiled(text: &str) -> Result<Expression<TextRegex, Cel>, CelError> {
    let Ok(Expression::Cel(text)) = Condition(json!(text)).parse() else {
        panic!("{text} is refused before it is parsed");
    };
    let env = standard_env();
    on_deep_stack(|| compile(&text, &env, &TextRegexes::default()))?
}

fn evaluated(text: &str, data: &Value) -> (Truth, String) {
    let expression = compiled(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let (event, tenant) = (event(data), tenant());
    let env: Arc<Env> = standard_env();
    expression.evaluate(&EventFacts::new(&event, &tenant, &env))
}

/// The library's own answer, without anything of ours.
fn reference(text: &str, data: &Value) -> Truth {
    let (event, tenant) = (event(data), tenant());
    let env = standard_env();
    let facts = EventFacts::new(&event, &tenant, &env);
    let program = env.compile(text).expect("compiles");
    match program.execute(facts.scope()) {
        Ok(cel::Value::Bool(answer)) => Ok(answer),
        _ => Err(Undecided),
    }
}

#[test]
fn expressions_mean_what_the_library_says() {
    let values = [
        json!({}),
        json!(null),
        json!([1, 2]),
        json!({"x": 1}),
        json!({"x": 1.0}),
        json!({"x": 1.5}),
        json!({"x": -1}),
        json!({"x": "a"}),
        json!({"x": "1"}),
        json!({"x": true}),
        json!({"x": false, "y": true}),
        json!({"x": null}),
        json!({"x": {"z": "a"}, "y": 5}),
        json!({"x": ["a", 1]}),
        json!({"x": {"z": null}}),
        json!({"x": u64::MAX}),
    ];
    let texts = [
        "event.data.x == 1",
        "1 == event.data.x",
        "event.data.x == 1.0",
        "event.data.x == 1u",
        "event.data.x != 'a'",
        "event.data.x == null",
        "event.data.x == true",
        "event.data.x",
        "!event.data.x",
        "event.data.x > 0",
        "0 < event.data.x",
        "event.data.x >= 1.5",
        "event.data.x <= -1",
        "event.data.x < 'b'",
        "event.data.x in [1, 'a', true]",
        "event.data['x'] == 'a'",
        "event.data.x['z'] == 'a'",
        "event.data.x.z == 'a'",
        "has(event.data.x)",
        "has(event.data.x.z)",
        "!has(event.data.x)",
        "event.data.x.matches('^a')",
        "matches(event.data.x, '1')",
        "event.data.x == 1 || event.data.y",
        "event.data.y || event.data.x == 1",
        "event.data.x == 1 && event.data.y == 5",
        "event.data.y == 5 && event.data.x == 1",
        "!(event.data.x == 1 && event.data.y)",
        "!(event.data.x == 1 || event.data.y)",
        "event.data.x == 1 && event.type == 'orders.paid'",
        "event.data.x == 1 && event.data.x == 1 && event.data.x != 2 && event.data.x != 3",
        "event.data.x + 1 == 2",
        "event.data.x.z.startsWith('a')",
        "event.data.x.exists(i, i == 'a')",
        "event.data.x == event.data.y",
        "event.data.x ? true : false",
        "has(event.data.x) && event.data.x == 1",
        "type(event.data.x) == int",
        "event.data == {'x': 1}",
    ];
    for text in texts {
        for data in &values {
            assert_eq!(evaluated(text, data).0, reference(text, data), "{text} with {data}");
        }
    }
}

#[test]
fn conditions_see_the_event_and_the_tenant() {
    let data = json!({"subscription_tier": "premium", "total": 12.5, "n": 3});
    for text in [
        "event.data.subscription_tier == 'premium'",
        "{{ event.data.subscription_tier == 'premium' }}",
        "event.type == 'orders.paid' && event.source == '/shop'",
        "event.source_service == 'shop' && !has(event.subject)",
        "tenant.slug == 'acme'",
        "event.data.n + 1 == 4 && event.data.total > 12",
        "event.time < timestamp('2000-01-01T00:00:00Z')",
        "size(event.data) == 3",
    ] {
        assert_eq!(evaluated(text, &data).0, Ok(true), "{text}");
    }
}

#[test]
fn notes_show_the_part_that_failed_with_its_values() {
    let data = json!({"name": "Bob", "tier": "free", "n": 1});
    let table = [
        ("event.data.tier == 'premium'", r#"data.tier = "premium", got "free""#),
        (
            "event.data.n == 1 && event.data.name.startsWith('A')",
            r#"event.data.name.startsWith('A') is false, with data.name = "Bob""#,
        ),
        (
            "(event.data.n + 1) * 2 > 5 && event.data.n == 1",
            "(event.data.n + 1) * 2 > 5 is false, with data.n = 1",
        ),
        ("event.data.age > 5", "data.age > 5 cannot be decided: data.age is missing"),
        ("event.data.tier > 5", "data.tier > 5 cannot be decided: data.tier is a text"),
        (
            "event.data.age + 1 > 5",
            "event.data.age + 1 > 5 cannot be decided: No such key: age, with data.age is missing",
        ),
        (
            "event.data.n + 1",
            "event.data.n + 1 cannot be decided: it gives a value of type int and not a bool, with data.n = 1",
        ),
    ];
    for (text, note) in table {
        let (truth, told) = evaluated(text, &data);
        assert_ne!(truth, Ok(true), "{text}");
        assert_eq!(told, note, "{text}");
    }
}

#[test]
fn refusals_say_where_and_what() {
    let at = |column| (Some(1), Some(column));
    let table = [
        (
            "steps.a.output == 1",
            at(1),
            "steps is known in workflows only; a condition here has event and tenant",
        ),
        ("event.data.x == foo", at(17), "foo is not known; a condition has event and tenant"),
        ("frob(event.data.x)", at(5), "there is no function frob with these arguments"),
        (
            "event.data.x.matches(event.data.y)",
            at(21),
            "matches takes its expression as a plain text",
        ),
        ("event.data.x.matches('(')", at(21), "not a regular expression: unclosed group"),
        (
            "event.data.x.all(a, event.data.y.all(b, a == b))",
            at(37),
            "a macro cannot stand inside of another one",
        ),
        (
            "event.data.x.exists(a, a.matches('b'))",
            at(33),
            "matches cannot stand inside of a macro",
        ),
    ];
    for (text, place, message) in table {
        let error = compiled(text).expect_err(text);
        assert_eq!(
            (error.message.as_str(), (error.line, error.column)),
            (message, place),
            "{text}"
        );
    }
    let error = compiled("event.data.x ==\n  == 1").expect_err("is malformed");
    assert_eq!((error.line, error.column), (Some(2), Some(3)), "{}", error.message);
}

/// None of these may end the process, whatever else comes of them.
#[test]
fn hostile_texts_are_refused_or_harmless() {
    let brackets = |open: &str, close: &str| format!("{}1{}", open.repeat(12), close.repeat(12));
    let hostile = [
        brackets("(", ")"),
        brackets("[", "]"),
        format!("{}1{}", "type(".repeat(12), ")".repeat(12)),
        format!("1{}", "+1".repeat(2_000)),
        format!("1{} == 1", " - 1".repeat(1_000)),
        format!("event{}", ".a".repeat(2_000)),
        format!("event{}", "[0]".repeat(1_300)),
        format!("{}true", "!".repeat(4_000)),
        format!("{}1 == 1", "-".repeat(4_000)),
        format!("{}true", "true?true:".repeat(400)),
        format!("true{}", " && true".repeat(500)),
        format!("true{}", "||true".repeat(600)),
        "[".repeat(12),
        "'".to_owned(),
        "a.?b".to_owned(),
        "`a`".to_owned(),
        "{1:".to_owned(),
        "has(1)".to_owned(),
        "has()".to_owned(),
        "[].all(1, 2)".to_owned(),
        "event.data.all(a)".to_owned(),
        "Foo{a: 1}".to_owned(),
        "\u{fffd} == 'ü'".to_owned(),
        "0x == 1".to_owned(),
        "999999999999999999999 == 1".to_owned(),
        "'\\u00' == ''".to_owned(),
        "b'\\xff' == b''".to_owned(),
        "1 / 0 == 1".to_owned(),
        "-9223372036854775808 - 1 == 0".to_owned(),
        "duration('1e400h') == duration('1s')".to_owned(),
        "timestamp('x') < timestamp('y')".to_owned(),
        "double('nan') == 1.0".to_owned(),
    ];
    for text in hostile {
        if let Ok(expression) = compiled(&text) {
            let (event, tenant) = (event(&json!({"a": 1})), tenant());
            let env = standard_env();
            let facts = EventFacts::new(&event, &tenant, &env);
            let (_, note): (Truth, String) = expression.evaluate(&facts);
            assert!(!note.is_empty() || matches!(expression, Expression::All(_)), "{text}");
        }
    }
}

#[test]
fn costly_expressions_are_not_started() {
    let long_list = json!({"x": vec![1; 1_001], "y": 1});
    let (truth, note) = evaluated("event.data.x.all(i, i == 1)", &long_list);
    assert_eq!(truth, Err(Undecided));
    assert!(note.contains("a list or map of 1001 items, and macros take at most 1000"), "{note}");

    let long_text = json!({"x": "a".repeat(1_000_000)});
    let doubling = "size(event.data.x".to_owned() + &" + event.data.x".repeat(20) + ") > 0";
    let (truth, note) = evaluated(&doubling, &long_text);
    assert_eq!(truth, Err(Undecided));
    assert!(note.contains("at most 16777216 are allowed"), "{note}");

    assert_eq!(evaluated("event.data.x.all(i, i == 1)", &json!({"x": vec![1; 1_000]})).0, Ok(true));
}

#[test]
fn a_macro_cannot_read_all_the_data_at_each_step() {
    let items = json!({ "items": vec![0; 1_000], "text": "a".repeat(1_000_000) });
    let costly = [
        "event.data.items.all(x, event.data == event.data && x == 0)",
        "event.data.items.all(x, event.data != event.data || x == 0)",
        "event.data.items.all(x, event.data.text <= event.data.text)",
        "event.data.items.all(x, x in event.data.items)",
        "event.data.items.all(x, event.data.text.contains('b') || x == 0)",
        "event.data.items.all(x, size(event.data.text) > x)",
        "event.data.items.all(x, string(event.data.text) != 'b')",
        "event.data.items.exists(x, (x == 0 ? event.data : event.data) != event.data)",
        "(event.data.items + event.data.items).all(x, x == 0)",
    ];
    for text in costly {
        let (truth, note) = evaluated(text, &items);
        assert_eq!(truth, Err(Undecided), "{text}");
        assert!(note.contains("is too costly"), "{text}: {note}");
    }
    let short = json!({ "text": "a".repeat(1_000_000) });
    let written = format!("[{}].all(x, event.data == event.data)", vec!["0"; 900].join(","));
    let (truth, note) = evaluated(&written, &short);
    assert_eq!(truth, Err(Undecided));
    assert!(note.contains("it may compare"), "{note}");
    let often = ["(event.data.text + 'a' != event.data.text)"; 9].join(" == ");
    assert_eq!(evaluated(&often, &short).0, Err(Undecided));
}

#[test]
fn a_macro_may_look_at_each_item_of_large_data() {
    let item = json!({ "sku": "a-1", "n": 1, "tags": ["x"], "text": "a".repeat(900) });
    let data = json!({ "items": vec![item; 1_000], "sku": "a-1" });
    for text in [
        "event.data.items.all(x, x.n == 1 && x.sku != 'b' && x.text.startsWith('a'))",
        "event.data.items.all(x, x.sku == event.data.sku)",
        "event.data.items.exists(x, 'x' in x.tags && x.sku in ['a-1', 'b-1'])",
        "event.data.items.all(x, size(x.text) == 900 && x['n'] < 2)",
    ] {
        assert_eq!(evaluated(text, &data).0, Ok(true), "{text}");
    }
}

#[test]
fn a_mistake_is_told_in_words_of_the_text() {
    let told = |text: &str| compiled(text).expect_err(text).message;
    assert_eq!(told("event.data.x =="), "at its end a value is expected");
    assert_eq!(told("event.data.x ==\n  == 1"), "at '==' a value is expected");
    assert_eq!(told("event.data.x == 1 # big"), "'#' means nothing in CEL");
    for text in ["(event.data.x", "[1, 2", "event.data.", "a ? b", "1 2", "has(", "{", "!"] {
        let message = told(text);
        for token in ["EOF", "IDENTIFIER", "NUM_", "input"] {
            assert!(!message.contains(token), "{text}: {message}");
        }
    }
}
