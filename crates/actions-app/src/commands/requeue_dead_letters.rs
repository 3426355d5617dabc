//! Runs dead letters again. Each becomes a new execution, whose parent is the dead one, with the
//! action as it is now: whoever requeues has usually just mended it.

use std::sync::Arc;

use actions_domain::action::Action;
use actions_domain::audit::{ActKind, Deed};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission};
use actions_domain::event::Event;
use actions_domain::execution::Execution;
use actions_domain::gathering::Gathering;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::DEAD_LETTERS_PER_CALL_MAX;
use actions_domain::ports::history::DeadLetter;
use actions_domain::ports::store::StoreError;
use actions_domain::terms::Terms;
use actions_domain::work::{Dedupe, Ingest, Ingested, Key, Submission, Submitted, Work};

use crate::app::App;
use crate::commands::execute_action::why_blocked;
use crate::commands::key::{key_alone, key_for, key_for_job, terms_of, wants_data};
use crate::commands::save_action::current_definitions;
use crate::commands::submit_event::hash_texts;
use crate::ingress::IngressError;
use crate::queries::QueryError;
use crate::queries::dead_letters::{Reader, Selection};
use serde_json::Value;

pub struct RequeueDeadLetters {
    pub tenant: TenantId,
    pub selection: Selection,
    /// At most this many, newest first; at most [`DEAD_LETTERS_PER_CALL_MAX`].
    pub max: u32,
}

/// How far a requeue came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Requeued {
    /// Dead and new execution, in the order in which they were requeued.
    pub executions: Vec<(ExecutionId, ExecutionId)>,
    /// Those that stay dead letters, with the reason.
    pub refused: Vec<(ExecutionId, String)>,
    /// There may be more: call again.
    pub more: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum RequeueDeadLettersError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
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

/// Requeues dead letters, newest first. One that somebody else requeues or discards at the same
/// moment is left out.
pub async fn requeue_dead_letters(
    app: &App,
    caller: &AuthorizationContext,
    request: RequeueDeadLetters,
) -> Result<Requeued, RequeueDeadLettersError> {
    app.require(caller, Permission::ManageDeadLetters, request.tenant).await?;
    let is_single = matches!(&request.selection, Selection::Ids(ids) if ids.len() == 1);
    let max = request.max.min(DEAD_LETTERS_PER_CALL_MAX);
    let mut reader = Reader::new(app, request.tenant, request.selection, max)?;
    // Whoever requeues has usually just mended the action, maybe on another node.
    current_definitions(app, request.tenant).await?;
    let mut done = Requeued::default();
    while let Some(letters) = reader.next().await? {
        requeue(app, caller, request.tenant, &letters, &mut done).await?;
    }
    if is_single && done.executions.is_empty() && done.refused.is_empty() {
        return Err(RequeueDeadLettersError::NotFound);
    }
    done.more = reader.has_more();
    Ok(done)
}

async fn requeue(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    letters: &[DeadLetter],
    done: &mut Requeued,
) -> Result<(), RequeueDeadLettersError> {
    let mut drafts = Vec::with_capacity(letters.len());
    for letter in letters {
        match draft(app, tenant, &letter.execution).await? {
            Ok(draft) => drafts.push((letter.execution.id, draft)),
            Err(reason) => done.refused.push((letter.execution.id, reason)),
        }
    }
    if drafts.is_empty() {
        return Ok(());
    }
    let (dead, ingests): (Vec<_>, Vec<_>) = drafts.into_iter().unzip();
    let fresh: Vec<_> = ingests.iter().map(|ingest| ingest.works[0].1.id).collect();
    let submission = Submission::new(tenant, None, ingests);
    let act = app.act(caller, tenant, ActKind::DeadLettersRequeued, subject(&dead));
    let deed = Deed::Requeue { act, executions: dead.clone() };
    let Submitted::Accepted(ingested) = app.ingress.submit_deed(submission, deed).await? else {
        // Nothing was matched, so nothing can be stale.
        return Ok(());
    };
    for ((dead, fresh), outcome) in dead.into_iter().zip(fresh).zip(ingested) {
        match requeued(fresh, outcome) {
            Ok(execution) => done.executions.push((dead, execution)),
            Err(reason) => done.refused.push((dead, reason)),
        }
    }
    Ok(())
}

