//! What reads texts of strangers, over texts that were made to break it: each is read or refused,
//! soon, and nothing panics. The interface as a whole is treated so in `api::hostile`.

use std::collections::BTreeSet;
use std::sync::Arc;

use actions_app::durations::parse_duration;
use actions_app::filter::Filter;
use actions_app::timetable::Timetable;
use actions_domain::action::{Action, HandlerId, Health};
use actions_domain::api_key::Token;
use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::flow::expression::Syntax;
use actions_domain::id::{ActionId, EventId, TenantId};
use actions_domain::json::Json;
use actions_domain::matching::condition::Condition;
use actions_domain::matching::pattern::Pattern;
use actions_domain::ports::definitions::Changes;
use actions_domain::ports::matcher::MatcherFactory;
use actions_domain::ports::pull_queue::{ClaimToken, QueueName};
use actions_domain::schedule::When;
use actions_domain::tenant::{Tenant, TenantSlug};
use actions_domain::trace::TraceParent;
use actions_infra::matching::IndexedMatcherFactory;
use chrono::DateTime;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::engine::TestEngine;
use crate::support::mutator::mutated_tree;
use crate::support::mutator::{Chance, NAUGHTY, each_case, each_case_of, mutated, mutated_text};

fn tenant() -> Tenant {
    Tenant {
        id: TenantId(2),
        uuid: Uuid::nil(),
        slug: "acme".parse::<TenantSlug>().unwrap(),
        name: "Acme".to_owned(),
        defs_version: 0,
        created_at: DateTime::UNIX_EPOCH,
    }
}

fn event(event_type: &str, data: &Value) -> Event {
    Event {
        id: EventId(Uuid::nil()),
        tenant: TenantId(2),
        event_type: EventType::parse(event_type).unwrap(),
        source: "/test".to_owned(),
        external_id: None,
        accepted_at: DateTime::UNIX_EPOCH,
        data: Json::from_value(data),
        attributes: Attributes::default(),
    }
}

fn compiler() -> IndexedMatcherFactory {
    IndexedMatcherFactory::new(Arc::new(|_: &HandlerId| true))
}

/// Lets an action with these words meet an event, after both were let in.
fn meet(compiler: &IndexedMatcherFactory, pattern: &Pattern, condition: &Condition, event: &Event) {
    let spec = json!({
        "name": "a", "action_type": "custom", "handler": "on.here",
        "event_patterns": [pattern.as_str()], "conditions": condition.0,
    });
    let action = Action {
        id: ActionId(1),
        tenant: TenantId(2),
        uuid: Uuid::nil(),
        spec: serde_json::from_value(spec).unwrap(),
        health: Health::default(),
        version: 1,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        deleted: false,
    };
    let mut matcher = compiler.empty(&tenant());
    matcher.apply(&Changes { version: 1, actions: vec![Arc::new(action)], ..Changes::default() });
    let matched = !matcher.matches(event).is_empty();
    let explained = matcher.explain(event).iter().any(|way| way.matched);
    assert_eq!(matched, explained, "{pattern:?} {condition:?}");
}

#[tokio::test]
async fn whatever_comes_as_an_event_is_read_or_refused() {
    let engine = TestEngine::start().await;
    let seeds = [
        r#"{"type":"users.created","data":{"id":17,"name":"Ann","tags":["a","b"]}}"#,
        r#"{"specversion":"1.0","type":"a.b","source":"/s","id":"1","time":"2026-01-01T00:00:00Z","subject":"x","data":{"n":1.5e3}}"#,
        r#"{"specversion":"1.0","type":"a.b","source":"s","id":"2","datacontenttype":"text/plain","data_base64":"aGVsbG8="}"#,
        r#"{"type":"a.b","source":"s","external_id":"e","user_id":"0190000000007000800000000000000a","priority":"high","delay":"5m","event_version":2,"data":null}"#,
        r#"{"type":"a.b","metadata":{"k":"v"},"correlation_id":"c","data":"\u00e9\ud83e\udd80\n"}"#,
    ];
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\u0000",
        "\\ud800",
        "null",
        "true",
        "1e400",
        "-",
        "\"type\":",
        "\"data\":",
        "\"data_base64\":",
        "\"specversion\":\"1.0\",",
        "\"delay\":\"",
        "\"run_at\":\"",
        "\"time\":\"",
        "\"traceparent\":\"",
        "\"extensions\":",
        "1.",
    ];
    let (mut read, tenant) = (0, tenant());
    each_case("events", 20_000, |mut chance| {
        let text = mutated(&mut chance, &seeds, &words);
        match actions::stream_event(&engine.app, &tenant, &text) {
            Ok(event) => {
                read += 1;
                // What was let in can be written and read again.
                assert_eq!(Json::parse(event.data.as_str()), Ok(event.data));
            }
            Err(message) => assert!(!message.is_empty()),
        }
    });
    assert!(read > 500, "hardly anything was let in: {read}");
}

