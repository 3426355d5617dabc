//! What the seed files hold is valid: names, patterns, limits, and the configs of the handlers
//! that are installed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actions_domain::action::{ActionName, ActionSpec};
use actions_domain::event::EventType;
use actions_domain::matching::condition::Condition;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::pull_queue::PullQueue;
use actions_domain::subscription::SubscriptionSpec;
use actions_domain::tenant::TenantSlug;
use actions_handlers::{Egress, EgressPolicy, Functions, Registry, builtin};
use actions_infra::memory::MemoryPullQueue;
use actions_infra::system::SystemClock;
use serde::Deserialize;
use serde_json::Value;

const PLATFORM: &str = include_str!("../../seeds/platform_actions.yaml");
const DEMO: &str = include_str!("../../seeds/demo.yaml");

/// The founding platform actions: name, type and patterns are fixed for good.
const FOUNDING: &str = include_str!("seeds/platform_actions.txt");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Platform {
    actions: Vec<ActionSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Demo {
    tenants: Vec<DemoTenant>,
    events: Vec<DemoEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DemoTenant {
    slug: TenantSlug,
    name: String,
    actions: Vec<ActionSpec>,
    #[serde(default)]
    subscriptions: Vec<DemoSubscription>,
}

#[derive(Deserialize)]
struct DemoSubscription {
    action: ActionName,
    #[serde(flatten)]
    spec: SubscriptionSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DemoEvent {
    tenant: TenantSlug,
    #[serde(rename = "type")]
    event_type: EventType,
    source: String,
    #[serde(default)]
    source_service: Option<String>,
    weight: u32,
    data: Value,
}

fn read<T: for<'de> Deserialize<'de>>(yaml: &str) -> T {
    let filled = yaml
        .replace("{{receiver}}", "https://receiver.example.com")
        .replace("{{smtp_host}}", "smtp.example.com")
        .replace("{{smtp_port}}", "2525")
        .replace("{{n}}", "1");
    serde_saphyr::from_str(&filled).unwrap_or_else(|error| panic!("{error}"))
}

fn check(actions: &[ActionSpec]) {
    let mut names = BTreeSet::new();
    for action in actions {
        assert!(names.insert(action.name.as_str()), "{} is there twice", action.name);
        assert_eq!(action.check(), [], "{}", action.name);
        assert!(action.description.is_some(), "{} has no description", action.name);
    }
}

fn handlers() -> Registry {
    // A second installation is refused, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let egress = Egress::new(EgressPolicy::default()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tasks: Arc<dyn PullQueue> = Arc::new(MemoryPullQueue::new(clock.clone()));
    builtin(&egress, &Functions::new(), &tasks, &clock)
}

#[test]
fn installed_handlers_accept_the_configs() {
    let platform: Platform = read(PLATFORM);
    let demo: Demo = read(DEMO);
    let demo = demo.tenants.into_iter().flat_map(|tenant| tenant.actions);
    let handlers = handlers();
    for action in platform.actions.into_iter().chain(demo) {
        let Some(handler) = handlers.find(&action.handler) else { continue };
        let report = handler.check_config(&action.config);
        assert_eq!(report.errors, [], "{}", action.name);
        let types = handler.descriptor().action_types;
        assert!(types.is_empty() || types.contains(&action.action_type), "{}", action.name);
    }
}

#[test]
fn only_what_can_run_is_active() {
    let handlers = handlers();
    let platform: Platform = read(PLATFORM);
    let active = platform.actions.iter().filter(|action| action.is_active);
    let names: Vec<_> = active
        .inspect(|action| assert!(handlers.is_installed(&action.handler), "{}", action.name))
        .map(|action| action.name.as_str())
        .collect();
    assert_eq!(names, ["audit_log_event", "send_monitoring_alert", "trigger_health_check"]);
}

#[test]
fn the_platform_actions_are_the_founding_ones() {
    let seeds: Platform = read(PLATFORM);
    check(&seeds.actions);
    let seeded: Vec<String> = seeds
        .actions
        .iter()
        .map(|action| {
            let kind = serde_json::to_value(action.action_type).unwrap();
            let patterns: Vec<_> = action.event_patterns.iter().map(|p| p.as_str()).collect();
            let name = action.name.as_str();
            let handler = action.handler.as_str();
            format!("{name} {} {handler} {}", kind.as_str().unwrap(), patterns.join(","))
        })
        .collect();
    let founding: Vec<_> = FOUNDING.lines().collect();
    assert_eq!(seeded, founding);
}

#[test]
fn what_needs_an_operators_value_is_not_active() {
    let seeds: Platform = read(PLATFORM);
    for action in seeds.actions {
        let config = action.config.to_string();
        let is_open = ["example.com", "replace-me"].iter().any(|mark| config.contains(mark));
        assert!(!(is_open && action.is_active), "{} waits for a value", action.name);
    }
}

#[test]
fn the_demo_speaks_of_what_it_defines() {
    let demo: Demo = read(DEMO);
    let mut tenants = BTreeMap::new();
    for tenant in &demo.tenants {
        check(&tenant.actions);
        assert!(!tenant.name.is_empty());
        for subscription in &tenant.subscriptions {
            let is_defined = tenant.actions.iter().any(|a| a.name == subscription.action);
            assert!(is_defined, "{} is not an action of {}", subscription.action, tenant.slug);
            assert!(!subscription.spec.event_pattern.as_str().is_empty());
            assert_ne!(subscription.spec.conditions, Condition(Value::Object(Default::default())));
        }
        tenants.insert(&tenant.slug, tenant);
    }
    assert_eq!(tenants.len(), 2, "the demo shows two tenants");
    for event in &demo.events {
        assert!(tenants.contains_key(&event.tenant), "{} sends to nobody", event.event_type);
        assert!(event.weight > 0 && !event.source.is_empty() && event.data.is_object());
        assert!(event.source_service.as_deref() != Some(""));
    }
}
