//! The matcher's index against a plain reading of the rules, over random definitions, changes
//! and events. The oracle here scans everything and shares no code with the product.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actions_domain::action::{Action, Health};
use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::execution::Priority;
use actions_domain::id::{ActionId, EventId, SubscriptionId, TenantId};
use actions_domain::json::Json;
use actions_domain::matching::explanation::{Explanation, Match};
use actions_domain::ports::definitions::Changes;
use actions_domain::ports::matcher::MatcherFactory;
use actions_domain::subscription::Subscription;
use actions_domain::tenant::{Tenant, TenantSlug};
use actions_infra::matching::IndexedMatcherFactory;
use chrono::DateTime;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

mod engine;

/// A condition in a form from which both the written text and the verdict follow.
#[derive(Debug, Clone)]
enum Rule {
    Always,
    /// JSON operators: a missing place simply does not compare.
    Json(Part),
    /// CEL: a missing place is an error, which counts as no.
    Cel(Part),
}

#[derive(Debug, Clone)]
enum Part {
    Equal(&'static str, Value),
    NotEqual(&'static str, Value),
    OneOf(&'static str, Vec<Value>),
    Above(&'static str, i64),
    Has(&'static str),
    Both(Box<Part>, Box<Part>),
    Either(Box<Part>, Box<Part>),
    Not(Box<Part>),
}

impl Part {
    fn to_json(&self) -> Value {
        match self {
            Self::Equal(path, value) => json!({*path: value}),
            Self::NotEqual(path, value) => json!({*path: {"$ne": value}}),
            Self::OneOf(path, values) => json!({*path: {"$in": values}}),
            Self::Above(path, bound) => json!({*path: {"$gt": bound}}),
            Self::Has(path) => json!({*path: {"$exists": true}}),
            Self::Both(left, right) => json!({"$and": [left.to_json(), right.to_json()]}),
            Self::Either(left, right) => json!({"$or": [left.to_json(), right.to_json()]}),
            Self::Not(part) => json!({"$not": part.to_json()}),
        }
    }

    fn to_cel(&self) -> String {
        match self {
            Self::Equal(path, value) => format!("event.data.{path} == {value}"),
            Self::NotEqual(path, value) => format!("{value} != event.data.{path}"),
            Self::OneOf(path, values) => format!("event.data.{path} in {}", json!(values)),
            Self::Above(path, bound) => format!("event.data.{path} > {bound}"),
            Self::Has(path) => format!("has(event.data.{path})"),
            Self::Both(left, right) => format!("({} && {})", left.to_cel(), right.to_cel()),
            Self::Either(left, right) => format!("({} || {})", left.to_cel(), right.to_cel()),
            Self::Not(part) => format!("!({})", part.to_cel()),
        }
    }

    /// `None`: an error of CEL.
    fn holds(&self, data: &Value, is_cel: bool) -> Option<bool> {
        let found = |path: &str| path.split('.').try_fold(data, |value, name| value.get(name));
        let same = |value: &Value, wanted: &Value| match (value.as_f64(), wanted.as_f64()) {
            (Some(value), Some(wanted)) => value == wanted,
            _ => value == wanted,
        };
        let missing = |answer| if is_cel { None } else { Some(answer) };
        match self {
            Self::Equal(path, wanted) => match found(path) {
                Some(value) => Some(same(value, wanted)),
                None => missing(false),
            },
            Self::NotEqual(path, wanted) => match found(path) {
                Some(value) => Some(!same(value, wanted)),
                None => missing(true),
            },
            Self::OneOf(path, wanted) => match found(path) {
                Some(value) => Some(wanted.iter().any(|wanted| same(value, wanted))),
                None => missing(false),
            },
            Self::Above(path, bound) => match found(path).and_then(Value::as_f64) {
                Some(number) => Some(number > *bound as f64),
                None => missing(false),
            },
            Self::Has(path) => {
                let parent = path.rsplit_once('.').map_or(Some(data), |(parent, _)| found(parent));
                match parent {
                    Some(Value::Object(_)) => Some(found(path).is_some()),
                    _ => missing(false),
                }
            }
            Self::Both(left, right) => {
                match (left.holds(data, is_cel), right.holds(data, is_cel)) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                }
            }
            Self::Either(left, right) => {
                match (left.holds(data, is_cel), right.holds(data, is_cel)) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                }
            }
            Self::Not(part) => part.holds(data, is_cel).map(|holds| !holds),
        }
    }
}

impl Rule {
    fn written(&self) -> Value {
        match self {
            Self::Always => Value::Null,
            Self::Json(part) => part.to_json(),
            Self::Cel(part) => Value::String(part.to_cel()),
        }
    }

    fn holds(&self, data: &Value) -> bool {
        match self {
            Self::Always => true,
            Self::Json(part) => part.holds(data, false) == Some(true),
            Self::Cel(part) => part.holds(data, true) == Some(true),
        }
    }
}

#[derive(Debug, Clone)]
struct ActionRow {
    patterns: Vec<String>,
    rule: Rule,
    priority: u8,
    is_active: bool,
    is_healthy: bool,
    is_installed: bool,
}

#[derive(Debug, Clone)]
struct SubscriptionRow {
    action: i32,
    pattern: String,
    rule: Rule,
    priority: u32,
    is_active: bool,
    users: Vec<u8>,
    services: Vec<&'static str>,
}

#[derive(Debug, Clone)]
enum Change {
    Action(i32, Option<ActionRow>),
    Subscription(u8, Option<SubscriptionRow>),
}

#[derive(Debug, Clone)]
struct Happened {
    words: Vec<&'static str>,
    data: Value,
    user: Option<u8>,
    service: Option<&'static str>,
    by_engine: bool,
}

const WORDS: [&str; 5] = ["a", "b", "ab", "users", "created"];
const PATHS: [&str; 4] = ["x", "y", "deep.x", "deep.y"];
const SERVICES: [&str; 2] = ["shop", "till"];

fn word() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&WORDS[..])
}

fn words() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(word(), 2..5)
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => word().prop_map(str::to_owned),
        2 => Just("*".to_owned()),
        1 => Just("?".to_owned()),
        1 => Just("a*".to_owned()),
        1 => Just("*d".to_owned()),
        1 => Just("USER?".to_owned()),
    ];
    let glob = proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("."));
    let regex = proptest::sample::select(vec![
        r"/users\.(a|b)/",
        r"^users\..+",
        r"/.+\.created/",
        r"/(a|b)\.(a|b|users)(\.\w+)?/",
        r"A\.B\.?.*$",
        r"/users\..*|a\.b/",
        r"/[^.]+\.[^.]+/",
    ]);
    prop_oneof![
        3 => words().prop_map(|words| words.join(".")),
        4 => glob,
        2 => regex.prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0_i64..4).prop_map(|number| json!(number)),
        (0_i64..4).prop_map(|number| json!(number as f64)),
        Just(json!(1.5)),
        Just(json!("1")),
        Just(json!("v")),
        any::<bool>().prop_map(|flag| json!(flag)),
        Just(Value::Null),
    ]
}

