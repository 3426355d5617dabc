//! Definitions in PostgreSQL, with all their versions. A change is a short transaction under
//! the lock of its tenant's row.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use actions_domain::Timestamp;
use actions_domain::action::{Action, ActionName, ActionSpec, Health};
use actions_domain::audit::Act;
use actions_domain::id::{ActionId, SubscriptionId, TenantId};
use actions_domain::ports::definitions::{Changes, Definitions, DefinitionsError, Expected};
use actions_domain::ports::store::StoreError;
use actions_domain::subscription::{Subscription, SubscriptionSpec};
use actions_domain::tenant::{ControlChange, Controls, Tenant, TenantSlug};

use super::Postgres;
use super::audit::append;
use super::bounds::keep_within;
use super::error::{constraint, read_error, write_error};
use super::record::{corrupt, from_text, to_text};
use crate::unreadable;

type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;

#[async_trait]
impl Definitions for Postgres {
    async fn create_tenant(
        &self,
        uuid: Uuid,
        slug: &TenantSlug,
        name: &str,
        act: Option<&Act>,
    ) -> Result<Tenant, DefinitionsError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        let created: Result<TenantRecord, _> =
            sqlx::query_as(include_str!("definitions/create_tenant.sql"))
                .bind(uuid)
                .bind(slug.as_str())
                .bind(name)
                .fetch_one(&mut *tx)
                .await;
        match created {
            Ok(record) => {
                // After the insert, which waits for whoever takes this slug away.
                if was_deleted(&mut tx, slug).await? {
                    return Err(DefinitionsError::Retired { slug: slug.to_string() });
                }
                append(&mut tx, act).await.map_err(write_error)?;
                tx.commit().await.map_err(write_error)?;
                Ok(record.into_tenant()?)
            }
            Err(error) if is_taken(&error) => {
                tx.rollback().await.map_err(read_error)?;
                // The schema of one that is being deleted may still be there.
                let mut connection = self.pool.acquire().await.map_err(StoreError::unavailable)?;
                if was_deleted(&mut connection, slug).await? {
                    return Err(DefinitionsError::Retired { slug: slug.to_string() });
                }
                Err(DefinitionsError::Exists { name: slug.to_string() })
            }
            Err(error) => Err(write_error(error).into()),
        }
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let rows: Vec<TenantRecord> = sqlx::query_as(include_str!("definitions/tenants.sql"))
            .fetch_all(&self.pool)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(TenantRecord::into_tenant).collect()
    }

    async fn change_controls(
        &self,
        tenant: TenantId,
        change: &ControlChange,
        act: Option<&Act>,
    ) -> Result<Controls, DefinitionsError> {
        let mut tx = self.lock_tenant(tenant).await?;
        let (current, next) = controls_after(&mut tx, tenant, change).await?;
        if next != current {
            sqlx::query("select engine.next_defs_version_v1($1)")
                .bind(tenant.0)
                .execute(&mut *tx)
                .await
                .map_err(write_error)?;
            write_controls(&mut tx, tenant, &next).await?;
            let act = act.map(|act| act.clone().about(change, &current, &next));
            append(&mut tx, act.as_ref()).await.map_err(write_error)?;
            tx.commit().await.map_err(write_error)?;
        }
        Ok(next)
    }

    async fn changes(&self, tenant: TenantId, since: i64) -> Result<Changes, StoreError> {
        let mut rows = sqlx::query_as::<_, ChangeRecord>(include_str!("definitions/changes.sql"))
            .bind(tenant.0)
            .bind(since)
            .fetch(&self.pool);
        let mut changes = Changes::default();
        while let Some(row) = rows.try_next().await.map_err(read_error)? {
            row.add_to(&mut changes, tenant)?;
        }
        drop(rows);
        let is_doubtful = changes.actions.iter().any(|found| unreadable::is_stand_in(&found.spec))
            || (changes.subscriptions.iter())
                .any(|found| unreadable::is_no_subscription(&found.spec));
        if is_doubtful {
            self.wait_for_newer_program().await?;
        }
        Ok(changes)
    }

    async fn save_action(
        &self,
        tenant: TenantId,
        uuid: Uuid,
        spec: &ActionSpec,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<Action, DefinitionsError> {
        let name = spec.name.as_str();
        let mut tx = self.lock_tenant(tenant).await?;
        let current = action_by_name(&mut tx, tenant, &spec.name).await?;
        expected.check("action", name, current.as_ref().map(|action| action.version))?;
        let (known, health) = match current {
            Some(action) if action.spec == *spec => return Ok(action),
            Some(action) => (Some(action.id), action.health),
            None => (None, Health::default()),
        };
        let next = NextAction { tenant, known, uuid, spec, health: &health, is_deleted: false };
        let action = next.write(&mut tx).await?;
        append(&mut tx, act).await.map_err(write_error)?;
        keep_within::<DefinitionsError>(&mut tx, act).await?;
        tx.commit().await.map_err(write_error)?;
        Ok(action)
    }

    async fn delete_action(
        &self,
        tenant: TenantId,
        name: &ActionName,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<i64, DefinitionsError> {
        let mut tx = self.lock_tenant(tenant).await?;
        let current = action_by_name(&mut tx, tenant, name).await?;
        let current = current.ok_or_else(|| not_found("action", name.as_str()))?;
        expected.check("action", name.as_str(), Some(current.version))?;
        let next = NextAction {
            tenant,
            known: Some(current.id),
            uuid: current.uuid,
            spec: &current.spec,
            health: &current.health,
            is_deleted: true,
        };
        let deleted = next.write(&mut tx).await?;
        let resume = ControlChange::ResumeAction(deleted.id);
        let (controls, next) = controls_after(&mut tx, tenant, &resume).await?;
        if next != controls {
            write_controls(&mut tx, tenant, &next).await?;
        }
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(deleted.version)
    }

    async fn set_health(
        &self,
        tenant: TenantId,
        action: ActionId,
        health: &Health,
        act: Option<&Act>,
    ) -> Result<Action, DefinitionsError> {
        let mut tx = self.lock_tenant(tenant).await?;
        let current = action_by_id(&mut tx, tenant, action).await?;
        let current = current.ok_or_else(|| not_found("action", &action.to_string()))?;
        if unreadable::is_stand_in(&current.spec) {
            self.wait_for_newer_program().await?;
            return Err(StoreError::Corrupt { what: format!("action {action}") }.into());
        }
        let next = NextAction {
            tenant,
            known: Some(action),
            uuid: current.uuid,
            spec: &current.spec,
            health,
            is_deleted: false,
        };
        let action = next.write(&mut tx).await?;
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(action)
    }

    async fn action_versions(
        &self,
        tenant: TenantId,
        name: &ActionName,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Action>, StoreError> {
        let rows: Vec<ActionRecord> =
            sqlx::query_as(include_str!("definitions/action_versions.sql"))
                .bind(tenant.0)
                .bind(name.as_str())
                .bind(before)
                .bind(i64::from(limit))
                .fetch_all(&mut *self.for_tenant(tenant).await?)
                .await
                .map_err(read_error)?;
        rows.into_iter().map(ActionRecord::into_action).collect()
    }

    async fn action_at(&self, action: ActionId, defs: i64) -> Result<Option<Action>, StoreError> {
        let row: Option<ActionRecord> = sqlx::query_as(include_str!("definitions/action_at.sql"))
            .bind(action.0)
            .bind(defs)
            .fetch_optional(&self.pool)
            .await
            .map_err(read_error)?;
        let found = row.map(ActionRecord::into_action).transpose();
        if found.is_err() {
            self.wait_for_newer_program().await?;
        }
        found
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
        let name = id.to_string();
        let mut tx = self.lock_tenant(tenant).await?;
        if action_by_id(&mut tx, tenant, action).await?.is_none() {
            return Err(not_found("action", &action.to_string()));
        }
        let known = subscription(&mut tx, tenant, id).await?;
        let current = known.filter(|subscription| !subscription.deleted);
        let version = current.as_ref().map(|subscription| subscription.version);
        expected.check("subscription", &name, version)?;
        if let Some(current) = current
            && current.action == action
            && current.spec == *spec
        {
            return Ok(current);
        }
        let saved = write_subscription(&mut tx, tenant, id, action, spec, false).await?;
        append(&mut tx, act).await.map_err(write_error)?;
        keep_within::<DefinitionsError>(&mut tx, act).await?;
        tx.commit().await.map_err(write_error)?;
        Ok(saved)
    }

    async fn delete_subscription(
        &self,
        tenant: TenantId,
        id: SubscriptionId,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<i64, DefinitionsError> {
        let name = id.to_string();
        let mut tx = self.lock_tenant(tenant).await?;
        let current = subscription(&mut tx, tenant, id)
            .await?
            .filter(|subscription| !subscription.deleted)
            .ok_or_else(|| not_found("subscription", &name))?;
        expected.check("subscription", &name, Some(current.version))?;
        let deleted =
            write_subscription(&mut tx, tenant, id, current.action, &current.spec, true).await?;
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(deleted.version)
    }
}

impl Postgres {
    /// Begins a change of a tenant's definitions. Dropped without a commit, nothing happened.
    pub(super) async fn lock_tenant(
        &self,
        tenant: TenantId,
    ) -> Result<Transaction, DefinitionsError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        let found: Option<i32> = sqlx::query_scalar(include_str!("definitions/lock_tenant.sql"))
            .bind(tenant.0)
            .fetch_optional(&mut *tx)
            .await
            .map_err(read_error)?;
        found.map(|_| tx).ok_or_else(|| not_found("tenant", &tenant.to_string()))
    }
}

/// An action's next state.
struct NextAction<'a> {
    tenant: TenantId,
    /// `None` for a new action.
    known: Option<ActionId>,
    uuid: Uuid,
    spec: &'a ActionSpec,
    health: &'a Health,
    is_deleted: bool,
}

/// A tenant's controls as they are, and as they are after a change.
async fn controls_after(
    tx: &mut PgConnection,
    tenant: TenantId,
    change: &ControlChange,
) -> Result<(Controls, Controls), DefinitionsError> {
    let text: String = sqlx::query_scalar(include_str!("definitions/controls.sql"))
        .bind(tenant.0)
        .fetch_one(tx)
        .await
        .map_err(read_error)?;
    let current: Controls = from_text("controls", &text)?;
    let next = current.after(change);
    Ok((current, next))
}

impl Postgres {
    /// An action or subscription that a newer program has stored is neither left out nor blocked, or
    /// what it asks for would be lost in the hands of this one: whoever needs it waits until this
    /// node is replaced, or asks another one.
    async fn wait_for_newer_program(&self) -> Result<(), StoreError> {
        let found = self.schema_version().await.map_err(StoreError::unavailable)?;
        let known = super::known_version();
        if found > known {
            let what = format!("a definition (schema {found}, this program knows {known})");
            return Err(StoreError::Newer { what });
        }
        Ok(())
    }
}

/// Nodes notice it by the tenant's next version, which the caller takes.
async fn write_controls(
    tx: &mut PgConnection,
    tenant: TenantId,
    controls: &Controls,
) -> Result<(), DefinitionsError> {
    sqlx::query("update engine.tenant set controls = $2::json where id = $1")
        .bind(tenant.0)
        .bind(to_text(controls)?)
        .execute(tx)
        .await
        .map_err(write_error)?;
    Ok(())
}

impl NextAction<'_> {
    async fn write(self, tx: &mut PgConnection) -> Result<Action, DefinitionsError> {
        let written: Result<ActionRecord, _> =
            sqlx::query_as(include_str!("definitions/write_action.sql"))
                .bind(self.tenant.0)
                .bind(self.known.map(|id| id.0))
                .bind(self.uuid)
                .bind(self.spec.name.as_str())
                .bind(to_text(self.spec)?)
                .bind(to_text(self.health)?)
                .bind(self.is_deleted)
                .fetch_one(tx)
                .await;
        match written {
            Ok(record) => Ok(record.into_action()?),
            Err(error) if is_taken(&error) => {
                Err(DefinitionsError::Exists { name: self.spec.name.to_string() })
            }
            Err(error) => Err(write_error(error).into()),
        }
    }
}

