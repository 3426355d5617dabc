//! Definitions with all their versions in SQLite. Every change takes the tenant's next version
//! in its own transaction, under the only write lock, so versions have no gaps.

use std::sync::Arc;

use actions_domain::Timestamp;
use actions_domain::action::{Action, ActionName, ActionSpec, Health};
use actions_domain::audit::Act;
use actions_domain::id::{ActionId, SubscriptionId, TenantId};
use actions_domain::ports::definitions::{Changes, Definitions, DefinitionsError, Expected};
use actions_domain::ports::store::StoreError;
use actions_domain::subscription::{Subscription, SubscriptionSpec};
use actions_domain::tenant::{ControlChange, Controls, Tenant, TenantSlug};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::SqliteStore;
use super::audit::append;
use super::bounds::keep_within;
use super::deletions;
use super::error::{commit_error, store_error};
use super::record::{self, get, micros, to_text};

#[async_trait]
impl Definitions for SqliteStore {
    async fn create_tenant(
        &self,
        uuid: Uuid,
        slug: &TenantSlug,
        name: &str,
        act: Option<&Act>,
    ) -> Result<Tenant, DefinitionsError> {
        let mut tx = self.begin().await?;
        if deletions::was_used(&mut tx, slug).await? {
            return Err(DefinitionsError::Retired { slug: slug.to_string() });
        }
        let row = sqlx::query(include_str!("definitions/create_tenant.sql"))
            .bind(uuid)
            .bind(slug.as_str())
            .bind(name)
            .bind(micros(self.clock.now()))
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
        let row = row.ok_or_else(|| DefinitionsError::Exists { name: slug.to_string() })?;
        let tenant = record::tenant(&row)?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(tenant)
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let text = "select id, uuid, slug, name, defs_version, created_at
            from engine_tenant order by id";
        let rows = sqlx::query(text).fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(record::tenant).collect()
    }

    async fn change_controls(
        &self,
        tenant: TenantId,
        change: &ControlChange,
        act: Option<&Act>,
    ) -> Result<Controls, DefinitionsError> {
        let mut tx = self.begin().await?;
        let (current, next) = controls_after(&mut tx, tenant, change).await?;
        if next != current {
            next_version(&mut tx, tenant).await?;
            write_controls(&mut tx, tenant, &next).await?;
            let act = act.map(|act| act.clone().about(change, &current, &next));
            append(&mut tx, act.as_ref()).await?;
            tx.commit().await.map_err(commit_error)?;
        }
        Ok(next)
    }

