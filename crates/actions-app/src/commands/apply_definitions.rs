//! Declarative definitions: a set of actions with their subscriptions, compared with what is
//! stored, and made so.

use std::sync::Arc;

use actions_domain::action::{Action, ActionSpec};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::{SubscriptionId, TenantId};
use actions_domain::limits::{DEFINITIONS_PER_CALL_MAX, SUBSCRIPTIONS_MAX};
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::handler::FieldNote;
use actions_domain::ports::store::StoreError;
use actions_domain::subscription::{Subscription, SubscriptionSpec};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::app::App;
use crate::catalogue::TenantDefinitions;
use crate::commands::check_definition::{
    Finding, FindingKind, Findings, check_action, check_subscription,
};
use crate::commands::delete_action::{DeleteAction, DeleteActionError, delete_action};
use crate::commands::save_action::{
    Change, SaveAction, SaveActionError, current_definitions, save_action, with_stored_secrets,
};
use crate::commands::save_subscription::{
    SaveSubscription, SaveSubscriptionError, delete_subscription, save_subscription,
};
use crate::config_secrets::missing_secrets;
use crate::queries::definitions::{Difference, compare_actions, shown_config};

/// A tenant's definitions, as a file holds them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionSet {
    #[serde(default)]
    pub actions: Vec<DefinitionEntry>,
}

/// One action with the subscriptions that lead to it. In its written form, `subscriptions` is
/// one more member of the action.
#[derive(Debug, Clone, PartialEq)]
pub struct DefinitionEntry {
    pub action: ActionSpec,
    pub subscriptions: Vec<SubscriptionSpec>,
}

impl<'de> Deserialize<'de> for DefinitionEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = Map::<String, Value>::deserialize(deserializer)?;
        let subscriptions = match members.remove("subscriptions") {
            Some(list) => serde_json::from_value(list).map_err(D::Error::custom)?,
            None => Vec::new(),
        };
        let action = serde_json::from_value(Value::Object(members)).map_err(D::Error::custom)?;
        Ok(Self { action, subscriptions })
    }
}

impl Serialize for DefinitionEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serde_json::to_value(&self.action).map_err(S::Error::custom)?;
        if !self.subscriptions.is_empty() {
            entry["subscriptions"] =
                serde_json::to_value(&self.subscriptions).map_err(S::Error::custom)?;
        }
        entry.serialize(serializer)
    }
}

pub struct ApplyDefinitions {
    pub tenant: TenantId,
    pub set: DefinitionSet,
    /// Deletes the actions that the set does not name.
    pub prune: bool,
}

/// What applying a set does, or would do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    pub changes: Vec<PlannedChange>,
    pub warnings: Vec<FieldNote>,
}

impl Plan {
    /// Whether everything is as the set says.
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| change.change == EntryChange::Unchanged)
    }
}

/// What happens to one definition.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedChange {
    /// `action` or `subscription`.
    pub kind: &'static str,
    /// An action's name; for a subscription the action's name and what tells it apart.
    pub name: String,
    pub change: EntryChange,
    /// What differs, for an action that is updated.
    pub differences: Vec<Difference>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryChange {
    Created,
    Updated,
    Unchanged,
    Deleted,
}

