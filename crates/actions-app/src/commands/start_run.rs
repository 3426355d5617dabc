//! Starts a run of a workflow.

use std::collections::BTreeMap;

use actions_domain::action::Action;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::flow::decide::{Input, Refusal, decide};
use actions_domain::flow::record::{NewRun, RunRecord, WorkflowVersion};
use actions_domain::flow::run::Run;
use actions_domain::id::{RunId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::NAME_BYTES_MAX;
use actions_domain::ports::store::StoreError;
use actions_domain::work::Commit;

use crate::app::App;
use crate::commands::control_tenant::suspension_of;
use crate::commands::save_action::current_definitions;
use crate::quotas::{Admission, QuotaError};

pub struct StartRun {
    pub tenant: TenantId,
    pub workflow: String,
    /// The caller's own name for the run: what is started again with it is the same run.
    pub id: Option<String>,
    pub input: Json,
    /// What is in its context from the start.
    pub context: BTreeMap<String, Json>,
}

/// A run that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct StartedRun {
    pub record: RunRecord,
    /// It had been started before.
    pub duplicate: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum StartRunError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such workflow")]
    NotFound,
    #[error("the workflow cannot run: {reason}")]
    Blocked { reason: String },
    #[error("the id of a run has 1 to {max} bytes", max = NAME_BYTES_MAX)]
    Id,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Quota(#[from] QuotaError),
    #[error("the store does not take it")]
    Store(#[from] StoreError),
}

/// Starts a run with the workflow as it is at this moment. It is stored when this returns.
pub async fn start_run(
    app: &App,
    caller: &AuthorizationContext,
    request: StartRun,
) -> Result<StartedRun, StartRunError> {
    app.require(caller, Permission::Execute, request.tenant).await?;
    let StartRun { tenant, workflow, id, input, context } = request;
    if id.as_ref().is_some_and(|id| !(1..=NAME_BYTES_MAX).contains(&id.len())) {
        return Err(StartRunError::Id);
    }
    let known = match app.catalogue.find(tenant) {
        Some(known) => known,
        None => current_definitions(app, tenant).await?.ok_or(StartRunError::NotFound)?,
    };
    // Read before the action, so that it is never newer than the action.
    let defs = known.version();
    let action = known.action_named(&workflow).filter(|action| action.spec.is_workflow());
    let action = action.ok_or(StartRunError::NotFound)?;
    let named = id.map(|name| RunId::named(tenant, &workflow, &name));
    if let Some(named) = named
        && let Some(record) = app.ports.runs.find_run(tenant, named).await?
    {
        return Ok(StartedRun { record, duplicate: true });
    }
    check(app, &action, &input, &context)?;
    let now = app.ports.clock.now();
    if Admission::of(caller) == Admission::Asked {
        app.quotas.admit_job(tenant)?;
    }
    let id = named.unwrap_or_else(|| RunId::mint(now, app.ports.dice.bytes()));
    let start = NewRun {
        id,
        tenant,
        part: id.part(tenant, app.live.part_count()),
        name: workflow,
        workflow: WorkflowVersion { action: action.id, defs },
        parent: None,
        started_at: now,
        input,
        context,
        depth: 0,
    };
    let record = start.record();
    let begun = (record.started_at, record.workflow);
    app.ports.store.commit(Commit { starts: vec![start], ..Commit::default() }).await?;
    app.tell_of_runs([record.part]);
    if named.is_none() {
        return Ok(StartedRun { record, duplicate: false });
    }
    // Somebody may have started it at the same moment; it may have gone on since.
    let there = app.ports.runs.find_run(tenant, id).await?.unwrap_or(record);
    let duplicate = (there.started_at, there.workflow) != begun;
    Ok(StartedRun { record: there, duplicate })
}

/// Tells the caller at once what the run could not begin with.
fn check(
    app: &App,
    action: &Action,
    input: &Json,
    context: &BTreeMap<String, Json>,
) -> Result<(), StartRunError> {
    let blocked = |reason: &str| Err(StartRunError::Blocked { reason: reason.to_owned() });
    if suspension_of(app, action.tenant).is_some() {
        return blocked("its tenant is suspended");
    }
    if !action.spec.is_active {
        return blocked("it is switched off");
    }
    let flow = match app.workflows.of(action) {
        Ok(flow) => flow,
        Err(why) => return blocked(&why),
    };
    let start = Input::Start { input: input.clone(), context: context.clone(), depth: 0 };
    let now = app.ports.clock.now();
    decide(&flow, &mut Run::default(), start, now, app.workflows.expressions())?;
    Ok(())
}