fn path() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&PATHS[..])
}

fn part() -> impl Strategy<Value = Part> {
    let leaf = prop_oneof![
        4 => (path(), value()).prop_map(|(path, value)| Part::Equal(path, value)),
        1 => (path(), value()).prop_map(|(path, value)| Part::NotEqual(path, value)),
        1 => (path(), proptest::collection::vec(value(), 0..4))
            .prop_map(|(path, values)| Part::OneOf(path, values)),
        1 => (path(), 0_i64..4).prop_map(|(path, bound)| Part::Above(path, bound)),
        1 => path().prop_map(Part::Has),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let pair = (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        let other = (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            3 => pair.prop_map(|(left, right)| Part::Both(left, right)),
            1 => other.prop_map(|(left, right)| Part::Either(left, right)),
            1 => inner.prop_map(|part| Part::Not(Box::new(part))),
        ]
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        2 => Just(Rule::Always),
        2 => part().prop_map(Rule::Json),
        2 => part().prop_map(Rule::Cel),
    ]
}

fn mostly() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.9)
}

fn action_row() -> impl Strategy<Value = ActionRow> {
    let patterns = proptest::collection::vec(pattern(), 0..3);
    (patterns, rule(), 0_u8..5, mostly(), mostly(), mostly()).prop_map(
        |(patterns, rule, priority, is_active, is_healthy, is_installed)| ActionRow {
            patterns,
            rule,
            priority,
            is_active,
            is_healthy,
            is_installed,
        },
    )
}

