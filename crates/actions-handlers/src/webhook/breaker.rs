//! Circuit breakers: a receiver that fails again and again is left alone for a while.
//!
//! Pure but for the map behind the lock: time comes in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;

/// URLs that are remembered. Beyond, closed ones are forgotten.
const URLS_MAX: usize = 10_000;

/// When a circuit opens and how long it stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) failures_max: u32,
    pub(super) recovery: Duration,
    /// How long a trial may take before another one is let through.
    pub(super) trial_max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Circuit {
    Closed {
        failures: u32,
    },
    Open {
        until: Timestamp,
    },
    /// One call tries whether the receiver is back.
    HalfOpen {
        trial_until: Timestamp,
    },
}

/// One circuit per tenant and URL, on this node.
#[derive(Default)]
pub(super) struct Breakers {
    circuits: Mutex<HashMap<String, Circuit>>,
}

impl Breakers {
    /// Asks for a call.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub(super) fn admit(&self, url: &str, now: Timestamp, limits: Limits) -> Result<(), Duration> {
        let mut circuits = self.circuits.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(circuit) = circuits.get_mut(url) else { return Ok(()) };
        let until = match *circuit {
            Circuit::Closed { .. } => return Ok(()),
            Circuit::Open { until } | Circuit::HalfOpen { trial_until: until } => until,
        };
        if now < until {
            return Err((until - now).to_std().unwrap_or_default());
        }
        *circuit = Circuit::HalfOpen { trial_until: now + limits.trial_max };
        Ok(())
    }

    /// Notes how a call went.
    pub(super) fn report(&self, url: &str, is_success: bool, now: Timestamp, limits: Limits) {
        let mut circuits = self.circuits.lock().unwrap_or_else(PoisonError::into_inner);
        if is_success {
            circuits.remove(url);
            return;
        }
        if circuits.len() >= URLS_MAX && !circuits.contains_key(url) {
            circuits.retain(|_, circuit| !matches!(circuit, Circuit::Closed { .. }));
            if circuits.len() >= URLS_MAX {
                return;
            }
        }
        let circuit = circuits.entry(url.to_owned()).or_insert(Circuit::Closed { failures: 0 });
        let failures = match *circuit {
            Circuit::Closed { failures } => failures + 1,
            Circuit::Open { .. } | Circuit::HalfOpen { .. } => limits.failures_max,
        };
        *circuit = if failures >= limits.failures_max {
            Circuit::Open { until: now + limits.recovery }
        } else {
            Circuit::Closed { failures }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actions_domain::Timestamp;

    use super::{Breakers, Limits};

    const LIMITS: Limits = Limits {
        failures_max: 3,
        recovery: Duration::from_secs(60),
        trial_max: Duration::from_secs(30),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + seconds, 0).expect("a time")
    }

    #[test]
    fn a_circuit_opens_tries_once_and_closes() {
        let breakers = Breakers::default();
        let (ask, fail) = (
            |second| breakers.admit("u", at(second), LIMITS),
            |second| breakers.report("u", false, at(second), LIMITS),
        );
        for second in 0..3 {
            assert_eq!(ask(second), Ok(()));
            fail(second);
        }
        assert_eq!(ask(3), Err(Duration::from_secs(59)));
        assert_eq!(breakers.admit("other", at(3), LIMITS), Ok(()));

        // One trial; whoever asks meanwhile waits for it.
        assert_eq!(ask(62), Ok(()));
        assert_eq!(ask(63), Err(Duration::from_secs(29)));
        fail(64);
        assert_eq!(ask(65), Err(Duration::from_secs(59)));

        assert_eq!(ask(124), Ok(()));
        breakers.report("u", true, at(125), LIMITS);
        assert_eq!(ask(125), Ok(()));
        assert_eq!(ask(125), Ok(()));
    }

    #[test]
    fn a_success_forgets_earlier_failures() {
        let breakers = Breakers::default();
        for second in 0..10 {
            breakers.report("u", second % 3 == 2, at(second), LIMITS);
            assert_eq!(breakers.admit("u", at(second), LIMITS), Ok(()));
        }
    }

    #[test]
    fn a_trial_that_never_ends_is_given_up() {
        let breakers = Breakers::default();
        for second in 0..3 {
            breakers.report("u", false, at(second), LIMITS);
        }
        assert_eq!(breakers.admit("u", at(70), LIMITS), Ok(()));
        assert_eq!(breakers.admit("u", at(101), LIMITS), Ok(()));
    }
}