    async fn changes(&self, tenant: TenantId, since: i64) -> Result<Changes, StoreError> {
        // One snapshot for all three reads: the version must not be ahead of the rows.
        let mut tx = self.readers.begin().await.map_err(store_error)?;
        let row = sqlx::query("select defs_version, controls from engine_tenant where id = ?")
            .bind(tenant.0)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
        let version = row.as_ref().map_or(Ok(0), |row| get(row, "defs_version"))?;
        let controls = row.as_ref().map(controls).transpose()?.unwrap_or_default();
        let actions = sqlx::query(include_str!("definitions/changed_actions.sql"))
            .bind(tenant.0)
            .bind(since)
            .fetch(&mut *tx)
            .map(|row| Ok(Arc::new(record::current_action(&row.map_err(store_error)?)?)))
            .try_collect()
            .await?;
        let subscriptions = sqlx::query(include_str!("definitions/changed_subscriptions.sql"))
            .bind(tenant.0)
            .bind(since)
            .fetch(&mut *tx)
            .map(|row| Ok(Arc::new(record::subscription(&row.map_err(store_error)?)?)))
            .try_collect()
            .await?;
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
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        let current = find_action_named(&mut tx, tenant, &spec.name).await?;
        let name = spec.name.as_str();
        expected.check("action", name, current.as_ref().map(|action| action.version))?;
        let action = match current {
            Some(action) if action.spec == *spec => return Ok(action),
            Some(action) => {
                let version = next_version(&mut tx, tenant).await?;
                Action { spec: spec.clone(), version, updated_at: now, ..action }
            }
            None => {
                let version = next_version(&mut tx, tenant).await?;
                new_action(&mut tx, tenant, uuid, spec, version, now).await?
            }
        };
        write_action(&mut tx, &action).await?;
        append(&mut tx, act).await?;
        keep_within::<DefinitionsError>(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(action)
    }

    async fn delete_action(
        &self,
        tenant: TenantId,
        name: &ActionName,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<i64, DefinitionsError> {
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        let action = find_action_named(&mut tx, tenant, name)
            .await?
            .ok_or_else(|| not_found("action", name.as_str()))?;
        expected.check("action", name.as_str(), Some(action.version))?;
        let version = next_version(&mut tx, tenant).await?;
        let text = "update engine_subscription set deleted = 1, version = ?, updated_at = ?
            where action = ? and deleted = 0";
        sqlx::query(text)
            .bind(version)
            .bind(micros(now))
            .bind(action.id.0)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        let action = Action { version, updated_at: now, deleted: true, ..action };
        write_action(&mut tx, &action).await?;
        let resume = ControlChange::ResumeAction(action.id);
        let (current, next) = controls_after(&mut tx, tenant, &resume).await?;
        if next != current {
            write_controls(&mut tx, tenant, &next).await?;
        }
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(version)
    }

    async fn set_health(
        &self,
        tenant: TenantId,
        action: ActionId,
        health: &Health,
        act: Option<&Act>,
    ) -> Result<Action, DefinitionsError> {
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        let current = find_action(&mut tx, tenant, action)
            .await?
            .ok_or_else(|| not_found("action", &action.to_string()))?;
        // Written back, what stands for it would take its place.
        if crate::unreadable::is_stand_in(&current.spec) {
            return Err(StoreError::Corrupt { what: format!("action {action}") }.into());
        }
        let version = next_version(&mut tx, tenant).await?;
        let action = Action { health: health.clone(), version, updated_at: now, ..current };
        write_action(&mut tx, &action).await?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(action)
    }

    async fn action_versions(
        &self,
        tenant: TenantId,
        name: &ActionName,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Action>, StoreError> {
        let rows = sqlx::query(include_str!("definitions/action_versions.sql"))
            .bind(tenant.0)
            .bind(name.as_str())
            .bind(before)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(record::action).collect()
    }

    async fn action_at(&self, action: ActionId, defs: i64) -> Result<Option<Action>, StoreError> {
        let row = sqlx::query(include_str!("definitions/action_at.sql"))
            .bind(action.0)
            .bind(defs)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        row.as_ref().map(record::action).transpose()
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
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        if find_action(&mut tx, tenant, action).await?.is_none() {
            return Err(not_found("action", &action.to_string()));
        }
        let current = find_subscription(&mut tx, tenant, id).await?;
        let version = current.as_ref().map(|subscription| subscription.version);
        expected.check("subscription", &id.to_string(), version)?;
        let is_same = |current: &Subscription| current.action == action && current.spec == *spec;
        let created_at = match current {
            Some(current) if is_same(&current) => return Ok(current),
            Some(current) => current.created_at,
            None => now,
        };
        let subscription = Subscription {
            id,
            tenant,
            action,
            spec: spec.clone(),
            version: next_version(&mut tx, tenant).await?,
            created_at,
            updated_at: now,
            deleted: false,
        };
        write_subscription(&mut tx, &subscription).await?;
        append(&mut tx, act).await?;
        keep_within::<DefinitionsError>(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(subscription)
    }

    async fn delete_subscription(
        &self,
        tenant: TenantId,
        id: SubscriptionId,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<i64, DefinitionsError> {
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        let current = find_subscription(&mut tx, tenant, id)
            .await?
            .ok_or_else(|| not_found("subscription", &id.to_string()))?;
        expected.check("subscription", &id.to_string(), Some(current.version))?;
        let version = next_version(&mut tx, tenant).await?;
        let deleted = Subscription { version, updated_at: now, deleted: true, ..current };
        write_subscription(&mut tx, &deleted).await?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(version)
    }
}

/// A tenant's controls as they are, and as they are after a change.
async fn controls_after(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    change: &ControlChange,
) -> Result<(Controls, Controls), DefinitionsError> {
    let row = sqlx::query("select controls from engine_tenant where id = ?")
        .bind(tenant.0)
        .fetch_optional(conn)
        .await
        .map_err(store_error)?
        .ok_or_else(|| not_found("tenant", &tenant.to_string()))?;
    let current = controls(&row)?;
    let next = current.after(change);
    Ok((current, next))
}

async fn write_controls(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    controls: &Controls,
) -> Result<(), StoreError> {
    sqlx::query("update engine_tenant set controls = ? where id = ?")
        .bind(to_text(controls)?)
        .bind(tenant.0)
        .execute(conn)
        .await
        .map_err(store_error)?;
    Ok(())
}

fn controls(row: &SqliteRow) -> Result<Controls, StoreError> {
    let text: String = get(row, "controls")?;
    serde_json::from_str(&text).map_err(|error| record::corrupt("controls", error))
}

/// Takes the tenant's next version.
async fn next_version(
    conn: &mut SqliteConnection,
    tenant: TenantId,
) -> Result<i64, DefinitionsError> {
    let text = "update engine_tenant set defs_version = defs_version + 1 where id = ?
        returning defs_version";
    let row = sqlx::query(text)
        .bind(tenant.0)
        .fetch_optional(conn)
        .await
        .map_err(store_error)?
        .ok_or_else(|| not_found("tenant", &tenant.to_string()))?;
    Ok(get(&row, "defs_version")?)
}

async fn find_action_named(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    name: &ActionName,
) -> Result<Option<Action>, StoreError> {
    let text = "select id, tenant, uuid, spec, health, version, created_at, updated_at, deleted
        from engine_action where tenant = ? and name = ? and deleted = 0";
    let row = sqlx::query(text)
        .bind(tenant.0)
        .bind(name.as_str())
        .fetch_optional(conn)
        .await
        .map_err(store_error)?;
    row.as_ref().map(record::current_action).transpose()
}

async fn find_action(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    id: ActionId,
) -> Result<Option<Action>, StoreError> {
    let text = "select id, tenant, uuid, spec, health, version, created_at, updated_at, deleted
        from engine_action where tenant = ? and id = ? and deleted = 0";
    let row = sqlx::query(text)
        .bind(tenant.0)
        .bind(id.0)
        .fetch_optional(conn)
        .await
        .map_err(store_error)?;
    row.as_ref().map(record::current_action).transpose()
}

async fn find_subscription(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    id: SubscriptionId,
) -> Result<Option<Subscription>, StoreError> {
    let text = "select id, tenant, action, spec, version, created_at, updated_at, deleted
        from engine_subscription where tenant = ? and id = ? and deleted = 0";
    let row = sqlx::query(text)
        .bind(tenant.0)
        .bind(id.0)
        .fetch_optional(conn)
        .await
        .map_err(store_error)?;
    row.as_ref().map(record::subscription).transpose()
}

/// Gives a new action its number. [`write_action`] fills in the rest.
async fn new_action(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    uuid: Uuid,
    spec: &ActionSpec,
    version: i64,
    now: Timestamp,
) -> Result<Action, StoreError> {
    let text = "insert into engine_action
            (tenant, uuid, name, spec, health, version, created_at, updated_at)
        values (?, ?, ?, '{}', '{}', ?, ?, ?) returning id";
    let id: i32 = sqlx::query(text)
        .bind(tenant.0)
        .bind(uuid)
        .bind(spec.name.as_str())
        .bind(version)
        .bind(micros(now))
        .bind(micros(now))
        .fetch_one(conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(store_error)?;
    Ok(Action {
        id: ActionId(id),
        tenant,
        uuid,
        spec: spec.clone(),
        health: Health::default(),
        version,
        created_at: now,
        updated_at: now,
        deleted: false,
    })
}

/// Writes the current state of an action and keeps it as a version.
async fn write_action(conn: &mut SqliteConnection, action: &Action) -> Result<(), StoreError> {
    let (spec, health) = (to_text(&action.spec)?, to_text(&action.health)?);
    for text in [
        include_str!("definitions/write_action.sql"),
        include_str!("definitions/write_action_version.sql"),
    ] {
        sqlx::query(text)
            .bind(action.id.0)
            .bind(spec.as_str())
            .bind(health.as_str())
            .bind(action.version)
            .bind(micros(action.updated_at))
            .bind(action.deleted)
            .execute(&mut *conn)
            .await
            .map_err(store_error)?;
    }
    Ok(())
}

async fn write_subscription(
    conn: &mut SqliteConnection,
    subscription: &Subscription,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("definitions/write_subscription.sql"))
        .bind(subscription.id.0)
        .bind(subscription.tenant.0)
        .bind(subscription.action.0)
        .bind(to_text(&subscription.spec)?)
        .bind(subscription.version)
        .bind(micros(subscription.created_at))
        .bind(micros(subscription.updated_at))
        .bind(subscription.deleted)
        .execute(conn)
        .await
        .map_err(store_error)?;
    Ok(())
}

fn not_found(what: &'static str, name: &str) -> DefinitionsError {
    DefinitionsError::NotFound { what, name: name.to_owned() }
}
