//! Takes a remote worker's word of a task that it has claimed.

use std::time::Duration;

use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::json::Json;
use actions_domain::limits::{CHECKPOINT_BYTES_MAX, OUTPUT_BYTES_MAX, PULL_LEASE_MAX};
use actions_domain::ports::pull_queue::{Answer, ClaimToken, Word};
use actions_domain::ports::store::StoreError;

use super::claim_tasks::check_lease;
use crate::app::App;

pub struct TellOfTask {
    pub tenant: TenantId,
    pub token: String,
    pub word: Word,
}

#[derive(Debug, thiserror::Error)]
pub enum TellOfTaskError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(
        "the claim is over: its attempt has ended, or another worker has the task; stop working on it"
    )]
    Over,
    #[error("lease_seconds is {given}, allowed are 1 to {max}", max = PULL_LEASE_MAX.as_secs())]
    Lease { given: u64 },
    #[error("progress is a number from 0 to 1")]
    Progress,
    #[error("the {what} has {bytes} bytes, allowed are {max}")]
    TooLarge { what: &'static str, bytes: usize, max: usize },
    #[error(
        "a code is area.reason in lower-case letters, digits and '_', at most {CODE_BYTES_MAX} bytes, not {given:?}"
    )]
    Code { given: String },
    #[error("the queue cannot be used")]
    Store(#[from] StoreError),
}

/// The code of a worker's fault. Dead letters are grouped by it.
const CODE_BYTES_MAX: usize = 100;

impl TellOfTaskError {
    /// The JSON pointer of the field that is wrong, when one is.
    pub fn pointer(&self) -> Option<&'static str> {
        match self {
            Self::Lease { .. } => Some("/lease_seconds"),
            Self::Progress => Some("/progress"),
            Self::TooLarge { what: "checkpoint", .. } => Some("/checkpoint"),
            Self::TooLarge { .. } => Some("/output"),
            Self::Code { .. } => Some("/code"),
            Self::Forbidden(_) | Self::Over | Self::Store(_) => None,
        }
    }
}

/// Passes a word on to the attempt that waits, and answers how long the worker may be silent now.
pub async fn tell_of_task(
    app: &App,
    caller: &AuthorizationContext,
    request: TellOfTask,
) -> Result<Duration, TellOfTaskError> {
    app.require(caller, Permission::WorkOnTasks, request.tenant).await?;
    check(&request.word)?;
    // A token of any other form was never given out.
    let token = ClaimToken::parse(&request.token).ok_or(TellOfTaskError::Over)?;
    let told = app.ports.pull_queue.tell(request.tenant, token, &request.word).await?;
    told.ok_or(TellOfTaskError::Over)
}

fn check(word: &Word) -> Result<(), TellOfTaskError> {
    match word {
        Word::Extend(None) => Ok(()),
        Word::Extend(Some(lease)) => {
            check_lease(*lease).map_err(|given| TellOfTaskError::Lease { given })
        }
        Word::Progress { done, checkpoint, .. } => {
            if done.is_some_and(|done| !(0.0..=1.0).contains(&done)) {
                return Err(TellOfTaskError::Progress);
            }
            let bytes =
                checkpoint.as_ref().map_or(0, |checkpoint: &Json| checkpoint.as_str().len());
            check_size("checkpoint", bytes, CHECKPOINT_BYTES_MAX)
        }
        Word::Answer(Answer::Done { output }) => {
            check_size("output", output.len(), OUTPUT_BYTES_MAX)
        }
        Word::Answer(Answer::Failed { code, .. }) => {
            let is_word = |word: &str| {
                let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
                !word.is_empty() && word.bytes().all(is_allowed)
            };
            let is_code = code.contains('.') && code.split('.').all(is_word);
            if is_code && code.len() <= CODE_BYTES_MAX {
                return Ok(());
            }
            Err(TellOfTaskError::Code { given: code.chars().take(CODE_BYTES_MAX).collect() })
        }
    }
}

fn check_size(what: &'static str, bytes: usize, max: usize) -> Result<(), TellOfTaskError> {
    if bytes > max { Err(TellOfTaskError::TooLarge { what, bytes, max }) } else { Ok(()) }
}
