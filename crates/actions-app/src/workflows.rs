//! Workflows: actions whose handler starts runs. Their configs, compiled.
//!
//! A config has a `document`, as people write workflows, or a `graph`, as programs make them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use actions_domain::action::{
    Action, ActionName, ActionSpec, ActionType, HandlerId, WORKFLOW_HANDLER,
};
use actions_domain::flow::checked::Flow;
use actions_domain::flow::expression::Expressions;
use actions_domain::flow::graph::{
    Body, Call, Child, Does, FlowGraph, Step, StepName, Target, Wait,
};
use actions_domain::flow::record::{StepOf, WorkflowVersion};
use actions_domain::flow::written::{Trigger, read};
use actions_domain::id::{ActionId, TenantId};
use actions_domain::ports::store::StoreError;
use actions_domain::retry::RetryPolicy;
use serde_json::{Value, json};

use crate::app::App;

/// Versions of workflows that stay compiled.
const COMPILED_MAX: usize = 1_024;

/// What one version of a workflow was compiled to, or why it cannot be.
type Compiled = Result<Arc<Flow>, Arc<str>>;

/// The workflows of this process, compiled when they are asked for.
pub struct Workflows {
    expressions: Arc<dyn Expressions>,
    compiled: RwLock<HashMap<(ActionId, i64), Compiled>>,
}

/// One thing that is wrong with a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowProblem {
    /// A JSON pointer into the config.
    pub pointer: String,
    /// Stable, for programs.
    pub code: &'static str,
    pub message: String,
}

impl Workflows {
    pub(crate) fn new(expressions: Arc<dyn Expressions>) -> Self {
        Self { expressions, compiled: RwLock::default() }
    }

    pub fn expressions(&self) -> &dyn Expressions {
        &*self.expressions
    }

    /// The workflow that an action is.
    ///
    /// # Errors
    /// Why this program cannot follow it: a newer one may have stored it.
    pub fn of(&self, action: &Action) -> Compiled {
        let key = (action.id, action.version);
        let known = self.compiled.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return known;
        }
        let compiled = match compile(&action.spec.config) {
            Ok(flow) => Ok(Arc::new(flow)),
            Err(problems) => Err(Arc::from(told(&problems))),
        };
        let mut all = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= COMPILED_MAX {
            all.clear();
        }
        all.insert(key, compiled.clone());
        compiled
    }

    /// Finds everything that is wrong with a config, its texts included.
    ///
    /// # Errors
    /// All of it, with pointers into the config.
    pub fn check(&self, config: &Value) -> Result<Flow, Vec<WorkflowProblem>> {
        let flow = compile(config)?;
        let problems = self.check_texts(&flow, config);
        if problems.is_empty() { Ok(flow) } else { Err(problems) }
    }

    fn check_texts(&self, flow: &Flow, config: &Value) -> Vec<WorkflowProblem> {
        let mut texts = Texts { with: &*self.expressions, config, problems: Vec::new() };
        for (name, step) in &flow.graph().steps {
            texts.step(name, step);
        }
        for edge in &flow.graph().edges {
            if let Some(guard) = &edge.guard {
                texts.expression(&edge.from, "", guard);
            }
        }
        if let Some(output) = &flow.graph().output {
            texts.template("/graph/output".to_owned(), output);
        }
        texts.problems
    }
}

fn told(problems: &[WorkflowProblem]) -> String {
    let first = problems.first().map_or("nothing is known of it", |problem| &problem.message);
    format!("the workflow cannot be followed: {first}")
}

/// What a config says, all but the syntax of its texts.
fn compile(config: &Value) -> Result<Flow, Vec<WorkflowProblem>> {
    if let Some(document) = config.get("document") {
        let written = read(document).map_err(|problems| {
            let each = problems.into_iter().map(|problem| WorkflowProblem {
                pointer: format!("/document{}", problem.pointer),
                code: problem.code,
                message: problem.message,
            });
            each.collect::<Vec<_>>()
        })?;
        return match written.concurrency {
            None => Ok(written.flow),
            Some(_) => Err(vec![not_held(document)]),
        };
    }
    let Some(graph) = config.get("graph") else {
        let message = "a workflow has a document or a graph".to_owned();
        return Err(vec![WorkflowProblem {
            pointer: String::new(),
            code: "workflow.missing",
            message,
        }]);
    };
    let graph: FlowGraph = serde_json::from_value(graph.clone()).map_err(|error| {
        let (pointer, message) = ("/graph".to_owned(), error.to_string());
        vec![WorkflowProblem { pointer, code: "workflow.graph", message }]
    })?;
    Flow::check(graph).map_err(|problems| {
        let each = problems.iter().map(|problem| WorkflowProblem {
            pointer: match problem.step() {
                Some(step) => format!("/graph/steps/{step}"),
                None => "/graph".to_owned(),
            },
            code: problem.code(),
            message: problem.to_string(),
        });
        each.collect()
    })
}

