//! Finding the actions of an event among many subscriptions, and making one more effective.

use std::sync::Arc;
use std::time::Duration;

use actions_app::commands::save_subscription::{SaveSubscription, save_subscription};
use actions_app::commands::submit_event::{SubmitEvents, submit_events};
use actions_domain::Timestamp;
use actions_domain::action::{Action, ActionSpec};
use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::id::{ActionId, EventId, SubscriptionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::definitions::{Changes, Expected};
use actions_domain::subscription::{Subscription, SubscriptionSpec};
use actions_domain::tenant::{Tenant, TenantSlug};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::error::CliError;
use super::super::seed::operator;
use super::super::server::chain;
use super::histogram::Histogram;
use super::noop::{Noop, spec};
use super::{Measured, Running};

/// Events that are matched in each part, after a few that are not counted.
const EVENTS: u32 = 20_000;
const WARM_UP: u32 = 500;
/// Event types of the mixed part, and actions that the subscriptions belong to.
const TYPES: u32 = 10_000;
/// A prime, so that the subscriptions of one event type belong to different actions.
const ACTIONS: u32 = 997;
/// Subscriptions that the matcher is given in one piece.
const LOADED_AT_ONCE: u32 = 10_000;

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    bench.install(Arc::new(Noop::new(bench.engine.app.ports.clock.clone())));
    let count = bench.args.subscriptions;
    let progress = bench.step(format!("{count} mixed subscriptions"));
    let mixed = measure(
        bench,
        mixed_spec,
        |number| {
            let data = json!({ "tier": tier(number), "total": number % 1_000 });
            (format!("area{}.verb{}", number % TYPES, number % 50), data)
        },
        count,
    )?;
    drop(progress);
    let progress = bench.step(format!("{count} subscriptions to one event type"));
    let equal = measure(
        bench,
        equality_spec,
        |number| {
            ("orders.placed".to_owned(), json!({ "customer_id": format!("c-{}", number % count) }))
        },
        count,
    )?;
    drop(progress);
    let progress = bench.step(format!("one more subscription beside {count}"));
    let added_ms = add_one(bench, count).await?;
    drop(progress);
    Ok(Measured {
        count: u64::from(EVENTS),
        seconds: mixed.seconds,
        p50_ms: mixed.times.quantile_ms(0.5),
        p99_ms: mixed.times.quantile_ms(0.99),
        extra: json!({
            "subscriptions": count,
            "matches_per_event": super::rounded(mixed.matched as f64 / f64::from(EVENTS)),
            "load_seconds": super::rounded(mixed.load_seconds),
            "equality_p50_ms": super::rounded(equal.times.quantile_ms(0.5)),
            "equality_p99_ms": super::rounded(equal.times.quantile_ms(0.99)),
            "equality_matches_per_event": super::rounded(equal.matched as f64 / f64::from(EVENTS)),
            "add_one_ms": super::rounded(added_ms),
        }),
    })
}

/// What matching many events took.
struct Part {
    times: Histogram,
    seconds: f64,
    load_seconds: f64,
    matched: u64,
}

fn measure(
    bench: &Running<'_>,
    subscription: impl Fn(u32) -> Value,
    event: impl Fn(u32) -> (String, Value),
    count: u32,
) -> Result<Part, CliError> {
    let clock = &bench.engine.app.ports.clock;
    let tenant = sample_tenant(bench)?;
    let mut matcher = bench.engine.app.ports.matchers.empty(&tenant);
    let actions = actions(bench, tenant.id)?;
    let mut changes = Changes { version: 1, actions, ..Changes::default() };
    let mut loading = Duration::ZERO;
    for first in (0..count).step_by(LOADED_AT_ONCE as usize) {
        let numbers = first..count.min(first.saturating_add(LOADED_AT_ONCE));
        changes.subscriptions = numbers
            .map(|number| sample_subscription(bench, tenant.id, number, subscription(number)))
            .collect::<Result<_, _>>()?;
        let begun = clock.now();
        matcher.apply(&changes);
        loading += since(clock, begun);
        changes.actions.clear();
    }

    let times = Histogram::new();
    let mut part = Part { times, seconds: 0.0, load_seconds: loading.as_secs_f64(), matched: 0 };
    for number in 0..EVENTS + WARM_UP {
        // A stride that shares no divisor with the counts visits them in no order.
        let (event_type, data) = event(number.wrapping_mul(7_919));
        let event = sample_event(bench, tenant.id, &event_type, &data)?;
        let begun = clock.now();
        let matched = matcher.matches(&event).len() as u64;
        let took = since(clock, begun);
        if number >= WARM_UP {
            part.times.record(took);
            part.seconds += took.as_secs_f64();
            part.matched += matched;
        }
    }
    Ok(part)
}

/// Of ten: six exact, two globs, half a regular expression, one and a half with conditions.
fn mixed_spec(number: u32) -> Value {
    let (area, verb) = (number % TYPES, number % 50);
    let exact = format!("area{area}.verb{verb}");
    match number % 20 {
        0..=11 => json!({ "event_pattern": exact }),
        12 | 13 => json!({ "event_pattern": format!("area{area}.*") }),
        14 | 15 => json!({ "event_pattern": format!("*{number}.verb{verb}") }),
        16 => json!({ "event_pattern": format!("^area{area}\\.(verb{verb}|verb{number})$") }),
        17 => json!({ "event_pattern": exact, "conditions": { "tier": "premium" } }),
        18 => {
            json!({ "event_pattern": exact, "conditions": { "total": { "$gt": number % 1_000 } } })
        }
        _ => json!({
            "event_pattern": exact,
            "conditions": "event.data.tier == \"premium\" && event.data.total > 500",
        }),
    }
}

