//! The spans of an event and of what it leads to: event → match, event → execution → attempt.
//!
//! Their ids follow from the ids of what they are about, so every node says the same of one
//! thing, and a call's `traceparent` names the attempt's span before that has ended. They show
//! names, ids, times and outcomes, never data.

use std::borrow::Cow;

use uuid::Uuid;

use super::TraceParent;
use crate::Timestamp;
use crate::event::Event;
use crate::execution::{Attempt, AttemptOutcome, Status};
use crate::work::Finish;

/// Something that happened from one time to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace: [u8; 16],
    pub id: [u8; 8],
    /// `None` at the root of a trace.
    pub parent: Option<[u8; 8]>,
    pub kind: SpanKind,
    /// One of few: what differs each time is among the attributes.
    pub name: Cow<'static, str>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// The code of what went wrong.
    pub error: Option<String>,
}

/// Which side of an exchange a span is, in the words of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    Producer,
    Internal,
    Consumer,
    Client,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanValue {
    Text(String),
    Number(i64),
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for SpanValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<usize> for SpanValue {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// When an event was matched, and with how many actions.
#[derive(Debug, Clone, Copy)]
pub struct MatchedAt {
    pub began: Timestamp,
    pub ended: Timestamp,
    pub actions: usize,
}

/// The spans of an event that is durable since `stored_at`. None when its trace is not kept.
pub fn of_event(
    event: &Event,
    tenant: &str,
    matched: MatchedAt,
    stored_at: Timestamp,
) -> Vec<Span> {
    let Some(place) = Place::of(event) else { return Vec::new() };
    let of_match = Span {
        trace: place.trace,
        id: derived(&[b"match", event.id.0.as_bytes()]),
        parent: Some(place.event),
        kind: SpanKind::Internal,
        name: "match".into(),
        started_at: matched.began,
        ended_at: matched.ended,
        attributes: vec![("actions.matched", matched.actions.into())],
        error: None,
    };
    let of_event = Span {
        trace: place.trace,
        id: place.event,
        parent: place.caller,
        kind: SpanKind::Producer,
        name: "event".into(),
        started_at: event.accepted_at,
        ended_at: stored_at,
        attributes: vec![
            ("actions.tenant", tenant.into()),
            ("actions.event.id", event.id.to_string().into()),
            ("actions.event.type", event.event_type.as_str().into()),
            ("actions.event.source", event.source.as_str().into()),
        ],
        error: None,
    };
    vec![of_event, of_match]
}

/// The spans of an execution that has ended, and of its attempts. None when it has no event at
/// hand, or the event's trace is not kept.
pub fn of_execution(finish: &Finish, tenant: &str, action: &str) -> Vec<Span> {
    let work = &finish.item.work;
    let Some(event) = finish.item.event.as_deref() else { return Vec::new() };
    let Some(place) = Place::of(event) else { return Vec::new() };
    let execution = derived(&[b"execution", work.id.0.as_bytes()]);
    let is_failure = matches!(finish.status, Status::Failed | Status::Timeout);
    let error = finish.error.as_ref().filter(|_| is_failure).map(|fault| fault.code.clone());
    let of_execution = Span {
        trace: place.trace,
        id: execution,
        parent: Some(place.event),
        kind: SpanKind::Consumer,
        name: "execution".into(),
        started_at: work.queued_at,
        ended_at: finish.ended_at,
        attributes: vec![
            ("actions.tenant", tenant.into()),
            ("actions.action", action.into()),
            ("actions.execution.id", work.id.to_string().into()),
            ("actions.execution.status", finish.status.word().into()),
            ("actions.attempts", finish.item.attempts.len().into()),
        ],
        error,
    };
    let of_attempts = finish.item.attempts.iter().map(|attempt| Span {
        trace: place.trace,
        id: place.attempt(work.id.0, attempt.number),
        parent: Some(execution),
        kind: SpanKind::Client,
        name: "attempt".into(),
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        attributes: vec![
            ("actions.action", action.into()),
            ("actions.attempt", SpanValue::Number(attempt.number.into())),
            ("actions.node", SpanValue::Number(attempt.node.0.into())),
        ],
        error: error_of(attempt),
    });
    std::iter::once(of_execution).chain(of_attempts).collect()
}

fn error_of(attempt: &Attempt) -> Option<String> {
    match (&attempt.error, attempt.outcome) {
        (_, AttemptOutcome::Completed) => None,
        (Some(fault), _) => Some(fault.code.clone()),
        (None, AttemptOutcome::Lost) => Some("attempt.lost".to_owned()),
        (None, _) => Some("attempt.failed".to_owned()),
    }
}

/// Where an event stands in its trace.
struct Place<'a> {
    parent: TraceParent<'a>,
    trace: [u8; 16],
    event: [u8; 8],
    /// Who sent the event. `None`: the trace began with it.
    caller: Option<[u8; 8]>,
}

impl<'a> Place<'a> {
    /// `None`: the event is part of no trace, or of one that is not kept.
    fn of(event: &'a Event) -> Option<Self> {
        let parent = TraceParent::parse(event.attributes.traceparent.as_deref()?)?;
        if !parent.is_sampled() {
            return None;
        }
        let (trace, above) = (parent.trace_bytes(), parent.span_bytes());
        let began_here = trace == *event.id.0.as_bytes();
        let (id, caller) = if began_here {
            (above, None)
        } else {
            (derived(&[b"event", event.id.0.as_bytes()]), Some(above))
        };
        Some(Self { parent, trace, event: id, caller })
    }

    fn attempt(&self, execution: Uuid, attempt: u32) -> [u8; 8] {
        self.parent.attempt_span(execution, attempt).to_be_bytes()
    }
}

/// An id that follows from what it is about.
pub(super) fn derived(parts: &[&[u8]]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut id = [0; 8];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    // An id of zeros would be none.
    id[7] |= 1;
    id
}
