//! Tells a run something: a signal, to pause, to go on, to stop, or to try again.

use actions_domain::audit::{ActKind, Deed};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::flow::decide::{Refusal, check_words, decide};
use actions_domain::flow::record::{RunStatus, Tell};
use actions_domain::flow::told::Told;
use actions_domain::id::{RunId, TenantId};
use actions_domain::ports::store::StoreError;
use actions_domain::retry::Jitter;
use actions_domain::work::Commit;
use serde_json::json;

use crate::app::App;
use crate::queries::QueryError;
use crate::queries::runs::read_run;
use crate::quotas::{Admission, QuotaError};

pub struct TellRun {
    pub tenant: TenantId,
    pub run: RunId,
    pub told: Told,
}

#[derive(Debug, thiserror::Error)]
pub enum TellRunError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such run")]
    NotFound,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Quota(#[from] QuotaError),
    #[error("the run cannot be read")]
    Query(#[from] QueryError),
    #[error("the store does not take it")]
    Store(#[from] StoreError),
}

/// Writes down what a run is told. The owner of the run takes it in its turn, and asks the same
/// question again, because something else may come first.
pub async fn tell_run(
    app: &App,
    caller: &AuthorizationContext,
    request: TellRun,
) -> Result<(), TellRunError> {
    let TellRun { tenant, run, told } = request;
    let (permission, kind) = asked(&told);
    app.require(caller, permission, tenant).await?;
    check_words(&told)?;
    if matches!(told, Told::Signal { .. }) && Admission::of(caller) == Admission::Asked {
        app.quotas.admit_job(tenant)?;
    }
    let record = app.ports.runs.find_run(tenant, run).await?.ok_or(TellRunError::NotFound)?;
    // What has not begun takes it after its start.
    if record.state.status != RunStatus::Pending {
        let read = read_run(app, record.clone()).await?;
        if let Some(flow) = &read.flow {
            let mut state = read.run.clone();
            let input = told.clone().into_input(flow, &state, Jitter::ZERO);
            let now = app.ports.clock.now();
            decide(flow, &mut state, input, now, app.workflows.expressions())?;
        }
    }
    let act = app.act(caller, tenant, kind, format!("run:{run}"));
    let act = act.from(json!({ "status": record.state.status.word() })).because(reason_of(&told));
    let tell = Tell { tenant, part: record.part, run, told };
    let deed = Some(Deed::TellRun { act });
    app.ports.store.commit(Commit { tells: vec![tell], deed, ..Commit::default() }).await?;
    app.tell_of_runs([record.part]);
    Ok(())
}

/// What a caller needs to say something, and what the audit calls it.
fn asked(told: &Told) -> (Permission, ActKind) {
    match told {
        Told::Pause { .. } => (Permission::Pause, ActKind::RunPaused),
        Told::Resume => (Permission::Pause, ActKind::RunResumed),
        Told::Cancel { .. } => (Permission::CancelExecution, ActKind::RunCancelled),
        Told::RetryFrom { .. } => (Permission::ManageDeadLetters, ActKind::RunRetried),
        Told::Signal { .. } | Told::Start { .. } | Told::Ended { .. } => {
            (Permission::Execute, ActKind::RunSignalled)
        }
    }
}

fn reason_of(told: &Told) -> Option<&str> {
    match told {
        Told::Pause { reason } | Told::Cancel { reason, .. } => reason.as_deref(),
        Told::Start { .. }
        | Told::Ended { .. }
        | Told::Signal { .. }
        | Told::Resume
        | Told::RetryFrom { .. } => None,
    }
}
