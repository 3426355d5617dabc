//! How a function says that it failed, and what that leads to.

use std::time::Duration;

use actions_domain::execution::{Fault, Outcome};

/// A failure of a function.
///
/// Every error turns into one with `?` and then means *try again*. So that this works, the type
/// is no error itself; [`Fail::into_boxed`] makes one of it.
#[derive(Debug)]
pub struct Fail {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Retry { after: Option<Duration> },
    Reject,
}

impl Fail {
    /// Worth another try, when the action's retry policy says.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { kind: Kind::Retry { after: None }, message: message.into() }
    }

    /// Worth another try, but not before `pause` is over.
    pub fn after(pause: Duration, message: impl Into<String>) -> Self {
        Self { kind: Kind::Retry { after: Some(pause) }, message: message.into() }
    }

    /// Never again.
    pub fn reject(message: impl Into<String>) -> Self {
        Self { kind: Kind::Reject, message: message.into() }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn into_boxed(self) -> Box<dyn std::error::Error + Send + Sync> {
        self.message.into()
    }

    pub(super) fn outcome(self) -> Outcome {
        match self.kind {
            Kind::Retry { after } => Outcome::Retry(
                Fault::handler("function.failed", self.message).with_retry_after(after),
            ),
            Kind::Reject => Outcome::Reject(Fault::handler("function.rejected", self.message)),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Fail {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::retry(message)
    }
}
