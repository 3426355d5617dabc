//! Creates an account of a person.

use actions_domain::account::{Account, AccountName, Password, PasswordError};
use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Role};
use actions_domain::id::{AccountId, TenantId};
use actions_domain::limits::ACCOUNTS_MAX;
use actions_domain::ports::accounts::AccountsError;
use actions_domain::ports::passwords::PasswordsError;
use actions_domain::ports::store::StoreError;
use serde_json::json;
use tracing::info;

use crate::app::App;
use crate::commands::create_api_key::{StillHoldsError, still_holds};

pub struct CreateAccount {
    pub tenant: TenantId,
    pub name: AccountName,
    pub role: Role,
    pub password: Password,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateAccountError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Role(#[from] AccountRoleError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// A role that no account of the tenant has.
#[derive(Debug, thiserror::Error)]
pub enum AccountRoleError {
    #[error("{role} sees all tenants; its accounts belong to the tenant admin")]
    OtherTenant { role: Role },
    #[error("no account has the role {role}")]
    Unknown { role: Role },
}

impl From<StillHoldsError> for CreateAccountError {
    fn from(error: StillHoldsError) -> Self {
        match error {
            StillHoldsError::Forbidden(error) => Self::Forbidden(error),
            StillHoldsError::Store(error) => Self::Store(error),
        }
    }
}

/// Creates an account, which may log in at once, on every node.
pub async fn create_account(
    app: &App,
    caller: &AuthorizationContext,
    request: CreateAccount,
) -> Result<Account, CreateAccountError> {
    let CreateAccount { tenant, name, role, password } = request;
    app.require_rank(caller, role, tenant).await?;
    check_role(role, tenant)?;
    password.check(&name)?;
    if app.ports.accounts.accounts(tenant).await?.len() >= ACCOUNTS_MAX {
        // Asked again where it is written. Here it saves the work of hashing.
        return Err(AccountsError::TooMany.into());
    }
    let hash = app.ports.passwords.hash(&password).await?;
    // Hashing took its time.
    still_holds(app, caller).await?;
    let now = app.ports.clock.now();
    let account = Account {
        id: AccountId::mint(now, app.ports.dice.bytes()),
        tenant,
        name,
        role,
        created_by: caller.actor.clone(),
        created_at: now,
        password_set_at: now,
        disabled_at: None,
        last_login_at: None,
        revision: 0,
    };
    let act = app
        .act(caller, tenant, ActKind::AccountCreated, subject(&account))
        .to(json!({ "id": account.id, "role": role.word() }));
    app.ports.accounts.create_account(&account, &hash, Some(&act)).await?;
    let (id, name) = (account.id, &account.name);
    info!(%id, %name, %tenant, %role, by = caller.actor, "an account was created");
    Ok(account)
}

/// Accounts have the roles that API keys have.
pub(super) fn check_role(role: Role, tenant: TenantId) -> Result<(), AccountRoleError> {
    if !Role::OF_API_KEYS.contains(&role) {
        return Err(AccountRoleError::Unknown { role });
    }
    if role.spans_tenants() && tenant != TenantId::ADMIN {
        return Err(AccountRoleError::OtherTenant { role });
    }
    Ok(())
}

/// What the audit calls an account.
pub(super) fn subject(account: &Account) -> String {
    format!("account:{}", account.name)
}
