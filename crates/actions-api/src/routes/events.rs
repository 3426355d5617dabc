//! `…/events`

use std::time::Duration;

use actions_app::commands::replay_event::take_for_replay;
use actions_app::commands::submit_event::{
    AcceptedEvent, NewEvent, SubmitEvents, SubmitEventsError, YieldedExecution, submit_events,
};
use actions_app::queries::events::{EventList, find_event, list_events};
use actions_app::queries::executions::{executions_of_event, wait_for, yields_of_event};
use actions_app::queries::explain::{Explained, explain_event, explain_sample};
use actions_domain::Timestamp;
use actions_domain::authorization::Permission;
use actions_domain::event::Event;
use actions_domain::execution::{Execution, Priority};
use actions_domain::id::EventId;
use actions_domain::json::Json;
use actions_domain::limits::{PAGE_DEFAULT, PAGE_MAX, TRACESTATE_BYTES_MAX, WAIT_EXECUTIONS_MAX};
use actions_domain::ports::history::ListedEvent;
use actions_domain::terms::Conflict;
use actions_domain::trace::TraceParent;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::read;
use crate::caller::Caller;
use crate::event_body::{Reader, Sent, bytes_max, pause_of};
use crate::extract::{Params, Segments, idempotency_of, mark_replayed, wait_of};
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{FieldError, Problem};
use crate::routes::Api;
use crate::routes::executions::ExecutionView;
use crate::routes::quotas::rate_headers;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(submit, list))
        .routes(routes!(explain))
        .routes(routes!(show))
        .routes(routes!(matches))
        .routes(routes!(replay))
}

/// An event as it was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    id: Uuid,
    #[schema(examples("users.created"))]
    r#type: String,
    source: String,
    /// The caller's own id.
    external_id: Option<String>,
    subject: Option<String>,
    /// When it happened, as its source says.
    time: Option<Time>,
    accepted_at: Time,
    /// As it was sent, to the byte. Left out of lists above `listed_bytes` of `GET /v1/limits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    data: Option<Json>,
    data_bytes: usize,
    content_type: Option<String>,
    data_schema: Option<String>,
    #[schema(value_type = Option<String>)]
    priority: Option<Priority>,
    partition_key: Option<String>,
    aggregate_id: Option<Uuid>,
    aggregate_type: Option<String>,
    event_version: Option<i32>,
    correlation_id: Option<Uuid>,
    causation_id: Option<Uuid>,
    /// The execution that published it.
    caused_by: Option<Uuid>,
    tenant_id: Option<Uuid>,
    organization_id: Option<Uuid>,
    user_id: Option<Uuid>,
    source_service: Option<String>,
    source_version: Option<String>,
    /// The trace that it belongs to (W3C Trace Context); calls that it leads to belong to it as well.
    traceparent: Option<String>,
    tracestate: Option<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Json>,
    #[schema(value_type = Object)]
    extensions: serde_json::Map<String, Value>,
    /// How many executions led here, one causing the next.
    depth: u8,
    /// Published by the engine itself.
    by_engine: bool,
    /// What it led to; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    executions: Option<Vec<ExecutionView>>,
    /// Matches without an execution, because another one is the only one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    yielded: Vec<YieldedView>,
    /// Matches that run with another execution, whose batch they have joined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    joined: Vec<JoinedView>,
}

/// A match without an execution, as the action's `unique` says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct YieldedView {
    action: String,
    /// The execution that stands for it.
    execution: Uuid,
    /// `existing` or `reject`.
    #[schema(value_type = String)]
    on_conflict: Conflict,
}

/// A match that runs with another execution, as the action's `batch` says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JoinedView {
    action: String,
    /// The head of the batch.
    execution: Uuid,
}

/// What became of a sent event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedEventView {
    id: Uuid,
    /// It had been accepted before; this is what became of it then.
    duplicate: bool,
    /// What it led to, in the order in which it starts.
    executions: Vec<AcceptedExecutionView>,
    /// Matches without an execution, because another one is the only one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    yielded: Vec<YieldedView>,
    /// Matches that run with another execution, whose batch they have joined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    joined: Vec<JoinedView>,
    links: EventLinks,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventLinks {
    #[serde(rename = "self")]
    own: String,
    matches: String,
}

/// An execution of a sent event. With `wait`, as it was at the end of the wait.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedExecutionView {
    id: Uuid,
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    output: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<super::executions::FaultView>,
}

/// What became of several sent events, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedEventsView {
    items: Vec<AcceptedEventView>,
}

