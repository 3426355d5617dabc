//! Where spans go: what happened from when to when, as part of which trace.
//!
//! A trace is an event's, so executions without one (jobs) have no spans. Nor have the engine's own
//! events and what they lead to.

use uuid::Uuid;

use crate::trace::Span;

/// A receiver of spans.
pub trait Traces: Send + Sync {
    /// Whether a trace that begins with this event is kept. Always the same answer
    /// for one id, on every node.
    fn begins_with(&self, id: Uuid) -> bool;

    /// Takes spans that have ended. Never waits: what finds no room is lost.
    fn record(&self, spans: Vec<Span>);
}
