//! Keeps the node's membership and its partitions: beats, judges silent peers, claims.

use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::dispatch::Input;
use actions_domain::dispatch::recovery;
use actions_domain::id::NodeId;
use actions_domain::placement::{Judge, share_missing};
use actions_domain::ports::leases::{Lease, Peer};
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Epoch, Fence, Part};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::NodeConfig;
use super::live::Message;
use super::writer::Lost;
use crate::app::App;

/// A node stops this much before its lease could be taken, by its own clock.
const MARGIN: Duration = Duration::from_secs(1);
/// Pauses between tries to take a partition over.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct LeaseKeeper {
    pub(crate) app: App,
    pub(crate) node: NodeId,
    pub(crate) config: NodeConfig,
    pub(crate) scheduler: mpsc::UnboundedSender<Message>,
    /// Whoever stops takes nothing up any more.
    pub(crate) stop: CancellationToken,
}

/// What a beat has shown of the others.
#[derive(Debug, Clone, Default)]
struct Sight {
    peers: Vec<Peer>,
    /// Peers that were silent for too long.
    dead: Vec<NodeId>,
}

impl LeaseKeeper {
    /// Beats, and takes up what is free beside it: a takeover that takes its time must not make
    /// this node silent.
    pub(crate) async fn run(self) -> Lost {
        let (sights, seen) = watch::channel(Sight::default());
        tokio::select! {
            lost = self.beat(sights) => lost,
            lost = self.claim(seen) => lost,
        }
    }

    async fn beat(&self, sights: watch::Sender<Sight>) -> Lost {
        let mut judge = Judge::default();
        let mut heard_at = self.app.ports.clock.now();
        loop {
            let asked_at = self.app.ports.clock.now();
            let answer = tokio::select! {
                answer = self.app.ports.leases.beat(self.node) => answer,
                () = self.app.ports.clock.sleep(self.time_left(heard_at)) => return Lost::Silent,
            };
            match answer {
                Ok(peers) => {
                    heard_at = asked_at;
                    let dead = judge.observe(self.node, &peers);
                    sights.send_replace(Sight { peers, dead });
                }
                Err(StoreError::Fenced { .. }) => return Lost::DeclaredDead,
                Err(error) => {
                    judge.doubt();
                    warn!(%error, "this node could not say that it is alive");
                }
            }
            let left = self.time_left(heard_at);
            if left.is_zero() {
                return Lost::Silent;
            }
            self.app.ports.clock.sleep(self.config.beat.min(left)).await;
        }
    }

    /// How long this node may still work without being heard.
    fn time_left(&self, heard_at: Timestamp) -> Duration {
        let silent_for = (self.app.ports.clock.now() - heard_at).to_std().unwrap_or_default();
        self.config.lease_ttl.saturating_sub(MARGIN).saturating_sub(silent_for)
    }

    async fn claim(&self, mut seen: watch::Receiver<Sight>) -> Lost {
        while seen.changed().await.is_ok() {
            let sight = seen.borrow_and_update().clone();
            match self.claim_share(&sight).await {
                Ok(()) => {}
                Err(StoreError::Fenced { .. }) => return Lost::DeclaredDead,
                // Nothing was claimed: the next beat tries again.
                Err(error @ StoreError::Unavailable { unknown: false, .. }) => {
                    warn!(%error, "no partition could be claimed");
                }
                // A partition that is owned but not worked on would be stuck for good: the next
                // session claims all of them again.
                Err(error) => return Lost::Store(error),
            }
        }
        Lost::LoopEnded
    }

    /// Claims this node's share of what is free, and starts to work on it.
    async fn claim_share(&self, Sight { peers, dead }: &Sight) -> Result<(), StoreError> {
        let living = peers.iter().filter(|peer| peer.alive && !dead.contains(&peer.node)).count();
        let own = self.app.live.parts();
        let missing = share_missing(self.app.live.part_count(), own.len(), living + 1);
        let is_missing =
            missing > 0 && something_is_free(peers, dead, self.app.live.part_count(), &own);
        // The dead are declared dead even where they own nothing: their shares of limits are
        // needed.
        if self.stop.is_cancelled() || !(is_missing || !dead.is_empty()) {
            return Ok(());
        }
        let leases = self.app.ports.leases.claim(self.node, dead, missing).await?;
        let unclean = leases.iter().filter(|lease| !lease.clean).count();
        for lease in &leases {
            self.take_over(*lease).await?;
        }
        if !leases.is_empty() {
            info!(partitions = leases.len(), unclean, "partitions claimed");
        }
        Ok(())
    }

    /// Starts to work on a partition, as soon as the store lets us. Its claim is committed, so
    /// what is listed now is true.
    async fn take_over(&self, lease: Lease) -> Result<(), StoreError> {
        let mut pause = PAUSE_MIN;
        // Done again from the start: whatever was carried over before is not marked any more.
        while let Err(error) = self.carry_over(lease).await {
            if !matches!(error, StoreError::Unavailable { .. }) {
                return Err(error);
            }
            warn!(part = lease.part.0, %error, "a partition cannot be taken over yet");
            self.app.ports.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        debug!(
            part = lease.part.0,
            epoch = lease.epoch.0,
            clean = lease.clean,
            "partition claimed"
        );
        self.app.live.own(Fence { part: lease.part, epoch: lease.epoch });
        // The session ends with its scheduler.
        let _ = self.scheduler.send(Message::Input(Box::new(Input::Claimed(lease))));
        Ok(())
    }

    /// Writes down what the former owner had started.
    async fn carry_over(&self, lease: Lease) -> Result<(), StoreError> {
        if lease.clean {
            return Ok(());
        }
        let marked = self.app.ports.store.marked(lease.part).await?;
        let former = Fence { part: lease.part, epoch: Epoch(lease.epoch.0 - 1) };
        let is_own = self.app.live.was_own(former);
        let now = self.app.ports.clock.now();
        let retries = recovery::carried(marked, lease, is_own, self.node, now);
        if retries.is_empty() {
            return Ok(());
        }
        let commit = Commit {
            node: Some(self.node),
            fences: vec![Fence { part: lease.part, epoch: lease.epoch }],
            retries,
            ..Commit::default()
        };
        self.app.ports.store.commit(commit).await.map(drop)
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
