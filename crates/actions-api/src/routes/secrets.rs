//! `…/secrets`: stored secrets, whose texts go one way; and `/v1/admin/master-keys`.

use std::time::Duration;

use actions_app::commands::put_secret::{PutSecret, PutSecretError, delete_secret, put_secret};
use actions_app::commands::rewrap_secrets::rewrap_secrets;
use actions_app::commands::save_action::Change;
use actions_app::queries::secrets::{find_secret, list_master_keys, list_secrets, users_of_secret};
use actions_domain::Timestamp;
use actions_domain::limits::SECRET_OVERLAP_DEFAULT;
use actions_domain::secret::{Secret, SecretName, SecretText, wipe};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::JsonBody;
use crate::caller::{Caller, Operator};
use crate::extract::Segments;
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{BODY_INVALID, BODY_UNKNOWN_FIELD, Problem};
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, put, delete))
}

/// What is about all tenants.
pub(crate) fn of_platform() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(master_keys)).routes(routes!(rewrap))
}

/// A secret to store.
///
/// It is read member by member: a parser's complaint would repeat what it does not understand.
#[derive(ToSchema)]
#[schema(example = json!({"value": "the text", "overlap_seconds": 86400}))]
#[expect(dead_code, reason = "it describes the body")]
struct SecretBody {
    /// The text. It is sealed before it is stored, and nothing answers it.
    #[schema(write_only)]
    value: String,
    /// How long the version before may still be used, as `{{ secrets.previous.NAME }}`: a day if
    /// it is missing.
    overlap_seconds: Option<u32>,
}

/// What may be told of a secret.
#[derive(Debug, Serialize, ToSchema)]
struct SecretView {
    name: String,
    /// From 1.
    version: i64,
    created_at: Time,
    created_by: String,
    /// When the current version was put, and by whom.
    updated_at: Time,
    updated_by: String,
    /// The version before, while it may still be used.
    previous_version: Option<i64>,
    previous_ends_at: Option<Time>,
    /// The master key that its data key is wrapped with.
    master_key: String,
}

/// A secret with the actions that name it.
#[derive(Debug, Serialize, ToSchema)]
struct SecretWithUsersView {
    #[serde(flatten)]
    secret: SecretView,
    used_by: Vec<String>,
}

/// Which secret.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct SecretPath {
    /// Letters, digits and `_`.
    secret: String,
}

/// The master keys, those of this process first.
#[derive(Debug, Serialize, ToSchema)]
struct MasterKeysView {
    items: Vec<MasterKeyView>,
}

/// A master key of the server that answers, or one that it does not have.
#[derive(Debug, Serialize, ToSchema)]
struct MasterKeyView {
    id: String,
    /// It wraps what is stored now.
    is_current: bool,
    /// The server that answers has it.
    is_here: bool,
    /// Versions of secrets that need it.
    wrapped: u64,
}

/// How far wrapping anew is.
#[derive(Debug, Serialize, ToSchema)]
struct RewrapView {
    /// By this request.
    rewrapped: u64,
    /// Versions of secrets that need another master key than the current one.
    left: u64,
    /// Of these, those that cannot be wrapped anew here: their master key is missing, or they are
    /// damaged.
    stuck: u64,
}

impl SecretView {
    fn new(secret: Secret, now: Timestamp) -> Self {
        let previous = secret.previous_at(now);
        Self {
            name: secret.name.to_string(),
            version: secret.current.number,
            previous_version: previous.map(|version| version.number),
            previous_ends_at: previous.and_then(|version| version.ends_at).map(Time),
            created_at: secret.created_at.into(),
            created_by: secret.created_by,
            updated_at: secret.current.created_at.into(),
            updated_by: secret.current.created_by,
            master_key: secret.current.key.to_string(),
        }
    }
}

/// Reads the text and the overlap out of a body.
fn read(mut body: Value) -> Result<(SecretText, Duration), Problem> {
    let read = members(&mut body);
    wipe(&mut body);
    read
}

