//! Tenants and the names derived from them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::Timestamp;
use crate::id::{ActionId, TenantId};
use crate::limits::SLUG_BYTES_MAX;
use crate::settings::Setting;
use crate::throttle::{Limits, Rate};

/// The end of a tenant, and the proof of it.
pub mod deletion;
/// Where a tenant's handlers may connect to.
pub mod reach;

use reach::Reach;

/// Someone whose events, actions and executions are kept apart from everyone else's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    /// The founding `tenant_id`, given to handlers and receivers.
    pub uuid: Uuid,
    pub slug: TenantSlug,
    pub name: String,
    /// Counts every change of the tenant's definitions.
    pub defs_version: i64,
    pub created_at: Timestamp,
}

/// What operators have set for a tenant beside its definitions. It holds for work that was
/// accepted before as well.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Controls {
    #[serde(default)]
    pub limits: TenantLimits,
    #[serde(default, skip_serializing_if = "Retention::is_default")]
    pub retention: Retention,
    /// Where its handlers may connect to.
    #[serde(default, skip_serializing_if = "has_default_reach")]
    pub reach: Arc<Reach>,
    /// Nothing of the tenant starts; what comes in waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Nothing of the tenant starts, and nothing is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Pause>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused_actions: BTreeMap<ActionId, Pause>,
    /// Of the tenant `admin`: what holds for every tenant that has nothing of its own.
    #[serde(default, skip_serializing_if = "TenantLimits::is_default")]
    pub all_tenants: TenantLimits,
}

fn has_default_reach(reach: &Arc<Reach>) -> bool {
    reach.is_default()
}

/// What a tenant may use of the installation. [`Setting`] says what each of it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TenantLimits {
    /// Attempts that run at once, over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_executions: Option<u32>,
    /// Attempts that may start, over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_per_hour: Option<u32>,
    /// Turns that the tenant gets where others get one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_executions: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedules: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<u32>,
}

impl TenantLimits {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What they say of a setting.
    pub fn get(&self, setting: Setting) -> Option<u64> {
        match setting {
            Setting::MaxConcurrentExecutions => self.max_concurrent_executions.map(u64::from),
            Setting::RateLimitPerMinute => self.rate_limit_per_minute.map(u64::from),
            Setting::RateLimitPerHour => self.rate_limit_per_hour.map(u64::from),
            Setting::Weight => self.weight.map(u64::from),
            Setting::EventsPerSecond => self.events_per_second.map(u64::from),
            Setting::WaitingExecutions => self.waiting_executions,
            Setting::StoredBytes => self.stored_bytes,
            Setting::Actions => self.actions.map(u64::from),
            Setting::Subscriptions => self.subscriptions.map(u64::from),
            Setting::Schedules => self.schedules.map(u64::from),
            Setting::Secrets => self.secrets.map(u64::from),
            Setting::ApiKeys => self.api_keys.map(u64::from),
            Setting::KeepDays | Setting::DeadLetterDays => None,
        }
    }
}

/// How long a tenant's history stays. It is never longer than in the installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// Days of events, executions and their dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
    /// Days after which a dead letter is not waited for any more. It also goes with its execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_days: Option<u32>,
}

impl Retention {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What it says of a setting.
    pub fn get(&self, setting: Setting) -> Option<u64> {
        let days = if setting == Setting::KeepDays {
            self.keep_days
        } else if setting == Setting::DeadLetterDays {
            self.dead_letter_days
        } else {
            None
        };
        days.map(u64::from)
    }

    /// The days that hold where the installation keeps so many. `None`: for ever.
    pub fn keep_days_within(&self, installation: Option<u32>) -> Option<u32> {
        match (self.keep_days, installation) {
            (Some(own), Some(all)) => Some(own.min(all)),
            (own, all) => own.or(all),
        }
    }
}

/// Who has stopped something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub at: Timestamp,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One change of a tenant's [`Controls`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlChange {
    SetLimits(TenantLimits),
    /// Of the tenant `admin` alone.
    LimitAllTenants(TenantLimits),
    SetRetention(Retention),
    SetReach(Reach),
    Pause(Pause),
    Resume,
    Suspend(Pause),
    EndSuspension,
    PauseAction(ActionId, Pause),
    ResumeAction(ActionId),
}

