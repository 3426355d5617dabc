//! What tenants use: what came in on each day, and how much there is now.

use std::fmt;

use chrono::{Datelike, NaiveDate};

use crate::Timestamp;
use crate::id::TenantId;

/// A day in UTC, counted from the first of January 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    pub fn of(at: Timestamp) -> Self {
        let days = at.timestamp().div_euclid(24 * 60 * 60);
        Self(i32::try_from(days).unwrap_or(i32::MAX))
    }

    /// The day so many days before.
    #[must_use]
    pub fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(i32::try_from(days).unwrap_or(i32::MAX)))
    }
}

impl fmt::Display for Day {
    /// As ISO 8601 writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = NaiveDate::default().num_days_from_ce();
        match NaiveDate::from_num_days_from_ce_opt(self.0.saturating_add(epoch)) {
            Some(date) => write!(f, "{date}"),
            None => write!(f, "day {}", self.0),
        }
    }
}

/// What came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Events that were stored. Repetitions are none.
    pub events: u64,
    /// Their data and metadata, and the inputs of jobs.
    pub bytes: u64,
    /// Executions that were accepted.
    pub executions: u64,
}

impl Usage {
    pub fn add(&mut self, more: Self) {
        self.events = self.events.saturating_add(more.events);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.executions = self.executions.saturating_add(more.executions);
    }
}

/// What came in for a tenant on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayUsage {
    pub tenant: TenantId,
    pub day: Day,
    pub usage: Usage,
}

/// How much a tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub tenant: TenantId,
    /// Of the days that were asked about.
    pub stored_bytes: u64,
    /// Executions that had not ended when they were counted last.
    pub waiting: u64,
    /// `None`: nobody has counted them.
    pub counted_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::Day;
    use crate::Timestamp;

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let day = |at: &str| Day::of(at.parse::<Timestamp>().unwrap());
        assert_eq!(day("1970-01-01T00:00:00Z"), Day(0));
        assert_eq!(day("1969-12-31T23:59:59Z"), Day(-1));
        assert_eq!(day("2026-11-22T23:59:59.999Z").to_string(), "2026-11-22");
        assert_eq!(day("2026-11-23T00:00:00Z").before(1).to_string(), "2026-11-22");
    }
}
