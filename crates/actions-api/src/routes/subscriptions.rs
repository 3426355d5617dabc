//! `…/subscriptions`

use actions_app::commands::save_action::Change;
use actions_app::commands::save_subscription::{
    SaveSubscription, SavedSubscription, delete_subscription, save_subscription,
    switch_subscription,
};
use actions_app::queries::definitions::{SubscriptionList, find_subscription, list_subscriptions};
use actions_domain::id::SubscriptionId;
use actions_domain::matching::condition::Condition;
use actions_domain::ports::definitions::Expected;
use actions_domain::subscription::{Subscription, SubscriptionSpec};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::actions::{NoteView, pattern_of};
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::extract::{Precondition, Segments, etag};
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::Problem;
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, replace, delete))
        .routes(routes!(enable))
        .routes(routes!(disable))
}

/// A subscription as a person writes it. What reading it shows beyond that may be sent back,
/// and is ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"action": "welcome", "event_pattern": "users.*", "conditions": {"tier": "premium"}}))]
struct SubscriptionBody {
    /// The action's name.
    action: String,
    name: Option<String>,
    description: Option<String>,
    event_pattern: String,
    /// JSON operators, or a text in CEL.
    #[serde(default)]
    #[schema(value_type = Object)]
    conditions: Condition,
    is_active: Option<bool>,
    /// Higher first, among subscriptions of actions with one priority.
    #[serde(default)]
    priority: u32,
    #[serde(default)]
    tenant_filter: Vec<Uuid>,
    #[serde(default)]
    organization_filter: Vec<Uuid>,
    #[serde(default)]
    user_filter: Vec<Uuid>,
    #[serde(default)]
    source_service_filter: Vec<String>,
    rate_limit_per_minute: Option<u32>,
    rate_limit_per_hour: Option<u32>,

    // What only we write.
    #[serde(rename = "id", default)]
    #[schema(ignore)]
    _id: Option<IgnoredAny>,
    #[serde(rename = "version", default)]
    #[schema(ignore)]
    _version: Option<IgnoredAny>,
    #[serde(rename = "created_by", default)]
    #[schema(ignore)]
    _created_by: Option<IgnoredAny>,
    #[serde(rename = "created_at", default)]
    #[schema(ignore)]
    _created_at: Option<IgnoredAny>,
    #[serde(rename = "updated_at", default)]
    #[schema(ignore)]
    _updated_at: Option<IgnoredAny>,
    #[serde(rename = "warnings", default)]
    #[schema(ignore)]
    _warnings: Option<IgnoredAny>,
}

/// A subscription as it is stored.
#[derive(Debug, Serialize, ToSchema)]
struct SubscriptionView {
    id: Uuid,
    action: Option<String>,
    name: Option<String>,
    description: Option<String>,
    event_pattern: String,
    #[schema(value_type = Object)]
    conditions: Value,
    is_active: bool,
    priority: u32,
    tenant_filter: Vec<Uuid>,
    organization_filter: Vec<Uuid>,
    user_filter: Vec<Uuid>,
    source_service_filter: Vec<String>,
    rate_limit_per_minute: Option<u32>,
    rate_limit_per_hour: Option<u32>,
    created_by: Option<String>,
    /// The tenant's definitions version that this state came with; also the `ETag`.
    version: i64,
    created_at: Time,
    updated_at: Time,
    /// What is doubtful about what was just saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<NoteView>>,
}

/// Which subscription.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct SubscriptionPath {
    /// The subscription's id.
    #[param(value_type = Uuid)]
    subscription: SubscriptionId,
}

impl SubscriptionBody {
    fn into_parts(self, created_by: String) -> Result<(String, SubscriptionSpec), Problem> {
        let spec = SubscriptionSpec {
            name: self.name,
            description: self.description,
            event_pattern: pattern_of(&self.event_pattern, "/event_pattern")?,
            conditions: self.conditions,
            is_active: self.is_active.unwrap_or(true),
            priority: self.priority,
            tenant_filter: self.tenant_filter,
            organization_filter: self.organization_filter,
            user_filter: self.user_filter,
            source_service_filter: self.source_service_filter,
            rate_limit_per_minute: self.rate_limit_per_minute,
            rate_limit_per_hour: self.rate_limit_per_hour,
            created_by: Some(created_by),
        };
        Ok((self.action, spec))
    }
}

impl SubscriptionView {
    fn new(caller: &Caller, subscription: &Subscription) -> Self {
        let spec = subscription.spec.clone();
        let action = caller.definitions.action(subscription.action);
        Self {
            id: subscription.id.0,
            action: action.map(|action| action.spec.name.to_string()),
            name: spec.name,
            description: spec.description,
            event_pattern: spec.event_pattern.to_string(),
            conditions: spec.conditions.0,
            is_active: spec.is_active,
            priority: spec.priority,
            tenant_filter: spec.tenant_filter,
            organization_filter: spec.organization_filter,
            user_filter: spec.user_filter,
            source_service_filter: spec.source_service_filter,
            rate_limit_per_minute: spec.rate_limit_per_minute,
            rate_limit_per_hour: spec.rate_limit_per_hour,
            created_by: spec.created_by,
            version: subscription.version,
            created_at: subscription.created_at.into(),
            updated_at: subscription.updated_at.into(),
            warnings: None,
        }
    }
}

