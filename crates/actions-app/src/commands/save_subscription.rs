//! Creates, replaces, switches and deletes subscriptions.

use std::sync::Arc;

use actions_domain::audit::{Act, ActKind};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::{ActionId, SubscriptionId, TenantId};
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::handler::FieldNote;
use actions_domain::ports::store::StoreError;
use actions_domain::settings::{Exceeded, Setting};
use actions_domain::subscription::{Subscription, SubscriptionSpec};

use serde_json::json;

use crate::app::App;
use crate::catalogue::TenantDefinitions;
use crate::commands::check_definition::{Finding, check_subscription};
use crate::commands::save_action::{Change, current_definitions};

pub struct SaveSubscription {
    pub tenant: TenantId,
    /// `None`: a new one.
    pub id: Option<SubscriptionId>,
    /// The action's name.
    pub action: String,
    pub spec: SubscriptionSpec,
    pub expected: Expected,
}

#[derive(Debug, Clone)]
pub struct SavedSubscription {
    pub subscription: Arc<Subscription>,
    pub change: Change,
    pub warnings: Vec<FieldNote>,
}

#[derive(Debug, thiserror::Error)]
pub enum SaveSubscriptionError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such tenant")]
    UnknownTenant,
    #[error("there is no action {name}")]
    UnknownAction { name: String },
    #[error("no such subscription")]
    NotFound,
    #[error("the definition breaks a rule")]
    Invalid(Vec<Finding>),
    #[error(transparent)]
    TooMany(#[from] Exceeded),
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Stores a subscription after checking it. The next event is matched with it.
pub async fn save_subscription(
    app: &App,
    caller: &AuthorizationContext,
    request: SaveSubscription,
) -> Result<SavedSubscription, SaveSubscriptionError> {
    caller.require(Permission::WriteDefinitions, request.tenant)?;
    let definitions = current_definitions(app, request.tenant)
        .await?
        .ok_or(SaveSubscriptionError::UnknownTenant)?;
    let action = definitions
        .action_named(&request.action)
        .ok_or(SaveSubscriptionError::UnknownAction { name: request.action })?;
    let findings = check_subscription(app, request.tenant, &request.spec);
    if !findings.errors.is_empty() {
        return Err(SaveSubscriptionError::Invalid(findings.errors));
    }
    let before = request.id.and_then(|id| definitions.subscription(id));
    let bound = if before.is_none() {
        let count = definitions.subscription_count();
        app.quotas.room_for_one(request.tenant, Setting::Subscriptions, count)?
    } else {
        None
    };
    let id = request
        .id
        .unwrap_or_else(|| SubscriptionId::mint(app.ports.clock.now(), app.ports.dice.bytes()));
    let (tenant, spec) = (request.tenant, &request.spec);
    let expected = request.expected.exactly(before.as_ref().map(|before| before.version));
    let act = act_on(app, caller, &definitions, (id, before.as_deref()), Some((action.id, spec)));
    let act = act.within(bound);
    let saved = app
        .ports
        .definitions
        .save_subscription(tenant, id, action.id, spec, expected, Some(&act))
        .await?;
    app.catalogue.refresh(request.tenant, saved.version).await?;
    let change = match before {
        None => Change::Created,
        Some(before) if before.version == saved.version => Change::Unchanged,
        Some(_) => Change::Updated,
    };
    let subscription = Arc::new(saved);
    Ok(SavedSubscription { subscription, change, warnings: findings.warnings })
}

/// What the audit says of a change of a subscription.
fn act_on(
    app: &App,
    caller: &AuthorizationContext,
    definitions: &TenantDefinitions,
    (id, before): (SubscriptionId, Option<&Subscription>),
    after: Option<(ActionId, &SubscriptionSpec)>,
) -> Act {
    let kind = match (before, after) {
        (_, None) => ActKind::SubscriptionDeleted,
        (None, Some(_)) => ActKind::SubscriptionCreated,
        (Some(_), Some(_)) => ActKind::SubscriptionUpdated,
    };
    let shown = |(action, spec): (ActionId, &SubscriptionSpec)| {
        let action = definitions.action(action).map(|action| action.spec.name.to_string());
        json!({ "action": action, "spec": spec })
    };
    app.act(caller, definitions.tenant.id, kind, format!("subscription:{id}"))
        .from(before.map(|before| shown((before.action, &before.spec))))
        .to(after.map(shown))
}

/// Switches a subscription on or off.
pub async fn switch_subscription(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: SubscriptionId,
    is_active: bool,
) -> Result<SavedSubscription, SaveSubscriptionError> {
    caller.require(Permission::WriteDefinitions, tenant)?;
    let definitions =
        current_definitions(app, tenant).await?.ok_or(SaveSubscriptionError::UnknownTenant)?;
    let before = definitions.subscription(id).ok_or(SaveSubscriptionError::NotFound)?;
    let mut spec = before.spec.clone();
    spec.is_active = is_active;
    let expected = Expected::Version(before.version);
    let after = Some((before.action, &spec));
    let act = act_on(app, caller, &definitions, (id, Some(&before)), after);
    let saved = app
        .ports
        .definitions
        .save_subscription(tenant, id, before.action, &spec, expected, Some(&act))
        .await?;
    app.catalogue.refresh(tenant, saved.version).await?;
    let change = if before.version == saved.version { Change::Unchanged } else { Change::Updated };
    Ok(SavedSubscription { subscription: Arc::new(saved), change, warnings: Vec::new() })
}

/// Deletes a subscription. The action stays.
pub async fn delete_subscription(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: SubscriptionId,
    expected: Expected,
) -> Result<(), SaveSubscriptionError> {
    caller.require(Permission::WriteDefinitions, tenant)?;
    let definitions =
        current_definitions(app, tenant).await?.ok_or(SaveSubscriptionError::UnknownTenant)?;
    let before = definitions.subscription(id);
    let expected = match (&before, expected) {
        (Some(before), Expected::Anything) => Expected::Version(before.version),
        (_, expected) => expected,
    };
    let act = act_on(app, caller, &definitions, (id, before.as_deref()), None);
    let version =
        app.ports.definitions.delete_subscription(tenant, id, expected, Some(&act)).await?;
    app.catalogue.refresh(tenant, version).await?;
    Ok(())
}
