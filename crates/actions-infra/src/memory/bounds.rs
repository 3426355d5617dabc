//! How many things a tenant may have, asked before one more is made.

use actions_domain::audit::Act;
use actions_domain::settings::{Exceeded, Setting};

use super::Tables;

impl Tables {
    /// Whether the act allows one more thing. Nothing is taken back here, so it is asked before.
    pub(super) fn has_room_for_one(&self, act: Option<&Act>) -> Result<(), Exceeded> {
        let Some((act, bound)) = act.and_then(|act| Some((act, act.bound?))) else { return Ok(()) };
        let tenant = act.tenant;
        let count = match bound.setting {
            Setting::Actions => {
                self.current_actions(tenant).filter(|action| !action.deleted).count()
            }
            Setting::Subscriptions => {
                let all = self.subscriptions.values();
                all.filter(|one| one.tenant == tenant && !one.deleted).count()
            }
            Setting::Schedules => self.schedules.keys().filter(|(id, _)| *id == tenant).count(),
            Setting::Secrets => self.secrets.keys().filter(|(id, _)| *id == tenant).count(),
            Setting::ApiKeys => {
                let keys = self.api_keys.values().map(|row| &row.key);
                keys.filter(|key| key.tenant == tenant && key.is_living(act.at)).count()
            }
            Setting::MaxConcurrentExecutions
            | Setting::RateLimitPerMinute
            | Setting::RateLimitPerHour
            | Setting::Weight
            | Setting::EventsPerSecond
            | Setting::WaitingExecutions
            | Setting::StoredBytes
            | Setting::KeepDays
            | Setting::DeadLetterDays => return Ok(()),
        };
        if count as u64 >= bound.most { Err(Exceeded(bound)) } else { Ok(()) }
    }
}
