//! The engine's memory in SQLite. [`commit`](Store::commit) is one transaction of a handful of
//! statements, each over many rows.

use std::collections::BTreeMap;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::event::Event;
use actions_domain::execution::report::Report;
use actions_domain::id::{EventId, ExecutionId, NodeId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::INTAKE_BYTES_MAX;
use actions_domain::ports::store::{DueQuery, IntakeRow, Store, StoreError, Window, WindowBuilder};
use actions_domain::work::{Cancel, Commit, Fence, Item, Later, Part, Receipt, Seq, Skip, Why};
use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::SqliteStore;
use super::audit::append;
use super::deletions;
use super::error::{commit_error, store_error};
use super::record::{self, get, micros};
use super::runs;

mod batches;
mod claims;
mod finish;
mod ingest;

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, mut batch: Commit) -> Result<Receipt, StoreError> {
        if batch.is_empty() && batch.fences.is_empty() {
            return Ok(Receipt::default());
        }
        require_fences(&batch)?;
        let mut tx = self.begin().await?;
        // Taken after the lock: what this commit writes is due after everything before it.
        let now = self.clock.now();
        check_fences(&mut tx, batch.node, &batch.fences).await?;
        batch.leave_out(&deletions::gone(&mut tx).await?);
        let mut tails = Tails::read(&mut tx).await?;
        // Before anything joins: what begins or ends in this commit is joined no more.
        batches::close(&mut tx, &batch).await?;
        let mut receipt = ingest::submit(&mut tx, &batch.submissions, &mut tails, now).await?;
        finish::write(&mut tx, &batch, &mut tails, now).await?;
        runs::write(&mut tx, &batch).await?;
        let deed = batch.deed.as_ref();
        let was_asked = finish::is_asked(&mut tx, deed).await?;
        finish::cancel(&mut tx, &batch.cancels, now).await?;
        receipt.discarded = finish::discard(&mut tx, &batch.discards).await?;
        ingest::consume(&mut tx, &batch.submissions, &receipt.submissions).await?;
        ingest::refuse(&mut tx, &batch.refusals, now).await?;
        tails.write(&mut tx).await?;
        let is_asked = (was_asked, finish::is_asked(&mut tx, deed).await?);
        append(&mut tx, deed.and_then(|deed| deed.done(&receipt, is_asked)).as_ref()).await?;
        tx.commit().await.map_err(commit_error)?;
        receipt.first = tails.first();
        Ok(receipt)
    }

    async fn window(
        &self,
        part: Part,
        from: Seq,
        limit: u32,
        skip: &[Skip],
    ) -> Result<Window, StoreError> {
        let skip: Vec<i64> = skip.iter().map(|skip| skip.number()).collect();
        let mut rows = sqlx::query(include_str!("store/window.sql"))
            .bind(part.0)
            .bind(from.0)
            .bind(limit.max(1))
            .bind(serde_json::json!(skip).to_string())
            .fetch(&self.readers);
        let (mut window, mut tail) = (WindowBuilder::new(limit), None);
        while !window.is_full()
            && let Some(row) = rows.try_next().await.map_err(store_error)?
        {
            tail = Some(get(&row, "tail")?);
            // The only row is the tail's own when there is nothing to read.
            if get::<Option<&[u8]>>(&row, "id")?.is_some() {
                window.push(record::log_item(&row)?);
            }
        }
        let tail = tail.ok_or_else(|| no_part(part))?;
        Ok(window.finish(Seq(tail).max(from)))
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Later>, StoreError> {
        let now = self.clock.now();
        let rows = sqlx::query(include_str!("store/due.sql"))
            .bind(query.part.0)
            .bind(after(now, query.ahead))
            .bind(query.limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(|row| later(row, now)).collect()
    }

    async fn marked(&self, part: Part) -> Result<Vec<Item>, StoreError> {
        let rows = sqlx::query(include_str!("store/marked.sql"))
            .bind(part.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let item = |row: &SqliteRow| {
            if get(row, "is_later")? { record::later_item(row) } else { record::log_item(row) }
        };
        rows.iter().map(item).collect()
    }

    async fn reported(&self, part: Part) -> Result<Vec<ExecutionId>, StoreError> {
        let rows = sqlx::query("select id from engine_report where part = ?")
            .bind(part.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(record::execution_id).collect()
    }

    async fn report(&self, id: ExecutionId) -> Result<Option<Report>, StoreError> {
        let text = "select attempt, told_at, progress, note, checkpoint
            from engine_report where id = ?";
        let row = sqlx::query(text)
            .bind(id.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        row.as_ref().map(record::report).transpose()
    }

    async fn members(&self, head: ExecutionId) -> Result<Vec<Json>, StoreError> {
        let rows = sqlx::query("select body from engine_member where head = ? order by place")
            .bind(head.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(batches::envelope).collect()
    }

    async fn tails(&self) -> Result<Vec<(Part, Seq)>, StoreError> {
        let rows = sqlx::query("select part, next from engine_tail order by part")
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(|row| Ok((record::part(row)?, Seq(get(row, "next")?)))).collect()
    }

    async fn cancels(&self) -> Result<Vec<Cancel>, StoreError> {
        // Of executions whose places were taken the first ones: the others are told of as these end.
        let text = "select tenant, id, null as superseded_by from engine_control
            union all
            select * from (
                select tenant, id, superseded_by from engine_terms
                where superseded_by is not null order by id limit 10000
            )
            order by id";
        let rows = sqlx::query(text).fetch_all(&self.readers).await.map_err(store_error)?;
        let cancel = |row: &SqliteRow| {
            let (tenant, id) = (get(row, "tenant")?, get(row, "id")?);
            let by = record::superseded_by(row)?;
            Ok(Cancel { tenant: TenantId(tenant), execution: ExecutionId(id), by })
        };
        rows.iter().map(cancel).collect()
    }

    async fn events(&self, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        let mut conn = self.readers.acquire().await.map_err(store_error)?;
        let rows = ingest::find_events(&mut conn, ids).await?;
        rows.iter().map(record::event).collect()
    }

    async fn intake(&self, limit: u32) -> Result<Vec<IntakeRow>, StoreError> {
        let rows = sqlx::query(include_str!("store/intake.sql"))
            .bind(limit)
            .bind(i64::try_from(INTAKE_BYTES_MAX).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(record::intake).collect()
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.clock.now())
    }

    fn has_single_writer(&self) -> bool {
        true
    }
}

fn later(row: &SqliteRow, now: Timestamp) -> Result<Later, StoreError> {
    let pause: i64 = get::<i64>(row, "due")?.saturating_sub(micros(now));
    let why = get(row, "why")?;
    Ok(Later {
        item: record::later_item(row)?,
        delay: Duration::from_micros(u64::try_from(pause).unwrap_or(0)),
        why: Why::from_number(why).ok_or_else(|| record::corrupt("why", why))?,
        hold: get(row, "hold")?,
    })
}

/// The instant after a pause, in stored form, or the end of time.
pub(super) fn after(now: Timestamp, pause: Duration) -> i64 {
    let pause = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
    micros(now).saturating_add(pause).min(micros(Timestamp::MAX_UTC))
}

fn no_part(part: Part) -> StoreError {
    StoreError::Refused { reason: format!("there is no partition {part}") }
}

/// Refuses a batch that writes in a partition whose fence it does not bring.
fn require_fences(batch: &Commit) -> Result<(), StoreError> {
    let refuse = |part| {
        let reason = format!("partition {part} is written without a fence");
        Err(StoreError::Refused { reason })
    };
    batch.unfenced().map_or(Ok(()), refuse)
}

/// Proves that `node` holds every lease that it writes under. The transaction has the only
/// write lock, so no takeover comes in between.
async fn check_fences(
    conn: &mut SqliteConnection,
    node: Option<NodeId>,
    fences: &[Fence],
) -> Result<(), StoreError> {
    if fences.is_empty() {
        return Ok(());
    }
    let held = held_fences(conn, node).await?;
    let lost: Vec<Part> =
        fences.iter().filter(|fence| !held.contains(fence)).map(|fence| fence.part).collect();
    if lost.is_empty() { Ok(()) } else { Err(StoreError::Fenced { lost }) }
}

pub(super) async fn held_fences(
    conn: &mut SqliteConnection,
    node: Option<NodeId>,
) -> Result<Vec<Fence>, StoreError> {
    let rows = sqlx::query("select part, epoch from engine_lease where owner = ?")
        .bind(node.map(|node| node.0))
        .fetch_all(conn)
        .await
        .map_err(store_error)?;
    let fence = |row: &SqliteRow| {
        let epoch = actions_domain::work::Epoch(get(row, "epoch")?);
        Ok(Fence { part: record::part(row)?, epoch })
    };
    rows.iter().map(fence).collect()
}

/// Where the partitions' numbers stand, and how far this commit moves them.
struct Tails {
    rows: BTreeMap<Part, Tail>,
}

struct Tail {
    first: Seq,
    next: Seq,
    fin: i64,
    is_changed: bool,
}

impl Tails {
    async fn read(conn: &mut SqliteConnection) -> Result<Self, StoreError> {
        let rows = sqlx::query("select part, next, fin from engine_tail")
            .fetch_all(conn)
            .await
            .map_err(store_error)?;
        let tail = |row: &SqliteRow| {
            let next = Seq(get(row, "next")?);
            let tail = Tail { first: next, next, fin: get(row, "fin")?, is_changed: false };
            Ok((record::part(row)?, tail))
        };
        Ok(Self { rows: rows.iter().map(tail).collect::<Result<_, StoreError>>()? })
    }

    /// The number that the next entry of the log will get.
    fn peek(&self, part: Part) -> Result<Seq, StoreError> {
        self.rows.get(&part).map(|tail| tail.next).ok_or_else(|| no_part(part))
    }

    fn take(&mut self, part: Part) -> Result<Seq, StoreError> {
        let tail = self.rows.get_mut(&part).ok_or_else(|| no_part(part))?;
        let taken = tail.next;
        tail.next = Seq(taken.0 + 1);
        tail.is_changed = true;
        Ok(taken)
    }

    fn end(&mut self, part: Part, fin: i64) -> Result<(), StoreError> {
        let tail = self.rows.get_mut(&part).ok_or_else(|| no_part(part))?;
        tail.fin = tail.fin.max(fin);
        tail.is_changed = true;
        Ok(())
    }

    async fn write(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        for (part, tail) in self.rows.iter().filter(|(_, tail)| tail.is_changed) {
            sqlx::query("update engine_tail set next = ?, fin = ? where part = ?")
                .bind(tail.next.0)
                .bind(tail.fin)
                .bind(part.0)
                .execute(&mut *conn)
                .await
                .map_err(store_error)?;
        }
        Ok(())
    }

    /// The first new number of each partition that got one.
    fn first(&self) -> Vec<(Part, Seq)> {
        let grown = self.rows.iter().filter(|(_, tail)| tail.next > tail.first);
        grown.map(|(part, tail)| (*part, tail.first)).collect()
    }
}
