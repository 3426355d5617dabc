//! Accepts events and what they lead to, in one commit.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::action::Action;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::execution::Priority;
use actions_domain::id::{EventId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::{
    ATTRIBUTES_BYTES_MAX, BATCH_EVENTS_MAX, CHAIN_DEPTH_MAX, EVENT_ATTRIBUTE_BYTES_MAX,
    EVENT_BYTES_MAX, FAN_OUT_MAX, SCHEDULE_AHEAD_MAX,
};
use actions_domain::ports::store::StoreError;
use actions_domain::terms::{Conflict, YieldNote, Yielded};
use actions_domain::trace::{MatchedAt, Span, TraceParent, of_event};
use actions_domain::work::{
    Dedupe, Ingest, Ingested, Part, RequestKey, Submission, Submitted, Work,
};
use serde_json::Value;

use crate::app::App;
use crate::catalogue::{Matched, TenantDefinitions};
use crate::commands::key::{Accepted, delay_of, key_for, wants_data};
use crate::ingress::IngressError;
use crate::quotas::{Admission, QuotaError};

/// How often a submission is matched again because definitions changed at the same moment.
const MATCH_AGAIN_MAX: u32 = 10;

/// An event as a caller gives it.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub event_type: EventType,
    /// Defaults to the caller's name.
    pub source: Option<String>,
    pub external_id: Option<String>,
    pub data: Json,
    pub attributes: Attributes,
    /// What it leads to starts no earlier than after this pause.
    pub delay: Option<Duration>,
}

/// A caller's promise that two requests mean the same.
#[derive(Debug, Clone, Copy)]
pub struct Idempotency {
    request: RequestKey,
}

impl Idempotency {
    /// `scope` is what the key is unique in, beside the tenant: the route. `body` is all that the
    /// request says, to notice that a key was used twice.
    pub fn new(scope: &str, key: &str, body: &[&[u8]]) -> Self {
        Self { request: RequestKey { key: hash_texts(&["request", scope, key]), body: hash(body) } }
    }

    /// The promise for one part of the request, which is a submission of its own.
    #[must_use]
    pub fn of_part(&self, name: &str, body: &[u8]) -> Self {
        let RequestKey { key, body: whole } = self.request;
        let key = hash(&[b"part", &key, name.as_bytes()]);
        Self { request: RequestKey { key, body: hash(&[&whole, body]) } }
    }

    pub(crate) fn request(&self) -> RequestKey {
        self.request
    }
}

