//! Creates, replaces, switches and restores actions.

use std::sync::Arc;

use actions_domain::action::{Action, ActionName, ActionSpec};
use actions_domain::audit::{Act, ActKind};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::handler::FieldNote;
use actions_domain::ports::store::StoreError;
use actions_domain::settings::{Exceeded, Setting};
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use crate::app::App;
use crate::catalogue::TenantDefinitions;
use crate::commands::check_definition::{Finding, FindingKind, check_action};
use crate::commands::submit_event::republish;
use crate::config_secrets::missing_secrets;
use crate::node::engine_events;
use crate::queries::definitions::shown_specification;
use crate::secrets;

pub struct SaveAction {
    pub tenant: TenantId,
    pub spec: ActionSpec,
    pub expected: Expected,
}

/// An action as it is stored now.
#[derive(Debug, Clone)]
pub struct SavedAction {
    pub action: Arc<Action>,
    pub change: Change,
    pub warnings: Vec<FieldNote>,
}

/// What saving something did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Created,
    Updated,
    /// It was there already, exactly like this.
    Unchanged,
}

impl Change {
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SaveActionError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such tenant")]
    UnknownTenant,
    #[error("no such action")]
    NotFound,
    /// Everything that is wrong at once; never empty.
    #[error("the definition breaks a rule")]
    Invalid(Vec<Finding>),
    #[error(transparent)]
    TooMany(#[from] Exceeded),
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// How often an action is saved again because somebody else saved it at the same moment.
const SAVE_AGAIN_MAX: u32 = 10;

/// Stores an action after checking it. The next event is matched with it.
///
/// A secret that is sent as [`secrets::MASK`] keeps its stored value.
pub async fn save_action(
    app: &App,
    caller: &AuthorizationContext,
    request: SaveAction,
) -> Result<SavedAction, SaveActionError> {
    caller.require(Permission::WriteDefinitions, request.tenant)?;
    let mut tries = 1;
    loop {
        let saved = save_over(app, caller, &request).await;
        match saved {
            Err(SaveActionError::Definitions(error))
                if request.expected == Expected::Anything
                    && has_lost_race(&error)
                    && tries < SAVE_AGAIN_MAX =>
            {
                tries += 1;
            }
            saved => return saved,
        }
    }
}

/// Stores an action over the state that is there.
async fn save_over(
    app: &App,
    caller: &AuthorizationContext,
    request: &SaveAction,
) -> Result<SavedAction, SaveActionError> {
    let definitions =
        current_definitions(app, request.tenant).await?.ok_or(SaveActionError::UnknownTenant)?;
    let before = definitions.action_named(request.spec.name.as_str());
    let spec = with_stored_secrets(app, &request.spec, before.as_deref())
        .map_err(|missing| SaveActionError::Invalid(vec![missing]))?;
    let mut findings = check_action(app, request.tenant, &spec);
    if !findings.errors.is_empty() {
        return Err(SaveActionError::Invalid(findings.errors));
    }
    let version = before.as_ref().map(|before| before.version);
    let expected = request.expected.exactly(version);
    let config = [("/config".to_owned(), &spec.config)];
    findings.warnings.extend(missing_secrets(app, request.tenant, config).await?);
    let (action, change) =
        store(app, caller, &definitions, before.as_deref(), &spec, expected).await?;
    Ok(SavedAction { action, change, warnings: findings.warnings })
}

/// Switches an action on or off. An action that is off starts nothing more.
pub async fn switch_action(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
    is_active: bool,
) -> Result<SavedAction, SaveActionError> {
    caller.require(Permission::WriteDefinitions, tenant)?;
    let definitions =
        current_definitions(app, tenant).await?.ok_or(SaveActionError::UnknownTenant)?;
    let before = definitions.action_named(name).ok_or(SaveActionError::NotFound)?;
    let mut spec = before.spec.clone();
    spec.is_active = is_active;
    let expected = Expected::Version(before.version);
    let (action, change) = store(app, caller, &definitions, Some(&before), &spec, expected).await?;
    Ok(SavedAction { action, change, warnings: Vec::new() })
}

/// Makes an older version of an action, also of a deleted one, the current one again.
pub async fn restore_action(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &ActionName,
    version: i64,
) -> Result<SavedAction, SaveActionError> {
    caller.require(Permission::WriteDefinitions, tenant)?;
    let before = Some(version.saturating_add(1));
    let older = app.ports.definitions.action_versions(tenant, name, before, 1).await?.pop();
    let older = older.filter(|older| older.version == version && !older.deleted);
    let spec = older.ok_or(SaveActionError::NotFound)?.spec;
    save_action(app, caller, SaveAction { tenant, spec, expected: Expected::Anything }).await
}

/// The tenant's definitions as the store has them at this moment, for commands that compare.
pub(crate) async fn current_definitions(
    app: &App,
    tenant: TenantId,
) -> Result<Option<Arc<TenantDefinitions>>, StoreError> {
    match app.catalogue.find(tenant) {
        // One more than what is here: whatever is new is read.
        Some(known) => app.catalogue.refresh(tenant, known.version() + 1).await?,
        None => app.catalogue.refresh_all().await?,
    }
    Ok(app.catalogue.find(tenant))
}

/// The specification with the stored values of the secrets that it only masks.
pub(crate) fn with_stored_secrets(
    app: &App,
    spec: &ActionSpec,
    before: Option<&Action>,
) -> Result<ActionSpec, Finding> {
    let handler = app.handlers.find(&spec.handler);
    let schema = handler.as_ref().map(|handler| &handler.descriptor().config_schema);
    let stored = before.map(|before| &before.spec.config);
    let config = secrets::unmasked(schema, &spec.config, stored).map_err(|missing| {
        let pointer = format!("/config{}", missing.pointer);
        Finding::new(FindingKind::Config, pointer, missing.to_string())
    })?;
    Ok(ActionSpec { config, ..spec.clone() })
}

/// Whether somebody else changed it at the same moment.
pub(super) fn has_lost_race(error: &DefinitionsError) -> bool {
    match error {
        DefinitionsError::Exists { .. }
        | DefinitionsError::Retired { .. }
        | DefinitionsError::NotFound { .. }
        | DefinitionsError::Stale { .. } => true,
        DefinitionsError::TooMany(_) | DefinitionsError::Store(_) => false,
    }
}

/// What the audit says of a change of an action: its states without secrets.
pub(super) fn act_on_action(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    before: Option<&Action>,
    spec: &ActionSpec,
) -> Act {
    let kind = if before.is_some() { ActKind::ActionUpdated } else { ActKind::ActionCreated };
    let before = before.map(|before| shown_specification(app, &before.spec));
    app.act(caller, tenant, kind, format!("action:{}", spec.name))
        .from(before)
        .to(shown_specification(app, spec))
}

/// Stores a checked specification and makes it known here.
async fn store(
    app: &App,
    caller: &AuthorizationContext,
    definitions: &TenantDefinitions,
    before: Option<&Action>,
    spec: &ActionSpec,
    expected: Expected,
) -> Result<(Arc<Action>, Change), SaveActionError> {
    let tenant = definitions.tenant.id;
    let uuid = before.map_or_else(|| new_uuid(app), |before| before.uuid);
    let bound = if before.is_none() {
        app.quotas.room_for_one(tenant, Setting::Actions, definitions.action_count())?
    } else {
        None
    };
    let act = act_on_action(app, caller, tenant, before, spec).within(bound);
    let saved = app.ports.definitions.save_action(tenant, uuid, spec, expected, Some(&act)).await?;
    app.catalogue.refresh(tenant, saved.version).await?;
    let change = match before {
        None => Change::Created,
        Some(before) if before.version == saved.version => Change::Unchanged,
        Some(_) => Change::Updated,
    };
    if change == Change::Created {
        let data = json!({
            "action": saved.spec.name,
            "action_id": saved.uuid,
            "action_type": saved.spec.action_type,
            "handler": saved.spec.handler,
            "version": saved.version,
        });
        announce(app, tenant, "actions.created", &data).await;
    }
    Ok((Arc::new(saved), change))
}

/// Publishes an event about a definition when somebody listens. The definition is stored by
/// now, so a failure is only logged.
async fn announce(app: &App, tenant: TenantId, event_type: &str, data: &Value) {
    let listens = app.catalogue.find(tenant).is_some_and(|known| known.listens_to_engine());
    if !listens {
        return;
    }
    let event = engine_events::about_action(app, tenant, event_type, data);
    if let Err(error) = republish(app, Arc::new(event)).await {
        warn!(%error, event_type, "the event about a definition was not published");
    }
}

/// A new founding id: a UUIDv7 like all others.
pub(crate) fn new_uuid(app: &App) -> Uuid {
    actions_domain::id::EventId::mint(app.ports.clock.now(), app.ports.dice.bytes()).0
}
