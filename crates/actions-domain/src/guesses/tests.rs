use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use chrono::{DateTime, TimeDelta};

use super::{Guesses, Peer, Target};
use crate::Timestamp;
use crate::limits::{
    ACCOUNT_GUESSES_FREE, ACCOUNT_GUESSES_HOT, ACCOUNT_LOGINS_FREE, GUESS_WAIT_MAX, GUESSERS_MAX,
    GUESSES_FREE,
};

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn peer(number: u32) -> Peer {
    Peer::of(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
}

fn ada() -> Target {
    Target::of("acme", "ada")
}

#[test]
fn an_address_is_a_network_where_one_customer_has_one() {
    let v6 = |text: &str| Peer::of(IpAddr::V6(text.parse::<Ipv6Addr>().unwrap()));
    assert_eq!(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff::7"));
    assert_ne!(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1"));
    assert_eq!(v6("::ffff:10.0.0.1"), peer(1), "one inside of the other is the same");
    assert_ne!(peer(1), peer(2));
    assert_eq!(Target::of("acme", "Ada"), ada());
    assert_ne!(Target::of("acm", "eada"), ada());
}

#[test]
fn some_failures_are_free_and_then_each_costs_twice_the_time() {
    let mut guesses = Guesses::default();
    let mut now = at(0);
    for _ in 0..ACCOUNT_GUESSES_FREE {
        assert_eq!(guesses.try_login(ada(), Some(peer(1)), now), Ok(false));
    }
    for wait in [1, 2, 4, 8, 16] {
        let wait = Duration::from_secs(wait);
        assert_eq!(guesses.try_login(ada(), Some(peer(1)), now), Err(wait));
        assert_eq!(guesses.try_login(ada(), Some(peer(1)), now), Err(wait), "asking costs nothing");
        now += wait;
        assert_eq!(guesses.try_login(ada(), Some(peer(1)), now), Ok(false));
    }
    for _ in 0..40 {
        if let Err(wait) = guesses.try_login(ada(), Some(peer(1)), now) {
            assert!(wait <= GUESS_WAIT_MAX);
            now += wait;
        }
    }
    assert_eq!(guesses.try_login(ada(), Some(peer(1)), now + TimeDelta::hours(10)), Ok(false));
}

#[test]
fn nobody_is_locked_out_by_somebody_elses_guessing() {
    let mut guesses = Guesses::default();
    for number in 0..10 * ACCOUNT_GUESSES_HOT {
        let _ = guesses.try_login(ada(), Some(peer(1_000 + number)), at(0));
        let _ = guesses.try_login(ada(), Some(peer(1)), at(0));
    }
    assert!(guesses.try_login(ada(), Some(peer(1)), at(0)).is_err());
    assert_eq!(
        guesses.try_login(ada(), Some(peer(2)), at(0)),
        Ok(false),
        "its first one is looked at"
    );
    let again = guesses.try_login(ada(), Some(peer(2)), at(0));
    assert!(again.is_err(), "where many guess, one failure is free");
    // Whoever was right from an address keeps all tries.
    guesses.succeed(ada(), Some(peer(3)), at(0));
    for _ in 0..ACCOUNT_GUESSES_FREE {
        assert_eq!(guesses.try_login(ada(), Some(peer(3)), at(0)), Ok(true));
    }
    assert!(guesses.try_login(ada(), Some(peer(3)), at(0)).is_err());
}

#[test]
fn whoever_was_right_before_does_not_wait_for_others_at_the_same_address() {
    let mut guesses = Guesses::default();
    assert_eq!(guesses.try_login(ada(), Some(peer(1)), at(0)), Ok(false));
    guesses.succeed(ada(), Some(peer(1)), at(0));
    for number in 0..=GUESSES_FREE {
        guesses.fail(peer(1), at(0));
        let _ = guesses.try_login(Target::of("acme", &number.to_string()), Some(peer(1)), at(0));
    }
    assert!(guesses.wait(peer(1), at(0)).is_some());
    assert!(guesses.try_login(Target::of("acme", "bob"), Some(peer(1)), at(0)).is_err());
    assert_eq!(guesses.try_login(ada(), Some(peer(1)), at(0)), Ok(true));
}

#[test]
fn who_is_right_again_and_again_waits_only_for_too_many_logins() {
    let mut guesses = Guesses::default();
    for number in 0..ACCOUNT_LOGINS_FREE {
        let tried = guesses.try_login(ada(), Some(peer(1)), at(0));
        assert_eq!(tried, Ok(number > 0));
        guesses.succeed(ada(), Some(peer(1)), at(0));
    }
    assert_eq!(guesses.wait(peer(1), at(0)), None);
    let second = Duration::from_secs(1);
    assert_eq!(guesses.try_login(ada(), Some(peer(1)), at(0)), Err(second));
    assert_eq!(guesses.try_login(ada(), None, at(0)), Err(second));
    assert_eq!(guesses.try_login(ada(), Some(peer(1)), at(60)), Ok(true));
}

#[test]
fn those_who_cannot_be_told_apart_do_not_wait_for_one_another() {
    let mut guesses = Guesses::default();
    for _ in 0..10 * GUESSES_FREE {
        assert_eq!(guesses.try_login(ada(), None, at(0)), Ok(false));
    }
}

#[test]
fn many_at_once_are_not_all_looked_at() {
    let mut guesses = Guesses::default();
    let looked_at =
        (0..100).filter(|_| guesses.try_login(ada(), Some(peer(1)), at(0)).is_ok()).count();
    assert_eq!(looked_at, ACCOUNT_GUESSES_FREE as usize);
}

#[test]
fn tokens_are_counted_by_address() {
    let mut guesses = Guesses::default();
    for _ in 0..GUESSES_FREE {
        assert_eq!(guesses.wait(peer(1), at(0)), None);
        guesses.fail(peer(1), at(0));
    }
    assert_eq!(guesses.wait(peer(1), at(0)), Some(Duration::from_secs(1)));
    assert_eq!(guesses.wait(peer(2), at(0)), None);
    assert_eq!(guesses.wait(peer(1), at(-60)), None, "a clock set back");
    assert_eq!(guesses.wait(peer(1), at(1)), None);
    guesses.fail(peer(1), at(1));
    assert_eq!(guesses.wait(peer(1), at(1)), Some(Duration::from_secs(2)));
}

#[test]
fn memory_is_bounded_and_the_oldest_go_first() {
    let mut guesses = Guesses::default();
    for _ in 0..=GUESSES_FREE {
        guesses.fail(peer(0), at(0));
    }
    for number in 1..u32::try_from(GUESSERS_MAX).unwrap() {
        guesses.fail(peer(number), at(0));
    }
    assert_eq!(guesses.len(), GUESSERS_MAX);
    assert!(guesses.wait(peer(0), at(0)).is_some());
    guesses.fail(peer(u32::MAX >> 8), at(0));
    assert_eq!(guesses.len(), GUESSERS_MAX);
    assert_eq!(guesses.wait(peer(0), at(0)), None, "it failed longest ago");
}
