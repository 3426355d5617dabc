use chrono::{SecondsFormat, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;
use proptest::prelude::*;

use actions_domain::Timestamp;
use actions_domain::schedule::When;

use super::{Timetable, TimetableError};

const ZONES: [&str; 5] =
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"];

fn table(text: &str, timezone: &str) -> Result<Timetable, TimetableError> {
    Timetable::new(&When::Cron { text: text.to_owned(), timezone: timezone.to_owned() })
}

/// The first times after an instant, as the zone's clocks show them.
fn times(text: &str, timezone: &str, from: &str, count: usize) -> Vec<String> {
    let table = table(text, timezone).unwrap();
    let zone: Tz = timezone.parse().unwrap();
    let first = table.after(from.parse().unwrap());
    std::iter::successors(first, |at| table.after(*at))
        .take(count)
        .map(|at| at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true))
        .collect()
}

#[test]
fn a_time_that_a_day_does_not_have_fires_at_the_first_instant_after_the_gap() {
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    assert_eq!(
        times("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2),
        ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]
    );
    // Half an hour.
    assert_eq!(
        times("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2),
        ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]
    );
}

#[test]
fn several_times_of_a_gap_fire_once_together() {
    assert_eq!(
        times("0,15,30,45 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
        ["2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00", "2026-03-29T03:30:00+02:00"]
    );
}

#[test]
fn of_a_time_that_a_day_has_twice_the_first_fires() {
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    );
    assert_eq!(
        times("30 1 * * *", "America/New_York", "2026-11-01T04:00:00Z", 2),
        ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]
    );
    assert_eq!(
        times("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T13:00:00Z", 2),
        ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"]
    );
    // Asked in the second pass, the day is over.
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
        ["2026-10-26T02:30:00+01:00"]
    );
}

#[test]
fn a_schedule_of_every_hour_follows_elapsed_time() {
    for text in ["30 * * * *", "30 0-23 * * *", "30 */1 * * *", "0 30 * * * *"] {
        assert_eq!(
            times(text, "Europe/Berlin", "2026-10-24T23:45:00Z", 4),
            [
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T03:30:00+01:00",
                "2026-10-25T04:30:00+01:00"
            ],
            "{text}"
        );
        assert_eq!(
            times(text, "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
            ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"],
            "{text}"
        );
    }
    assert_eq!(
        times("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:20:00Z", 4),
        [
            "2026-04-05T01:30:00+11:00",
            "2026-04-05T01:45:00+11:00",
            "2026-04-05T01:30:00+10:30",
            "2026-04-05T01:45:00+10:30"
        ]
    );
}

#[test]
fn months_without_the_day_are_left_out() {
    assert_eq!(
        times("0 9 31 * *", "Europe/Berlin", "2026-01-15T00:00:00Z", 3),
        ["2026-01-31T09:00:00+01:00", "2026-03-31T09:00:00+02:00", "2026-05-31T09:00:00+02:00"]
    );
    assert_eq!(
        times("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2),
        ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]
    );
    assert_eq!(times("0 0 29 2 *", "UTC", "2097-01-01T00:00:00Z", 1), ["2104-02-29T00:00:00Z"]);
    assert_eq!(times("0 0 L 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-02-28T00:00:00Z"]);
}

#[test]
fn what_can_never_fire_is_refused() {
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
        assert_eq!(table(never, "UTC").unwrap_err(), TimetableError::Never, "{never}");
    }
    let is_cron = |error| matches!(error, TimetableError::Cron { .. });
    for wrong in ["* * * *", "60 * * * *", "a b c d e", "0 0 * * * * 2030", "ü * * * *", "@", "@x"]
    {
        assert!(is_cron(table(wrong, "UTC").unwrap_err()), "{wrong}");
    }
    assert_eq!(table("", "UTC").unwrap_err(), TimetableError::CronLength);
    assert_eq!(table(&"*".repeat(129), "UTC").unwrap_err(), TimetableError::CronLength);
    let is_zone = |error| matches!(error, TimetableError::Zone { .. });
    for wrong in ["", "Berlin", "Europe/Nowhere", &"x".repeat(500)] {
        assert!(is_zone(table("* * * * *", wrong).unwrap_err()), "{wrong}");
    }
    let interval = |every| Timetable::new(&When::EverySeconds(every));
    assert!(interval(0).is_err() && interval(u32::MAX).is_err() && interval(1).is_ok());
}

