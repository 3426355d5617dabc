//! Trace context, as the W3C Recommendation of 2021-11-23 writes it: who asked for what happens
//! here, and how the next one down the line finds it.

use uuid::Uuid;

mod spans;

pub use spans::{MatchedAt, Span, SpanKind, SpanValue, of_event, of_execution};

/// A valid `traceparent` of version 00: `00-<trace>-<span>-<flags>`, in lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent<'a> {
    trace: &'a str,
    span: &'a str,
    flags: &'a str,
}

impl<'a> TraceParent<'a> {
    /// Later versions are read as far as version 00 goes, as the Recommendation asks.
    pub fn parse(raw: &'a str) -> Option<Self> {
        let mut parts = raw.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_whole =
            is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        let is_zero = |text: &str| text.bytes().all(|b| b == b'0');
        let is_valid = is_whole
            && is_hex(trace, 32)
            && is_hex(span, 16)
            && is_hex(flags, 2)
            && !is_zero(trace)
            && !is_zero(span);
        is_valid.then_some(Self { trace, span, flags })
    }

    /// The header of a trace that begins with this event.
    pub fn begin(event: Uuid) -> String {
        let span = u64::from_be_bytes(spans::derived(&[b"event", event.as_bytes()]));
        format!("00-{}-{span:016x}-01", event.simple())
    }

    pub fn trace(&self) -> &'a str {
        self.trace
    }

    /// Whether whoever began the trace keeps it.
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(self.flags, 16).is_ok_and(|flags| flags & 1 == 1)
    }

    fn trace_bytes(&self) -> [u8; 16] {
        u128::from_str_radix(self.trace, 16).unwrap_or_default().to_be_bytes()
    }

    fn span_bytes(&self) -> [u8; 8] {
        u64::from_str_radix(self.span, 16).unwrap_or_default().to_be_bytes()
    }

    /// The header of a call that attempt `attempt` of an execution makes: the same trace, and a
    /// span that is the same whenever this attempt is spoken of.
    pub fn of_attempt(&self, execution: Uuid, attempt: u32) -> String {
        let span = self.attempt_span(execution, attempt);
        format!("00-{}-{span:016x}-{}", self.trace, self.flags)
    }

    fn attempt_span(&self, execution: Uuid, attempt: u32) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.span.as_bytes());
        hasher.update(execution.as_bytes());
        hasher.update(&attempt.to_le_bytes());
        let mut span = [0; 8];
        span.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        // A span of zeros would be no span.
        u64::from_le_bytes(span).max(1)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::TraceParent;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_no_trace_context_is_left_alone() {
        assert!(TraceParent::parse(GOOD).is_some());
        assert!(TraceParent::parse(&format!("cc{}-more", &GOOD[2..])).is_some());
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_attempt_has_a_span_of_its_own_in_the_same_trace() {
        let parent = TraceParent::parse(GOOD).unwrap();
        let first = parent.of_attempt(Uuid::from_u128(1), 1);
        let child = TraceParent::parse(&first).unwrap();
        assert_eq!((child.trace, child.flags), (parent.trace, "01"));
        assert_ne!(child.span, parent.span);
        assert_eq!(first, parent.of_attempt(Uuid::from_u128(1), 1));
        assert_ne!(first, parent.of_attempt(Uuid::from_u128(1), 2));
        assert_ne!(first, parent.of_attempt(Uuid::from_u128(2), 1));
    }
}
