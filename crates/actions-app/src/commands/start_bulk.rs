//! Starts an operation on many executions or dead letters, or shows what it would be about. What
//! it is about is settled here, once; the owner of the first partition does it, piece by piece.

use std::collections::HashSet;

use actions_domain::audit::ActKind;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::bulk::{Bulk, BulkSpec, Chosen, Operation};
use actions_domain::execution::{Execution, Status};
use actions_domain::id::{BulkId, ExecutionId, TenantId};
use actions_domain::limits::{
    BULK_IDS_MAX, BULK_ITEMS_MAX, BULK_RATE_MAX, BULKS_OPEN_MAX, ERROR_BYTES_MAX, FILTER_BYTES_MAX,
    PAGE_MAX,
};
use actions_domain::ports::store::StoreError;
use serde_json::json;

use crate::app::App;
use crate::filter::{Filter, FilterError};
use crate::queries::QueryError;
use crate::queries::dead_letters::{DeadLetterList, list_dead_letters, list_group};
use crate::queries::executions::{ExecutionList, list_executions};
use crate::queries::scan::Page;

/// Items that a preview shows.
const SAMPLES: usize = 5;
/// Parts of a list that are read for one bulk. Each reads at most 20 pages of the store, so that
/// a filter that hardly anything passes does not keep a request for longer than it may take.
const PARTS_MAX: usize = 150;

#[derive(Debug, Clone)]
pub struct StartBulk {
    pub tenant: TenantId,
    pub operation: Operation,
    pub selection: BulkSelection,
    /// At most this many, newest first.
    pub max: u32,
    pub canary: Option<u32>,
    pub rate: Option<u32>,
    /// Needed to discard.
    pub reason: Option<String>,
}

/// What a bulk is to be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkSelection {
    Ids(Vec<ExecutionId>),
    /// The dead letters with this fingerprint.
    Group(String),
    /// All that a list with this filter shows. Of executions only those that have not ended.
    Where(String),
}

