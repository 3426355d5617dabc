//! Runs an action once without an event: a job.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::action::Action;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::execution::Priority;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::{EVENT_BYTES_MAX, SCHEDULE_AHEAD_MAX};
use actions_domain::ports::handler::FieldNote;
use actions_domain::ports::schemas::SchemaError;
use actions_domain::ports::store::StoreError;
use actions_domain::terms::{Conflict, Yielded};
use actions_domain::work::{Dedupe, Ingest, Ingested, Part, Submission, Submitted, Work};

use crate::app::App;
use crate::commands::control_tenant::suspension_of;
use crate::commands::key::{Accepted, delay_of, key_for_job, wants_data};
use crate::commands::save_action::current_definitions;
use crate::commands::submit_event::{Idempotency, after, hash_texts};
use crate::ingress::IngressError;
use crate::quotas::{Admission, QuotaError};
use serde_json::Value;

/// How often a job is accepted again because definitions changed at the same moment.
const ACCEPT_AGAIN_MAX: u32 = 10;

pub struct ExecuteAction {
    pub tenant: TenantId,
    /// The action's name.
    pub action: String,
    pub input: Json,
    /// Defaults to the action's own.
    pub priority: Option<Priority>,
    /// Starts no earlier than after this pause.
    pub delay: Option<Duration>,
    pub idempotency: Option<Idempotency>,
}

