//! Definitions with all their versions, in memory.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use actions_domain::Timestamp;
use actions_domain::action::{Action, ActionName, ActionSpec, Health};
use actions_domain::audit::Act;
use actions_domain::id::{ActionId, SubscriptionId, TenantId};
use actions_domain::ports::definitions::{Changes, Definitions, DefinitionsError, Expected};
use actions_domain::ports::store::StoreError;
use actions_domain::subscription::{Subscription, SubscriptionSpec};
use actions_domain::tenant::{ControlChange, Controls, Tenant, TenantSlug};

use super::{Memory, Tables};

#[async_trait]
impl Definitions for Memory {
    async fn create_tenant(
        &self,
        uuid: Uuid,
        slug: &TenantSlug,
        name: &str,
        act: Option<&Act>,
    ) -> Result<Tenant, DefinitionsError> {
        let mut tables = self.tables();
        if tables.tenants.values().any(|tenant| tenant.slug == *slug || tenant.uuid == uuid) {
            return Err(DefinitionsError::Exists { name: slug.to_string() });
        }
        if tables.deletion(slug).is_some() {
            return Err(DefinitionsError::Retired { slug: slug.to_string() });
        }
        // Numbers are never used again.
        let last = tables.tenants.last_key_value().map(|(last, _)| last.0);
        let last_gone = tables.deletions.last_key_value().map(|(last, _)| last.0);
        let id = TenantId(last.max(last_gone).map_or(1, |last| last + 1));
        let tenant = Tenant {
            id,
            uuid,
            slug: slug.clone(),
            name: name.to_owned(),
            defs_version: 0,
            created_at: self.clock.now(),
        };
        tables.tenants.insert(id, tenant.clone());
        tables.record(act);
        Ok(tenant)
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        Ok(self.tables().tenants.values().cloned().collect())
    }

    async fn change_controls(
        &self,
        tenant: TenantId,
        change: &ControlChange,
        act: Option<&Act>,
    ) -> Result<Controls, DefinitionsError> {
        let mut tables = self.tables();
        if !tables.tenants.contains_key(&tenant) {
            return Err(not_found("tenant", &tenant.to_string()));
        }
        let current = tables.controls.get(&tenant).cloned().unwrap_or_default();
        let next = current.after(change);
        if next != current {
            tables.next_version(tenant)?;
            let act = act.map(|act| act.clone().about(change, &current, &next));
            tables.controls.insert(tenant, next.clone());
            tables.record(act.as_ref());
        }
        Ok(next)
    }

    async fn changes(&self, tenant: TenantId, since: i64) -> Result<Changes, StoreError> {
        let tables = self.tables();
        let version = tables.tenants.get(&tenant).map_or(0, |tenant| tenant.defs_version);
        let actions = tables.current_actions(tenant).filter(|action| action.version > since);
        let subscriptions = (tables.subscriptions.values())
            .filter(|subscription| subscription.tenant == tenant)
            .filter(|subscription| subscription.version > since);
        let (actions, subscriptions) =
            (actions.cloned().map(Arc::new).collect(), subscriptions.cloned().collect());
        let controls = tables.controls.get(&tenant).cloned().unwrap_or_default();
        Ok(Changes { version, actions, subscriptions, controls })
    }

