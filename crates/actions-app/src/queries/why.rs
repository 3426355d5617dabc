//! Why an execution is not running, or how it ended, in one sentence.

use actions_domain::Timestamp;
use actions_domain::action::Batch;
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::dispatch::Waiting;
use actions_domain::execution::{Execution, Status};
use actions_domain::id::ExecutionId;
use actions_domain::throttle::{Rate, Scope};

use chrono::TimeDelta;

use crate::app::App;
use crate::queries::QueryError;
use crate::queries::executions::batch_of;

/// How far the store's clock, which says when a batch is due, may be from ours.
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(5);

/// What an execution waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// `time`, `key`, `key_concurrency`, `key_rate`, `concurrency`, `rate`, `resume`, `slot`, `node`, `running` or `ended`.
    pub waits_for: &'static str,
    /// The answer for a person.
    pub because: String,
    /// The setting that causes it.
    pub setting: Option<String>,
    pub until: Option<Timestamp>,
    /// Who holds the key.
    pub holder: Option<ExecutionId>,
}

impl Why {
    fn new(waits_for: &'static str, because: impl Into<String>) -> Self {
        Self { waits_for, because: because.into(), setting: None, until: None, holder: None }
    }
}

/// Answers what an execution waits for.
pub async fn why(
    app: &App,
    caller: &AuthorizationContext,
    execution: &Execution,
) -> Result<Why, QueryError> {
    caller.require(Permission::ReadExecutions, execution.tenant)?;
    if execution.status.is_final() {
        return Ok(ended(execution));
    }
    if let Some(waiting) = app.live.waiting(execution.id).await {
        if let Waiting::ForTime(until) = waiting {
            return for_time(app, caller, execution, until).await;
        }
        return Ok(here(app, execution, waiting));
    }
    let now = app.ports.clock.now();
    if let Some(due_at) = execution.due_at.filter(|due_at| *due_at > now) {
        return for_time(app, caller, execution, due_at).await;
    }
    if app.live.node().is_none() {
        let because = "no node runs in this process; the node that owns its partition decides";
        return Ok(Why::new("node", because));
    }
    let because = "another node owns its partition, or this one has not read it yet";
    Ok(Why::new("node", because))
}

fn here(app: &App, execution: &Execution, waiting: Waiting) -> Why {
    match waiting {
        Waiting::ForTime(until) => until_time(app, execution, until),
        Waiting::ForKey { holder } => {
            let key = execution.key.as_ref().map_or("its key", |key| key.name.as_ref());
            Why {
                setting: Some(key_setting(app, execution).to_owned()),
                holder: Some(holder),
                ..Why::new("key", format!("execution {holder} holds {key} and comes first"))
            }
        }
        Waiting::ForConcurrency { scope, max } => {
            let who = name_of(scope);
            let because =
                format!("{who} may run {max} at once, over all nodes, and has no more room here");
            let setting = setting_of(scope, "max_concurrent_executions");
            Why { setting: Some(setting), ..Why::new("concurrency", because) }
        }
        Waiting::ForRate { scope } => {
            let who = name_of(scope);
            let because = format!("{who} has started as much as its rate allows; its turn comes");
            let setting = setting_of(scope, rate_setting(rate_of(app, execution, scope)));
            Why { setting: Some(setting), ..Why::new("rate", because) }
        }
        Waiting::ForKeyConcurrency { key, running, max } => {
            let because =
                format!("{running} executions of the action with {key} run, and {max} may at once");
            Why { setting: Some("concurrency".to_owned()), ..Why::new("key_concurrency", because) }
        }
        Waiting::ForKeyRate { key, until } => Why {
            setting: Some("throttle".to_owned()),
            until: Some(until),
            ..Why::new(
                "key_rate",
                format!("the action has started as much for {key} as its rate for each key allows"),
            )
        },
        Waiting::ForResume { scope } => {
            let who = name_of(scope);
            let because = format!("{who} is paused; what came in waits until it is resumed");
            Why { setting: Some("pause".to_owned()), ..Why::new("resume", because) }
        }
        Waiting::ForSlot => Why {
            setting: Some("slots of the node".to_owned()),
            ..Why::new("slot", "all slots of this node are taken; its turn comes")
        },
        Waiting::Running { since_attempt } => {
            Why::new("running", format!("attempt {since_attempt} is running on this node"))
        }
    }
}

fn name_of(scope: Scope) -> &'static str {
    match scope {
        Scope::Action(_) => "the action",
        Scope::Tenant(_) => "the tenant",
        Scope::Subscription(..) => "the subscription that it came by",
        Scope::Events(_) => "the way in",
    }
}

