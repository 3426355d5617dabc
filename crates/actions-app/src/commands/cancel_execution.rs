//! Asks for an execution to be cancelled. The node that owns its partition decides; a running
//! attempt is told, not killed.

use actions_domain::audit::{ActKind, Deed};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::execution::Status;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::ports::store::StoreError;
use actions_domain::work::Cancel;
use serde_json::json;

use crate::app::App;
use crate::ingress::IngressError;

pub struct CancelExecution {
    pub tenant: TenantId,
    pub execution: ExecutionId,
}

#[derive(Debug, thiserror::Error)]
pub enum CancelExecutionError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such execution")]
    NotFound,
    #[error("the execution is {} already", status.word())]
    Final { status: Status },
    #[error(transparent)]
    Ingress(#[from] IngressError),
    #[error("the history cannot be read")]
    Store(#[from] StoreError),
}

/// Asks for a cancellation, which is remembered until the execution ends one way or the other.
pub async fn cancel_execution(
    app: &App,
    caller: &AuthorizationContext,
    request: CancelExecution,
) -> Result<(), CancelExecutionError> {
    app.require(caller, Permission::CancelExecution, request.tenant).await?;
    let CancelExecution { tenant, execution } = request;
    let found = app.ports.history.find_execution(tenant, execution).await?;
    let status = found.ok_or(CancelExecutionError::NotFound)?.status;
    // Tells the caller at once when it is too late. The owner asks again, because an attempt may
    // end in between.
    if status.is_final() {
        return Err(CancelExecutionError::Final { status });
    }
    let subject = format!("execution:{execution}");
    let act = app.act(caller, tenant, ActKind::ExecutionCancelled, subject);
    let act = act.from(json!({ "status": status.word() }));
    let deed = Deed::Cancel { act, execution };
    app.ingress.cancel(Cancel { tenant, execution, by: None }, Some(deed)).await?;
    Ok(())
}
