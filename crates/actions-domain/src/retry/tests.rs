use std::time::Duration;

use super::{Backoff, Jitter, RetryPolicy};
use crate::execution::ErrorClass;

fn delays(policy: &RetryPolicy) -> Vec<u128> {
    (1..=20)
        .map_while(|n| policy.delay_after(n, ErrorClass::HandlerError, None, Jitter::ZERO))
        .map(|pause| pause.as_millis())
        .collect()
}

fn policy(backoff: Backoff) -> RetryPolicy {
    RetryPolicy { max_retries: 8, backoff, ..RetryPolicy::default() }
}

#[test]
fn the_pause_grows_as_its_backoff_says_up_to_the_cap() {
    assert_eq!(
        delays(&policy(Backoff::Exponential)),
        [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
    );
    assert_eq!(delays(&policy(Backoff::Linear))[..3], [1_000, 2_000, 3_000]);
    assert_eq!(delays(&policy(Backoff::Fixed))[..3], [1_000, 1_000, 1_000]);
}

#[test]
fn presets_have_their_documented_numbers() {
    let retries = |name| RetryPolicy::preset(name).map(|policy| delays(&policy));
    assert_eq!(retries("default"), Some(vec![1_000, 2_000, 4_000]));
    assert_eq!(retries("aggressive"), Some(vec![500, 1_000, 2_000, 4_000, 8_000]));
    assert_eq!(retries("conservative"), Some(vec![2_000, 4_000]));
    assert_eq!(retries("no_retry"), Some(vec![]));
    assert_eq!(retries("other"), None);
}

#[test]
fn jitter_adds_at_most_a_quarter_and_never_undercuts_retry_after() {
    let policy = policy(Backoff::Fixed);
    let after = Some(Duration::from_secs(40));
    for jitter in [0, 1, 17, 250, 10_000, u64::MAX] {
        let own = policy.delay_after(1, ErrorClass::Timeout, None, Jitter(jitter)).unwrap();
        assert!((1_000..=1_250).contains(&own.as_millis()));
        let asked = policy.delay_after(1, ErrorClass::Timeout, after, Jitter(jitter)).unwrap();
        assert!((40_000..=50_000).contains(&asked.as_millis()));
    }
}

#[test]
fn overflow_ends_at_the_cap() {
    let policy = RetryPolicy {
        max_retries: u32::MAX,
        initial_delay_ms: u64::MAX / 2,
        max_delay_ms: u64::MAX,
        jitter: false,
        ..RetryPolicy::default()
    };
    let pause = policy.delay_after(u32::MAX, ErrorClass::HandlerError, None, Jitter::ZERO);
    assert_eq!(pause, Some(Duration::from_millis(u64::MAX)));
}

#[test]
fn a_class_that_is_not_retried_ends_the_execution() {
    let policy = RetryPolicy { retry_on_timeout: false, ..RetryPolicy::default() };
    assert_eq!(policy.delay_after(1, ErrorClass::Timeout, None, Jitter::ZERO), None);
    assert!(policy.delay_after(1, ErrorClass::SystemError, None, Jitter::ZERO).is_some());
}
