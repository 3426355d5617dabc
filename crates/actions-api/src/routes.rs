//! Every path in one place.

use std::sync::{Arc, OnceLock};

use actions_app::app::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::caller::Access;
use crate::openapi;
use crate::problem::{METHOD_UNSUPPORTED, Problem};
use crate::proxies::TrustedProxies;
use crate::request::accompany;
use crate::sites::Sites;

mod accounts;
mod actions;
mod api_keys;
mod audit;
mod bulk;
mod controls;
mod dead_letters;
mod definitions;
mod events;
mod executions;
mod handlers;
mod internal;
mod metrics;
mod nodes;
mod process;
mod pull;
mod quotas;
mod runs;
mod schedules;
mod secrets;
mod sessions;
mod subscriptions;
mod tenants;
mod workflows;

/// How the API is served.
#[derive(Clone)]
pub struct Serving {
    pub access: Access,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// Work runs in this process too, so it is ready only while its node has joined.
    pub has_node: bool,
    /// Everything is served; else only what is about the process.
    pub has_api: bool,
    /// Cancelled when the process begins to stop: it is not ready any more.
    pub draining: CancellationToken,
    /// By which names it is asked, and which pages may ask.
    pub sites: Sites,
    /// Who is believed about where a request comes from.
    pub proxies: TrustedProxies,
}

impl From<Access> for Serving {
    /// Serves a process that runs a node, with metrics of its own. Nothing tells when it drains.
    fn from(access: Access) -> Self {
        let draining = CancellationToken::new();
        let (metrics, sites, proxies) = (recorder(), Sites::default(), TrustedProxies::default());
        Self { access, metrics, has_node: true, has_api: true, draining, sites, proxies }
    }
}

/// The process's own recorder of metrics, installed once. Where another one is installed
/// already, this one stays empty.
pub fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if ::metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
        }
        handle
    };
    HANDLE.get_or_init(install).clone()
}

/// What every route may use. One pointer, because each request copies it several times.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

impl std::ops::Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

pub(crate) struct Shared {
    pub(crate) app: App,
    pub(crate) access: Access,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) has_node: bool,
    pub(crate) draining: CancellationToken,
    pub(crate) sites: Sites,
    pub(crate) proxies: TrustedProxies,
    /// The API's description, written once.
    pub(crate) openapi: Arc<str>,
}

/// The whole HTTP interface.
pub fn router(app: App, serving: impl Into<Serving>) -> Router {
    let Serving { access, metrics, has_node, has_api, draining, sites, proxies } = serving.into();
    let about_process = || OpenApiRouter::with_openapi(openapi::frame()).merge(process::routes());
    let routes = if has_api { all() } else { about_process() };
    let (routes, description) = routes.split_for_parts();
    let api = Api(Arc::new(Shared {
        app,
        access,
        metrics,
        has_node,
        draining,
        sites,
        proxies,
        openapi: openapi::text(description).into(),
    }));
    let routes = routes
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(CatchPanicLayer::custom(panicked))
        // Bodies are limited where they are read, each to what it may be.
        .layer(DefaultBodyLimit::disable())
        .with_state(api.clone());
    // Around the router, because the path is rewritten before it is matched.
    Router::new().fallback_service(routes).layer(from_fn_with_state(api, accompany))
}

/// The description of the HTTP interface, OpenAPI 3.1 in JSON.
pub fn openapi_json() -> String {
    openapi::text(all().into_openapi())
}

fn all() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::frame())
        .nest("/v1/tenants/{tenant}", of_tenant())
        .nest("/v1/admin", of_tenant().merge(of_platform()))
        .nest("/v1/internal", internal::routes().merge(pull::routes()))
        .merge(sessions::routes())
        .merge(process::routes())
}

/// What is about all tenants.
fn of_platform() -> OpenApiRouter<Api> {
    tenants::routes()
        .merge(nodes::routes())
        .merge(secrets::of_platform())
        .merge(quotas::of_platform())
}

/// What each tenant has, the platform's own included.
fn of_tenant() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(events::routes())
        .merge(actions::routes())
        .merge(controls::routes())
        .merge(subscriptions::routes())
        .merge(schedules::routes())
        .merge(definitions::routes())
        .merge(handlers::routes())
        .merge(executions::routes())
        .merge(dead_letters::routes())
        .merge(bulk::routes())
        .merge(workflows::routes())
        .merge(runs::routes())
        .merge(metrics::routes())
        .merge(api_keys::routes())
        .merge(accounts::routes())
        .merge(audit::routes())
        .merge(secrets::routes())
        .merge(quotas::routes())
}

async fn unknown_path(_: Uri) -> Problem {
    Problem::not_found("path")
}

async fn unknown_method() -> Problem {
    Problem::new(&METHOD_UNSUPPORTED, "see /openapi.json for what this path understands")
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Problem::internal(format!("a panic: {text}")).into_response()
}
