//! `…/dead-letters`

use actions_app::commands::discard_dead_letters::{DiscardDeadLetters, discard_dead_letters};
use actions_app::commands::requeue_dead_letters::{RequeueDeadLetters, requeue_dead_letters};
use actions_app::filter::Filter;
use actions_app::queries::dead_letters::{
    DeadLetterList, Selection, find_dead_letter, find_group, list_dead_letters, list_groups,
};
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::limits::{DEAD_LETTERS_PER_CALL_MAX, PAGE_DEFAULT, PAGE_MAX};
use actions_domain::ports::history::{DeadLetter, DeadLetterGroup};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::executions::{ExecutionView, FaultView, action_name};
use crate::body::{JsonBody, OptionalBody};
use crate::caller::Caller;
use crate::extract::{Params, Segments};
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{FieldError, PARAMETER_INVALID, Problem};
use crate::routes::Api;
use crate::time::Time;

/// Dead letters of one call unless the caller says.
const MAX_DEFAULT: u32 = 500;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(requeue_selected))
        .routes(routes!(discard_selected))
        .routes(routes!(groups))
        .routes(routes!(group))
        .routes(routes!(requeue_group))
        .routes(routes!(discard_group))
        .routes(routes!(show))
        .routes(routes!(requeue_one))
        .routes(routes!(discard_one))
}

/// An execution that failed for good and waits for a person.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetterView {
    /// The dead execution's id.
    id: Uuid,
    /// Dead letters with the same one have the same cause.
    fingerprint: String,
    action: Option<String>,
    event_id: Option<Uuid>,
    died_at: Time,
    attempt_count: usize,
    error: Option<FaultView>,
    /// With its attempts; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<ExecutionView>,
}

/// Dead letters with one cause.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupView {
    fingerprint: String,
    action: Option<String>,
    count: i64,
    first_at: Time,
    last_at: Time,
    /// The newest one's error.
    sample: Option<FaultView>,
}

/// Groups of dead letters, the largest first.
#[derive(Debug, Serialize, ToSchema)]
struct GroupsView {
    items: Vec<GroupView>,
}

/// Which dead letters: exactly one of `ids`, `group` and `where`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SelectionBody {
    #[schema(value_type = Option<Vec<Uuid>>, max_items = 1000)]
    ids: Option<Vec<ExecutionId>>,
    /// A fingerprint.
    group: Option<String>,
    /// A filter, as lists take it. The empty one means all.
    r#where: Option<String>,
    /// At most this many, 1 to 10000.
    max: Option<u32>,
    /// Why nobody needs them. To discard only.
    reason: Option<String>,
}

/// How many of a group.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GroupBody {
    /// At most this many, 1 to 10000.
    max: Option<u32>,
    /// Why nobody needs them. To discard only.
    reason: Option<String>,
}

/// Why nobody needs it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReasonBody {
    reason: String,
}

/// How far a requeue came.
#[derive(Debug, Serialize, ToSchema)]
struct RequeuedView {
    requeued: usize,
    /// The new executions, in the order of the dead ones.
    executions: Vec<RequeuedExecutionView>,
    /// Those that stay dead letters.
    refused: Vec<RefusedView>,
    /// There may be more: call again.
    more: bool,
    /// Of a single one: the new execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_id: Option<Uuid>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RequeuedExecutionView {
    dead_id: Uuid,
    execution_id: Uuid,
}

#[derive(Debug, Serialize, ToSchema)]
struct RefusedView {
    id: Uuid,
    reason: String,
}

/// How far a discard came.
#[derive(Debug, Serialize, ToSchema)]
struct DiscardedView {
    discarded: u64,
    /// There may be more: call again.
    more: bool,
}

/// Which dead letter.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct LetterPath {
    /// The dead execution's id.
    #[param(value_type = Uuid)]
    execution: ExecutionId,
}

/// Which group.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct GroupPath {
    fingerprint: String,
}

/// How many groups.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct GroupsParams {
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
}

impl DeadLetterView {
    fn brief(api: &Api, letter: &DeadLetter) -> Self {
        let execution = &letter.execution;
        Self {
            id: execution.id.0,
            fingerprint: letter.fingerprint.clone(),
            action: action_name(api, execution),
            event_id: execution.event.map(|event| event.0),
            died_at: letter.died_at.into(),
            attempt_count: execution.attempts.len(),
            error: execution.error.as_ref().map(FaultView::from),
            execution: None,
        }
    }
}

