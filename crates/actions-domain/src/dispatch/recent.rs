//! Ids that are remembered for a while: the newest, up to a limit.

use std::collections::{HashSet, VecDeque};

use crate::id::ExecutionId;

#[derive(Debug)]
pub(super) struct Recent {
    max: usize,
    ids: HashSet<ExecutionId>,
    order: VecDeque<ExecutionId>,
}

impl Recent {
    pub(super) fn new(max: usize) -> Self {
        Self { max, ids: HashSet::new(), order: VecDeque::new() }
    }

    /// Adds an id and forgets the oldest one beyond the limit. Answers whether it is new.
    pub(super) fn insert(&mut self, id: ExecutionId) -> bool {
        let is_new = self.ids.insert(id);
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
        self.ids.contains(&id)
    }

    /// Takes an id out. Its place in the order stays until it is the oldest.
    pub(super) fn remove(&mut self, id: ExecutionId) -> bool {
        self.ids.remove(&id)
    }
}
