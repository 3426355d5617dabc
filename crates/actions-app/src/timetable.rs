//! The times of a schedule.
//!
//! A cron text speaks of what the clocks of a time zone show. `croner` finds the next time of a
//! clock that never changes; what happens when clocks are changed is decided here:
//!
//! * A text with certain hours fires once for each time that it names. A time that a day does not
//!   have fires at the first instant after the gap; of a time that a day has twice, the first fires.
//! * A text with every hour, or every so many hours from midnight, follows elapsed time: it fires
//!   at each instant at which the clock shows a time that it names.

use actions_domain::Timestamp;
use actions_domain::limits::{CRON_BYTES_MAX, EVERY_MAX, EVERY_MIN, TIMEZONE_BYTES_MAX};
use actions_domain::schedule::{When, next_on_grid};
use chrono::{MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// No zone changes its clocks twice within this.
const CHANGES_APART: TimeDelta = TimeDelta::days(5);
/// Changes of the clocks between two times of a schedule. 29 February comes after eight years at
/// most, and some zones change four times a year.
const CHANGES_MAX: usize = 1_000;

/// Where times end, in seconds since 1970: what no calendar holds makes no errors.
const END: i64 = 1_000 * 365 * 24 * 60 * 60;

/// Times that follow one another.
#[derive(Debug, Clone)]
pub struct Timetable(Times);

#[derive(Debug, Clone)]
enum Times {
    Cron { cron: Box<Cron>, zone: Tz, is_elapsed: bool },
    EverySeconds(u32),
    At(Timestamp),
}

/// Why times cannot be worked out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimetableError {
    #[error("a cron text has 1 to {max} bytes", max = CRON_BYTES_MAX)]
    CronLength,
    #[error(
        "it is not five fields (minute hour day month weekday), or six with seconds before them: {reason}"
    )]
    Cron { reason: String },
    #[error("it names no date that ever comes")]
    Never,
    #[error("there is no time zone {name:?}; names are those of IANA, like Europe/Berlin")]
    Zone { name: String },
    #[error("an interval has {min} to {max} seconds, not {given}", min = EVERY_MIN.as_secs(), max = EVERY_MAX.as_secs())]
    Interval { given: u32 },
}

impl Timetable {
    /// Reads what a person wrote.
    pub fn new(when: &When) -> Result<Self, TimetableError> {
        match when {
            When::Cron { text, timezone } => cron(text, timezone).map(Self),
            When::EverySeconds(every) => {
                let given = u64::from(*every);
                if (EVERY_MIN.as_secs()..=EVERY_MAX.as_secs()).contains(&given) {
                    Ok(Self(Times::EverySeconds(*every)))
                } else {
                    Err(TimetableError::Interval { given: *every })
                }
            }
            When::At(at) => Ok(Self(Times::At(*at))),
        }
    }

    /// The first time after an instant. `None`: there is none.
    pub fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        if instant.timestamp() > END {
            return None;
        }
        let instant = instant.max(Timestamp::UNIX_EPOCH);
        match &self.0 {
            Times::Cron { cron, zone, is_elapsed: true } => elapsed(cron, *zone, instant),
            Times::Cron { cron, zone, is_elapsed: false } => certain(cron, *zone, instant),
            Times::EverySeconds(every) => next_on_grid(*every, instant),
            Times::At(at) => Some(*at).filter(|at| *at > instant),
        }
    }
}

fn cron(text: &str, timezone: &str) -> Result<Times, TimetableError> {
    if text.is_empty() || text.len() > CRON_BYTES_MAX {
        return Err(TimetableError::CronLength);
    }
    if !text.is_ascii() {
        return Err(TimetableError::Cron { reason: "it is not ASCII".to_owned() });
    }
    // The parser reads nothing as no minute at all, and then looks for it over thousands of years.
    if text.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
        return Err(TimetableError::Cron { reason: "a list has an empty part".to_owned() });
    }
    let unknown = || TimetableError::Zone { name: timezone.chars().take(64).collect() };
    if timezone.len() > TIMEZONE_BYTES_MAX {
        return Err(unknown());
    }
    let zone: Tz = timezone.parse().map_err(|_| unknown())?;
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(text).map_err(|error| TimetableError::Cron {
        reason: error.to_string().trim_end_matches('.').to_owned(),
    })?;
    // 30 February: there is no next time, whenever one asks.
    let start = Timestamp::UNIX_EPOCH.naive_utc();
    on_clock(&cron, start, true).ok_or(TimetableError::Never)?;
    Ok(Times::Cron { cron: Box::new(cron), zone, is_elapsed: has_every_hour(text) })
}

