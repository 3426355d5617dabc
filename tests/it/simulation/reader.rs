//! What a simulated node reads and asks of the store, each answer a while after its question.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::{Effect, Input};
use actions_domain::ports::permits::Permits;
use actions_domain::ports::store::{DueQuery, Store};
use actions_domain::work::{Item, Work};

use super::faults::Planted;
use super::node::Word;
use super::world::{World, at_once};
use super::writer::Failure;

impl World {
    /// A reading has reached the store.
    pub(super) fn read(&mut self, node: usize, effect: Effect) {
        if self.is_down() {
            return self.tell(node, Duration::from_millis(120), Word::Read(effect));
        }
        let answer = match effect {
            Effect::Load { part, from, limit, skip } => {
                let mut window = at_once(self.memory.window(part, from, limit, &skip)).unwrap();
                if self.planted == Planted::DeafToSuperseding {
                    window.items.iter_mut().for_each(forget_superseding);
                }
                let tail = at_once(self.memory.tails()).unwrap()[usize::from(part.0)].1;
                let next = window.next.unwrap_or(from);
                self.ledger.met.refills += u32::from(next < tail);
                Input::Loaded { part, from, next, items: window.items, skipped: skip }
            }
            Effect::LoadDue { part, ahead, limit } => {
                let mut laters = at_once(self.memory.due(DueQuery { part, ahead, limit })).unwrap();
                if self.planted == Planted::DeafToSuperseding {
                    laters.iter_mut().for_each(|later| forget_superseding(&mut later.item));
                }
                let complete = laters.len() < usize::try_from(limit).unwrap();
                Input::Due { part, laters, complete }
            }
            Effect::Exchange(asks) => {
                let Some(id) = self.nodes[node].live.as_ref().map(|live| live.id) else { return };
                let Ok(shares) = at_once(self.memory.exchange(id, &asks)) else {
                    return self.tell(node, Duration::ZERO, Word::Written(Err(Failure::Fenced)));
                };
                let is_shared = shares.iter().any(|share| share.cap < share.amount);
                self.ledger.met.shared_limits += u32::from(is_shared);
                Input::Shares(shares)
            }
            Effect::Draw(draws) => {
                let drawn = self.draw(node, &draws);
                let is_short = drawn.iter().any(|drawn| !drawn.again_in.is_zero());
                self.ledger.met.paced += u32::from(is_short);
                Input::Drawn(drawn)
            }
            Effect::Start(_)
            | Effect::Abort(_)
            | Effect::Mark { .. }
            | Effect::Finish(_)
            | Effect::GiveBack { .. }
            | Effect::Retry { .. } => return,
        };
        let pause = self.latency();
        self.tell(node, pause, Word::Answer(Box::new(answer)));
    }
}

fn forget_superseding(item: &mut Item) {
    item.work = Arc::new(Work { terms: None, ..(*item.work).clone() });
}
