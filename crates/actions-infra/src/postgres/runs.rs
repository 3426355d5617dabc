//! Runs of workflows in PostgreSQL.

use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::flow::journal::{CallId, Entry};
use actions_domain::flow::record::{
    NewRun, ParentCall, RunEntry, RunRecord, RunState, RunStatus, RunTimer, RunTurn, Waiting,
    WorkflowVersion,
};
use actions_domain::id::{ActionId, ExecutionId, RunId, TenantId};
use actions_domain::limits::INBOX_BYTES_MAX;
use actions_domain::ports::runs::{Inbox, RunQuery, Runs};
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Part};
use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Postgres;
use super::batch::column;
use super::error::read_error;
use super::record::{corrupt, from_text, micros, part_number, part_of, to_text};

#[async_trait]
impl Runs for Postgres {
    async fn inbox(
        &self,
        parts: &[Part],
        held: &[RunId],
        limit: u32,
        ahead: Duration,
    ) -> Result<Inbox, StoreError> {
        let parts: Vec<i16> = column(parts, |part| part_number(*part));
        let held: Vec<Uuid> = column(held, |run| run.0);
        let mut rows = sqlx::query_as::<_, WaitingRecord>(include_str!("runs/inbox.sql"))
            .bind(&parts)
            .bind(i64::from(limit))
            .bind(&held)
            .fetch(&self.engine);
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        while bytes < INBOX_BYTES_MAX
            && let Some(row) = rows.try_next().await.map_err(read_error)?
        {
            bytes += row.body.len();
            waiting.push(row.into_waiting()?);
        }
        drop(rows);
        let timers: Vec<TimerRecord> = sqlx::query_as(include_str!("runs/timers.sql"))
            .bind(&parts)
            .bind(i64::from(limit))
            .bind(micros(ahead))
            .bind(&held)
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        let now = timers.first().map(|row| row.now);
        let now = now.ok_or_else(|| corrupt("now", &"no row"))?;
        let timers = timers.into_iter().filter_map(|row| row.into_timer().transpose());
        let timers: Vec<RunTimer> = timers.collect::<Result<_, _>>()?;
        let most = waiting.len().max(timers.len());
        let is_cut = bytes >= INBOX_BYTES_MAX || most >= usize::try_from(limit).unwrap_or(most);
        Ok(Inbox { now, waiting, timers, is_cut })
    }

    async fn find_run(&self, tenant: TenantId, id: RunId) -> Result<Option<RunRecord>, StoreError> {
        let text = "select * from engine.run where tenant = $1 and id = $2";
        let found: Option<RunRow> = sqlx::query_as(text)
            .bind(tenant.0)
            .bind(id.0)
            .fetch_optional(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        found.map(RunRow::into_record).transpose()
    }

    async fn find_runs(&self, runs: &[(TenantId, RunId)]) -> Result<Vec<RunRecord>, StoreError> {
        let text = "select run.* from unnest($1::int4[], $2::uuid[]) as asked (tenant, id)
            join engine.run using (tenant, id)";
        let found: Vec<RunRow> = sqlx::query_as(text)
            .bind(column(runs, |(tenant, _)| tenant.0))
            .bind(column(runs, |(_, id)| id.0))
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        found.into_iter().map(RunRow::into_record).collect()
    }

    async fn list_runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        let found: Vec<RunRow> = sqlx::query_as(include_str!("runs/list_runs.sql"))
            .bind(query.tenant.0)
            .bind(query.name.as_deref())
            .bind(query.status.map(RunStatus::number))
            .bind(query.before.map(|id| id.0))
            .bind(i64::from(query.limit))
            .fetch_all(&mut *self.for_tenant(query.tenant).await?)
            .await
            .map_err(read_error)?;
        found.into_iter().map(RunRow::into_record).collect()
    }

    async fn journal(
        &self,
        tenant: TenantId,
        run: RunId,
        from: u32,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let text = "select body from engine.run_entry
            where tenant = $1 and run = $2 and number >= $3 order by number limit $4";
        let found: Vec<String> = sqlx::query_scalar(text)
            .bind(tenant.0)
            .bind(run.0)
            .bind(number_of(from))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        found.iter().map(|body| from_text("run_entry", body)).collect()
    }

