//! Creates an API key.

use actions_domain::Timestamp;
use actions_domain::api_key::{ApiKey, ApiKeyName, TOKEN_RANDOM_BYTES, Token};
use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Role};
use actions_domain::id::{ApiKeyId, TenantId};
use actions_domain::limits::API_KEY_LIFETIME_MAX;
use actions_domain::ports::api_keys::ApiKeysError;
use actions_domain::ports::store::StoreError;
use actions_domain::settings::{Exceeded, Setting};
use serde_json::json;
use tracing::info;

use crate::app::App;

pub struct CreateApiKey {
    pub tenant: TenantId,
    pub name: ApiKeyName,
    pub role: Role,
    /// `None`: it holds until it is revoked.
    pub expires_at: Option<Timestamp>,
}

/// A key and its newest token, which nobody can read again.
#[derive(Debug)]
pub struct MintedApiKey {
    pub key: ApiKey,
    pub token: Token,
}

#[derive(Debug, thiserror::Error)]
pub enum StillHoldsError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

impl From<StillHoldsError> for CreateApiKeyError {
    fn from(error: StillHoldsError) -> Self {
        match error {
            StillHoldsError::Forbidden(error) => Self::Forbidden(error),
            StillHoldsError::Store(error) => Self::Store(error),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CreateApiKeyError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("{role} sees all tenants; its API keys belong to the tenant admin")]
    OtherTenant { role: Role },
    #[error("no API key has the role {role}")]
    Role { role: Role },
    #[error("it would have expired already")]
    Past,
    #[error("an API key holds for {days} days at most; without an end it holds until it is revoked", days = API_KEY_LIFETIME_MAX.as_secs() / 86_400)]
    TooLong,
    #[error(transparent)]
    TooMany(#[from] Exceeded),
    #[error(transparent)]
    ApiKeys(#[from] ApiKeysError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Creates a key with a first token, which may be used at once, on every node.
pub async fn create_api_key(
    app: &App,
    caller: &AuthorizationContext,
    request: CreateApiKey,
) -> Result<MintedApiKey, CreateApiKeyError> {
    let CreateApiKey { tenant, name, role, expires_at } = request;
    caller.require_rank(role, tenant)?;
    if !Role::OF_API_KEYS.contains(&role) {
        return Err(CreateApiKeyError::Role { role });
    }
    if role.spans_tenants() && tenant != TenantId::ADMIN {
        return Err(CreateApiKeyError::OtherTenant { role });
    }
    let now = app.ports.clock.now();
    if let Some(end) = expires_at {
        let life = (end - now).to_std().ok().filter(|life| !life.is_zero());
        if life.ok_or(CreateApiKeyError::Past)? > API_KEY_LIFETIME_MAX {
            return Err(CreateApiKeyError::TooLong);
        }
    }
    let all = app.ports.api_keys.api_keys(tenant).await?;
    let living = all.iter().filter(|key| key.is_living(now)).count();
    let bound = app.quotas.room_for_one(tenant, Setting::ApiKeys, living)?;
    still_holds(app, caller).await?;
    let token = mint(app);
    let key = ApiKey {
        id: ApiKeyId::mint(now, app.ports.dice.bytes()),
        tenant,
        name,
        role,
        created_by: caller.actor.clone(),
        created_at: now,
        expires_at,
        last_used_at: None,
        revoked_at: None,
        lookup: token.lookup(),
        others_end_at: None,
    };
    let act = app
        .act(caller, tenant, ActKind::ApiKeyCreated, subject(&key))
        .within(bound)
        .to(json!({ "id": key.id, "role": role.word(), "expires_at": expires_at }));
    app.ports.api_keys.create_api_key(&key, &token.stored(), Some(&act)).await?;
    let (id, name) = (key.id, &key.name);
    info!(%id, %name, %tenant, %role, by = caller.actor, "an API key was created");
    Ok(MintedApiKey { key, token })
}

/// Whoever sends a body slowly was let in a while ago. A key that was revoked since makes no other
/// one, or its owner could not be shut out.
pub(super) async fn still_holds(
    app: &App,
    caller: &AuthorizationContext,
) -> Result<(), StillHoldsError> {
    let Some(id) = caller.api_key else { return Ok(()) };
    let now = app.ports.clock.now();
    let keys = app.ports.api_keys.api_keys(caller.tenant).await?;
    if keys.iter().any(|key| key.id == id && key.is_living(now)) {
        return Ok(());
    }
    Err(Forbidden::Ended { actor: caller.actor.clone() }.into())
}

/// What the audit calls a key.
pub(super) fn subject(key: &ApiKey) -> String {
    format!("key:{}", key.name)
}

pub(super) fn mint(app: &App) -> Token {
    let mut random = [0; TOKEN_RANDOM_BYTES];
    app.ports.dice.fill(&mut random);
    Token::mint(&random)
}