    async fn save_action(
        &self,
        tenant: TenantId,
        uuid: Uuid,
        spec: &ActionSpec,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<Action, DefinitionsError> {
        let now = self.clock.now();
        let mut tables = self.tables();
        let current = tables.action_named(tenant, &spec.name).cloned();
        let name = spec.name.as_str();
        expected.check("action", name, current.as_ref().map(|action| action.version))?;
        let action = match current {
            Some(action) if action.spec == *spec => return Ok(action),
            Some(action) => Action {
                spec: spec.clone(),
                version: tables.next_version(tenant)?,
                updated_at: now,
                ..action
            },
            None => {
                tables.has_room_for_one(act)?;
                Action {
                    id: tables.next_action_id(),
                    tenant,
                    uuid,
                    spec: spec.clone(),
                    health: Health::default(),
                    version: tables.next_version(tenant)?,
                    created_at: now,
                    updated_at: now,
                    deleted: false,
                }
            }
        };
        tables.put_action(action.clone());
        tables.record(act);
        Ok(action)
    }

    async fn delete_action(
        &self,
        tenant: TenantId,
        name: &ActionName,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<i64, DefinitionsError> {
        let now = self.clock.now();
        let mut tables = self.tables();
        let Some(action) = tables.action_named(tenant, name).cloned() else {
            return Err(not_found("action", name.as_str()));
        };
        expected.check("action", name.as_str(), Some(action.version))?;
        let version = tables.next_version(tenant)?;
        for subscription in tables.subscriptions.values_mut() {
            if subscription.action == action.id && !subscription.deleted {
                delete_subscription(Arc::make_mut(subscription), version, now);
            }
        }
        if let Some(controls) = tables.controls.get_mut(&tenant) {
            controls.paused_actions.remove(&action.id);
        }
        tables.put_action(Action { version, updated_at: now, deleted: true, ..action });
        tables.record(act);
        Ok(version)
    }

    async fn set_health(
        &self,
        tenant: TenantId,
        action: ActionId,
        health: &Health,
        act: Option<&Act>,
    ) -> Result<Action, DefinitionsError> {
        let now = self.clock.now();
        let mut tables = self.tables();
        let Some(current) = tables.current_action(tenant, action).cloned() else {
            return Err(not_found("action", &action.to_string()));
        };
        let version = tables.next_version(tenant)?;
        let action = Action { health: health.clone(), version, updated_at: now, ..current };
        tables.put_action(action.clone());
        tables.record(act);
        Ok(action)
    }

    async fn action_versions(
        &self,
        tenant: TenantId,
        name: &ActionName,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Action>, StoreError> {
        let tables = self.tables();
        let is_wanted = |action: &&Action| {
            action.tenant == tenant
                && action.spec.name == *name
                && before.is_none_or(|before| action.version < before)
        };
        let mut versions: Vec<&Action> =
            tables.actions.values().flatten().filter(is_wanted).collect();
        versions.sort_by_key(|action| std::cmp::Reverse(action.version));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(versions.into_iter().take(limit).cloned().collect())
    }

    async fn action_at(&self, action: ActionId, defs: i64) -> Result<Option<Action>, StoreError> {
        let tables = self.tables();
        let versions = tables.actions.get(&action).map_or(&[][..], Vec::as_slice);
        Ok(versions.iter().rev().find(|version| version.version <= defs).cloned())
    }

    async fn save_subscription(
        &self,
        tenant: TenantId,
        id: SubscriptionId,
        action: ActionId,
        spec: &SubscriptionSpec,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<Subscription, DefinitionsError> {
        let now = self.clock.now();
        let mut tables = self.tables();
        if tables.current_action(tenant, action).is_none() {
            return Err(not_found("action", &action.to_string()));
        }
        let known = tables.subscriptions.get(&(tenant, id)).cloned();
        let current = known.filter(|subscription| !subscription.deleted);
        let version = current.as_ref().map(|subscription| subscription.version);
        expected.check("subscription", &id.to_string(), version)?;
        if let Some(current) = &current
            && current.action == action
            && current.spec == *spec
        {
            return Ok(Subscription::clone(current));
        }
        if current.is_none() {
            tables.has_room_for_one(act)?;
        }
        let subscription = Subscription {
            id,
            tenant,
            action,
            spec: spec.clone(),
            version: tables.next_version(tenant)?,
            created_at: current.map_or(now, |subscription| subscription.created_at),
            updated_at: now,
            deleted: false,
        };
        tables.subscriptions.insert((tenant, id), Arc::new(subscription.clone()));
        tables.record(act);
        Ok(subscription)
    }

    async fn delete_subscription(
        &self,
        tenant: TenantId,
        id: SubscriptionId,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<i64, DefinitionsError> {
        let now = self.clock.now();
        let mut tables = self.tables();
        let current = (tables.subscriptions.get(&(tenant, id)))
            .filter(|subscription| !subscription.deleted)
            .map(|subscription| subscription.version)
            .ok_or_else(|| not_found("subscription", &id.to_string()))?;
        expected.check("subscription", &id.to_string(), Some(current))?;
        let version = tables.next_version(tenant)?;
        if let Some(subscription) = tables.subscriptions.get_mut(&(tenant, id)) {
            delete_subscription(Arc::make_mut(subscription), version, now);
        }
        tables.record(act);
        Ok(version)
    }
}

impl Tables {
    fn next_version(&mut self, tenant: TenantId) -> Result<i64, DefinitionsError> {
        let row = self.tenants.get_mut(&tenant);
        let row = row.ok_or_else(|| not_found("tenant", &tenant.to_string()))?;
        row.defs_version += 1;
        Ok(row.defs_version)
    }

    fn next_action_id(&self) -> ActionId {
        ActionId(self.actions.last_key_value().map_or(1, |(last, _)| last.0 + 1))
    }

    /// The newest version of each action, deleted ones included.
    pub(super) fn current_actions(&self, tenant: TenantId) -> impl Iterator<Item = &Action> {
        let newest = self.actions.values().filter_map(|versions| versions.last());
        newest.filter(move |action| action.tenant == tenant)
    }

    fn current_action(&self, tenant: TenantId, id: ActionId) -> Option<&Action> {
        let newest = self.actions.get(&id)?.last()?;
        Some(newest).filter(|action| action.tenant == tenant && !action.deleted)
    }

    fn action_named(&self, tenant: TenantId, name: &ActionName) -> Option<&Action> {
        self.current_actions(tenant).find(|action| !action.deleted && action.spec.name == *name)
    }

    fn put_action(&mut self, action: Action) {
        self.actions.entry(action.id).or_default().push(action);
    }
}

fn delete_subscription(subscription: &mut Subscription, version: i64, now: Timestamp) {
    subscription.version = version;
    subscription.updated_at = now;
    subscription.deleted = true;
}

fn not_found(what: &'static str, name: &str) -> DefinitionsError {
    DefinitionsError::NotFound { what, name: name.to_owned() }
}