/// What a bulk would be about.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkPreview {
    pub count: u32,
    /// There are more than it would take, or there may be.
    pub more: bool,
    /// The first ones.
    pub samples: Vec<Execution>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartBulkError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("{field} is {given}, allowed are 1 to {max}")]
    Number { field: &'static str, given: u32, max: u32 },
    #[error("expected 1 to {BULK_IDS_MAX} ids, not {given}")]
    Ids { given: usize },
    #[error("a group has 1 to {FILTER_BYTES_MAX} bytes")]
    Group,
    #[error("executions have no groups; choose them with where or ids")]
    GroupOfExecutions,
    #[error("to discard needs a reason")]
    ReasonMissing,
    #[error("a reason has 1 to {ERROR_BYTES_MAX} bytes without zero bytes")]
    Reason,
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("a tenant may have {BULKS_OPEN_MAX} bulks that have not ended")]
    TooMany,
    #[error(transparent)]
    Selection(#[from] QueryError),
    #[error("the bulk could not be stored")]
    Store(#[from] StoreError),
}

/// Who may do to many what they may do to one.
pub(crate) fn permission_for(operation: Operation) -> Permission {
    match operation {
        Operation::Cancel => Permission::CancelExecution,
        Operation::Requeue | Operation::Discard => Permission::ManageDeadLetters,
    }
}

/// Settles what the bulk is about, stores it, and has it begin.
pub async fn start_bulk(
    app: &App,
    caller: &AuthorizationContext,
    request: StartBulk,
) -> Result<Bulk, StartBulkError> {
    let filter = check(app, caller, &request).await?;
    let open = app.ports.bulks.open_bulks(Some(request.tenant)).await?;
    if open.len() >= BULKS_OPEN_MAX {
        return Err(StartBulkError::TooMany);
    }
    let resolved = resolve(app, caller, &request, filter).await?;
    let now = app.ports.clock.now();
    let spec = BulkSpec {
        operation: request.operation,
        chosen: match request.selection {
            BulkSelection::Ids(_) => Chosen::Ids,
            BulkSelection::Group(fingerprint) => Chosen::Group(fingerprint),
            BulkSelection::Where(text) => Chosen::Where(text),
        },
        canary: request.canary,
        rate: request.rate,
        reason: request.reason,
    };
    let id = BulkId::mint(now, app.ports.dice.bytes());
    let extent = (resolved.count(), resolved.more);
    let bulk = Bulk::new(id, request.tenant, spec, caller.actor.clone(), extent, now);
    let act = app
        .act(caller, bulk.tenant, ActKind::BulkStarted, format!("bulk:{id}"))
        .to(json!({ "spec": bulk.spec, "total": bulk.total }))
        .because(bulk.spec.reason.as_deref());
    app.ports.bulks.create_bulk(&bulk, &resolved.targets, Some(&act)).await?;
    app.bulks_changed.notify_one();
    Ok(bulk)
}

/// Tells what a bulk would be about, and changes nothing.
pub async fn preview_bulk(
    app: &App,
    caller: &AuthorizationContext,
    request: StartBulk,
) -> Result<BulkPreview, StartBulkError> {
    let filter = check(app, caller, &request).await?;
    let mut resolved = resolve(app, caller, &request, filter).await?;
    if matches!(request.selection, BulkSelection::Ids(_)) {
        for id in resolved.targets.iter().take(SAMPLES) {
            resolved.samples.extend(app.ports.history.find_execution(request.tenant, *id).await?);
        }
    }
    Ok(BulkPreview { count: resolved.count(), more: resolved.more, samples: resolved.samples })
}

/// Answers the filter, if it is one.
async fn check(
    app: &App,
    caller: &AuthorizationContext,
    request: &StartBulk,
) -> Result<Option<Filter>, StartBulkError> {
    app.require(caller, permission_for(request.operation), request.tenant).await?;
    app.require(caller, Permission::ReadExecutions, request.tenant).await?;
    let numbers = [
        ("max", Some(request.max), BULK_ITEMS_MAX),
        ("canary", request.canary, BULK_ITEMS_MAX),
        ("rate", request.rate, BULK_RATE_MAX),
    ];
    for (field, given, max) in numbers {
        if let Some(given) = given.filter(|given| !(1..=max).contains(given)) {
            return Err(StartBulkError::Number { field, given, max });
        }
    }
    match &request.reason {
        None if request.operation == Operation::Discard => {
            return Err(StartBulkError::ReasonMissing);
        }
        Some(reason)
            if reason.trim().is_empty()
                || reason.len() > ERROR_BYTES_MAX
                || reason.contains('\0') =>
        {
            return Err(StartBulkError::Reason);
        }
        Some(_) | None => {}
    }
    match &request.selection {
        BulkSelection::Ids(ids) if !(1..=BULK_IDS_MAX).contains(&ids.len()) => {
            Err(StartBulkError::Ids { given: ids.len() })
        }
        BulkSelection::Group(_) if request.operation == Operation::Cancel => {
            Err(StartBulkError::GroupOfExecutions)
        }
        BulkSelection::Group(group) if !(1..=FILTER_BYTES_MAX).contains(&group.len()) => {
            Err(StartBulkError::Group)
        }
        BulkSelection::Ids(_) | BulkSelection::Group(_) => Ok(None),
        BulkSelection::Where(text) => Ok(Some(Filter::parse(text)?)),
    }
}

/// What a selection stands for at one moment.
#[derive(Default)]
struct Resolved {
    targets: Vec<ExecutionId>,
    more: bool,
    samples: Vec<Execution>,
}

impl Resolved {
    fn count(&self) -> u32 {
        u32::try_from(self.targets.len()).unwrap_or(u32::MAX)
    }
}

async fn resolve(
    app: &App,
    caller: &AuthorizationContext,
    request: &StartBulk,
    filter: Option<Filter>,
) -> Result<Resolved, StartBulkError> {
    let max = usize::try_from(request.max).unwrap_or(usize::MAX);
    let mut resolved = Resolved::default();
    if let BulkSelection::Ids(ids) = &request.selection {
        let mut seen = HashSet::new();
        resolved.targets = ids.iter().filter(|id| seen.insert(**id)).copied().collect();
        resolved.more = resolved.targets.len() > max;
        resolved.targets.truncate(max);
        return Ok(resolved);
    }
    let filter = filter.unwrap_or_default();
    let mut before = None;
    for _ in 0..PARTS_MAX {
        // One more tells whether there are more.
        let left = (max - resolved.targets.len()).saturating_add(1);
        let limit = u32::try_from(left).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let page = part(app, caller, request, &filter, (before, limit)).await?;
        for execution in page.items {
            if resolved.targets.len() == max {
                resolved.more = true;
                return Ok(resolved);
            }
            resolved.targets.push(execution.id);
            if resolved.samples.len() < SAMPLES {
                resolved.samples.push(execution);
            }
        }
        before = page.next;
        if before.is_none() {
            return Ok(resolved);
        }
    }
    resolved.more = true;
    Ok(resolved)
}

/// Reads a part of the list that a bulk is about.
async fn part(
    app: &App,
    caller: &AuthorizationContext,
    request: &StartBulk,
    filter: &Filter,
    (before, limit): (Option<ExecutionId>, u32),
) -> Result<Page<Execution, ExecutionId>, QueryError> {
    let (tenant, mut filter) = (request.tenant, filter.clone());
    let letters = match (request.operation, &request.selection) {
        (Operation::Cancel, _) => {
            let unfinished = Status::ALL.iter().filter(|status| !status.is_final());
            let unfinished: Vec<_> = unfinished.map(|status| status.word()).collect();
            filter.and("status", &unfinished.join(","));
            let list = ExecutionList { tenant, filter, before, limit };
            return list_executions(app, caller, list).await;
        }
        (_, BulkSelection::Group(group)) => {
            list_group(app, caller, tenant, group, (before, limit)).await?
        }
        (_, BulkSelection::Where(_) | BulkSelection::Ids(_)) => {
            let list = DeadLetterList { tenant, filter, before, limit };
            list_dead_letters(app, caller, list).await?
        }
    };
    let items = letters.items.into_iter().map(|letter| letter.execution).collect();
    Ok(Page { items, next: letters.next })
}
