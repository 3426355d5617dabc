//! Keeps the node's membership and its partitions: beats, judges silent peers, claims.

use std::time::Duration;

use actions_domain::dispatch::Input;
use actions_domain::dispatch::recovery;
use actions_domain::id::NodeId;
use actions_domain::placement::{Judge, share_missing};
use actions_domain::ports::leases::{Lease, Peer};
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Fence, Part};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::NodeConfig;
use super::live::Message;
use super::writer::Lost;
use crate::app::App;

/// A node stops this much before its lease could be taken, by its own clock.
const MARGIN: Duration = Duration::from_secs(1);

pub(crate) struct LeaseKeeper {
    pub(crate) app: App,
    pub(crate) node: NodeId,
    pub(crate) config: NodeConfig,
    pub(crate) scheduler: mpsc::UnboundedSender<Message>,
}

impl LeaseKeeper {
    pub(crate) async fn run(self) -> Lost {
        let mut judge = Judge::default();
        let mut heard_at = self.app.ports.clock.now();
        loop {
            let asked_at = self.app.ports.clock.now();
            match self.app.ports.leases.beat(self.node).await {
                Ok(peers) => {
                    heard_at = asked_at;
                    // A partition that is owned but not worked on would be stuck for good, also
                    // when only the answer to the claim was lost: the next session claims all of
                    // them again.
                    match self.claim(&mut judge, &peers).await {
                        Ok(()) => {}
                        Err(StoreError::Fenced { .. }) => return Lost::DeclaredDead,
                        Err(error) => return Lost::Store(error),
                    }
                }
                Err(StoreError::Fenced { .. }) => return Lost::DeclaredDead,
                Err(error) => {
                    judge.doubt();
                    warn!(%error, "this node could not say that it is alive");
                }
            }
            let silent_for = (self.app.ports.clock.now() - heard_at).to_std().unwrap_or_default();
            let limit = self.config.lease_ttl.saturating_sub(MARGIN);
            if silent_for >= limit {
                return Lost::Silent;
            }
            self.app.ports.clock.sleep(self.config.beat.min(limit - silent_for)).await;
        }
    }

    /// Claims this node's share of what is free, and starts to work on it.
    async fn claim(&self, judge: &mut Judge, peers: &[Peer]) -> Result<(), StoreError> {
        let dead = judge.observe(self.node, peers);
        let living = peers
            .iter()
            .filter(|peer| peer.alive && peer.node != self.node && !dead.contains(&peer.node))
            .count();
        let own = self.app.live.parts();
        let missing = share_missing(self.app.live.part_count(), own.len(), living + 1);
        if missing == 0 || !something_is_free(peers, &dead, self.app.live.part_count(), &own) {
            return Ok(());
        }
        for lease in self.app.ports.leases.claim(self.node, &dead, missing).await? {
            self.take_over(lease).await?;
        }
        Ok(())
    }

    /// Starts to work on a partition. Its claim is committed, so what is listed now is true.
    async fn take_over(&self, lease: Lease) -> Result<(), StoreError> {
        let fence = Fence { part: lease.part, epoch: lease.epoch };
        if !lease.clean {
            let marked = self.app.ports.store.marked(lease.part).await?;
            let retries = recovery::carried(marked, lease, self.node, self.app.ports.clock.now());
            if !retries.is_empty() {
                let commit = Commit {
                    node: Some(self.node),
                    fences: vec![fence],
                    retries,
                    ..Commit::default()
                };
                self.app.ports.store.commit(commit).await?;
            }
        }
        info!(part = lease.part.0, epoch = lease.epoch.0, clean = lease.clean, "partition claimed");
        self.app.live.own(fence);
        // The session ends with its scheduler.
        let _ = self.scheduler.send(Message::Input(Box::new(Input::Claimed(lease))));
        Ok(())
    }
}

/// Whether a claim could find anything: a partition that no living node owns.
fn something_is_free(peers: &[Peer], dead: &[NodeId], part_count: u16, own: &[Part]) -> bool {
    let owned_by_living = peers
        .iter()
        .filter(|peer| peer.alive && !dead.contains(&peer.node))
        .flat_map(|peer| &peer.parts)
        .chain(own)
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    owned_by_living < usize::from(part_count)
}
