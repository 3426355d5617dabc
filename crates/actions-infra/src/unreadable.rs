//! Definitions that were stored and cannot be read, say by an older program or after an edit by hand.
//!
//! One of them must not hide all the others, and executions of it must not get lost: an action
//! stays as one that cannot run, with the reason; a subscription, schedule or bulk is left out. Only
//! over a newer schema the tenant of an unreadable action or subscription waits for a newer program.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use actions_domain::action::{ActionName, ActionSpec, Health};
use actions_domain::bulk::Bulk;
use actions_domain::id::BulkId;
use actions_domain::schedule::ScheduleSpec;
use actions_domain::subscription::SubscriptionSpec;
use serde_json::{Value, json};
use tracing::warn;

/// Unreadable things that are remembered as told: beyond that, each is told once more.
const TOLD_MAX: usize = 1_000;
/// The handler of an action that cannot be read. There is none of this name.
const NO_HANDLER: &str = "actions.unreadable";

/// An action's specification and health, or what stands for them.
pub(crate) fn action(id: i32, spec: &str, health: &str) -> (ActionSpec, Health) {
    let read = serde_json::from_str::<ActionSpec>(spec)
        .and_then(|spec| Ok((spec, serde_json::from_str::<Health>(health)?)));
    read.unwrap_or_else(|error| {
        if is_news((id, spec)) {
            warn!(action = id, %error, "an action cannot be read and is blocked");
        }
        let reason = format!("its definition cannot be read: {error}; save it again");
        let health = Health { is_healthy: false, last_check_at: None, error: Some(reason) };
        (stand_in(id, spec), health)
    })
}

/// Whether this stands for a specification that could not be read.
pub(crate) fn is_stand_in(spec: &ActionSpec) -> bool {
    spec.handler.as_str() == NO_HANDLER
}

/// A subscription's specification. `None`: it cannot be read.
pub(crate) fn subscription(id: uuid::Uuid, spec: &str) -> Option<SubscriptionSpec> {
    serde_json::from_str(spec)
        .inspect_err(|error| {
            warn!(subscription = %id, %error, "a subscription cannot be read and is left out");
        })
        .ok()
}

/// A schedule's specification. `None`: it cannot be read.
pub(crate) fn schedule(name: &str, spec: &str) -> Option<ScheduleSpec> {
    serde_json::from_str(spec)
        .inspect_err(|error| {
            warn!(schedule = name, %error, "a schedule cannot be read and is left out");
        })
        .ok()
}

/// A bulk's record. `None`: it cannot be read.
pub(crate) fn bulk(id: BulkId, record: &str) -> Option<Bulk> {
    serde_json::from_str(record)
        .inspect_err(|error| {
            if is_news(id) {
                warn!(bulk = %id, %error, "a bulk cannot be read and does not go on");
            }
        })
        .ok()
}

/// Whether it was not told yet: some things are looked at again and again.
fn is_news(what: impl Hash) -> bool {
    static TOLD: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() >= TOLD_MAX {
        told.clear();
    }
    told.insert(hasher.finish())
}

/// Whether this stands for a subscription that is left out.
pub(crate) fn is_no_subscription(spec: &SubscriptionSpec) -> bool {
    *spec == no_subscription()
}

/// What stands for the specification of a subscription that is left out.
pub(crate) fn no_subscription() -> SubscriptionSpec {
    serde_json::from_value(json!({ "event_pattern": "unreadable.subscription" }))
        .expect("it has all that a subscription needs")
}

/// Matches nothing by itself, and has the name under which it can be saved again.
fn stand_in(id: i32, spec: &str) -> ActionSpec {
    let stored: Value = serde_json::from_str(spec).unwrap_or_default();
    let name = stored["name"].as_str().filter(|name| ActionName::parse(name).is_ok());
    let name = name.map_or_else(|| format!("unreadable-{id}"), str::to_owned);
    let spec = json!({ "name": name, "action_type": "custom", "handler": NO_HANDLER });
    serde_json::from_value(spec).expect("it has all that an action needs")
}