fn subscription_row() -> impl Strategy<Value = SubscriptionRow> {
    let users = prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(0_u8..3, 1..3)];
    let services = prop_oneof![3 => Just(vec![]), 1 => proptest::sample::subsequence(SERVICES.to_vec(), 1..=2)];
    (0..6, pattern(), rule(), 0_u32..3, mostly(), users, services).prop_map(
        |(action, pattern, rule, priority, is_active, users, services)| SubscriptionRow {
            action,
            pattern,
            rule,
            priority,
            is_active,
            users,
            services,
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let kept = |chance| proptest::bool::weighted(chance);
    prop_oneof![
        1 => (0..6, kept(0.85), action_row())
            .prop_map(|(id, kept, row)| Change::Action(id, kept.then_some(row))),
        3 => (0_u8..24, kept(0.8), subscription_row())
            .prop_map(|(id, kept, row)| Change::Subscription(id, kept.then_some(row))),
    ]
}

fn data() -> impl Strategy<Value = Value> {
    let member = || proptest::option::of(value());
    let deep = prop_oneof![3 => (member(), member()).prop_map(|(x, y)| Some(object(x, y))),
        1 => proptest::option::of(value())];
    (member(), member(), deep).prop_map(|(x, y, deep)| {
        let mut data = object(x, y);
        if let (Some(deep), Some(members)) = (deep, data.as_object_mut()) {
            members.insert("deep".to_owned(), deep);
        }
        data
    })
}

fn object(x: Option<Value>, y: Option<Value>) -> Value {
    let members = [("x", x), ("y", y)].into_iter();
    members.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn happened() -> impl Strategy<Value = Happened> {
    let service = proptest::option::of(proptest::sample::select(&SERVICES[..]));
    let user = proptest::option::of(0_u8..3);
    (words(), data(), user, service, proptest::bool::weighted(0.2)).prop_map(
        |(words, data, user, service, by_engine)| Happened {
            words,
            data,
            user,
            service,
            by_engine,
        },
    )
}

/// The rules, read plainly.
#[derive(Default)]
struct Oracle {
    actions: BTreeMap<i32, ActionRow>,
    subscriptions: BTreeMap<u8, SubscriptionRow>,
}

impl Oracle {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Action(id, Some(row)) => {
                self.actions.insert(*id, row.clone());
            }
            Change::Action(id, None) => {
                self.actions.remove(id);
            }
            Change::Subscription(id, Some(row)) => {
                self.subscriptions.insert(*id, row.clone());
            }
            Change::Subscription(id, None) => {
                self.subscriptions.remove(id);
            }
        }
    }

    fn matches(&self, event: &Happened) -> Vec<Match> {
        let mut found = Vec::new();
        for (id, action) in &self.actions {
            let is_on = action.is_active && action.is_healthy && action.is_installed;
            if !is_on || !action.rule.holds(&event.data) {
                continue;
            }
            let subscribed = self.subscriptions.iter().filter(|(_, row)| {
                row.action == *id && row.is_active && row.fits(event) && row.rule.holds(&event.data)
            });
            let best = subscribed.max_by_key(|(id, row)| (row.priority, Reverse(**id)));
            let own = action.patterns.iter().any(|pattern| pattern_fits(pattern, event));
            if best.is_some() || own {
                let priority = best.map_or(0, |(_, row)| row.priority);
                let subscription = best.map(|(id, _)| subscription_id(*id));
                let found_one = Match { action: ActionId(*id), subscription };
                found.push((Reverse(action.priority), Reverse(priority), *id, found_one));
            }
        }
        found.sort_by_key(|(action, subscription, id, _)| (*action, *subscription, *id));
        found.into_iter().map(|(_, _, _, found)| found).collect()
    }
}