async fn action_by_name(
    tx: &mut PgConnection,
    tenant: TenantId,
    name: &ActionName,
) -> Result<Option<Action>, StoreError> {
    let row: Option<ActionRecord> = sqlx::query_as(include_str!("definitions/action_by_name.sql"))
        .bind(tenant.0)
        .bind(name.as_str())
        .fetch_optional(tx)
        .await
        .map_err(read_error)?;
    Ok(row.map(ActionRecord::into_current))
}

async fn action_by_id(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: ActionId,
) -> Result<Option<Action>, StoreError> {
    let row: Option<ActionRecord> = sqlx::query_as(include_str!("definitions/action_by_id.sql"))
        .bind(tenant.0)
        .bind(id.0)
        .fetch_optional(tx)
        .await
        .map_err(read_error)?;
    Ok(row.map(ActionRecord::into_current))
}

async fn subscription(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: SubscriptionId,
) -> Result<Option<Subscription>, StoreError> {
    let row: Option<SubscriptionRecord> =
        sqlx::query_as(include_str!("definitions/subscription.sql"))
            .bind(tenant.0)
            .bind(id.0)
            .fetch_optional(tx)
            .await
            .map_err(read_error)?;
    Ok(row.map(SubscriptionRecord::into_current))
}

async fn write_subscription(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: SubscriptionId,
    action: ActionId,
    spec: &SubscriptionSpec,
    is_deleted: bool,
) -> Result<Subscription, StoreError> {
    let row: SubscriptionRecord =
        sqlx::query_as(include_str!("definitions/write_subscription.sql"))
            .bind(tenant.0)
            .bind(id.0)
            .bind(action.0)
            .bind(to_text(spec)?)
            .bind(is_deleted)
            .fetch_one(tx)
            .await
            .map_err(write_error)?;
    row.into_subscription()
}