fn setting_of(scope: Scope, setting: &str) -> String {
    match scope {
        Scope::Action(_) => setting.to_owned(),
        Scope::Tenant(_) | Scope::Events(_) => format!("{setting} of the tenant"),
        Scope::Subscription(..) => format!("{setting} of the subscription"),
    }
}

/// What gave the execution its key, as [`key_for`](crate::commands::key::key_for) decides.
fn key_setting(app: &App, execution: &Execution) -> &'static str {
    let known = app.catalogue.find(execution.tenant);
    let action = known.and_then(|known| known.action(execution.action));
    let has_affinity = action.is_none_or(|action| action.spec.affinity.is_some());
    let is_of_event =
        || execution.key.as_ref().is_some_and(|key| key.name.starts_with("partition-"));
    match has_affinity {
        true => "affinity",
        false if is_of_event() => "partitionkey of the event",
        false => "max_concurrent_executions",
    }
}

fn rate_of(app: &App, execution: &Execution, scope: Scope) -> Rate {
    let Some(known) = app.catalogue.find(execution.tenant) else { return Rate::default() };
    match scope {
        Scope::Tenant(_) => app.quotas.throttle(&known).0.rate,
        // Nothing that was taken in waits for it.
        Scope::Events(_) => Rate::default(),
        Scope::Action(id) => known.action(id).map_or_else(Rate::default, |action| Rate {
            per_minute: action.spec.rate_limit_per_minute,
            per_hour: action.spec.rate_limit_per_hour,
        }),
        Scope::Subscription(_, id) => known
            .subscription(id)
            .map_or_else(Rate::default, |subscription| subscription.spec.rate()),
    }
}

/// The one that is set, or the tighter one when both are.
fn rate_setting(rate: Rate) -> &'static str {
    let hourly = |per_minute: u32| u64::from(per_minute) * 60;
    match (rate.per_minute, rate.per_hour) {
        (Some(per_minute), Some(per_hour)) if hourly(per_minute) <= per_hour.into() => {
            "rate_limit_per_minute"
        }
        (_, Some(_)) => "rate_limit_per_hour",
        (_, None) => "rate_limit_per_minute",
    }
}

/// A batch gathers until its time.
async fn for_time(
    app: &App,
    caller: &AuthorizationContext,
    execution: &Execution,
    until: Timestamp,
) -> Result<Why, QueryError> {
    let Execution { tenant, action, defs, .. } = *execution;
    let action = app.catalogue.pinned_action(tenant, action, defs).await?;
    let batch = action.as_ref().and_then(|action| action.spec.batch.as_ref());
    // What was asked for at another time runs by itself.
    let waits_for = until - execution.queued_at;
    let gathers = |batch: &Batch| {
        let beside = waits_for - TimeDelta::seconds(batch.max_wait_seconds.into());
        execution.attempts.is_empty() && beside.abs() < CLOCKS_APART
    };
    let Some(Batch { max_size, .. }) = batch.filter(|batch| gathers(batch)) else {
        return Ok(until_time(app, execution, until));
    };
    let size = batch_of(app, caller, execution).await?.map_or(1, |batch| batch.size);
    let because = format!("it gathers until then, {size} of {max_size} so far");
    let setting = Some("batch".to_owned());
    Ok(Why { setting, until: Some(until), ..Why::new("time", because) })
}

fn until_time(app: &App, execution: &Execution, until: Timestamp) -> Why {
    let known = app.catalogue.find(execution.tenant);
    let action = known.and_then(|known| known.action(execution.action));
    let is_debounced = action.is_some_and(|action| action.spec.debounce.is_some());
    let (because, setting) = if execution.attempts.is_empty() && is_debounced {
        ("a newer one may take its place until then", "debounce")
    } else if execution.attempts.is_empty() {
        ("it was asked for at this time", "delay or run_at of the request")
    } else {
        ("the attempt before failed, and the pause before the next is not over", "retry_policy")
    };
    Why { setting: Some(setting.to_owned()), until: Some(until), ..Why::new("time", because) }
}

fn ended(execution: &Execution) -> Why {
    let attempts = match execution.attempts.len() {
        0 => "without an attempt".to_owned(),
        1 => "after one attempt".to_owned(),
        more => format!("after {more} attempts"),
    };
    let because = match (&execution.error, execution.status) {
        (Some(fault), Status::Failed | Status::Timeout | Status::Skipped) => {
            format!("it {} {attempts}: {}", past(execution.status), fault.message)
        }
        _ => format!("it {} {attempts}", past(execution.status)),
    };
    Why::new("ended", because)
}

fn past(status: Status) -> &'static str {
    match status {
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Timeout => "timed out",
        Status::Cancelled => "was cancelled",
        Status::Skipped => "was skipped",
        Status::Pending | Status::Running | Status::Retrying | Status::Paused | Status::Blocked => {
            "has not ended"
        }
    }
}
