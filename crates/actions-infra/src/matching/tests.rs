use std::sync::Arc;

use actions_domain::action::{Action, ActionSpec, Health};
use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::id::{ActionId, EventId, SubscriptionId, TenantId};
use actions_domain::json::Json;
use actions_domain::matching::condition::Condition;
use actions_domain::matching::pattern::Pattern;
use actions_domain::ports::definitions::Changes;
use actions_domain::ports::matcher::{MatchError, Matcher, MatcherFactory};
use actions_domain::subscription::{Subscription, SubscriptionSpec};
use actions_domain::tenant::{Tenant, TenantSlug};
use serde_json::{Value, json};
use uuid::Uuid;

use super::IndexedMatcherFactory;

const ANN: Uuid = Uuid::from_u128(77);

fn factory() -> IndexedMatcherFactory {
    IndexedMatcherFactory::new(Arc::new(|handler| handler.as_str() != "not.installed"))
}

fn matcher(actions: Vec<Action>, subscriptions: Vec<Subscription>) -> Box<dyn Matcher> {
    let tenant = Tenant {
        id: TenantId(2),
        uuid: Uuid::nil(),
        slug: "acme".parse::<TenantSlug>().expect("is a slug"),
        name: "Acme".to_owned(),
        defs_version: 0,
        created_at: chrono::DateTime::UNIX_EPOCH,
    };
    let mut matcher = factory().empty(&tenant);
    matcher.apply(&changes(1, actions, subscriptions));
    matcher
}

fn changes(version: i64, actions: Vec<Action>, subscriptions: Vec<Subscription>) -> Changes {
    Changes {
        version,
        actions: actions.into_iter().map(Arc::new).collect(),
        subscriptions: subscriptions.into_iter().map(Arc::new).collect(),
        ..Changes::default()
    }
}

fn with(mut base: Value, more: Value) -> Value {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
    base
}

fn action(id: i32, name: &str, more: Value) -> Action {
    let spec = json!({"name": name, "action_type": "webhook", "handler": "webhook.http"});
    Action {
        id: ActionId(id),
        tenant: TenantId(2),
        uuid: Uuid::nil(),
        spec: serde_json::from_value::<ActionSpec>(with(spec, more)).expect("is an action"),
        health: Health::default(),
        version: 1,
        created_at: chrono::DateTime::UNIX_EPOCH,
        updated_at: chrono::DateTime::UNIX_EPOCH,
        deleted: false,
    }
}

fn subscription(id: u128, action: i32, pattern: &str, more: Value) -> Subscription {
    let spec = with(json!({"event_pattern": pattern}), more);
    Subscription {
        id: SubscriptionId(Uuid::from_u128(id)),
        tenant: TenantId(2),
        action: ActionId(action),
        spec: serde_json::from_value::<SubscriptionSpec>(spec).expect("is a subscription"),
        version: 1,
        created_at: chrono::DateTime::UNIX_EPOCH,
        updated_at: chrono::DateTime::UNIX_EPOCH,
        deleted: false,
    }
}

fn event(event_type: &str, data: Value) -> Event {
    Event {
        id: EventId(Uuid::nil()),
        tenant: TenantId(2),
        event_type: EventType::parse(event_type).expect("is a type"),
        source: "/shop".to_owned(),
        external_id: None,
        accepted_at: chrono::DateTime::UNIX_EPOCH,
        data: Json::from_value(&data),
        attributes: Attributes::default(),
    }
}

fn matched(matcher: &dyn Matcher, event: &Event) -> Vec<i32> {
    matcher.matches(event).into_iter().map(|found| found.action.0).collect()
}

/// The first reason why action 1 was not matched.
fn reason(matcher: &dyn Matcher, event: &Event) -> (&'static str, String) {
    let told = matcher.explain(event);
    let first = told.iter().find(|told| told.action_id == ActionId(1)).expect("is explained");
    assert!(!first.matched, "{first:?}");
    let last = first.checks.last().expect("has a check");
    assert!(!last.passed);
    (last.check, first.because.clone())
}

