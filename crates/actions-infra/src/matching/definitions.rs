//! A tenant's actions and subscriptions, compiled, with their index.

use std::collections::HashMap;

use actions_domain::action::Action;
use actions_domain::id::{ActionId, SubscriptionId};
use actions_domain::matching::condition::{Condition, Path};
use actions_domain::matching::way::{Target, Way};
use actions_domain::ports::definitions::Changes;
use actions_domain::subscription::Subscription;

use super::cel::Cel;
use super::compiler::{Compiled, Compiler};
use super::index::{Anchor, Index, Place, WayId};
use super::regex::TextRegex;

pub(super) type CompiledWay = Way<TextRegex, Cel>;
pub(super) type CompiledTarget = Target<TextRegex, Cel>;

#[derive(Default)]
pub(super) struct Definitions {
    ways: Vec<Option<Entry>>,
    /// Numbers of ways that were removed.
    free: Vec<WayId>,
    targets: HashMap<ActionId, Ways>,
    subscriptions: HashMap<SubscriptionId, WayId>,
    index: Index,
}

struct Entry {
    way: CompiledWay,
    place: Place,
}

/// An action with the ways that lead to it. Ways may come before their action does.
#[derive(Default)]
struct Ways {
    target: Option<CompiledTarget>,
    own: Vec<WayId>,
    subscribed: Vec<WayId>,
}

/// An anchor before it is hashed.
type Anchored = Vec<(Path, Vec<serde_json::Value>)>;

/// A condition with more places to look up gains nothing from the others.
const ANCHORS_MAX: usize = 8;

impl Definitions {
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// A way and the action that it leads to. `None` when the action is gone.
    pub(super) fn way(&self, id: WayId) -> Option<(&CompiledWay, &CompiledTarget)> {
        let way = &self.ways.get(id.0 as usize)?.as_ref()?.way;
        let target = self.targets.get(&way.action)?.target.as_ref()?;
        Some((way, target))
    }

    /// All ways that lead to an action.
    pub(super) fn ways(&self) -> impl Iterator<Item = (WayId, &CompiledWay, &CompiledTarget)> {
        (0..self.ways.len()).filter_map(|at| {
            let id = WayId(u32::try_from(at).ok()?);
            self.way(id).map(|(way, target)| (id, way, target))
        })
    }

    pub(super) fn apply(&mut self, changes: &Changes, compiler: &Compiler) {
        let of_actions = changes.actions.iter().map(|action| &action.spec.conditions);
        let of_subscriptions = changes.subscriptions.iter().map(|s| &s.spec.conditions);
        let conditions: Vec<&Condition> = of_actions.chain(of_subscriptions).collect();
        let mut compiled = compiler.compile_all(&conditions).into_iter();
        for (action, condition) in changes.actions.iter().zip(compiled.by_ref()) {
            self.apply_action(action, condition);
        }
        for (subscription, condition) in changes.subscriptions.iter().zip(compiled) {
            self.apply_subscription(subscription, condition);
        }
        self.index.compile();
    }

    fn apply_action(&mut self, action: &Action, condition: Compiled) {
        let ways = self.targets.entry(action.id).or_default();
        let target = ways.target.as_ref();
        let anchors_before =
            target.map_or_else(Anchored::new, |target| owned_anchors(&target.condition));
        let anchors_now = if action.deleted { Anchored::new() } else { owned_anchors(&condition) };
        for way in std::mem::take(&mut ways.own) {
            self.remove(way);
        }
        if action.deleted {
            self.set_target(action.id, None);
        } else {
            self.set_target(action.id, Some(Target::new(action, condition)));
            for pattern in &action.spec.event_patterns {
                let way = self.insert(Way::of_action(action, pattern));
                self.targets.entry(action.id).or_default().own.push(way);
            }
        }
        if anchors_before != anchors_now {
            self.move_subscribed(action.id);
        }
    }

    fn set_target(&mut self, action: ActionId, target: Option<CompiledTarget>) {
        let ways = self.targets.entry(action).or_default();
        ways.target = target;
        self.forget_if_unused(action);
    }

    fn forget_if_unused(&mut self, action: ActionId) {
        let is_unused = |ways: &Ways| ways.target.is_none() && ways.subscribed.is_empty();
        if self.targets.get(&action).is_some_and(is_unused) {
            self.targets.remove(&action);
        }
    }

    /// Finds new places for subscriptions, because the action's condition, which holds for them
    /// too, asks for other values now.
    fn move_subscribed(&mut self, action: ActionId) {
        let Some(ways) = self.targets.get(&action) else {
            return;
        };
        for id in ways.subscribed.clone() {
            if let Some(entry) = self.ways.get_mut(id.0 as usize).and_then(Option::take) {
                self.index.remove(&entry.way.pattern, id, &entry.place);
                self.put(id, entry.way);
            }
        }
    }

    fn apply_subscription(&mut self, subscription: &Subscription, condition: Compiled) {
        if let Some(id) = self.subscriptions.remove(&subscription.id)
            && let Some(way) = self.remove(id)
        {
            if let Some(ways) = self.targets.get_mut(&way.action) {
                ways.subscribed.retain(|other| *other != id);
            }
            self.forget_if_unused(way.action);
        }
        if subscription.deleted {
            return;
        }
        let id = self.insert(Way::of_subscription(subscription, condition));
        self.subscriptions.insert(subscription.id, id);
        self.targets.entry(subscription.action).or_default().subscribed.push(id);
    }

    fn insert(&mut self, way: CompiledWay) -> WayId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.ways.push(None);
            WayId(u32::try_from(self.ways.len() - 1).unwrap_or(u32::MAX))
        });
        self.put(id, way);
        id
    }

    fn put(&mut self, id: WayId, way: CompiledWay) {
        let anchors = self.anchors(&way);
        let place = self.index.insert(&way.pattern, id, anchors);
        if let Some(entry) = self.ways.get_mut(id.0 as usize) {
            *entry = Some(Entry { way, place });
        }
    }

    fn remove(&mut self, id: WayId) -> Option<CompiledWay> {
        let entry = self.ways.get_mut(id.0 as usize)?.take()?;
        self.index.remove(&entry.way.pattern, id, &entry.place);
        self.free.push(id);
        Some(entry.way)
    }

    /// The values that the way's condition and the action's ask for.
    fn anchors(&self, way: &CompiledWay) -> Vec<Anchor> {
        let target = self.targets.get(&way.action).and_then(|ways| ways.target.as_ref());
        let all = way.condition.anchors().into_iter();
        let all = all.chain(target.into_iter().flat_map(|target| target.condition.anchors()));
        all.take(ANCHORS_MAX)
            .filter_map(|(path, values)| {
                let hashes: Option<Box<[u64]>> =
                    values.into_iter().map(|value| self.index.hash(value)).collect();
                Some((path.clone(), hashes?))
            })
            .collect()
    }
}

fn owned_anchors(condition: &Compiled) -> Anchored {
    let anchors = condition.anchors().into_iter();
    anchors.map(|(path, values)| (path.clone(), values.into_iter().cloned().collect())).collect()
}
