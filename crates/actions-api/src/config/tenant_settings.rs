//! What the process says of all tenants, by the layer that says it.

use actions_app::quotas::ProcessLayers;
use actions_domain::settings::{Layer, Setting, Values};

use super::Reader;
use super::sources::Origin;
use super::units::size;

/// What the process may say of tenants, with the keys of the table.
pub(super) const OF_TENANTS: [(Setting, &str); 12] = [
    (Setting::MaxConcurrentExecutions, "tenant_max_concurrent_executions"),
    (Setting::RateLimitPerMinute, "tenant_rate_limit_per_minute"),
    (Setting::RateLimitPerHour, "tenant_rate_limit_per_hour"),
    (Setting::Weight, "tenant_weight"),
    (Setting::EventsPerSecond, "tenant_events_per_second"),
    (Setting::WaitingExecutions, "tenant_waiting_executions"),
    (Setting::StoredBytes, "tenant_stored_bytes"),
    (Setting::Actions, "tenant_actions"),
    (Setting::Subscriptions, "tenant_subscriptions"),
    (Setting::Schedules, "tenant_schedules"),
    (Setting::Secrets, "tenant_secrets"),
    (Setting::ApiKeys, "tenant_api_keys"),
];

impl Reader<'_> {
    /// Reads them all, each into the layer that it came from. `keep_days` was read before.
    pub(super) fn tenant_settings(&mut self, keep_days: Option<u16>) -> ProcessLayers {
        let mut layers = ProcessLayers::default();
        // The weakest first.
        for layer in [Layer::Default, Layer::File, Layer::Environment] {
            let mut values = Values::default();
            if let Some(days) = keep_days.filter(|_| self.layer("keep_days") == Some(layer)) {
                values.set(Setting::KeepDays, days.into());
            }
            for (setting, key) in OF_TENANTS {
                if self.layer(key) != Some(layer) {
                    continue;
                }
                if let Some(value) = self.parse(key, |raw| value(setting, raw)) {
                    values.set(setting, value);
                }
            }
            if !values.is_empty() {
                layers.0.push((layer, values));
            }
        }
        layers
    }

    fn layer(&self, key: &str) -> Option<Layer> {
        Some(match self.resolved.find(key)?.source {
            Origin::Default => Layer::Default,
            Origin::File => Layer::File,
            Origin::Environment => Layer::Environment,
        })
    }
}

fn value(setting: Setting, raw: &str) -> Result<u64, String> {
    let value = if setting == Setting::StoredBytes {
        size(raw)? as u64
    } else {
        raw.trim().parse().map_err(|_| expected(setting))?
    };
    if setting.allows(value) { Ok(value) } else { Err(expected(setting)) }
}

fn expected(setting: Setting) -> String {
    let (least, most) = setting.range();
    format!("expected a whole number from {least} to {most}")
}