/// Whether the field of hours names all of them, or every so many.
fn has_every_hour(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    match fields.as_slice() {
        [nickname] => nickname.eq_ignore_ascii_case("@hourly"),
        [_, hours, _, _, _] | [_, _, hours, _, _, _] => {
            let hours = hours.split('/').next().unwrap_or(hours);
            matches!(hours, "*" | "?" | "0-23")
        }
        _ => false,
    }
}

/// The next time of a clock that never changes.
fn on_clock(cron: &Cron, shown: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
    cron.find_next_occurrence(&shown, inclusive).ok()
}

/// Times that fire once each, in the order in which clocks show them.
fn certain(cron: &Cron, zone: Tz, instant: Timestamp) -> Option<Timestamp> {
    // In the second pass of an hour that comes twice, all of it is over.
    let shown = instant.with_timezone(&zone).naive_local();
    let mut shown = match zone.from_local_datetime(&shown) {
        MappedLocalTime::Ambiguous(first, second) if second <= instant => {
            first_change(zone, first.to_utc(), second.to_utc())
                .map_or(shown, |change| shown_before(zone, change))
        }
        MappedLocalTime::Ambiguous(..) | MappedLocalTime::Single(_) | MappedLocalTime::None => {
            shown
        }
    };
    // Times in a gap fire at one instant, and it may be the one that was asked for.
    for _ in 0..=24 * 60 * 60 {
        shown = on_clock(cron, shown, false)?;
        let fires = match zone.from_local_datetime(&shown) {
            MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => at.to_utc(),
            MappedLocalTime::None => end_of_gap(zone, shown)?,
        };
        if fires > instant {
            return Some(fires);
        }
    }
    None
}

/// The next instant at which the clock shows a time of the text.
fn elapsed(cron: &Cron, zone: Tz, instant: Timestamp) -> Option<Timestamp> {
    let (mut from, mut inclusive) = (instant, false);
    for _ in 0..CHANGES_MAX {
        let ahead = ahead_of_utc(zone, from);
        let shown = from.naive_utc().checked_add_signed(ahead)?;
        let found = on_clock(cron, shown, inclusive)?.checked_sub_signed(ahead)?.and_utc();
        // As long as the clock is not changed on the way, it is that one.
        match first_change(zone, from, found) {
            None => return Some(found),
            Some(change) => (from, inclusive) = (change, true),
        }
    }
    None
}

fn ahead_of_utc(zone: Tz, instant: Timestamp) -> TimeDelta {
    let offset = zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
    TimeDelta::seconds(i64::from(offset.local_minus_utc()))
}

/// The first change of the clocks after `from` and not after `to`, to the second.
fn first_change(zone: Tz, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
    let ahead = ahead_of_utc(zone, from);
    let mut before = from;
    while before < to {
        let mut after = before.checked_add_signed(CHANGES_APART).map_or(to, |at| at.min(to));
        if ahead_of_utc(zone, after) != ahead {
            let (mut low, mut high) = (before.timestamp(), after.timestamp());
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                let at = Timestamp::from_timestamp(middle, 0)?;
                if ahead_of_utc(zone, at) == ahead { low = middle } else { high = middle }
            }
            after = Timestamp::from_timestamp(high, 0)?;
            return Some(after);
        }
        before = after;
    }
    None
}

/// What the clock showed in the last moment before it was changed.
fn shown_before(zone: Tz, change: Timestamp) -> NaiveDateTime {
    let moment = change - TimeDelta::microseconds(1);
    moment.naive_utc() + ahead_of_utc(zone, moment)
}

/// The instant at which the clock jumps over a time that it never shows.
fn end_of_gap(zone: Tz, skipped: NaiveDateTime) -> Option<Timestamp> {
    // Zones are less than a day from UTC, and gaps no longer than a day.
    let around = skipped.and_utc();
    let (mut from, to) = (around - TimeDelta::days(2), around + TimeDelta::days(2));
    while let Some(change) = first_change(zone, from, to) {
        if change.naive_utc() + ahead_of_utc(zone, change) > skipped {
            return Some(change);
        }
        from = change;
    }
    None
}

#[cfg(test)]
mod tests;
