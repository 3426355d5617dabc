//! Trying again: with growing pauses, and one line in the log per change instead of one per try.

use std::fmt::Display;
use std::time::Duration;

use actions_domain::ports::store::StoreError;
use tracing::{info, warn};

use crate::app::Ports;

/// Whether something works.
pub(crate) struct Health {
    what: &'static str,
    pause_min: Duration,
    pause_max: Duration,
    pause: Option<Duration>,
}

impl Health {
    /// `what` says, for the log, what does not work and what follows from that.
    pub(crate) fn new(what: &'static str, pause_min: Duration, pause_max: Duration) -> Self {
        Self { what, pause_min, pause_max, pause: None }
    }

    /// Of what the engine asks its store: it should go on soon after an outage.
    pub(crate) fn of_store(what: &'static str) -> Self {
        Self::new(what, Duration::from_millis(20), Duration::from_secs(1))
    }

    /// How long to wait before the next try. `None`: it worked.
    pub(crate) fn note<T, E: Display>(&mut self, outcome: &Result<T, E>) -> Option<Duration> {
        match (outcome, self.pause) {
            (Ok(_), None) => {}
            (Ok(_), Some(_)) => {
                info!("over: {}", self.what);
                self.pause = None;
            }
            (Err(error), None) => {
                warn!(%error, "{}", self.what);
                self.pause = Some(self.pause_min);
            }
            (Err(_), Some(pause)) => self.pause = Some((pause * 2).min(self.pause_max)),
        }
        self.pause
    }
}

/// Asks the store until there is an answer, or an error that is final.
pub(crate) async fn patiently<T, F>(
    ports: &Ports,
    what: &'static str,
    is_final: impl Fn(&StoreError) -> bool,
    ask: impl Fn() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut health = Health::of_store(what);
    loop {
        let answer = ask().await;
        if answer.as_ref().err().is_some_and(&is_final) {
            return answer;
        }
        match health.note(&answer) {
            Some(pause) => ports.clock.sleep(pause).await,
            None => return answer,
        }
    }
}
