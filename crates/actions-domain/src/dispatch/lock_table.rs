//! Who may work on which key, in order: first in, first out per key, by place in the partition.
//!
//! Keys are hierarchical, broad to narrow. Two keys are *related* when they are equal or one is
//! an ancestor of the other. What excludes what:
//!
//! * two reads never;
//! * a mutate and anything else when their keys are related: who changes `order:9` is alone
//!   with everything below it, and who changes `order:9:line:1` with `order:9` as a whole;
//! * a read and a create when the read is of the new thing or of something below it. Reading
//!   the parent, beside creations under it, is fine;
//! * two creates when they have one parent, or related keys: nobody creates below something that
//!   is being created. A key of two tokens has no parent here, because keys with different roots
//!   may live in different partitions.
//!
//! A request waits for holders that exclude it *and* for earlier requests that do: a waiting
//! mutate is not overtaken by later readers. All keys that can exclude one another share a
//! root, so the table is kept per root; the requests of one root are grouped by key and mode,
//! and only the first of each group is ever looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::entries::Slot;
use crate::id::{ExecutionId, TenantId};
use crate::work::{Key, KeyMode, Seq};

/// A request's place in the order of its partition. Delayed items may share a number with an
/// entry of the log, so the id decides between them.
pub(super) type Place = (Seq, ExecutionId);

/// The keys of one partition that are held or waited for.
#[derive(Debug, Default)]
pub(super) struct LockTable {
    /// By hash of tenant and root. Two roots with one hash are merely looked at together.
    roots: HashMap<u64, Root>,
}

#[derive(Debug, Default)]
struct Root {
    held: BTreeMap<Class, BTreeSet<Place>>,
    waiting: BTreeMap<Class, BTreeMap<Place, Slot>>,
}

/// All requests that are alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    tenant: TenantId,
    name: Arc<str>,
    /// [`KeyMode`] has no order of its own.
    mode: u8,
}

/// Names a tenant's root for as long as this process lives.
pub(super) fn root_hash(tenant: TenantId, key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tenant, key.root()).hash(&mut hasher);
    hasher.finish()
}

impl LockTable {
    /// Asks for a key. `true`: it is held now. `false`: a release will hand out `slot`.
    pub(super) fn request(
        &mut self,
        tenant: TenantId,
        key: &Key,
        place: Place,
        slot: Slot,
    ) -> bool {
        let class = Class::of(tenant, key);
        let root = self.roots.entry(root_hash(tenant, key)).or_default();
        let is_free = root.blocker(&class, place).is_none();
        if is_free {
            root.held.entry(class).or_default().insert(place);
        } else {
            root.waiting.entry(class).or_default().insert(place, slot);
        }
        is_free
    }

    /// Takes a key that this item held already, before the partition came here.
    pub(super) fn hold(&mut self, tenant: TenantId, key: &Key, place: Place) {
        let root = self.roots.entry(root_hash(tenant, key)).or_default();
        root.held.entry(Class::of(tenant, key)).or_default().insert(place);
    }

    /// Gives a key back, or gives up waiting for it. Answers who holds one now.
    pub(super) fn release(&mut self, tenant: TenantId, key: &Key, place: Place) -> Vec<Slot> {
        let hash = root_hash(tenant, key);
        let Some(root) = self.roots.get_mut(&hash) else { return Vec::new() };
        root.forget(&Class::of(tenant, key), place);
        let granted = root.grant();
        if root.held.is_empty() && root.waiting.is_empty() {
            self.roots.remove(&hash);
        }
        granted
    }

    /// The execution that a waiting one is behind: a holder, or an earlier request.
    pub(super) fn blocker(&self, tenant: TenantId, key: &Key, place: Place) -> Option<ExecutionId> {
        let root = self.roots.get(&root_hash(tenant, key))?;
        root.blocker(&Class::of(tenant, key), place)
    }
}

impl Root {
    fn blocker(&self, class: &Class, place: Place) -> Option<ExecutionId> {
        let holders = (self.held.iter())
            .filter(|(held, _)| excludes(class, held))
            .filter_map(|(_, places)| places.first());
        let earlier = (self.waiting.iter())
            .filter(|(waiting, _)| excludes(class, waiting))
            .filter_map(|(_, places)| places.keys().next())
            .filter(|first| **first < place);
        holders.chain(earlier).next().map(|(_, id)| *id)
    }

    fn forget(&mut self, class: &Class, place: Place) {
        if let Some(places) = self.held.get_mut(class) {
            places.remove(&place);
            if places.is_empty() {
                self.held.remove(class);
            }
        }
        if let Some(places) = self.waiting.get_mut(class) {
            places.remove(&place);
            if places.is_empty() {
                self.waiting.remove(class);
            }
        }
    }

    /// Goes through the first of each group in order. Whoever cannot pass blocks those behind.
    fn grant(&mut self) -> Vec<Slot> {
        let first_of = |(class, places): (&Class, &BTreeMap<Place, Slot>)| {
            places.keys().next().map(|place| (*place, class.clone()))
        };
        let mut firsts: BTreeMap<Place, Class> = self.waiting.iter().filter_map(first_of).collect();
        let mut blocked: Vec<Class> = Vec::new();
        let mut granted = Vec::new();
        while let Some((place, class)) = firsts.pop_first() {
            if self.held.keys().chain(&blocked).any(|other| excludes(&class, other)) {
                blocked.push(class);
                continue;
            }
            let Some(places) = self.waiting.get_mut(&class) else { continue };
            granted.extend(places.remove(&place));
            match places.keys().next() {
                Some(next) => drop(firsts.insert(*next, class.clone())),
                None => drop(self.waiting.remove(&class)),
            }
            self.held.entry(class).or_default().insert(place);
        }
        granted
    }
}

impl Class {
    fn of(tenant: TenantId, key: &Key) -> Self {
        Self { tenant, name: Arc::clone(&key.name), mode: key.mode as u8 }
    }
}

const READ: u8 = KeyMode::Read as u8;
const CREATE: u8 = KeyMode::Create as u8;

/// Whether two requests may not be served at once. Symmetric.
fn excludes(one: &Class, other: &Class) -> bool {
    if one.tenant != other.tenant {
        return false;
    }
    let (one_name, other_name) = (&*one.name, &*other.name);
    match (one.mode, other.mode) {
        (READ, READ) => false,
        (READ, CREATE) => is_within(one_name, other_name),
        (CREATE, READ) => is_within(other_name, one_name),
        (CREATE, CREATE) => {
            are_related(one_name, other_name)
                || parent(one_name).is_some_and(|name| parent(other_name) == Some(name))
        }
        _ => are_related(one_name, other_name),
    }
}

fn are_related(one: &str, other: &str) -> bool {
    is_within(one, other) || is_within(other, one)
}

/// Whether a name is the broader one or below it.
fn is_within(name: &str, broader: &str) -> bool {
    name.strip_prefix(broader).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// The name without its last token, when that still is a key.
fn parent(name: &str) -> Option<&str> {
    name.rsplit_once(':').map(|(parent, _)| parent).filter(|parent| parent.contains(':'))
}

#[cfg(test)]
mod tests;