#[test]
fn patterns_lead_to_actions_as_the_founding_examples_say() {
    let patterns =
        ["*", "*.created", "users.*", "tenants.created", "Users.*", r"^users\.(created|deleted)$"];
    let actions = (1..).zip(patterns);
    let actions =
        actions.map(|(id, p)| action(id, &format!("a{id}"), json!({"event_patterns": [p]})));
    let matcher = matcher(actions.collect(), Vec::new());
    let table: [(&str, &[i32]); 5] = [
        ("tenants.created", &[1, 2, 4]),
        ("users.created", &[1, 2, 3, 5, 6]),
        ("users.email.changed", &[1, 3, 5]),
        ("users.deleted", &[1, 3, 5, 6]),
        ("orders.paid", &[1]),
    ];
    for (event_type, actions) in table {
        assert_eq!(matched(&*matcher, &event(event_type, json!({}))), actions, "{event_type}");
    }
}

#[test]
fn actions_come_by_priority_then_subscription_priority_then_name() {
    let actions = vec![
        action(1, "zeta", json!({})),
        action(2, "alpha", json!({"priority": "normal"})),
        action(3, "urgent", json!({"priority": "critical"})),
        action(4, "middle", json!({"event_patterns": ["orders.paid"]})),
    ];
    let subscriptions = vec![
        subscription(1, 1, "orders.*", json!({"priority": 5})),
        subscription(2, 1, "orders.paid", json!({"priority": 9})),
        subscription(3, 2, "orders.paid", json!({"priority": 9})),
        subscription(4, 3, "*.paid", json!({})),
        subscription(5, 4, "orders.paid", json!({})),
    ];
    let matcher = matcher(actions, subscriptions);
    let found = matcher.matches(&event("orders.paid", json!({})));
    let found: Vec<_> = found.iter().map(|m| (m.action.0, m.subscription)).collect();
    let by = |id| Some(SubscriptionId(Uuid::from_u128(id)));
    assert_eq!(found, [(3, by(4)), (2, by(3)), (1, by(2)), (4, by(5))]);
}

#[test]
fn a_subscription_outlives_the_condition_of_an_action_that_is_gone() {
    let subscription = subscription(1, 1, "*", json!({}));
    let conditional = action(1, "a", json!({"conditions": {"tier": "premium"}}));
    let mut matcher = matcher(vec![conditional], vec![subscription]);
    for (version, deleted) in [(2, true), (3, false)] {
        let action = Action { deleted, ..action(1, "a", json!({})) };
        let actions = vec![Arc::new(action)];
        matcher.apply(&Changes { version, actions, ..Changes::default() });
    }
    assert_eq!(matched(&*matcher, &event("orders.paid", json!({"tier": "free"}))), [1]);
}

#[test]
fn everything_on_the_way_has_to_pass() {
    let ok = json!({"event_patterns": ["orders.*"]});
    let paid = event("orders.paid", json!({"tier": "free"}));
    let off = matcher(vec![action(1, "a", with(ok.clone(), json!({"is_active": false})))], vec![]);
    assert_eq!(reason(&*off, &paid), ("action_active", "the action is switched off".to_owned()));

    let mut ill = action(1, "a", ok.clone());
    ill.health =
        Health { is_healthy: false, last_check_at: None, error: Some("refused".to_owned()) };
    let because = "the action is not healthy: refused".to_owned();
    assert_eq!(reason(&*matcher(vec![ill], vec![]), &paid), ("action_healthy", because));

    let missing = with(ok.clone(), json!({"handler": "not.installed"}));
    let because = "handler not.installed is not installed".to_owned();
    let missing = matcher(vec![action(1, "a", missing)], vec![]);
    assert_eq!(reason(&*missing, &paid), ("handler_installed", because));

    let wrong = matcher(vec![action(1, "a", json!({"event_patterns": ["users.*"]}))], vec![]);
    let because = "users.* does not match orders.paid".to_owned();
    assert_eq!(reason(&*wrong, &paid), ("pattern", because));

    let conditions = with(ok, json!({"conditions": {"tier": "premium"}}));
    let because = r#"data.tier = "premium", got "free""#.to_owned();
    let conditional = matcher(vec![action(1, "a", conditions)], vec![]);
    assert_eq!(reason(&*conditional, &paid), ("action_conditions", because));
}