impl EntryChange {
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

impl From<Change> for EntryChange {
    fn from(change: Change) -> Self {
        match change {
            Change::Created => Self::Created,
            Change::Updated => Self::Updated,
            Change::Unchanged => Self::Unchanged,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyDefinitionsError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such tenant")]
    UnknownTenant,
    #[error("a set has at most {max} definitions, not {given}", max = DEFINITIONS_PER_CALL_MAX)]
    TooMany { given: usize },
    /// Everything that is wrong at once; never empty. Nothing was changed.
    #[error("the definitions break a rule")]
    Invalid(Vec<Finding>),
    #[error(transparent)]
    Action(#[from] SaveActionError),
    #[error(transparent)]
    Subscription(#[from] SaveSubscriptionError),
    #[error(transparent)]
    Delete(#[from] DeleteActionError),
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Finds everything that is wrong with a set, with pointers into it.
pub async fn check_definitions(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    set: &DefinitionSet,
) -> Result<Findings, ApplyDefinitionsError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let given = set.actions.len()
        + set.actions.iter().map(|entry| entry.subscriptions.len()).sum::<usize>();
    if given > DEFINITIONS_PER_CALL_MAX {
        return Err(ApplyDefinitionsError::TooMany { given });
    }
    let definitions = app.catalogue.find(tenant).ok_or(ApplyDefinitionsError::UnknownTenant)?;
    let mut findings = Findings::default();
    for (index, entry) in set.actions.iter().enumerate() {
        let place = format!("/actions/{index}");
        let before = definitions.action_named(entry.action.name.as_str());
        match with_stored_secrets(app, &entry.action, before.as_deref()) {
            Ok(spec) => {
                findings.merge(&place, check_action(app, tenant, &spec));
            }
            Err(finding) => findings.errors.push(finding.below(&place)),
        }
        for (number, spec) in entry.subscriptions.iter().enumerate() {
            let place = format!("{place}/subscriptions/{number}");
            findings.merge(&place, check_subscription(app, tenant, spec));
            if entry.subscriptions[..number].iter().any(|other| is_same(other, spec)) {
                let message = "the same pattern and name are there twice";
                findings.errors.push(Finding::new(FindingKind::Limit, place, message));
            }
        }
        if set.actions[..index].iter().any(|other| other.action.name == entry.action.name) {
            let message = format!("{} is there twice", entry.action.name);
            let place = format!("{place}/name");
            findings.errors.push(Finding::new(FindingKind::Limit, place, message));
        }
    }
    let configs = set.actions.iter().enumerate();
    let configs =
        configs.map(|(index, entry)| (format!("/actions/{index}/config"), &entry.action.config));
    findings.warnings.extend(missing_secrets(app, tenant, configs).await?);
    Ok(findings)
}

/// Says what applying a set would do.
pub async fn compare_definitions(
    app: &App,
    caller: &AuthorizationContext,
    request: &ApplyDefinitions,
) -> Result<Plan, ApplyDefinitionsError> {
    let definitions = current_definitions(app, request.tenant)
        .await?
        .ok_or(ApplyDefinitionsError::UnknownTenant)?;
    let findings = check_definitions(app, caller, request.tenant, &request.set).await?;
    if !findings.errors.is_empty() {
        return Err(ApplyDefinitionsError::Invalid(findings.errors));
    }
    let mut plan = Plan { changes: Vec::new(), warnings: findings.warnings };
    for entry in &request.set.actions {
        plan.changes.extend(compare_entry(app, &definitions, entry));
    }
    if request.prune {
        for action in left_out(&definitions, &request.set) {
            let name = action.spec.name.to_string();
            plan.changes.push(change("action", name, EntryChange::Deleted));
        }
    }
    Ok(plan)
}

/// Makes the tenant's definitions as the set says. All of it is checked before anything is
/// changed; then each definition takes effect by itself, in order.
pub async fn apply_definitions(
    app: &App,
    caller: &AuthorizationContext,
    request: ApplyDefinitions,
) -> Result<Plan, ApplyDefinitionsError> {
    app.require(caller, Permission::WriteDefinitions, request.tenant).await?;
    let mut plan = compare_definitions(app, caller, &request).await?;
    plan.changes.clear();
    let tenant = request.tenant;
    for entry in &request.set.actions {
        apply_entry(app, caller, tenant, entry, &mut plan).await?;
    }
    if request.prune {
        let definitions = app.catalogue.find(tenant).ok_or(ApplyDefinitionsError::UnknownTenant)?;
        for action in left_out(&definitions, &request.set) {
            let name = action.spec.name.clone();
            plan.changes.push(change("action", name.to_string(), EntryChange::Deleted));
            let expected = Expected::Version(action.version);
            delete_action(app, caller, DeleteAction { tenant, name, expected }).await?;
        }
    }
    Ok(plan)
}

/// The tenant's definitions as a set, without secrets: applying it again changes nothing.
pub async fn export_definitions(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
) -> Result<DefinitionSet, ApplyDefinitionsError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let definitions = app.catalogue.find(tenant).ok_or(ApplyDefinitionsError::UnknownTenant)?;
    let mut subscriptions: std::collections::HashMap<_, Vec<SubscriptionSpec>> =
        std::collections::HashMap::new();
    for subscription in definitions.subscriptions().into_iter().take(SUBSCRIPTIONS_MAX) {
        subscriptions.entry(subscription.action).or_default().push(subscription.spec.clone());
    }
    let entries = definitions.actions().into_iter().map(|action| {
        let mut spec = action.spec.clone();
        spec.config = shown_config(app, &action);
        let subscriptions = subscriptions.remove(&action.id).unwrap_or_default();
        DefinitionEntry { action: spec, subscriptions }
    });
    Ok(DefinitionSet { actions: entries.collect() })
}

fn compare_entry(
    app: &App,
    definitions: &TenantDefinitions,
    entry: &DefinitionEntry,
) -> Vec<PlannedChange> {
    let name = entry.action.name.to_string();
    let Some(before) = definitions.action_named(&name) else {
        let mut changes = vec![change("action", name.clone(), EntryChange::Created)];
        changes.extend(entry.subscriptions.iter().map(|spec| {
            change("subscription", subscription_name(&name, spec), EntryChange::Created)
        }));
        return changes;
    };
    let mut after = before.as_ref().clone();
    if let Ok(spec) = with_stored_secrets(app, &entry.action, Some(&before)) {
        after.spec = spec;
    }
    let differences = compare_actions(app, &before, &after);
    let kind = if differences.is_empty() { EntryChange::Unchanged } else { EntryChange::Updated };
    let mut changes = vec![PlannedChange { differences, ..change("action", name.clone(), kind) }];
    let stored = definitions.subscriptions_of(before.id);
    for spec in &entry.subscriptions {
        let kind = match stored.iter().find(|stored| is_same(&stored.spec, spec)) {
            Some(same) if same.spec == *spec => EntryChange::Unchanged,
            Some(_) => EntryChange::Updated,
            None => EntryChange::Created,
        };
        changes.push(change("subscription", subscription_name(&name, spec), kind));
    }
    for gone in gone_subscriptions(&stored, &entry.subscriptions) {
        let name = subscription_name(&name, &gone.spec);
        changes.push(change("subscription", name, EntryChange::Deleted));
    }
    changes
}

async fn apply_entry(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    entry: &DefinitionEntry,
    plan: &mut Plan,
) -> Result<(), ApplyDefinitionsError> {
    let name = entry.action.name.to_string();
    let request = SaveAction { tenant, spec: entry.action.clone(), expected: Expected::Anything };
    let saved = save_action(app, caller, request).await?;
    plan.changes.push(change("action", name.clone(), saved.change.into()));
    apply_each_subscription(app, caller, tenant, &name, &entry.subscriptions, plan).await
}

/// Makes the subscriptions of an action these, and says whether that changed any.
pub(crate) async fn apply_subscriptions(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    action: &str,
    wanted: &[SubscriptionSpec],
) -> Result<bool, ApplyDefinitionsError> {
    let mut plan = Plan::default();
    apply_each_subscription(app, caller, tenant, action, wanted, &mut plan).await?;
    Ok(!plan.is_empty())
}

async fn apply_each_subscription(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    action: &str,
    wanted: &[SubscriptionSpec],
    plan: &mut Plan,
) -> Result<(), ApplyDefinitionsError> {
    let known = app.catalogue.find(tenant);
    let stored = known
        .and_then(|known| Some(known.subscriptions_of(known.action_named(action)?.id)))
        .unwrap_or_default();
    for spec in wanted {
        let id = stored.iter().find(|stored| is_same(&stored.spec, spec)).map(|same| same.id);
        let request = SaveSubscription {
            tenant,
            id,
            action: action.to_owned(),
            spec: spec.clone(),
            expected: Expected::Anything,
        };
        let saved = save_subscription(app, caller, request).await?;
        let name = subscription_name(action, spec);
        plan.changes.push(change("subscription", name, saved.change.into()));
    }
    for gone in gone_subscriptions(&stored, wanted) {
        let expected = Expected::Version(gone.version);
        let id: SubscriptionId = gone.id;
        delete_subscription(app, caller, tenant, id, expected).await?;
        let name = subscription_name(action, &gone.spec);
        plan.changes.push(change("subscription", name, EntryChange::Deleted));
    }
    Ok(())
}

/// Two descriptions of one subscription: the same pattern, and the same name when they have one.
fn is_same(one: &SubscriptionSpec, other: &SubscriptionSpec) -> bool {
    one.event_pattern == other.event_pattern && one.name == other.name
}

fn gone_subscriptions<'a>(
    stored: &'a [Arc<Subscription>],
    wanted: &'a [SubscriptionSpec],
) -> impl Iterator<Item = &'a Arc<Subscription>> {
    stored.iter().filter(|stored| !wanted.iter().any(|spec| is_same(&stored.spec, spec)))
}

fn left_out(definitions: &TenantDefinitions, set: &DefinitionSet) -> Vec<Arc<Action>> {
    let mut actions = definitions.actions();
    actions.retain(|action| !set.actions.iter().any(|entry| entry.action.name == action.spec.name));
    actions
}

fn subscription_name(action: &str, spec: &SubscriptionSpec) -> String {
    match &spec.name {
        Some(name) => format!("{action}/{name}"),
        None => format!("{action}/{}", spec.event_pattern),
    }
}

fn change(kind: &'static str, name: String, change: EntryChange) -> PlannedChange {
    PlannedChange { kind, name, change, differences: Vec::new() }
}
