//! Tells the scheduler the limits, weights and pauses of tenants, actions and subscriptions.

use std::collections::{HashMap, HashSet};

use actions_domain::action::Action;
use actions_domain::dispatch::Input;
use actions_domain::id::TenantId;
use actions_domain::tenant::{Controls, TenantLimits};
use actions_domain::throttle::{Limits as Throttle, PerKey, Rate, Scope};

use crate::catalogue::{Catalogue, TenantDefinitions};
use crate::quotas::Quotas;

/// What the scheduler was told.
#[derive(Default)]
pub(crate) struct Limits {
    changes: u64,
    versions: HashMap<TenantId, i64>,
    /// What holds for tenants that have nothing of their own.
    all_tenants: TenantLimits,
    /// What was told of each tenant's scopes that is not the default.
    told: HashMap<TenantId, HashMap<Scope, Throttle>>,
    weights: HashMap<TenantId, u32>,
}

impl Limits {
    /// What the scheduler does not know yet. Asked before each of its steps, so that no work is
    /// seen before the limits that were there when it was accepted.
    pub(crate) fn news(&mut self, catalogue: &Catalogue, quotas: &Quotas) -> Vec<Input> {
        let changes = catalogue.change_count();
        if std::mem::replace(&mut self.changes, changes) == changes {
            return Vec::new();
        }
        let mut inputs = Vec::new();
        let platform = catalogue.find(TenantId::ADMIN).map(|known| known.controls().all_tenants);
        let platform = platform.unwrap_or_default();
        let is_for_all = std::mem::replace(&mut self.all_tenants, platform) != platform;
        let tenants = catalogue.list();
        let there: HashSet<TenantId> = tenants.iter().map(|known| known.tenant.id).collect();
        self.versions.retain(|tenant, _| {
            let is_there = there.contains(tenant);
            if !is_there {
                inputs.push(Input::Forget(*tenant));
                let told = self.told.remove(tenant).unwrap_or_default();
                let none = Throttle::default();
                inputs.extend(told.into_keys().map(|scope| Input::Limits { scope, limits: none }));
                self.weights.remove(tenant);
            }
            is_there
        });
        for known in tenants {
            let version = known.version();
            if self.versions.insert(known.tenant.id, version) != Some(version) || is_for_all {
                self.tell(&known, quotas, &mut inputs);
            }
        }
        inputs
    }

    fn tell(&mut self, known: &TenantDefinitions, quotas: &Quotas, inputs: &mut Vec<Input>) {
        let controls = known.controls();
        let tenant = known.tenant.id;
        let (limits, weight) = quotas.throttle(known);
        if self.weights.insert(tenant, weight).unwrap_or(1) != weight {
            inputs.push(Input::Weight { tenant, weight });
        }
        let of_actions = known.actions();
        let of_actions = of_actions
            .iter()
            .map(|action| (Scope::Action(action.id), limits_of(action, &controls)));
        let of_tenant = (Scope::Tenant(tenant), limits);
        let rated = known.rated_subscriptions();
        let of_subscriptions = rated.iter().map(|subscription| {
            let limits = Throttle { rate: subscription.spec.rate(), ..Throttle::default() };
            (Scope::Subscription(tenant, subscription.id), limits)
        });
        let wanted: HashMap<Scope, Throttle> = of_actions
            .chain([of_tenant])
            .chain(of_subscriptions)
            .filter(|(_, limits)| *limits != Throttle::default())
            .collect();
        let told = self.told.entry(tenant).or_default();
        // What was deleted or switched off has no limits any more: what waits for it ends.
        let gone = told.keys().filter(|scope| !wanted.contains_key(scope));
        inputs
            .extend(gone.map(|scope| Input::Limits { scope: *scope, limits: Throttle::default() }));
        let changed = wanted.iter().filter(|(scope, limits)| told.get(scope) != Some(limits));
        inputs.extend(
            changed.map(|(scope, limits)| Input::Limits { scope: *scope, limits: *limits }),
        );
        *told = wanted;
    }
}

fn limits_of(action: &Action, controls: &Controls) -> Throttle {
    if !action.spec.is_active {
        return Throttle::default();
    }
    Throttle {
        concurrency: action.spec.max_concurrent_executions,
        rate: Rate {
            per_minute: action.spec.rate_limit_per_minute,
            per_hour: action.spec.rate_limit_per_hour,
        },
        is_paused: controls.paused_actions.contains_key(&action.id),
        per_key: per_key_of(action),
    }
}

fn per_key_of(action: &Action) -> PerKey {
    let throttle = action.spec.throttle.as_ref();
    PerKey {
        concurrency: action.spec.concurrency.as_ref().map(|known| known.max),
        rate: Rate {
            per_minute: throttle.and_then(|known| known.per_minute),
            per_hour: throttle.and_then(|known| known.per_hour),
        },
    }
}
