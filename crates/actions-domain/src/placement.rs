//! Which node should own what, and who is to be declared dead.

use std::collections::BTreeMap;

use crate::id::NodeId;
use crate::ports::leases::Peer;

/// Good beats of its own that a judge makes before it declares a silent peer dead.
pub const SILENT_BEATS_MAX: u32 = 3;

/// Judges peers by their beats, without a clock.
///
/// A peer is dead when this node has made three good beats in which the peer made none. While
/// the store is away nobody makes good beats, so after an outage nobody is robbed.
#[derive(Debug, Clone, Default)]
pub struct Judge {
    seen: BTreeMap<NodeId, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    beats: i64,
    silent_for: u32,
}

impl Judge {
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
            if seen.silent_for >= SILENT_BEATS_MAX {
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

/// How many more partitions a node should claim to own its share of them.
pub fn share_missing(part_count: u16, own_count: usize, living: usize) -> u16 {
    let share = usize::from(part_count).div_ceil(living.max(1));
    u16::try_from(share.saturating_sub(own_count)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Judge, share_missing};
    use crate::id::NodeId;
    use crate::ports::leases::Peer;

    fn peer(beats: i64) -> Vec<Peer> {
        let name = "other".to_owned();
        vec![Peer { node: NodeId(2), name, beats, alive: true, parts: Vec::new() }]
    }

    #[test]
    fn a_peer_is_dead_after_three_beats_of_ours_without_one_of_its_own() {
        let mut judge = Judge::default();
        let verdicts: Vec<_> =
            [7, 7, 7, 8, 8, 8].map(|beats| judge.observe(NodeId(1), &peer(beats)).len()).into();
        assert_eq!(verdicts, [0, 0, 0, 0, 0, 0]);
        // The fourth observation of the same number is the third silent beat.
        assert_eq!(judge.observe(NodeId(1), &peer(8)), [NodeId(2)]);
    }

    #[test]
    fn doubt_starts_the_count_again() {
        let mut judge = Judge::default();
        for _ in 0..4 {
            judge.observe(NodeId(1), &peer(7));
            judge.doubt();
        }
        assert!(judge.observe(NodeId(1), &peer(7)).is_empty());
    }

    #[test]
    fn shares_add_up_to_all_partitions() {
        assert_eq!(share_missing(16, 0, 3), 6);
        assert_eq!(share_missing(16, 6, 3), 0);
        assert_eq!(share_missing(4, 0, 1), 4);
    }
}
