//! Where spans go: what happened from when to when, as part of which trace.

use uuid::Uuid;

use crate::trace::Span;

/// A receiver of spans.
pub trait Traces: Send + Sync {
    /// Whether a trace that begins with this event or execution is kept. Always the same answer
    /// for one id, on every node.
    fn begins_with(&self, id: Uuid) -> bool;

    /// Takes spans that have ended. Never waits: what finds no room is lost.
    fn record(&self, spans: Vec<Span>);
}