/// What nobody would hold must not look as if it were.
fn not_held(document: &Value) -> WorkflowProblem {
    let is_founding = document.get("action").is_some_and(Value::is_object);
    let pointer =
        if is_founding { "/document/action/concurrency" } else { "/document/concurrency" };
    WorkflowProblem {
        pointer: pointer.to_owned(),
        code: "workflow.concurrency",
        message: "runs of a workflow are not limited so far; limit the actions that it calls"
            .to_owned(),
    }
}

/// The events that start a workflow, as its document says.
pub(crate) fn triggers(config: &Value) -> Vec<Trigger> {
    let written = config.get("document").map(read);
    written.and_then(Result::ok).map(|written| written.triggers).unwrap_or_default()
}

/// What a step calls.
pub(crate) enum Called {
    Handler(HandlerId, Value),
    Action(String),
    Workflow(String),
}

impl Called {
    fn of(target: &Target) -> Self {
        match target {
            Target::Action(name) => Self::Action(name.to_string()),
            Target::Handler { id, config } => Self::Handler(id.clone(), config.clone()),
        }
    }
}

/// Whatever the steps of a workflow call, each with its place in the config.
pub(crate) fn calls_of(config: &Value) -> Vec<(String, Called)> {
    let Ok(flow) = compile(config) else { return Vec::new() };
    let mut calls = Vec::new();
    for (name, step) in &flow.graph().steps {
        let place = place_of(config, name);
        if let Some(call) = &step.compensation {
            calls.push((format!("{place}/compensation"), Called::of(&call.target)));
        }
        let body = step.does.as_map().map(|map| &map.body);
        if let Does::SubFlow(child) = &step.does {
            calls.push((place, Called::Workflow(child.flow.clone())));
        } else if let Some(Body::SubFlow(child)) = body {
            calls.push((place, Called::Workflow(child.flow.clone())));
        } else if let Some(call) = call_of(step) {
            calls.push((place, Called::of(&call.target)));
        }
    }
    if let Some(target) = &flow.graph().dead_letter {
        calls.push((String::new(), Called::of(target)));
    }
    calls
}

/// Where a step stands in the config that it was compiled from.
fn place_of(config: &Value, step: &StepName) -> String {
    let steps = config.pointer("/document/action/workflow/steps").and_then(Value::as_array);
    let is_it = |written: &Value| written["name"].as_str() == Some(step.as_str());
    match steps.map(|steps| steps.iter().position(is_it)) {
        Some(Some(index)) => format!("/document/action/workflow/steps/{index}"),
        Some(None) => "/document".to_owned(),
        None => format!("/graph/steps/{step}"),
    }
}

/// Compiles the texts of a workflow.
struct Texts<'t> {
    with: &'t dyn Expressions,
    config: &'t Value,
    problems: Vec<WorkflowProblem>,
}

impl Texts<'_> {
    fn step(&mut self, name: &StepName, step: &Step) {
        if let Some(condition) = &step.condition {
            self.expression(name, "/condition", condition);
        }
        if let Some(call) = &step.compensation {
            self.call(name, "/compensation", call);
        }
        match &step.does {
            Does::Action(call) => self.call(name, "", call),
            Does::SubFlow(child) => self.child(name, child),
            Does::Timer(Wait::Until(template)) => {
                self.template(place_of(self.config, name), &Value::from(template.as_str()));
            }
            Does::Map(map) => {
                self.template(place_of(self.config, name), &map.items);
                match &map.body {
                    Body::Action(call) => self.call(name, "", call),
                    Body::SubFlow(child) => self.child(name, child),
                }
            }
            Does::Timer(Wait::ForMs(_))
            | Does::WaitSignal { .. }
            | Does::Gate { .. }
            | Does::Choice { .. } => {}
        }
    }

    fn call(&mut self, name: &StepName, below: &str, call: &Call) {
        if !call.is_literal {
            let place = place_of(self.config, name);
            self.template(format!("{place}{below}/input_mapping"), &call.input);
        }
    }

    fn child(&mut self, name: &StepName, child: &Child) {
        self.template(format!("{}/input_mapping", place_of(self.config, name)), &child.input);
    }

    fn expression(&mut self, name: &StepName, below: &str, text: &str) {
        if let Err(message) = self.with.check(text) {
            let pointer = format!("{}{below}", place_of(self.config, name));
            self.problems.push(WorkflowProblem { pointer, code: "flow.expression", message });
        }
    }

    fn template(&mut self, pointer: String, template: &Value) {
        if let Err((below, message)) = self.with.check_template(template) {
            let pointer = format!("{pointer}{below}");
            self.problems.push(WorkflowProblem { pointer, code: "flow.template", message });
        }
    }
}

