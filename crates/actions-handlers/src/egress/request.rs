//! Requests and answers in plain types, so that nothing outside the gate names a client.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use actions_domain::limits::{TIMEOUT_MAX, TRACESTATE_BYTES_MAX};
use actions_domain::ports::handler::Call;

use super::Egress;
use super::error::EgressError;

/// Most of an answer that is read, unless a request says less.
pub(super) const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Whether a request of this method carries a body.
    pub fn has_body(self) -> bool {
        match self {
            Self::Post | Self::Put | Self::Patch => true,
            Self::Get | Self::Delete => false,
        }
    }

    pub(super) fn to_http(self) -> reqwest::Method {
        match self {
            Self::Get => reqwest::Method::GET,
            Self::Post => reqwest::Method::POST,
            Self::Put => reqwest::Method::PUT,
            Self::Patch => reqwest::Method::PATCH,
            Self::Delete => reqwest::Method::DELETE,
        }
    }
}

/// A request that passed the gate once. It passes again when it is sent.
pub struct Request {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) timeout: Duration,
    pub(super) answer_bytes_max: usize,
    pub(super) verifies: bool,
}

impl Request {
    /// Parses and checks the URL.
    ///
    /// # Errors
    /// As [`Egress::check_url`].
    pub fn new(egress: &Egress, method: Method, url: &str) -> Result<Self, EgressError> {
        Ok(Self {
            url: egress.check_url(url)?,
            method,
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(30),
            answer_bytes_max: ANSWER_BYTES_MAX,
            verifies: true,
        })
    }

    /// A path below a URL, which is checked by itself first: what is put behind half a URL could
    /// become its host.
    ///
    /// # Errors
    /// As [`Egress::check_url`].
    pub fn below(
        egress: &Egress,
        method: Method,
        base: &str,
        path: &str,
    ) -> Result<Self, EgressError> {
        let base = egress.check_url(base)?;
        Self::new(egress, method, &format!("{}{path}", base.as_str().trim_end_matches('/')))
    }

    /// Sets a header. One of the same name is replaced.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Tells the other side which trace a call belongs to, when its event came with one.
    #[must_use]
    pub fn traced(self, call: &Call) -> Self {
        let Some(parent) = call.traceparent() else { return self };
        let traced = self.header("traceparent", parent);
        let state = call.event.as_ref().and_then(|event| event.attributes.tracestate.as_deref());
        // Whatever the event's sender wrote: what is no header must not fail the call.
        let is_fit = |state: &&str| {
            state.len() <= TRACESTATE_BYTES_MAX && state.bytes().all(|b| (b' '..=b'~').contains(&b))
        };
        match state.filter(is_fit) {
            Some(state) => traced.header("tracestate", state),
            None => traced,
        }
    }

    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Sets a form as body.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.header("content-type", "application/x-www-form-urlencoded").body(form.finish())
    }

    /// Adds parameters to the query.
    #[must_use]
    pub fn query<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs = pairs.into_iter().peekable();
        if pairs.peek().is_some() {
            self.url.query_pairs_mut().extend_pairs(pairs);
        }
        self
    }

    /// Sets the time for everything, from resolving to the end of the answer.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: timeout.min(TIMEOUT_MAX), ..self }
    }

    /// Whether the certificate must be valid. Only a definition's own setting may say no.
    #[must_use]
    pub fn verifies(self, verifies: bool) -> Self {
        Self { verifies, ..self }
    }

    /// The `host` header that will be sent: with the port when it is not the scheme's own.
    pub fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host(),
        }
    }

    /// The path, encoded as it is sent.
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The body, as it is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The host that is called.
    pub fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }
}

/// An answer, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// In order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// There was more.
    pub is_cut: bool,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(present, _)| present.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, when it is.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Why a header that a definition asks for cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    #[error("{name:?} is not a header name")]
    Name { name: String },
    #[error("the value of {name} holds a character that a header cannot")]
    Value { name: String },
    #[error("{name} is set by the connection itself")]
    Connection { name: String },
}

/// Headers that would change how the request is framed or where it goes.
const CONNECTION_HEADERS: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// Checks a header of a definition.
///
/// # Errors
/// Which part of it cannot be sent.
pub fn check_header(name: &str, value: &str) -> Result<(), BadHeader> {
    if CONNECTION_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(BadHeader::Connection { name: name.to_owned() });
    }
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| BadHeader::Name { name: name.to_owned() })?;
    HeaderValue::from_str(value).map_err(|_| BadHeader::Value { name: name.to_owned() })?;
    Ok(())
}
