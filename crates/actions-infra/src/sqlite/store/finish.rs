//! Marks, retries and ends: what becomes of items that were accepted.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use actions_domain::Timestamp;
use actions_domain::audit::Deed;
use actions_domain::execution::Status;
use actions_domain::execution::report::ReportOf;
use actions_domain::id::{ActionId, ExecutionId, NodeId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::history::ActionCounts;
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Cancel, Commit, Discard, Finish, Item, Later};
use sqlx::sqlite::SqliteConnection;

use super::ingest::{bind_work, work_columns};
use super::{Tails, after};
use crate::sqlite::bulk::{Bulk, Values};
use crate::sqlite::error::store_error;
use crate::sqlite::record::{attempts_text, execution_id, get, micros, to_text};

/// The rows come in by the values, so that each is one look-up by key.
static FIND_FINISHED: LazyLock<Bulk> = LazyLock::new(|| {
    let head = "select execution.id from (values";
    let tail = ") as asked cross join engine_execution as execution
        on execution.tenant = asked.column1 and execution.id = asked.column2";
    Bulk::new(head, "(?, ?)", tail)
});
static INSERT_MARKS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = ["id", "tenant", "part", "marked_at"];
    Bulk::insert("engine_running", &columns, " on conflict (id) do nothing")
});
static REPLACE_REPORTS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = ["id", "part", "attempt", "told_at", "progress", "note", "checkpoint"];
    let tail = " on conflict (id) do update set
        part = excluded.part, attempt = excluded.attempt, told_at = excluded.told_at,
        progress = excluded.progress, note = excluded.note, checkpoint = excluded.checkpoint";
    Bulk::insert("engine_report", &columns, tail)
});
static REPLACE_LATER: LazyLock<Bulk> = LazyLock::new(|| {
    let own = ["part", "ord", "due", "why", "hold", "losses", "attempts"];
    let tail = " on conflict (id) do update set
        part = excluded.part, ord = excluded.ord, due = excluded.due, why = excluded.why,
        hold = excluded.hold, losses = excluded.losses, attempts = excluded.attempts";
    Bulk::insert("engine_later", &work_columns(&own), tail)
});
static INSERT_EXECUTIONS: LazyLock<Bulk> = LazyLock::new(|| {
    let own = [
        "part",
        "epoch",
        "fin",
        "status",
        "started_at",
        "ended_at",
        "node",
        "output",
        "error",
        "attempts",
    ];
    Bulk::insert("engine_execution", &work_columns(&own), "")
});
static INSERT_DEAD: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = ["tenant", "id", "fingerprint", "action", "died_at"];
    Bulk::insert("engine_dead", &columns, "")
});
static DELETE_LATER: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("delete from engine_later where id in (", "?", ")"));
static DELETE_MARKS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("delete from engine_running where id in (", "?", ")"));
static DELETE_REPORTS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("delete from engine_report where id in (", "?", ")"));
static DELETE_TERMS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("delete from engine_terms where id in (", "?", ")"));
static DELETE_CANCELS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("delete from engine_control where id in (", "?", ")"));
static ADD_STATS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = [
        "action",
        "tenant",
        "completed",
        "failed",
        "cancelled",
        "retries",
        "duration_ms",
        "last_at",
    ];
    let tail = " on conflict (action) do update set
        completed = completed + excluded.completed, failed = failed + excluded.failed,
        cancelled = cancelled + excluded.cancelled, retries = retries + excluded.retries,
        duration_ms = duration_ms + excluded.duration_ms,
        last_at = max(last_at, excluded.last_at)";
    Bulk::insert("engine_stat", &columns, tail)
});

/// Writes the batch's marks, reports, retries and finishes. What is already finished stays as it is.
pub(super) async fn write(
    conn: &mut SqliteConnection,
    batch: &Commit,
    tails: &mut Tails,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut finished = read_finished(conn, batch).await?;
    let is_open = |item: &Item| !finished.contains(&item.work.id);
    let marks: Vec<&Item> = batch.marks.iter().filter(|item| is_open(item)).collect();
    let is_told_of_open = |told: &&ReportOf| !finished.contains(&told.execution);
    let reports: Vec<&ReportOf> = batch.reports.iter().filter(is_told_of_open).collect();
    let retries: Vec<&Later> = batch.retries.iter().filter(|later| is_open(&later.item)).collect();
    // The second end of one batch is a second end as well.
    let finishes: Vec<&Finish> =
        batch.finishes.iter().filter(|finish| finished.insert(finish.item.work.id)).collect();

    mark(conn, &marks, now).await?;
    report(conn, &reports).await?;
    postpone(conn, &retries, now).await?;
    finish(conn, &finishes, batch.node).await?;
    for finish in &finishes {
        tails.end(finish.item.part, finish.fin)?;
    }
    Ok(())
}

