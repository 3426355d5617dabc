//! `/v1/admin/tenants`

use actions_app::commands::control_tenant::{end_suspension, suspend};
use actions_app::commands::create_tenant::{CreateTenant, create_tenant};
use actions_app::queries::tenants::{find_tenant, list_tenants};
use actions_domain::tenant::{Tenant, TenantSlug};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{JsonBody, OptionalBody};
use crate::caller::Operator;
use crate::extract::Segments;
use crate::page::{ListQuery, PageView, json};
use crate::problem::{FieldError, Problem, TENANT_INVALID};
use crate::routes::Api;
use crate::routes::controls::{PauseBody, PauseView};
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show))
        .routes(routes!(suspend_tenant))
        .routes(routes!(resume_tenant))
}

/// Whose list this is, for its cursors.
const PLATFORM: &str = "admin";

/// A tenant to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"slug": "acme", "name": "Acme Outfitters"}))]
struct TenantBody {
    /// Its name in paths: a lower-case letter, then letters, digits or `_`, at most 48.
    slug: String,
    /// Its name for people.
    name: Option<String>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
struct TenantView {
    /// Given to handlers and receivers.
    id: Uuid,
    slug: String,
    name: String,
    /// The database schema that shows its relations.
    schema: String,
    /// Counts every change of its definitions.
    defs_version: i64,
    created_at: Time,
    /// Since when nothing of it starts; `null` while it is not paused. `…/controls` says why.
    paused_at: Option<Time>,
    /// Since when nothing starts and nothing is accepted, by whom and why.
    suspension: Option<PauseView>,
}

/// Which tenant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct SlugPath {
    slug: String,
}

impl TenantView {
    fn new(api: &Api, tenant: &Tenant) -> Self {
        let known = api.app.catalogue.find(tenant.id);
        let controls = known.map(|known| known.controls()).unwrap_or_default();
        Self {
            id: tenant.uuid,
            slug: tenant.slug.to_string(),
            name: tenant.name.clone(),
            schema: tenant.slug.schema(),
            defs_version: tenant.defs_version,
            created_at: tenant.created_at.into(),
            paused_at: controls.pause.as_ref().map(|pause| pause.at.into()),
            suspension: controls.suspension.as_ref().map(PauseView::from),
        }
    }
}

/// Lists tenants, the platform's own first.
#[utoipa::path(get, path = "/tenants", tag = "tenants", operation_id = "list_tenants",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("fields" = Option<String>, Query)),
    responses((status = 200, body = PageView<TenantView>)))]
async fn list(
    State(api): State<Api>,
    Operator(caller): Operator,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let page = list_tenants(&api.app, &caller, query.place(PLATFORM)?, query.limit).await?;
    let items = page.items.iter().map(|tenant| TenantView::new(&api, tenant));
    query.answer(PLATFORM, items.collect(), page.next)
}

/// Creates a tenant, which may be used at once.
#[utoipa::path(post, path = "/tenants", tag = "tenants", operation_id = "create_tenant",
    request_body = TenantBody, responses((status = 201, body = TenantView)))]
async fn create(
    State(api): State<Api>,
    Operator(caller): Operator,
    JsonBody(body): JsonBody<TenantBody>,
) -> Result<Response, Problem> {
    let slug = TenantSlug::parse(&body.slug).map_err(|error| {
        let message = error.to_string();
        Problem::new(&TENANT_INVALID, &message).with_error(FieldError::new("/slug", message))
    })?;
    let request = CreateTenant { slug, name: body.name };
    let tenant = create_tenant(&api.app, &caller, request).await?;
    let mut response = (StatusCode::CREATED, json(&TenantView::new(&api, &tenant))).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/admin/tenants/{}", tenant.slug)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Shows a tenant, found by its slug or id.
#[utoipa::path(get, path = "/tenants/{slug}", tag = "tenants", operation_id = "get_tenant",
    params(SlugPath), responses((status = 200, body = TenantView)))]
async fn show(
    State(api): State<Api>,
    Operator(caller): Operator,
    Segments(path): Segments<SlugPath>,
) -> Result<Response, Problem> {
    let tenant = find_tenant(&api.app, &caller, &path.slug).await?;
    Ok(json(&TenantView::new(&api, &tenant)))
}

/// Suspends a tenant: nothing starts, and nothing is accepted, from the next event on. What runs may
/// end, what waits is kept, and its keys read on.
#[utoipa::path(post, path = "/tenants/{slug}/~suspend", tag = "tenants",
    operation_id = "suspend_tenant", params(SlugPath), request_body = PauseBody,
    responses((status = 200, body = TenantView)))]
async fn suspend_tenant(
    State(api): State<Api>,
    Operator(caller): Operator,
    Segments(path): Segments<SlugPath>,
    OptionalBody(body): OptionalBody<PauseBody>,
) -> Result<Response, Problem> {
    let tenant = find_tenant(&api.app, &caller, &path.slug).await?;
    suspend(&api.app, &caller, &tenant, body.reason).await?;
    Ok(json(&TenantView::new(&api, &tenant)))
}

/// Lets a suspended tenant go on where it was.
#[utoipa::path(post, path = "/tenants/{slug}/~resume", tag = "tenants",
    operation_id = "resume_tenant", params(SlugPath),
    responses((status = 200, body = TenantView)))]
async fn resume_tenant(
    State(api): State<Api>,
    Operator(caller): Operator,
    Segments(path): Segments<SlugPath>,
) -> Result<Response, Problem> {
    let tenant = find_tenant(&api.app, &caller, &path.slug).await?;
    end_suspension(&api.app, &caller, &tenant).await?;
    Ok(json(&TenantView::new(&api, &tenant)))
}
