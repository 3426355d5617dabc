//! `/v1/sessions`: logging in and out, and one's own session.

use std::sync::Arc;

use actions_app::commands::begin_session::{BeginSession, BegunSession, begin_session};
use actions_app::commands::change_account::set_own_password;
use actions_app::commands::end_session::end_own_session;
use actions_app::guess_counter::peer_of;
use actions_app::queries::accounts::own_session;
use actions_domain::account::{Password, csrf_token};
use actions_domain::limits::{LOGIN_BYTES_MAX, SESSION_IDLE_MAX, SESSION_LIFETIME};
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::accounts::SessionView;
use crate::body::{JsonBody, decode, read, require_json};
use crate::caller::{Access, Operator, check_host};
use crate::cookie;
use crate::page::json;
use crate::problem::{AUTH_CSRF, Problem};
use crate::request::RequestContext;
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(begin))
        .routes(routes!(show, end))
        .routes(routes!(set_password))
}

/// Who logs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tenant": "acme", "name": "ada@example.com", "password": "a few words that nobody guesses"}))]
struct SessionBody {
    /// The slug or the id of the account's tenant.
    tenant: String,
    name: String,
    #[schema(value_type = String, write_only)]
    password: Password,
    /// For a page of this server: the token becomes a cookie that no script can read, and what changes
    /// something has to send `X-Actions-CSRF` then.
    #[serde(default)]
    cookie: bool,
}

/// A session that has begun.
#[derive(Debug, Serialize, ToSchema)]
struct BegunView {
    id: Uuid,
    /// The slug of the account's tenant.
    tenant: String,
    account: String,
    role: &'static str,
    expires_at: Time,
    /// Unused for so long, it holds no more.
    idle_seconds: u64,
    /// To be sent as `Authorization: Bearer …`. Nobody can read it again. Missing where it became a
    /// cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// To be sent as `X-Actions-CSRF` with the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
}

/// One's own new password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OwnPasswordBody {
    /// The current one.
    #[schema(value_type = String, write_only)]
    password: Password,
    #[schema(value_type = String, write_only)]
    new_password: Password,
}

/// Logs in. The answer's token, or the cookie, is the credential from then on.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", operation_id = "begin_session",
    request_body = SessionBody, responses((status = 201, body = BegunView)))]
async fn begin(
    State(api): State<Api>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: Request,
) -> Result<Response, Problem> {
    if matches!(api.access, Access::LocalDev) {
        check_host(request.uri(), request.headers(), &api.sites)?;
    }
    // Another site's page must not log somebody in as somebody else.
    if !cookie::is_own_page(request.uri(), request.headers()) {
        return Err(Problem::new(&AUTH_CSRF, "pages of other sites log nobody in"));
    }
    require_json(request.headers())?;
    let bytes = Zeroizing::new(read(request, &api, LOGIN_BYTES_MAX).await?.to_vec());
    let body: SessionBody = decode(&bytes)?;
    let request = BeginSession {
        tenant: body.tenant,
        name: body.name,
        password: body.password,
        peer: peer_of(context.peer),
        request_id: context.request_id.clone(),
    };
    let BegunSession { signed_in, token } = begin_session(&api.app, request).await?;
    let (account, session) = (&signed_in.account, &signed_in.session);
    let home = api.app.catalogue.find(account.tenant);
    let view = BegunView {
        id: session.id.0,
        tenant: home.map(|home| home.tenant.slug.to_string()).unwrap_or_default(),
        account: account.name.to_string(),
        role: account.role.word(),
        expires_at: session.expires_at.into(),
        idle_seconds: SESSION_IDLE_MAX.as_secs(),
        token: (!body.cookie).then(|| token.expose().to_owned()),
        csrf_token: body.cookie.then(|| csrf_token(&token)),
    };
    let mut response = (StatusCode::CREATED, json(&view)).into_response();
    if body.cookie {
        let (name, value) = cookie::set(token.expose(), SESSION_LIFETIME.as_secs());
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Shows the session that the request came with.
#[utoipa::path(get, path = "/v1/sessions/current", tag = "sessions", operation_id = "get_session",
    responses((status = 200, body = SessionView)))]
async fn show(State(api): State<Api>, Operator(caller): Operator) -> Result<Response, Problem> {
    let found = own_session(&api.app, &caller).await?;
    Ok(json(&SessionView::from(found)))
}

/// Logs out: the session that the request came with holds no more.
#[utoipa::path(delete, path = "/v1/sessions/current", tag = "sessions",
    operation_id = "end_own_session", responses((status = 204)))]
async fn end(State(api): State<Api>, Operator(caller): Operator) -> Result<Response, Problem> {
    end_own_session(&api.app, &caller).await?;
    Ok((StatusCode::NO_CONTENT, [cookie::set("", 0)]).into_response())
}

/// Sets the password of whoever has this session, and ends all their sessions, this one too.
#[utoipa::path(post, path = "/v1/sessions/current/~set-password", tag = "sessions",
    operation_id = "set_own_password", request_body = OwnPasswordBody,
    responses((status = 204)))]
async fn set_password(
    State(api): State<Api>,
    Operator(caller): Operator,
    Extension(context): Extension<Arc<RequestContext>>,
    JsonBody(body): JsonBody<OwnPasswordBody>,
) -> Result<Response, Problem> {
    let peer = peer_of(context.peer);
    set_own_password(&api.app, &caller, peer, &body.password, &body.new_password).await?;
    Ok((StatusCode::NO_CONTENT, [cookie::set("", 0)]).into_response())
}
