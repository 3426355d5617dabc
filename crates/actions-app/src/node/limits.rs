//! Tells the scheduler how many executions of each action may run at once.

use std::collections::HashMap;

use actions_domain::dispatch::Input;
use actions_domain::id::{ActionId, TenantId};

use crate::catalogue::Catalogue;

/// The concurrency limits that the scheduler was told.
#[derive(Default)]
pub(crate) struct Limits {
    changes: u64,
    versions: HashMap<TenantId, i64>,
    told: HashMap<ActionId, Option<u32>>,
}

impl Limits {
    /// What the scheduler does not know yet. Asked before each of its steps, so that no work is
    /// seen before the limits that were there when it was accepted here.
    pub(crate) fn news(&mut self, catalogue: &Catalogue) -> Vec<Input> {
        let changes = catalogue.change_count();
        if std::mem::replace(&mut self.changes, changes) == changes {
            return Vec::new();
        }
        let mut inputs = Vec::new();
        for known in catalogue.list() {
            let version = known.version();
            if self.versions.insert(known.tenant.id, version) == Some(version) {
                continue;
            }
            for action in known.actions() {
                let max = action.spec.max_concurrent_executions;
                let told = self.told.insert(action.id, max).flatten();
                if told != max {
                    inputs.push(Input::Limit { action: action.id, max });
                }
            }
        }
        inputs
    }
}
