//! Actions and subscriptions, with their versions.

use std::sync::Arc;

use actions_domain::action::{Action, ActionName, ActionSpec};
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::{SubscriptionId, TenantId};
use actions_domain::subscription::Subscription;
use actions_domain::tenant::Pause;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::app::App;
use crate::commands::execute_action::why_blocked;
use crate::filter::{Fact, Filter};
use crate::queries::executions::word_of;
use crate::queries::scan::Page;
use crate::queries::{QueryError, definitions_of};
use crate::secrets;

/// The fields that a filter of actions may name.
pub const ACTION_FIELDS: [&str; 9] = [
    "name",
    "action_type",
    "handler",
    "is_active",
    "is_healthy",
    "state",
    "owner_team",
    "tag",
    "pattern",
];
/// The fields that a filter of subscriptions may name.
pub const SUBSCRIPTION_FIELDS: [&str; 4] = ["action", "pattern", "is_active", "name"];

/// Which actions to list, by name.
#[derive(Debug, Clone)]
pub struct ActionList {
    pub tenant: TenantId,
    pub filter: Filter,
    pub after: Option<String>,
    pub limit: u32,
}

/// Which subscriptions to list, oldest first.
#[derive(Debug, Clone)]
pub struct SubscriptionList {
    pub tenant: TenantId,
    pub filter: Filter,
    pub after: Option<SubscriptionId>,
    pub limit: u32,
}

/// Whether an action runs when an event matches it, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionState {
    Active,
    /// Switched off.
    Inactive,
    /// Its last health check failed.
    Unhealthy,
    /// Somebody has paused it or its tenant.
    Paused,
    /// Its handler is not installed.
    Blocked,
}

impl ActionState {
    pub fn of(app: &App, action: &Action) -> Self {
        if !app.handlers.is_installed(&action.spec.handler) {
            Self::Blocked
        } else if !action.spec.is_active {
            Self::Inactive
        } else if pause_of(app, action).is_some() {
            Self::Paused
        } else if action.health.is_healthy {
            Self::Active
        } else {
            Self::Unhealthy
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Paused => "paused",
            Self::Unhealthy => "unhealthy",
            Self::Blocked => "blocked",
        }
    }
}

/// Who has paused an action, or its tenant.
fn pause_of(app: &App, action: &Action) -> Option<Pause> {
    let controls = app.catalogue.find(action.tenant)?.controls();
    controls.stopped().or_else(|| controls.paused_actions.get(&action.id)).cloned()
}

/// One place where two versions differ. `None`: it is not there.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// A JSON pointer into the specification.
    pub pointer: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// Finds an action by its name or its founding id.
pub async fn find_action(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
) -> Result<Arc<Action>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let definitions = definitions_of(app, tenant)?;
    let by_id = || {
        let id = name.parse::<Uuid>().ok()?;
        definitions.actions().into_iter().find(|action| action.uuid == id)
    };
    definitions.action_named(name).or_else(by_id).ok_or(QueryError::NotFound { what: "action" })
}

/// Lists actions by name.
pub async fn list_actions(
    app: &App,
    caller: &AuthorizationContext,
    list: &ActionList,
) -> Result<Page<Arc<Action>, String>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, list.tenant).await?;
    let definitions = definitions_of(app, list.tenant)?;
    let filter = list.filter.compile(&ACTION_FIELDS, app.ports.clock.now())?;
    let mut rest = definitions
        .actions()
        .into_iter()
        .filter(|action| {
            list.after.as_deref().is_none_or(|after| action.spec.name.as_str() > after)
        })
        .filter(|action| filter.holds(action.updated_at, |field| action_fact(app, action, field)));
    let items: Vec<_> = rest.by_ref().take(count(list.limit)).collect();
    let last = items.last().map(|action| action.spec.name.to_string());
    let next = rest.next().and(last);
    Ok(Page { items, next })
}

/// Lists an action's versions, newest first, the deletion included.
pub async fn list_versions(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &ActionName,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<Action, i64>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    // One more than the page, which tells that there is another.
    let wanted = limit.saturating_add(1);
    let mut items = app.ports.definitions.action_versions(tenant, name, before, wanted).await?;
    if items.is_empty() && before.is_none() {
        return Err(QueryError::NotFound { what: "action" });
    }
    let is_last = items.len() <= count(limit);
    items.truncate(count(limit));
    let next = items.last().filter(|_| !is_last).map(|action| action.version);
    Ok(Page { items, next })
}

/// Finds one version of an action.
pub async fn find_version(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &ActionName,
    version: i64,
) -> Result<Action, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let before = Some(version.saturating_add(1));
    let found = app.ports.definitions.action_versions(tenant, name, before, 1).await?.pop();
    found.filter(|found| found.version == version).ok_or(QueryError::NotFound { what: "version" })
}

/// Compares two versions of an action. Secrets that differ are told, not shown.
pub async fn compare_versions(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &ActionName,
    (before, after): (i64, i64),
) -> Result<Vec<Difference>, QueryError> {
    let before = find_version(app, caller, tenant, name, before).await?;
    let after = find_version(app, caller, tenant, name, after).await?;
    Ok(compare_actions(app, &before, &after))
}

