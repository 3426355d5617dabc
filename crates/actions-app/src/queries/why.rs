//! Why an execution is not running, or how it ended, in one sentence.

use actions_domain::Timestamp;
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::dispatch::Waiting;
use actions_domain::execution::{Execution, Status};
use actions_domain::id::ExecutionId;
use actions_domain::throttle::Scope;

use crate::app::App;
use crate::queries::QueryError;

/// What an execution waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// `time`, `key`, `key_concurrency`, `key_rate`, `concurrency`, `rate`, `resume`, `slot`, `node`, `running` or `ended`.
    pub waits_for: &'static str,
    /// The answer for a person.
    pub because: String,
    /// The setting that causes it.
    pub setting: Option<&'static str>,
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
        return Ok(here(execution, waiting));
    }
    let now = app.ports.clock.now();
    if let Some(due_at) = execution.due_at.filter(|due_at| *due_at > now) {
        return Ok(for_time(execution, due_at));
    }
    if app.live.node().is_none() {
        let because = "no node runs in this process; the node that owns its partition decides";
        return Ok(Why::new("node", because));
    }
    let because = "another node owns its partition, or this one has not read it yet";
    Ok(Why::new("node", because))
}

fn here(execution: &Execution, waiting: Waiting) -> Why {
    match waiting {
        Waiting::ForTime(until) => for_time(execution, until),
        Waiting::ForKey { holder } => {
            let key = execution.key.as_ref().map_or("its key", |key| key.name.as_ref());
            Why {
                setting: Some("affinity, max_concurrent_executions or the event's partition key"),
                holder: Some(holder),
                ..Why::new("key", format!("execution {holder} holds {key} and comes first"))
            }
        }
        Waiting::ForConcurrency { scope, max } => {
            let (who, setting) = match scope {
                Scope::Action(_) => ("the action", "max_concurrent_executions"),
                Scope::Tenant(_) => ("the tenant", "max_concurrent_executions of the tenant"),
                // Only rates.
                Scope::Subscription(..) => ("the subscription", "rate_limit_per_minute"),
            };
            let because =
                format!("{who} may run {max} at once, over all nodes, and has no more room here");
            Why { setting: Some(setting), ..Why::new("concurrency", because) }
        }
        Waiting::ForRate { scope } => {
            let (who, setting) = match scope {
                Scope::Action(_) => ("the action", "rate_limit_per_minute, rate_limit_per_hour"),
                Scope::Tenant(_) => {
                    ("the tenant", "rate_limit_per_minute, rate_limit_per_hour of the tenant")
                }
                Scope::Subscription(..) => (
                    "the subscription that it came by",
                    "rate_limit_per_minute, rate_limit_per_hour of the subscription",
                ),
            };
            let because = format!("{who} has started as much as its rate allows; its turn comes");
            Why { setting: Some(setting), ..Why::new("rate", because) }
        }
        Waiting::ForKeyConcurrency { key, running, max } => {
            let because =
                format!("{running} executions of the action with {key} run, and {max} may at once");
            Why {
                setting: Some("concurrency of the action"),
                ..Why::new("key_concurrency", because)
            }
        }
        Waiting::ForKeyRate { key, until } => Why {
            setting: Some("throttle of the action"),
            until: Some(until),
            ..Why::new(
                "key_rate",
                format!("the action has started as much for {key} as its rate for each key allows"),
            )
        },
        Waiting::ForResume { scope } => {
            let who = match scope {
                Scope::Action(_) => "the action",
                Scope::Tenant(_) => "the tenant",
                Scope::Subscription(..) => "the subscription",
            };
            let because = format!("{who} is paused; what came in waits until it is resumed");
            Why { setting: Some("pause"), ..Why::new("resume", because) }
        }
        Waiting::ForSlot => Why {
            setting: Some("the node's slots"),
            ..Why::new("slot", "all slots of this node are taken; its turn comes")
        },
        Waiting::Running { since_attempt } => {
            Why::new("running", format!("attempt {since_attempt} is running on this node"))
        }
    }
}

fn for_time(execution: &Execution, until: Timestamp) -> Why {
    let (because, setting) = if execution.attempts.is_empty() {
        ("it was asked for at this time", "delay or run_at of the request")
    } else {
        ("the attempt before failed, and the pause before the next is not over", "retry_policy")
    };
    Why { setting: Some(setting), until: Some(until), ..Why::new("time", because) }
}

fn ended(execution: &Execution) -> Why {
    let attempts = match execution.attempts.len() {
        0 => "without an attempt".to_owned(),
        1 => "after one attempt".to_owned(),
        more => format!("after {more} attempts"),
    };
    let because = match (&execution.error, execution.status) {
        (Some(fault), Status::Failed | Status::Timeout) => {
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
