//! How many things a tenant may have, asked in the transaction that makes one more.

use actions_domain::audit::Act;
use actions_domain::ports::store::StoreError;
use actions_domain::settings::{Exceeded, Setting};
use sqlx::sqlite::SqliteConnection;

use super::error::store_error;
use super::record::micros;

/// Checks, behind the change, that the tenant has no more than the act allows.
pub(super) async fn keep_within<E: From<StoreError> + From<Exceeded>>(
    tx: &mut SqliteConnection,
    act: Option<&Act>,
) -> Result<(), E> {
    let Some((act, bound)) = act.and_then(|act| Some((act, act.bound?))) else { return Ok(()) };
    let text = match bound.setting {
        Setting::Actions => "select count(*) from engine_action where tenant = ?1 and deleted = 0",
        Setting::Subscriptions => {
            "select count(*) from engine_subscription where tenant = ?1 and deleted = 0"
        }
        Setting::Schedules => "select count(*) from engine_schedule where tenant = ?1",
        Setting::Secrets => "select count(*) from engine_secret where tenant = ?1",
        Setting::ApiKeys => {
            "select count(*) from engine_api_key
             where tenant = ?1 and revoked_at is null and (expires_at is null or expires_at > ?2)"
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
    let question = sqlx::query_scalar(text).bind(act.tenant.0);
    let has_time = bound.setting == Setting::ApiKeys;
    let question = if has_time { question.bind(micros(act.at)) } else { question };
    let count: i64 = question.fetch_one(tx).await.map_err(|error| E::from(store_error(error)))?;
    if count.unsigned_abs() > bound.most { Err(Exceeded(bound).into()) } else { Ok(()) }
}