impl GroupView {
    pub(crate) fn new(api: &Api, tenant: TenantId, group: &DeadLetterGroup) -> Self {
        let definitions = api.app.catalogue.find(tenant);
        let action = definitions.and_then(|known| known.action(group.action));
        Self {
            fingerprint: group.fingerprint.clone(),
            action: action.map(|action| action.spec.name.to_string()),
            count: group.count,
            first_at: group.first_at.into(),
            last_at: group.last_at.into(),
            sample: group.sample.as_ref().map(FaultView::from),
        }
    }
}

impl SelectionBody {
    fn selection(&self) -> Result<Selection, Problem> {
        let most = usize::try_from(PAGE_MAX).unwrap_or(usize::MAX);
        match (&self.ids, &self.group, &self.r#where) {
            (Some(ids), None, None) if (1..=most).contains(&ids.len()) => {
                Ok(Selection::Ids(ids.clone()))
            }
            (Some(_), None, None) => {
                let message = format!("expected 1 to {PAGE_MAX} ids");
                Err(Problem::new(&PARAMETER_INVALID, &message)
                    .with_error(FieldError::new("/ids", message)))
            }
            (None, Some(group), None) => Ok(Selection::Group(group.clone())),
            (None, None, Some(filter)) => Ok(Selection::Where(Filter::parse(filter)?)),
            _ => {
                let message = "expected exactly one of ids, group and where";
                Err(Problem::new(&PARAMETER_INVALID, message)
                    .with_error(FieldError::new("", message)))
            }
        }
    }
}

/// Lists dead letters, newest execution first.
///
/// Fields of the filter: action, fingerprint, group, error, class, event, attempts, message,
/// since, until.
#[utoipa::path(get, path = "/dead-letters", tag = "dead letters",
    operation_id = "list_dead_letters", params(ListParams),
    responses((status = 200, body = PageView<DeadLetterView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    let list = DeadLetterList {
        tenant: caller.tenant,
        before: query.place(caller.slug())?,
        limit: query.limit,
        filter: query.filter.clone(),
    };
    let page = list_dead_letters(&api.app, &caller.authorization, list).await?;
    let items = page.items.iter().map(|letter| DeadLetterView::brief(&api, letter)).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Runs the selected dead letters again, newest first.
#[utoipa::path(post, path = "/dead-letters/~requeue", tag = "dead letters",
    operation_id = "requeue_dead_letters", request_body = SelectionBody,
    responses((status = 200, body = RequeuedView)))]
async fn requeue_selected(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<SelectionBody>,
) -> Result<Response, Problem> {
    requeue(&api, &caller, body.selection()?, body.max).await
}

/// Forgets the selected dead letters. Their executions stay in the history.
#[utoipa::path(post, path = "/dead-letters/~discard", tag = "dead letters",
    operation_id = "discard_dead_letters", request_body = SelectionBody,
    responses((status = 200, body = DiscardedView)))]
async fn discard_selected(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<SelectionBody>,
) -> Result<Response, Problem> {
    discard(&api, &caller, body.selection()?, body.max, body.reason).await
}

/// Counts dead letters by cause, the largest group first.
#[utoipa::path(get, path = "/dead-letters/groups", tag = "dead letters",
    operation_id = "list_dead_letter_groups", params(GroupsParams),
    responses((status = 200, body = GroupsView)))]
async fn groups(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<GroupsParams>,
) -> Result<Response, Problem> {
    let limit = params.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::parameter("limit", format!("expected 1 to {PAGE_MAX}")));
    }
    let found = list_groups(&api.app, &caller.authorization, caller.tenant, limit).await?;
    let items = found.iter().map(|group| GroupView::new(&api, caller.tenant, group)).collect();
    Ok(json(&GroupsView { items }))
}

/// Shows one group of dead letters.
#[utoipa::path(get, path = "/dead-letters/groups/{fingerprint}", tag = "dead letters",
    operation_id = "get_dead_letter_group", params(GroupPath),
    responses((status = 200, body = GroupView)))]
async fn group(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<GroupPath>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let found = find_group(&api.app, authorization, tenant, &path.fingerprint).await?;
    Ok(json(&GroupView::new(&api, tenant, &found)))
}

