//! The only mapping from errors to HTTP: `application/problem+json` (RFC 9457) with stable codes.
//!
//! A [`Problem`] is carried in a response's extensions; the outermost layer writes it down,
//! because only that knows the request it answers.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::request::RequestContext;

mod from_commands;
mod from_queries;

pub(crate) use from_commands::field_errors;

/// When to come back while the store is away.
const STORE_PAUSE: Duration = Duration::from_secs(2);
/// Places that one problem names.
const ERRORS_MAX: usize = 100;

/// A situation that a caller can act on.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// `area.reason`, stable. Explained in `docs/errors.md`.
    pub code: &'static str,
    pub status: u16,
    pub title: &'static str,
    /// Whether the very same request may succeed later.
    pub retryable: bool,
}

macro_rules! kinds {
    ($($name:ident = $status:literal $code:literal $title:literal $($retry:ident)?;)*) => {
        $(pub(crate) const $name: Kind = Kind {
            code: $code,
            status: $status,
            title: $title,
            retryable: kinds!(@retry $($retry)?),
        };)*
        /// Every kind that there is.
        pub const KINDS: &[&Kind] = &[$(&$name),*];
    };
    (@retry retryable) => { true };
    (@retry) => { false };
}

kinds! {
    BODY_INVALID = 400 "body.invalid" "The body cannot be read";
    BODY_UNKNOWN_FIELD = 400 "body.unknown_field" "The body has a field that does not exist";
    PARAMETER_INVALID = 400 "parameter.invalid" "A parameter has the wrong form";
    FILTER_INVALID = 400 "filter.invalid" "The filter cannot be read";
    FILTER_UNKNOWN_FIELD = 400 "filter.unknown_field" "The filter names a field that does not exist";
    CURSOR_INVALID = 400 "cursor.invalid" "The cursor is not of this list";
    IDEMPOTENCY_UNSUPPORTED = 400 "idempotency.unsupported" "The route keeps no idempotency key";
    AUTH_MISSING = 401 "auth.missing" "A credential is needed";
    AUTH_INVALID = 401 "auth.invalid" "The credential is not known";
    AUTH_MALFORMED = 401 "auth.malformed" "The token is damaged";
    AUTH_CSRF = 403 "auth.csrf" "A page of another site may ask";
    AUTH_ROLE = 403 "auth.role" "The credential may not do this";
    POLICY_DENIED = 403 "policy.denied" "The policy service forbids this";
    TENANT_SUSPENDED = 403 "tenant.suspended" "The tenant is suspended";
    HOST_FORBIDDEN = 403 "host.forbidden" "Requests are answered at this server's own address only";
    NOT_FOUND = 404 "not_found" "There is no such thing";
    HANDLER_NOT_FOUND = 404 "handler.not_found" "There is no such handler";
    METHOD_UNSUPPORTED = 405 "method.unsupported" "The path has no such method";
    BODY_TIMEOUT = 408 "body.timeout" "The body did not arrive in time" retryable;
    EXISTS = 409 "exists" "The name is taken";
    CONFLICT = 409 "conflict" "It changed at the same moment" retryable;
    EXECUTION_FINAL = 409 "execution.final" "The execution has ended";
    CLAIM_OVER = 409 "claim.over" "The task is another worker's, or over";
    EXECUTION_NOT_UNIQUE = 409 "execution.not_unique" "Another execution is the only one";
    API_KEY_ENDED = 409 "api_key.ended" "The API key holds no more";
    SECRET_NO_KEY = 409 "secret.no_key" "The server has no master key";
    BULK_ENDED = 409 "bulk.ended" "The bulk has ended";
    TENANT_NOT_SUSPENDED = 409 "tenant.not_suspended" "The tenant is not suspended";
    ACTION_BLOCKED = 409 "action.blocked" "The action cannot run";
    WORKFLOW_BLOCKED = 409 "workflow.blocked" "The workflow cannot run";
    RUN_STATE = 409 "run.state" "The run cannot take this now";
    VERSION_STALE = 412 "version.stale" "It was changed since it was read";
    BODY_TOO_LARGE = 413 "body.too_large" "The body is too large";
    MEDIA_UNSUPPORTED = 415 "media.unsupported" "The content type is not read here";
    EVENT_INVALID = 422 "event.invalid" "The event breaks a rule";
    ACTION_INVALID = 422 "action.invalid" "The action breaks a rule";
    SUBSCRIPTION_INVALID = 422 "subscription.invalid" "The subscription breaks a rule";
    SCHEDULE_INVALID = 422 "schedule.invalid" "The schedule breaks a rule";
    WORKFLOW_INVALID = 422 "workflow.invalid" "The workflow breaks a rule";
    RUN_INVALID = 422 "run.invalid" "The run cannot be given this";
    API_KEY_INVALID = 422 "api_key.invalid" "The API key breaks a rule";
    ACCOUNT_INVALID = 422 "account.invalid" "The account breaks a rule";
    SECRET_INVALID = 422 "secret.invalid" "The secret breaks a rule";
    TENANT_INVALID = 422 "tenant.invalid" "The tenant breaks a rule";
    PATTERN_INVALID = 422 "pattern.invalid" "The pattern cannot be compiled";
    CONDITION_INVALID = 422 "condition.invalid" "The condition cannot be compiled";
    CONFIG_INVALID = 422 "config.invalid" "The config does not satisfy the handler";
    INPUT_INVALID = 422 "input.invalid" "The input does not satisfy the handler";
    DATA_REFUSED = 422 "data.refused" "The store cannot keep the data";
    IDEMPOTENCY_MISMATCH = 422 "idempotency.mismatch" "The key was used for another request";
    FAN_OUT_EXCEEDED = 422 "fan_out.exceeded" "The event matches too many actions";
    CHAIN_TOO_DEEP = 422 "chain.too_deep" "Too many executions caused one another";
    VERSION_REQUIRED = 428 "version.required" "Changing it needs its version";
    AUTH_THROTTLED = 429 "auth.throttled" "Too many guesses" retryable;
    QUOTA_EXCEEDED = 429 "quota.exceeded" "The tenant uses as much as it may";
    INTERNAL = 500 "internal" "The server made a mistake";
    KEYS_UNAVAILABLE = 503 "secret.keys_unavailable" "The keeper of the master keys does not answer" retryable;
    STORE_UNAVAILABLE = 503 "store.unavailable" "The store cannot be used" retryable;
    IDENTITIES_UNAVAILABLE = 503 "auth.unavailable" "The identity provider cannot be asked" retryable;
    POLICY_UNAVAILABLE = 503 "policy.unavailable" "The policy service cannot be asked" retryable;
    OVERLOADED = 503 "overloaded" "Too many requests wait already" retryable;
    NOT_READY = 503 "not_ready" "The server is not ready" retryable;
    DRAINING = 503 "draining" "The server is stopping" retryable;
    REQUEST_TIMEOUT = 503 "request.timeout" "The request took too long" retryable;
}

