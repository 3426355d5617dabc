//! Rotates and revokes API keys.

use std::time::Duration;

use actions_domain::api_key::ApiKey;
use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden};
use actions_domain::id::TenantId;
use actions_domain::limits::API_KEY_OVERLAP_MAX;
use actions_domain::ports::api_keys::ApiKeysError;
use actions_domain::ports::hints::Hint;
use serde_json::json;
use tracing::info;

use crate::app::App;
use crate::commands::create_api_key::{MintedApiKey, StillHoldsError, mint, still_holds, subject};
use crate::queries::QueryError;
use crate::queries::api_keys::find_api_key;

#[derive(Debug, thiserror::Error)]
pub enum ChangeApiKeyError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the API key is {0}; create another one")]
    Ended(&'static str),
    #[error("old tokens may hold for {days} days at most", days = API_KEY_OVERLAP_MAX.as_secs() / 86_400)]
    Overlap,
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    ApiKeys(#[from] ApiKeysError),
}

impl From<StillHoldsError> for ChangeApiKeyError {
    fn from(error: StillHoldsError) -> Self {
        match error {
            StillHoldsError::Forbidden(error) => Self::Forbidden(error),
            StillHoldsError::Store(error) => Self::Query(error.into()),
        }
    }
}

/// Gives a key a new token at once. The old ones hold for `overlap` more, so that whoever uses them
/// can be told in time; zero ends them now.
pub async fn rotate_api_key(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
    overlap: Duration,
) -> Result<MintedApiKey, ChangeApiKeyError> {
    let found = find_api_key(app, caller, tenant, name).await?;
    // Whoever gets the token may do what the key may.
    app.require_rank(caller, found.role, tenant).await?;
    let now = app.ports.clock.now();
    if !found.is_living(now) {
        return Err(ChangeApiKeyError::Ended(found.status(now).word()));
    }
    if overlap > API_KEY_OVERLAP_MAX {
        return Err(ChangeApiKeyError::Overlap);
    }
    still_holds(app, caller).await?;
    let token = mint(app);
    let (keys, others_end_at) = (&app.ports.api_keys, now + overlap);
    let (id, stored) = (found.id, token.stored());
    let act = app
        .act(caller, tenant, ActKind::ApiKeyRotated, subject(&found))
        .from(json!({ "id": id, "token_begins_with": found.lookup.beginning() }))
        .to(json!({
            "id": id,
            "token_begins_with": stored.lookup.beginning(),
            "old_tokens_end_at": others_end_at,
        }));
    let rotated = keys.rotate_api_key(tenant, id, &stored, others_end_at, now, Some(&act)).await;
    // Also when the answer was lost.
    if matches!(rotated, Ok(_) | Err(ApiKeysError::Store(_))) {
        tell(app);
    }
    let key = rotated?;
    let (id, name) = (key.id, &key.name);
    info!(%id, %name, %tenant, %others_end_at, by = caller.actor, "an API key was rotated");
    Ok(MintedApiKey { key, token })
}

/// Lets a key hold no more: here at once, everywhere within two seconds. Once is as good as twice.
pub async fn revoke_api_key(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
) -> Result<ApiKey, ChangeApiKeyError> {
    let found = find_api_key(app, caller, tenant, name).await?;
    app.require_rank(caller, found.role, tenant).await?;
    if found.revoked_at.is_some() {
        return Ok(found);
    }
    let act = app
        .act(caller, tenant, ActKind::ApiKeyRevoked, subject(&found))
        .from(json!({ "id": found.id, "role": found.role.word() }))
        .to(json!({ "id": found.id, "revoked": true }));
    let (keys, now) = (&app.ports.api_keys, app.ports.clock.now());
    let revoked = keys.revoke_api_key(tenant, found.id, now, Some(&act)).await;
    // Also when the answer was lost.
    tell(app);
    let key = revoked?;
    let (id, name) = (key.id, &key.name);
    info!(%id, %name, %tenant, by = caller.actor, "an API key was revoked");
    Ok(key)
}

/// Lets every node ask what has changed.
pub(super) fn tell(app: &App) {
    app.api_keys.doubt();
    app.hints.tell(Hint::ApiKeys);
}