impl Controls {
    /// The state after a change. What is paused already keeps its first pause.
    #[must_use]
    pub fn after(&self, change: &ControlChange) -> Self {
        let mut next = self.clone();
        match change {
            ControlChange::SetLimits(limits) => next.limits = *limits,
            ControlChange::LimitAllTenants(limits) => next.all_tenants = *limits,
            ControlChange::SetRetention(retention) => next.retention = *retention,
            ControlChange::SetReach(reach) => next.reach = Arc::new(reach.clone()),
            ControlChange::Pause(pause) => {
                next.pause.get_or_insert_with(|| pause.clone());
            }
            ControlChange::Resume => next.pause = None,
            ControlChange::Suspend(suspension) => {
                next.suspension.get_or_insert_with(|| suspension.clone());
            }
            ControlChange::EndSuspension => next.suspension = None,
            ControlChange::PauseAction(action, pause) => {
                next.paused_actions.entry(*action).or_insert_with(|| pause.clone());
            }
            ControlChange::ResumeAction(action) => {
                next.paused_actions.remove(action);
            }
        }
        next
    }

    /// Who lets nothing of the tenant start, and why.
    pub fn stopped(&self) -> Option<&Pause> {
        self.suspension.as_ref().or(self.pause.as_ref())
    }

    /// What a change is about, as the audit shows it.
    pub fn shown_for(&self, change: &ControlChange) -> Value {
        let shown = match change {
            ControlChange::SetLimits(_) => serde_json::to_value(self.limits),
            ControlChange::LimitAllTenants(_) => serde_json::to_value(self.all_tenants),
            ControlChange::SetRetention(_) => serde_json::to_value(self.retention),
            ControlChange::SetReach(_) => serde_json::to_value(self.reach.as_ref()),
            ControlChange::Pause(_) | ControlChange::Resume => serde_json::to_value(&self.pause),
            ControlChange::Suspend(_) | ControlChange::EndSuspension => {
                serde_json::to_value(&self.suspension)
            }
            ControlChange::PauseAction(action, _) | ControlChange::ResumeAction(action) => {
                serde_json::to_value(self.paused_actions.get(action))
            }
        };
        shown.unwrap_or_default()
    }

    /// The limits of the tenant as a whole, where these values hold of all layers.
    pub fn throttle(&self, value: impl Fn(Setting) -> Option<u64>) -> Limits {
        let small = |setting| value(setting).map(|value| u32::try_from(value).unwrap_or(u32::MAX));
        Limits {
            concurrency: small(Setting::MaxConcurrentExecutions),
            rate: Rate {
                per_minute: small(Setting::RateLimitPerMinute),
                per_hour: small(Setting::RateLimitPerHour),
            },
            is_paused: self.stopped().is_some(),
            ..Limits::default()
        }
    }
}

/// A tenant's name in paths and schema names: a lower-case letter, then letters, digits and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantSlug(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantSlugError {
    #[error("a tenant's slug has 1 to {max} bytes, not {bytes}", max = SLUG_BYTES_MAX)]
    Length { bytes: usize },
    #[error("a tenant's slug is a lower-case letter followed by a-z, 0-9 or _, not {raw:?}")]
    Characters { raw: String },
    #[error("{slug:?} is a reserved word")]
    Reserved { slug: String },
}

/// Words that would collide with our own schemas or PostgreSQL's.
const RESERVED: [&str; 7] =
    ["template", "public", "engine", "actions", "information_schema", "pg_catalog", "internal"];

impl TenantSlug {
    pub fn parse(raw: &str) -> Result<Self, TenantSlugError> {
        let bytes = raw.len();
        if bytes == 0 || bytes > SLUG_BYTES_MAX {
            return Err(TenantSlugError::Length { bytes });
        }
        let starts_well = raw.starts_with(|c: char| c.is_ascii_lowercase());
        let goes_on_well =
            raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !starts_well || !goes_on_well {
            return Err(TenantSlugError::Characters { raw: raw.to_owned() });
        }
        if RESERVED.contains(&raw) || raw.starts_with("pg_") {
            return Err(TenantSlugError::Reserved { slug: raw.to_owned() });
        }
        Ok(Self(raw.to_owned()))
    }

    pub fn admin() -> Self {
        Self("admin".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The schema that shows this tenant's relations: `admin`, or `tenant_<slug>`.
    pub fn schema(&self) -> String {
        if self.0 == "admin" { self.0.clone() } else { format!("tenant_{}", self.0) }
    }
}

impl fmt::Display for TenantSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantSlug {
    type Err = TenantSlugError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        Self::parse(raw)
    }
}

impl TryFrom<String> for TenantSlug {
    type Error = TenantSlugError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

impl From<TenantSlug> for String {
    fn from(slug: TenantSlug) -> Self {
        slug.0
    }
}

#[cfg(test)]
mod tests {
    use super::TenantSlug;

    #[test]
    fn slugs_are_safe_schema_names() {
        for good in ["acme", "a", "a1_b", "admin"] {
            assert!(TenantSlug::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(49);
        for bad in ["", "Acme", "1a", "a-b", "a b", "ä", "pg_x", "template", "a\"; drop", &long] {
            assert!(TenantSlug::parse(bad).is_err(), "{bad}");
        }
    }
}
