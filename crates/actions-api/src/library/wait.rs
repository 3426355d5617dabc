//! Waiting for work, without asking the store all the time.

use std::time::Duration;

use actions_app::app::App;
use actions_domain::execution::{Execution, Status};
use actions_domain::id::{EventId, ExecutionId, TenantId};
use actions_domain::ports::history::ExecutionQuery;
use actions_domain::ports::store::StoreError;

use super::Emitted;

/// How often the store is asked what no hint told: the work may run in another process.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How often a busy engine is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// An item whose time is this near counts as work to be done now.
const NEAR: Duration = Duration::from_millis(500);

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Everything that the event led to.
    Event(EventId),
    Execution(ExecutionId),
}

impl From<EventId> for WaitFor {
    fn from(event: EventId) -> Self {
        Self::Event(event)
    }
}

impl From<ExecutionId> for WaitFor {
    fn from(execution: ExecutionId) -> Self {
        Self::Execution(execution)
    }
}

impl From<&Emitted> for WaitFor {
    fn from(emitted: &Emitted) -> Self {
        Self::Event(emitted.event)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    #[error("the work did not end within {} s; it goes on", .0.as_secs_f32())]
    TimedOut(Duration),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

pub(super) async fn wait(
    app: &App,
    own: TenantId,
    wait_max: Duration,
    what: WaitFor,
) -> Result<Vec<Execution>, WaitError> {
    tokio::select! {
        ended = ended(app, own, what) => Ok(ended?),
        () = app.ports.clock.sleep(wait_max) => Err(WaitError::TimedOut(wait_max)),
    }
}

async fn ended(app: &App, own: TenantId, what: WaitFor) -> Result<Vec<Execution>, StoreError> {
    let tenant = located(app, own, what).await?;
    loop {
        let found = find(app, tenant, what).await?.unwrap_or_default();
        let unfinished = found.iter().filter(|execution| !execution.status.is_final());
        let ids: Vec<_> = unfinished.map(|execution| execution.id).collect();
        if ids.is_empty() {
            return Ok(found);
        }
        // Registered before the next look, so that no end is missed in between.
        let watch = app.completions.watch(&ids);
        if find(app, tenant, what).await?.is_some_and(|now| now != found) {
            continue;
        }
        tokio::select! {
            () = watch.changed() => {}
            () = app.ports.clock.sleep(ASK_AGAIN) => {}
        }
    }
}

/// The tenant that it belongs to. A transaction may still be on its way, so it is asked for
/// until it is there.
async fn located(app: &App, own: TenantId, what: WaitFor) -> Result<TenantId, StoreError> {
    loop {
        if find(app, own, what).await?.is_some() {
            return Ok(own);
        }
        let others = app.catalogue.list().into_iter().map(|known| known.tenant.id);
        for tenant in others.filter(|tenant| *tenant != own) {
            if find(app, tenant, what).await?.is_some() {
                return Ok(tenant);
            }
        }
        app.ports.clock.sleep(LOOK_AGAIN).await;
    }
}

/// `None` while it is not known in that tenant.
async fn find(
    app: &App,
    tenant: TenantId,
    what: WaitFor,
) -> Result<Option<Vec<Execution>>, StoreError> {
    let history = &app.ports.history;
    match what {
        WaitFor::Event(event) => match history.find_event(tenant, event).await? {
            Some(_) => Ok(Some(history.executions_of_event(tenant, event).await?)),
            None => Ok(None),
        },
        WaitFor::Execution(id) => {
            Ok(history.find_execution(tenant, id).await?.map(|execution| vec![execution]))
        }
    }
}

pub(super) async fn until_idle(app: &App, wait_max: Duration) -> Result<(), WaitError> {
    tokio::select! {
        idle = idle(app) => Ok(idle?),
        () = app.ports.clock.sleep(wait_max) => Err(WaitError::TimedOut(wait_max)),
    }
}

async fn idle(app: &App) -> Result<(), StoreError> {
    loop {
        if is_idle(app).await? {
            return Ok(());
        }
        app.ports.clock.sleep(LOOK_AGAIN).await;
    }
}

/// The node says first whether it is busy, because that costs nothing; the store has the last
/// word, because the node may not have seen everything yet.
async fn is_idle(app: &App) -> Result<bool, StoreError> {
    let Some(depths) = app.live.depths().await else { return Ok(false) };
    if depths.waiting + depths.running > 0 {
        return Ok(false);
    }
    if !app.ports.store.intake(1).await?.is_empty() {
        return Ok(false);
    }
    for known in app.catalogue.list() {
        if has_work(app, known.tenant.id).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn has_work(app: &App, tenant: TenantId) -> Result<bool, StoreError> {
    let statuses = vec![Status::Pending, Status::Running, Status::Retrying];
    let query = ExecutionQuery { tenant, action: None, statuses, before: None, limit: 100 };
    let unfinished = app.ports.history.list_executions(query).await?;
    let soon = app.ports.clock.now() + NEAR;
    Ok(unfinished.iter().any(|execution| execution.due_at.is_none_or(|due| due <= soon)))
}
