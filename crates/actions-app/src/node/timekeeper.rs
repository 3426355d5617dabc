//! Fires schedules when their times have come.
//!
//! Only the node that owns the first partition does. A time is submitted first and written down as
//! handled afterwards; whoever does not know of the second does the first again, and the store
//! recognises the request. So each time is fired once, whatever happens in between and even while
//! two nodes believe that it is their turn.

use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::authorization::AuthorizationContext;
use actions_domain::limits::ERROR_BYTES_MAX;
use actions_domain::schedule::{Overlap, Progress, Schedule, due};
use actions_domain::work::Part;
use chrono::TimeDelta;
use futures_util::future::join_all;
use tracing::warn;

use super::writer::Lost;
use crate::app::App;
use crate::commands::fire_schedule::{FireScheduleError, fire_time};
use crate::timetable::Timetable;

/// The longest pause between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often changes that were made elsewhere are looked for.
const READ_EVERY: TimeDelta = TimeDelta::seconds(5);
/// Schedules that are fired at once: many have the same time, and their commits are shared.
const AT_ONCE: usize = 64;

pub(crate) struct Timekeeper {
    app: App,
    caller: AuthorizationContext,
    /// Those that will fire, each with its next time.
    entries: Vec<Entry>,
    /// `None`: what is here is not to be relied on.
    read_at: Option<Timestamp>,
}

struct Entry {
    schedule: Schedule,
    times: Timetable,
    next: Timestamp,
}

/// What became of the times of one schedule.
enum Handled {
    /// With the next time, if there is one.
    Noted(Progress, Option<Timestamp>),
    /// Somebody else has changed it, so it is read again.
    Changed,
    /// It has to be tried again.
    Failed(String),
}

impl Timekeeper {
    pub(crate) fn new(app: App) -> Self {
        let caller = AuthorizationContext::of_schedules();
        Self { app, caller, entries: Vec::new(), read_at: None }
    }

    pub(crate) async fn run(mut self) -> Lost {
        let mut is_away = false;
        loop {
            let outcome = self.turn().await;
            // One line per change of state, not one per turn.
            if let Err(error) = &outcome
                && !is_away
            {
                warn!(%error, "schedules cannot be fired yet");
            }
            is_away = outcome.is_err();
            // What could not be fired is not tried again without a pause.
            let pause = if is_away { LOOK_EVERY } else { self.pause() };
            tokio::select! {
                () = self.app.ports.clock.sleep(pause) => {}
                () = self.app.schedules_changed.notified() => self.read_at = None,
            }
        }
    }

    async fn turn(&mut self) -> Result<(), String> {
        if !self.app.live.parts().contains(&Part(0)) {
            self.entries.clear();
            self.read_at = None;
            return Ok(());
        }
        let now = self.app.ports.clock.now();
        if self.read_at.is_none_or(|read_at| now - read_at >= READ_EVERY) {
            let schedules = self.app.ports.schedules.schedules(None).await;
            let schedules = schedules.map_err(|error| error.to_string())?;
            self.entries = schedules.into_iter().filter_map(Entry::new).collect();
            self.read_at = Some(now);
        }
        self.fire_due(now).await
    }

    async fn fire_due(&mut self, now: Timestamp) -> Result<(), String> {
        let is_due = self.entries.iter().enumerate().filter(|(_, entry)| entry.next <= now);
        let is_due: Vec<usize> = is_due.map(|(index, _)| index).collect();
        let mut handled = Vec::with_capacity(is_due.len());
        for chunk in is_due.chunks(AT_ONCE) {
            let chunk = chunk
                .iter()
                .map(|index| handle(&self.app, &self.caller, &self.entries[*index], now));
            handled.extend(join_all(chunk).await);
        }
        let mut outcome = Ok(());
        for (index, handled) in is_due.into_iter().zip(handled) {
            match handled {
                Handled::Noted(progress, next) => {
                    let entry = &mut self.entries[index];
                    entry.schedule.progress = progress;
                    // Without a next time it is left alone until it is read again.
                    entry.next = next.unwrap_or(Timestamp::MAX_UTC);
                }
                Handled::Changed => self.read_at = None,
                Handled::Failed(error) => {
                    self.read_at = None;
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    fn pause(&self) -> Duration {
        let now = self.app.ports.clock.now();
        let next = self.entries.iter().map(|entry| entry.next).min();
        let pause = next.map(|next| (next - now).to_std().unwrap_or_default());
        pause.map_or(LOOK_EVERY, |pause| pause.min(LOOK_EVERY))
    }
}

impl Entry {
    /// `None`: it is paused, or there is nothing more to fire.
    fn new(schedule: Schedule) -> Option<Self> {
        if !schedule.spec.is_active {
            return None;
        }
        let times = Timetable::new(&schedule.spec.when)
            .inspect_err(|error| {
                let (tenant, name) = (schedule.tenant.0, schedule.spec.name.as_str());
                warn!(tenant, name, %error, "the times of a schedule cannot be worked out");
            })
            .ok()?;
        let next = times.after(schedule.progress.handled_until)?;
        Some(Self { schedule, times, next })
    }
}

/// Fires what is due of one schedule, and writes it down.
async fn handle(
    app: &App,
    caller: &AuthorizationContext,
    entry: &Entry,
    now: Timestamp,
) -> Handled {
    let Entry { schedule, times, .. } = entry;
    let mut progress = schedule.progress.clone();
    let mut failed = None;
    let until = progress.handled_until;
    for at in due(schedule.spec.missed, until, now, |after| times.after(after)) {
        match fire_unless_busy(app, caller, schedule, &mut progress, at).await {
            Ok(()) => progress.handled_until = at,
            Err(error) => {
                failed = Some(error.to_string());
                break;
            }
        }
    }
    if failed.is_none() {
        progress.handled_until = now;
    }
    let (name, version) = (&schedule.spec.name, schedule.version);
    let noted = app.ports.schedules.note_progress(schedule.tenant, name, version, &progress).await;
    match (failed, noted) {
        (Some(error), _) => Handled::Failed(error),
        // It is fired again, which the store recognises.
        (None, Err(error)) => Handled::Failed(error.to_string()),
        (None, Ok(true)) => Handled::Noted(progress, times.after(now)),
        (None, Ok(false)) => Handled::Changed,
    }
}

/// Fires one time, or leaves it out and says why. An error: it has to be tried again.
async fn fire_unless_busy(
    app: &App,
    caller: &AuthorizationContext,
    schedule: &Schedule,
    progress: &mut Progress,
    at: Timestamp,
) -> Result<(), FireScheduleError> {
    if schedule.spec.overlap == Overlap::Skip
        && let Some(last) = progress.last_execution
        && let Some(last) = app.ports.history.find_execution(schedule.tenant, last).await?
        && !last.status.is_final()
    {
        progress.last_error =
            Some(format!("{at} was skipped: execution {} is not finished", last.id));
        return Ok(());
    }
    match fire_time(app, caller, schedule, at).await {
        Ok(fired) => {
            progress.last_at = Some(at);
            let is_job = fired.event.is_none();
            progress.last_execution = fired.executions.first().copied().filter(|_| is_job);
            progress.last_error = None;
            Ok(())
        }
        Err(error) if error.is_final() => {
            let mut reason = format!("{at}: {error}");
            reason.truncate(reason.floor_char_boundary(ERROR_BYTES_MAX));
            warn!(
                tenant = schedule.tenant.0,
                name = schedule.spec.name.as_str(),
                reason,
                "a schedule could not be fired"
            );
            progress.last_error = Some(reason);
            Ok(())
        }
        Err(error) => Err(error),
    }
}
