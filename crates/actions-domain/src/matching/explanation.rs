//! Why an action was matched or not: the same evaluation, told in full.

use serde::Serialize;

use crate::id::{ActionId, SubscriptionId};

/// One action that an event leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    pub action: ActionId,
    /// The subscription with the highest priority among those that led here. `None`: the
    /// action's own patterns did.
    pub subscription: Option<SubscriptionId>,
}

/// What was found out about one way from an event to an action.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    #[serde(skip)]
    pub action_id: ActionId,
    pub action: String,
    /// `None`: the action's own pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionId>,
    pub pattern: String,
    pub matched: bool,
    /// One sentence: why it matched, or the first thing that failed, with the actual value.
    pub because: String,
    /// Every step of the evaluation in order, up to and with the first that failed.
    pub checks: Vec<Check>,
}

/// One step of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// `pattern`, `engine_event`, `subscription_active`, `action_active`, `action_healthy`,
    /// `handler_installed`, `tenant_filter`, `organization_filter`, `user_filter`,
    /// `source_service_filter`, `action_conditions`, `subscription_conditions`.
    pub check: &'static str,
    pub passed: bool,
    /// What was asked for and what was there: `data.tier = "premium", got "free"`.
    pub detail: String,
}
