//! Schedules: what a tenant wants to happen at certain times, and which of these times are to be
//! fired now.
//!
//! Nothing here reads a clock or knows a time zone: the times of a schedule come in as a function
//! that finds the first one after an instant (cron text is worked out in `actions-app`).

use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::action::{ActionName, ActionNameError};
use crate::event::EventType;
use crate::id::{ExecutionId, TenantId};
use crate::json::Json;
use crate::limits::CATCH_UP_MAX;

/// A time that is handled no later than this is on time: longer than a takeover by another node.
/// What is later was missed.
pub const ON_TIME: Duration = Duration::from_secs(30);

/// A schedule's name, unique inside its tenant. It is formed like an action's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScheduleName(ActionName);

impl ScheduleName {
    pub fn parse(raw: &str) -> Result<Self, ActionNameError> {
        ActionName::parse(raw).map(Self)
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a person writes down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    pub name: ScheduleName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub target: Target,
    /// The job's input, or the event's data.
    pub data: Json,
    pub when: When,
    pub missed: Missed,
    pub overlap: Overlap,
    pub is_active: bool,
}

/// What happens at each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// It runs as a job.
    Action(ActionName),
    /// It is emitted.
    Event(EventType),
}

/// The times of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// As the clocks of a time zone show it.
    Cron { text: String, timezone: String },
    /// On a grid from 1970, so that it does not depend on when anything was started.
    EverySeconds(u32),
    /// Once.
    At(Timestamp),
}

/// What becomes of times that nobody handled in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    Skip,
    /// The latest one is made up for.
    #[default]
    Once,
    /// The latest [`CATCH_UP_MAX`] are made up for, oldest first.
    All,
}

/// What becomes of a time that comes while the execution of the last one is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    #[default]
    Allow,
    Skip,
}

/// A schedule as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub tenant: TenantId,
    pub spec: ScheduleSpec,
    /// Grows with each change of the specification, also over a deletion.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub progress: Progress,
}

/// How far a schedule is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Times up to and with this instant are done with.
    pub handled_until: Timestamp,
    /// The last time that was fired.
    pub last_at: Option<Timestamp>,
    /// The job of the last time that was fired.
    pub last_execution: Option<ExecutionId>,
    /// Why the last time did not lead to anything, if it did not.
    pub last_error: Option<String>,
}

impl Schedule {
    /// What saving a specification leads to. `None`: nothing changes.
    ///
    /// New times count from now on, and so do those of a schedule that was switched off: what
    /// would have been meanwhile was not missed.
    pub fn saved(
        current: Option<&Self>,
        tenant: TenantId,
        spec: &ScheduleSpec,
        now: Timestamp,
    ) -> Option<Self> {
        let version = now.timestamp_micros();
        let Some(current) = current else {
            let progress = Progress {
                handled_until: now,
                last_at: None,
                last_execution: None,
                last_error: None,
            };
            let (created_at, updated_at) = (now, now);
            let spec = spec.clone();
            return Some(Self { tenant, spec, version, created_at, updated_at, progress });
        };
        if current.spec == *spec {
            return None;
        }
        let mut next = current.clone();
        if current.spec.when != spec.when || (spec.is_active && !current.spec.is_active) {
            next.progress.handled_until = now;
        }
        next.spec = spec.clone();
        next.version = version.max(current.version + 1);
        next.updated_at = now;
        Some(next)
    }
}

/// The first point of the grid of an interval after an instant.
pub fn next_on_grid(every_seconds: u32, after: Timestamp) -> Option<Timestamp> {
    let every = i64::from(every_seconds.max(1));
    let seconds = after.timestamp().div_euclid(every).checked_add(1)?.checked_mul(every)?;
    Timestamp::from_timestamp(seconds, 0)
}

/// The times to fire now, oldest first. Afterwards all times until `now` are done with.
///
/// `next` finds the first time after an instant; it never goes back where its argument goes on.
pub fn due(
    missed: Missed,
    handled_until: Timestamp,
    now: Timestamp,
    next: impl Fn(Timestamp) -> Option<Timestamp>,
) -> Vec<Timestamp> {
    let on_time_from = now - ON_TIME;
    let mut found = Vec::new();
    let mut until = now;
    while found.len() < CATCH_UP_MAX {
        let Some(at) = latest(handled_until, until, &next) else { break };
        if at < on_time_from {
            match missed {
                Missed::Skip => break,
                Missed::Once => {
                    if found.is_empty() {
                        found.push(at);
                    }
                    break;
                }
                Missed::All => {}
            }
        }
        found.push(at);
        until = at - TimeDelta::microseconds(1);
    }
    found.reverse();
    found
}

/// The last time after `from` and not after `until`: where `next` jumps over `until`, searched
/// from behind in doubling steps and then by halves.
fn latest(
    from: Timestamp,
    until: Timestamp,
    next: &impl Fn(Timestamp) -> Option<Timestamp>,
) -> Option<Timestamp> {
    let within = |after| next(after).filter(|at| *at <= until);
    // After `high` there is nothing; the search for an instant that has a time after it doubles
    // its steps.
    let (mut low, mut high) = (until, until);
    let mut step = TimeDelta::seconds(1);
    let mut found = loop {
        if low <= from {
            return None;
        }
        low = low.checked_sub_signed(step).map_or(from, |low| low.max(from));
        match within(low) {
            Some(at) => break at,
            None => high = low,
        }
        step = step.checked_mul(2).unwrap_or(step);
    };
    while let Some(at) = within(found) {
        let middle = at + (high - at) / 2;
        match within(middle) {
            Some(later) => found = later,
            None => (found, high) = (at, middle),
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
