use std::time::Duration;

use proptest::prelude::*;

use super::{Backoff, Jitter, RetryPolicy};
use crate::execution::ErrorClass;
use crate::limits::{RETRIES_MAX, RETRY_DELAY_MAX};

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

/// Every policy that may be saved.
fn allowed() -> impl Strategy<Value = RetryPolicy> {
    let longest = u64::try_from(RETRY_DELAY_MAX.as_millis()).unwrap();
    let backoff =
        prop_oneof![Just(Backoff::Exponential), Just(Backoff::Linear), Just(Backoff::Fixed)];
    let delays = (100..=longest).prop_flat_map(move |initial| (Just(initial), initial..=longest));
    (0..=RETRIES_MAX, backoff, delays, any::<bool>()).prop_map(
        |(max_retries, backoff, (initial_delay_ms, max_delay_ms), jitter)| RetryPolicy {
            max_retries,
            backoff,
            initial_delay_ms,
            max_delay_ms,
            jitter,
            ..RetryPolicy::default()
        },
    )
}

proptest! {
    #[test]
    fn pauses_never_shrink_and_stay_between_the_first_and_the_cap(policy in allowed()) {
        prop_assert_eq!(policy.check(), Ok(()));
        let mut last = u128::from(policy.initial_delay_ms);
        for failed in 1..=policy.max_retries {
            let pause = policy.delay_after(failed, ErrorClass::HandlerError, None, Jitter::ZERO);
            let pause = pause.expect("retries are left").as_millis();
            prop_assert!(last <= pause && pause <= u128::from(policy.max_delay_ms), "{failed}");
            last = pause;
        }
        let beyond = policy.max_retries + 1;
        let none = policy.delay_after(beyond, ErrorClass::HandlerError, None, Jitter::ZERO);
        prop_assert_eq!(none, None);
    }

    #[test]
    fn jitter_lengthens_a_pause_by_a_quarter_at_most(
        policy in allowed(),
        failed in 1..=RETRIES_MAX,
        roll in any::<u64>(),
        asked in proptest::option::of(0_u64..u64::MAX / 1_000),
    ) {
        let asked = asked.map(Duration::from_millis);
        let delay = |jitter| policy.delay_after(failed, ErrorClass::SystemError, asked, jitter);
        let (Some(plain), Some(spread)) = (delay(Jitter::ZERO), delay(Jitter(roll))) else {
            prop_assert!(failed > policy.max_retries);
            return Ok(());
        };
        prop_assert!(plain >= asked.unwrap_or_default().min(RETRY_DELAY_MAX), "{plain:?}");
        let longest = if policy.jitter { plain + plain / 4 } else { plain };
        prop_assert!(plain <= spread && spread <= longest, "{plain:?} {spread:?}");
    }
}
