//! What a tenant may use, where each value comes from, and which one holds.
//!
//! Values come in layers, and the last layer that says something holds: defaults, then the
//! process's file and environment, then what the platform says of all tenants, then what it says
//! of this one, then the action. What may only be made stricter is never loosened by a later one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{
    ACTIONS_MAX, API_KEYS_MAX, CONCURRENCY_MAX, EVENTS_PER_SECOND_MAX, KEEP_DAYS_MIN, RATE_MAX,
    RETENTION_DAYS_MAX, SCHEDULES_MAX, SECRETS_MAX, STORED_BYTES_MAX, SUBSCRIPTIONS_MAX,
    WAITING_EXECUTIONS_MAX, WEIGHT_MAX,
};
use crate::throttle::Rate;

macro_rules! settings {
    ($($(#[$about:meta])* $name:ident = $word:literal $least:expr, $most:expr;)*) => {
        /// What can be set for a tenant.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Setting {
            $($(#[$about])* $name,)*
        }

        impl Setting {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in requests, answers and stores.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The least and the most that it may be.
            pub const fn range(self) -> (u64, u64) {
                match self {
                    $(Self::$name => ($least as u64, $most as u64),)*
                }
            }
        }
    };
}

settings! {
    /// Attempts that run at once, over all nodes.
    MaxConcurrentExecutions = "max_concurrent_executions" 1, CONCURRENCY_MAX;
    /// Attempts that may start, over all nodes.
    RateLimitPerMinute = "rate_limit_per_minute" 1, RATE_MAX;
    RateLimitPerHour = "rate_limit_per_hour" 1, RATE_MAX;
    /// Turns that the tenant gets where others get one.
    Weight = "weight" 1, WEIGHT_MAX;
    /// Events that are taken in, over all nodes.
    EventsPerSecond = "events_per_second" 1, EVENTS_PER_SECOND_MAX;
    /// Executions that have not ended: with more, nothing new is taken in.
    WaitingExecutions = "waiting_executions" 1, WAITING_EXECUTIONS_MAX;
    /// Bytes of events that are kept: with more, nothing new is taken in.
    StoredBytes = "stored_bytes" 1, STORED_BYTES_MAX;
    Actions = "actions" 1, ACTIONS_MAX;
    Subscriptions = "subscriptions" 1, SUBSCRIPTIONS_MAX;
    Schedules = "schedules" 1, SCHEDULES_MAX;
    Secrets = "secrets" 1, SECRETS_MAX;
    /// Those that hold.
    ApiKeys = "api_keys" 1, API_KEYS_MAX;
    /// Days of events, executions and their dead letters.
    KeepDays = "keep_days" KEEP_DAYS_MIN, RETENTION_DAYS_MAX;
    DeadLetterDays = "dead_letter_days" 1, RETENTION_DAYS_MAX;
}

impl Setting {
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|setting| setting.word() == word)
    }

    /// What holds where no layer says anything. `None`: there is no limit.
    pub const fn default_value(self) -> Option<u64> {
        match self {
            Self::Weight => Some(1),
            Self::Actions
            | Self::Subscriptions
            | Self::Schedules
            | Self::Secrets
            | Self::ApiKeys => Some(self.range().1),
            Self::MaxConcurrentExecutions
            | Self::RateLimitPerMinute
            | Self::RateLimitPerHour
            | Self::EventsPerSecond
            | Self::WaitingExecutions
            | Self::StoredBytes
            | Self::KeepDays
            | Self::DeadLetterDays => None,
        }
    }

    /// A later layer may ask for less, and is not given more.
    pub const fn is_only_stricter(self) -> bool {
        matches!(self, Self::KeepDays)
    }

    /// Whether the value lies within [`Self::range`].
    pub fn allows(self, value: u64) -> bool {
        let (least, most) = self.range();
        (least..=most).contains(&value)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who says something, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The program.
    Default,
    /// The process's settings file.
    File,
    /// The process's variables and flags.
    Environment,
    /// What the platform says of all tenants.
    Platform,
    /// What the platform says of this tenant.
    Tenant,
    /// The action itself.
    Action,
}

impl Layer {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Platform => "platform",
            Self::Tenant => "tenant",
            Self::Action => "action",
        }
    }
}

/// What one layer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Values(BTreeMap<Setting, u64>);

impl Values {
    pub fn get(&self, setting: Setting) -> Option<u64> {
        self.0.get(&setting).copied()
    }

    pub fn set(&mut self, setting: Setting, value: u64) {
        self.0.insert(setting, value);
    }

    /// What it says, in the order of [`Setting::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Setting, u64)> {
        self.0.iter().map(|(setting, value)| (*setting, *value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Setting, Option<u64>)> for Values {
    fn from_iter<T: IntoIterator<Item = (Setting, Option<u64>)>>(said: T) -> Self {
        Self(said.into_iter().filter_map(|(setting, value)| Some((setting, value?))).collect())
    }
}

/// The value that holds, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    pub setting: Setting,
    /// `None`: there is no limit.
    pub value: Option<u64>,
    /// The last layer that says something.
    pub layer: Layer,
    /// The layer that lets it have no more than this, where it asks for more.
    pub capped_by: Option<Layer>,
}

/// The value of a setting that holds, of layers from the weakest to the strongest. The defaults of
/// [`Setting::default_value`] stand before all of them.
pub fn effective(
    setting: Setting,
    layers: impl IntoIterator<Item = (Layer, Option<u64>)>,
) -> Effective {
    let value = setting.default_value();
    let mut holds = Effective { setting, value, layer: Layer::Default, capped_by: None };
    // Which layer the present value is from.
    let mut source = Layer::Default;
    for (layer, said) in layers {
        let Some(said) = said else { continue };
        let cap = holds.value.filter(|cap| setting.is_only_stricter() && said > *cap);
        holds.capped_by = cap.map(|_| source);
        holds.layer = layer;
        if cap.is_none() {
            holds.value = Some(said);
            source = layer;
        }
    }
    holds
}

/// As many things as a tenant may have of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub setting: Setting,
    pub most: u64,
}

/// The tenant would have more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenant may have {} {}; delete some", .0.most, .0.setting)]
pub struct Exceeded(pub Bound);

/// Events of one second as a rate of the ledger, which counts by the minute.
pub fn event_rate(per_second: u64) -> Rate {
    let per_second = u32::try_from(per_second).unwrap_or(u32::MAX);
    Rate { per_minute: Some(per_second.saturating_mul(60)), per_hour: None }
}

/// How much time's events pass at once after a pause: what a rate's burst is of its minute.
pub const EVENT_BURST: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
