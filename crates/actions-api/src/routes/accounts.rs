//! `…/accounts` and `…/sessions`: people who log in, and their sessions, as administrators see them.

use actions_app::commands::change_account::{ChangeAccount, change_account};
use actions_app::commands::create_account::{CreateAccount, create_account};
use actions_app::commands::end_session::end_session;
use actions_app::queries::accounts::{find_account, list_accounts, list_sessions};
use actions_domain::account::{Account, AccountName, Password, SignedIn};
use actions_domain::authorization::Role;
use actions_domain::id::{AccountId, SessionId};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::JsonBody;
use crate::caller::Caller;
use crate::extract::Segments;
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{ACCOUNT_INVALID, Problem};
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, delete))
        .routes(routes!(set_password))
        .routes(routes!(set_role))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(log_out))
        .routes(routes!(sessions))
        .routes(routes!(end))
}

/// An account to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "ada@example.com", "role": "operator", "password": "a few words that nobody guesses"}))]
struct AccountBody {
    /// Letters, digits and `. _ - + @`, so also a mail address. Unique among the tenant's accounts;
    /// capitals become small letters.
    name: String,
    /// As of an API key. Nobody can give more than they have.
    role: String,
    /// At least 12 characters, at most 256 bytes.
    #[schema(value_type = String, write_only)]
    password: Password,
}

/// A new password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    /// At least 12 characters, at most 256 bytes.
    #[schema(value_type = String, write_only)]
    password: Password,
}

/// Another role.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RoleBody {
    role: String,
}

/// An account. Its password is never shown.
#[derive(Debug, Serialize, ToSchema)]
struct AccountView {
    id: Uuid,
    name: String,
    role: &'static str,
    /// `active` or `disabled`.
    status: &'static str,
    created_by: String,
    created_at: Time,
    password_set_at: Time,
    disabled_at: Option<Time>,
    last_login_at: Option<Time>,
}

/// A session that holds. Its token is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    id: Uuid,
    account: String,
    role: &'static str,
    created_at: Time,
    expires_at: Time,
    /// To about a minute. An hour later it holds no more.
    last_used_at: Time,
}

/// Which account.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct AccountPath {
    /// Its name or its id.
    account: String,
}

/// Which session.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct SessionPath {
    /// Its id.
    session: String,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            status: if account.is_disabled() { "disabled" } else { "active" },
            id: account.id.0,
            name: account.name.to_string(),
            role: account.role.word(),
            created_by: account.created_by,
            created_at: account.created_at.into(),
            password_set_at: account.password_set_at.into(),
            disabled_at: account.disabled_at.map(Time),
            last_login_at: account.last_login_at.map(Time),
        }
    }
}

impl From<SignedIn> for SessionView {
    fn from(SignedIn { account, session }: SignedIn) -> Self {
        Self {
            id: session.id.0,
            account: account.name.to_string(),
            role: account.role.word(),
            created_at: session.created_at.into(),
            expires_at: session.expires_at.into(),
            last_used_at: session.last_used_at.into(),
        }
    }
}

fn role(raw: &str) -> Result<Role, Problem> {
    Role::parse(raw)
        .map_err(|error| Problem::at(&ACCOUNT_INVALID, Some("/role"), error.to_string()))
}