/// Why an event leads to which actions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainedView {
    /// The definitions' version that the answer holds for.
    definitions_version: i64,
    r#type: String,
    matched: bool,
    /// Names of the actions that would run, in their order.
    actions: Vec<String>,
    /// One for each way to an action, those that matched first.
    items: Vec<ExplanationView>,
    /// How many ways there are.
    total: usize,
    /// How many of them match.
    matching: usize,
    /// What a stored event led to when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    executions: Option<Vec<ExecutionView>>,
    /// What a stored event matched without an execution when it was accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    yielded: Vec<YieldedView>,
    /// Matches that run with another execution, whose batch they have joined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    joined: Vec<JoinedView>,
}

/// One way from an event to an action.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplanationView {
    action: String,
    /// Missing: the action's own pattern.
    subscription: Option<Uuid>,
    pattern: String,
    matched: bool,
    /// One sentence.
    because: String,
    checks: Vec<CheckView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckView {
    check: &'static str,
    passed: bool,
    detail: String,
}

impl EventView {
    fn new(event: &Event, data: Option<Json>) -> Self {
        let attributes = event.attributes.clone();
        Self {
            id: event.id.0,
            r#type: event.event_type.as_str().to_owned(),
            source: event.source.clone(),
            external_id: event.external_id.clone(),
            subject: attributes.subject,
            time: attributes.time.map(Time),
            accepted_at: event.accepted_at.into(),
            data,
            data_bytes: event.data.as_str().len(),
            content_type: attributes.content_type,
            data_schema: attributes.data_schema,
            priority: attributes.priority,
            partition_key: attributes.partition_key,
            aggregate_id: attributes.aggregate_id,
            aggregate_type: attributes.aggregate_type,
            event_version: attributes.event_version,
            correlation_id: attributes.correlation_id,
            causation_id: attributes.causation_id,
            caused_by: attributes.caused_by.map(|execution| execution.0),
            tenant_id: attributes.tenant_id,
            organization_id: attributes.organization_id,
            user_id: attributes.user_id,
            source_service: attributes.source_service,
            source_version: attributes.source_version,
            traceparent: attributes.traceparent,
            tracestate: attributes.tracestate,
            metadata: attributes.metadata,
            extensions: attributes.extensions,
            depth: attributes.depth,
            by_engine: attributes.by_engine,
            executions: None,
            yielded: Vec::new(),
            joined: Vec::new(),
        }
    }

    fn listed(listed: &ListedEvent) -> Self {
        let data = listed.is_whole().then(|| listed.event.data.clone());
        Self { data_bytes: listed.data_bytes, ..Self::new(&listed.event, data) }
    }
}

impl ExplainedView {
    /// At most `limit` ways; without `all`, those that matched.
    pub(crate) fn new(explained: &Explained, all: bool, limit: usize) -> Self {
        let ways = explained.ways.iter().filter(|way| all || way.matched).take(limit);
        let items = ways.map(|way| ExplanationView {
            action: way.action.clone(),
            subscription: way.subscription.map(|subscription| subscription.0),
            pattern: way.pattern.clone(),
            matched: way.matched,
            because: way.because.clone(),
            checks: way
                .checks
                .iter()
                .map(|check| CheckView {
                    check: check.check,
                    passed: check.passed,
                    detail: check.detail.clone(),
                })
                .collect(),
        });
        let actions = explained.actions();
        Self {
            definitions_version: explained.defs,
            r#type: explained.event.event_type.as_str().to_owned(),
            matched: !actions.is_empty(),
            actions: actions.into_iter().map(str::to_owned).collect(),
            items: items.collect(),
            total: explained.ways.len(),
            matching: explained.ways.iter().filter(|way| way.matched).count(),
            executions: None,
            yielded: Vec::new(),
            joined: Vec::new(),
        }
    }
}

impl ExplainedView {
    pub(crate) fn is_match(&self) -> bool {
        self.matched
    }

    pub(crate) fn into_items(self) -> Vec<ExplanationView> {
        self.items
    }
}

/// How events are accepted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitParams {
    /// Holds the answer until everything that the events led to has ended: `30s`, at most `60s`.
    /// What led to more than 1000 executions is answered at once.
    wait: Option<String>,
    /// What the events lead to starts no earlier than after this pause: `10m`.
    delay: Option<String>,
    /// What the events lead to starts no earlier than at this time.
    #[param(value_type = Option<String>, format = DateTime)]
    run_at: Option<Timestamp>,
    /// The tenant, below `/v1/internal` alone.
    #[param(ignore)]
    #[expect(dead_code, reason = "read by Caller")]
    tenant: Option<String>,
}

