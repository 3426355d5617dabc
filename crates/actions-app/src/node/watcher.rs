//! Asks the store for what nobody told: changed definitions, work that other nodes accepted, and
//! cancels. Hints make it quick, this makes it sure.

use std::collections::HashSet;
use std::time::Duration;

use actions_domain::dispatch::Input;
use actions_domain::id::NodeId;
use actions_domain::ports::hints::Hint;
use actions_domain::ports::store::StoreError;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::NodeConfig;
use super::live::Message;
use super::scheduler::SchedulerStatus;
use super::writer::Lost;
use crate::app::App;
use crate::questions;

/// How often loading hints are written.
const RECORD_EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Watcher {
    pub(crate) app: App,
    pub(crate) node: NodeId,
    pub(crate) config: NodeConfig,
    pub(crate) scheduler: mpsc::UnboundedSender<Message>,
    pub(crate) status: watch::Receiver<SchedulerStatus>,
    pub(crate) hints: mpsc::UnboundedReceiver<Hint>,
}

impl Watcher {
    pub(crate) async fn run(mut self) -> Lost {
        let mut recorded_at = self.app.ports.clock.now();
        let mut is_away = false;
        loop {
            let outcome = self.look().await;
            // One line per change of state, not one per turn.
            if let Err(error) = &outcome
                && !is_away
            {
                warn!(%error, "the store cannot be asked");
            }
            is_away = outcome.is_err();
            let now = self.app.ports.clock.now();
            if (now - recorded_at).to_std().unwrap_or_default() >= RECORD_EVERY {
                recorded_at = now;
                if let Err(error) = self.record().await {
                    warn!(%error, "loading hints are not written");
                }
            }
            self.wait().await;
        }
    }

    /// Waits for the next poll. Looks meanwhile where hints say.
    async fn wait(&mut self) {
        let poll = self.app.ports.clock.sleep(self.config.poll);
        tokio::pin!(poll);
        loop {
            let first = tokio::select! {
                () = &mut poll => return,
                Some(hint) = self.hints.recv() => hint,
            };
            let mut hints = HashSet::from([first]);
            hints.extend(std::iter::from_fn(|| self.hints.try_recv().ok()));
            if self.look_at(&hints).await.is_err() {
                // The poll says so, once.
                poll.await;
                return;
            }
        }
    }

    async fn look_at(&self, hints: &HashSet<Hint>) -> Result<(), StoreError> {
        let own = self.app.live.parts();
        let mut has_grown = false;
        for hint in hints {
            match hint {
                Hint::Work(part) => has_grown |= own.contains(part),
                Hint::Later(part) if own.contains(part) => self.send(Input::LaterSeen(*part)),
                Hint::Later(_) => {}
                Hint::Definitions(tenant, version) => {
                    match self.app.catalogue.catch_up(*tenant, *version).await {
                        // That tenant waits for a newer program, and nobody else does.
                        Ok(()) | Err(StoreError::Newer { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                Hint::Cancels => self.look_for_cancels().await?,
                Hint::ApiKeys => self.app.api_keys.doubt(),
                Hint::Why(execution) => questions::answer(&self.app, *execution).await,
                Hint::Because(execution, waiting) => {
                    self.app.questions.answered(*execution, waiting);
                }
                Hint::Runs(part) if own.contains(part) => self.app.runs_told.notify_one(),
                Hint::Runs(_) => {}
            }
        }
        if has_grown { self.look_for_work().await } else { Ok(()) }
    }

    async fn look(&self) -> Result<(), StoreError> {
        // Work goes on with the definitions that are here.
        let refreshed = self.app.catalogue.refresh_all().await;
        self.look_for_work().await?;
        self.look_for_cancels().await?;
        refreshed
    }

    async fn look_for_work(&self) -> Result<(), StoreError> {
        let own = self.app.live.parts();
        for (part, tail) in self.app.ports.store.tails().await? {
            if own.contains(&part) {
                self.send(Input::TailSeen { part, tail });
            }
        }
        Ok(())
    }

    async fn look_for_cancels(&self) -> Result<(), StoreError> {
        for cancel in self.app.ports.store.cancels().await? {
            self.send(Input::from(&cancel));
        }
        Ok(())
    }

    async fn record(&self) -> Result<(), StoreError> {
        let lows = self.status.borrow().lows.clone();
        self.app.ports.leases.note_low(self.node, &lows).await
    }

    fn send(&self, input: Input) {
        // The session ends with its scheduler.
        let _ = self.scheduler.send(Message::Input(Box::new(input)));
    }
}
