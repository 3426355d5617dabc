//! Asks the store for this node's shares of limits and for starts from the ledger of rates.

use std::collections::BTreeMap;

use actions_domain::dispatch::Input;
use actions_domain::id::NodeId;
use actions_domain::ports::store::StoreError;
use actions_domain::throttle::{Draw, ShareAsk};
use tokio::sync::mpsc;

use super::live::Message;
use super::writer::Lost;
use crate::app::App;
use crate::patience::patiently;

/// Limits of one question: PostgreSQL holds a lock for each until it has answered.
const SCOPES_AT_ONCE: usize = 256;

/// What the scheduler needs.
#[derive(Debug)]
pub(crate) enum Need {
    Shares(Vec<ShareAsk>),
    Starts(Vec<Draw>),
}

pub(crate) struct PermitKeeper {
    pub(crate) app: App,
    pub(crate) node: NodeId,
    pub(crate) scheduler: mpsc::UnboundedSender<Message>,
}

impl PermitKeeper {
    pub(crate) async fn run(self, mut needs: mpsc::UnboundedReceiver<Need>) -> Lost {
        while let Some(need) = needs.recv().await {
            // What has gathered meanwhile goes along: one question for many limits.
            let (mut asks, mut draws) = (BTreeMap::new(), BTreeMap::new());
            let more = std::iter::from_fn(|| needs.try_recv().ok());
            for need in std::iter::once(need).chain(more) {
                match need {
                    Need::Shares(more) => asks.extend(more.into_iter().map(|ask| (ask.scope, ask))),
                    Need::Starts(more) => {
                        draws.extend(more.into_iter().map(|draw| (draw.scope, draw)));
                    }
                }
            }
            let asks: Vec<ShareAsk> = asks.into_values().collect();
            let draws: Vec<Draw> = draws.into_values().collect();
            if let Err(lost) = self.answer(&asks, &draws).await {
                return lost;
            }
        }
        Lost::LoopEnded
    }

    async fn answer(&self, asks: &[ShareAsk], draws: &[Draw]) -> Result<(), Lost> {
        let permits = &self.app.ports.permits;
        for asks in asks.chunks(SCOPES_AT_ONCE) {
            let shares = self.patiently(|| permits.exchange(self.node, asks)).await?;
            self.tell(Input::Shares(shares))?;
        }
        for draws in draws.chunks(SCOPES_AT_ONCE) {
            let drawn = self.patiently(|| permits.draw(draws)).await?;
            self.tell(Input::Drawn(drawn))?;
        }
        Ok(())
    }

    /// Asks until there is an answer. Both questions may be repeated: what a node keeps does not
    /// change meanwhile, and starts that were drawn in vain are only lost.
    async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Lost>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let is_final = |error: &StoreError| matches!(error, StoreError::Fenced { .. });
        patiently(&self.app.ports, "limits cannot be asked about yet", is_final, ask)
            .await
            .map_err(|_| Lost::DeclaredDead)
    }

    fn tell(&self, input: Input) -> Result<(), Lost> {
        let told = self.scheduler.send(Message::Input(Box::new(input)));
        told.map_err(|_| Lost::LoopEnded)
    }
}