/// How an event is explained.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ExplainParams {
    /// Also ways that did not match. Of a sample they are always told.
    all: Option<bool>,
    /// Ways to tell, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
}

/// Which event.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct EventPath {
    /// The event's id, as we gave it.
    #[param(value_type = Uuid)]
    event: EventId,
}

/// Accepts events: plain, or `CloudEvents` 1.0.2 structured, batched or binary.
///
/// The answer comes after the commit: what is accepted is never lost. A batch is accepted whole
/// or not at all. An event with the source and id of an earlier one is that one. Waiting changes
/// nothing but the moment of the answer.
#[utoipa::path(post, path = "/events", tag = "events", operation_id = "submit_events",
    params(SubmitParams, ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable characters. The same key and body mean the same request for 24 hours")),
    request_body(content(
        (Object = "application/json", example = json!({"type": "users.created", "data": {"email": "user@example.com"}})),
        (Object = "application/cloudevents+json", example = json!({"specversion": "1.0", "type": "users.created", "source": "/shop", "id": "1", "data": {"email": "user@example.com"}})),
        (Vec<Object> = "application/cloudevents-batch+json"),
    )),
    responses(
        (status = 202, body = AcceptedEventView, description = "Accepted. A list is answered with `items`"),
        (status = 200, body = AcceptedEventView, description = "Accepted, and everything it led to has ended"),
    ))]
async fn submit(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<SubmitParams>,
    request: Request,
) -> Result<Response, Problem> {
    submit_request(&api, &caller, &params, request).await
}

/// Accepts the events of a request.
pub(crate) async fn submit_request(
    api: &Api,
    caller: &Caller,
    params: &SubmitParams,
    request: Request,
) -> Result<Response, Problem> {
    let wait = wait_of(params.wait.as_deref())?;
    if wait.is_some() {
        // Before anything is stored: whoever only sends is not shown how it ends.
        caller.authorization.require(Permission::ReadExecutions, caller.tenant)?;
    }
    let query = request.uri().query().map(str::to_owned);
    let (headers, body) = take_body(api, request).await?;
    let sent = read_events(api, caller, params, &headers, &body)?;
    let path = caller.href("events");
    let idempotency = idempotency_of(&headers, "events", &path, query.as_deref(), &body)?;
    let is_keyed = idempotency.is_some();
    let is_batch = sent.is_batch;
    let events = traced(sent.all()?, &headers);
    let accepted = accept(api, caller, events, idempotency)
        .await
        .map_err(|problem| if is_batch { problem } else { of_single(problem) })?;
    answer(api, caller, &accepted, Answering { is_batch, is_keyed, wait }).await
}

/// Lists events, newest first.
///
/// Fields of the filter: type, source, id, subject, correlation, `partition_key`,
/// `source_service`, user, `data.…`, since, until.
#[utoipa::path(get, path = "/events", tag = "events", operation_id = "list_events",
    params(ListParams), responses((status = 200, body = PageView<EventView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    let list = EventList {
        tenant: caller.tenant,
        before: query.place(caller.slug())?,
        limit: query.limit,
        filter: query.filter.clone(),
    };
    let page = list_events(&api.app, &caller.authorization, list).await?;
    query.answer(caller.slug(), page.items.iter().map(EventView::listed).collect(), page.next)
}

/// Shows an event with what it led to.
#[utoipa::path(get, path = "/events/{event}", tag = "events", operation_id = "get_event",
    params(EventPath), responses((status = 200, body = EventView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<EventPath>,
) -> Result<Response, Problem> {
    let event = find_event(&api.app, &caller.authorization, caller.tenant, path.event).await?;
    let mut view = EventView::new(&event, Some(event.data.clone()));
    view.executions = Some(executions(&api, &caller, event.id).await?);
    (view.yielded, view.joined) = yields(&api, &caller, event.id).await?;
    Ok(json(&view))
}

/// Tells why a sample of an event would lead to which actions. Nothing is accepted.
#[utoipa::path(post, path = "/events/~explain", tag = "events", operation_id = "explain_event",
    params(ExplainParams),
    request_body(content = Object, content_type = "application/json", example = json!({"type": "users.created", "data": {"tier": "premium"}})),
    responses((status = 200, body = ExplainedView)))]
async fn explain(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<ExplainParams>,
    request: Request,
) -> Result<Response, Problem> {
    let limit = limit_of(&params)?;
    let (headers, body) = take_body(&api, request).await?;
    let sent = reader(&api, &caller, None).read(&headers, &body)?;
    let sample = only_one(sent)?;
    let explained = explain_sample(&api.app, &caller.authorization, caller.tenant, sample)?;
    Ok(json(&ExplainedView::new(&explained, true, limit)))
}

