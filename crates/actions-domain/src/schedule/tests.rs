use chrono::TimeDelta;
use proptest::prelude::*;

use super::{Missed, Overlap, Schedule, ScheduleName, ScheduleSpec, Target, When};
use super::{due, next_on_grid};
use crate::Timestamp;
use crate::action::ActionName;
use crate::id::TenantId;
use crate::json::Json;
use crate::limits::CATCH_UP_MAX;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).unwrap()
}

fn spec(every: u32) -> ScheduleSpec {
    ScheduleSpec {
        name: ScheduleName::parse("nightly").unwrap(),
        description: None,
        target: Target::Action(ActionName::parse("report").unwrap()),
        data: Json::null(),
        when: When::EverySeconds(every),
        missed: Missed::Once,
        overlap: Overlap::Allow,
        is_active: true,
    }
}

fn fired(missed: Missed, every: u32, from: i64, now: i64) -> Vec<i64> {
    let times = due(missed, at(from), at(now), |after| next_on_grid(every, after));
    times.iter().map(Timestamp::timestamp).collect()
}

#[test]
fn a_grid_does_not_depend_on_a_start() {
    assert_eq!(next_on_grid(60, at(0)), Some(at(60)));
    assert_eq!(next_on_grid(60, at(59)), Some(at(60)));
    assert_eq!(next_on_grid(60, at(60)), Some(at(120)));
    assert_eq!(next_on_grid(60, at(-1)), Some(at(0)));
    assert_eq!(next_on_grid(60, Timestamp::MAX_UTC), None);
}

#[test]
fn what_is_on_time_is_fired_whatever_the_policy_says_of_missed_times() {
    for missed in [Missed::Skip, Missed::Once, Missed::All] {
        assert_eq!(fired(missed, 10, 0, 9), [0; 0], "nothing is due");
        assert_eq!(fired(missed, 10, 0, 10), [10], "due at this very moment");
        assert_eq!(fired(missed, 10, 0, 30), [10, 20, 30]);
    }
}

#[test]
fn missed_times_are_skipped_or_made_up_for_once_or_each() {
    assert_eq!(fired(Missed::Skip, 3_600, 0, 9_000), [0; 0]);
    assert_eq!(fired(Missed::Once, 3_600, 0, 9_000), [7_200]);
    assert_eq!(fired(Missed::All, 3_600, 0, 9_000), [3_600, 7_200]);
    assert_eq!(fired(Missed::Skip, 3_600, 0, 7_210), [7_200]);
    assert_eq!(fired(Missed::Once, 3_600, 0, 7_210), [7_200], "one is on time already");
    assert_eq!(fired(Missed::All, 3_600, 0, 7_210), [3_600, 7_200]);
}

#[test]
fn a_long_pause_is_caught_up_on_to_a_limit_with_the_latest_times() {
    let year = 366 * 86_400;
    let times = fired(Missed::All, 1, 0, year);
    assert_eq!(times.len(), CATCH_UP_MAX);
    assert_eq!(times.last(), Some(&year));
    assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn new_times_count_from_now_on_and_an_edit_beside_them_changes_nothing_of_the_progress() {
    let first = Schedule::saved(None, TenantId(7), &spec(60), at(100)).unwrap();
    assert_eq!(first.progress.handled_until, at(100));
    assert_eq!(Schedule::saved(Some(&first), TenantId(7), &spec(60), at(200)), None);

    let described = ScheduleSpec { description: Some("why".to_owned()), ..spec(60) };
    let edited = Schedule::saved(Some(&first), TenantId(7), &described, at(200)).unwrap();
    assert_eq!(edited.progress.handled_until, at(100));
    assert!(edited.version > first.version);

    let moved = Schedule::saved(Some(&edited), TenantId(7), &spec(90), at(300)).unwrap();
    assert_eq!(moved.progress.handled_until, at(300));
}

#[test]
fn what_would_have_been_while_it_was_switched_off_was_not_missed() {
    let on = Schedule::saved(None, TenantId(7), &spec(60), at(100)).unwrap();
    let off = ScheduleSpec { is_active: false, ..spec(60) };
    let off = Schedule::saved(Some(&on), TenantId(7), &off, at(200)).unwrap();
    let on = Schedule::saved(Some(&off), TenantId(7), &spec(60), at(900)).unwrap();
    assert_eq!(on.progress.handled_until, at(900));
}

proptest! {
    /// Whatever the times of looking are, each time is fired once when none of them is late.
    #[test]
    fn every_time_is_fired_exactly_once(
        every in 1..90_u32, from in 0..100_000_i64, pauses in prop::collection::vec(1..30_i64, 1..40),
    ) {
        let (mut now, mut all) = (from, Vec::new());
        for pause in pauses {
            all.extend(fired(Missed::Skip, every, now, now + pause));
            now += pause;
        }
        let every = i64::from(every);
        let expected: Vec<i64> = (from + 1..=now).filter(|at| at % every == 0).collect();
        prop_assert_eq!(all, expected);
    }

    /// The search agrees with looking at every time.
    #[test]
    fn the_latest_time_is_found_among_irregular_ones(
        mut times in prop::collection::vec(0..5_000_000_i64, 0..40), from in 0..5_000_000_i64, long in 0..5_000_000_i64,
    ) {
        times.sort_unstable();
        let now = from + long;
        let next = |after: Timestamp| times.iter().map(|time| at(*time)).find(|time| *time > after);
        let found = due(Missed::Once, at(from), at(now), next);
        let late = at(now) - TimeDelta::seconds(30);
        let all: Vec<Timestamp> = times.iter().map(|time| at(*time))
            .filter(|time| *time > at(from) && *time <= at(now)).collect();
        let mut expected: Vec<Timestamp> = all.iter().copied().filter(|time| *time >= late).collect();
        expected.dedup();
        if expected.is_empty() {
            expected.extend(all.last());
        }
        prop_assert_eq!(found, expected);
    }
}