/// What the audit calls dead letters.
pub(super) fn subject(dead: &[ExecutionId]) -> String {
    match dead {
        [one] => format!("dead_letter:{one}"),
        many => format!("dead_letters:{}", many.len()),
    }
}

/// The execution that repeats a dead one, now or since an earlier request.
pub(crate) fn requeued(fresh: ExecutionId, outcome: Ingested) -> Result<ExecutionId, String> {
    match outcome {
        Ingested::Stored => Ok(fresh),
        Ingested::Duplicate { subject } => Ok(ExecutionId(subject)),
        Ingested::NotDead => Err("it is no dead letter any more".to_owned()),
    }
}

/// The work that repeats a dead letter, or why it would only die again. Then it stays what it is:
/// an execution that is cancelled leaves no dead letter behind.
pub(crate) async fn draft(
    app: &App,
    tenant: TenantId,
    dead: &Execution,
) -> Result<Result<Ingest, String>, StoreError> {
    let definitions = app.catalogue.find(tenant);
    let Some((action, defs)) =
        definitions.and_then(|known| Some((known.action(dead.action)?, known.version())))
    else {
        return Ok(Err("its action was deleted".to_owned()));
    };
    if let Some(reason) = why_blocked(app, &action) {
        return Ok(Err(format!("its action cannot run: {reason}")));
    }
    let now = app.ports.clock.now();
    let event = match dead.event {
        Some(event) => app.ports.history.find_event(tenant, event).await?,
        None => None,
    };
    if dead.event.is_some() && event.is_none() {
        return Ok(Err("its event is not kept any more".to_owned()));
    }
    let key = key_of(&action, event.as_ref(), dead.input.as_ref());
    let terms = terms_again(&action, event.as_ref(), dead.input.as_ref());
    let terms = with_members(app, &action, dead, terms).await?;
    let part = app.live.part_of(tenant, key.as_ref());
    let work = Work {
        id: ExecutionId::mint(now, app.ports.dice.bytes()),
        tenant,
        lane: dead.priority,
        action: dead.action,
        defs,
        key,
        event: dead.event,
        parent: Some(dead.id),
        queued_at: now,
        delay: None,
        input: dead.input.clone(),
        depth: event.map_or(0, |event| event.attributes.depth),
        terms,
    };
    // An execution dies once, so its id names the requeue.
    let dedupe = Dedupe { key: hash_texts(&["requeue", &dead.id.to_string()]), subject: work.id.0 };
    Ok(Ok(Ingest {
        event: None,
        dedupe: Some(dedupe),
        works: vec![(part, Arc::new(work))],
        requeue_of: Some(dead.id),
    }))
}

fn terms_again(action: &Action, event: Option<&Event>, input: Option<&Json>) -> Option<Arc<Terms>> {
    let data = event.map(|event| &event.data).or(input).filter(|_| wants_data(action));
    let data = data.map_or(Value::Null, Json::to_value);
    // A person asked for it: it claims nothing, and nothing stands for it.
    let terms = terms_of(action, None, &data)?;
    Terms { claim: None, ..(*terms).clone() }.unless_empty()
}

/// What repeats a batch has all its members, whatever the action says today. Nobody joins it.
async fn with_members(
    app: &App,
    action: &Action,
    dead: &Execution,
    terms: Option<Arc<Terms>>,
) -> Result<Option<Arc<Terms>>, StoreError> {
    let may_be_batch = action.spec.batch.is_some() || action.version > dead.defs;
    if !may_be_batch {
        return Ok(terms);
    }
    let members = app.ports.history.members_of(dead.tenant, dead.id).await?.len();
    if members == 0 {
        return Ok(terms);
    }
    let size_max = u32::try_from(members + 1).unwrap_or(u32::MAX);
    let terms = terms.as_deref().cloned().unwrap_or_default();
    let gathering = Some(Gathering { key: None, size_max });
    Ok(Terms { gathering, ..terms }.unless_empty())
}

fn key_of(action: &Action, event: Option<&Event>, input: Option<&Json>) -> Option<Key> {
    match (event, input) {
        (Some(event), _) => {
            let data = event.data.to_value();
            key_for(action, event, &data)
        }
        (None, Some(input)) => key_for_job(action, input),
        (None, None) => key_alone(action),
    }
}
