//! How a simulated node keeps its place among the others: beats, claims, and what it gives back.

use std::time::Duration;

use actions_domain::dispatch::{Input, recovery};
use actions_domain::id::NodeId;
use actions_domain::placement::{Balance, balance, share};
use actions_domain::ports::leases::{Lease, Leases, Peer, Vitals};
use actions_domain::ports::store::Store;
use actions_domain::work::{Commit, Fence, Item, Seq};

use super::dice::{Micros, instant};
use super::node::{Session, Word};
use super::workload::ONCE;
use super::world::{World, at_once};

const BEAT: Duration = Duration::from_secs(2);
/// A node that was not heard for so long starts nothing more. Others take its partitions later.
pub(super) const TRUSTED: Micros = 5_000_000;

impl Session {
    fn vitals(&self) -> Vitals {
        Vitals { is_draining: self.is_draining, ..Vitals::default() }
    }
}

impl World {
    pub(super) fn beat(&mut self, node: usize) {
        let session = self.nodes[node].session;
        let (now, is_down) = (self.now(), self.is_down());
        let is_mute = now < self.nodes[node].mute_until;
        let is_stubborn = self.nodes[node].is_stubborn;
        let Some(live) = &mut self.nodes[node].live else { return };
        let is_silent = now - live.heard_at >= TRUSTED;
        let has_work = !live.running.is_empty() || live.is_writing;
        live.is_doomed |= is_silent;
        if is_down || is_mute {
            live.judge.doubt();
            if is_silent && !is_stubborn {
                return self.end_session(node);
            }
        } else if let (Ok(peers), false) =
            (at_once(self.memory.beat(live.id, &live.vitals())), live.is_doomed)
        {
            live.heard_at = now;
            let dead = live.judge.observe(live.id, &peers);
            self.hold_share(node, &peers, &dead);
        } else if !(is_stubborn && has_work) {
            return self.end_session(node);
        } else {
            // A zombie: it goes on writing what it had begun.
            live.is_doomed = true;
        }
        // A claim that was cut short has ended the session, and the next one beats by itself.
        if self.nodes[node].session == session {
            self.tell(node, BEAT, Word::Beat);
        }
    }

    /// Takes what is missing of the node's share, or lets go of what others should have.
    fn hold_share(&mut self, node: usize, peers: &[Peer], dead: &[NodeId]) {
        let Some(live) = self.nodes[node].live.as_ref().filter(|live| !live.is_draining) else {
            return;
        };
        let is_sharing = |peer: &&Peer| peer.is_taking_part() && !dead.contains(&peer.node);
        let others = peers.iter().filter(is_sharing).map(|peer| peer.node);
        let missing = match balance(live.owned.len(), share(self.parts, live.id, others)) {
            Balance::Take(count) => count,
            Balance::Give(count) => {
                self.ledger.met.given_up += 1;
                self.step(node, Input::GiveUp(count));
                0
            }
            Balance::Keep => 0,
        };
        if missing > 0 || !dead.is_empty() {
            self.claim(node, dead, missing);
        }
    }

    /// Nothing runs in a partition that others should have.
    pub(super) fn give_back(&mut self, node: usize, fence: Fence, low: Seq) {
        if self.is_down() {
            return self.tell(node, Duration::from_millis(120), Word::GiveBack { fence, low });
        }
        let Some(live) = &mut self.nodes[node].live else { return };
        self.ledger.met.given_back += 1;
        at_once(self.memory.note_low(live.id, &[(fence, low)])).unwrap();
        at_once(self.memory.release(live.id, &[fence])).unwrap();
        live.owned.remove(&fence.part);
        self.step(node, Input::Lost(fence.part));
    }

    fn claim(&mut self, node: usize, dead: &[NodeId], most: u16) {
        let Some(live) = &self.nodes[node].live else { return };
        let id = live.id;
        let Ok(leases) = at_once(self.memory.claim(id, dead, most)) else { return };
        for lease in leases {
            let fence = Fence { part: lease.part, epoch: lease.epoch };
            self.owners.insert(lease.part, (id, fence));
            // A takeover can be cut short like everything else.
            if self.is_troubled() && self.dice.chance(5) {
                return self.crash(node);
            }
            if !self.take_over(id, lease, fence) {
                return self.end_session(node);
            }
            let Some(live) = &mut self.nodes[node].live else { return };
            live.owned.insert(lease.part, lease.epoch);
            self.step(node, Input::Claimed(lease));
        }
    }

    /// Carries over what was marked. False: somebody else was quicker, or the store is away.
    fn take_over(&mut self, id: NodeId, lease: Lease, fence: Fence) -> bool {
        if lease.clean {
            self.ledger.met.clean_claims += 1;
            return true;
        }
        self.ledger.met.unclean_claims += 1;
        let marked = at_once(self.memory.marked(lease.part)).unwrap();
        let is_once = |item: &Item| item.work.action == ONCE;
        let now = instant(self.now());
        let retries = recovery::carried(marked, lease, false, is_once, id, now);
        self.ledger.met.carried += u32::try_from(retries.len()).unwrap();
        let fences = vec![fence];
        self.commit(&Commit { node: Some(id), fences, retries, ..Commit::default() }).is_ok()
    }

    pub(super) fn look_for_free(&mut self, node: usize) {
        let Some(live) = self.nodes[node].live.as_ref().filter(|live| !live.is_doomed) else {
            return;
        };
        if at_once(self.memory.has_free()).unwrap() {
            let own = live.id;
            let mut peers = at_once(self.memory.nodes()).unwrap();
            peers.retain(|peer| peer.node != own);
            self.hold_share(node, &peers, &[]);
        }
    }
}
