//! Keeps the node's membership and its partitions: beats, judges silent peers, claims.

use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::dispatch::Input;
use actions_domain::dispatch::recovery;
use actions_domain::id::NodeId;
use actions_domain::placement::{Balance, Judge, balance, share, silent_beats};
use actions_domain::ports::leases::{Lease, Peer, Vitals};
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Epoch, Fence, Part, Seq};
use chrono::TimeDelta;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::NodeConfig;
use super::live::Message;
use super::scheduler::SchedulerStatus;
use super::writer::Lost;
use crate::app::App;
use crate::patience::patiently;

/// A node stops this much before its lease could be taken, by its own clock; half a beat at most.
const MARGIN_MAX: Duration = Duration::from_secs(1);

pub(crate) struct LeaseKeeper {
    pub(crate) app: App,
    pub(crate) node: NodeId,
    pub(crate) config: NodeConfig,
    pub(crate) scheduler: mpsc::UnboundedSender<Message>,
    pub(crate) status: watch::Receiver<SchedulerStatus>,
    /// Whoever stops takes nothing up any more.
    pub(crate) stop: CancellationToken,
}

/// What is known of the others.
#[derive(Debug, Clone, Default)]
struct Sight {
    peers: Vec<Peer>,
    /// Peers that were silent for too long.
    dead: Vec<NodeId>,
}

impl LeaseKeeper {
    /// Beats, and takes up what is free beside it: a takeover that takes its time must not make
    /// this node silent. Partitions change hands in one place, so that one that was given back
    /// and is taken again is not forgotten afterwards.
    pub(crate) async fn run(self, given: mpsc::UnboundedReceiver<(Fence, Seq)>) -> Lost {
        let (sights, seen) = watch::channel(Sight::default());
        tokio::select! {
            lost = self.beat(&sights) => lost,
            lost = self.look(&sights) => lost,
            lost = self.tend(seen, given) => lost,
        }
    }

