//! Asks the store for what nobody told: changed definitions, work that other nodes accepted, and
//! cancels. Hints make it quick, this makes it sure.

use std::collections::HashMap;
use std::time::Duration;

use actions_domain::dispatch::Input;
use actions_domain::id::{ActionId, NodeId, TenantId};
use actions_domain::ports::store::StoreError;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::NodeConfig;
use super::live::Message;
use super::scheduler::SchedulerStatus;
use super::writer::Lost;
use crate::app::App;

/// How often loading hints are written.
const RECORD_EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Watcher {
    pub(crate) app: App,
    pub(crate) node: NodeId,
    pub(crate) config: NodeConfig,
    pub(crate) scheduler: mpsc::UnboundedSender<Message>,
    pub(crate) status: watch::Receiver<SchedulerStatus>,
}

impl Watcher {
    pub(crate) async fn run(self) -> Lost {
        let mut limits = Limits::default();
        let mut recorded_at = self.app.ports.clock.now();
        let mut is_away = false;
        loop {
            let outcome = self.look(&mut limits).await;
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
            self.app.ports.clock.sleep(self.config.poll).await;
        }
    }

    async fn look(&self, limits: &mut Limits) -> Result<(), StoreError> {
        // Work goes on with the definitions that are here.
        let refreshed = self.app.catalogue.refresh_all().await;
        for input in limits.changes(&self.app) {
            self.send(input);
        }
        let own = self.app.live.parts();
        for (part, tail) in self.app.ports.store.tails().await? {
            if own.contains(&part) {
                self.send(Input::TailSeen { part, tail });
            }
        }
        for cancel in self.app.ports.store.cancels().await? {
            self.send(Input::Cancel(cancel.execution));
        }
        refreshed
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

/// The concurrency limits that the scheduler was told.
#[derive(Default)]
struct Limits {
    versions: HashMap<TenantId, i64>,
    told: HashMap<ActionId, Option<u32>>,
}

impl Limits {
    /// What the scheduler does not know yet.
    fn changes(&mut self, app: &App) -> Vec<Input> {
        let mut inputs = Vec::new();
        for known in app.catalogue.list() {
            let version = known.version();
            if self.versions.insert(known.tenant.id, version) == Some(version) {
                continue;
            }
            for action in known.actions() {
                let max = action.spec.max_concurrent_executions;
                let told = self.told.insert(action.id, max).flatten();
                if told != max {
                    inputs.push(Input::Limit { action: action.id, max });
                }
            }
        }
        inputs
    }
}