#[test]
fn a_subscription_has_its_own_switch_filters_and_conditions() {
    let one =
        |more| matcher(vec![action(1, "a", json!({}))], vec![subscription(1, 1, "orders.*", more)]);
    let mut paid = event("orders.paid", json!({"total": 5}));
    assert_eq!(reason(&*one(json!({"is_active": false})), &paid).0, "subscription_active");
    let total = reason(&*one(json!({"conditions": "event.data.total > 5"})), &paid);
    assert_eq!(total, ("subscription_conditions", "data.total > 5, got 5".to_owned()));

    let filters = [
        ("tenant_filter", json!({"tenant_filter": [ANN]})),
        ("organization_filter", json!({"organization_filter": [ANN]})),
        ("user_filter", json!({"user_filter": [ANN]})),
        ("source_service_filter", json!({"source_service_filter": ["shop", "till"]})),
    ];
    for (name, filter) in &filters {
        assert_eq!(reason(&*one(filter.clone()), &paid).0, *name);
    }
    let because = "source service is one of 2, got \"web\"".to_owned();
    paid.attributes.source_service = Some("web".to_owned());
    assert_eq!(reason(&*one(filters[3].1.clone()), &paid).1, because);

    paid.attributes.source_service = Some("till".to_owned());
    paid.attributes.tenant_id = Some(ANN);
    paid.attributes.organization_id = Some(ANN);
    paid.attributes.user_id = Some(ANN);
    for (name, filter) in filters {
        assert_eq!(matched(&*one(filter), &paid), [1], "{name}");
    }
}

#[test]
fn events_of_the_engine_need_a_pattern_that_names_them() {
    let patterns = ["*", "*.failed", "actions.*", r"/actions\..+/", r"/act.+/", "action?.failed"];
    let actions = (1..).zip(patterns);
    let actions =
        actions.map(|(id, p)| action(id, &format!("a{id}"), json!({"event_patterns": [p]})));
    let matcher = matcher(actions.collect(), Vec::new());
    let mut failed = event("actions.failed", json!({}));
    assert_eq!(matched(&*matcher, &failed), [1, 2, 3, 4, 5, 6]);
    failed.attributes.by_engine = true;
    assert_eq!(matched(&*matcher, &failed), [3, 4]);
    assert_eq!(reason(&*matcher, &failed).0, "engine_event");
}

#[test]
fn changes_are_applied_in_place() {
    let mut matcher = matcher(Vec::new(), vec![subscription(1, 1, "orders.paid", json!({}))]);
    let paid = event("orders.paid", json!({"region": "eu"}));
    assert!(matched(&*matcher, &paid).is_empty(), "a subscription without its action");

    let mut change = |actions, subscriptions| {
        let version = matcher.version() + 1;
        matcher.apply(&changes(version, actions, subscriptions));
        assert_eq!(matcher.version(), version);
        matched(&*matcher, &paid)
    };
    assert_eq!(change(vec![action(1, "a", json!({}))], vec![]), [1]);
    let elsewhere = json!({"conditions": {"region": "us"}});
    assert!(change(vec![action(1, "a", elsewhere)], vec![]).is_empty());
    let here = json!({"conditions": {"region": "eu"}});
    assert_eq!(change(vec![action(1, "a", here.clone())], vec![]), [1]);
    assert!(change(vec![], vec![subscription(1, 1, "orders.sent", json!({}))]).is_empty());
    assert_eq!(change(vec![], vec![subscription(1, 1, "orders.*", here)]), [1]);
    let mut gone = subscription(1, 1, "orders.*", json!({}));
    gone.deleted = true;
    assert!(change(vec![], vec![gone]).is_empty());
    assert_eq!(change(vec![], vec![subscription(2, 1, "*.paid", json!({}))]), [1]);
    let mut gone = action(1, "a", json!({}));
    gone.deleted = true;
    assert!(change(vec![gone], vec![]).is_empty());
}

#[test]
fn more_expressions_than_one_set_holds_are_found() {
    let expression = |id: i32| format!(r"/t{}\.(x|y){id}/", id % 2);
    let subscriptions =
        (0..1_200).map(|id| subscription(id as u128, id, &expression(id), json!({})));
    let actions = (0..1_200).map(|id| action(id, &format!("a{id}"), json!({})));
    let mut matcher = matcher(actions.collect(), subscriptions.collect());
    assert_eq!(matched(&*matcher, &event("t0.x1198", json!({}))), [1_198]);
    assert_eq!(matched(&*matcher, &event("T1.Y1199", json!({}))), [1_199]);
    assert!(matched(&*matcher, &event("t1.x1198", json!({}))).is_empty());
    let mut gone = subscription(1_198, 1_198, &expression(1_198), json!({}));
    gone.deleted = true;
    matcher.apply(&changes(2, vec![], vec![gone]));
    assert!(matched(&*matcher, &event("t0.x1198", json!({}))).is_empty());
    assert_eq!(matched(&*matcher, &event("t0.x1196", json!({}))), [1_196]);
}