/// Lists subscriptions, oldest first.
///
/// Fields of the filter: action, pattern, `is_active`, name, since, until.
#[utoipa::path(get, path = "/subscriptions", tag = "subscriptions",
    operation_id = "list_subscriptions", params(ListParams),
    responses((status = 200, body = PageView<SubscriptionView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    let list = SubscriptionList {
        tenant: caller.tenant,
        after: query.place(caller.slug())?,
        limit: query.limit,
        filter: query.filter.clone(),
    };
    let page = list_subscriptions(&api.app, &caller.authorization, &list).await?;
    let items = page.items.iter().map(|found| SubscriptionView::new(&caller, found)).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Creates a subscription. The next event is matched with it.
#[utoipa::path(post, path = "/subscriptions", tag = "subscriptions",
    operation_id = "create_subscription", request_body = SubscriptionBody,
    responses((status = 201, body = SubscriptionView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<SubscriptionBody>,
) -> Result<Response, Problem> {
    let (action, spec) = body.into_parts(caller.authorization.actor.clone())?;
    let (tenant, expected) = (caller.tenant, Expected::Absent);
    let request = SaveSubscription { tenant, id: None, action, spec, expected };
    let saved = save_subscription(&api.app, &caller.authorization, request).await?;
    Ok(saved_answer(&caller, &saved))
}

/// Shows a subscription.
#[utoipa::path(get, path = "/subscriptions/{subscription}", tag = "subscriptions",
    operation_id = "get_subscription", params(SubscriptionPath),
    responses((status = 200, body = SubscriptionView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SubscriptionPath>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let found = find_subscription(&api.app, authorization, tenant, path.subscription).await?;
    Ok((etag(found.version), json(&SubscriptionView::new(&caller, &found))).into_response())
}

/// Creates or replaces a subscription. What exists is replaced by somebody who knows its
/// version (`If-Match`).
#[utoipa::path(put, path = "/subscriptions/{subscription}", tag = "subscriptions",
    operation_id = "replace_subscription",
    params(SubscriptionPath, ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header)),
    request_body = SubscriptionBody,
    responses((status = 200, body = SubscriptionView), (status = 201, body = SubscriptionView)))]
async fn replace(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SubscriptionPath>,
    precondition: Precondition,
    JsonBody(body): JsonBody<SubscriptionBody>,
) -> Result<Response, Problem> {
    let current = caller.current_definitions(&api).await?.subscription(path.subscription);
    let author = current.as_ref().and_then(|current| current.spec.created_by.clone());
    let expected = precondition.expected(current.map(|current| current.version))?;
    let author = author.unwrap_or_else(|| caller.authorization.actor.clone());
    let (action, spec) = body.into_parts(author)?;
    let (tenant, id) = (caller.tenant, Some(path.subscription));
    let request = SaveSubscription { tenant, id, action, spec, expected };
    let saved = save_subscription(&api.app, &caller.authorization, request).await?;
    Ok(saved_answer(&caller, &saved))
}

/// Deletes a subscription. The action stays.
#[utoipa::path(delete, path = "/subscriptions/{subscription}", tag = "subscriptions",
    operation_id = "delete_subscription",
    params(SubscriptionPath, ("If-Match" = Option<String>, Header)), responses((status = 204)))]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SubscriptionPath>,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    caller.current_definitions(&api).await?;
    let found = find_subscription(&api.app, authorization, tenant, path.subscription).await?;
    let expected = precondition.expected(Some(found.version))?;
    delete_subscription(&api.app, authorization, tenant, path.subscription, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a subscription lead to its action again.
#[utoipa::path(post, path = "/subscriptions/{subscription}/~enable", tag = "subscriptions",
    operation_id = "enable_subscription", params(SubscriptionPath),
    responses((status = 200, body = SubscriptionView)))]
async fn enable(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SubscriptionPath>,
) -> Result<Response, Problem> {
    switch(&api, &caller, path.subscription, true).await
}

/// Lets a subscription lead nowhere.
#[utoipa::path(post, path = "/subscriptions/{subscription}/~disable", tag = "subscriptions",
    operation_id = "disable_subscription", params(SubscriptionPath),
    responses((status = 200, body = SubscriptionView)))]
async fn disable(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SubscriptionPath>,
) -> Result<Response, Problem> {
    switch(&api, &caller, path.subscription, false).await
}

async fn switch(
    api: &Api,
    caller: &Caller,
    id: SubscriptionId,
    on: bool,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let saved = switch_subscription(&api.app, authorization, tenant, id, on).await?;
    Ok(saved_answer(caller, &saved))
}

fn saved_answer(caller: &Caller, saved: &SavedSubscription) -> Response {
    let mut view = SubscriptionView::new(caller, &saved.subscription);
    view.warnings = Some(saved.warnings.iter().map(NoteView::from).collect());
    let tag = etag(saved.subscription.version);
    if saved.change != Change::Created {
        return (tag, json(&view)).into_response();
    }
    let mut response = (StatusCode::CREATED, tag, json(&view)).into_response();
    let location = caller.href(&format!("subscriptions/{}", saved.subscription.id));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
