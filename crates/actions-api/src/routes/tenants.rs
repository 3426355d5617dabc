//! `/v1/admin/tenants`

use std::collections::BTreeMap;

use actions_app::commands::control_tenant::{end_suspension, suspend};
use actions_app::commands::create_tenant::{CreateTenant, create_tenant};
use actions_app::commands::delete_tenant::{DeleteTenant, DeleteTenantError, delete_tenant};
use actions_app::queries::QueryError;
use actions_app::queries::tenants::{find_deletion, find_tenant, list_tenants};
use actions_domain::audit::Head;
use actions_domain::tenant::deletion::TenantDeletion;
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
use crate::extract::{Params, Segments};
use crate::page::{ListQuery, PageView, json};
use crate::problem::{FieldError, Problem, TENANT_INVALID};
use crate::routes::Api;
use crate::routes::controls::{PauseBody, PauseView};
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, delete))
        .routes(routes!(show_deletion))
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

/// A tenant that is being deleted, or that was.
#[derive(Debug, Serialize, ToSchema)]
struct DeletionView {
    /// The tenant's id, which is used no more.
    id: Uuid,
    slug: String,
    name: String,
    /// `deleting`, or `deleted` when nothing is left.
    state: &'static str,
    requested_at: Time,
    requested_by: String,
    reason: Option<String>,
    /// Rows that were removed up to now, by table.
    removed: BTreeMap<String, u64>,
    /// The newest entry of the tenant's audit, as `NUMBER:HASH`: an export of it that ends there is
    /// whole.
    audit_head: String,
    /// The proof, when the tenant is deleted.
    certificate: Option<CertificateView>,
}

/// What was counted after everything was removed.
#[derive(Debug, Serialize, ToSchema)]
struct CertificateView {
    finished_at: Time,
    /// Rows left in every table that has tenants: all zero.
    left: BTreeMap<String, u64>,
    /// BLAKE3 over all of the above, as the platform's audit has it too.
    digest: String,
    /// Whether the digest is that of what stands here.
    intact: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DeleteParams {
    /// The slug once more.
    confirm: Option<String>,
    /// Why, for whoever looks at it later.
    reason: Option<String>,
}

impl From<TenantDeletion> for DeletionView {
    fn from(deletion: TenantDeletion) -> Self {
        let intact = deletion.is_intact();
        let head = Head { seq: deletion.audit_length, hash: deletion.audit_hash };
        let certificate = deletion.certificate.map(|certificate| CertificateView {
            finished_at: certificate.finished_at.into(),
            left: certificate.left,
            digest: certificate.digest.to_string(),
            intact,
        });
        Self {
            id: deletion.uuid,
            slug: deletion.slug.to_string(),
            name: deletion.name,
            state: if certificate.is_some() { "deleted" } else { "deleting" },
            requested_at: deletion.requested_at.into(),
            requested_by: deletion.requested_by,
            reason: deletion.reason,
            removed: deletion.removed,
            audit_head: head.to_string(),
            certificate,
        }
    }
}

/// Deletes a suspended tenant for good. It is gone at once, with its API keys; what it had is
/// removed afterwards, which `…/deletion` tells of. Its slug is never given again.
#[utoipa::path(delete, path = "/tenants/{slug}", tag = "tenants", operation_id = "delete_tenant",
    params(SlugPath, DeleteParams), responses((status = 202, body = DeletionView)))]
async fn delete(
    State(api): State<Api>,
    Operator(caller): Operator,
    Segments(path): Segments<SlugPath>,
    Params(params): Params<DeleteParams>,
) -> Result<Response, Problem> {
    let slug = match find_tenant(&api.app, &caller, &path.slug).await {
        Ok(tenant) => tenant.slug,
        // It may be gone already.
        Err(QueryError::NotFound { .. }) => {
            TenantSlug::parse(&path.slug).map_err(|_| DeleteTenantError::NotFound)?
        }
        Err(error) => return Err(error.into()),
    };
    let request = DeleteTenant { slug, confirm: params.confirm, reason: params.reason };
    let deletion = delete_tenant(&api.app, &caller, request).await?;
    let place = format!("/v1/admin/tenants/{}/deletion", deletion.slug);
    let view = json(&DeletionView::from(deletion));
    let mut response = (StatusCode::ACCEPTED, view).into_response();
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Shows how far the deletion of a tenant is, and its certificate. It is kept for good.
#[utoipa::path(get, path = "/tenants/{slug}/deletion", tag = "tenants",
    operation_id = "get_tenant_deletion", params(SlugPath),
    responses((status = 200, body = DeletionView)))]
async fn show_deletion(
    State(api): State<Api>,
    Operator(caller): Operator,
    Segments(path): Segments<SlugPath>,
) -> Result<Response, Problem> {
    let deletion = find_deletion(&api.app, &caller, &path.slug).await?;
    Ok(json(&DeletionView::from(deletion)))
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
