//! Whose turn it is: a ring of tenants, and lanes inside each.
//!
//! Each tenant with something ready gets as many starts per round as its weight: deficit round
//! robin with a cost of one. Inside a tenant the most urgent lane goes first, but an item
//! rises by one lane for each [`Settings::ageing`](super::Settings::ageing) that it has waited.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::entries::Slot;
use crate::Timestamp;
use crate::execution::Priority;
use crate::id::TenantId;

/// Where an item stands in its tenant's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) tenant: TenantId,
    pub(super) lane: Priority,
    pub(super) since: Timestamp,
    pub(super) serial: u64,
}

/// What is ready to start.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    tenants: HashMap<TenantId, Lanes>,
    /// Every tenant of `tenants` that is not shut, once.
    ring: VecDeque<TenantId>,
    /// Tenants of `tenants` that get no turn.
    shut: HashSet<TenantId>,
    /// Of tenants that get more than one turn in a round.
    weights: HashMap<TenantId, u32>,
}

#[derive(Debug, Default)]
struct Lanes {
    /// Turns that were used in this round.
    used: u32,
    lanes: [BTreeMap<(Timestamp, u64), Slot>; Priority::ALL.len()],
}

impl FairQueue {
    pub(super) fn push(&mut self, ticket: Ticket, slot: Slot) {
        let ring = &mut self.ring;
        let lanes = self.tenants.entry(ticket.tenant).or_insert_with(|| {
            ring.push_back(ticket.tenant);
            Lanes::default()
        });
        lanes.lanes[rank(ticket.lane)].insert((ticket.since, ticket.serial), slot);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        let Some(lanes) = self.tenants.get_mut(&ticket.tenant) else { return };
        lanes.lanes[rank(ticket.lane)].remove(&(ticket.since, ticket.serial));
        if lanes.is_empty() {
            self.tenants.remove(&ticket.tenant);
            if !self.shut.remove(&ticket.tenant) {
                self.ring.retain(|tenant| *tenant != ticket.tenant);
            }
        }
    }

    /// Gives a tenant no turn until it is opened again.
    pub(super) fn shut(&mut self, tenant: TenantId) {
        if self.tenants.contains_key(&tenant) && self.shut.insert(tenant) {
            self.ring.retain(|other| *other != tenant);
        }
    }

    pub(super) fn open(&mut self, tenant: TenantId) {
        if self.shut.remove(&tenant) {
            self.ring.push_back(tenant);
        }
    }

    /// What a tenant has ready.
    pub(super) fn len_of(&self, tenant: TenantId) -> usize {
        self.tenants.get(&tenant).map_or(0, |lanes| lanes.lanes.iter().map(BTreeMap::len).sum())
    }

    /// How many turns a tenant gets in a round.
    pub(super) fn set_weight(&mut self, tenant: TenantId, weight: u32) {
        if weight <= 1 {
            self.weights.remove(&tenant);
        } else {
            self.weights.insert(tenant, weight);
        }
    }

    /// Takes the next item: of the first tenant in the ring that holds less than its share, or
    /// of the first at all when everybody who waits holds that much.
    pub(super) fn pop(
        &mut self,
        now: Timestamp,
        ageing: Duration,
        is_over_share: impl Fn(TenantId) -> bool,
    ) -> Option<Slot> {
        let at = self.ring.iter().position(|tenant| !is_over_share(*tenant)).unwrap_or(0);
        let tenant = *self.ring.get(at)?;
        let lanes = self.tenants.get_mut(&tenant)?;
        let slot = lanes.pop(now, ageing);
        lanes.used += 1;
        let is_round_over = lanes.used >= self.weights.get(&tenant).copied().unwrap_or(1);
        if lanes.is_empty() {
            self.ring.remove(at);
            self.tenants.remove(&tenant);
        } else if is_round_over {
            lanes.used = 0;
            self.ring.remove(at);
            self.ring.push_back(tenant);
        }
        slot
    }
}

impl Lanes {
    fn is_empty(&self) -> bool {
        self.lanes.iter().all(BTreeMap::is_empty)
    }

    /// The oldest of each lane stands for it. Between equals the one that has waited longest.
    fn pop(&mut self, now: Timestamp, ageing: Duration) -> Option<Slot> {
        let heads = self.lanes.iter().enumerate().filter_map(|(lane, items)| {
            let (since, serial) = *items.keys().next()?;
            let risen = lane + steps(now, since, ageing);
            Some((risen.min(Priority::ALL.len() - 1), std::cmp::Reverse((since, serial)), lane))
        });
        let (_, _, lane) = heads.max()?;
        self.lanes[lane].pop_first().map(|(_, slot)| slot)
    }
}

fn rank(lane: Priority) -> usize {
    usize::from(lane.rank())
}

/// How many lanes an item has risen.
fn steps(now: Timestamp, since: Timestamp, ageing: Duration) -> usize {
    let waited = (now - since).to_std().map_or(0, |waited| waited.as_micros());
    usize::try_from(waited / ageing.as_micros().max(1))
        .unwrap_or(usize::MAX)
        .min(Priority::ALL.len())
}

#[cfg(test)]
mod tests;
