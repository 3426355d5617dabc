//! Ids that are remembered for a while: the newest, up to a limit.

use std::collections::{HashMap, VecDeque};

use crate::id::ExecutionId;

#[derive(Debug)]
pub(super) struct Recent {
    max: usize,
    /// With who takes their place, if somebody does.
    ids: HashMap<ExecutionId, Option<ExecutionId>>,
    order: VecDeque<ExecutionId>,
}

impl Recent {
    pub(super) fn new(max: usize) -> Self {
        Self { max, ids: HashMap::new(), order: VecDeque::new() }
    }

    /// Adds an id and forgets the oldest one beyond the limit. Answers whether it is new.
    pub(super) fn insert(&mut self, id: ExecutionId, by: Option<ExecutionId>) -> bool {
        let is_new = !self.ids.contains_key(&id);
        // Who is cancelled is not only superseded.
        let by = self.ids.get(&id).copied().unwrap_or(by).and(by);
        self.ids.insert(id, by);
        if is_new {
            self.order.push_back(id);
        }
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
            }
        }
        is_new
    }

    pub(super) fn contains(&self, id: ExecutionId) -> bool {
        self.ids.contains_key(&id)
    }

    /// Takes an id out. Its place in the order stays until it is the oldest.
    pub(super) fn remove(&mut self, id: ExecutionId) -> Option<Option<ExecutionId>> {
        self.ids.remove(&id)
    }
}