const PATTERNS: [&str; 10] = [
    "users.created",
    "users.*",
    "**",
    "a.**.b",
    "*.created",
    "user?.cr*ted",
    "/^users\\..*$/",
    "/(a|b){1,9}\\.[a-z]+/",
    "/\\p{L}+\\.(?i:x)/",
    "a.b.c.d.e.f.g",
];
const PATTERN_WORDS: [&str; 24] = [
    "*",
    "**",
    "?",
    ".",
    "/",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "|",
    "^",
    "$",
    "\\",
    "{1000}",
    "{1,}",
    "(?:",
    "(?i)",
    "\\p{Any}",
    "\\b",
    "[^a]",
    "a{9}{9}{9}",
    "(?P<n>",
];

#[test]
fn whatever_comes_as_a_pattern_is_compiled_or_refused() {
    let compiler = compiler();
    let event = event("users.created", &json!({}));
    let mut compiled = 0;
    each_case("patterns", 10_000, |mut chance| {
        let text = mutated_text(&mut chance, &PATTERNS, &PATTERN_WORDS);
        let Ok(pattern) = Pattern::parse(&text) else { return };
        if compiler.check(Some(&pattern), &Condition::default()).is_ok() {
            compiled += 1;
            meet(&compiler, &pattern, &Condition::default(), &event);
        }
    });
    assert!(compiled > 500, "{compiled}");
}

fn data(chance: &mut Chance) -> Value {
    let seed = json!({
        "total": 250, "tier": "premium", "tags": ["a", "b"], "user": { "name": "Ann", "age": 17 },
        "at": "2026-01-01T00:00:00Z", "none": null, "deep": { "er": [{ "x": 1 }] },
    });
    if chance.one_in(3) { seed } else { mutated_tree(chance, &seed) }
}

#[test]
fn whatever_comes_as_a_json_condition_is_compiled_or_refused() {
    let compiler = compiler();
    let pattern = Pattern::parse("a.*").unwrap();
    let seeds = [
        json!({ "total": { "$gte": 100 }, "tier": "premium" }),
        json!({ "$or": [{ "user.age": { "$lt": 18 } }, { "tags": { "$contains": "a" } }] }),
        json!({ "user.name": { "$regex": "^A.*n$" }, "none": { "$exists": true } }),
        json!({ "$not": { "$and": [{ "tier": { "$in": ["a", 1, null] } }, { "total": { "$ne": 5 } }] } }),
        json!([{ "field": "total", "operator": "gt", "value": 100 }]),
        json!({ "total": { "$nin": [1, 2.5, 9_007_199_254_740_993_u64] } }),
    ];
    let mut compiled = 0;
    each_case("json conditions", 10_000, |mut chance| {
        let seed = &seeds[chance.below(seeds.len())];
        let condition = Condition(mutated_tree(&mut chance, seed));
        if compiler.check(None, &condition).is_ok() {
            compiled += 1;
            let event = event("a.b", &data(&mut chance));
            meet(&compiler, &pattern, &condition, &event);
        }
    });
    assert!(compiled > 500, "{compiled}");
}

