//! Does what bulks ask for, a piece of each at a time.
//!
//! Only the node that owns the first partition does. It writes down that it begins a piece, does
//! what is asked of each item, and writes down what became of it. After a crash, or when two nodes
//! believe that it is their turn, the piece is done again, which changes nothing: what was
//! requeued is recognised by the store, and what has ended or is gone is what was wanted.

use std::collections::HashMap;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::bulk::{Bulk, BulkChange, BulkItem, BulkState, ItemOutcome, Operation};
use actions_domain::execution::Status;
use actions_domain::id::{BulkId, ExecutionId, TenantId};
use actions_domain::limits::ERROR_BYTES_MAX;
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Cancel, Discard, Ingest, Part, Submission, Submitted};
use chrono::TimeDelta;
use futures_util::future::join_all;
use tracing::{info, warn};

use super::writer::Lost;
use crate::app::App;
use crate::commands::requeue_dead_letters::{draft, requeued};
use crate::commands::save_action::current_definitions;
use crate::ingress::IngressError;
use crate::patience::Health;

/// The longest pause between two looks at what there is to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Items that are done at once: they share a commit or two.
const PIECE: u32 = 200;
/// Executions that are read at once. People who ask something share the connections.
const READS: usize = 4;

pub(crate) struct BulkRunner {
    app: App,
    /// Of those that run.
    paces: HashMap<BulkId, Pace>,
}

/// How a bulk gets on.
#[derive(Default)]
struct Pace {
    /// When it goes on, where it has a rate or could not go on.
    next_at: Option<Timestamp>,
    is_stuck: bool,
}

/// Why an item has to be done again.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ingress(IngressError),
}

/// What became of an item, or what is still to be done with it.
enum Found {
    Outcome(ItemOutcome),
    Cancel(Cancel),
    Requeue(Box<Ingest>),
    Discard(Discard),
}

impl BulkRunner {
    pub(crate) fn new(app: App) -> Self {
        Self { app, paces: HashMap::new() }
    }

    pub(crate) async fn run(mut self) -> Lost {
        let mut health = Health::new("bulks cannot be read", LOOK_EVERY, LOOK_EVERY);
        loop {
            let turn = self.turn().await;
            let pause = health.note(&turn).or_else(|| turn.ok()).unwrap_or(LOOK_EVERY);
            tokio::select! {
                () = self.app.ports.clock.sleep(pause) => {}
                () = self.app.bulks_changed.notified() => {}
            }
        }
    }

    /// Does a piece of each bulk that may go on, and answers when to look again.
    async fn turn(&mut self) -> Result<Duration, StoreError> {
        if !self.app.live.parts().contains(&Part(0)) {
            self.paces.clear();
            return Ok(LOOK_EVERY);
        }
        let mut open = self.app.ports.bulks.open_bulks(None).await?;
        open.retain(|bulk| bulk.state == BulkState::Running);
        self.paces.retain(|id, _| open.iter().any(|bulk| bulk.id == *id));
        let mut pause = LOOK_EVERY;
        for bulk in open {
            pause = pause.min(self.go_on(&bulk).await);
        }
        Ok(pause)
    }

    /// Does the next piece of a bulk unless it is due later, and answers when it goes on. One that
    /// cannot go on waits by itself, and holds up no other.
    async fn go_on(&mut self, bulk: &Bulk) -> Duration {
        let now = self.app.ports.clock.now();
        let pace = self.paces.entry(bulk.id).or_default();
        let wait = pace.next_at.map(|at| (at - now).to_std().unwrap_or_default());
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            return wait;
        }
        let outcome = do_piece(&self.app, bulk).await;
        // One line per change of state, not one per try.
        match (&outcome, pace.is_stuck) {
            (Err(error), false) => warn!(bulk = %bulk.id, %error, "a bulk cannot go on"),
            (Ok(_), true) => info!(bulk = %bulk.id, "a bulk goes on"),
            (Ok(_), false) | (Err(_), true) => {}
        }
        pace.is_stuck = outcome.is_err();
        let (pause, is_fixed) = match (outcome, bulk.spec.rate) {
            (Err(_), _) => (LOOK_EVERY, true),
            (Ok(0), _) => (LOOK_EVERY, false),
            (Ok(_), None) => (Duration::ZERO, false),
            (Ok(count), Some(rate)) => (Duration::from_secs(count.into()) / rate.max(1), true),
        };
        pace.next_at = is_fixed.then(|| now + TimeDelta::from_std(pause).unwrap_or_default());
        pause
    }
}