/// The specification of the action that a workflow is.
pub(crate) fn specification(
    name: ActionName,
    config: Value,
    before: Option<&Action>,
) -> Result<ActionSpec, serde_json::Error> {
    if let Some(before) = before.filter(|before| before.spec.is_workflow()) {
        return Ok(ActionSpec { config, ..before.spec.clone() });
    }
    let description = config.pointer("/document/action/description").cloned();
    serde_json::from_value(json!({
        "name": name,
        "action_type": ActionType::WorkflowTrigger,
        "handler": WORKFLOW_HANDLER,
        "config": config,
        "description": description,
    }))
}

/// What a step performs: an action of the tenant, or a handler that the workflow names.
#[derive(Debug, Clone)]
pub(crate) struct Performed {
    /// With the handler, the config, the retries and the time of the step.
    pub(crate) action: Arc<Action>,
    /// Of the action itself it does not matter whether it may run at all: it is the workflow.
    pub(crate) is_own: bool,
}

/// The action with which the execution of a step runs. `action` is the one that the execution names.
///
/// # Errors
/// When the store is away. `Ok(Err)`: why the workflow does not say what to do any more.
pub(crate) async fn performed(
    app: &App,
    tenant: TenantId,
    of: &StepOf,
    action: Arc<Action>,
) -> Result<Result<Performed, Arc<str>>, StoreError> {
    let WorkflowVersion { action: workflow, defs } = of.workflow;
    let Some(workflow) = app.catalogue.pinned_action(tenant, workflow, defs).await? else {
        return Ok(Err(Arc::from("the workflow does not exist any more")));
    };
    let flow = match app.workflows.of(&workflow) {
        Ok(flow) => flow,
        Err(why) => return Ok(Err(why)),
    };
    let step = of.step.as_ref().and_then(|name| flow.step(name));
    let target = match (step, of.undoes) {
        (Some(step), true) => step.compensation.as_ref().map(|call| &call.target),
        (Some(step), false) => call_of(step).map(|call| &call.target),
        (None, _) => flow.graph().dead_letter.as_ref(),
    };
    let Some(target) = target else {
        return Ok(Err(Arc::from("the workflow does not have this step")));
    };
    let retry = if of.once {
        RetryPolicy::preset("no_retry")
    } else {
        step.and_then(|step| step.retry.clone())
    };
    let timeout = step.filter(|_| !of.undoes).and_then(|step| step.timeout_seconds);
    Ok(Ok(with_target(&action, target, retry, timeout)))
}

fn call_of(step: &Step) -> Option<&Call> {
    match &step.does {
        Does::Action(call) => Some(call),
        Does::Map(map) => match &map.body {
            Body::Action(call) => Some(call),
            Body::SubFlow(_) => None,
        },
        Does::SubFlow(_)
        | Does::Timer(_)
        | Does::WaitSignal { .. }
        | Does::Gate { .. }
        | Does::Choice { .. } => None,
    }
}

fn with_target(
    action: &Arc<Action>,
    target: &Target,
    retry: Option<RetryPolicy>,
    timeout: Option<u32>,
) -> Performed {
    let is_own = matches!(target, Target::Handler { .. });
    if !is_own && retry.is_none() && timeout.is_none() {
        return Performed { action: Arc::clone(action), is_own };
    }
    let mut spec = match target {
        Target::Action(_) => action.spec.clone(),
        Target::Handler { id, config } => of_handler(action, id, config),
    };
    if let Some(retry) = retry {
        spec.retry_policy = retry;
    }
    if let Some(timeout) = timeout {
        spec.timeout_seconds = timeout;
    }
    let Action { id, tenant, uuid, version, created_at, updated_at, deleted, .. } = **action;
    let health = action.health.clone();
    let action =
        Action { id, tenant, uuid, spec, health, version, created_at, updated_at, deleted };
    Performed { action: Arc::new(action), is_own }
}

/// A specification that says no more than which handler to call, and with what.
fn of_handler(action: &Action, handler: &HandlerId, config: &Value) -> ActionSpec {
    let config = if config.is_null() { json!({}) } else { config.clone() };
    let bare = json!({ "name": action.spec.name, "action_type": "custom", "handler": handler });
    let spec: ActionSpec =
        serde_json::from_value(bare).expect("a name, a type and a handler are a specification");
    ActionSpec { config, priority: action.spec.priority, ..spec }
}
