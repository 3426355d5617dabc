//! The items of a step that is a map.

use serde::{Deserialize, Serialize};

use crate::execution::Fault;
use crate::json::Json;

/// The items of a map, and how far they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::flow) struct Mapping {
    pub(in crate::flow) items: Vec<Json>,
    states: Vec<ItemState>,
    /// Items are begun in order: those from here on were not.
    pub(in crate::flow) next: u32,
    pub(in crate::flow) open: u32,
    pub(in crate::flow) failed: u32,
    cancelled: u32,
    /// The failure of the item that failed first.
    pub(in crate::flow) fault: Option<Fault>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ItemState {
    Waiting,
    Open,
    Completed(Json),
    Failed,
    Cancelled,
}

impl Mapping {
    pub(super) fn new(items: Vec<Json>) -> Self {
        let states = vec![ItemState::Waiting; items.len()];
        Self { items, states, next: 0, open: 0, failed: 0, cancelled: 0, fault: None }
    }

    pub(in crate::flow) fn has_more(&self) -> bool {
        usize::try_from(self.next).is_ok_and(|next| next < self.items.len())
    }

    /// Nothing is left to do, and no item was given up.
    pub(in crate::flow) fn is_through(&self) -> bool {
        !self.has_more() && self.open == 0 && self.cancelled == 0
    }

    pub(super) fn set(&mut self, item: u32, state: ItemState) {
        let Some(known) = usize::try_from(item).ok().and_then(|at| self.states.get_mut(at)) else {
            return;
        };
        let was_open = *known == ItemState::Open;
        let is_open = state == ItemState::Open;
        self.cancelled += u32::from(state == ItemState::Cancelled);
        *known = state;
        self.open = self.open + u32::from(is_open) - u32::from(was_open);
        self.next = self.next.max(item.saturating_add(1));
    }

    pub(super) fn fail(&mut self, item: u32, fault: &Fault) {
        self.set(item, ItemState::Failed);
        self.failed += 1;
        self.fault.get_or_insert_with(|| fault.clone());
    }

    pub(super) fn output_of(&self, item: u32) -> Option<&Json> {
        match usize::try_from(item).ok().and_then(|at| self.states.get(at))? {
            ItemState::Completed(output) => Some(output),
            ItemState::Waiting | ItemState::Open | ItemState::Failed | ItemState::Cancelled => None,
        }
    }

    /// The outputs in the order of the items, `null` where there is none.
    pub(super) fn output(&self) -> Json {
        let mut text = String::from("[");
        for (index, state) in self.states.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(match state {
                ItemState::Completed(output) => output.as_str(),
                ItemState::Waiting | ItemState::Open | ItemState::Failed | ItemState::Cancelled => {
                    "null"
                }
            });
        }
        text.push(']');
        Json::from_record(text)
    }
}
