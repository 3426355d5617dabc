//! Events as callers send them: CloudEvents 1.0.2 (structured, batched, binary) and the plain
//! form `{"type": …, "data": …}`. Data is kept byte for byte.

use std::time::Duration;

use actions_app::app::App;
use actions_app::commands::submit_event::NewEvent;
use actions_app::durations::parse_duration;
use actions_domain::Timestamp;
use actions_domain::event::{Attributes, EventType};
use actions_domain::json::Json;
use actions_domain::limits::{
    ATTRIBUTES_BYTES_MAX, BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BODY_BYTES_MAX, EVENT_BYTES_MAX,
    SCHEDULE_AHEAD_MAX,
};
use actions_domain::tenant::Tenant;
use axum::http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::body::{checked, decode_raw, is_json, media_type, unsupported};
use crate::members::Members;
use crate::problem::{
    BODY_INVALID, BODY_TOO_LARGE, BODY_UNKNOWN_FIELD, EVENT_INVALID, FieldError, Problem,
};

mod binary;
mod cloud_event;
mod plain;

/// What a request's body may have, in bytes.
pub(crate) fn bytes_max(headers: &HeaderMap) -> usize {
    match media_type(headers).as_deref() {
        Some("application/cloudevents-batch+json" | "application/json") => {
            BATCH_BYTES_MAX + ATTRIBUTES_BYTES_MAX
        }
        _ => EVENT_BYTES_MAX + ATTRIBUTES_BYTES_MAX,
    }
}

/// The events of one request, each understood or refused.
pub(crate) struct Sent {
    pub(crate) events: Vec<Result<NewEvent, Problem>>,
    /// They came as a list, so the answer is one.
    pub(crate) is_batch: bool,
}

impl Sent {
    /// All events, or everything that is wrong with any of them.
    pub(crate) fn all(self) -> Result<Vec<NewEvent>, Problem> {
        let is_batch = self.is_batch;
        let (mut events, mut refusals) = (Vec::with_capacity(self.events.len()), Vec::new());
        for (index, event) in self.events.into_iter().enumerate() {
            match event {
                Ok(event) => events.push(event),
                Err(problem) if is_batch => refusals.push(problem.below(&format!("/{index}"))),
                Err(problem) => return Err(problem),
            }
        }
        Problem::joined(refusals).map_or(Ok(events), Err)
    }
}

/// What reading an event needs to know.
pub(crate) struct Reader {
    pub(crate) now: Timestamp,
    /// Names of the tenant that the path is about: slug and founding id.
    pub(crate) tenant: [String; 2],
    /// What the events lead to starts no earlier than after this pause.
    pub(crate) delay: Option<Duration>,
}

impl Reader {
    /// Reads a body according to its headers.
    pub(crate) fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<Sent, Problem> {
        let media = media_type(headers);
        let one = |event| Sent { events: vec![event], is_batch: false };
        match media.as_deref() {
            Some("application/cloudevents+json") => {
                let text = checked(body)?;
                Ok(one(self.structured(text.as_str())))
            }
            Some("application/cloudevents-batch+json") => {
                self.list(checked(body)?.as_str(), |text| self.structured(text))
            }
            Some(media) if media.starts_with("application/cloudevents") => {
                let expected = "application/cloudevents+json or application/cloudevents-batch+json";
                Err(unsupported(Some(media), expected))
            }
            _ if binary::is_binary(headers) => {
                Ok(one(self.binary(headers, media.as_deref(), body)))
            }
            Some(media) if is_json(media) => {
                let text = checked(body)?;
                if text.as_str().starts_with('[') {
                    return self.list(text.as_str(), |text| self.either(text));
                }
                Ok(one(self.either(text.as_str())))
            }
            media => {
                let expected = "application/json, application/cloudevents+json, \
                                application/cloudevents-batch+json, or ce- headers";
                Err(unsupported(media, expected))
            }
        }
    }

    /// Under plain JSON, `specversion` tells a `CloudEvent` from ours.
    fn either(&self, text: &str) -> Result<NewEvent, Problem> {
        let members: Members<'_> = decode_raw(text)?;
        if members.has("specversion") { self.cloud_event(members) } else { self.plain(members) }
    }

    fn structured(&self, text: &str) -> Result<NewEvent, Problem> {
        self.cloud_event(decode_raw(text)?)
    }