/// Tells why a stored event would lead to which actions now, and what it led to.
#[utoipa::path(get, path = "/events/{event}/matches", tag = "events",
    operation_id = "get_event_matches", params(EventPath, ExplainParams),
    responses((status = 200, body = ExplainedView)))]
async fn matches(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<EventPath>,
    Params(params): Params<ExplainParams>,
) -> Result<Response, Problem> {
    let limit = limit_of(&params)?;
    let explained =
        explain_event(&api.app, &caller.authorization, caller.tenant, path.event).await?;
    let mut view = ExplainedView::new(&explained, params.all.unwrap_or(false), limit);
    view.executions = Some(executions(&api, &caller, path.event).await?);
    (view.yielded, view.joined) = yields(&api, &caller, path.event).await?;
    Ok(json(&view))
}

/// Accepts a stored event once more, as a new one.
#[utoipa::path(post, path = "/events/{event}/~replay", tag = "events",
    operation_id = "replay_event",
    params(EventPath, SubmitParams, ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = AcceptedEventView)))]
async fn replay(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<EventPath>,
    Params(params): Params<SubmitParams>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let wait = wait_of(params.wait.as_deref())?;
    let now = api.app.ports.clock.now();
    let delay = pause_of(now, params.delay.as_deref(), params.run_at)?;
    let event = take_for_replay(&api.app, &caller.authorization, caller.tenant, path.event).await?;
    let again = NewEvent {
        event_type: event.event_type,
        source: Some(event.source),
        // With the same id it would be the same event.
        external_id: None,
        data: event.data,
        attributes: event.attributes,
        delay,
    };
    let href = caller.href(&format!("events/{}:replay", path.event));
    let idempotency = idempotency_of(&headers, "replay", &href, uri.query(), &[])?;
    let is_keyed = idempotency.is_some();
    let accepted = accept(&api, &caller, vec![again], idempotency).await.map_err(of_single)?;
    answer(&api, &caller, &accepted, Answering { is_batch: false, is_keyed, wait }).await
}

/// Reads one event as a sample.
pub(crate) fn sample_of(api: &Api, caller: &Caller, body: &[u8]) -> Result<NewEvent, Problem> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    only_one(reader(api, caller, None).read(&headers, body)?)
}

fn only_one(sent: Sent) -> Result<NewEvent, Problem> {
    let mut events = sent.all()?;
    match (events.pop(), events.is_empty()) {
        (Some(event), true) => Ok(event),
        _ => Err(Problem::parameter("body", "expected exactly one event")),
    }
}

async fn take_body(api: &Api, request: Request) -> Result<(HeaderMap, bytes::Bytes), Problem> {
    let headers = request.headers().clone();
    let body = read(request, api, bytes_max(&headers)).await?;
    Ok((headers, body))
}

/// Events that name no trace belong to the request's.
fn traced(mut events: Vec<NewEvent>, headers: &HeaderMap) -> Vec<NewEvent> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(parent) = text("traceparent").filter(|raw| TraceParent::parse(raw).is_some()) else {
        return events;
    };
    let state = text("tracestate").filter(|state| state.len() <= TRACESTATE_BYTES_MAX);
    for event in events.iter_mut().filter(|event| event.attributes.traceparent.is_none()) {
        event.attributes.traceparent = Some(parent.to_owned());
        event.attributes.tracestate = state.map(str::to_owned);
    }
    events
}