/// The job as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedJob {
    pub execution: ExecutionId,
    /// It had been accepted before, or an earlier one stands for it.
    pub duplicate: bool,
    /// It has joined a batch, whose head this is.
    pub has_joined: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ExecuteActionError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no such action")]
    NotFound,
    /// With the reason: switched off, unhealthy, or without a handler.
    #[error("the action cannot run: {reason}")]
    Blocked { reason: String },
    #[error("the input has {bytes} bytes, allowed are {max}", max = EVENT_BYTES_MAX)]
    TooLarge { bytes: usize },
    #[error("an execution may be scheduled {max} s ahead", max = SCHEDULE_AHEAD_MAX.as_secs())]
    TooFarAhead,
    #[error("the input does not satisfy the handler")]
    Input(Vec<FieldNote>),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The action's `unique` says that there is to be none.
    #[error(
        "execution {holder} is the only one for this key until it has ended or its time is over"
    )]
    NotUnique { holder: ExecutionId },
    #[error("the idempotency key was used for a different request")]
    IdempotencyMismatch,
    #[error(transparent)]
    Quota(#[from] QuotaError),
    #[error("the definitions change faster than the job can be accepted")]
    Busy,
    #[error(transparent)]
    Ingress(#[from] IngressError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Accepts a job. It is stored when this returns, and runs as the action is at this moment.
pub async fn execute_action(
    app: &App,
    caller: &AuthorizationContext,
    request: ExecuteAction,
) -> Result<AcceptedJob, ExecuteActionError> {
    caller.require(Permission::Execute, request.tenant)?;
    let bytes = request.input.as_str().len();
    if bytes > EVENT_BYTES_MAX {
        return Err(ExecuteActionError::TooLarge { bytes });
    }
    if request.delay.is_some_and(|delay| delay > SCHEDULE_AHEAD_MAX) {
        return Err(ExecuteActionError::TooFarAhead);
    }
    if Admission::of(caller) == Admission::Asked {
        app.quotas.admit_job(request.tenant)?;
    }
    for _ in 0..ACCEPT_AGAIN_MAX {
        let definitions = match app.catalogue.find(request.tenant) {
            Some(known) => known,
            None => current_definitions(app, request.tenant)
                .await?
                .ok_or(ExecuteActionError::NotFound)?,
        };
        // Read before the action, so that it is never newer than the action.
        let defs = definitions.version();
        let action =
            definitions.action_named(&request.action).ok_or(ExecuteActionError::NotFound)?;
        check(app, &action, &request.input)?;
        let (part, work) = work_of(app, &action, defs, &request);
        let id = work.id;
        let ingest = Ingest {
            event: None,
            dedupe: Some(dedupe_of(id)),
            works: vec![(part, Arc::new(work))],
            requeue_of: None,
        };
        let submission = Submission {
            request: request.idempotency.as_ref().map(Idempotency::request),
            ..Submission::new(request.tenant, Some(defs), vec![ingest])
        };
        let (submitted, yielded) = app.ingress.submit_claims(submission).await?;
        match submitted {
            Submitted::Stale { defs } => app.catalogue.refresh(request.tenant, defs).await?,
            Submitted::Mismatch => return Err(ExecuteActionError::IdempotencyMismatch),
            Submitted::Accepted(ingested) => {
                return match yielded.iter().find(|yielded| yielded.execution == id) {
                    Some(Yielded { to, on_conflict: Conflict::Reject, .. }) => {
                        Err(ExecuteActionError::NotUnique { holder: *to })
                    }
                    Some(Yielded { to, has_joined, .. }) => Ok(AcceptedJob {
                        execution: *to,
                        duplicate: !has_joined,
                        has_joined: *has_joined,
                    }),
                    None => Ok(answer(id, ingested.first())),
                };
            }
        }
    }
    Err(ExecuteActionError::Busy)
}

/// Why an action cannot run at this moment. `None`: it can.
pub fn why_blocked(app: &App, action: &Action) -> Option<String> {
    if suspension_of(app, action.tenant).is_some() {
        return Some("its tenant is suspended".to_owned());
    }
    if !action.spec.is_active {
        return Some("it is switched off".to_owned());
    }
    if !app.handlers.is_installed(&action.spec.handler) {
        return Some(format!("its handler {} is not installed", action.spec.handler));
    }
    if !action.health.is_healthy {
        let error = action.health.error.as_deref().unwrap_or("no reason was given");
        return Some(format!("its last health check failed: {error}"));
    }
    None
}

fn check(app: &App, action: &Action, input: &Json) -> Result<(), ExecuteActionError> {
    if let Some(reason) = why_blocked(app, action) {
        return Err(ExecuteActionError::Blocked { reason });
    }
    let Some(handler) = app.handlers.find(&action.spec.handler) else { return Ok(()) };
    let notes = app.ports.schemas.check(&handler.descriptor().input_schema, &input.to_value())?;
    if notes.is_empty() { Ok(()) } else { Err(ExecuteActionError::Input(notes)) }
}

fn work_of(app: &App, action: &Action, defs: i64, request: &ExecuteAction) -> (Part, Work) {
    let now = app.ports.clock.now();
    let delay = delay_of(action, request.delay);
    let due = delay.map_or(now, |delay| after(now, delay));
    let key = key_for_job(action, &request.input);
    let part = app.live.part_of(request.tenant, key.as_ref());
    let data = if wants_data(action) { request.input.to_value() } else { Value::Null };
    let accepted = Accepted {
        action,
        subscription: None,
        key: key.as_ref(),
        asked: request.delay,
        depth: 0,
        data: &data,
    };
    let terms = accepted.terms();
    let work = Work {
        // An id's time is the time at which it may first start.
        id: ExecutionId::mint(due, app.ports.dice.bytes()),
        tenant: request.tenant,
        lane: request.priority.unwrap_or(action.spec.priority),
        action: action.id,
        defs,
        key,
        event: None,
        parent: None,
        queued_at: now,
        delay,
        input: Some(request.input.clone()),
        depth: 0,
        terms,
    };
    (part, work)
}

/// A job names itself, so that a flush that is sent twice finds it.
fn dedupe_of(id: ExecutionId) -> Dedupe {
    Dedupe { key: hash_texts(&["job", &id.to_string()]), subject: id.0 }
}

fn answer(id: ExecutionId, ingested: Option<&Ingested>) -> AcceptedJob {
    match ingested {
        Some(Ingested::Duplicate { subject }) => {
            let execution = ExecutionId(*subject);
            AcceptedJob { execution, duplicate: execution != id, has_joined: false }
        }
        Some(Ingested::Stored | Ingested::NotDead) | None => {
            AcceptedJob { execution: id, duplicate: false, has_joined: false }
        }
    }
}