fn equality_spec(number: u32) -> Value {
    json!({
        "event_pattern": "orders.placed",
        "conditions": { "customer_id": format!("c-{number}") },
    })
}

fn tier(number: u32) -> &'static str {
    if number.is_multiple_of(4) { "premium" } else { "free" }
}

/// What went by since a moment.
fn since(clock: &Arc<dyn Clock>, begun: Timestamp) -> Duration {
    (clock.now() - begun).to_std().unwrap_or_default()
}

fn actions(bench: &Running<'_>, tenant: TenantId) -> Result<Vec<Arc<Action>>, CliError> {
    let now = bench.engine.app.ports.clock.now();
    let action = |number| {
        let mut spec = spec();
        spec["name"] = json!(format!("action_{number}"));
        spec["event_patterns"] = json!([]);
        Ok(Arc::new(Action {
            id: ActionId(number_of(number) + 1),
            tenant,
            uuid: Uuid::from_u128(u128::from(number)),
            spec: parsed::<ActionSpec>(spec)?,
            health: actions_domain::action::Health::default(),
            version: 1,
            created_at: now,
            updated_at: now,
            deleted: false,
        }))
    };
    (0..ACTIONS).map(action).collect()
}

fn sample_subscription(
    bench: &Running<'_>,
    tenant: TenantId,
    number: u32,
    spec: Value,
) -> Result<Arc<Subscription>, CliError> {
    let now = bench.engine.app.ports.clock.now();
    Ok(Arc::new(Subscription {
        id: SubscriptionId(Uuid::from_u128(u128::from(number) + 1)),
        tenant,
        action: ActionId(number_of(number % ACTIONS) + 1),
        spec: parsed::<SubscriptionSpec>(spec)?,
        version: 1,
        created_at: now,
        updated_at: now,
        deleted: false,
    }))
}

fn number_of(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn parsed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, CliError> {
    serde_json::from_value(value).map_err(|error| CliError::failed(error.to_string()))
}

fn sample_tenant(bench: &Running<'_>) -> Result<Tenant, CliError> {
    Ok(Tenant {
        id: TenantId(1_000),
        uuid: Uuid::from_u128(1_000),
        slug: TenantSlug::parse("bench").map_err(|error| CliError::failed(error.to_string()))?,
        name: "bench".to_owned(),
        defs_version: 0,
        created_at: bench.engine.app.ports.clock.now(),
    })
}

fn sample_event(
    bench: &Running<'_>,
    tenant: TenantId,
    event_type: &str,
    data: &Value,
) -> Result<Event, CliError> {
    let ports = &bench.engine.app.ports;
    let now = ports.clock.now();
    Ok(Event {
        id: EventId::mint(now, ports.dice.bytes()),
        tenant,
        event_type: EventType::parse(event_type)
            .map_err(|error| CliError::failed(error.to_string()))?,
        source: "bench".to_owned(),
        external_id: None,
        accepted_at: now,
        data: Json::from_value(data),
        attributes: Attributes::default(),
    })
}

/// Milliseconds from asking for one more subscription to the end of an event that it matched,
/// through the commands that everybody uses.
async fn add_one(bench: &Running<'_>, count: u32) -> Result<f64, CliError> {
    let app = &bench.engine.app;
    let tenant = bench.tenant().await?;
    let mut spec = spec();
    spec["event_patterns"] = json!([]);
    let action = bench.action(tenant, spec).await?;
    let ports = &app.ports;
    for number in 0..count {
        let id = SubscriptionId::mint(ports.clock.now(), ports.dice.bytes());
        let spec: SubscriptionSpec = parsed(mixed_spec(number))?;
        let saved = ports
            .definitions
            .save_subscription(tenant, id, action, &spec, Expected::Absent, None)
            .await;
        saved.map_err(|error| CliError::failed(chain(&error)))?;
    }
    app.catalogue.refresh_all().await.map_err(|error| CliError::failed(chain(&error)))?;

    let begun = ports.clock.now();
    let request = SaveSubscription {
        tenant,
        id: None,
        action: "noop".to_owned(),
        spec: parsed(json!({ "event_pattern": "brand.new" }))?,
        expected: Expected::Absent,
    };
    let caller = operator(app, tenant);
    let saved = save_subscription(app, &caller, request).await;
    saved.map_err(|error| CliError::failed(chain(&error)))?;
    let sample = sample_event(bench, tenant, "brand.new", &json!({}))?;
    let event = actions_app::commands::submit_event::NewEvent {
        event_type: sample.event_type,
        source: Some(sample.source),
        external_id: None,
        data: sample.data,
        attributes: sample.attributes,
        delay: None,
    };
    let request = SubmitEvents { tenant, events: vec![event], idempotency: None };
    let accepted = submit_events(app, &caller, request).await;
    let accepted = accepted.map_err(|error| CliError::failed(chain(&error)))?;
    let took = ports.clock.now() - begun;
    match accepted.first().map(|event| event.executions.len()) {
        Some(1) => Ok(took.as_seconds_f64() * 1_000.0),
        found => Err(CliError::failed(format!("the new subscription led to {found:?} executions"))),
    }
}