async fn read_finished(
    conn: &mut SqliteConnection,
    batch: &Commit,
) -> Result<HashSet<ExecutionId>, StoreError> {
    let items = (batch.marks.iter())
        .chain(batch.retries.iter().map(|later| &later.item))
        .chain(batch.finishes.iter().map(|finish| &finish.item));
    let reports = batch.reports.iter().map(|report| (report.tenant, report.execution));
    let asked: Vec<(TenantId, ExecutionId)> =
        items.map(|item| (item.work.tenant, item.work.id)).chain(reports).collect();
    let bind = |(tenant, id): &(TenantId, ExecutionId), values: &mut Values| {
        values.add(tenant.0).add(id.0);
    };
    let rows = FIND_FINISHED.fetch(conn, &asked, bind, |_| ()).await?;
    rows.iter().map(execution_id).collect()
}

async fn mark(
    conn: &mut SqliteConnection,
    marks: &[&Item],
    now: Timestamp,
) -> Result<(), StoreError> {
    INSERT_MARKS
        .execute(conn, marks, |item, values| {
            let work = &item.work;
            values.add(work.id.0).add(work.tenant.0).add(item.part.0).add(micros(now));
        })
        .await
}

async fn report(conn: &mut SqliteConnection, reports: &[&ReportOf]) -> Result<(), StoreError> {
    REPLACE_REPORTS
        .execute(conn, reports, |ReportOf { execution, part, report, .. }, values| {
            values
                .add(execution.0)
                .add(part.0)
                .add(report.attempt)
                .add(micros(report.told_at))
                .add(report.progress)
                .add(report.note.as_deref())
                .add(report.checkpoint.as_ref().map(Json::as_str));
        })
        .await
}

/// The attempt is over, so the mark goes as well: only a started item may gain a loss.
async fn postpone(
    conn: &mut SqliteConnection,
    retries: &[&Later],
    now: Timestamp,
) -> Result<(), StoreError> {
    let attempts = (retries.iter())
        .map(|later| attempts_text(&later.item.attempts))
        .collect::<Result<Vec<String>, StoreError>>()?;
    let rows: Vec<_> = retries.iter().zip(attempts).collect();
    REPLACE_LATER
        .execute(conn, &rows, |(later, attempts), values| {
            let item = &later.item;
            values
                .add(item.part.0)
                .add(item.ord.0)
                .add(after(now, later.delay))
                .add(later.why.number())
                .add(later.hold)
                .add(item.losses)
                .add(attempts.as_str());
            bind_work(&item.work, values);
        })
        .await?;
    DELETE_MARKS
        .delete(conn, retries, |later, values| {
            values.add(later.item.work.id.0);
        })
        .await
}

async fn finish(
    conn: &mut SqliteConnection,
    finishes: &[&Finish],
    node: Option<NodeId>,
) -> Result<(), StoreError> {
    if finishes.is_empty() {
        return Ok(());
    }
    let texts = (finishes.iter())
        .map(|finish| {
            let error = finish.error.as_ref().map(to_text).transpose()?;
            Ok((error, attempts_text(&finish.item.attempts)?))
        })
        .collect::<Result<Vec<(Option<String>, String)>, StoreError>>()?;
    let rows: Vec<_> = finishes.iter().zip(texts).collect();
    INSERT_EXECUTIONS
        .execute(conn, &rows, |(finish, (error, attempts)), values| {
            values
                .add(finish.item.part.0)
                .add(finish.epoch.0)
                .add(finish.fin)
                .add(finish.status.number())
                .add(finish.started_at.map(micros))
                .add(micros(finish.ended_at))
                .add(node.map(|node| node.0))
                .add(finish.output.as_ref().map(Json::as_str))
                .add(error.as_deref())
                .add(attempts.as_str());
            bind_work(&finish.item.work, values);
        })
        .await?;
    leave(conn, finishes).await?;
    bury(conn, finishes).await?;
    count(conn, finishes).await
}

/// Removes finished items from wherever they live, with their marks, reports and cancels. These tables
/// are often empty, and asking is cheaper than naming every item to each of them.
async fn leave(conn: &mut SqliteConnection, finishes: &[&Finish]) -> Result<(), StoreError> {
    let text = "select
        exists (select 1 from engine_later) as later,
        exists (select 1 from engine_running) as running,
        exists (select 1 from engine_report) as report,
        exists (select 1 from engine_control) as control";
    let row = sqlx::query(text).fetch_one(&mut *conn).await.map_err(store_error)?;
    let tables = [
        ("later", &*DELETE_LATER),
        ("running", &*DELETE_MARKS),
        ("report", &*DELETE_REPORTS),
        ("control", &*DELETE_CANCELS),
    ];
    for (table, statement) in tables {
        if get(&row, table)? {
            let bind = |finish: &&Finish, values: &mut Values| {
                values.add(finish.item.work.id.0);
            };
            statement.delete(conn, finishes, bind).await?;
        }
    }
    let with_terms = finishes.iter().filter(|finish| finish.item.work.terms.is_some());
    let with_terms: Vec<ExecutionId> = with_terms.map(|finish| finish.item.work.id).collect();
    DELETE_TERMS
        .delete(conn, &with_terms, |id, values| {
            values.add(id.0);
        })
        .await
}

