//! What the end of an attempt leads to.

use std::time::Duration;

use super::End;
use crate::execution::fingerprint::fingerprint;
use crate::execution::{Attempt, AttemptOutcome, ErrorClass, Fault, Status};
use crate::id::ExecutionId;
use crate::json::Json;
use crate::work::Work;

/// What follows an attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    Finish(Ending),
    Retry { delay: Duration },
}

/// How an item ends.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) status: Status,
    pub(super) output: Option<Json>,
    pub(super) error: Option<Fault>,
    /// Its handler said that another try is of no use.
    pub(super) rejected: bool,
}

impl Ending {
    pub(super) fn cancelled() -> Self {
        Self { status: Status::Cancelled, output: None, error: None, rejected: false }
    }

    /// An item whose place a newer one has taken.
    pub(super) fn superseded(by: ExecutionId) -> Self {
        let error = Some(Fault::system("execution.superseded", format!("superseded by {by}")));
        Self { status: Status::Skipped, output: None, error, rejected: false }
    }

    /// An item that was lost with its node too often to be tried again.
    pub(super) fn poison(losses: u8) -> Self {
        let message = format!("its node ended {losses} times while it ran");
        let error = Some(Fault::system("execution.poison", message));
        Self { status: Status::Failed, output: None, error, rejected: true }
    }

    /// The fingerprint under which it becomes a dead letter. A step of a run becomes none: its run
    /// decides what its failure means, and repeating it alone would change nothing.
    pub(super) fn dead(&self, work: &Work) -> Option<String> {
        let is_failure = matches!(self.status, Status::Failed | Status::Timeout);
        let is_awaited = work.step().is_some_and(|step| step.call.is_some());
        let fault = self.error.as_ref().filter(|_| is_failure && !is_awaited);
        fault.map(|fault| fingerprint(work.action, fault))
    }
}

/// Decides on the last of `attempts`, which has ended like this.
///
/// Attempts that were lost or cut off do not count against the retries: nobody judged them. One
/// that was cut off is made again at once.
pub(super) fn judge(attempts: &[Attempt], end: End) -> Verdict {
    let End { outcome, output, fault, rejected, policy, jitter, .. } = end;
    let status = match outcome {
        AttemptOutcome::Completed => {
            let status = Status::Completed;
            return Verdict::Finish(Ending { status, output, error: None, rejected });
        }
        // Not to be made at all, as when its action was switched off meanwhile.
        AttemptOutcome::Cancelled if rejected => {
            let status = Status::Cancelled;
            return Verdict::Finish(Ending { status, output, error: fault, rejected });
        }
        AttemptOutcome::Cancelled | AttemptOutcome::Lost => {
            return Verdict::Retry { delay: Duration::ZERO };
        }
        AttemptOutcome::Timeout => Status::Timeout,
        AttemptOutcome::Failed | AttemptOutcome::Unknown => Status::Failed,
    };
    let failed = attempts.iter().filter(|attempt| is_judged(attempt.outcome)).count();
    let failed = u32::try_from(failed).unwrap_or(u32::MAX);
    let fault = fault.unwrap_or_else(|| unexplained(status));
    let may_retry = !rejected && outcome != AttemptOutcome::Unknown;
    let delay = || policy.delay_after(failed, fault.class, fault.retry_after(), jitter);
    match may_retry.then(delay).flatten() {
        Some(delay) => Verdict::Retry { delay },
        None => {
            let rejected = !may_retry;
            Verdict::Finish(Ending { status, output, error: Some(fault), rejected })
        }
    }
}

fn is_judged(outcome: AttemptOutcome) -> bool {
    match outcome {
        AttemptOutcome::Completed | AttemptOutcome::Failed | AttemptOutcome::Timeout => true,
        AttemptOutcome::Cancelled | AttemptOutcome::Lost | AttemptOutcome::Unknown => false,
    }
}

fn unexplained(status: Status) -> Fault {
    if status == Status::Timeout {
        return Fault::new(ErrorClass::Timeout, "execution.timeout", "no answer in time");
    }
    Fault::handler("execution.failed", "the handler failed without saying why")
}