    async fn run_of(
        &self,
        tenant: TenantId,
        execution: ExecutionId,
    ) -> Result<Option<(RunId, u32)>, StoreError> {
        let text = "select run, number from engine.run_entry where tenant = $1 and execution = $2";
        let found: Option<(Uuid, i32)> = sqlx::query_as(text)
            .bind(tenant.0)
            .bind(execution.0)
            .fetch_optional(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        Ok(found.map(|(run, number)| (RunId(run), u32::try_from(number).unwrap_or(0))))
    }
}

/// Writes what a batch says of runs, in the transaction of its flush.
pub(super) async fn write_runs(
    tx: &mut PgConnection,
    batch: &Commit,
) -> Result<(), WriteRunsError> {
    if !batch.has_runs() {
        return Ok(());
    }
    let rows = Rows::new(batch)?;
    let Rows { turns, entries, bodies, starts, told_starts, tells } = &rows;
    let taken: Vec<i64> = turns.iter().flat_map(|turn| turn.taken.iter().copied()).collect();
    let cleared: Vec<(Uuid, i32)> = (turns.iter())
        .flat_map(|turn| turn.timers_cleared.iter().map(|call| (turn.run.0, call_of(*call))))
        .collect();
    let timers: Vec<(&RunTurn, CallId, Timestamp)> = (turns.iter())
        .flat_map(|turn| turn.timers_set.iter().map(move |(call, due)| (*turn, *call, *due)))
        .collect();
    let states: Vec<(&RunTurn, &RunState)> =
        turns.iter().filter_map(|turn| Some((*turn, turn.state.as_ref()?))).collect();
    sqlx::query(include_str!("runs/write_runs.sql"))
        .bind(taken)
        .bind(column(entries, |(turn, ..)| turn.tenant.0))
        .bind(column(entries, |(turn, ..)| turn.run.0))
        .bind(column(entries, |(_, number, _)| number_of(*number)))
        .bind(column(entries, |(.., entry)| entry.execution.map(|id| id.0)))
        .bind(column(bodies, String::as_str))
        .bind(column(&cleared, |(run, _)| *run))
        .bind(column(&cleared, |(_, call)| *call))
        .bind(column(&timers, |(turn, ..)| turn.tenant.0))
        .bind(column(&timers, |(turn, ..)| part_number(turn.part)))
        .bind(column(&timers, |(turn, ..)| turn.run.0))
        .bind(column(&timers, |(_, call, _)| call_of(*call)))
        .bind(column(&timers, |(.., due)| *due))
        .bind(column(&states, |(turn, _)| turn.tenant.0))
        .bind(column(&states, |(turn, _)| turn.run.0))
        .bind(column(&states, |(_, state)| state.status.number()))
        .bind(column(&states, |(_, state)| number_of(state.entry_count)))
        .bind(column(&states, |(_, state)| state.updated_at))
        .bind(column(&states, |(_, state)| state.ended_at))
        .bind(column(&states, |(_, state)| state.error.as_deref()))
        .bind(column(starts, |start| start.tenant.0))
        .bind(column(starts, |start| start.id.0))
        .bind(column(starts, |start| part_number(start.part)))
        .bind(column(starts, |start| start.name.as_str()))
        .bind(column(starts, |start| start.workflow.action.0))
        .bind(column(starts, |start| start.workflow.defs))
        .bind(column(starts, |start| start.parent.map(|parent| parent.run.0)))
        .bind(column(starts, |start| start.parent.map(|parent| part_number(parent.part))))
        .bind(column(starts, |start| start.parent.map(|parent| call_of(parent.call))))
        .bind(column(starts, |start| start.started_at))
        .bind(column(told_starts, String::as_str))
        .bind(column(&batch.tells, |tell| tell.tenant.0))
        .bind(column(&batch.tells, |tell| part_number(tell.part)))
        .bind(column(&batch.tells, |tell| tell.run.0))
        .bind(column(tells, String::as_str))
        .execute(tx)
        .await
        .map(drop)
        .map_err(WriteRunsError::Database)
}

/// Why nothing was written.
pub(super) enum WriteRunsError {
    Database(sqlx::Error),
    Store(StoreError),
}

impl From<StoreError> for WriteRunsError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What is written, with the texts of it.
struct Rows<'b> {
    turns: Vec<&'b RunTurn>,
    entries: Vec<(&'b RunTurn, u32, &'b RunEntry)>,
    bodies: Vec<String>,
    starts: Vec<&'b NewRun>,
    told_starts: Vec<String>,
    tells: Vec<String>,
}