/// Keeps what a person has to look at.
async fn bury(conn: &mut SqliteConnection, finishes: &[&Finish]) -> Result<(), StoreError> {
    let dead: Vec<(&Finish, &str)> =
        (finishes.iter()).filter_map(|finish| Some((*finish, finish.dead.as_deref()?))).collect();
    INSERT_DEAD
        .execute(conn, &dead, |(finish, fingerprint), values| {
            let work = &finish.item.work;
            values
                .add(work.tenant.0)
                .add(work.id.0)
                .add(*fingerprint)
                .add(work.action.0)
                .add(micros(finish.ended_at));
        })
        .await
}

/// Adds the ends to the exact counts of their actions.
async fn count(conn: &mut SqliteConnection, finishes: &[&Finish]) -> Result<(), StoreError> {
    let mut counts: BTreeMap<ActionId, (TenantId, ActionCounts)> = BTreeMap::new();
    for finish in finishes {
        let work = &finish.item.work;
        let (_, row) = counts.entry(work.action).or_insert_with(|| {
            let action = work.action;
            let zero = ActionCounts {
                action,
                completed: 0,
                failed: 0,
                cancelled: 0,
                retries: 0,
                duration_ms: 0,
                last_at: None,
            };
            (work.tenant, zero)
        });
        add(row, finish);
    }
    let rows: Vec<(TenantId, ActionCounts)> = counts.into_values().collect();
    ADD_STATS
        .execute(conn, &rows, |(tenant, row), values| {
            values
                .add(row.action.0)
                .add(tenant.0)
                .add(row.completed)
                .add(row.failed)
                .add(row.cancelled)
                .add(row.retries)
                .add(row.duration_ms)
                .add(row.last_at.map(micros));
        })
        .await
}

fn add(counts: &mut ActionCounts, finish: &Finish) {
    match finish.status {
        Status::Completed => counts.completed += 1,
        Status::Failed | Status::Timeout => counts.failed += 1,
        Status::Cancelled => counts.cancelled += 1,
        Status::Pending
        | Status::Running
        | Status::Retrying
        | Status::Skipped
        | Status::Paused
        | Status::Blocked => {}
    }
    let retries = finish.item.attempts.len().saturating_sub(1);
    counts.retries += i64::try_from(retries).unwrap_or(i64::MAX);
    let duration = finish.started_at.map(|started_at| finish.ended_at - started_at);
    counts.duration_ms += duration.map_or(0, |duration| duration.num_milliseconds());
    counts.last_at = counts.last_at.max(Some(finish.ended_at));
}

/// Whether the execution that a deed is about is to be cancelled.
pub(super) async fn is_asked(
    conn: &mut SqliteConnection,
    deed: Option<&Deed>,
) -> Result<bool, StoreError> {
    let Some(execution) = deed.and_then(Deed::cancels) else { return Ok(false) };
    let found = sqlx::query("select id from engine_control where id = ?")
        .bind(execution.0)
        .fetch_optional(conn)
        .await
        .map_err(store_error)?;
    Ok(found.is_some())
}

/// Notes requests to cancel what is not finished. Others would stay for ever: only an end
/// removes them.
pub(super) async fn cancel(
    conn: &mut SqliteConnection,
    cancels: &[Cancel],
    now: Timestamp,
) -> Result<(), StoreError> {
    for cancel in cancels {
        sqlx::query(include_str!("cancel.sql"))
            .bind(cancel.execution.0)
            .bind(cancel.tenant.0)
            .bind(micros(now))
            .execute(&mut *conn)
            .await
            .map_err(store_error)?;
    }
    Ok(())
}

/// Forgets dead letters and keeps the reason with the execution. Answers how many there were.
pub(super) async fn discard(
    conn: &mut SqliteConnection,
    discards: &[Discard],
) -> Result<u64, StoreError> {
    let mut discarded = 0;
    for discard in discards {
        let result = sqlx::query("delete from engine_dead where tenant = ? and id = ?")
            .bind(discard.tenant.0)
            .bind(discard.execution.0)
            .execute(&mut *conn)
            .await
            .map_err(store_error)?;
        if result.rows_affected() == 0 {
            continue;
        }
        discarded += 1;
        sqlx::query("update engine_execution set discarded = ? where tenant = ? and id = ?")
            .bind(discard.reason.as_str())
            .bind(discard.tenant.0)
            .bind(discard.execution.0)
            .execute(&mut *conn)
            .await
            .map_err(store_error)?;
    }
    Ok(discarded)
}
