//! Wraps data keys with the current master key, after that was changed.
//!
//! One request does a bounded piece of it. Which keys are left is what the store says, so it may
//! be stopped and asked again at any time, and by several at once.

use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::limits::SECRET_REWRAPS_MAX;
use actions_domain::ports::secrets::WrappedKey;
use actions_domain::ports::store::StoreError;
use actions_domain::ports::vault::VaultError;
use actions_domain::secret::MasterKeyId;
use metrics::gauge;
use serde_json::json;
use tracing::{info, warn};

use crate::app::App;

/// Data keys that are read at once.
const PAGE: u32 = 100;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrapped {
    pub rewrapped: u64,
    /// Data keys that another master key has wrapped.
    pub left: u64,
    /// Of these, those that cannot be wrapped anew here: their master key is not known here, or
    /// they are damaged.
    pub stuck: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RewrapSecretsError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the secrets cannot be read")]
    Store(#[from] StoreError),
}

/// Wraps up to [`SECRET_REWRAPS_MAX`] data keys of all tenants. Nothing is left when `left` is 0.
pub async fn rewrap_secrets(
    app: &App,
    caller: &AuthorizationContext,
) -> Result<Rewrapped, RewrapSecretsError> {
    app.require(caller, Permission::ManageTenants, TenantId::ADMIN).await?;
    let (current, older) = app.ports.vault.master_keys().split_first().ok_or(VaultError::NoKey)?;
    let act = app.act(caller, TenantId::ADMIN, ActKind::SecretsRewrapped, "secrets");
    app.ports.audit.record_act(&act.to(json!({ "master_key": current.as_str() }))).await?;
    let (mut rewrapped, mut damaged, mut after) = (0, 0, None);
    while rewrapped < u64::from(SECRET_REWRAPS_MAX) {
        let page = app.ports.secrets.wrapped_keys(older, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.place.id, last.place.number));
        for old in page {
            match app.ports.vault.rewrap(&old.place, &old.key, &old.wrapped).await {
                Ok((key, wrapped)) => {
                    let new = WrappedKey { place: old.place.clone(), key, wrapped };
                    // Who was quicker has put another version, or done the same.
                    rewrapped += u64::from(app.ports.secrets.rewrap(&old, &new).await?);
                }
                Err(VaultError::Damaged) => {
                    let (name, tenant) = (&old.place.name, old.place.tenant);
                    warn!(%name, %tenant, "the data key of a secret is damaged");
                    damaged += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    let counts = app.ports.secrets.wrapped_counts().await?;
    let left = left(&counts, current);
    let unknown = counts.iter().filter(|(key, _)| key != current && !older.contains(key));
    let stuck = damaged + unknown.map(|(_, count)| count).sum::<u64>();
    info!(rewrapped, left, key = %current, by = caller.actor, "secrets were wrapped anew");
    Ok(Rewrapped { rewrapped, left, stuck })
}

/// How many data keys another master key than this one has wrapped. It is told to the metrics, too.
pub(crate) fn left(counts: &[(MasterKeyId, u64)], current: &MasterKeyId) -> u64 {
    let left = counts.iter().filter(|(key, _)| key != current).map(|(_, count)| count).sum();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    gauge!("actions_secret_rewraps_left").set(left as f64);
    left
}