/// Where two states of an action differ.
pub fn compare_actions(app: &App, before: &Action, after: &Action) -> Vec<Difference> {
    let mut found = Vec::new();
    let (raw_before, raw_after) = (raw_spec(before), raw_spec(after));
    compare(Some(&raw_before), Some(&raw_after), &mut String::new(), &mut found);
    let (shown_before, shown_after) = (shown_spec(app, before), shown_spec(app, after));
    for difference in &mut found {
        // What is hidden in the whole is hidden here.
        difference.before = shown(&shown_before, &difference.pointer, difference.before.take());
        difference.after = shown(&shown_after, &difference.pointer, difference.after.take());
    }
    found
}

/// An action's config as it may be shown.
pub fn shown_config(app: &App, action: &Action) -> Value {
    masked_config(app, &action.spec)
}

fn masked_config(app: &App, spec: &ActionSpec) -> Value {
    let handler = app.handlers.find(&spec.handler);
    let schema = handler.as_ref().map(|handler| &handler.descriptor().config_schema);
    secrets::masked(schema, &spec.config)
}

/// An action's whole specification as it may be shown.
pub fn shown_spec(app: &App, action: &Action) -> Value {
    shown_specification(app, &action.spec)
}

/// The same of one that is not stored yet.
pub(crate) fn shown_specification(app: &App, spec: &ActionSpec) -> Value {
    let mut shown = serde_json::to_value(spec).unwrap_or_default();
    if let Some(config) = shown.get_mut("config") {
        *config = masked_config(app, spec);
    }
    shown
}

/// Finds a subscription.
pub async fn find_subscription(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: SubscriptionId,
) -> Result<Arc<Subscription>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let found = definitions_of(app, tenant)?.subscription(id);
    found.ok_or(QueryError::NotFound { what: "subscription" })
}

/// Lists subscriptions, oldest first.
pub async fn list_subscriptions(
    app: &App,
    caller: &AuthorizationContext,
    list: &SubscriptionList,
) -> Result<Page<Arc<Subscription>, SubscriptionId>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, list.tenant).await?;
    let definitions = definitions_of(app, list.tenant)?;
    let filter = list.filter.compile(&SUBSCRIPTION_FIELDS, app.ports.clock.now())?;
    let mut rest = definitions
        .subscriptions()
        .into_iter()
        .filter(|subscription| list.after.is_none_or(|after| subscription.id > after))
        .filter(|subscription| {
            filter.holds(subscription.updated_at, |field| match field {
                "action" => Fact::maybe(
                    definitions
                        .action(subscription.action)
                        .map(|action| action.spec.name.to_string()),
                ),
                "pattern" => Fact::text(subscription.spec.event_pattern.as_str()),
                "is_active" => Fact::text(subscription.spec.is_active.to_string()),
                "name" => Fact::maybe(subscription.spec.name.as_deref()),
                _ => Fact::Absent,
            })
        });
    let items: Vec<_> = rest.by_ref().take(count(list.limit)).collect();
    let last = items.last().map(|subscription| subscription.id);
    let next = rest.next().and(last);
    Ok(Page { items, next })
}

/// Why an action does not run at this moment. `None`: it does.
pub fn blocked_reason(app: &App, action: &Action) -> Option<String> {
    why_blocked(app, action)
}

fn action_fact<'a>(app: &App, action: &'a Action, field: &str) -> Fact<'a> {
    let spec = &action.spec;
    match field {
        "name" => Fact::text(spec.name.as_str()),
        "action_type" => Fact::text(word_of(&spec.action_type)),
        "handler" => Fact::text(spec.handler.as_str()),
        "is_active" => Fact::text(spec.is_active.to_string()),
        "is_healthy" => Fact::text(action.health.is_healthy.to_string()),
        "state" => Fact::text(ActionState::of(app, action).word()),
        "owner_team" => Fact::maybe(spec.owner_team.as_deref()),
        "tag" => Fact::text(spec.tags.join(" ")),
        "pattern" => {
            let patterns = spec.event_patterns.iter().map(|pattern| pattern.as_str());
            Fact::text(patterns.collect::<Vec<_>>().join(" "))
        }
        _ => Fact::Absent,
    }
}

fn raw_spec(action: &Action) -> Value {
    serde_json::to_value(&action.spec).unwrap_or_default()
}

fn shown(document: &Value, pointer: &str, difference: Option<Value>) -> Option<Value> {
    difference.map(|raw| {
        let hidden = || hidden_above(document, pointer);
        document.pointer(pointer).cloned().or_else(hidden).unwrap_or(raw)
    })
}

/// A member below a hidden one cannot be found in the shown document.
fn hidden_above(document: &Value, pointer: &str) -> Option<Value> {
    let (above, _) = pointer.rsplit_once('/')?;
    match document.pointer(above) {
        Some(Value::String(text)) if text == secrets::MASK => Some(Value::String(text.clone())),
        Some(_) => None,
        None => hidden_above(document, above),
    }
}

fn compare(
    before: Option<&Value>,
    after: Option<&Value>,
    pointer: &mut String,
    found: &mut Vec<Difference>,
) {
    if before == after {
        return;
    }
    let (Some(Value::Object(old)), Some(Value::Object(new))) = (before, after) else {
        let (before, after) = (before.cloned(), after.cloned());
        found.push(Difference { pointer: pointer.clone(), before, after });
        return;
    };
    let names: Map<String, Value> =
        old.keys().chain(new.keys()).map(|name| (name.clone(), Value::Null)).collect();
    let length = pointer.len();
    for name in names.keys() {
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        compare(old.get(name), new.get(name), pointer, found);
        pointer.truncate(length);
    }
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