#[test]
fn expressions_come_and_go_one_by_one() {
    let expression = |id: i32| format!(r"/orders\.x{id}/");
    let found = |matcher: &dyn Matcher, id: i32| {
        matched(matcher, &event(&format!("orders.x{id}"), json!({})))
    };
    let mut matcher =
        matcher((0..80).map(|id| action(id, &format!("a{id}"), json!({}))).collect(), vec![]);
    for id in 0..80 {
        let added = subscription(id as u128, id, &expression(id), json!({}));
        let subscriptions = if id >= 40 {
            let old = id - 40;
            let mut gone = subscription(old as u128, old, &expression(old), json!({}));
            gone.deleted = true;
            vec![added, gone]
        } else {
            vec![added]
        };
        matcher.apply(&changes(i64::from(id) + 2, vec![], subscriptions));
        for known in 0..80 {
            let is_there = known <= id && known > id - 40;
            let expected = if is_there { vec![known] } else { vec![] };
            assert_eq!(found(&*matcher, known), expected, "{known} after {id}");
        }
    }
}

#[test]
fn words_with_wildcards_are_found_by_their_letters() {
    let patterns =
        ["*s1.paid", "or*1.paid", "orders?.paid", "*rder*.paid", "?rders1.paid", "*2.paid"];
    let subscriptions = (1..).zip(patterns);
    let subscriptions = subscriptions.map(|(id, p)| subscription(id as u128, id, p, json!({})));
    let actions = (1..=6).map(|id| action(id, &format!("a{id}"), json!({}))).collect();
    let mut matcher = matcher(actions, subscriptions.collect());
    assert_eq!(matched(&*matcher, &event("orders1.paid", json!({}))), [1, 2, 3, 4, 5]);
    assert_eq!(matched(&*matcher, &event("orders2.paid", json!({}))), [3, 4, 6]);
    assert_eq!(matched(&*matcher, &event("or1.paid", json!({}))), [2]);
    let mut gone = subscription(1, 1, "*s1.paid", json!({}));
    gone.deleted = true;
    matcher.apply(&changes(2, vec![], vec![gone]));
    assert_eq!(matched(&*matcher, &event("orders1.paid", json!({}))), [2, 3, 4, 5]);
}

#[test]
fn what_cannot_be_compiled_matches_nothing_and_says_why() {
    let subscriptions = vec![
        subscription(1, 1, "orders.paid", json!({"conditions": "event.data.x =="})),
        subscription(2, 2, "/orders.(/", json!({})),
        subscription(3, 3, "/orders.+/", json!({})),
    ];
    let actions = (1..=3).map(|id| action(id, &format!("a{id}"), json!({}))).collect();
    let matcher = matcher(actions, subscriptions);
    let paid = event("orders.paid", json!({}));
    assert_eq!(matched(&*matcher, &paid), [3]);
    let (check, because) = reason(&*matcher, &paid);
    assert_eq!(check, "subscription_conditions");
    assert!(because.starts_with("the condition cannot be compiled: "), "{because}");
}

#[test]
fn the_door_refuses_what_would_not_compile() {
    let check = |pattern: &str, condition: Value| {
        let pattern = Pattern::parse(pattern).expect("is a pattern");
        factory().check(Some(&pattern), &Condition(condition))
    };
    assert_eq!(check("/orders\\.(paid|sent)/", json!("event.data.x == 1")), Ok(()));
    assert_eq!(check("orders.*", json!({"x": {"$regex": "^a+$"}})), Ok(()));
    for pattern in ["/a(/", "/a)(b/", r"/\p{Greek}/", "/(a{100}){100}/", "/(?x)a # b/"] {
        assert!(
            matches!(check(pattern, json!(null)), Err(MatchError::Pattern { .. })),
            "{pattern}"
        );
    }
    let Err(MatchError::Condition { pointer, line, column, .. }) =
        check("a.b", json!(["event.data.a == 1", "event.data.x =="]))
    else {
        panic!("is refused");
    };
    assert_eq!((pointer.as_str(), line, column), ("/1", Some(1), Some(16)));
    let wrong = check("a.b", json!({"x": {"$regex": "("}}));
    assert!(wrong.expect_err("is refused").to_string().ends_with("unclosed group"));
}