impl<'b> Rows<'b> {
    fn new(batch: &'b Commit) -> Result<Self, StoreError> {
        let numbered = |turn: &'b RunTurn| {
            (turn.first..).zip(&turn.entries).map(move |(number, entry)| (turn, number, entry))
        };
        let entries: Vec<_> = batch.turns.iter().flat_map(numbered).collect();
        let bodies = entries.iter().map(|(.., entry)| to_text(&entry.entry));
        let bodies = bodies.collect::<Result<_, _>>()?;
        // Of two with one number in one batch the first one is the run.
        let mut starts: Vec<&NewRun> = batch.starts.iter().collect();
        starts.sort_by_key(|start| start.id);
        starts.dedup_by_key(|start| start.id);
        let told_starts = starts.iter().map(|start| to_text(&start.told()));
        let told_starts = told_starts.collect::<Result<_, _>>()?;
        let tells = batch.tells.iter().map(|tell| to_text(&tell.told)).collect::<Result<_, _>>()?;
        Ok(Self {
            turns: batch.turns.iter().collect(),
            entries,
            bodies,
            starts,
            told_starts,
            tells,
        })
    }
}

fn number_of(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn call_of(call: CallId) -> i32 {
    number_of(call.0)
}

#[derive(Debug, FromRow)]
struct WaitingRecord {
    place: i64,
    tenant: i32,
    part: i16,
    run: Uuid,
    body: String,
}

impl WaitingRecord {
    fn into_waiting(self) -> Result<Waiting, StoreError> {
        Ok(Waiting {
            place: self.place,
            tenant: TenantId(self.tenant),
            part: part_of(self.part)?,
            run: RunId(self.run),
            told: from_text("run_inbox", &self.body)?,
        })
    }
}

/// Without a timer only what time it is.
#[derive(Debug, FromRow)]
struct TimerRecord {
    now: Timestamp,
    tenant: Option<i32>,
    part: Option<i16>,
    run: Option<Uuid>,
    call: Option<i32>,
    due_at: Option<Timestamp>,
}

impl TimerRecord {
    fn into_timer(self) -> Result<Option<RunTimer>, StoreError> {
        let Self { tenant: Some(tenant), part: Some(part), run: Some(run), .. } = self else {
            return Ok(None);
        };
        let (Some(call), Some(due_at)) = (self.call, self.due_at) else { return Ok(None) };
        Ok(Some(RunTimer {
            tenant: TenantId(tenant),
            part: part_of(part)?,
            run: RunId(run),
            call: CallId(u32::try_from(call).unwrap_or(0)),
            due_at,
        }))
    }
}

#[derive(Debug, FromRow)]
struct RunRow {
    id: Uuid,
    tenant: i32,
    part: i16,
    name: String,
    workflow: i32,
    defs: i64,
    parent: Option<Uuid>,
    parent_part: Option<i16>,
    parent_call: Option<i32>,
    status: i16,
    entry_count: i32,
    started_at: Timestamp,
    updated_at: Timestamp,
    ended_at: Option<Timestamp>,
    error: Option<String>,
}

impl RunRow {
    fn into_record(self) -> Result<RunRecord, StoreError> {
        let parent = match (self.parent, self.parent_part, self.parent_call) {
            (Some(run), Some(part), Some(call)) => Some(ParentCall {
                run: RunId(run),
                part: part_of(part)?,
                call: CallId(u32::try_from(call).unwrap_or(0)),
            }),
            _ => None,
        };
        let status = RunStatus::from_number(self.status);
        Ok(RunRecord {
            id: RunId(self.id),
            tenant: TenantId(self.tenant),
            part: part_of(self.part)?,
            name: self.name,
            workflow: WorkflowVersion { action: ActionId(self.workflow), defs: self.defs },
            parent,
            started_at: self.started_at,
            state: RunState {
                status: status.ok_or_else(|| corrupt("status", &self.status))?,
                entry_count: u32::try_from(self.entry_count).unwrap_or(0),
                updated_at: self.updated_at,
                ended_at: self.ended_at,
                error: self.error,
            },
        })
    }
}
