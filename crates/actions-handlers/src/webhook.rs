//! Deliveries over HTTP: what the three webhook handlers share.
//!
//! The body is `{event, data, timestamp, tenant_id, event_id, execution_id}`, with the data byte
//! for byte as it came, the time of the event, and `parent_id` where a dead execution is
//! repeated. It is the same over all attempts. `webhook-id` is the execution's id, the same over all attempts, and `actions-attempt` counts
//! them, so a receiver can recognise a repetition. Only 2xx is success; 410 switches the action
//! off.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use actions_domain::execution::Outcome;
use actions_domain::json::Json;
use actions_domain::ports::handler::Call;

use crate::answer;
use crate::config::{Headers, Notes};
use crate::egress::{Egress, EgressError, Method, Request, Response};

pub(crate) mod auth;
mod breaker;
/// Deliveries without a signature.
pub mod http;
/// Deliveries with authentication and a circuit breaker.
pub mod retry;
pub(crate) mod signature;
/// Deliveries that the receiver can verify.
pub mod signed;

/// What we call ourselves.
pub(crate) const USER_AGENT: &str = concat!("Actions/", env!("CARGO_PKG_VERSION"));

pub(crate) const TIMEOUT_SECONDS: u32 = 30;
/// A longer timeout is worth a warning.
const TIMEOUT_SECONDS_USUAL: u32 = 300;

pub(crate) fn timeout_default() -> u32 {
    TIMEOUT_SECONDS
}

pub(crate) fn post() -> Method {
    Method::Post
}

pub(crate) fn yes() -> bool {
    true
}

/// Where a delivery goes.
struct Target<'a> {
    url: &'a str,
    method: Method,
    headers: &'a Headers,
    timeout_seconds: u32,
    verify_ssl: bool,
}

impl Target<'_> {
    fn check(&self, egress: &Egress, notes: &mut Notes) {
        notes.url(egress, "/webhook_url", self.url);
        notes.headers("/headers", self.headers);
        notes.timeout("/timeout_seconds", self.timeout_seconds, TIMEOUT_SECONDS_USUAL);
        if !self.verify_ssl {
            notes.warn("/verify_ssl", "anybody on the way can read and change deliveries");
        }
    }

    /// Makes the request of an attempt, without credentials.
    fn request(&self, egress: &Egress, call: &Call, body: &[u8]) -> Result<Request, EgressError> {
        let mut request = Request::new(egress, self.method, self.url)?
            .timeout(crate::config::time_limit(self.timeout_seconds, call))
            .verifies(self.verify_ssl)
            .header("user-agent", USER_AGENT);
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        Ok(request
            .header("webhook-id", call.execution.to_string())
            .header("webhook-timestamp", call.started_at.timestamp().to_string())
            .header("actions-attempt", call.attempt.to_string())
            .traced(call))
    }

    /// The body of a delivery. Methods without a body send none.
    fn body(&self, call: &Call) -> Vec<u8> {
        if self.method.has_body() { body(call) } else { Vec::new() }
    }
}

/// What an answer to a delivery means.
fn classify(response: &Response, call: &Call) -> Outcome {
    answer::classify_endpoint(response, call.started_at)
}

#[derive(Serialize)]
struct Body<'a> {
    event: Option<&'a str>,
    data: Data<'a>,
    /// When the event happened; a job, when it was asked for.
    timestamp: String,
    tenant_id: Uuid,
    event_id: Option<Uuid>,
    execution_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<Uuid>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Text(&'a Json),
    Tree(&'a Value),
}

fn body(call: &Call) -> Vec<u8> {
    let event = call.event.as_deref();
    // The event's own text keeps every digit of its numbers; a job's input may differ from it.
    let text = event.map(|event| &event.data).filter(|data| data.to_value() == call.input);
    let text = call.gathered.as_ref().or(text);
    let happened_at =
        event.map_or(call.queued_at, |event| event.attributes.time.unwrap_or(event.accepted_at));
    let body = Body {
        event: event.map(|event| event.event_type.as_str()),
        data: text.map_or(Data::Tree(&call.input), Data::Text),
        timestamp: happened_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        tenant_id: call.tenant.uuid,
        event_id: event.map(|event| event.id.0),
        execution_id: call.execution.0,
        parent_id: call.parent.map(|parent| parent.0),
    };
    serde_json::to_vec(&body).unwrap_or_default()
}
