//! Sends batches of events as fast as they are worked off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actions_app::app::App;
use actions_app::commands::submit_event::{NewEvent, SubmitEvents, submit_events};
use actions_domain::Timestamp;
use actions_domain::event::{Attributes, EventType};
use actions_domain::id::{ActionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::history::ActionCounts;

use super::super::error::CliError;
use super::super::seed::operator;
use super::super::server::chain;

/// Batches that are sent at once.
const SENDERS: u64 = 4;
/// How long a sender rests when enough is waiting.
pub(super) const REST: Duration = Duration::from_millis(2);
/// How often it is asked whether everything is recorded.
const ASK: Duration = Duration::from_millis(100);
/// How long the rest may take after the last batch.
const DRAIN_MAX: Duration = Duration::from_secs(180);

/// What is sent, and how much of it may wait.
#[derive(Clone)]
pub(super) struct Producer {
    pub(super) app: App,
    pub(super) tenant: TenantId,
    pub(super) event_type: EventType,
    pub(super) batch: usize,
    pub(super) backlog_max: u64,
    /// Handlers add to it when they have been called.
    pub(super) handled: Arc<AtomicU64>,
}

impl Producer {
    /// Sends until the time is over, and answers how many events were accepted.
    pub(super) async fn send_for(&self, time: Duration) -> Result<u64, CliError> {
        let accepted = Arc::new(AtomicU64::new(0));
        let until = self.app.ports.clock.now() + time;
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let (producer, accepted) = (self.clone(), accepted.clone());
                tokio::spawn(async move { producer.send_until(until, &accepted).await })
            })
            .collect();
        for sender in senders {
            sender.await.map_err(|error| CliError::failed(error.to_string()))??;
        }
        Ok(accepted.load(Ordering::Relaxed))
    }

    async fn send_until(&self, until: Timestamp, accepted: &AtomicU64) -> Result<(), CliError> {
        let clock = &self.app.ports.clock;
        while clock.now() < until {
            let waiting = accepted
                .load(Ordering::Relaxed)
                .saturating_sub(self.handled.load(Ordering::Relaxed));
            if waiting >= self.backlog_max {
                clock.sleep(REST).await;
                continue;
            }
            let events = (0..self.batch as u64).map(|n| self.event(n)).collect::<Result<_, _>>()?;
            let request = SubmitEvents { tenant: self.tenant, events, idempotency: None };
            let caller = operator(&self.app, self.tenant);
            let answered = submit_events(&self.app, &caller, request).await;
            let answered = answered.map_err(|error| CliError::failed(chain(&error)))?;
            accepted.fetch_add(answered.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// An event that tells when it was sent.
    pub(super) fn event(&self, number: u64) -> Result<NewEvent, CliError> {
        let at = self.app.ports.clock.now().timestamp_micros();
        let data = Json::parse(&format!(r#"{{"number":{number},"at":{at}}}"#))
            .map_err(|error| CliError::failed(error.to_string()))?;
        Ok(NewEvent {
            event_type: self.event_type.clone(),
            source: Some("bench".to_owned()),
            external_id: None,
            data,
            attributes: Attributes::default(),
            delay: None,
        })
    }

    /// Waits until the history has the end of every execution, and answers what it has.
    pub(super) async fn recorded(
        &self,
        action: ActionId,
        expected: u64,
    ) -> Result<ActionCounts, CliError> {
        let clock = &self.app.ports.clock;
        let deadline = clock.now() + DRAIN_MAX;
        loop {
            // Counting is work too: it is done once nothing is left to be called.
            let is_called = self.handled.load(Ordering::Relaxed) >= expected;
            let counts = if is_called { self.counts(action).await? } else { None };
            if let Some(counts) = counts
                && ended(&counts) >= expected
            {
                return Ok(counts);
            }
            if clock.now() > deadline {
                let ended = self.counts(action).await?.map_or(0, |counts| ended(&counts));
                return Err(CliError::failed(format!(
                    "{ended} of {expected} executions were recorded {} s after the last event",
                    DRAIN_MAX.as_secs()
                )));
            }
            clock.sleep(ASK).await;
        }
    }

    async fn counts(&self, action: ActionId) -> Result<Option<ActionCounts>, CliError> {
        let history = &self.app.ports.history;
        let counts = history.action_counts(self.tenant, Some(action), None).await;
        Ok(counts.map_err(|error| CliError::failed(chain(&error)))?.into_iter().next())
    }
}

fn ended(counts: &ActionCounts) -> u64 {
    u64::try_from(counts.completed + counts.failed + counts.cancelled).unwrap_or(0)
}

/// Each event led to one execution that completed, and to no other.
pub(super) fn verify(counts: &ActionCounts, expected: u64) -> Result<(), CliError> {
    if counts.completed == i64::try_from(expected).unwrap_or(i64::MAX) && counts.failed == 0 {
        return Ok(());
    }
    Err(CliError::failed(format!(
        "the history does not agree: {expected} events were accepted, {} executions completed and {} failed",
        counts.completed, counts.failed
    )))
}
