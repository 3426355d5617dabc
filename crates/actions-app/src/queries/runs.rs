//! Runs of workflows, and what happened to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::flow::checked::Flow;
use actions_domain::flow::journal::{Entry, What};
use actions_domain::flow::record::{RunRecord, RunStatus};
use actions_domain::flow::run::Run;
use actions_domain::id::{ExecutionId, RunId, TenantId};
use actions_domain::ports::runs::RunQuery;

use crate::app::App;
use crate::filter::{Fact, Filter, FilterError};
use crate::queries::QueryError;
use crate::queries::scan::{Page, Scan, Step};

/// The fields that a filter of runs may name.
pub const FIELDS: [&str; 4] = ["status", "workflow", "parent", "error"];

/// How long a waiter goes without asking the store: a run may end on another node.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Entries that one read takes.
const ENTRIES_AT_ONCE: u32 = 1_000;

/// Which runs to list.
#[derive(Debug, Clone)]
pub struct RunList {
    pub tenant: TenantId,
    pub filter: Filter,
    pub before: Option<RunId>,
    pub limit: u32,
}

/// A run with its history.
#[derive(Debug, Clone)]
pub struct ReadRun {
    pub record: RunRecord,
    pub entries: Vec<Entry>,
    pub run: Run,
    /// `None`: this program cannot read the workflow.
    pub flow: Option<Arc<Flow>>,
}

impl ReadRun {
    /// The last execution that each step has made.
    pub fn executions(&self) -> BTreeMap<&str, ExecutionId> {
        let mut found = BTreeMap::new();
        for entry in &self.entries {
            if let What::StepScheduled(made) = &entry.what {
                let id = self.record.id.execution(made.call, entry.at);
                found.insert(made.place.step.as_str(), id);
            }
        }
        found
    }
}

/// Lists runs, newest first.
pub async fn list_runs(
    app: &App,
    caller: &AuthorizationContext,
    list: RunList,
) -> Result<Page<RunRecord, RunId>, QueryError> {
    app.require(caller, Permission::ReadExecutions, list.tenant).await?;
    let mut filter = list.filter.compile(&FIELDS, app.ports.clock.now())?;
    for word in filter.values("status").filter(|word| !word.contains('*')) {
        if RunStatus::from_word(word).is_none() {
            let expected = "a status like running or failed";
            let (field, value) = ("status".to_owned(), word.to_owned());
            return Err(FilterError::Value { field, value, expected }.into());
        }
    }
    let (mut name, mut status) = (None, None);
    if let Some([only]) = filter.clone().take("workflow").as_deref() {
        name = Some(only.clone());
        filter.take("workflow");
    }
    if let Some([only]) = filter.clone().take("status").as_deref() {
        status = RunStatus::from_word(only);
        filter.take("status");
    }
    let mut scan = Scan::new(list.limit, list.before, filter.is_selective());
    loop {
        let query = RunQuery {
            tenant: list.tenant,
            name: name.clone(),
            status,
            before: scan.before(),
            limit: scan.page(),
        };
        let found = app.ports.runs.list_runs(&query).await?;
        let keeps = |run: &RunRecord| filter.holds(run.started_at, |field| fact(run, field));
        let is_over = |run: &RunRecord| filter.since.is_some_and(|since| run.started_at < since);
        match scan.take(found, |run| run.id, is_over, keeps) {
            Step::Read(next) => scan = next,
            Step::Done(page) => return Ok(page),
        }
    }
}

/// Finds a run with its history.
pub async fn find_run(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: RunId,
) -> Result<ReadRun, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let found = app.ports.runs.find_run(tenant, id).await?;
    read_run(app, found.ok_or(QueryError::NotFound { what: "run" })?).await
}

/// Reads the journal of a run from an entry on, in order.
pub async fn journal(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: RunId,
    from: u32,
    limit: u32,
) -> Result<Vec<(u32, Entry)>, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    if app.ports.runs.find_run(tenant, id).await?.is_none() {
        return Err(QueryError::NotFound { what: "run" });
    }
    let entries = app.ports.runs.journal(tenant, id, from, limit).await?;
    Ok((from..).zip(entries).collect())
}

/// The run whose step an execution performs, and the step.
pub async fn run_of(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    execution: ExecutionId,
) -> Result<Option<(RunId, String)>, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let Some((run, number)) = app.ports.runs.run_of(tenant, execution).await? else {
        return Ok(None);
    };
    let entry = app.ports.runs.journal(tenant, run, number, 1).await?.into_iter().next();
    let mut step = String::new();
    if let Some(What::StepScheduled(made) | What::CompensationScheduled(made)) =
        entry.map(|entry| entry.what)
    {
        step = made.place.step.to_string();
    }
    Ok(Some((run, step)))
}

/// Waits until a run has ended, at most for `timeout`, and answers it as it is then.
pub async fn wait_for_run(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: RunId,
    timeout: Duration,
) -> Result<RunRecord, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let watch = app.run_ends.watch(&[id]);
    let begun_at = app.ports.clock.now();
    loop {
        let found = app.ports.runs.find_run(tenant, id).await?;
        let record = found.ok_or(QueryError::NotFound { what: "run" })?;
        let passed = (app.ports.clock.now() - begun_at).to_std().unwrap_or_default();
        if record.state.status.is_final() || passed >= timeout {
            return Ok(record);
        }
        tokio::select! {
            () = watch.changed() => {}
            () = app.ports.clock.sleep(ASK_AGAIN.min(timeout.saturating_sub(passed))) => {}
        }
    }
}

/// Reads the history of a run, and what is so after it.
pub(crate) async fn read_run(app: &App, record: RunRecord) -> Result<ReadRun, QueryError> {
    let (tenant, id) = (record.tenant, record.id);
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let from = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let more = app.ports.runs.journal(tenant, id, from, ENTRIES_AT_ONCE).await?;
        let is_last = more.len() < ENTRIES_AT_ONCE as usize;
        entries.extend(more);
        if is_last {
            break;
        }
    }
    let action = record.workflow.action;
    let action = app.catalogue.pinned_action(tenant, action, record.workflow.defs).await?;
    let flow = action.and_then(|action| app.workflows.of(&action).ok());
    let run = Run::replay(&entries);
    Ok(ReadRun { record, entries, run, flow })
}

fn fact<'a>(run: &'a RunRecord, field: &str) -> Fact<'a> {
    match field {
        "status" => Fact::text(run.state.status.word()),
        "workflow" => Fact::text(run.name.as_str()),
        "parent" => Fact::maybe(run.parent.map(|parent| parent.run.to_string())),
        "error" => Fact::maybe(run.state.error.as_deref()),
        _ => Fact::Absent,
    }
}
