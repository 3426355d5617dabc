//! Tenants, actions and subscriptions with their versions. What it must do is defined by
//! `contract/definitions.rs`.
//!
//! Each change of a tenant's definitions takes the next number of [`Tenant::defs_version`] in
//! its own commit. Whoever keeps definitions in memory reads the changes since the number that
//! it has. The act that goes with a change is written down with it, and not where nothing changes.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::action::{Action, ActionName, ActionSpec, Health};
use crate::audit::Act;
use crate::id::{ActionId, SubscriptionId, TenantId};
use crate::ports::store::StoreError;
use crate::settings::Exceeded;
use crate::subscription::{Subscription, SubscriptionSpec};
use crate::tenant::{ControlChange, Controls, Tenant, TenantSlug};

#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The name is taken.
    #[error("{name} exists already")]
    Exists { name: String },
    /// A tenant had the slug and was deleted. It is never given again: events, keys and links of the
    /// former tenant would mean the new one.
    #[error("{slug} belonged to a tenant that was deleted; choose another slug")]
    Retired { slug: String },
    #[error("there is no {what} {name}")]
    NotFound { what: &'static str, name: String },
    /// Somebody else changed it first.
    #[error("the current version is {current}, not the expected one")]
    Stale { current: i64 },
    /// The act allows no more of them.
    #[error(transparent)]
    TooMany(#[from] Exceeded),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the caller believes to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: create it.
    Absent,
    /// This version: change it.
    Version(i64),
    /// Whatever there is, or nothing.
    Anything,
}

impl Expected {
    /// What has to be there so that it is changed from the state that the caller has read.
    #[must_use]
    pub fn exactly(self, read: Option<i64>) -> Self {
        match (self, read) {
            (Self::Anything, Some(version)) => Self::Version(version),
            (Self::Anything, None) => Self::Absent,
            (expected @ (Self::Absent | Self::Version(_)), _) => expected,
        }
    }

    /// Compares what the caller believes with the version that is there.
    ///
    /// # Errors
    /// `Exists`, `NotFound` or `Stale`, as the caller was wrong.
    pub fn check(
        self,
        what: &'static str,
        name: &str,
        current: Option<i64>,
    ) -> Result<(), DefinitionsError> {
        let name = || name.to_owned();
        match (self, current) {
            (Self::Anything, _) | (Self::Absent, None) => Ok(()),
            (Self::Absent, Some(_)) => Err(DefinitionsError::Exists { name: name() }),
            (Self::Version(_), None) => Err(DefinitionsError::NotFound { what, name: name() }),
            (Self::Version(version), Some(current)) if version == current => Ok(()),
            (Self::Version(_), Some(current)) => Err(DefinitionsError::Stale { current }),
        }
    }
}

/// All that changed in a tenant's definitions since some version.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// The version that the tenant has after these changes.
    pub version: i64,
    /// Current states, deleted ones included. Shared, because a tenant may have a hundred thousand
    /// of them, and whoever keeps them should not need them twice.
    pub actions: Vec<Arc<Action>>,
    pub subscriptions: Vec<Arc<Subscription>>,
    /// The tenant's controls as they are.
    pub controls: Controls,
}

#[async_trait]
pub trait Definitions: Send + Sync {
    /// Creates a tenant, with its schema of views where the store has schemas.
    ///
    /// # Errors
    /// `Exists` when the slug is taken.
    async fn create_tenant(
        &self,
        uuid: Uuid,
        slug: &TenantSlug,
        name: &str,
        act: Option<&Act>,
    ) -> Result<Tenant, DefinitionsError>;

    /// Reads all tenants, `admin` first. It exists from the start.
    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError>;

    /// Changes what operators have set for a tenant, and answers its new state. It takes a
    /// version like any other change, but none when nothing changes.
    async fn change_controls(
        &self,
        tenant: TenantId,
        change: &ControlChange,
        act: Option<&Act>,
    ) -> Result<Controls, DefinitionsError>;

    /// Reads what changed after version `since`, consistently. Zero reads everything.
    async fn changes(&self, tenant: TenantId, since: i64) -> Result<Changes, StoreError>;

    /// Creates or replaces an action by its name, and answers its new state. A specification
    /// that equals the stored one changes nothing.
    ///
    /// # Errors
    /// `Exists` for [`Expected::Absent`], `Stale` for another version, `NotFound` when a version
    /// is expected of an action that is not there.
    async fn save_action(
        &self,
        tenant: TenantId,
        uuid: Uuid,
        spec: &ActionSpec,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<Action, DefinitionsError>;

    /// Deletes an action together with its subscriptions and its pause.
    async fn delete_action(
        &self,
        tenant: TenantId,
        name: &ActionName,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<i64, DefinitionsError>;

    /// Records the result of a health check. It is a change like any other.
    async fn set_health(
        &self,
        tenant: TenantId,
        action: ActionId,
        health: &Health,
        act: Option<&Act>,
    ) -> Result<Action, DefinitionsError>;

    /// Reads versions of an action, newest first, at most `limit` that are older than `before`.
    async fn action_versions(
        &self,
        tenant: TenantId,
        name: &ActionName,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Action>, StoreError>;

    /// Reads an action as it was at a version of the tenant's definitions.
    async fn action_at(&self, action: ActionId, defs: i64) -> Result<Option<Action>, StoreError>;

    /// Creates or replaces a subscription by its id.
    async fn save_subscription(
        &self,
        tenant: TenantId,
        id: SubscriptionId,
        action: ActionId,
        spec: &SubscriptionSpec,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<Subscription, DefinitionsError>;

    async fn delete_subscription(
        &self,
        tenant: TenantId,
        id: SubscriptionId,
        expected: Expected,
        act: Option<&Act>,
    ) -> Result<i64, DefinitionsError>;
}
