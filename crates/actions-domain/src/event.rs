//! Events: what a tenant told us happened.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::execution::Priority;
use crate::id::{EventId, ExecutionId, TenantId};
use crate::json::Json;
use crate::limits::EVENT_TYPE_BYTES_MAX;

/// Something that happened, with its data exactly as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub tenant: TenantId,
    pub event_type: EventType,
    /// Where it happened. Together with [`Event::external_id`] it names the event for ever.
    pub source: String,
    /// The caller's id for it. Without one, every submission is an event of its own.
    pub external_id: Option<String>,
    /// When we accepted it.
    pub accepted_at: Timestamp,
    pub data: Json,
    pub attributes: Attributes,
}

/// An event as handlers and templates see it.
#[derive(Debug, Serialize)]
pub struct Envelope<'a> {
    pub id: Option<EventId>,
    #[serde(rename = "type")]
    pub event_type: Option<&'a str>,
    pub source: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub time: Option<Timestamp>,
    pub data: &'a Json,
    pub tenant_id: Option<Uuid>,
    pub organization_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    pub correlation_id: Option<Uuid>,
}

impl<'a> Envelope<'a> {
    /// Data alone.
    pub fn bare(data: &'a Json) -> Self {
        Self {
            id: None,
            event_type: None,
            source: None,
            subject: None,
            time: None,
            data,
            tenant_id: None,
            organization_id: None,
            user_id: None,
            correlation_id: None,
        }
    }
}

impl Event {
    pub fn envelope(&self) -> Envelope<'_> {
        let attributes = &self.attributes;
        Envelope {
            id: Some(self.id),
            event_type: Some(self.event_type.as_str()),
            source: Some(&self.source),
            subject: attributes.subject.as_deref(),
            time: Some(attributes.time.unwrap_or(self.accepted_at)),
            data: &self.data,
            tenant_id: attributes.tenant_id,
            organization_id: attributes.organization_id,
            user_id: attributes.user_id,
            correlation_id: attributes.correlation_id,
        }
    }
}

/// What else is known of an event. Stored as one JSON object, without the empty members.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// When it happened, as its source says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_version: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
    /// The event that led to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// The execution that published this event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<ExecutionId>,
    /// The tenant that an event of the platform is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// Free-form, like an address or a user agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// CloudEvents extensions that we do not interpret.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub extensions: serde_json::Map<String, serde_json::Value>,
    /// How many executions led here, one causing the next.
    #[serde(skip_serializing_if = "is_zero")]
    pub depth: u8,
    /// Published by the engine itself, so patterns must name its first word.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_engine: bool,
}

impl Attributes {
    /// What a store keeps of them, in bytes.
    pub fn bytes(&self) -> usize {
        struct Count(usize);

        impl std::io::Write for Count {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 += bytes.len();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let mut count = Count(0);
        // Attributes are trees with texts as names, and counting never fails.
        let written = serde_json::to_writer(&mut count, self);
        if written.is_ok() { count.0 } else { usize::MAX }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(depth: &u8) -> bool {
    *depth == 0
}

/// Lower-case words of `a-z`, `0-9` and `_`, joined by one or more dots: `users.created`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventType(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventTypeError {
    #[error("an event type has 1 to {max} bytes, not {bytes}", max = EVENT_TYPE_BYTES_MAX)]
    Length { bytes: usize },
    #[error(
        "an event type is two or more words of a-z, 0-9 and _ joined by dots, like users.created; got {raw:?}"
    )]
    Form { raw: String },
}

impl EventType {
    /// Accepts upper-case letters and lowers them: matching ignores case.
    pub fn parse(raw: &str) -> Result<Self, EventTypeError> {
        let bytes = raw.len();
        if bytes == 0 || bytes > EVENT_TYPE_BYTES_MAX {
            return Err(EventTypeError::Length { bytes });
        }
        let lower = raw.to_ascii_lowercase();
        let is_word = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !lower.contains('.') || !lower.split('.').all(is_word) {
            return Err(EventTypeError::Form { raw: raw.to_owned() });
        }
        Ok(Self(lower))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The words between the dots.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    pub fn first_word(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for EventType {
    type Error = EventTypeError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

impl From<EventType> for String {
    fn from(event_type: EventType) -> Self {
        event_type.0
    }
}

#[cfg(test)]
mod tests {
    use super::EventType;

    #[test]
    fn event_types_are_dotted_words() {
        for good in ["users.created", "a.b.c_1", "Users.Created"] {
            assert!(EventType::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "users", "users.", ".created", "a..b", "a b.c", "users.*", "ü.x"] {
            assert!(EventType::parse(bad).is_err(), "{bad}");
        }
    }
}
