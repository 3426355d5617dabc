//! `…/keys`: API keys.

use std::time::Duration;

use actions_app::commands::change_api_key::{revoke_api_key, rotate_api_key};
use actions_app::commands::create_api_key::{CreateApiKey, MintedApiKey, create_api_key};
use actions_app::queries::api_keys::{find_api_key, list_api_keys};
use actions_domain::Timestamp;
use actions_domain::api_key::{ApiKey, ApiKeyName};
use actions_domain::authorization::Role;
use actions_domain::id::ApiKeyId;
use actions_domain::limits::API_KEY_OVERLAP_DEFAULT;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{SubsecRound, TimeDelta};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{JsonBody, OptionalBody};
use crate::caller::Caller;
use crate::extract::Segments;
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{API_KEY_INVALID, Problem};
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, revoke))
        .routes(routes!(rotate))
}

/// An API key to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "checkout", "role": "ingest_only", "expires_in_seconds": 7776000}))]
struct ApiKeyBody {
    /// Letters, digits, `_`, `-` and `.`. Unique among the tenant's keys that hold.
    name: String,
    /// `platform_admin` (of the tenant admin only), `tenant_admin`, `operator`, `developer`,
    /// `viewer`, `ingest_only` or `worker`. Nobody can give more than they have.
    role: String,
    /// From then on it holds no more. Without an end it holds until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The same as a time from now.
    expires_in_seconds: Option<u32>,
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RotateBody {
    /// How long the old tokens go on to hold: a day if it is missing, 0 ends them at once.
    overlap_seconds: Option<u32>,
}

/// An API key. Its tokens are never shown again.
#[derive(Debug, Serialize, ToSchema)]
struct ApiKeyView {
    id: Uuid,
    name: String,
    role: &'static str,
    /// `active`, `expired` or `revoked`.
    status: &'static str,
    /// What its newest token begins with. It is no secret, and finds the key of a leaked token.
    token_begins_with: String,
    created_by: String,
    created_at: Time,
    expires_at: Option<Time>,
    /// To about a minute.
    last_used_at: Option<Time>,
    revoked_at: Option<Time>,
    /// Until then tokens from before the last rotation may still hold.
    old_tokens_end_at: Option<Time>,
}

/// An API key with its new token, which nobody can read again.
#[derive(Debug, Serialize, ToSchema)]
struct MintedApiKeyView {
    #[serde(flatten)]
    key: ApiKeyView,
    /// To be sent as `Authorization: Bearer …`.
    token: String,
}

/// Which API key.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct ApiKeyPath {
    /// Its id, or the name of one that holds.
    key: String,
}

impl ApiKeyView {
    fn new(key: ApiKey, now: Timestamp) -> Self {
        Self {
            status: key.status(now).word(),
            id: key.id.0,
            name: key.name.to_string(),
            role: key.role.word(),
            token_begins_with: key.lookup.beginning(),
            created_by: key.created_by,
            created_at: key.created_at.into(),
            expires_at: key.expires_at.map(Time),
            last_used_at: key.last_used_at.map(Time),
            revoked_at: key.revoked_at.map(Time),
            old_tokens_end_at: key.others_end_at.map(Time),
        }
    }
}

impl MintedApiKeyView {
    fn new(minted: MintedApiKey, now: Timestamp) -> Self {
        let token = minted.token.expose().to_owned();
        Self { key: ApiKeyView::new(minted.key, now), token }
    }
}

fn invalid(pointer: &'static str, message: impl ToString) -> Problem {
    Problem::at(&API_KEY_INVALID, Some(pointer), message.to_string())
}

impl ApiKeyBody {
    fn into_request(self, caller: &Caller, now: Timestamp) -> Result<CreateApiKey, Problem> {
        let expires_at = match (self.expires_at, self.expires_in_seconds) {
            // Stores and answers keep microseconds.
            (Some(at), None) => Some(at.trunc_subsecs(6)),
            (None, Some(seconds)) => Some(now + TimeDelta::seconds(i64::from(seconds))),
            (None, None) => None,
            (Some(_), Some(_)) => {
                let message = "either expires_at or expires_in_seconds, not both";
                return Err(invalid("/expires_in_seconds", message));
            }
        };
        Ok(CreateApiKey {
            tenant: caller.tenant,
            name: ApiKeyName::parse(&self.name).map_err(|error| invalid("/name", error))?,
            role: Role::parse(&self.role).map_err(|error| invalid("/role", error))?,
            expires_at,
        })
    }
}

/// Lists API keys, oldest first, with those that hold no more.
#[utoipa::path(get, path = "/keys", tag = "API keys", operation_id = "list_api_keys",
    params(ListParams), responses((status = 200, body = PageView<ApiKeyView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let after: Option<ApiKeyId> = query.place(caller.slug())?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let page = list_api_keys(&api.app, authorization, tenant, after, query.limit).await?;
    let now = api.app.ports.clock.now();
    let items = page.items.into_iter().map(|key| ApiKeyView::new(key, now)).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Creates an API key. Its token is in this answer and nowhere else.
#[utoipa::path(post, path = "/keys", tag = "API keys", operation_id = "create_api_key",
    request_body = ApiKeyBody, responses((status = 201, body = MintedApiKeyView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<ApiKeyBody>,
) -> Result<Response, Problem> {
    let now = api.app.ports.clock.now();
    let request = body.into_request(&caller, now)?;
    let minted = create_api_key(&api.app, &caller.authorization, request).await?;
    let location = caller.href(&format!("keys/{}", minted.key.id));
    let view = json(&MintedApiKeyView::new(minted, now));
    let mut response = (StatusCode::CREATED, view).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Shows an API key.
#[utoipa::path(get, path = "/keys/{key}", tag = "API keys", operation_id = "get_api_key",
    params(ApiKeyPath), responses((status = 200, body = ApiKeyView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ApiKeyPath>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let key = find_api_key(&api.app, authorization, tenant, &path.key).await?;
    Ok(json(&ApiKeyView::new(key, api.app.ports.clock.now())))
}

/// Revokes an API key: it holds no more, within two seconds on every node. It stays in the list.
#[utoipa::path(delete, path = "/keys/{key}", tag = "API keys", operation_id = "revoke_api_key",
    params(ApiKeyPath), responses((status = 204)))]
async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ApiKeyPath>,
) -> Result<StatusCode, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    revoke_api_key(&api.app, authorization, tenant, &path.key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives an API key a new token. The old ones go on to hold for a while, a day if nothing is said.
#[utoipa::path(post, path = "/keys/{key}/~rotate", tag = "API keys",
    operation_id = "rotate_api_key", params(ApiKeyPath), request_body = Option<RotateBody>,
    responses((status = 200, body = MintedApiKeyView)))]
async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<ApiKeyPath>,
    OptionalBody(body): OptionalBody<RotateBody>,
) -> Result<Response, Problem> {
    let overlap = body.overlap_seconds.map(u64::from).map(Duration::from_secs);
    let overlap = overlap.unwrap_or(API_KEY_OVERLAP_DEFAULT);
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let minted = rotate_api_key(&api.app, authorization, tenant, &path.key, overlap).await?;
    Ok(json(&MintedApiKeyView::new(minted, api.app.ports.clock.now())))
}
