//! How many things a tenant may have, asked in the transaction that makes one more.

use actions_domain::audit::Act;
use actions_domain::ports::store::StoreError;
use actions_domain::settings::{Exceeded, Setting};
use sqlx::PgConnection;

use super::error::read_error;

/// Checks, behind the change, that the tenant has no more than the act allows. Changes of one tenant
/// follow one another, so nobody else's is missing in the count.
pub(super) async fn keep_within<E: From<StoreError> + From<Exceeded>>(
    tx: &mut PgConnection,
    act: Option<&Act>,
) -> Result<(), E> {
    let Some((act, bound)) = act.and_then(|act| Some((act, act.bound?))) else { return Ok(()) };
    let text = match bound.setting {
        Setting::Actions => "select count(*) from engine.action where tenant = $1 and not deleted",
        Setting::Subscriptions => {
            "select count(*) from engine.subscription where tenant = $1 and not deleted"
        }
        Setting::Schedules => "select count(*) from engine.schedule where tenant = $1",
        Setting::Secrets => "select count(*) from engine.secret where tenant = $1",
        Setting::ApiKeys => {
            "select count(*) from engine.api_key
             where tenant = $1 and revoked_at is null and (expires_at is null or expires_at > $2)"
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
    let question = if has_time { question.bind(act.at) } else { question };
    let count: i64 = question.fetch_one(tx).await.map_err(|error| E::from(read_error(error)))?;
    if count.unsigned_abs() > bound.most { Err(Exceeded(bound).into()) } else { Ok(()) }
}