    async fn beat(&self, sights: &watch::Sender<Sight>) -> Lost {
        let mut judge = Judge::new(silent_beats(self.config.beat, self.config.lease_ttl));
        let mut heard_at = self.app.ports.clock.now();
        self.trust(heard_at);
        loop {
            let asked_at = self.app.ports.clock.now();
            let vitals = self.vitals();
            let answer = tokio::select! {
                answer = self.app.ports.leases.beat(self.node, &vitals) => answer,
                () = self.app.ports.clock.sleep(self.time_left(heard_at)) => return Lost::Silent,
            };
            match answer {
                Ok(peers) => {
                    heard_at = asked_at;
                    self.trust(heard_at);
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
            tokio::select! {
                () = self.app.ports.clock.sleep(self.config.beat.min(left)) => {}
                // The others share what this node gives back as soon as they know.
                () = self.stop.cancelled(), if !vitals.is_draining => {}
            }
        }
    }

    fn vitals(&self) -> Vitals {
        let status = self.status.borrow();
        Vitals {
            version: self.config.version.clone(),
            role: self.config.role.clone(),
            running: u32::try_from(status.running).unwrap_or(u32::MAX),
            waiting: u32::try_from(status.waiting).unwrap_or(u32::MAX),
            is_draining: self.stop.is_cancelled(),
        }
    }

    /// How long this node may work after it was heard.
    fn trusted_for(&self) -> Duration {
        self.config.lease_ttl.saturating_sub(MARGIN_MAX.min(self.config.beat / 2))
    }

    fn trust(&self, heard_at: Timestamp) {
        let trusted_for = TimeDelta::from_std(self.trusted_for()).unwrap_or(TimeDelta::MAX);
        self.app.live.trust(heard_at + trusted_for);
    }

    /// How long this node may still work without being heard.
    fn time_left(&self, heard_at: Timestamp) -> Duration {
        let silent_for = (self.app.ports.clock.now() - heard_at).to_std().unwrap_or_default();
        self.trusted_for().saturating_sub(silent_for)
    }

    /// Looks for partitions that were given back, more often than it beats. Nobody is judged by
    /// what it sees.
    async fn look(&self, sights: &watch::Sender<Sight>) -> Lost {
        loop {
            self.app.ports.clock.sleep(self.config.poll).await;
            // An outage shows with the next beat.
            if let Ok(true) = self.app.ports.leases.has_free().await
                && let Ok(mut peers) = self.app.ports.leases.nodes().await
            {
                peers.retain(|peer| peer.node != self.node);
                sights.send_replace(Sight { peers, dead: Vec::new() });
            }
        }
    }

    async fn tend(
        &self,
        mut seen: watch::Receiver<Sight>,
        mut given: mpsc::UnboundedReceiver<(Fence, Seq)>,
    ) -> Lost {
        loop {
            tokio::select! {
                seen_again = seen.changed() => {
                    if seen_again.is_err() {
                        return Lost::LoopEnded;
                    }
                    let sight = seen.borrow_and_update().clone();
                    match self.hold_share(&sight).await {
                        Ok(()) => {}
                        Err(StoreError::Fenced { .. }) => return Lost::DeclaredDead,
                        // Nothing was claimed: the next beat tries again.
                        Err(error @ StoreError::Unavailable { unknown: false, .. }) => {
                            warn!(%error, "no partition could be claimed");
                        }
                        // A partition that is owned but not worked on would be stuck for good:
                        // the next session claims all of them again.
                        Err(error) => return Lost::Store(error),
                    }
                }
                gift = given.recv() => {
                    let Some(gift) = gift else { return Lost::LoopEnded };
                    let more = std::iter::from_fn(|| given.try_recv().ok());
                    self.give_back(std::iter::once(gift).chain(more).collect()).await;
                }
            }
        }
    }

    /// Takes what is missing of this node's share from what is free, and starts to work on it;
    /// or lets go of what others should have.
    async fn hold_share(&self, Sight { peers, dead }: &Sight) -> Result<(), StoreError> {
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let is_sharing = |peer: &&Peer| peer.is_taking_part() && !dead.contains(&peer.node);
        let others = peers.iter().filter(is_sharing).map(|peer| peer.node);
        let part_count = self.app.live.part_count();
        let own = self.app.live.parts();
        let missing = match balance(own.len(), share(part_count, self.node, others)) {
            Balance::Take(count) if something_is_free(peers, dead, part_count, &own) => count,
            Balance::Give(count) => {
                // The session ends with its scheduler.
                let _ = self.scheduler.send(Message::Input(Box::new(Input::GiveUp(count))));
                0
            }
            Balance::Take(_) | Balance::Keep => 0,
        };
        // The dead are declared dead even where they own nothing: their shares of limits are
        // needed.
        if missing == 0 && dead.is_empty() {
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

    /// Releases partitions in which nothing runs any more, however long that takes: if this node
    /// dies before, they are taken over.
    async fn give_back(&self, gifts: Vec<(Fence, Seq)>) {
        let fences: Vec<Fence> = gifts.iter().map(|(fence, _)| *fence).collect();
        let leases = &self.app.ports.leases;
        let give = || async {
            leases.note_low(self.node, &gifts).await?;
            leases.release(self.node, &fences).await
        };
        let what = "partitions cannot be given back yet";
        let _ = patiently(&self.app.ports, what, |_| false, give).await;
        for fence in &fences {
            self.app.live.disown(fence.part);
            let _ = self.scheduler.send(Message::Input(Box::new(Input::Lost(fence.part))));
        }
        info!(partitions = fences.len(), "partitions given back");
    }

    /// Starts to work on a partition, as soon as the store lets us. Its claim is committed, so
    /// what is listed now is true.
    async fn take_over(&self, lease: Lease) -> Result<(), StoreError> {
        // Done again from the start: whatever was carried over before is not marked any more.
        let is_final = |error: &StoreError| !matches!(error, StoreError::Unavailable { .. });
        let what = "a partition cannot be taken over yet";
        patiently(&self.app.ports, what, is_final, || self.carry_over(lease)).await?;
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