#[test]
fn whatever_comes_as_cel_is_compiled_or_refused() {
    let compiler = compiler();
    let pattern = Pattern::parse("a.*").unwrap();
    let seeds = [
        "event.data.total >= 100 && event.data.tier == 'premium'",
        "event.data.tags.exists(t, t == 'a') || size(event.data.tags) > 3",
        "has(event.data.user.name) && event.data.user.name.startsWith('A')",
        "event.data.tags.all(t, t in ['a', 'b', \"c\"]) ? true : !false",
        "event.type.matches('^a\\\\.b$') && int(event.data.total) % 7 == 5",
        "event.data.deep.er.map(x, x.x + 1).filter(y, y > 1).size() == 1",
        "timestamp(event.data.at) < timestamp('2027-01-01T00:00:00Z')",
        "{'a': [1, 2.5, -3u]}.a[0] == 1 && b'x' != b'y' && dyn(null) == null",
        "duration('5m') > duration('1s') && string(1) + 'x' == '1x'",
    ];
    let words = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        "?",
        ":",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "&&",
        "||",
        "==",
        "!=",
        "<",
        ">",
        "in",
        "null",
        "true",
        "event",
        "event.data",
        ".map(x, x)",
        ".all(x, true)",
        ".exists(x, x.",
        "size(",
        "'",
        "\"",
        "'''",
        "r'",
        "b'",
        "0x",
        "1u",
        "1e9",
        "\\u0000",
        "\\",
        "9223372036854775807",
        "-9223372036854775808",
        "duration('9e9h')",
        "timestamp('",
        "matches('(a+)+$')",
        "[1,2,3]",
        "{1:2}",
        "'a'+'b'",
        "// x\n",
        "{{",
        "}}",
    ];
    let mut compiled = 0;
    each_case("cel", 6_000, |mut chance| {
        let text = mutated_text(&mut chance, &seeds, &words);
        let condition = Condition(json!(text));
        if compiler.check(None, &condition).is_ok() {
            compiled += 1;
            let event = event("a.b", &data(&mut chance));
            meet(&compiler, &pattern, &condition, &event);
        }
    });
    assert!(compiled > 100, "{compiled}");
}

#[test]
fn whatever_comes_as_a_file_of_definitions_is_read_or_refused() {
    let seeds = [
        "actions:\n  - name: welcome\n    action_type: email\n    handler: email.template\n    config: { country: no, zip: 0123 }\n    event_patterns: [users.created, \"users.*\"]\n    subscriptions:\n      - event_pattern: users.imported\nsubscriptions:\n  - action: welcome\n    name: invited\n    event_pattern: users.invited\n",
        "# comment\nactions:\n- name: 'a'\n  action_type: custom\n  handler: a.b\n  conditions: |\n    event.data.total > 1 &&\n    true\n  config: &base {x: [1, 2.5, ~, true], y: \"\\u00e9\"}\n- name: b\n  action_type: webhook\n  handler: webhook.http\n  config: *base\n",
        "---\nactions:\n  - {name: c, action_type: sms, handler: sms.twilio, priority: high, retry_policy: {max_retries: 3, backoff: exponential}}\n...\n",
    ];
    let words = [
        ":",
        "-",
        "  ",
        "\n",
        "\n  - ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "!!str ",
        "!!binary ",
        "<<: *base",
        "|",
        ">",
        "|+\n",
        "'",
        "\"",
        "#",
        "%YAML 1.1\n",
        "---\n",
        "...\n",
        "?",
        "~",
        "yes",
        "0o17",
        "0x1F",
        ".inf",
        ".nan",
        "1_000",
        "2026-01-01",
        "\t",
        "@",
        "`",
        "\u{feff}",
        "actions:\n",
        "name: ",
        "subscriptions:\n",
        "&a [*a, *a, *a]",
        "\\x",
        "\"\\ud800\"",
    ];
    let mut read = 0;
    each_case("yaml", 6_000, |mut chance| {
        let text = mutated_text(&mut chance, &seeds, &words);
        match actions::check_definition_file(&text) {
            Ok(_) => read += 1,
            Err(mistakes) => assert!(!mistakes.is_empty()),
        }
    });
    assert!(read > 100, "{read}");
}

/// Texts of any kind are right; what is judged is the reading.
struct Unjudged;

