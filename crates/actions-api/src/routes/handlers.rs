//! `…/handlers`

use actions_app::commands::check_definition::check_config;
use actions_app::config_secrets::missing_secrets;
use actions_app::queries::handlers::{find_handler, list_handlers};
use actions_domain::action::ActionType;
use actions_domain::ports::handler::{Delivery, Descriptor};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions::{FindingsView, NoteView};
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::extract::Segments;
use crate::page::json;
use crate::problem::{Problem, field_errors};
use crate::routes::Api;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(validate))
}

/// Code that performs a kind of action.
#[derive(Debug, Serialize, ToSchema)]
struct HandlerView {
    id: &'static str,
    /// Founding class names that mean this handler.
    aliases: &'static [&'static str],
    version: &'static str,
    title: &'static str,
    handler_type: &'static str,
    capabilities: &'static [&'static str],
    #[schema(value_type = Vec<String>)]
    action_types: &'static [ActionType],
    /// What happens when an attempt is repeated although the one before had its effect.
    #[schema(value_type = String, examples("at_least_once"))]
    delivery: Delivery,
    /// JSON Schemas; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    config_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    input_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    output_schema: Option<Value>,
}

/// All handlers of this server, by id.
#[derive(Debug, Serialize, ToSchema)]
struct HandlersView {
    items: Vec<HandlerView>,
}

/// A config to check.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigBody {
    #[schema(value_type = Object)]
    pub(crate) config: Value,
}

/// Which handler.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct HandlerPath {
    /// The handler's id, or a founding class name.
    handler: String,
}

impl HandlerView {
    fn brief(descriptor: &Descriptor) -> Self {
        Self {
            id: descriptor.id,
            aliases: descriptor.aliases,
            version: descriptor.version,
            title: descriptor.title,
            handler_type: descriptor.handler_type,
            capabilities: descriptor.capabilities,
            action_types: descriptor.action_types,
            delivery: descriptor.delivery,
            config_schema: None,
            input_schema: None,
            output_schema: None,
        }
    }

    fn full(descriptor: &Descriptor) -> Self {
        Self {
            config_schema: Some(descriptor.config_schema.clone()),
            input_schema: Some(descriptor.input_schema.clone()),
            output_schema: Some(descriptor.output_schema.clone()),
            ..Self::brief(descriptor)
        }
    }
}

/// Lists what actions can do on this server.
#[utoipa::path(get, path = "/handlers", tag = "handlers", operation_id = "list_handlers",
    responses((status = 200, body = HandlersView)))]
async fn list(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let found = list_handlers(&api.app, &caller.authorization)?;
    let items = found.iter().map(|handler| HandlerView::brief(handler.descriptor())).collect();
    Ok(json(&HandlersView { items }))
}

/// Shows a handler with the schemas of its config, input and output.
#[utoipa::path(get, path = "/handlers/{handler}", tag = "handlers", operation_id = "get_handler",
    params(HandlerPath), responses((status = 200, body = HandlerView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<HandlerPath>,
) -> Result<Response, Problem> {
    let handler = find_handler(&api.app, &caller.authorization, caller.tenant, &path.handler)?;
    Ok(json(&HandlerView::full(handler.descriptor())))
}

/// Checks a config without storing it.
#[utoipa::path(post, path = "/handlers/{handler}/~validate", tag = "handlers",
    operation_id = "validate_config", params(HandlerPath), request_body = ConfigBody,
    responses((status = 200, body = FindingsView)))]
async fn validate(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<HandlerPath>,
    JsonBody(body): JsonBody<ConfigBody>,
) -> Result<Response, Problem> {
    let found = findings(&api, &caller, &path.handler, &body.config).await?;
    Ok(json(&found))
}

/// What is wrong with a config, with pointers into it.
pub(crate) async fn findings(
    api: &Api,
    caller: &Caller,
    handler: &str,
    config: &Value,
) -> Result<FindingsView, Problem> {
    let handler = find_handler(&api.app, &caller.authorization, caller.tenant, handler)?;
    let mut findings = check_config(&api.app, handler.as_ref(), config);
    let configs = [(String::new(), config)];
    findings.warnings.extend(missing_secrets(&api.app, caller.tenant, configs).await?);
    Ok(FindingsView {
        valid: findings.errors.is_empty(),
        warnings: findings.warnings.iter().map(NoteView::from).collect(),
        errors: field_errors(findings.errors),
    })
}