#[test]
fn an_empty_part_of_a_list_is_refused_unread() {
    for text in [
        ", 9 * * *",
        "0 , * * *",
        "0 9 , * *",
        "0 9 * , *",
        "0 9 * * ,",
        "1, * * * *",
        ",1 * * * *",
        "1,,2 * * * *",
        ", * * * * *",
    ] {
        let refused = table(text, "Europe/Berlin").map(|_| ());
        let reason = "a list has an empty part".to_owned();
        assert_eq!(refused, Err(TimetableError::Cron { reason }), "{text}");
    }
}

#[test]
fn instants_that_no_clock_shows_have_no_times() {
    for text in ["0 9 * * *", "0 * * * *"] {
        let table = table(text, "Europe/Berlin").unwrap();
        assert_eq!(table.after(Timestamp::MAX_UTC), None);
        assert!(table.after(Timestamp::MIN_UTC).is_some());
    }
}

/// Every instant of two days at which something fires, found by looking at each minute.
fn looked_up(text: &str, zone: Tz, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let fields: Vec<&str> = text.split(' ').collect();
    let is_elapsed = fields[1] == "*";
    let minute: u32 = fields[0].parse().unwrap();
    let names = |hour: u32, at_minute: u32| {
        at_minute == minute && (is_elapsed || fields[1].split(',').any(|h| h.parse() == Ok(hour)))
    };
    let mut found = Vec::new();
    let mut at = from - TimeDelta::days(2);
    let mut highest = (at - TimeDelta::minutes(1)).with_timezone(&zone).naive_local();
    while at <= to {
        let shown = at.with_timezone(&zone).naive_local();
        let fires = if is_elapsed {
            names(shown.hour(), shown.minute())
        } else {
            // All times that no clock has shown so far and that are reached now.
            let mut reached = highest + TimeDelta::minutes(1);
            let mut any = false;
            while reached <= shown {
                any |= names(reached.hour(), reached.minute());
                reached += TimeDelta::minutes(1);
            }
            any
        };
        if fires && at > from {
            found.push(at);
        }
        highest = highest.max(shown);
        at += TimeDelta::minutes(1);
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The rule, compared with looking at the clock every minute, around changes and elsewhere.
    #[test]
    fn the_times_are_those_that_the_clock_reaches(
        zone in prop::sample::select(&ZONES[..]),
        day in prop_oneof![
            Just((3, 28)), Just((3, 29)), Just((10, 24)), Just((10, 25)), Just((3, 7)), Just((3, 8)),
            Just((10, 31)), Just((11, 1)), Just((4, 4)), Just((10, 3)), Just((2, 15)), Just((3, 22)),
            (1..13_u32, 1..29_u32),
        ],
        offset in 0..1_440_i64,
        minute in 0..60_u32,
        hours in prop_oneof![
            Just("*".to_owned()),
            prop::collection::btree_set(0..5_u32, 1..4)
                .prop_map(|set| set.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
        ],
    ) {
        let text = format!("{minute} {hours} * * *");
        let tz: Tz = zone.parse().unwrap();
        let from = chrono::Utc.with_ymd_and_hms(2026, day.0, day.1, 0, 0, 0).unwrap()
            + TimeDelta::minutes(offset);
        let to = from + TimeDelta::days(2);
        let table = table(&text, zone).unwrap();
        let found: Vec<_> = std::iter::successors(table.after(from), |at| table.after(*at))
            .take_while(|at| *at <= to).collect();
        prop_assert_eq!(found, looked_up(&text, tz, from, to), "{} {}", text, zone);
    }

    /// Later questions never get earlier answers, and every answer lies ahead.
    #[test]
    fn times_only_go_forward(
        zone in prop::sample::select(&ZONES[..]),
        text in prop::sample::select(&["*/7 * * * *", "5 2 * * *", "0 0 1 */2 1", "15 10 3 * * *", "@daily"][..]),
        one in 1_700_000_000..1_900_000_000_i64, more in 0..10_000_000_i64,
    ) {
        let table = table(text, zone).unwrap();
        let at = |seconds| Timestamp::from_timestamp(seconds, 0).unwrap();
        let (first, second) = (table.after(at(one)).unwrap(), table.after(at(one + more)).unwrap());
        prop_assert!(first > at(one) && second >= first);
    }

    #[test]
    fn whatever_is_written_is_answered(text in "[ -~]{0,40}|[0-9*/,#LWJANMON@? -]{1,30}|.{0,20}", zone in "[A-Za-z/_]{0,20}") {
        let _ = table(&text, &zone);
        if let Ok(table) = table(&text, "Australia/Lord_Howe") {
            let from = Timestamp::from_timestamp(1_800_000_000, 0).unwrap();
            prop_assert!(table.after(from).is_none_or(|at| at > from));
        }
    }
}