impl Syntax for Unjudged {
    fn expression(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn template(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn whatever_comes_as_a_workflow_is_read_or_refused_with_its_place() {
    let seeds = [
        "action: orders.fulfil\non: [orders.paid, { event: 'orders.*', when: event.data.total > 5 }]\nsteps:\n  - reserve: { action: stock.reserve, with: { id: '{{ event.id }}' }, undo: { action: stock.release } }\n  - pack: { each: '{{ event.items }}', action: pack, limit: 5, failures_max: 1, after: reserve }\n  - poll: { handler: http.request, after: pack, until: output.ok, every: 30s, rounds: 20 }\n  - ask: { approval: { signal: manager, count: 2, otherwise: refuse }, timeout: 3 days, after: poll }\n  - refuse: { action: refuse }\non_failure: { strategy: compensate, max_total_retries: 5, then: review }\nconcurrency: { max: 1, key: 'a:{event.id}', when_full: skip }\n",
        "action:\n  name: onboarding\n  triggers:\n    - event_pattern: users.created\n      conditions: [\"event.data.tier == 'premium'\"]\n  workflow:\n    steps:\n      - name: check\n        handler: validation.user\n        input_mapping: { user: '{{ event.data }}' }\n        retry_policy: { max_retries: 3, backoff: exponential }\n      - name: choose\n        choose: [{ if: event.vip, then: late }, { then: soon }]\n        depends_on: [check]\n      - { name: late, wait: 2 hours }\n      - { name: soon, gate: any, parallel_with: [late] }\n  error_handling: { strategy: retry_then_deadletter, max_total_retries: 5, deadletter_action: review }\n",
    ];
    let words = [
        ":",
        "-",
        "  ",
        "\n",
        "\n  - ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "'",
        "\"",
        "?",
        "~",
        "9",
        "-1",
        "1e99",
        ".nan",
        "2 hours",
        "{{",
        "}}",
        "after: check",
        "after: [poll]",
        "requires: x",
        "produces: x",
        "count: 99",
        "delay: 1h",
        "action: a",
        "version: 2",
    ];
    let mut read = 0;
    each_case("workflow", 6_000, |mut chance| {
        let text = mutated_text(&mut chance, &seeds, &words);
        match actions::read_workflow(&text, &Unjudged) {
            Ok(_) => read += 1,
            Err(mistakes) => {
                let lines = u64::try_from(text.split('\n').count()).unwrap();
                let is_placed = |line| (1..=lines + 1).contains(&line);
                assert!(!mistakes.is_empty());
                assert!(mistakes.iter().all(|one| is_placed(one.line) && one.column > 0), "{text}");
            }
        }
    });
    assert!(read > 100, "{read}");
}

#[test]
fn a_small_file_cannot_become_large() {
    let levels = (1..40).map(|n| {
        format!("  l{n}: &l{n} [{}]\n", ["*l"; 9].map(|l| format!("{l}{}", n - 1)).join(", "))
    });
    let laughs = format!(
        "actions:\n- name: a\n  action_type: custom\n  handler: a.b\n  config:\n   x:\n  l0: &l0 [x]\n{}",
        levels.collect::<String>()
    );
    let bombs = [
        laughs,
        format!("actions: {}{}", "[".repeat(5_000), "]".repeat(5_000)),
        format!("actions: {}", "{a: ".repeat(5_000)),
        format!(
            "actions:\n{}",
            (0..5_000).map(|n| format!("{}-\n", " ".repeat(n))).collect::<String>()
        ),
        format!("actions:\n- &a {{name: a}}\n{}", "- *a\n".repeat(100_000)),
        format!("? {}", "? ".repeat(20_000)),
        format!("actions: !!binary {}", "A".repeat(1_000_000)),
        format!("actions: {}", "!t ".repeat(50_000)),
    ];
    for bomb in bombs {
        let mistakes = actions::check_definition_file(&bomb).unwrap_err();
        assert!(!mistakes.is_empty(), "{:.60}", bomb);
        assert!(actions::read_workflow(&bomb, &Unjudged).is_err(), "{:.60}", bomb);
    }
}

#[tokio::test]
async fn whatever_comes_as_a_template_is_rendered_or_refused() {
    let registry = crate::handlers::handlers();
    let alert = crate::handlers::find(&registry, "monitoring.alert");
    let mail = crate::handlers::find(&registry, "email.template");
    let seeds = [
        "Hello {{ data.user.name|upper }}, {{ tenant.slug }}",
        "{% for tag in data.tags %}{{ loop.index }}: {{ tag }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "{% if data.total > 100 and data.tier == 'premium' %}a{% elif data.total is defined %}b{% else %}c{% endif %}",
        "{{ data.none|default('x')|title }} {{ data|tojson }} {{ data.tags|first ~ data.tags|last }}",
        "{# comment #}{% raw %}{{ x }}{% endraw %}{{ data.tags|length + 1 }} {{ data['total'] // 7 }}",
        "{{ data.user['name'][0:2] }}{{ [1, 2, {'a': 3}]|length }}{{ data.total|round }}",
    ];
    let words = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{{-",
        "-%}",
        "|",
        "~",
        "+",
        "-",
        "*",
        "**",
        "//",
        "%",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        ":",
        "'",
        "\"",
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "endif",
        "for x in data.tags",
        "endfor",
        "set x = x ~ x",
        "macro m()",
        "include 'x'",
        "import 'x' as y",
        "block b",
        "autoescape false",
        "with",
        "call",
        "filter",
        "|tojson",
        "|upper",
        "|default(",
        "|replace('a','aa')",
        "range(1000000)",
        "loop.cycle(",
        "self",
        "super()",
        "__class__",
        "namespace()",
        "debug()",
        "'A' * 99999999",
        "data",
        "1e400",
        "9223372036854775807",
        "-9223372036854775808",
    ];
    let (mut rendered, mut codes) = (0, BTreeSet::new());
    each_case_of("templates", 6_000, async |mut chance| {
        let text = mutated_text(&mut chance, &seeds, &words);
        let config = json!({ "message": text });
        let input = data(&mut chance);
        let is_fit = alert.check_config(&config).errors.is_empty();
        let html = json!({
            "smtp_host": "mail.test", "from_email": "a@b.test", "subject": "x", "html": text,
        });
        assert_eq!(mail.check_config(&html).errors.is_empty(), is_fit, "{text:?}");
        let call = crate::handlers::job(config, input);
        match alert.execute(&call).await {
            actions_domain::execution::Outcome::Done(_) => {
                assert!(is_fit, "{text:?} was rendered, though it is no template");
                rendered += 1;
            }
            actions_domain::execution::Outcome::Reject(fault) => {
                // Only what no check can foresee fails when it is rendered.
                assert!(is_fit != (fault.code == "template.invalid"), "{text:?} {fault:?}");
                codes.insert(fault.code);
            }
            actions_domain::execution::Outcome::Retry(fault) => panic!("{text:?} {fault:?}"),
        }
    })
    .await;
    assert!(rendered > 100, "{rendered}");
    let known = ["template.failed", "template.invalid", "template.undefined"];
    assert_eq!(codes.iter().map(String::as_str).collect::<Vec<_>>(), known);
}

#[test]
fn whatever_comes_as_a_small_word_is_read_or_refused() {
    let seeds = [
        "act_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "status:failed -action:email.* attempts>2 since:1h \"two words\" id:a,b until:2026-01-01",
        "500ms",
        "7d",
        "18446744073709551615d",
        "0 9 * * MON-FRI",
        "*/5 0-23/2 L * ?",
        "0 0 29 2 *",
        "59 59 23 31 12 7",
        "@daily",
        "0190f0aa-0000-7000-8000-000000000001.17",
        "orders-eu.1_x",
        "users.created",
        "tenant_acme",
        "acme",
        "email.template",
    ];
    let words = [
        "-", ":", ".", "_", "*", "/", ",", "L", "#", "?", "W", "MON", "JAN", "0", "9", "60",
        "act_", "\"", "<", ">", ">=", "!", " ", "since:", "until:", "d", "ms", "\u{e9}", "\0",
    ];
    each_case("words", 40_000, |mut chance| {
        let text = if chance.one_in(20) {
            chance.pick(NAUGHTY).to_owned()
        } else {
            mutated_text(&mut chance, &seeds, &words)
        };
        let _ = Token::parse(&text);
        let _ = TraceParent::parse(&text);
        let _ = Filter::parse(&text);
        let _ = parse_duration(&text);
        let _ = ClaimToken::parse(&text);
        let _ = QueueName::parse(&text);
        let _ = EventType::parse(&text);
        let _ = HandlerId::parse(&text);
        let _ = text.parse::<TenantSlug>();
        let when = When::Cron { text: text.clone(), timezone: "Europe/Berlin".to_owned() };
        if let Ok(timetable) = Timetable::new(&when) {
            let next = timetable.after(DateTime::UNIX_EPOCH);
            assert!(next.is_none_or(|next| next > DateTime::UNIX_EPOCH), "{text:?} {next:?}");
        }
    });
}
