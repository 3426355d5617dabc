//! Gives tasks to a worker outside of this program.

use std::time::Duration;

use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::limits::{
    NAME_BYTES_MAX, PULL_CLAIM_MAX, PULL_LEASE_MAX, PULL_QUEUES_MAX, WAIT_MAX,
};
use actions_domain::ports::pull_queue::{Claimed, QueueName, QueueNameError, Wish};
use actions_domain::ports::store::StoreError;

use crate::app::App;

/// How often the queues are asked while a worker waits.
const ASK_AGAIN: Duration = Duration::from_millis(250);

pub struct ClaimTasks {
    pub tenant: TenantId,
    pub queues: Vec<String>,
    pub max: u32,
    pub worker: String,
    /// How long the worker may say nothing.
    pub lease: Duration,
    /// How long to wait for the first task.
    pub wait: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ClaimTasksError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("expected 1 to {max} queues, got {given}", max = PULL_QUEUES_MAX)]
    Queues { given: usize },
    #[error(transparent)]
    Queue(#[from] QueueNameError),
    #[error("max is {given}, allowed are 1 to {max}", max = PULL_CLAIM_MAX)]
    Max { given: u32 },
    #[error("a worker's name has 1 to {max} bytes without control characters", max = NAME_BYTES_MAX)]
    Worker,
    #[error("lease_seconds is {given}, allowed are 1 to {max}", max = PULL_LEASE_MAX.as_secs())]
    Lease { given: u64 },
    #[error("wait is {given} s, allowed are 0 to {max}", max = WAIT_MAX.as_secs())]
    Wait { given: u64 },
    #[error("the queue cannot be used")]
    Store(#[from] StoreError),
}

impl ClaimTasksError {
    /// The JSON pointer of the field that is wrong, when one is.
    pub fn pointer(&self) -> Option<&'static str> {
        match self {
            Self::Queues { .. } | Self::Queue(_) => Some("/queues"),
            Self::Max { .. } => Some("/max"),
            Self::Worker => Some("/worker"),
            Self::Lease { .. } => Some("/lease_seconds"),
            Self::Wait { .. } => Some("/wait"),
            Self::Forbidden(_) | Self::Store(_) => None,
        }
    }
}

/// Takes tasks out of queues of a tenant, and waits for the first one. Nothing is no error.
pub async fn claim_tasks(
    app: &App,
    caller: &AuthorizationContext,
    request: ClaimTasks,
) -> Result<Vec<Claimed>, ClaimTasksError> {
    app.require(caller, Permission::WorkOnTasks, request.tenant).await?;
    check(&request)?;
    let ClaimTasks { tenant, queues, max, worker, lease, wait } = request;
    let nonce = ExecutionId::mint(app.ports.clock.now(), app.ports.dice.bytes()).0;
    let wish = Wish { tenant, queues, max, worker, lease, nonce };
    let clock = &app.ports.clock;
    let begun_at = clock.now();
    loop {
        let claimed = app.ports.pull_queue.claim(&wish).await?;
        let waited = (clock.now() - begun_at).to_std().unwrap_or_default();
        if !claimed.is_empty() || waited >= wait {
            return Ok(claimed);
        }
        clock.sleep(ASK_AGAIN.min(wait - waited)).await;
        // They may have been told no meanwhile.
        app.require(caller, Permission::WorkOnTasks, wish.tenant).await?;
    }
}

fn check(request: &ClaimTasks) -> Result<(), ClaimTasksError> {
    if !(1..=PULL_QUEUES_MAX).contains(&request.queues.len()) {
        return Err(ClaimTasksError::Queues { given: request.queues.len() });
    }
    for queue in &request.queues {
        QueueName::parse(queue)?;
    }
    if !(1..=PULL_CLAIM_MAX).contains(&request.max) {
        return Err(ClaimTasksError::Max { given: request.max });
    }
    let name = &request.worker;
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
        return Err(ClaimTasksError::Worker);
    }
    check_lease(request.lease).map_err(|given| ClaimTasksError::Lease { given })?;
    if request.wait > WAIT_MAX {
        return Err(ClaimTasksError::Wait { given: request.wait.as_secs() });
    }
    Ok(())
}

/// Whether a worker may be silent for so long. Else the seconds it asked for.
pub(super) fn check_lease(lease: Duration) -> Result<(), u64> {
    let is_allowed = (Duration::from_secs(1)..=PULL_LEASE_MAX).contains(&lease);
    if is_allowed { Ok(()) } else { Err(lease.as_secs()) }
}
