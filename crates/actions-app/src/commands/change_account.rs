//! Changes and deletes accounts. Whatever is changed ends the account's sessions: here at once,
//! everywhere within two seconds.

use actions_domain::account::{Account, AccountChange, Password, PasswordError};
use actions_domain::audit::{Act, ActKind};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Role};
use actions_domain::guesses::{Peer, Target};
use actions_domain::id::TenantId;
use actions_domain::ports::accounts::AccountsError;
use actions_domain::ports::passwords::{PasswordsError, Who};
use actions_domain::ports::store::StoreError;
use serde_json::json;
use std::time::Duration;
use tracing::info;

use crate::app::App;
use crate::commands::change_api_key::tell;
use crate::commands::create_account::{AccountRoleError, check_role, subject};
use crate::commands::create_api_key::{StillHoldsError, still_holds};
use crate::queries::QueryError;
use crate::queries::accounts::find_account;

/// What is to become of an account.
#[derive(Debug, Clone)]
pub enum ChangeAccount {
    SetPassword(Password),
    SetRole(Role),
    Disable,
    Enable,
    /// Ends its sessions and nothing else.
    LogOut,
    Delete,
}

#[derive(Debug, thiserror::Error)]
pub enum ChangeAccountError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Role(#[from] AccountRoleError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

impl From<StillHoldsError> for ChangeAccountError {
    fn from(error: StillHoldsError) -> Self {
        match error {
            StillHoldsError::Forbidden(error) => Self::Forbidden(error),
            StillHoldsError::Store(error) => Self::Query(error.into()),
        }
    }
}

/// Why somebody's own password was not set.
#[derive(Debug, thiserror::Error)]
pub enum SetOwnPasswordError {
    #[error("no such session")]
    NoSession,
    /// The current one.
    #[error("this is not the account's password")]
    Wrong,
    #[error("too many passwords were wrong; wait before the next one")]
    Throttled { wait: Duration },
    #[error(transparent)]
    Change(#[from] ChangeAccountError),
}

/// Changes an account that is named by its name or its id. Answers what it is now; of a deleted one,
/// what it was.
pub async fn change_account(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
    change: ChangeAccount,
) -> Result<Account, ChangeAccountError> {
    let found = find_account(app, caller, tenant, name).await?;
    // Whoever sets its password may do what it may.
    app.require_rank(caller, found.role, tenant).await?;
    let change = match change {
        ChangeAccount::SetPassword(password) => {
            password.check(&found.name)?;
            AccountChange::Password(app.ports.passwords.hash(&password).await?)
        }
        ChangeAccount::SetRole(role) => {
            app.require_rank(caller, role, tenant).await?;
            check_role(role, tenant)?;
            if role == found.role {
                return Ok(found);
            }
            AccountChange::Role(role)
        }
        ChangeAccount::Disable if found.is_disabled() => return Ok(found),
        ChangeAccount::Enable if !found.is_disabled() => return Ok(found),
        ChangeAccount::Disable => AccountChange::Disable,
        ChangeAccount::Enable => AccountChange::Enable,
        ChangeAccount::LogOut => AccountChange::LogOut,
        ChangeAccount::Delete => AccountChange::Delete,
    };
    still_holds(app, caller).await?;
    write(app, caller, &found, &change).await
}

/// Sets the password of whoever has this session and knows the current one.
pub async fn set_own_password(
    app: &App,
    caller: &AuthorizationContext,
    peer: Option<Peer>,
    current: &Password,
    new: &Password,
) -> Result<Account, SetOwnPasswordError> {
    let Some(session) = caller.session else { return Err(SetOwnPasswordError::NoSession) };
    let failed = |error: StoreError| SetOwnPasswordError::Change(AccountsError::from(error).into());
    let accounts = &app.ports.accounts;
    let own = accounts.session(caller.tenant, session).await.map_err(failed)?;
    let own = own.ok_or(SetOwnPasswordError::NoSession)?.account;
    let found = accounts.find_account(own.tenant, &own.name).await.map_err(failed)?;
    let (account, hash) = found.ok_or(SetOwnPasswordError::NoSession)?;
    new.check(&account.name).map_err(ChangeAccountError::from)?;
    // Whoever has stolen a session guesses as everybody does.
    let target = Target::of(&account.tenant.to_string(), account.name.as_str());
    app.guesses.try_login(target, peer).map_err(|wait| SetOwnPasswordError::Throttled { wait })?;
    let busy = |error: PasswordsError| {
        app.guesses.undo(target, peer);
        SetOwnPasswordError::Change(error.into())
    };
    let is_possible = current.is_possible();
    let is_right = app.ports.passwords.is_right(current, is_possible.then_some(&hash), Who::Known);
    if !is_right.await.map_err(busy)? {
        app.guesses.refuse(Some(account.tenant), Some(&account.name));
        return Err(SetOwnPasswordError::Wrong);
    }
    app.guesses.undo(target, peer);
    let hash = app.ports.passwords.hash(new).await.map_err(ChangeAccountError::from)?;
    still_holds(app, caller).await.map_err(ChangeAccountError::from)?;
    Ok(write(app, caller, &account, &AccountChange::Password(hash)).await?)
}

async fn write(
    app: &App,
    caller: &AuthorizationContext,
    account: &Account,
    change: &AccountChange,
) -> Result<Account, ChangeAccountError> {
    let act = act(app, caller, account, change);
    let now = app.ports.clock.now();
    let changed = app.ports.accounts.change_account(account, change, now, Some(&act)).await;
    // Also when the answer was lost.
    if matches!(changed, Ok(_) | Err(AccountsError::Store(_))) {
        tell(app);
    }
    let changed = changed?;
    let (id, name, tenant) = (account.id, &account.name, account.tenant);
    info!(%id, %name, %tenant, act = act.kind.word(), by = caller.actor, "an account was changed");
    Ok(changed)
}

fn act(app: &App, caller: &AuthorizationContext, account: &Account, change: &AccountChange) -> Act {
    let kind = match change {
        AccountChange::Password(_) => ActKind::AccountPasswordSet,
        AccountChange::Role(_) => ActKind::AccountRoleChanged,
        AccountChange::Disable => ActKind::AccountDisabled,
        AccountChange::Enable => ActKind::AccountEnabled,
        AccountChange::LogOut => ActKind::AccountLoggedOut,
        AccountChange::Delete => ActKind::AccountDeleted,
    };
    let act = app.act(caller, account.tenant, kind, subject(account));
    let before = json!({ "id": account.id, "role": account.role.word() });
    match change {
        AccountChange::Role(role) => {
            act.from(before).to(json!({ "id": account.id, "role": role.word() }))
        }
        AccountChange::Delete => act.from(before),
        AccountChange::Password(_)
        | AccountChange::Disable
        | AccountChange::Enable
        | AccountChange::LogOut => act.to(json!({ "id": account.id })),
    }
}