impl SubscriptionRow {
    fn fits(&self, event: &Happened) -> bool {
        let user =
            self.users.is_empty() || event.user.is_some_and(|user| self.users.contains(&user));
        let service = self.services.is_empty()
            || event.service.is_some_and(|service| self.services.contains(&service));
        user && service && pattern_fits(&self.pattern, event)
    }
}

/// Every glob is some regular expression.
fn pattern_fits(pattern: &str, event: &Happened) -> bool {
    let is_regex = pattern.starts_with(['/', '^']) || pattern.ends_with('$');
    let source = if is_regex { pattern.trim_matches('/').to_owned() } else { glob_source(pattern) };
    let regex = regex::Regex::new(&format!("(?i)^(?:{source})$")).expect("is an expression");
    let names_first = if is_regex {
        let named = format!(r"{}\.", event.words[0]);
        source.trim_start_matches('^').starts_with(&named) && !source.contains(r".*|")
            || source == r"A\.B\.?.*$" && event.words[0] == "a"
    } else {
        pattern.split('.').next().is_some_and(|word| word.eq_ignore_ascii_case(event.words[0]))
    };
    regex.is_match(&event.words.join(".")) && (!event.by_engine || names_first)
}

fn glob_source(pattern: &str) -> String {
    if pattern == "*" {
        return ".+".to_owned();
    }
    let parts: Vec<&str> = pattern.split('.').collect();
    let last = parts.len() - 1;
    let part = |(at, part): (usize, &&str)| match *part {
        "*" if at == 0 || at == last => r"[^.]+(?:\.[^.]+)*".to_owned(),
        "*" => "[^.]+".to_owned(),
        part => part.replace('?', "[^.]").replace('*', "[^.]*"),
    };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().join(r"\.")
}

fn subscription_id(id: u8) -> SubscriptionId {
    SubscriptionId(Uuid::from_u128(u128::from(id)))
}

fn user_id(user: u8) -> Uuid {
    Uuid::from_u128(1_000 + u128::from(user))
}

fn to_action(id: i32, row: Option<&ActionRow>) -> Action {
    let spec = match row {
        Some(row) => json!({
            "name": format!("action_{id}"), "action_type": "custom",
            "handler": if row.is_installed { "on.here" } else { "not.here" },
            "event_patterns": row.patterns, "conditions": row.rule.written(),
            "is_active": row.is_active,
        }),
        None => {
            json!({"name": format!("action_{id}"), "action_type": "custom", "handler": "on.here"})
        }
    };
    let mut action = Action {
        id: ActionId(id),
        tenant: TenantId(2),
        uuid: Uuid::nil(),
        spec: serde_json::from_value(spec).expect("is an action"),
        health: Health::default(),
        version: 1,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        deleted: row.is_none(),
    };
    if let Some(row) = row {
        action.spec.priority = Priority::from_rank(row.priority).expect("is a rank");
        action.health.is_healthy = row.is_healthy;
    }
    action
}