/// A name or id that is there already.
/// Whether a slug was a tenant's that is gone.
async fn was_deleted(connection: &mut PgConnection, slug: &TenantSlug) -> Result<bool, StoreError> {
    let text = "select exists (select from engine.tenant_deletion where slug = $1)";
    sqlx::query_scalar(text).bind(slug.as_str()).fetch_one(connection).await.map_err(read_error)
}

fn is_taken(error: &sqlx::Error) -> bool {
    let names = ["tenant_slug", "tenant_uuid", "action_name", "action_uuid"];
    constraint(error).is_some_and(|name| names.contains(&name))
        || error.as_database_error().and_then(|refusal| refusal.code()).as_deref() == Some("42P06")
}

fn not_found(what: &'static str, name: &str) -> DefinitionsError {
    DefinitionsError::NotFound { what, name: name.to_owned() }
}

#[derive(Debug, FromRow)]
struct TenantRecord {
    id: i32,
    uuid: Uuid,
    slug: String,
    name: String,
    defs_version: i64,
    created_at: Timestamp,
}

impl TenantRecord {
    fn into_tenant(self) -> Result<Tenant, StoreError> {
        let slug = TenantSlug::parse(&self.slug).map_err(|error| corrupt("tenant:", &error))?;
        Ok(Tenant {
            id: TenantId(self.id),
            uuid: self.uuid,
            slug,
            name: self.name,
            defs_version: self.defs_version,
            created_at: self.created_at,
        })
    }
}

