//! Workflows of a tenant: which there are, and what they look like.

use std::fmt::Write as _;
use std::sync::Arc;

use actions_domain::action::{Action, ActionName};
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::flow::checked::Flow;
use actions_domain::flow::graph::{Body, Does, Needs, Step, StepName, Target, Wait};
use actions_domain::id::TenantId;

use crate::app::App;
use crate::queries::scan::Page;
use crate::queries::{QueryError, definitions_of};

/// A workflow with what its config says.
#[derive(Debug, Clone)]
pub struct FoundWorkflow {
    pub action: Arc<Action>,
    /// An error: why this program cannot read it.
    pub flow: Result<Arc<Flow>, Arc<str>>,
}

/// Lists workflows by name.
pub async fn list_workflows(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Page<FoundWorkflow, String>, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut actions = definitions_of(app, tenant)?.actions();
    actions.retain(|action| {
        let is_after = after.as_deref().is_none_or(|after| action.spec.name.as_str() > after);
        action.spec.is_workflow() && is_after
    });
    let has_more = actions.len() > limit;
    actions.truncate(limit);
    let last = actions.last().map(|action| action.spec.name.to_string());
    let items = actions.into_iter().map(|action| found(app, action)).collect();
    Ok(Page { items, next: last.filter(|_| has_more) })
}

/// Finds a workflow by its name.
pub async fn find_workflow(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
) -> Result<FoundWorkflow, QueryError> {
    app.require(caller, Permission::ReadDefinitions, tenant).await?;
    let action = definitions_of(app, tenant)?.action_named(name);
    let action = action.filter(|action| action.spec.is_workflow());
    Ok(found(app, action.ok_or(QueryError::NotFound { what: "workflow" })?))
}

/// The versions of a workflow, newest first, at most `limit` that are older than `before`.
pub async fn workflow_versions(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    name: &str,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<FoundWorkflow>, QueryError> {
    let known = find_workflow(app, caller, tenant, name).await?;
    let name: &ActionName = &known.action.spec.name;
    let versions =
        app.ports.definitions.action_versions(tenant, name, before, limit).await?.into_iter();
    let versions = versions.filter(|action| action.spec.is_workflow() && !action.deleted);
    Ok(versions.map(|action| found(app, Arc::new(action))).collect())
}

fn found(app: &App, action: Arc<Action>) -> FoundWorkflow {
    let flow = app.workflows.of(&action);
    FoundWorkflow { action, flow }
}

/// A workflow as a drawing for Mermaid.
pub fn mermaid(flow: &Flow) -> String {
    let mut text = "flowchart TD\n".to_owned();
    let numbered = numbered(flow);
    for (number, (name, step)) in numbered.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    s{number}[\"{}\"]", quoted(&label(name, step)));
    }
    for (from, to, guard) in ways(flow, &numbered) {
        let guard = guard.map(|guard| format!("|\"{}\"|", quoted(guard))).unwrap_or_default();
        let _ = writeln!(text, "    s{from} -->{guard} s{to}");
    }
    text
}

/// A workflow as a drawing for Graphviz.
pub fn dot(flow: &Flow) -> String {
    let mut text = "digraph {\n    node [shape=box];\n".to_owned();
    let numbered = numbered(flow);
    for (number, (name, step)) in numbered.iter().enumerate() {
        let label = label(name, step).replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(text, "    s{number} [label=\"{label}\"];");
    }
    for (from, to, guard) in ways(flow, &numbered) {
        let guard = guard.map(|guard| {
            let guard = guard.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
            format!(" [label=\"{guard}\"]")
        });
        let _ = writeln!(text, "    s{from} -> s{to}{};", guard.unwrap_or_default());
    }
    text.push_str("}\n");
    text
}

fn numbered(flow: &Flow) -> Vec<(&StepName, &Step)> {
    flow.order().into_iter().filter_map(|name| Some((name, flow.step(name)?))).collect()
}

fn ways<'f>(
    flow: &'f Flow,
    numbered: &[(&StepName, &Step)],
) -> Vec<(usize, usize, Option<&'f str>)> {
    let number = |wanted: &StepName| numbered.iter().position(|(name, _)| *name == wanted);
    let edges = flow.graph().edges.iter();
    edges
        .filter_map(|edge| Some((number(&edge.from)?, number(&edge.to)?, edge.guard.as_deref())))
        .collect()
}

/// The name of a step and what it is.
fn label(name: &StepName, step: &Step) -> String {
    let target = |target: &Target| match target {
        Target::Action(action) => action.to_string(),
        Target::Handler { id, .. } => id.to_string(),
    };
    let kind = match &step.does {
        Does::Action(call) => target(&call.target),
        Does::SubFlow(child) => format!("workflow {}", child.flow),
        Does::Timer(Wait::ForMs(millis)) => format!("waits {millis} ms"),
        Does::Timer(Wait::Until(_)) => "waits".to_owned(),
        Does::WaitSignal { signal } => format!("signal {signal}"),
        Does::Map(map) => match &map.body {
            Body::Action(call) => format!("each: {}", target(&call.target)),
            Body::SubFlow(child) => format!("each: workflow {}", child.flow),
        },
        Does::Gate { needs: Needs::All } => "all".to_owned(),
        Does::Gate { needs: Needs::Any } => "any".to_owned(),
        Does::Gate { needs: Needs::Count(count) } => format!("{count} of them"),
        Does::Choice { .. } => "chooses".to_owned(),
    };
    format!("{name}: {kind}")
}

/// A text inside of quotes of Mermaid, which has no escapes but entities.
fn quoted(text: &str) -> String {
    text.replace('#', "#35;").replace('"', "#quot;").replace(['\n', '\r'], " ")
}
