//! Forgets dead letters. Their executions stay in the history, with the reason.

use actions_domain::audit::{ActKind, Deed};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::id::TenantId;
use actions_domain::limits::{DEAD_LETTERS_PER_CALL_MAX, ERROR_BYTES_MAX};
use actions_domain::ports::store::StoreError;
use actions_domain::work::Discard;

use crate::app::App;
use crate::commands::requeue_dead_letters::subject;
use crate::ingress::IngressError;
use crate::queries::QueryError;
use crate::queries::dead_letters::{Reader, Selection};

pub struct DiscardDeadLetters {
    pub tenant: TenantId,
    pub selection: Selection,
    /// Why nobody needs them, for the record. Never empty.
    pub reason: String,
    /// At most this many; at most [`DEAD_LETTERS_PER_CALL_MAX`].
    pub max: u32,
}

/// How far a discard came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discarded {
    pub discarded: u64,
    /// There may be more: call again.
    pub more: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum DiscardDeadLettersError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("a reason has 1 to {max} bytes, not {bytes}", max = ERROR_BYTES_MAX)]
    Reason { bytes: usize },
    /// One was asked for by its id, and there is none.
    #[error("no such dead letter")]
    NotFound,
    #[error(transparent)]
    Selection(#[from] QueryError),
    #[error(transparent)]
    Ingress(#[from] IngressError),
    #[error("the history cannot be read")]
    Store(#[from] StoreError),
}

/// Discards dead letters. One that somebody requeues at the same moment is left out.
pub async fn discard_dead_letters(
    app: &App,
    caller: &AuthorizationContext,
    request: DiscardDeadLetters,
) -> Result<Discarded, DiscardDeadLettersError> {
    app.require(caller, Permission::ManageDeadLetters, request.tenant).await?;
    let bytes = request.reason.len();
    if request.reason.trim().is_empty() || bytes > ERROR_BYTES_MAX {
        return Err(DiscardDeadLettersError::Reason { bytes });
    }
    let is_single = matches!(&request.selection, Selection::Ids(ids) if ids.len() == 1);
    let max = request.max.min(DEAD_LETTERS_PER_CALL_MAX);
    let mut reader = Reader::new(app, request.tenant, request.selection, max)?;
    let mut done = Discarded::default();
    while let Some(letters) = reader.next().await? {
        if letters.is_empty() {
            continue;
        }
        let (tenant, reason) = (request.tenant, &request.reason);
        let executions: Vec<_> = letters.iter().map(|letter| letter.execution.id).collect();
        let discards = executions.iter().map(|execution| Discard {
            tenant,
            execution: *execution,
            reason: reason.clone(),
        });
        let discards = discards.collect();
        let act = app.act(caller, tenant, ActKind::DeadLettersDiscarded, subject(&executions));
        let deed = Deed::Discard { act: act.because(Some(reason)), executions };
        done.discarded += app.ingress.discard(discards, Some(deed)).await?;
    }
    if is_single && done.discarded == 0 {
        return Err(DiscardDeadLettersError::NotFound);
    }
    done.more = reader.has_more();
    Ok(done)
}
