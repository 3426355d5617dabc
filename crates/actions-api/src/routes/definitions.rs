//! `…/definitions`: all actions and subscriptions of a tenant as one document.

use actions_app::commands::apply_definitions::{
    ApplyDefinitions, DefinitionEntry, DefinitionSet, Plan, apply_definitions, check_definitions,
    compare_definitions, export_definitions,
};
use actions_domain::limits::DEFINITIONS_BYTES_MAX;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions::{DifferenceView, FindingsView, NoteView};
use crate::body::{decode, decode_raw, read, require_json};
use crate::caller::Caller;
use crate::page::json;
use crate::problem::{FieldError, Problem, field_errors};
use crate::routes::Api;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(export))
        .routes(routes!(validate))
        .routes(routes!(difference))
        .routes(routes!(apply))
}

/// Definitions as a file holds them: each action with its `subscriptions`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"actions": [{
    "name": "welcome", "action_type": "audit_log", "handler": "audit.log",
    "event_patterns": ["users.created"],
    "subscriptions": [{ "event_pattern": "users.invited", "conditions": { "tier": "premium" } }],
}]}))]
struct DefinitionsBody {
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    actions: Vec<DefinitionEntry>,
    /// Deletes the actions that are not named.
    #[serde(default)]
    prune: bool,
}

/// A tenant's definitions. Secrets are shown as `***`, and keep their values when sent back.
#[derive(Debug, Serialize, ToSchema)]
struct DefinitionsView {
    #[schema(value_type = Vec<Object>)]
    actions: Vec<DefinitionEntry>,
}

/// What applying definitions did, or would do.
#[derive(Debug, Serialize, ToSchema)]
struct PlanView {
    /// Nothing differs.
    same: bool,
    changes: Vec<ChangeView>,
    warnings: Vec<NoteView>,
}

/// What happens to one definition.
#[derive(Debug, Serialize, ToSchema)]
struct ChangeView {
    /// `action` or `subscription`.
    kind: &'static str,
    name: String,
    /// `created`, `updated`, `unchanged` or `deleted`.
    change: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<DifferenceView>,
}

impl DefinitionsBody {
    fn into_request(self, caller: &Caller) -> ApplyDefinitions {
        let Self { actions, prune } = self;
        ApplyDefinitions { tenant: caller.tenant, set: DefinitionSet { actions }, prune }
    }
}

impl From<Plan> for PlanView {
    fn from(plan: Plan) -> Self {
        let same = plan.is_empty();
        let changes = plan.changes.into_iter().map(|change| ChangeView {
            kind: change.kind,
            name: change.name,
            change: change.change.word(),
            differences: change.differences.into_iter().map(DifferenceView::from).collect(),
        });
        let warnings = plan.warnings.iter().map(NoteView::from).collect();
        Self { same, changes: changes.collect(), warnings }
    }
}

/// Shows all definitions as one document.
#[utoipa::path(get, path = "/definitions", tag = "definitions",
    operation_id = "export_definitions", responses((status = 200, body = DefinitionsView)))]
async fn export(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let set = export_definitions(&api.app, &caller.authorization, caller.tenant).await?;
    Ok(json(&DefinitionsView { actions: set.actions }))
}

/// Checks definitions without storing them.
#[utoipa::path(post, path = "/definitions/~validate", tag = "definitions",
    operation_id = "validate_definitions", request_body = DefinitionsBody,
    responses((status = 200, body = FindingsView)))]
async fn validate(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let body = body_of(&api, request).await?.into_request(&caller);
    let findings =
        check_definitions(&api.app, &caller.authorization, caller.tenant, &body.set).await?;
    Ok(json(&FindingsView {
        valid: findings.errors.is_empty(),
        warnings: findings.warnings.iter().map(NoteView::from).collect(),
        errors: field_errors(findings.errors),
    }))
}

/// Says what applying definitions would do.
#[utoipa::path(post, path = "/definitions/~diff", tag = "definitions",
    operation_id = "compare_definitions", request_body = DefinitionsBody,
    responses((status = 200, body = PlanView)))]
async fn difference(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let body = body_of(&api, request).await?.into_request(&caller);
    let plan = compare_definitions(&api.app, &caller.authorization, &body).await?;
    Ok(json(&PlanView::from(plan)))
}

/// Makes the definitions as sent. Everything is checked before anything is changed.
#[utoipa::path(post, path = "/definitions/~apply", tag = "definitions",
    operation_id = "apply_definitions", request_body = DefinitionsBody,
    responses((status = 200, body = PlanView)))]
async fn apply(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let body = body_of(&api, request).await?.into_request(&caller);
    let plan = apply_definitions(&api.app, &caller.authorization, body).await?;
    Ok(json(&PlanView::from(plan)))
}

async fn body_of(api: &Api, request: Request) -> Result<DefinitionsBody, Problem> {
    require_json(request.headers())?;
    let bytes = read(request, api, DEFINITIONS_BYTES_MAX).await?;
    decode(&bytes).map_err(|problem| with_others(&bytes, problem))
}

/// Actions whose mistakes one refusal names.
const MISTAKES_MAX: usize = 50;

/// A parser stops at the first mistake; here each action is read by itself, so that the refusal
/// names one mistake of each.
fn with_others(bytes: &[u8], problem: Problem) -> Problem {
    #[derive(Deserialize)]
    struct Actions<'a> {
        #[serde(borrow)]
        actions: Vec<&'a RawValue>,
    }
    let Ok(Actions { actions }) = serde_json::from_slice(bytes) else { return problem };
    let each = actions.iter().enumerate().filter_map(|(index, raw)| {
        let error = decode_raw::<DefinitionEntry>(raw.get()).err()?.errors.pop()?;
        Some(FieldError::new(format!("/actions/{index}{}", error.pointer), error.message))
    });
    let each: Vec<FieldError> = each.take(MISTAKES_MAX).collect();
    // Else the refusal has another reason than the shape of an action.
    let is_shape =
        problem.errors.iter().all(|told| each.iter().any(|one| one.message == told.message));
    if is_shape { problem.with_errors(each) } else { problem }
}
