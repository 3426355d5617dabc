//! Stores a secret, or its next version, and deletes it. Its text goes one way: nothing answers it.

use std::time::Duration;

use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::{SecretId, TenantId};
use actions_domain::limits::SECRET_OVERLAP_MAX;
use actions_domain::ports::secrets::{NextVersion, SecretsError};
use actions_domain::ports::store::StoreError;
use actions_domain::ports::vault::VaultError;
use actions_domain::secret::{
    Secret, SecretName, SecretNameError, SecretPlace, SecretText, SecretTextError,
};
use actions_domain::settings::{Exceeded, Setting};
use serde_json::json;
use tracing::info;

use crate::app::App;
use crate::commands::create_api_key::{StillHoldsError, still_holds};
use crate::commands::save_action::Change;

/// How often somebody else may put a version at the same moment.
const TRIES_MAX: u32 = 5;

pub struct PutSecret {
    pub tenant: TenantId,
    pub name: SecretName,
    pub text: SecretText,
    /// How long the version before may still be used, as `secrets.previous`.
    pub overlap: Duration,
}

/// A secret as it is stored now.
#[derive(Debug, Clone)]
pub struct StoredSecret {
    pub secret: Secret,
    pub change: Change,
}

#[derive(Debug, thiserror::Error)]
pub enum PutSecretError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Name(#[from] SecretNameError),
    #[error(transparent)]
    Text(#[from] SecretTextError),
    #[error("the previous version may be used for {days} days at most", days = SECRET_OVERLAP_MAX.as_secs() / 86_400)]
    Overlap,
    #[error(transparent)]
    TooMany(#[from] Exceeded),
    #[error("the secret cannot be sealed: {0}")]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

impl From<StillHoldsError> for PutSecretError {
    fn from(error: StillHoldsError) -> Self {
        match error {
            StillHoldsError::Forbidden(error) => Self::Forbidden(error),
            StillHoldsError::Store(error) => Self::Store(error),
        }
    }
}

/// Stores a text as the current version: used here at once, everywhere within two seconds.
///
/// The one before may be used until its overlap is over. A text that is the current one changes nothing,
/// so a request whose answer was lost can be repeated.
pub async fn put_secret(
    app: &App,
    caller: &AuthorizationContext,
    request: PutSecret,
) -> Result<StoredSecret, PutSecretError> {
    caller.require(Permission::ManageSecrets, request.tenant)?;
    request.text.check()?;
    if request.overlap > SECRET_OVERLAP_MAX {
        return Err(PutSecretError::Overlap);
    }
    if app.ports.vault.master_keys().is_empty() {
        return Err(VaultError::NoKey.into());
    }
    still_holds(app, caller).await?;
    let mut tries = 0;
    loop {
        tries += 1;
        match put_once(app, caller, &request).await {
            Err(PutSecretError::Secrets(SecretsError::Stale)) if tries < TRIES_MAX => {}
            done => return done,
        }
    }
}

async fn put_once(
    app: &App,
    caller: &AuthorizationContext,
    request: &PutSecret,
) -> Result<StoredSecret, PutSecretError> {
    let PutSecret { tenant, name, text, overlap } = request;
    let (store, vault) = (&app.ports.secrets, &app.ports.vault);
    let before = store.find_secrets(*tenant, std::slice::from_ref(name)).await?.pop();
    let bound = if let Some(before) = &before {
        let place = before.secret.place(before.secret.current.number);
        // One that cannot be opened any more is replaced.
        if let Ok(current) = vault.open(&place, &before.current).await
            && current.is_same(text)
        {
            let secret = before.secret.clone();
            return Ok(StoredSecret { secret, change: Change::Unchanged });
        }
        None
    } else {
        let count = store.secrets(*tenant).await?.len();
        app.quotas.room_for_one(*tenant, Setting::Secrets, count)?
    };
    let at = app.ports.clock.now();
    let place = match &before {
        Some(before) => before.secret.place(before.secret.current.number + 1),
        None => SecretPlace {
            tenant: *tenant,
            id: SecretId::mint(at, app.ports.dice.bytes()),
            name: name.clone(),
            number: 1,
        },
    };
    let sealed = vault.seal(&place, text).await?;
    let (by, previous_ends_at) = (caller.actor.clone(), at + *overlap);
    let kind = if before.is_some() { ActKind::SecretReplaced } else { ActKind::SecretCreated };
    let versions = |number| json!({ "version": number });
    let act = app
        .act(caller, *tenant, kind, format!("secret:{name}"))
        .within(bound)
        .from(before.as_ref().map(|before| versions(before.secret.current.number)))
        .to(versions(place.number));
    let put = NextVersion { place, sealed, at, by, previous_ends_at };
    let put = store.put_secret(&put, Some(&act)).await;
    // Also when the answer was lost.
    app.secrets.doubt();
    let secret = put?;
    let (number, key) = (secret.current.number, &secret.current.key);
    info!(%name, %tenant, version = number, %key, by = caller.actor, "a secret was put");
    let change = if before.is_some() { Change::Updated } else { Change::Created };
    Ok(StoredSecret { secret, change })
}

#[derive(Debug, thiserror::Error)]
pub enum DeleteSecretError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

/// Forgets a secret with all its versions. What names it fails from now on.
pub async fn delete_secret(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &SecretName,
) -> Result<(), DeleteSecretError> {
    caller.require(Permission::ManageSecrets, tenant)?;
    let act = app.act(caller, tenant, ActKind::SecretDeleted, format!("secret:{name}"));
    let deleted = app.ports.secrets.delete_secret(tenant, name, Some(&act)).await;
    app.secrets.doubt();
    deleted?;
    info!(%name, %tenant, by = caller.actor, "a secret was deleted");
    Ok(())
}
