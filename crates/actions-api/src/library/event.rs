//! An event as a service writes it.

use std::time::Duration;

use actions_app::commands::submit_event::NewEvent;
use actions_domain::event::{Attributes, EventType, EventTypeError};
use actions_domain::execution::Priority;
use actions_domain::json::{Json, JsonError};
use actions_domain::tenant::{TenantSlug, TenantSlugError};
use serde::Serialize;

use crate::wiring::Leaving;

/// An event to send: a type, data, and whatever else is known.
#[derive(Debug, Clone)]
pub struct Event {
    event_type: String,
    data: Result<Json, String>,
    tenant: Option<String>,
    source: Option<String>,
    external_id: Option<String>,
    attributes: Attributes,
    delay: Option<Duration>,
}

/// Why something is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error(transparent)]
    Type(#[from] EventTypeError),
    #[error("the data cannot be kept: {0}")]
    Data(String),
    #[error(transparent)]
    Tenant(#[from] TenantSlugError),
    /// Only the commit decides when an event in a transaction happens.
    #[error("an event in a transaction cannot have a delay")]
    Delay,
}

impl Event {
    /// An event of a type like `orders.placed`. Data that cannot be written as JSON is refused
    /// when the event is sent.
    pub fn new(event_type: &str, data: &(impl Serialize + ?Sized)) -> Self {
        let text = serde_json::to_string(data).map_err(|error| error.to_string());
        let data =
            text.and_then(|text| Json::parse(&text).map_err(|error: JsonError| error.to_string()));
        Self {
            event_type: event_type.to_owned(),
            data,
            tenant: None,
            source: None,
            external_id: None,
            attributes: Attributes::default(),
            delay: None,
        }
    }

    /// The tenant it belongs to, by its slug.
    #[must_use]
    pub fn tenant(self, slug: impl Into<String>) -> Self {
        Self { tenant: Some(slug.into()), ..self }
    }

    /// Where it happened. Defaults to this service's name.
    #[must_use]
    pub fn source(self, source: impl Into<String>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Your own id: a second event with the same source and id changes nothing.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { external_id: Some(id.into()), ..self }
    }

    /// What it is about.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.attributes.subject = Some(subject.into());
        self
    }

    /// What it leads to runs before less urgent work.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.attributes.priority = Some(priority);
        self
    }

    /// Everything else that is known of it.
    #[must_use]
    pub fn attributes(self, attributes: Attributes) -> Self {
        Self { attributes, ..self }
    }

    /// What it leads to starts no earlier than after this pause.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay: Some(delay), ..self }
    }

    pub(super) fn tenant_slug(&self) -> Result<Option<TenantSlug>, EventError> {
        Ok(self.tenant.as_deref().map(TenantSlug::parse).transpose()?)
    }

    pub(super) fn into_new(self, source: &str) -> Result<NewEvent, EventError> {
        Ok(NewEvent {
            event_type: EventType::parse(&self.event_type)?,
            source: Some(self.source.unwrap_or_else(|| source.to_owned())),
            external_id: self.external_id,
            data: self.data.map_err(EventError::Data)?,
            attributes: self.attributes,
            delay: self.delay,
        })
    }

    /// The same event for the intake.
    pub(super) fn into_leaving(
        self,
        tenant: TenantSlug,
        source: &str,
    ) -> Result<Leaving, EventError> {
        if self.delay.is_some() {
            return Err(EventError::Delay);
        }
        Ok(Leaving {
            tenant,
            event_type: EventType::parse(&self.event_type)?,
            source: self.source.unwrap_or_else(|| source.to_owned()),
            external_id: self.external_id,
            data: self.data.map_err(EventError::Data)?,
            attributes: self.attributes,
        })
    }
}
