//! Creates and replaces workflows: the action that starts runs, and the subscriptions that its
//! document asks for.

use std::sync::Arc;

use actions_domain::action::{Action, ActionName};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::ports::definitions::Expected;
use actions_domain::ports::handler::FieldNote;
use actions_domain::ports::store::StoreError;
use actions_domain::subscription::SubscriptionSpec;
use serde_json::{Value, json};

use crate::app::App;
use crate::commands::apply_definitions::{ApplyDefinitionsError, apply_subscriptions};
use crate::commands::check_definition::{Finding, Findings, check_action};
use crate::commands::save_action::{
    Change, SaveAction, SaveActionError, current_definitions, save_action,
};
use crate::workflows::{WorkflowProblem, specification, triggers};

pub struct PutWorkflow {
    pub tenant: TenantId,
    /// `None`: as the document says.
    pub name: Option<String>,
    /// With a `document` or a `graph`.
    pub config: Value,
    pub expected: Expected,
}

/// A workflow as it is stored now.
#[derive(Debug, Clone)]
pub struct PutWorkflowDone {
    pub action: Arc<Action>,
    pub change: Change,
    pub warnings: Vec<FieldNote>,
}

#[derive(Debug, thiserror::Error)]
pub enum PutWorkflowError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such tenant")]
    UnknownTenant,
    #[error("{name} is an action and no workflow; choose another name")]
    OtherAction { name: String },
    /// Everything that is wrong at once; never empty.
    #[error("the workflow breaks a rule")]
    Invalid(Vec<WorkflowProblem>),
    #[error(transparent)]
    Action(#[from] SaveActionError),
    #[error(transparent)]
    Subscriptions(#[from] ApplyDefinitionsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Stores a workflow after checking it. Runs that go on follow the version that they started with.
pub async fn put_workflow(
    app: &App,
    caller: &AuthorizationContext,
    request: PutWorkflow,
) -> Result<PutWorkflowDone, PutWorkflowError> {
    app.require(caller, Permission::WriteDefinitions, request.tenant).await?;
    let PutWorkflow { tenant, name, config, expected } = request;
    let checked = judge(app, tenant, name.as_deref(), &config).await?;
    let request = SaveAction { tenant, spec: checked.spec, expected };
    let saved = save_action(app, caller, request).await?;
    let name = saved.action.spec.name.to_string();
    let subscriptions = triggers(&config).into_iter().map(subscription_of);
    let subscriptions: Vec<SubscriptionSpec> = subscriptions.collect();
    let changed = apply_subscriptions(app, caller, tenant, &name, &subscriptions).await?;
    let is_changed = changed && saved.change == Change::Unchanged;
    let change = if is_changed { Change::Updated } else { saved.change };
    let mut warnings = saved.warnings;
    warnings.extend(checked.warnings);
    Ok(PutWorkflowDone { action: saved.action, change, warnings })
}

/// Finds everything that is wrong with a workflow, without storing it.
pub async fn check_workflow(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    config: &Value,
) -> Result<Vec<FieldNote>, PutWorkflowError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    Ok(judge(app, tenant, None, config).await?.warnings)
}

/// A workflow that may be stored.
struct Judged {
    spec: actions_domain::action::ActionSpec,
    warnings: Vec<FieldNote>,
}

async fn judge(
    app: &App,
    tenant: TenantId,
    name: Option<&str>,
    config: &Value,
) -> Result<Judged, PutWorkflowError> {
    let flow = app.workflows.check(config).map_err(PutWorkflowError::Invalid)?;
    let written = flow.graph().name.as_str();
    let place = match config.pointer("/document/action") {
        Some(Value::Object(_)) => "/document/action/name",
        Some(_) => "/document/action",
        None => "/graph/name",
    };
    if let Some(name) = name.filter(|name| *name != written) {
        let message = format!("the path says {name:?}");
        return Err(invalid(place, "workflow.name", message));
    }
    let name = ActionName::parse(written)
        .map_err(|error| invalid(place, "flow.name", error.to_string()))?;
    let known = current_definitions(app, tenant).await?.ok_or(PutWorkflowError::UnknownTenant)?;
    let before = known.action_named(name.as_str());
    if before.as_ref().is_some_and(|before| !before.spec.is_workflow()) {
        return Err(PutWorkflowError::OtherAction { name: name.to_string() });
    }
    let spec = specification(name, config.clone(), before.as_deref())
        .map_err(|error| invalid("", "workflow.document", error.to_string()))?;
    let Findings { errors, warnings } = check_action(app, tenant, &spec);
    if errors.is_empty() {
        return Ok(Judged { spec, warnings });
    }
    Err(PutWorkflowError::Invalid(errors.into_iter().map(problem_of).collect()))
}

fn problem_of(finding: Finding) -> WorkflowProblem {
    let pointer = finding.pointer.strip_prefix("/config").unwrap_or(&finding.pointer).to_owned();
    WorkflowProblem { pointer, code: "workflow.step", message: finding.message }
}

fn invalid(pointer: &str, code: &'static str, message: String) -> PutWorkflowError {
    PutWorkflowError::Invalid(vec![WorkflowProblem { pointer: pointer.to_owned(), code, message }])
}

fn subscription_of(trigger: actions_domain::flow::written::Trigger) -> SubscriptionSpec {
    let bare = json!({ "event_pattern": trigger.pattern });
    let spec: SubscriptionSpec =
        serde_json::from_value(bare).expect("a pattern alone is a subscription");
    SubscriptionSpec { conditions: trigger.condition, ..spec }
}