fn to_subscription(id: u8, row: Option<&SubscriptionRow>) -> Subscription {
    let spec = match row {
        Some(row) => json!({
            "event_pattern": row.pattern, "conditions": row.rule.written(),
            "priority": row.priority, "is_active": row.is_active,
            "user_filter": row.users.iter().map(|user| user_id(*user)).collect::<Vec<_>>(),
            "source_service_filter": row.services,
        }),
        None => json!({"event_pattern": "a.b"}),
    };
    Subscription {
        id: subscription_id(id),
        tenant: TenantId(2),
        action: ActionId(row.map_or(0, |row| row.action)),
        spec: serde_json::from_value(spec).expect("is a subscription"),
        version: 1,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        deleted: row.is_none(),
    }
}

fn to_event(event: &Happened) -> Event {
    Event {
        id: EventId(Uuid::nil()),
        tenant: TenantId(2),
        event_type: EventType::parse(&event.words.join(".")).expect("is a type"),
        source: "/test".to_owned(),
        external_id: None,
        accepted_at: DateTime::UNIX_EPOCH,
        data: Json::from_value(&event.data),
        attributes: Attributes {
            user_id: event.user.map(user_id),
            source_service: event.service.map(str::to_owned),
            by_engine: event.by_engine,
            ..Attributes::default()
        },
    }
}

fn to_changes(changes: &[Change], version: i64) -> Changes {
    // What a store hands out holds each definition once, in its last state.
    let mut actions = BTreeMap::new();
    let mut subscriptions = BTreeMap::new();
    for change in changes {
        match change {
            Change::Action(id, row) => {
                actions.insert(*id, to_action(*id, row.as_ref()));
            }
            Change::Subscription(id, row) => {
                subscriptions.insert(*id, to_subscription(*id, row.as_ref()));
            }
        }
    }
    Changes {
        version,
        actions: actions.into_values().map(Arc::new).collect(),
        subscriptions: subscriptions.into_values().map(Arc::new).collect(),
        ..Changes::default()
    }
}

fn tenant() -> Tenant {
    Tenant {
        id: TenantId(2),
        uuid: Uuid::nil(),
        slug: "acme".parse::<TenantSlug>().expect("is a slug"),
        name: "Acme".to_owned(),
        defs_version: 0,
        created_at: DateTime::UNIX_EPOCH,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_index_finds_what_a_scan_finds_and_explains_the_same(
        rounds in proptest::collection::vec(
            (proptest::collection::vec(change(), 1..20), proptest::collection::vec(happened(), 1..8)),
            1..5,
        ),
    ) {
        let factory = IndexedMatcherFactory::new(Arc::new(|handler| handler.as_str() == "on.here"));
        let mut matcher = factory.empty(&tenant());
        let mut oracle = Oracle::default();
        for (version, (changes, events)) in (1..).zip(&rounds) {
            changes.iter().for_each(|change| oracle.apply(change));
            matcher.apply(&to_changes(changes, version));
            for happened in events {
                let event = to_event(happened);
                let matches = matcher.matches(&event);
                prop_assert_eq!(&matches, &oracle.matches(happened), "{:?}", happened);

                let told = matcher.explain(&event);
                let explained: BTreeSet<i32> =
                    told.iter().filter(|told| told.matched).map(|told| told.action_id.0).collect();
                let matched: BTreeSet<i32> = matches.iter().map(|found| found.action.0).collect();
                prop_assert_eq!(explained, matched);
                prop_assert!(told.iter().all(|told| !told.because.is_empty()));
                let agree = |told: &Explanation| {
                    told.matched == told.checks.iter().all(|check| check.passed)
                };
                prop_assert!(told.iter().all(agree), "a verdict differs from its checks");
            }
        }
    }

    #[test]
    fn every_condition_that_is_written_is_accepted_at_the_door(rule in rule()) {
        let factory = IndexedMatcherFactory::new(Arc::new(|_| true));
        let condition = actions_domain::matching::condition::Condition(rule.written());
        prop_assert_eq!(factory.check(None, &condition), Ok(()));
    }
}