fn read_events(
    api: &Api,
    caller: &Caller,
    params: &SubmitParams,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Sent, Problem> {
    let now = api.app.ports.clock.now();
    let delay = pause_of(now, params.delay.as_deref(), params.run_at)?;
    reader(api, caller, delay).read(headers, body)
}

fn reader(api: &Api, caller: &Caller, delay: Option<Duration>) -> Reader {
    let tenant = [caller.slug().to_owned(), caller.definitions.tenant.uuid.to_string()];
    Reader { now: api.app.ports.clock.now(), tenant, delay }
}

async fn accept(
    api: &Api,
    caller: &Caller,
    events: Vec<NewEvent>,
    idempotency: Option<actions_app::commands::submit_event::Idempotency>,
) -> Result<Vec<AcceptedEvent>, Problem> {
    let request = SubmitEvents { tenant: caller.tenant, events, idempotency };
    let accepted = submit_events(&api.app, &caller.authorization, request).await;
    accepted.map_err(|error| {
        let is_refused = matches!(error, SubmitEventsError::Quota(_));
        let problem = Problem::from(error);
        if is_refused { problem.with_headers(rate_headers(api, caller.tenant)) } else { problem }
    })
}

/// A single event is no list, so its places have no index.
fn of_single(mut problem: Problem) -> Problem {
    problem.errors = problem
        .errors
        .into_iter()
        .map(|error| match error.pointer.strip_prefix("/0") {
            Some(rest) => FieldError { pointer: rest.to_owned(), ..error },
            None => error,
        })
        .collect();
    problem
}

/// How accepted events are answered.
struct Answering {
    /// As a list.
    is_batch: bool,
    /// The request had a key, so the answer says when it was an earlier one's.
    is_keyed: bool,
    wait: Option<Duration>,
}

async fn answer(
    api: &Api,
    caller: &Caller,
    accepted: &[AcceptedEvent],
    Answering { is_batch, is_keyed, wait }: Answering,
) -> Result<Response, Problem> {
    let is_replayed = is_keyed && accepted.iter().all(|event| event.duplicate);
    let ids: Vec<_> = accepted
        .iter()
        .flat_map(|event| event.executions.iter().map(|execution| execution.execution))
        .collect();
    let ended = match wait {
        Some(_) if ids.len() > WAIT_EXECUTIONS_MAX => Vec::new(),
        Some(wait) => wait_for(&api.app, &caller.authorization, caller.tenant, &ids, wait).await?,
        None => Vec::new(),
    };
    let is_over = wait.is_some()
        && ended.len() == ids.len()
        && ended.iter().all(|execution| execution.status.is_final());
    let status = if is_over { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut items = accepted.iter().map(|event| view_of(caller, event, &ended));
    let mut response = if is_batch {
        (status, json(&AcceptedEventsView { items: items.collect() })).into_response()
    } else {
        let view = items.next().ok_or_else(|| Problem::internal("an event without an answer"))?;
        let mut response = (status, json(&view)).into_response();
        if let Ok(location) = HeaderValue::from_str(&view.links.own) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    };
    if is_replayed {
        mark_replayed(response.headers_mut());
    }
    response.headers_mut().extend(rate_headers(api, caller.tenant));
    Ok(response)
}

fn view_of(caller: &Caller, accepted: &AcceptedEvent, ended: &[Execution]) -> AcceptedEventView {
    let executions = accepted.executions.iter().map(|made| {
        let found = ended.iter().find(|execution| execution.id == made.execution);
        AcceptedExecutionView {
            id: made.execution.0,
            action: made.action.clone(),
            status: found.map(|execution| execution.status.word()),
            output: found.and_then(|execution| execution.output.clone()),
            error: found.and_then(|execution| execution.error.as_ref()).map(Into::into),
            attempt_count: found.map(|execution| execution.attempts.len()),
        }
    });
    let href = caller.href(&format!("events/{}", accepted.event));
    let (yielded, joined) = apart(&accepted.yielded);
    AcceptedEventView {
        id: accepted.event.0,
        duplicate: accepted.duplicate,
        executions: executions.collect(),
        yielded,
        joined,
        links: EventLinks { matches: format!("{href}/matches"), own: href },
    }
}

async fn executions(
    api: &Api,
    caller: &Caller,
    event: EventId,
) -> Result<Vec<ExecutionView>, Problem> {
    let found = executions_of_event(&api.app, &caller.authorization, caller.tenant, event).await?;
    Ok(found.iter().map(|execution| ExecutionView::brief(api, execution)).collect())
}

async fn yields(
    api: &Api,
    caller: &Caller,
    event: EventId,
) -> Result<(Vec<YieldedView>, Vec<JoinedView>), Problem> {
    let found = yields_of_event(&api.app, &caller.authorization, caller.tenant, event).await?;
    Ok(apart(&found))
}

/// What has yielded to others, and what has joined others.
fn apart(found: &[YieldedExecution]) -> (Vec<YieldedView>, Vec<JoinedView>) {
    let (mut yielded, mut joined) = (Vec::new(), Vec::new());
    for YieldedExecution { action, to, on_conflict, has_joined } in found {
        let (action, execution) = (action.clone(), to.0);
        if *has_joined {
            joined.push(JoinedView { action, execution });
        } else {
            yielded.push(YieldedView { action, execution, on_conflict: *on_conflict });
        }
    }
    (yielded, joined)
}

fn limit_of(params: &ExplainParams) -> Result<usize, Problem> {
    let limit = params.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::parameter("limit", format!("expected 1 to {PAGE_MAX}")));
    }
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}
