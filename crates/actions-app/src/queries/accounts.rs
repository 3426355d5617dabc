//! Accounts of people and their sessions, never their passwords and tokens.

use actions_domain::account::{Account, SignedIn};
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::{AccountId, SessionId, TenantId};

use crate::app::App;
use crate::queries::QueryError;
use crate::queries::scan::Page;

/// Lists the accounts of a tenant, oldest first.
pub async fn list_accounts(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    after: Option<AccountId>,
    limit: u32,
) -> Result<Page<Account, AccountId>, QueryError> {
    app.require(caller, Permission::ManageApiKeys, tenant).await?;
    let mut all = app.ports.accounts.accounts(tenant).await?;
    all.sort_by_key(|account| account.id);
    let mut rest = all.into_iter().filter(|account| after.is_none_or(|after| account.id > after));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let items: Vec<_> = rest.by_ref().take(limit).collect();
    let last = items.last().map(|account| account.id);
    let next = rest.next().and(last);
    Ok(Page { items, next })
}

/// Finds an account by its id or its name.
pub async fn find_account(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
) -> Result<Account, QueryError> {
    app.require(caller, Permission::ManageApiKeys, tenant).await?;
    let id = name.parse::<AccountId>().ok();
    let is_meant = |account: &Account| match id {
        Some(id) => account.id == id,
        None => account.name.as_str().eq_ignore_ascii_case(name),
    };
    let mut all = app.ports.accounts.accounts(tenant).await?.into_iter();
    all.find(is_meant).ok_or(QueryError::NotFound { what: "account" })
}

/// Lists the sessions of a tenant that hold, oldest first.
pub async fn list_sessions(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    after: Option<SessionId>,
    limit: u32,
) -> Result<Page<SignedIn, SessionId>, QueryError> {
    app.require(caller, Permission::ManageApiKeys, tenant).await?;
    let now = app.ports.clock.now();
    let mut all = app.ports.accounts.sessions(tenant, now).await?;
    all.retain(|found| found.session.end(now).is_none());
    all.sort_by_key(|found| found.session.id);
    let mut rest = all.into_iter().filter(|found| after.is_none_or(|a| found.session.id > a));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let items: Vec<_> = rest.by_ref().take(limit).collect();
    let last = items.last().map(|found| found.session.id);
    let next = rest.next().and(last);
    Ok(Page { items, next })
}

/// The caller's own session.
pub async fn own_session(app: &App, caller: &AuthorizationContext) -> Result<SignedIn, QueryError> {
    let missing = QueryError::NotFound { what: "session" };
    let Some(session) = caller.session else { return Err(missing) };
    app.ports.accounts.session(caller.tenant, session).await?.ok_or(missing)
}