/// Does the next items of a bulk, and answers how many.
async fn do_piece(app: &App, bulk: &Bulk) -> Result<u32, Failed> {
    // A part of a second's items, so that they are spread over it.
    let most = bulk.spec.rate.map_or(PIECE, |rate| (rate / 4).clamp(1, PIECE));
    let Bulk { tenant, id, .. } = *bulk;
    let count = bulk.next_count(most);
    let bulks = &app.ports.bulks;
    let items = bulks.bulk_items(tenant, id, bulk.handled(), count).await?;
    let Some(until) = items.last().map(|item| item.number) else {
        warn!(bulk = %id, "a bulk has fewer items than it says");
        return Ok(0);
    };
    let begin = BulkChange::Begin { until };
    let step = bulks.change_bulk(tenant, id, &begin, app.ports.clock.now(), None).await?;
    let Some(step) = step.filter(|step| step.after.is_ok()) else {
        // It was paused or ended since it was read.
        return Ok(0);
    };
    if bulk.spec.operation == Operation::Requeue {
        // Whoever requeues has usually just mended the action, maybe on another node.
        current_definitions(app, tenant).await?;
    }
    let mut found = Vec::with_capacity(items.len());
    for chunk in items.chunks(READS) {
        let looks = chunk.iter().map(|item| look(app, bulk, item, step.before.begun));
        found.extend(join_all(looks).await);
    }
    let outcomes = carry_out(app, tenant, found).await;
    // Outcomes have no gap: what comes after a failure is done again.
    let mut recorded = Vec::with_capacity(items.len());
    let mut failed = None;
    for (item, outcome) in items.iter().zip(outcomes) {
        match outcome {
            Ok(outcome) => recorded.push((item.number, shortened(outcome))),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let now = app.ports.clock.now();
    let step = bulks.record_items(tenant, id, &recorded, now).await?;
    if let Some(Ok(after)) = step.map(|step| step.after)
        && after.state != BulkState::Running
    {
        let (state, done, refused) = (after.state.word(), after.done, after.refused);
        info!(bulk = %id, tenant = tenant.0, state, done, refused, "a bulk does not go on");
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(u32::try_from(recorded.len()).unwrap_or(u32::MAX)),
    }
}

/// Looks at what an item is about. Items up to `begun_before` may have been done already, without
/// anybody having written that down.
async fn look(
    app: &App,
    bulk: &Bulk,
    item: &BulkItem,
    begun_before: u32,
) -> Result<Found, StoreError> {
    let history = &app.ports.history;
    let (tenant, id) = (bulk.tenant, item.target);
    let was_begun = item.number <= begun_before;
    match bulk.spec.operation {
        Operation::Cancel => {
            let Some(execution) = history.find_execution(tenant, id).await? else {
                return Ok(refused("there is no such execution"));
            };
            // It has ended because of this bulk, as far as anybody can tell.
            let is_recent = execution.ended_at.is_some_and(|at| at >= bulk.created_at);
            let status = execution.status;
            if status == Status::Cancelled && is_recent {
                return Ok(Found::Outcome(ItemOutcome::Done(None)));
            }
            if status.is_final() {
                return Ok(refused(&format!("the execution is {} already", status.word())));
            }
            Ok(Found::Cancel(Cancel { tenant, execution: id, by: None }))
        }
        Operation::Requeue => {
            let dead = if was_begun {
                history.find_execution(tenant, id).await?
            } else {
                history.find_dead_letter(tenant, id).await?.map(|letter| letter.execution)
            };
            let Some(dead) = dead else { return Ok(refused("there is no such dead letter")) };
            Ok(match draft(app, tenant, &dead).await? {
                Ok(ingest) => Found::Requeue(Box::new(ingest)),
                Err(reason) => refused(&reason),
            })
        }
        Operation::Discard => Ok(match history.find_dead_letter(tenant, id).await? {
            Some(_) => {
                let reason = bulk.spec.reason.clone().unwrap_or_default();
                Found::Discard(Discard { tenant, execution: id, reason })
            }
            None if was_begun => Found::Outcome(ItemOutcome::Done(None)),
            None => refused("there is no such dead letter"),
        }),
    }
}

/// Does what there is to do, all of it at once, and answers what became of each.
async fn carry_out(
    app: &App,
    tenant: TenantId,
    found: Vec<Result<Found, StoreError>>,
) -> Vec<Result<ItemOutcome, Failed>> {
    let discards: Vec<Discard> = (found.iter())
        .filter_map(|found| match found {
            Ok(Found::Discard(discard)) => Some(discard.clone()),
            Ok(Found::Outcome(_) | Found::Cancel(_) | Found::Requeue(_)) | Err(_) => None,
        })
        .collect();
    // These are one request, which is answered for all of them.
    let discarded =
        if discards.is_empty() { Ok(0) } else { app.ingress.discard(discards, None).await };
    let discarded = &discarded;
    join_all(found.into_iter().map(|found| async move {
        let answer = match or_unusable(found)? {
            Found::Outcome(outcome) => return Ok(outcome),
            Found::Cancel(cancel) => app.ingress.cancel(cancel, None).await.map(|()| Ok(None)),
            Found::Requeue(ingest) => submit(app, tenant, *ingest).await,
            Found::Discard(_) => discarded.clone().map(|_| Ok(None)),
        };
        or_refused(answer)
    }))
    .await
}

/// Each is submitted by itself: they share a commit anyway, and one that the store refuses does
/// not spoil the others.
async fn submit(
    app: &App,
    tenant: TenantId,
    ingest: Ingest,
) -> Result<Result<Option<ExecutionId>, String>, IngressError> {
    let fresh = ingest.works[0].1.id;
    let submission = Submission::new(tenant, None, vec![ingest]);
    Ok(match app.ingress.submit(submission).await? {
        Submitted::Accepted(ingested) => match ingested.first() {
            Some(outcome) => requeued(fresh, *outcome).map(Some),
            None => Err("the store did not take it".to_owned()),
        },
        // Nothing was matched and nothing has a key, so this does not happen.
        Submitted::Stale { .. } | Submitted::Mismatch => {
            Err("the store did not take it".to_owned())
        }
    })
}

/// What cannot be read, or is refused for its data, is so every time: it is this item's outcome,
/// and stops no other.
fn or_unusable(found: Result<Found, StoreError>) -> Result<Found, StoreError> {
    match found {
        Err(error @ (StoreError::Corrupt { .. } | StoreError::Refused { .. })) => {
            Ok(refused(&error.to_string()))
        }
        Ok(_)
        | Err(
            StoreError::Fenced { .. }
            | StoreError::Conflict { .. }
            | StoreError::Newer { .. }
            | StoreError::Unavailable { .. },
        ) => found,
    }
}

/// What was refused for good is an outcome; everything else is tried again.
fn or_refused(
    answer: Result<Result<Option<ExecutionId>, String>, IngressError>,
) -> Result<ItemOutcome, Failed> {
    match answer {
        Ok(Ok(execution)) => Ok(ItemOutcome::Done(execution)),
        Ok(Err(reason)) => Ok(ItemOutcome::Refused(reason)),
        Err(error @ IngressError::Refused { .. }) => Ok(ItemOutcome::Refused(error.to_string())),
        Err(error @ (IngressError::Unavailable | IngressError::Unknown | IngressError::Full)) => {
            Err(Failed::Ingress(error))
        }
    }
}

fn refused(reason: &str) -> Found {
    Found::Outcome(ItemOutcome::Refused(reason.to_owned()))
}

fn shortened(outcome: ItemOutcome) -> ItemOutcome {
    match outcome {
        ItemOutcome::Refused(mut reason) => {
            reason.truncate(reason.floor_char_boundary(ERROR_BYTES_MAX));
            ItemOutcome::Refused(reason)
        }
        done @ ItemOutcome::Done(_) => done,
    }
}

#[cfg(test)]
mod tests {
    use actions_domain::bulk::ItemOutcome;
    use actions_domain::ports::store::StoreError;

    use super::{Found, or_unusable};

    #[test]
    fn an_item_that_cannot_be_read_is_refused_with_the_reason() {
        let found = or_unusable(Err(StoreError::Corrupt { what: "a status".to_owned() }));
        let Ok(Found::Outcome(ItemOutcome::Refused(reason))) = found else { panic!("no outcome") };
        assert!(reason.contains("a status"), "{reason}");
        // An outage says nothing about the item.
        assert!(or_unusable(Err(StoreError::unavailable("away"))).is_err());
    }
}
