//! Ownership of partitions, in memory: one lock stands for the locks on the rows.

use async_trait::async_trait;

use actions_domain::Timestamp;
use actions_domain::id::NodeId;
use actions_domain::ports::leases::{Lease, Leases, Peer, Vitals};
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Epoch, Fence, Part, Seq};

use super::{Memory, NodeRow, PartRow, Tables};

#[async_trait]
impl Leases for Memory {
    async fn part_count(&self) -> Result<u16, StoreError> {
        Ok(u16::try_from(self.tables().parts.len()).unwrap_or(u16::MAX))
    }

    async fn join(&self, name: &str) -> Result<NodeId, StoreError> {
        let mut tables = self.tables();
        for row in tables.nodes.values_mut().filter(|row| row.name == name) {
            row.alive = false;
        }
        let node = NodeId(tables.nodes.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        let (joined_at, vitals) = (self.clock.now(), Vitals::default());
        let name = name.to_owned();
        let row = NodeRow { name, beats: 0, alive: true, joined_at, seen_at: joined_at, vitals };
        tables.nodes.insert(node, row);
        Ok(node)
    }

    async fn beat(&self, node: NodeId, vitals: &Vitals) -> Result<Vec<Peer>, StoreError> {
        let mut tables = self.tables();
        tables.require_alive(node)?;
        let now = self.clock.now();
        if let Some(row) = tables.nodes.get_mut(&node) {
            row.beats += 1;
            row.seen_at = now;
            row.vitals = vitals.clone();
        }
        Ok(tables.nodes_but(Some(node), now))
    }

    async fn nodes(&self) -> Result<Vec<Peer>, StoreError> {
        Ok(self.tables().nodes_but(None, self.clock.now()))
    }

    async fn has_free(&self) -> Result<bool, StoreError> {
        let tables = self.tables();
        Ok(tables.parts.iter().any(|row| !tables.is_alive(row.owner)))
    }

    async fn claim(
        &self,
        node: NodeId,
        dead: &[NodeId],
        most: u16,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut tables = self.tables();
        tables.require_alive(node)?;
        for judged in dead.iter().filter(|judged| **judged != node) {
            if let Some(row) = tables.nodes.get_mut(judged) {
                row.alive = false;
            }
        }
        let free: Vec<Part> =
            tables.parts_where(|owner| !tables.is_alive(owner)).take(usize::from(most)).collect();
        Ok(free.into_iter().filter_map(|part| tables.take(part, node)).collect())
    }

    async fn release(&self, node: NodeId, fences: &[Fence]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for fence in fences {
            if let Some(row) = tables.held(node, *fence) {
                row.owner = None;
                row.clean = true;
            }
        }
        Ok(())
    }

    async fn note_low(&self, node: NodeId, lows: &[(Fence, Seq)]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for (fence, low) in lows {
            if let Some(row) = tables.held(node, *fence) {
                row.low = row.low.max((*low).min(row.tail));
            }
        }
        Ok(())
    }

    async fn leave(&self, node: NodeId) -> Result<(), StoreError> {
        if let Some(row) = self.tables().nodes.get_mut(&node) {
            row.alive = false;
        }
        Ok(())
    }
}

impl Tables {
    pub(super) fn is_alive(&self, owner: Option<NodeId>) -> bool {
        owner.and_then(|node| self.nodes.get(&node)).is_some_and(|row| row.alive)
    }

    pub(super) fn require_alive(&self, node: NodeId) -> Result<(), StoreError> {
        if self.is_alive(Some(node)) {
            return Ok(());
        }
        Err(StoreError::Fenced { lost: self.parts_where(|owner| owner == Some(node)).collect() })
    }

    fn parts_where(&self, matches: impl Fn(Option<NodeId>) -> bool) -> impl Iterator<Item = Part> {
        let numbered = (0..).map(Part).zip(&self.parts);
        numbered.filter(move |(_, row)| matches(row.owner)).map(|(part, _)| part)
    }

    /// Everybody who is alive, and the dead whose partitions nobody has taken yet.
    fn nodes_but(&self, without: Option<NodeId>, now: Timestamp) -> Vec<Peer> {
        let others = self.nodes.iter().filter(|(id, _)| Some(**id) != without);
        others
            .map(|(id, row)| Peer {
                node: *id,
                name: row.name.clone(),
                beats: row.beats,
                alive: row.alive,
                parts: self.parts_where(|owner| owner == Some(*id)).collect(),
                joined_at: row.joined_at,
                silent_for: (now - row.seen_at).to_std().unwrap_or_default(),
                vitals: row.vitals.clone(),
            })
            .filter(|peer| peer.alive || !peer.parts.is_empty())
            .collect()
    }

    fn held(&mut self, node: NodeId, fence: Fence) -> Option<&mut PartRow> {
        self.parts
            .get_mut(usize::from(fence.part.0))
            .filter(|row| row.owner == Some(node) && row.epoch == fence.epoch)
    }

    fn take(&mut self, part: Part, node: NodeId) -> Option<Lease> {
        let row = self.parts.get_mut(usize::from(part.0))?;
        let clean = row.clean;
        row.epoch = Epoch(row.epoch.0 + 1);
        row.owner = Some(node);
        row.clean = false;
        let (epoch, low, tail) = (row.epoch, row.low, row.tail);
        Some(Lease { part, epoch, clean, low, tail, next_fin: row.fin_max + 1 })
    }
}
