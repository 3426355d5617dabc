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

use super::super::error::CliError;
use super::super::seed::operator;
use super::super::server::chain;
use super::noop::event_type;

/// Batches that are sent at once.
const SENDERS: usize = 4;
/// How long a sender rests when enough is waiting.
pub(super) const REST: Duration = Duration::from_millis(2);
/// How often it is asked whether everything is recorded.
const ASK: Duration = Duration::from_millis(25);
/// How long nothing may happen before the rest is given up.
const STALL_MAX: Duration = Duration::from_secs(180);

/// What an event of a measurement leads to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) tenant: TenantId,
    pub(super) action: ActionId,
}

/// What the history has of all targets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    pub(super) completed: i64,
    pub(super) failed: i64,
    pub(super) retries: i64,
    all: u64,
}

/// What is sent, and how much of it may wait.
#[derive(Clone)]
pub(super) struct Producer {
    pub(super) app: App,
    /// One or more. Batches go to each in turn.
    pub(super) targets: Arc<[Target]>,
    pub(super) event_type: EventType,
    pub(super) batch: usize,
    pub(super) backlog_max: u64,
    /// Handlers add to it when they have been called.
    pub(super) handled: Arc<AtomicU64>,
}

impl Producer {
    /// Sends one event at a time, however many wait.
    pub(super) fn of_single_events(
        app: &App,
        target: Target,
        handled: &Arc<AtomicU64>,
    ) -> Result<Self, CliError> {
        Ok(Self {
            app: app.clone(),
            targets: [target].into(),
            event_type: event_type()?,
            batch: 1,
            backlog_max: u64::MAX,
            handled: handled.clone(),
        })
    }

    /// Sends until the time is over, and answers how many events were accepted.
    pub(super) async fn send_for(&self, time: Duration) -> Result<u64, CliError> {
        self.send(Some(self.app.ports.clock.now() + time), u64::MAX).await
    }

    /// Sends so many events, or a few more, and answers how many were accepted.
    pub(super) async fn send_count(&self, count: u64) -> Result<u64, CliError> {
        self.send(None, count).await
    }

    async fn send(&self, until: Option<Timestamp>, count: u64) -> Result<u64, CliError> {
        let accepted = Arc::new(AtomicU64::new(0));
        let senders: Vec<_> = (0..SENDERS)
            .map(|number| {
                let (producer, accepted) = (self.clone(), accepted.clone());
                tokio::spawn(
                    async move { producer.send_batches(number, until, count, &accepted).await },
                )
            })
            .collect();
        for sender in senders {
            sender.await.map_err(|error| CliError::failed(error.to_string()))??;
        }
        Ok(accepted.load(Ordering::Relaxed))
    }

    async fn send_batches(
        &self,
        first: usize,
        until: Option<Timestamp>,
        count: u64,
        accepted: &AtomicU64,
    ) -> Result<(), CliError> {
        let clock = &self.app.ports.clock;
        let mut turns = self.targets.iter().cycle().skip(first % self.targets.len());
        while until.is_none_or(|until| clock.now() < until) {
            let so_far = accepted.load(Ordering::Relaxed);
            if so_far >= count {
                break;
            }
            let waiting = so_far.saturating_sub(self.handled.load(Ordering::Relaxed));
            if waiting >= self.backlog_max {
                clock.sleep(REST).await;
                continue;
            }
            let events = (0..self.batch as u64).map(|n| self.event(n)).collect::<Result<_, _>>()?;
            let Some(Target { tenant, .. }) = turns.next().copied() else { break };
            accepted.fetch_add(self.submit_to(tenant, events).await?, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends events to the first target, and answers how many were accepted.
    pub(super) async fn submit(&self, events: Vec<NewEvent>) -> Result<u64, CliError> {
        let Some(Target { tenant, .. }) = self.targets.first().copied() else { return Ok(0) };
        self.submit_to(tenant, events).await
    }

    async fn submit_to(&self, tenant: TenantId, events: Vec<NewEvent>) -> Result<u64, CliError> {
        let request = SubmitEvents { tenant, events, idempotency: None };
        let caller = operator(&self.app, tenant);
        let answered = submit_events(&self.app, &caller, request).await;
        let answered = answered.map_err(|error| CliError::failed(chain(&error)))?;
        Ok(answered.len() as u64)
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
    pub(super) async fn recorded(&self, expected: u64) -> Result<Ends, CliError> {
        let clock = &self.app.ports.clock;
        let (mut most, mut moved_at) = ((0, 0), clock.now());
        loop {
            // Counting is work too: it is done once nothing is left to be called.
            let handled = self.handled.load(Ordering::Relaxed);
            let mut recorded = 0;
            if handled >= expected {
                let ends = self.ends().await?;
                if ends.all >= expected {
                    return Ok(ends);
                }
                recorded = ends.all;
            }
            if (handled, recorded) > most {
                (most, moved_at) = ((handled, recorded), clock.now());
            } else if clock.now() > moved_at + STALL_MAX {
                let ended = self.ends().await?.all;
                return Err(CliError::failed(format!(
                    "{ended} of {expected} executions were recorded, and nothing more for {} s",
                    STALL_MAX.as_secs()
                )));
            }
            clock.sleep(ASK).await;
        }
    }

    async fn ends(&self) -> Result<Ends, CliError> {
        let mut ends = Ends::default();
        for Target { tenant, action } in self.targets.iter().copied() {
            let counts = self.app.ports.history.action_counts(tenant, Some(action), None).await;
            for counts in counts.map_err(|error| CliError::failed(chain(&error)))? {
                ends.completed += counts.completed;
                ends.failed += counts.failed;
                ends.retries += counts.retries;
                let all = counts.completed + counts.failed + counts.cancelled;
                ends.all += u64::try_from(all).unwrap_or(0);
            }
        }
        Ok(ends)
    }
}

/// Each event led to one execution that completed, and to no other.
pub(super) fn verify(counts: &Ends, expected: u64) -> Result<(), CliError> {
    if counts.completed == i64::try_from(expected).unwrap_or(i64::MAX) && counts.failed == 0 {
        return Ok(());
    }
    Err(CliError::failed(format!(
        "the history does not agree: {expected} events were accepted, {} executions completed and {} failed",
        counts.completed, counts.failed
    )))
}
