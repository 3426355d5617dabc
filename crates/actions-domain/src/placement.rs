//! Which node should own what, and who is to be declared dead.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::NodeId;
use crate::ports::leases::Peer;

/// Good beats of its own that a judge makes at least before it declares a silent peer dead.
pub const SILENT_BEATS_MIN: u32 = 3;

/// How many good beats of its own a judge makes before it declares a silent peer dead: the peer
/// has stopped by then, because its own lease is over.
pub fn silent_beats(beat: Duration, lease_ttl: Duration) -> u32 {
    let beats = lease_ttl.as_nanos().div_ceil(beat.as_nanos().max(1));
    u32::try_from(beats).unwrap_or(u32::MAX).max(SILENT_BEATS_MIN)
}

/// Judges peers by their beats, without a clock.
///
/// A peer is dead when this node has made some good beats in which the peer made none. While the
/// store is away nobody makes good beats, so after an outage nobody is robbed.
#[derive(Debug, Clone)]
pub struct Judge {
    silent_beats_max: u32,
    seen: BTreeMap<NodeId, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    beats: i64,
    silent_for: u32,
}

impl Judge {
    pub fn new(silent_beats_max: u32) -> Self {
        Self { silent_beats_max, seen: BTreeMap::new() }
    }

    /// Takes what one good beat of our own has read, and answers who is dead.
    pub fn observe(&mut self, own: NodeId, peers: &[Peer]) -> Vec<NodeId> {
        let mut dead = Vec::new();
        self.seen.retain(|node, _| peers.iter().any(|peer| peer.alive && peer.node == *node));
        for peer in peers.iter().filter(|peer| peer.alive && peer.node != own) {
            let fresh = Seen { beats: peer.beats, silent_for: 0 };
            let silent_for = match self.seen.get(&peer.node) {
                Some(seen) if seen.beats == peer.beats => seen.silent_for + 1,
                Some(_) | None => 0,
            };
            let seen = Seen { silent_for, ..fresh };
            self.seen.insert(peer.node, seen);
            if seen.silent_for >= self.silent_beats_max {
                dead.push(peer.node);
            }
        }
        dead
    }

    /// Forgets what was seen, after a beat of our own failed: silence may have been ours.
    pub fn doubt(&mut self) {
        self.seen.clear();
    }
}

/// How many partitions this node should own, among those that take part: all get the same, and
/// what cannot be divided goes to the oldest.
pub fn share(part_count: u16, own: NodeId, others: impl Iterator<Item = NodeId>) -> usize {
    let (mut count, mut older) = (1, 0);
    for other in others.filter(|other| *other != own) {
        count += 1;
        older += usize::from(other < own);
    }
    let part_count = usize::from(part_count);
    part_count / count + usize::from(older < part_count % count)
}

/// What a node should do about the partitions that it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// It may take so many of those that nobody owns.
    Take(u16),
    /// Others should have so many of its own.
    Give(usize),
    Keep,
}

/// Compares what a node owns with its share.
pub fn balance(own_count: usize, share: usize) -> Balance {
    if own_count > share {
        return Balance::Give(own_count - share);
    }
    match u16::try_from(share - own_count).unwrap_or(u16::MAX) {
        0 => Balance::Keep,
        missing => Balance::Take(missing),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Balance, Judge, SILENT_BEATS_MIN, balance, share, silent_beats};
    use crate::Timestamp;
    use crate::id::NodeId;
    use crate::ports::leases::{Peer, Vitals};

    fn peer(beats: i64) -> Vec<Peer> {
        vec![Peer {
            node: NodeId(2),
            name: "other".to_owned(),
            beats,
            alive: true,
            parts: Vec::new(),
            joined_at: Timestamp::UNIX_EPOCH,
            silent_for: Duration::ZERO,
            vitals: Vitals::default(),
        }]
    }

    #[test]
    fn a_peer_is_dead_after_three_beats_of_ours_without_one_of_its_own() {
        let mut judge = Judge::new(SILENT_BEATS_MIN);
        let verdicts: Vec<_> =
            [7, 7, 7, 8, 8, 8].map(|beats| judge.observe(NodeId(1), &peer(beats)).len()).into();
        assert_eq!(verdicts, [0, 0, 0, 0, 0, 0]);
        // The fourth observation of the same number is the third silent beat.
        assert_eq!(judge.observe(NodeId(1), &peer(8)), [NodeId(2)]);
    }

    #[test]
    fn doubt_starts_the_count_again() {
        let mut judge = Judge::new(SILENT_BEATS_MIN);
        for _ in 0..4 {
            judge.observe(NodeId(1), &peer(7));
            judge.doubt();
        }
        assert!(judge.observe(NodeId(1), &peer(7)).is_empty());
    }

    #[test]
    fn a_peer_is_not_dead_before_its_own_lease_is_over() {
        let seconds = Duration::from_secs;
        assert_eq!(silent_beats(seconds(2), seconds(6)), 3);
        assert_eq!(silent_beats(seconds(2), seconds(15)), 8);
        assert_eq!(silent_beats(seconds(2), seconds(4)), SILENT_BEATS_MIN);
    }

    #[test]
    fn shares_add_up_to_all_partitions() {
        for count in 1..20 {
            let nodes: Vec<NodeId> = (1..=count).map(NodeId).collect();
            let shares = nodes.iter().map(|own| share(16, *own, nodes.iter().copied()));
            let shares: Vec<usize> = shares.collect();
            assert_eq!(shares.iter().sum::<usize>(), 16, "{shares:?}");
            assert!(shares[0] - shares[shares.len() - 1] <= 1, "{shares:?}");
        }
    }

    #[test]
    fn a_node_takes_or_gives_what_differs_from_its_share() {
        assert_eq!(balance(0, 6), Balance::Take(6));
        assert_eq!(balance(6, 6), Balance::Keep);
        assert_eq!(balance(16, 6), Balance::Give(10));
    }
}