/// Why a request was not served.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: &'static Kind,
    detail: String,
    pub(crate) errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    /// Sent with the answer.
    headers: Option<Box<HeaderMap>>,
    /// For the log, never for the caller.
    cause: Option<String>,
    /// The credential may have been a guess.
    is_guess: bool,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body.
    pub pointer: String,
    pub message: String,
    /// What is wrong, for programs, where the rule has a name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Place in the body, or in the text that the pointer leads to; from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl FieldError {
    pub(crate) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        let (pointer, message) = (pointer.into(), message.into());
        Self { pointer, message, code: None, line: None, column: None }
    }
}

/// A problem as it is written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemView {
    /// `urn:actions:error:` and the code.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    /// Stable, for programs.
    code: &'static str,
    /// For people.
    detail: String,
    /// The path that was asked for.
    instance: String,
    /// Whose rule it is: `handler` where the action's handler says what is allowed, else `engine`.
    source: &'static str,
    /// Whether the same request may succeed later.
    retryable: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// Where this server explains the code.
    doc: String,
}

impl Problem {
    pub(crate) fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let (errors, retry_after, headers, cause) = (Vec::new(), None, None, None);
        Self { kind, detail, errors, retry_after, headers, cause, is_guess: false }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(&NOT_FOUND, format!("no such {what}"))
    }

    pub(crate) fn parameter(name: &str, message: impl std::fmt::Display) -> Self {
        Self::new(&PARAMETER_INVALID, format!("{name}: {message}"))
    }

    /// A problem with the one field that is wrong, when it is known.
    pub(crate) fn at(kind: &'static Kind, pointer: Option<&'static str>, detail: String) -> Self {
        let problem = Self::new(kind, &detail);
        match pointer {
            Some(pointer) => problem.with_error(FieldError::new(pointer, detail)),
            None => problem,
        }
    }

    /// Our own mistake. The cause is logged, not shown.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let problem = Self::new(&INTERNAL, "the request id helps to find it in the server's log");
        Self { cause: Some(cause.into()), ..problem }
    }

    #[must_use]
    pub(crate) fn with_errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    #[must_use]
    pub(crate) fn with_error(mut self, error: FieldError) -> Self {
        self.errors.push(error);
        self
    }

    #[must_use]
    pub(crate) fn with_retry_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }

    pub(crate) fn is(&self, kind: &Kind) -> bool {
        self.kind == kind
    }

    /// The same problem, which whoever guesses gets.
    #[must_use]
    pub(crate) fn guessed(self) -> Self {
        Self { is_guess: true, ..self }
    }

    pub(crate) fn is_guess(&self) -> bool {
        self.is_guess
    }

    /// The same problem, with more headers of the answer.
    #[must_use]
    pub(crate) fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers: Some(Box::new(headers)), ..self }
    }

    /// The same problem in a body that holds the wrong thing at `place`.
    #[must_use]
    pub(crate) fn below(mut self, place: &str) -> Self {
        if self.errors.is_empty() {
            self.errors.push(FieldError::new("", self.detail.clone()));
        }
        for error in &mut self.errors {
            error.pointer = format!("{place}{}", error.pointer);
        }
        self
    }

    /// Several problems of one request as one: the first, with the places of all.
    pub(crate) fn joined(problems: Vec<Self>) -> Option<Self> {
        let mut problems = problems.into_iter();
        let mut first = problems.next()?;
        first.errors.extend(problems.flat_map(|problem| problem.errors));
        first.errors.truncate(ERRORS_MAX);
        Some(first)
    }

    /// Remembers the chain of causes for the log.
    #[must_use]
    pub(crate) fn caused_by(self, error: &dyn std::error::Error) -> Self {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            cause.push_str(": ");
            cause.push_str(&inner.to_string());
            source = inner.source();
        }
        Self { cause: Some(cause), ..self }
    }

    pub(crate) fn code(&self) -> &'static str {
        self.kind.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn source(&self) -> &'static str {
        if [&CONFIG_INVALID, &INPUT_INVALID].contains(&self.kind) { "handler" } else { "engine" }
    }

    /// Writes the problem down as the answer to this request.
    pub(crate) fn into_answer(self, context: &RequestContext) -> Response {
        let (status, source) = (self.status(), self.source());
        let view = ProblemView {
            kind: format!("urn:actions:error:{}", self.kind.code),
            title: self.kind.title,
            status: self.kind.status,
            code: self.kind.code,
            detail: self.detail,
            instance: context.path.clone(),
            source,
            // Of a kind that mostly stays, whoever says when to come back means this one.
            retryable: self.kind.retryable || self.retry_after.is_some(),
            errors: self.errors,
            request_id: context.request_id.clone(),
            trace_id: context.trace_id.clone(),
            doc: format!("/docs/errors/{}", self.kind.code),
        };
        let body = serde_json::to_vec(&view).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.extend(self.headers.map(|more| *more).unwrap_or_default());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"actions\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(pause) = self.retry_after {
            let seconds = pause.as_millis().div_ceil(1_000).max(1).to_string();
            if let Ok(value) = HeaderValue::from_str(&seconds) {
                headers.insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
