//! Tells the scheduler the limits, weights and pauses of tenants and actions.

use std::collections::HashMap;

use actions_domain::action::Action;
use actions_domain::dispatch::Input;
use actions_domain::flow::{Limits as FlowLimits, Rate, Scope};
use actions_domain::id::TenantId;
use actions_domain::tenant::Controls;

use crate::catalogue::{Catalogue, TenantDefinitions};

/// What the scheduler was told.
#[derive(Default)]
pub(crate) struct Limits {
    changes: u64,
    versions: HashMap<TenantId, i64>,
    told: HashMap<Scope, FlowLimits>,
    weights: HashMap<TenantId, u32>,
}

impl Limits {
    /// What the scheduler does not know yet. Asked before each of its steps, so that no work is
    /// seen before the limits that were there when it was accepted.
    pub(crate) fn news(&mut self, catalogue: &Catalogue) -> Vec<Input> {
        let changes = catalogue.change_count();
        if std::mem::replace(&mut self.changes, changes) == changes {
            return Vec::new();
        }
        let mut inputs = Vec::new();
        for known in catalogue.list() {
            let version = known.version();
            if self.versions.insert(known.tenant.id, version) != Some(version) {
                self.tell(&known, &mut inputs);
            }
        }
        inputs
    }

    fn tell(&mut self, known: &TenantDefinitions, inputs: &mut Vec<Input>) {
        let controls = known.controls();
        let tenant = known.tenant.id;
        let weight = controls.limits.weight.unwrap_or(1);
        if self.weights.insert(tenant, weight).unwrap_or(1) != weight {
            inputs.push(Input::Weight { tenant, weight });
        }
        let of_actions = known.actions();
        let of_actions = of_actions
            .iter()
            .map(|action| (Scope::Action(action.id), limits_of(action, &controls)));
        let of_tenant = (Scope::Tenant(tenant), controls.flow());
        for (scope, limits) in of_actions.chain([of_tenant]) {
            if self.told.insert(scope, limits).unwrap_or_default() != limits {
                inputs.push(Input::Limits { scope, limits });
            }
        }
    }
}

fn limits_of(action: &Action, controls: &Controls) -> FlowLimits {
    FlowLimits {
        concurrency: action.spec.max_concurrent_executions,
        rate: Rate {
            per_minute: action.spec.rate_limit_per_minute,
            per_hour: action.spec.rate_limit_per_hour,
        },
        is_paused: controls.paused_actions.contains_key(&action.id),
    }
}
