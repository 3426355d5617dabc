//! Subscriptions: a pattern, filters and conditions that lead from events to one action.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::id::{ActionId, SubscriptionId, TenantId};
use crate::matching::condition::Condition;
use crate::matching::pattern::Pattern;
use crate::throttle::Rate;

/// A way from events to an action, beside the action's own patterns.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub tenant: TenantId,
    pub action: ActionId,
    pub spec: SubscriptionSpec,
    /// The tenant's definitions version that this state came with.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted: bool,
}

/// What a person writes down. An empty filter lets everything pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub event_pattern: Pattern,
    #[serde(default)]
    pub conditions: Condition,
    #[serde(default = "yes")]
    pub is_active: bool,
    /// Higher first, among subscriptions of actions with one priority.
    #[serde(default)]
    pub priority: u32,
    /// Compared with [`crate::event::Attributes::tenant_id`]: for subscriptions of the platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenant_filter: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organization_filter: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_filter: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_service_filter: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_per_hour: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

impl SubscriptionSpec {
    /// How often what it leads to may start.
    pub fn rate(&self) -> Rate {
        Rate { per_minute: self.rate_limit_per_minute, per_hour: self.rate_limit_per_hour }
    }
}

const fn yes() -> bool {
    true
}