fn members(body: &mut Value) -> Result<(SecretText, Duration), Problem> {
    let expected = || {
        let message = "expected an object with the member value, a text";
        Problem::at(&BODY_INVALID, Some("/value"), message.to_owned())
    };
    let members = body.as_object_mut().ok_or_else(expected)?;
    let value = members.get_mut("value").map(Value::take).ok_or_else(expected)?;
    let text = SecretText::deserialize(value).map_err(|_| expected())?;
    let overlap = match members.get("overlap_seconds") {
        None | Some(Value::Null) => SECRET_OVERLAP_DEFAULT,
        Some(seconds) => seconds.as_u64().map(Duration::from_secs).ok_or_else(|| {
            let message = "expected a whole number of seconds that is not negative";
            Problem::at(&BODY_INVALID, Some("/overlap_seconds"), message.to_owned())
        })?,
    };
    let is_known = |name: &String| ["value", "overlap_seconds"].contains(&name.as_str());
    if !members.keys().all(is_known) {
        let message = "expected value and overlap_seconds, and nothing else";
        return Err(Problem::new(&BODY_UNKNOWN_FIELD, message));
    }
    Ok((text, overlap))
}

/// Lists secrets by name, without their texts.
#[utoipa::path(get, path = "/secrets", tag = "secrets", operation_id = "list_secrets",
    params(ListParams), responses((status = 200, body = PageView<SecretView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let after: Option<String> = query.place(caller.slug())?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let page = list_secrets(&api.app, authorization, tenant, after.as_deref(), query.limit).await?;
    let now = api.app.ports.clock.now();
    let items = page.items.into_iter().map(|secret| SecretView::new(secret, now)).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Shows what may be told of a secret, with the actions that name it.
#[utoipa::path(get, path = "/secrets/{secret}", tag = "secrets", operation_id = "get_secret",
    params(SecretPath), responses((status = 200, body = SecretWithUsersView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SecretPath>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let name = named(&path)?;
    let secret = find_secret(&api.app, authorization, tenant, &name).await?;
    let used_by = users_of_secret(&api.app, authorization, tenant, &name).await?;
    let secret = SecretView::new(secret, api.app.ports.clock.now());
    Ok(json(&SecretWithUsersView { secret, used_by }))
}

/// Stores a secret, or its next version: used on every node within two seconds. A text that is the
/// current one changes nothing.
#[utoipa::path(put, path = "/secrets/{secret}", tag = "secrets", operation_id = "put_secret",
    params(SecretPath), request_body = SecretBody,
    responses((status = 200, body = SecretView), (status = 201, body = SecretView)))]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SecretPath>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Problem> {
    let read = read(body);
    let name = SecretName::parse(&path.secret).map_err(PutSecretError::from)?;
    let (text, overlap) = read?;
    let request = PutSecret { tenant: caller.tenant, name, text, overlap };
    let stored = put_secret(&api.app, &caller.authorization, request).await?;
    let status = match stored.change {
        Change::Created => StatusCode::CREATED,
        Change::Updated | Change::Unchanged => StatusCode::OK,
    };
    let view = SecretView::new(stored.secret, api.app.ports.clock.now());
    Ok((status, json(&view)).into_response())
}

/// Deletes a secret with all its versions. Executions that need it fail from now on.
#[utoipa::path(delete, path = "/secrets/{secret}", tag = "secrets",
    operation_id = "delete_secret", params(SecretPath), responses((status = 204)))]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SecretPath>,
) -> Result<StatusCode, Problem> {
    delete_secret(&api.app, &caller.authorization, caller.tenant, &named(&path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What no name can be is the name of nothing.
fn named(path: &SecretPath) -> Result<SecretName, Problem> {
    SecretName::parse(&path.secret).map_err(|_| Problem::not_found("secret"))
}

/// Lists master keys by their ids, and how much each has wrapped.
#[utoipa::path(get, path = "/master-keys", tag = "secrets", operation_id = "list_master_keys",
    responses((status = 200, body = MasterKeysView)))]
async fn master_keys(
    State(api): State<Api>,
    Operator(caller): Operator,
) -> Result<Response, Problem> {
    let keys = list_master_keys(&api.app, &caller).await?.into_iter();
    let items = keys.map(|key| MasterKeyView {
        id: key.id.to_string(),
        is_current: key.is_current,
        is_here: key.is_here,
        wrapped: key.wrapped,
    });
    Ok(json(&MasterKeysView { items: items.collect() }))
}

/// Wraps data keys of all tenants with the current master key, some hundreds at once. Nothing is
/// left to do when `left` is 0.
#[utoipa::path(post, path = "/master-keys/~rewrap", tag = "secrets",
    operation_id = "rewrap_secrets", responses((status = 200, body = RewrapView)))]
async fn rewrap(State(api): State<Api>, Operator(caller): Operator) -> Result<Response, Problem> {
    let done = rewrap_secrets(&api.app, &caller).await?;
    Ok(json(&RewrapView { rewrapped: done.rewrapped, left: done.left, stuck: done.stuck }))
}