    fn list(
        &self,
        text: &str,
        read: impl Fn(&str) -> Result<NewEvent, Problem>,
    ) -> Result<Sent, Problem> {
        let items: Vec<&RawValue> = decode_raw(text)?;
        if items.len() > BATCH_EVENTS_MAX {
            let given = items.len();
            let detail = format!("a batch has at most {BATCH_EVENTS_MAX} events, not {given}");
            return Err(Problem::new(&BODY_TOO_LARGE, detail));
        }
        let events = items.into_iter().map(|item| read(item.get())).collect();
        Ok(Sent { events, is_batch: true })
    }

    fn check_tenant(&self, name: &str) -> Result<(), Problem> {
        if self.tenant.iter().any(|known| known == name) {
            return Ok(());
        }
        // A foreign tenant's name tells nothing here either.
        Err(broken("/tenant", "the event names another tenant than the path"))
    }

    fn pause_until(&self, run_at: Timestamp) -> Result<Duration, Problem> {
        let pause = (run_at - self.now).to_std().unwrap_or_default();
        check_pause("run_at", pause)
    }
}

/// Reads an event out of a stream, as HTTP reads `application/json`.
///
/// # Errors
/// What is wrong with it, in words.
#[doc(hidden)]
pub fn stream_event(app: &App, tenant: &Tenant, text: &[u8]) -> Result<NewEvent, String> {
    if text.len() > BODY_BYTES_MAX {
        let given = text.len();
        return Err(format!("event: {given} bytes, allowed are {BODY_BYTES_MAX}"));
    }
    let reader = Reader {
        now: app.ports.clock.now(),
        tenant: [tenant.slug.to_string(), tenant.uuid.to_string()],
        delay: None,
    };
    let read = checked(text).and_then(|text| reader.either(text.as_str()));
    read.map_err(|problem| format!("event: {}", problem.detail()))
}

/// Reads `delay` or `run_at` of a query.
pub(crate) fn pause_of(
    now: Timestamp,
    delay: Option<&str>,
    run_at: Option<Timestamp>,
) -> Result<Option<Duration>, Problem> {
    match (delay, run_at) {
        (Some(_), Some(_)) => {
            Err(Problem::parameter("run_at", "is given together with delay; one of them is enough"))
        }
        (Some(delay), None) => {
            let pause =
                parse_duration(delay).map_err(|error| Problem::parameter("delay", error))?;
            check_pause("delay", pause).map(Some)
        }
        (None, Some(run_at)) => {
            let pause = (run_at - now).to_std().unwrap_or_default();
            check_pause("run_at", pause).map(Some)
        }
        (None, None) => Ok(None),
    }
}

fn check_pause(name: &str, pause: Duration) -> Result<Duration, Problem> {
    if pause > SCHEDULE_AHEAD_MAX {
        let days = SCHEDULE_AHEAD_MAX.as_secs() / 86_400;
        return Err(Problem::parameter(name, format!("is more than {days} days ahead")));
    }
    Ok(pause)
}

fn event_type(raw: &str) -> Result<EventType, Problem> {
    EventType::parse(raw).map_err(|error| broken("/type", error.to_string()))
}

fn broken(pointer: &str, message: impl Into<String>) -> Problem {
    let message = message.into();
    Problem::new(&EVENT_INVALID, &message).with_error(FieldError::new(pointer, message))
}

/// Reads one member's value.
fn value<T: DeserializeOwned>(name: &str, raw: &RawValue) -> Result<T, Problem> {
    serde_json::from_str(raw.get()).map_err(|error| {
        let full = error.to_string();
        let message = full.split(" at line ").next().unwrap_or(&full);
        let error = FieldError::new(format!("/{name}"), message);
        Problem::new(&BODY_INVALID, format!("{name}: {message}")).with_error(error)
    })
}

fn unknown(name: &str) -> Problem {
    let message = format!("unknown field `{name}`");
    Problem::new(&BODY_UNKNOWN_FIELD, &message)
        .with_error(FieldError::new(format!("/{name}"), message))
}

/// Text that is no JSON becomes a JSON text.
fn text_data(text: &str) -> Result<Json, Problem> {
    let quoted = serde_json::Value::String(text.to_owned()).to_string();
    Json::parse(&quoted).map_err(|error| broken("/data", error.to_string()))
}

/// Bytes that are no text are kept as base64, like `CloudEvents` writes them in JSON.
fn binary_data(base64: &str) -> Json {
    Json::from_value(&serde_json::json!({ "data_base64": base64 }))
}

fn with_type(event_type: EventType) -> NewEvent {
    NewEvent {
        event_type,
        source: None,
        external_id: None,
        data: Json::null(),
        attributes: Attributes::default(),
        delay: None,
    }
}

#[cfg(test)]
mod tests;
