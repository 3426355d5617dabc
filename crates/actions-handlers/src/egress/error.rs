//! Why a call did not get out, or brought no answer.

use std::fmt::Display;
use std::time::Duration;

use actions_domain::execution::{ErrorClass, Fault, Outcome};
use serde_json::json;

/// Which rule of the gate refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Metadata,
    Private,
    Port,
    /// The tenant's own list of what is denied.
    Denied,
    /// The tenant has a list of what alone is called.
    NotListed,
}

impl Refusal {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Private => "private",
            Self::Port => "port",
            Self::Denied => "denied",
            Self::NotListed => "not_listed",
        }
    }
}

/// Why there is no answer. None of these shows a URL's path, query or credentials: they are
/// secrets of their own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    #[error("the URL cannot be used: {reason}")]
    Url { reason: String },
    /// The gate refuses.
    #[error("{host} may not be called: {reason}")]
    Forbidden { host: String, refusal: Refusal, reason: String },
    #[error("the name {host} could not be resolved: {detail}")]
    Dns { host: String, detail: String },
    /// TLS included.
    #[error("could not connect to {host}: {detail}")]
    Connect { host: String, detail: String },
    #[error("{host} did not answer within {} ms", limit.as_millis())]
    Timeout { host: String, limit: Duration },
    /// The connection broke, or spoke something else.
    #[error("the exchange with {host} failed: {detail}")]
    Exchange { host: String, detail: String },
    /// The request itself cannot be written.
    #[error("the request cannot be built: {detail}")]
    Request { detail: String },
    #[error("the gate cannot be set up: {detail}")]
    Setup { detail: String },
}

impl EgressError {
    pub(super) fn forbidden(host: impl Display, refusal: Refusal, reason: String) -> Self {
        Self::Forbidden { host: host.to_string(), refusal, reason }
    }

    /// A stable code, `egress.reason`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url { .. } => "egress.url",
            Self::Forbidden { .. } => "egress.forbidden",
            Self::Dns { .. } => "egress.dns",
            Self::Connect { .. } => "egress.connect",
            Self::Timeout { .. } => "egress.timeout",
            Self::Exchange { .. } => "egress.exchange",
            Self::Request { .. } => "egress.request",
            Self::Setup { .. } => "egress.setup",
        }
    }

    /// What it means for an attempt: what is forbidden stays so, what is unreachable is worth
    /// another try.
    pub fn outcome(&self) -> Outcome {
        let fault = |class| Fault::new(class, self.code(), self.to_string());
        match self {
            // Whoever counts refusals reads from it which rule it was.
            Self::Forbidden { host, refusal, .. } => {
                let details = json!({ "host": host, "refusal": refusal.word() });
                Outcome::Reject(fault(ErrorClass::HandlerError).with_details(details))
            }
            Self::Url { .. } | Self::Request { .. } => {
                Outcome::Reject(fault(ErrorClass::HandlerError))
            }
            Self::Timeout { .. } => Outcome::Retry(fault(ErrorClass::Timeout)),
            // The request may have been read before.
            Self::Exchange { .. } => Outcome::Retry(fault(ErrorClass::SystemError).unsure()),
            Self::Dns { .. } | Self::Connect { .. } | Self::Setup { .. } => {
                Outcome::Retry(fault(ErrorClass::SystemError))
            }
        }
    }
}