pub struct SubmitEvents {
    pub tenant: TenantId,
    pub events: Vec<NewEvent>,
    pub idempotency: Option<Idempotency>,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedEvent {
    pub event: EventId,
    /// It had been accepted before; this is what became of it then.
    pub duplicate: bool,
    pub executions: Vec<AcceptedExecution>,
    /// Matches without an execution, because another one stands for them.
    pub yielded: Vec<YieldedExecution>,
}

/// A match without an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct YieldedExecution {
    pub action: String,
    /// The one that stands for it.
    pub to: ExecutionId,
    pub on_conflict: Conflict,
    /// That one runs with this event as well.
    pub has_joined: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedExecution {
    pub execution: ExecutionId,
    pub action: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SubmitEventsError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such tenant")]
    UnknownTenant,
    #[error("the tenant is suspended; nothing is accepted until an operator ends that")]
    Suspended,
    #[error("a batch has 1 to {max} events, not {given}", max = BATCH_EVENTS_MAX)]
    BatchSize { given: usize },
    #[error("event {index} has {bytes} bytes of data, allowed are {max}", max = EVENT_BYTES_MAX)]
    TooLarge { index: usize, bytes: usize },
    #[error("{attribute} of event {index} has {bytes} bytes, allowed are {max}", max = EVENT_ATTRIBUTE_BYTES_MAX)]
    AttributeTooLong { index: usize, attribute: &'static str, bytes: usize },
    #[error("event {index} has {bytes} bytes of attributes, allowed are {max}", max = ATTRIBUTES_BYTES_MAX)]
    AttributesTooLarge { index: usize, bytes: usize },
    #[error("event {index} is the {depth}th of a chain of actions that cause one another, allowed are {max}", max = CHAIN_DEPTH_MAX)]
    ChainTooDeep { index: usize, depth: u8 },
    #[error("event {index} may be delayed by {max} s at most", max = SCHEDULE_AHEAD_MAX.as_secs())]
    TooFarAhead { index: usize },
    #[error("event {index} matches {matched} actions, allowed are {max}", max = FAN_OUT_MAX)]
    FanOut { index: usize, matched: usize },
    /// The idempotency key was used before, for another body.
    #[error("the idempotency key was used for a different request")]
    IdempotencyMismatch,
    #[error(transparent)]
    Quota(#[from] QuotaError),
    #[error("the definitions change faster than events can be matched")]
    Busy,
    #[error(transparent)]
    Ingress(#[from] IngressError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Accepts all of the events or none. What they match is decided by the definitions that hold
/// at the moment of the commit.
pub async fn submit_events(
    app: &App,
    caller: &AuthorizationContext,
    request: SubmitEvents,
) -> Result<Vec<AcceptedEvent>, SubmitEventsError> {
    caller.require(Permission::SubmitEvent, request.tenant)?;
    let definitions = definitions_of(app, request.tenant).await?;
    let given = request.events.len();
    if given == 0 || given > BATCH_EVENTS_MAX {
        return Err(SubmitEventsError::BatchSize { given });
    }
    let now = app.ports.clock.now();
    let mut events = Vec::with_capacity(given);
    for (index, new) in request.events.into_iter().enumerate() {
        check(index, &new)?;
        events.push((new.delay, Arc::new(event_of(app, caller, request.tenant, new, now))));
    }

    match Admission::of(caller) {
        Admission::Asked => app.quotas.admit_events(request.tenant, given).await?,
        Admission::Granted => app.quotas.charge_events(request.tenant, given),
    }
    for round in 0..MATCH_AGAIN_MAX {
        let began = app.ports.clock.now();
        let drafts = match_all(app, &definitions, &events)?;
        // Read after the matching, whose version the commit compares: none slips through between.
        if definitions.controls().suspension.is_some() {
            return Err(SubmitEventsError::Suspended);
        }
        let matched = (began, app.ports.clock.now());
        let submission = Submission {
            request: request.idempotency.as_ref().map(Idempotency::request),
            ..Submission::new(request.tenant, Some(drafts.defs), drafts.ingests)
        };
        let (submitted, yielded) = app.ingress.submit_claims(submission).await?;
        match submitted {
            Submitted::Stale { defs } => app.catalogue.refresh(request.tenant, defs).await?,
            Submitted::Mismatch => return Err(SubmitEventsError::IdempotencyMismatch),
            Submitted::Accepted(ingested) => {
                let (began, ended) = matched;
                let stored = events.iter().zip(&drafts.executions).zip(&ingested);
                let stored = stored.filter(|(_, ingested)| matches!(ingested, Ingested::Stored));
                let stored = stored.map(|(((_, event), executions), _)| {
                    (&**event, MatchedAt { began, ended, actions: executions.len() })
                });
                trace(app, definitions.tenant.slug.as_str(), stored);
                // An earlier round may have been written all the same, with other executions.
                let own = (round == 0).then_some(drafts.executions);
                return answers(app, request.tenant, &events, own, &ingested, &yielded).await;
            }
        }
    }
    Err(SubmitEventsError::Busy)
}

/// Publishes an event of the engine's own that was matched with old definitions.
pub(crate) async fn republish(app: &App, event: Arc<Event>) -> Result<(), SubmitEventsError> {
    let tenant = event.tenant;
    let definitions = definitions_of(app, tenant).await?;
    let events = [(None, event)];
    for _ in 0..MATCH_AGAIN_MAX {
        let Drafts { defs, ingests, .. } = match_all(app, &definitions, &events)?;
        match app.ingress.submit(Submission::new(tenant, Some(defs), ingests)).await? {
            Submitted::Stale { defs } => app.catalogue.refresh(tenant, defs).await?,
            Submitted::Accepted(_) | Submitted::Mismatch => return Ok(()),
        }
    }
    Err(SubmitEventsError::Busy)
}

/// The tenant's definitions, read from the store when this process does not know the tenant.
async fn definitions_of(
    app: &App,
    tenant: TenantId,
) -> Result<Arc<TenantDefinitions>, SubmitEventsError> {
    if let Some(known) = app.catalogue.find(tenant) {
        return Ok(known);
    }
    app.catalogue.refresh_all().await?;
    app.catalogue.find(tenant).ok_or(SubmitEventsError::UnknownTenant)
}

/// Checks what holds for every event, whichever way it comes in.
pub(crate) fn check(index: usize, new: &NewEvent) -> Result<(), SubmitEventsError> {
    let bytes = new.data.as_str().len();
    if bytes > EVENT_BYTES_MAX {
        return Err(SubmitEventsError::TooLarge { index, bytes });
    }
    let texts = [
        ("source", &new.source),
        ("id", &new.external_id),
        ("subject", &new.attributes.subject),
        ("partitionkey", &new.attributes.partition_key),
    ];
    for (attribute, text) in texts {
        let bytes = text.as_ref().map_or(0, String::len);
        if bytes > EVENT_ATTRIBUTE_BYTES_MAX {
            return Err(SubmitEventsError::AttributeTooLong { index, attribute, bytes });
        }
    }
    let bytes = new.attributes.bytes();
    if bytes > ATTRIBUTES_BYTES_MAX {
        return Err(SubmitEventsError::AttributesTooLarge { index, bytes });
    }
    if new.delay.is_some_and(|delay| delay > SCHEDULE_AHEAD_MAX) {
        return Err(SubmitEventsError::TooFarAhead { index });
    }
    let depth = new.attributes.depth;
    if depth > CHAIN_DEPTH_MAX {
        return Err(SubmitEventsError::ChainTooDeep { index, depth });
    }
    Ok(())
}

fn event_of(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    new: NewEvent,
    now: Timestamp,
) -> Event {
    let id = EventId::mint(now, app.ports.dice.bytes());
    let mut attributes = new.attributes;
    begin_trace(app, id, &mut attributes);
    Event {
        id,
        tenant,
        event_type: new.event_type,
        source: new.source.unwrap_or_else(|| caller.actor.clone()),
        external_id: new.external_id,
        accepted_at: now,
        data: new.data,
        attributes,
    }
}

/// Begins a trace with an event, unless it is part of one or its trace is not kept.
pub(crate) fn begin_trace(app: &App, id: EventId, attributes: &mut Attributes) {
    if attributes.traceparent.is_none()
        && app.ports.traces.as_ref().is_some_and(|traces| traces.begins_with(id.0))
    {
        attributes.traceparent = Some(TraceParent::begin(id.0));
    }
}

/// Tells who keeps traces what was stored just now.
pub(crate) fn trace<'a>(
    app: &App,
    tenant: &str,
    stored: impl Iterator<Item = (&'a Event, MatchedAt)>,
) {
    let Some(traces) = &app.ports.traces else { return };
    let stored_at = app.ports.clock.now();
    let spans: Vec<Span> =
        stored.flat_map(|(event, matched)| of_event(event, tenant, matched, stored_at)).collect();
    if !spans.is_empty() {
        traces.record(spans);
    }
}

pub(crate) fn check_fan_out(index: usize, matched: &Matched) -> Result<(), SubmitEventsError> {
    match matched.actions.len() {
        0..=FAN_OUT_MAX => Ok(()),
        matched => Err(SubmitEventsError::FanOut { index, matched }),
    }
}

struct Drafts {
    defs: i64,
    ingests: Vec<Ingest>,
    executions: Vec<Vec<Drafted>>,
}

struct Drafted {
    execution: AcceptedExecution,
    /// It may yield to another one.
    may_yield: bool,
}

fn match_all(
    app: &App,
    definitions: &TenantDefinitions,
    events: &[(Option<Duration>, Arc<Event>)],
) -> Result<Drafts, SubmitEventsError> {
    let mut drafts = Drafts { defs: 0, ingests: Vec::new(), executions: Vec::new() };
    for (index, (delay, event)) in events.iter().enumerate() {
        let matched = definitions.matches(event);
        check_fan_out(index, &matched)?;
        // Definitions may change between two events of a batch; the oldest version tells.
        drafts.defs = if index == 0 { matched.defs } else { drafts.defs.min(matched.defs) };
        let works = works_of(app, event, &matched, *delay);
        drafts.executions.push(
            works
                .iter()
                .zip(&matched.actions)
                .map(|((_, work), (_, action))| Drafted {
                    execution: AcceptedExecution {
                        execution: work.id,
                        action: action.spec.name.as_str().to_owned(),
                    },
                    may_yield: work.terms.as_ref().is_some_and(|terms| terms.may_yield()),
                })
                .collect(),
        );
        drafts.ingests.push(Ingest {
            event: Some(event.clone()),
            dedupe: dedupe_of(event),
            works,
            requeue_of: None,
        });
    }
    Ok(drafts)
}

/// The work that an event leads to, in the order in which it should start.
pub(crate) fn works_of(
    app: &App,
    event: &Event,
    matched: &Matched,
    delay: Option<Duration>,
) -> Vec<(Part, Arc<Work>)> {
    // Parsed only when some action wants a name from it.
    let data = if matched.actions.iter().any(|(_, action)| wants_data(action)) {
        event.data.to_value()
    } else {
        Value::Null
    };
    matched
        .actions
        .iter()
        .map(|(found, action)| {
            let subscription = found.subscription.filter(|id| matched.rated.contains(id));
            let key = key_for(action, event, &data);
            let part = app.live.part_of(event.tenant, key.as_ref());
            let depth = event.attributes.depth;
            let accepted = Accepted {
                action,
                subscription,
                key: key.as_ref(),
                asked: delay,
                depth,
                data: &data,
            };
            let terms = accepted.terms();
            let delay = delay_of(action, delay);
            let due = delay.map_or(event.accepted_at, |delay| after(event.accepted_at, delay));
            let work = Work {
                // An id's time is the time at which it may first start.
                id: ExecutionId::mint(due, app.ports.dice.bytes()),
                tenant: event.tenant,
                lane: lane_of(action, event),
                action: action.id,
                defs: matched.defs,
                key,
                event: Some(event.id),
                parent: None,
                queued_at: event.accepted_at,
                delay,
                input: None,
                depth,
                terms,
            };
            (part, Arc::new(work))
        })
        .collect()
}

/// The instant after a pause, or the end of time.
pub(crate) fn after(now: Timestamp, pause: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(pause)
        .ok()
        .and_then(|pause| now.checked_add_signed(pause))
        .unwrap_or(Timestamp::MAX_UTC)
}

/// The more urgent of the action's and the event's own priority.
fn lane_of(action: &Action, event: &Event) -> Priority {
    action.spec.priority.max(event.attributes.priority.unwrap_or(Priority::Low))
}

/// What names an event: its source and id. An event without an id is a new one each time.
pub(crate) fn dedupe_of(event: &Event) -> Option<Dedupe> {
    let external_id = event.external_id.as_deref()?;
    let key = hash_texts(&["event", &event.source, external_id]);
    Some(Dedupe { key, subject: event.id.0 })
}

pub(crate) fn hash_texts(texts: &[&str]) -> [u8; 16] {
    let parts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    hash(&parts)
}

/// BLAKE3 cut to 128 bits. Each part is preceded by its length, so no two lists of parts hash
/// the same bytes.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut cut = [0; 16];
    cut.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    cut
}

async fn answers(
    app: &App,
    tenant: TenantId,
    events: &[(Option<Duration>, Arc<Event>)],
    own: Option<Vec<Vec<Drafted>>>,
    ingested: &[Ingested],
    yielded: &[Yielded],
) -> Result<Vec<AcceptedEvent>, SubmitEventsError> {
    let mut own = own.unwrap_or_default().into_iter();
    let mut answers = Vec::with_capacity(events.len());
    for ((_, event), outcome) in events.iter().zip(ingested) {
        let drafted = own.next();
        let first = match outcome {
            Ingested::Stored | Ingested::NotDead => event.id,
            Ingested::Duplicate { subject } => EventId(*subject),
        };
        // A flush that was sent twice finds itself.
        let duplicate = first != event.id;
        // Nor does the second answer tell what has yielded.
        let is_repeated = matches!(outcome, Ingested::Duplicate { .. });
        let (executions, yielded) = match drafted.filter(|drafted| {
            !(duplicate || is_repeated && drafted.iter().any(|drafted| drafted.may_yield))
        }) {
            Some(drafted) => apart(drafted, yielded),
            None => {
                (executions_of(app, tenant, first).await?, yields_of(app, tenant, first).await?)
            }
        };
        answers.push(AcceptedEvent { event: first, duplicate, executions, yielded });
    }
    Ok(answers)
}

/// Drafted executions, apart from those that have yielded.
fn apart(
    drafted: Vec<Drafted>,
    yielded: &[Yielded],
) -> (Vec<AcceptedExecution>, Vec<YieldedExecution>) {
    let (mut executions, mut yields) = (Vec::with_capacity(drafted.len()), Vec::new());
    for Drafted { execution, may_yield } in drafted {
        let to = yielded.iter().find(|one| may_yield && one.execution == execution.execution);
        match to {
            Some(Yielded { to, on_conflict, has_joined, .. }) => yields.push(YieldedExecution {
                action: execution.action,
                to: *to,
                on_conflict: *on_conflict,
                has_joined: *has_joined,
            }),
            None => executions.push(execution),
        }
    }
    (executions, yields)
}

/// The matches of an event without an execution.
pub(crate) async fn yields_of(
    app: &App,
    tenant: TenantId,
    event: EventId,
) -> Result<Vec<YieldedExecution>, StoreError> {
    let found = app.ports.history.yields_of_event(tenant, event).await?;
    let definitions = app.catalogue.find(tenant);
    let name = |action| {
        let action = definitions.as_ref().and_then(|definitions| definitions.action(action));
        action.map(|action| action.spec.name.as_str().to_owned()).unwrap_or_default()
    };
    let yielded = |YieldNote { action, to, on_conflict, has_joined }| YieldedExecution {
        action: name(action),
        to,
        on_conflict,
        has_joined,
    };
    Ok(found.into_iter().map(yielded).collect())
}

async fn executions_of(
    app: &App,
    tenant: TenantId,
    event: EventId,
) -> Result<Vec<AcceptedExecution>, StoreError> {
    let found = app.ports.history.executions_of_event(tenant, event).await?;
    let definitions = app.catalogue.find(tenant);
    Ok(found
        .into_iter()
        .map(|execution| AcceptedExecution {
            execution: execution.id,
            action: definitions
                .as_ref()
                .and_then(|definitions| definitions.action(execution.action))
                .map(|action| action.spec.name.as_str().to_owned())
                .unwrap_or_default(),
        })
        .collect())
}