/// Runs the dead letters of a group again, newest first.
#[utoipa::path(post, path = "/dead-letters/groups/{fingerprint}/~requeue", tag = "dead letters",
    operation_id = "requeue_dead_letter_group", params(GroupPath), request_body = GroupBody,
    responses((status = 200, body = RequeuedView)))]
async fn requeue_group(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<GroupPath>,
    OptionalBody(body): OptionalBody<GroupBody>,
) -> Result<Response, Problem> {
    requeue(&api, &caller, Selection::Group(path.fingerprint), body.max).await
}

/// Forgets the dead letters of a group.
#[utoipa::path(post, path = "/dead-letters/groups/{fingerprint}/~discard", tag = "dead letters",
    operation_id = "discard_dead_letter_group", params(GroupPath), request_body = GroupBody,
    responses((status = 200, body = DiscardedView)))]
async fn discard_group(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<GroupPath>,
    OptionalBody(body): OptionalBody<GroupBody>,
) -> Result<Response, Problem> {
    discard(&api, &caller, Selection::Group(path.fingerprint), body.max, body.reason).await
}

/// Shows a dead letter with its attempts.
#[utoipa::path(get, path = "/dead-letters/{execution}", tag = "dead letters",
    operation_id = "get_dead_letter", params(LetterPath),
    responses((status = 200, body = DeadLetterView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<LetterPath>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let letter = find_dead_letter(&api.app, authorization, tenant, path.execution).await?;
    let mut view = DeadLetterView::brief(&api, &letter);
    view.execution = Some(ExecutionView::full(&api, &letter.execution));
    Ok(json(&view))
}

/// Runs a dead letter again, as a new execution with the action as it is now.
#[utoipa::path(post, path = "/dead-letters/{execution}/~requeue", tag = "dead letters",
    operation_id = "requeue_dead_letter", params(LetterPath),
    responses((status = 200, body = RequeuedView)))]
async fn requeue_one(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<LetterPath>,
) -> Result<Response, Problem> {
    requeue(&api, &caller, Selection::Ids(vec![path.execution]), None).await
}

/// Forgets a dead letter.
#[utoipa::path(post, path = "/dead-letters/{execution}/~discard", tag = "dead letters",
    operation_id = "discard_dead_letter", params(LetterPath), request_body = ReasonBody,
    responses((status = 200, body = DiscardedView)))]
async fn discard_one(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<LetterPath>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Response, Problem> {
    let selection = Selection::Ids(vec![path.execution]);
    discard(&api, &caller, selection, None, Some(body.reason)).await
}

async fn requeue(
    api: &Api,
    caller: &Caller,
    selection: Selection,
    max: Option<u32>,
) -> Result<Response, Problem> {
    let is_single = matches!(&selection, Selection::Ids(ids) if ids.len() == 1);
    let request = RequeueDeadLetters { tenant: caller.tenant, selection, max: max_of(max)? };
    let done = requeue_dead_letters(&api.app, &caller.authorization, request).await?;
    let first = done.executions.first().map(|(_, fresh)| fresh.0);
    let executions = done
        .executions
        .iter()
        .map(|(dead, fresh)| RequeuedExecutionView { dead_id: dead.0, execution_id: fresh.0 });
    let refused =
        done.refused.iter().map(|(id, why)| RefusedView { id: id.0, reason: why.clone() });
    Ok(json(&RequeuedView {
        requeued: done.executions.len(),
        executions: executions.collect(),
        refused: refused.collect(),
        more: done.more,
        execution_id: first.filter(|_| is_single),
    }))
}

async fn discard(
    api: &Api,
    caller: &Caller,
    selection: Selection,
    max: Option<u32>,
    reason: Option<String>,
) -> Result<Response, Problem> {
    let max = max_of(max)?;
    let reason = reason.unwrap_or_default();
    let request = DiscardDeadLetters { tenant: caller.tenant, selection, reason, max };
    let done = discard_dead_letters(&api.app, &caller.authorization, request).await?;
    Ok(json(&DiscardedView { discarded: done.discarded, more: done.more }))
}

fn max_of(max: Option<u32>) -> Result<u32, Problem> {
    let max = max.unwrap_or(MAX_DEFAULT);
    if !(1..=DEAD_LETTERS_PER_CALL_MAX).contains(&max) {
        let message = format!("max is {max}, allowed are 1 to {DEAD_LETTERS_PER_CALL_MAX}");
        return Err(
            Problem::new(&PARAMETER_INVALID, &message).with_error(FieldError::new("/max", message))
        );
    }
    Ok(max)
}
