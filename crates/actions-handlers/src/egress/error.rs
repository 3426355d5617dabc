//! Why a call did not get out, or brought no answer.

use std::fmt::Display;
use std::time::Duration;

use actions_domain::execution::{ErrorClass, Fault, Outcome};

/// Why there is no answer. None of these shows a URL's path, query or credentials: they are
/// secrets of their own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    #[error("the URL cannot be used: {reason}")]
    Url { reason: String },
    /// The gate refuses.
    #[error("{host} may not be called: {reason}")]
    Forbidden { host: String, reason: String },
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
    pub(super) fn forbidden(host: impl Display, reason: String) -> Self {
        Self::Forbidden { host: host.to_string(), reason }
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
            Self::Url { .. } | Self::Forbidden { .. } | Self::Request { .. } => {
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
