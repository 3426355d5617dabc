//! `…/bulk`

use actions_app::commands::change_bulk::{BulkVerb, change_bulk};
use actions_app::commands::start_bulk::{BulkSelection, StartBulk, preview_bulk, start_bulk};
use actions_app::queries::bulks::{
    BulkItemList, find_bulk, list_bulk_items, list_bulks, outcome_word,
};
use actions_domain::bulk::{Bulk, BulkItem, BulkState, Chosen, Operation};
use actions_domain::execution::{Execution, Status};
use actions_domain::id::{BulkId, ExecutionId};
use actions_domain::limits::BULK_ITEMS_MAX;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::executions::{FaultView, action_name};
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::extract::Segments;
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{FieldError, PARAMETER_INVALID, Problem};
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(show))
        .routes(routes!(items))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel))
}

/// What to do to many executions or dead letters: exactly one of `ids`, `group` and `where` says
/// to which.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"op": "requeue", "where": "action:ship error:http.status", "canary": 10, "rate": 50}))]
struct BulkBody {
    /// `cancel` executions; `requeue` or `discard` dead letters.
    #[schema(value_type = String)]
    op: Operation,
    /// A filter, as the list of executions or of dead letters takes it. The empty one means all.
    /// Executions that have ended are left out.
    r#where: Option<String>,
    /// The fingerprint of dead letters.
    group: Option<String>,
    #[schema(value_type = Option<Vec<Uuid>>, max_items = 10000)]
    ids: Option<Vec<ExecutionId>>,
    /// At most this many, newest first; 1 to 100000, which it is if it is missing.
    max: Option<u32>,
    /// So many first; then it pauses until it is resumed.
    canary: Option<u32>,
    /// At most so many in a second, 1 to 10000.
    rate: Option<u32>,
    /// Why, for the record. To discard needs one.
    reason: Option<String>,
    /// Tell what it would be about, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// An operation on many executions or dead letters, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
struct BulkView {
    id: Uuid,
    #[schema(value_type = String, examples("requeue"))]
    op: Operation,
    /// `running`, `paused`, `completed` or `cancelled`.
    #[schema(value_type = String, examples("running"))]
    state: BulkState,
    total: u32,
    done: u32,
    refused: u32,
    /// Neither done nor refused yet.
    left: u32,
    /// There were more than it took, or there may have been.
    more: bool,
    /// How its items were chosen; neither this nor `group`: by their ids.
    r#where: Option<String>,
    group: Option<String>,
    canary: Option<u32>,
    /// The canary is done, and it waits to be resumed.
    after_canary: bool,
    rate: Option<u32>,
    reason: Option<String>,
    started_by: String,
    created_at: Time,
    /// Who brought it into its state; nobody when it did so by itself.
    changed_by: Option<String>,
    changed_at: Time,
    ended_at: Option<Time>,
}

/// What a bulk would be about.
#[derive(Debug, Serialize, ToSchema)]
struct BulkPreviewView {
    dry_run: bool,
    #[schema(value_type = String)]
    op: Operation,
    count: u32,
    /// There are more than it would take, or there may be.
    more: bool,
    /// The first ones.
    samples: Vec<SampleView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SampleView {
    id: Uuid,
    action: Option<String>,
    #[schema(value_type = String)]
    status: Status,
    queued_at: Time,
    error: Option<FaultView>,
}

/// One execution or dead letter of a bulk.
#[derive(Debug, Serialize, ToSchema)]
struct BulkItemView {
    /// From 1, in the order in which they are done.
    number: u32,
    /// The execution, or the dead one.
    target_id: Uuid,
    /// `pending`, `done` or `refused`.
    outcome: &'static str,
    /// The new execution of what was requeued.
    execution_id: Option<Uuid>,
    /// Why it was refused.
    reason: Option<String>,
    at: Option<Time>,
}

/// Which bulk.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct BulkPath {
    #[param(value_type = Uuid)]
    bulk: BulkId,
}

impl BulkBody {
    fn into_request(self, caller: &Caller) -> Result<StartBulk, Problem> {
        let selection = match (self.ids, self.group, self.r#where) {
            (Some(ids), None, None) => BulkSelection::Ids(ids),
            (None, Some(group), None) => BulkSelection::Group(group),
            (None, None, Some(filter)) => BulkSelection::Where(filter),
            _ => {
                let message = "expected exactly one of ids, group and where";
                return Err(Problem::new(&PARAMETER_INVALID, message)
                    .with_error(FieldError::new("", message)));
            }
        };
        Ok(StartBulk {
            tenant: caller.tenant,
            operation: self.op,
            selection,
            max: self.max.unwrap_or(BULK_ITEMS_MAX),
            canary: self.canary,
            rate: self.rate,
            reason: self.reason,
        })
    }
}

impl From<Bulk> for BulkView {
    fn from(bulk: Bulk) -> Self {
        let ended_at = bulk.ended_at().map(Time);
        let is_paused = bulk.state == BulkState::Paused;
        let left = bulk.total.saturating_sub(bulk.handled());
        let after_canary = is_paused && bulk.changed_by.is_none();
        let spec = bulk.spec;
        let (filter, group) = match spec.chosen {
            Chosen::Where(filter) => (Some(filter), None),
            Chosen::Group(group) => (None, Some(group)),
            Chosen::Ids => (None, None),
        };
        Self {
            id: bulk.id.0,
            op: spec.operation,
            state: bulk.state,
            total: bulk.total,
            done: bulk.done,
            refused: bulk.refused,
            left,
            more: bulk.more,
            r#where: filter,
            group,
            canary: spec.canary,
            after_canary,
            rate: spec.rate,
            reason: spec.reason,
            started_by: bulk.started_by,
            created_at: bulk.created_at.into(),
            changed_by: bulk.changed_by,
            changed_at: bulk.changed_at.into(),
            ended_at,
        }
    }
}

impl SampleView {
    fn new(api: &Api, execution: &Execution) -> Self {
        Self {
            id: execution.id.0,
            action: action_name(api, execution),
            status: execution.status,
            queued_at: execution.queued_at.into(),
            error: execution.error.as_ref().map(FaultView::from),
        }
    }
}

impl From<BulkItem> for BulkItemView {
    fn from(item: BulkItem) -> Self {
        let outcome = outcome_word(&item);
        let (at, became) = item.handled.unzip();
        Self {
            number: item.number,
            target_id: item.target.0,
            outcome,
            execution_id: became.as_ref().and_then(|became| became.execution()).map(|id| id.0),
            reason: became.as_ref().and_then(|became| became.refusal()).map(str::to_owned),
            at: at.map(Time),
        }
    }
}

/// Lists bulks, newest first.
#[utoipa::path(get, path = "/bulk", tag = "bulk", operation_id = "list_bulks",
    params(ListParams), responses((status = 200, body = PageView<BulkView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let before = query.place(caller.slug())?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let page = list_bulks(&api.app, authorization, tenant, before, query.limit).await?;
    let items = page.items.into_iter().map(BulkView::from).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Starts doing something to many executions or dead letters, or tells with `dry_run` what it
/// would be about. Which they are is settled here: what comes later is not part of it.
#[utoipa::path(post, path = "/bulk", tag = "bulk", operation_id = "start_bulk",
    request_body = BulkBody,
    responses((status = 202, body = BulkView), (status = 200, body = BulkPreviewView)))]
async fn start(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<BulkBody>,
) -> Result<Response, Problem> {
    let (op, is_preview) = (body.op, body.dry_run);
    let request = body.into_request(&caller)?;
    if is_preview {
        let preview = preview_bulk(&api.app, &caller.authorization, request).await?;
        let samples = preview.samples.iter().map(|sample| SampleView::new(&api, sample));
        return Ok(json(&BulkPreviewView {
            dry_run: true,
            op,
            count: preview.count,
            more: preview.more,
            samples: samples.collect(),
        }));
    }
    let bulk = start_bulk(&api.app, &caller.authorization, request).await?;
    let location = caller.href(&format!("bulk/{}", bulk.id));
    let mut response = (StatusCode::ACCEPTED, json(&BulkView::from(bulk))).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Shows a bulk and how far it is.
#[utoipa::path(get, path = "/bulk/{bulk}", tag = "bulk", operation_id = "get_bulk",
    params(BulkPath), responses((status = 200, body = BulkView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<BulkPath>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let found = find_bulk(&api.app, authorization, tenant, path.bulk).await?;
    Ok(json(&BulkView::from(found)))
}

/// Lists the items of a bulk in the order in which they are done.
///
/// Fields of the filter: outcome, target, reason, since, until.
#[utoipa::path(get, path = "/bulk/{bulk}/items", tag = "bulk", operation_id = "list_bulk_items",
    params(BulkPath, ListParams), responses((status = 200, body = PageView<BulkItemView>)))]
async fn items(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<BulkPath>,
    query: ListQuery,
) -> Result<Response, Problem> {
    let list = BulkItemList {
        tenant: caller.tenant,
        bulk: path.bulk,
        filter: query.filter.clone(),
        after: query.place(caller.slug())?,
        limit: query.limit,
    };
    let page = list_bulk_items(&api.app, &caller.authorization, list).await?;
    let items = page.items.into_iter().map(BulkItemView::from).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Has a bulk begin nothing more until it is resumed. What was begun is finished.
#[utoipa::path(post, path = "/bulk/{bulk}/~pause", tag = "bulk", operation_id = "pause_bulk",
    params(BulkPath), responses((status = 200, body = BulkView)))]
async fn pause(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<BulkPath>,
) -> Result<Response, Problem> {
    change(&api, &caller, &path, BulkVerb::Pause).await
}

/// Lets a paused bulk go on, also after its canary.
#[utoipa::path(post, path = "/bulk/{bulk}/~resume", tag = "bulk", operation_id = "resume_bulk",
    params(BulkPath), responses((status = 200, body = BulkView)))]
async fn resume(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<BulkPath>,
) -> Result<Response, Problem> {
    change(&api, &caller, &path, BulkVerb::Resume).await
}

/// Ends a bulk. What was done stays done.
#[utoipa::path(post, path = "/bulk/{bulk}/~cancel", tag = "bulk", operation_id = "cancel_bulk",
    params(BulkPath), responses((status = 200, body = BulkView)))]
async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<BulkPath>,
) -> Result<Response, Problem> {
    change(&api, &caller, &path, BulkVerb::Cancel).await
}

async fn change(
    api: &Api,
    caller: &Caller,
    path: &BulkPath,
    verb: BulkVerb,
) -> Result<Response, Problem> {
    let which = (caller.tenant, path.bulk);
    let changed = change_bulk(&api.app, &caller.authorization, which, verb).await?;
    Ok(json(&BulkView::from(changed)))
}