#[derive(Debug, FromRow)]
struct ActionRecord {
    id: i32,
    tenant: i32,
    uuid: Uuid,
    spec: String,
    health: String,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted: bool,
}

impl ActionRecord {
    /// The present state, which can be saved again where it cannot be read.
    fn into_current(self) -> Action {
        let (spec, health) = unreadable::action(self.id, &self.spec, &self.health);
        Action {
            id: ActionId(self.id),
            tenant: TenantId(self.tenant),
            uuid: self.uuid,
            spec,
            health,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted: self.deleted,
        }
    }

    fn into_action(self) -> Result<Action, StoreError> {
        Ok(Action {
            id: ActionId(self.id),
            tenant: TenantId(self.tenant),
            uuid: self.uuid,
            spec: from_text("action", &self.spec)?,
            health: from_text("health", &self.health)?,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted: self.deleted,
        })
    }
}

#[derive(Debug, FromRow)]
struct SubscriptionRecord {
    id: Uuid,
    tenant: i32,
    action: i32,
    spec: String,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted: bool,
}

impl SubscriptionRecord {
    /// The present state. Where it cannot be read, it is gone.
    fn into_current(self) -> Subscription {
        let spec = unreadable::subscription(self.id, &self.spec);
        Subscription {
            id: SubscriptionId(self.id),
            tenant: TenantId(self.tenant),
            action: ActionId(self.action),
            deleted: self.deleted || spec.is_none(),
            spec: spec.unwrap_or_else(unreadable::no_subscription),
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    fn into_subscription(self) -> Result<Subscription, StoreError> {
        Ok(Subscription {
            id: SubscriptionId(self.id),
            tenant: TenantId(self.tenant),
            action: ActionId(self.action),
            spec: from_text("subscription", &self.spec)?,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted: self.deleted,
        })
    }
}

/// A row of `changes.sql`: the tenant, then actions, then subscriptions.
#[derive(Debug, FromRow)]
struct ChangeRecord {
    kind: i32,
    version: i64,
    /// The number of the action, also for its subscriptions.
    number: Option<i32>,
    uuid: Option<Uuid>,
    spec: Option<String>,
    health: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted: bool,
}

impl ChangeRecord {
    fn add_to(self, changes: &mut Changes, tenant: TenantId) -> Result<(), StoreError> {
        let Self { kind, version, number, uuid, spec, health, created_at, updated_at, deleted } =
            self;
        match (kind, number, uuid, spec, health) {
            (1, _, _, Some(controls), _) => {
                changes.version = version;
                changes.controls = from_text("controls", &controls)?;
            }
            (2, Some(id), Some(uuid), Some(spec), Some(health)) => {
                let record = ActionRecord {
                    id,
                    tenant: tenant.0,
                    uuid,
                    spec,
                    health,
                    version,
                    created_at,
                    updated_at,
                    deleted,
                };
                changes.actions.push(Arc::new(record.into_current()));
            }
            (3, Some(action), Some(id), Some(spec), None) => {
                let record = SubscriptionRecord {
                    id,
                    tenant: tenant.0,
                    action,
                    spec,
                    version,
                    created_at,
                    updated_at,
                    deleted,
                };
                changes.subscriptions.push(Arc::new(record.into_current()));
            }
            _ => return Err(corrupt("change of kind", &kind)),
        }
        Ok(())
    }
}
