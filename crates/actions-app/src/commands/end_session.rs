//! Ends sessions: one's own, or that of somebody else.

use actions_domain::account::SignedIn;
use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::{SessionId, TenantId};
use actions_domain::ports::accounts::AccountsError;
use actions_domain::ports::store::StoreError;
use serde_json::json;
use tracing::info;

use crate::app::App;
use crate::commands::change_api_key::tell;
use crate::commands::create_account::subject;

#[derive(Debug, thiserror::Error)]
pub enum EndSessionError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such session")]
    NotFound,
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Logs the caller out. Whoever came without a session has none to end.
pub async fn end_own_session(
    app: &App,
    caller: &AuthorizationContext,
) -> Result<(), EndSessionError> {
    let session = caller.session.ok_or(EndSessionError::NotFound)?;
    let found = app.ports.accounts.session(caller.tenant, session).await?;
    end(app, caller, &found.ok_or(EndSessionError::NotFound)?).await
}

/// Ends somebody's session: here at once, everywhere within two seconds. Once is as good as twice.
pub async fn end_session(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    session: SessionId,
) -> Result<(), EndSessionError> {
    app.require(caller, Permission::ManageApiKeys, tenant).await?;
    let found = app.ports.accounts.session(tenant, session).await?;
    let found = found.ok_or(EndSessionError::NotFound)?;
    app.require_rank(caller, found.account.role, tenant).await?;
    end(app, caller, &found).await
}

async fn end(
    app: &App,
    caller: &AuthorizationContext,
    found: &SignedIn,
) -> Result<(), EndSessionError> {
    let SignedIn { account, session } = found;
    if session.ended_at.is_some() {
        return Ok(());
    }
    let (tenant, now) = (session.tenant, app.ports.clock.now());
    let act = app
        .act(caller, tenant, ActKind::SessionEnded, subject(account))
        .from(json!({ "id": session.id, "created_at": session.created_at }));
    let ended = app.ports.accounts.end_session(tenant, session.id, now, Some(&act)).await;
    // Also when the answer was lost.
    tell(app);
    ended?;
    let (id, name) = (session.id, &account.name);
    info!(%id, account = %name, %tenant, by = caller.actor, "a session was ended");
    Ok(())
}