/// Lists the accounts of people, oldest first.
#[utoipa::path(get, path = "/accounts", tag = "accounts", operation_id = "list_accounts",
    params(ListParams), responses((status = 200, body = PageView<AccountView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let after: Option<AccountId> = query.place(caller.slug())?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let page = list_accounts(&api.app, authorization, tenant, after, query.limit).await?;
    let items = page.items.into_iter().map(AccountView::from).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Creates an account, which may log in at once.
#[utoipa::path(post, path = "/accounts", tag = "accounts", operation_id = "create_account",
    request_body = AccountBody, responses((status = 201, body = AccountView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<AccountBody>,
) -> Result<Response, Problem> {
    let name = AccountName::parse(&body.name)
        .map_err(|error| Problem::at(&ACCOUNT_INVALID, Some("/name"), error.to_string()))?;
    let (tenant, role) = (caller.tenant, role(&body.role)?);
    let request = CreateAccount { tenant, name, role, password: body.password };
    let account = create_account(&api.app, &caller.authorization, request).await?;
    let location = caller.href(&format!("accounts/{}", account.id));
    let mut response = (StatusCode::CREATED, json(&AccountView::from(account))).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Shows an account.
#[utoipa::path(get, path = "/accounts/{account}", tag = "accounts", operation_id = "get_account",
    params(AccountPath), responses((status = 200, body = AccountView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<AccountPath>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let account = find_account(&api.app, authorization, tenant, &path.account).await?;
    Ok(json(&AccountView::from(account)))
}

/// Deletes an account and ends its sessions, within two seconds on every node.
#[utoipa::path(delete, path = "/accounts/{account}", tag = "accounts",
    operation_id = "delete_account", params(AccountPath), responses((status = 204)))]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<AccountPath>,
) -> Result<StatusCode, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let change = ChangeAccount::Delete;
    change_account(&api.app, authorization, tenant, &path.account, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn changed(
    api: &Api,
    caller: &Caller,
    path: &AccountPath,
    change: ChangeAccount,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let account = change_account(&api.app, authorization, tenant, &path.account, change).await?;
    Ok(json(&AccountView::from(account)))
}

/// Sets an account's password and ends its sessions.
#[utoipa::path(post, path = "/accounts/{account}/~set-password", tag = "accounts",
    operation_id = "set_account_password", params(AccountPath), request_body = PasswordBody,
    responses((status = 200, body = AccountView)))]
async fn set_password(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<AccountPath>,
    JsonBody(body): JsonBody<PasswordBody>,
) -> Result<Response, Problem> {
    changed(&api, &caller, &path, ChangeAccount::SetPassword(body.password)).await
}

/// Gives an account another role and ends its sessions.
#[utoipa::path(post, path = "/accounts/{account}/~set-role", tag = "accounts",
    operation_id = "set_account_role", params(AccountPath), request_body = RoleBody,
    responses((status = 200, body = AccountView)))]
async fn set_role(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<AccountPath>,
    JsonBody(body): JsonBody<RoleBody>,
) -> Result<Response, Problem> {
    changed(&api, &caller, &path, ChangeAccount::SetRole(role(&body.role)?)).await
}

/// Lets an account log in no more, and ends its sessions.
#[utoipa::path(post, path = "/accounts/{account}/~disable", tag = "accounts",
    operation_id = "disable_account", params(AccountPath),
    responses((status = 200, body = AccountView)))]
async fn disable(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<AccountPath>,
) -> Result<Response, Problem> {
    changed(&api, &caller, &path, ChangeAccount::Disable).await
}

/// Lets a disabled account log in again.
#[utoipa::path(post, path = "/accounts/{account}/~enable", tag = "accounts",
    operation_id = "enable_account", params(AccountPath),
    responses((status = 200, body = AccountView)))]
async fn enable(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<AccountPath>,
) -> Result<Response, Problem> {
    changed(&api, &caller, &path, ChangeAccount::Enable).await
}

/// Ends all sessions of an account, which may log in again.
#[utoipa::path(post, path = "/accounts/{account}/~log-out", tag = "accounts",
    operation_id = "log_out_account", params(AccountPath),
    responses((status = 200, body = AccountView)))]
async fn log_out(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<AccountPath>,
) -> Result<Response, Problem> {
    changed(&api, &caller, &path, ChangeAccount::LogOut).await
}

/// Lists the sessions that hold, oldest first.
#[utoipa::path(get, path = "/sessions", tag = "accounts", operation_id = "list_sessions",
    params(ListParams), responses((status = 200, body = PageView<SessionView>)))]
async fn sessions(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let after: Option<SessionId> = query.place(caller.slug())?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let page = list_sessions(&api.app, authorization, tenant, after, query.limit).await?;
    let items = page.items.into_iter().map(SessionView::from).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Ends a session, within two seconds on every node.
#[utoipa::path(delete, path = "/sessions/{session}", tag = "accounts",
    operation_id = "end_session", params(SessionPath), responses((status = 204)))]
async fn end(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SessionPath>,
) -> Result<StatusCode, Problem> {
    // What no id can be is the id of nothing; but who may not ask is told that first.
    let session = path.session.parse().unwrap_or(SessionId(Uuid::nil()));
    end_session(&api.app, &caller.authorization, caller.tenant, session).await?;
    Ok(StatusCode::NO_CONTENT)
}
