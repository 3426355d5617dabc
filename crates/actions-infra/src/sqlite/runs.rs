//! Runs of workflows in SQLite.

use std::sync::LazyLock;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::flow::journal::{CallId, Entry};
use actions_domain::flow::record::{
    NewRun, ParentCall, RunRecord, RunState, RunStatus, RunTimer, RunTurn, Waiting, WorkflowVersion,
};
use actions_domain::id::{ActionId, ExecutionId, RunId, TenantId};
use actions_domain::limits::INBOX_BYTES_MAX;
use actions_domain::ports::runs::{Inbox, RunQuery, Runs};
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Part};
use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::SqliteStore;
use super::bulk::{Bulk, Values};
use super::error::store_error;
use super::record::{corrupt, from_text, get, micros, part, timestamp, to_text};
use super::store::after;

/// The rows come in by the values, so that each is one look-up by key.
static FIND: LazyLock<Bulk> = LazyLock::new(|| {
    let tail = ") as asked cross join engine_run as run
        on run.tenant = asked.column1 and run.id = asked.column2";
    Bulk::new("select run.* from (values", "(?, ?)", tail)
});
static TAKE: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("delete from engine_run_inbox where place in (", "?", ")"));
static APPEND: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::insert("engine_run_entry", &["tenant", "run", "number", "execution", "body"], "")
});
static CLEAR_TIMERS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new("delete from engine_run_timer where (run, call) in (values", "(?, ?)", ")")
});
static SET_TIMERS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::insert("engine_run_timer", &["tenant", "part", "run", "call", "due_at"], "")
});
static TELL: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("engine_run_inbox", &["tenant", "part", "run", "body"], ""));

#[async_trait]
impl Runs for SqliteStore {
    async fn inbox(
        &self,
        parts: &[Part],
        held: &[RunId],
        limit: u32,
        ahead: Duration,
    ) -> Result<Inbox, StoreError> {
        let now = self.clock.now();
        let numbers: Vec<u16> = parts.iter().map(|part| part.0).collect();
        let numbers = to_text(&numbers)?;
        let held: Vec<String> =
            held.iter().map(|run| run.0.simple().to_string().to_uppercase()).collect();
        let held = to_text(&held)?;
        let text = "select place, tenant, part, run, body from engine_run_inbox
            where part in (select value from json_each(?1))
                and hex(run) not in (select value from json_each(?2))
            order by place limit ?3";
        let mut rows =
            sqlx::query(text).bind(&numbers).bind(&held).bind(limit).fetch(&self.readers);
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        while bytes < INBOX_BYTES_MAX
            && let Some(row) = rows.try_next().await.map_err(store_error)?
        {
            bytes += get::<&str>(&row, "body")?.len();
            waiting.push(Waiting {
                place: get(&row, "place")?,
                tenant: get(&row, "tenant").map(TenantId)?,
                part: part(&row)?,
                run: get(&row, "run").map(RunId)?,
                told: from_text(&row, "body")?,
            });
        }
        drop(rows);
        let text = "select tenant, part, run, call, due_at from engine_run_timer
            where part in (select value from json_each(?1)) and due_at <= ?2
                and hex(run) not in (select value from json_each(?4))
            order by due_at limit ?3";
        let timers = sqlx::query(text)
            .bind(&numbers)
            .bind(after(now, ahead))
            .bind(limit)
            .bind(&held)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let timers: Vec<RunTimer> = timers.iter().map(timer).collect::<Result<_, _>>()?;
        let most = waiting.len().max(timers.len());
        let is_cut = bytes >= INBOX_BYTES_MAX || most >= usize::try_from(limit).unwrap_or(most);
        Ok(Inbox { now, waiting, timers, is_cut })
    }

    async fn find_run(&self, tenant: TenantId, id: RunId) -> Result<Option<RunRecord>, StoreError> {
        let found = sqlx::query("select * from engine_run where tenant = ? and id = ?")
            .bind(tenant.0)
            .bind(id.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        found.as_ref().map(record).transpose()
    }

    async fn find_runs(&self, runs: &[(TenantId, RunId)]) -> Result<Vec<RunRecord>, StoreError> {
        let mut conn = self.readers.acquire().await.map_err(store_error)?;
        let bind = |(tenant, id): &(TenantId, RunId), values: &mut Values| {
            values.add(tenant.0).add(id.0);
        };
        let found = FIND.fetch(&mut conn, runs, bind, |_| ()).await?;
        found.iter().map(record).collect()
    }

    async fn list_runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        let found = sqlx::query(include_str!("runs/list_runs.sql"))
            .bind(query.tenant.0)
            .bind(query.name.as_deref())
            .bind(query.status.map(RunStatus::number))
            .bind(query.before.map(|id| id.0))
            .bind(query.limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        found.iter().map(record).collect()
    }

    async fn journal(
        &self,
        tenant: TenantId,
        run: RunId,
        from: u32,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let text = "select body from engine_run_entry
            where run = ? and number >= ? and tenant = ? order by number limit ?";
        let found = sqlx::query(text)
            .bind(run.0)
            .bind(from)
            .bind(tenant.0)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        found.iter().map(|row| from_text(row, "body")).collect()
    }

    async fn run_of(
        &self,
        tenant: TenantId,
        execution: ExecutionId,
    ) -> Result<Option<(RunId, u32)>, StoreError> {
        let text = "select run, number from engine_run_entry where execution = ? and tenant = ?";
        let found = sqlx::query(text)
            .bind(execution.0)
            .bind(tenant.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        let found = found.as_ref();
        found.map(|row| Ok((get(row, "run").map(RunId)?, get(row, "number")?))).transpose()
    }
}

/// Writes what a batch says of runs.
pub(super) async fn write(conn: &mut SqliteConnection, batch: &Commit) -> Result<(), StoreError> {
    if !batch.has_runs() {
        return Ok(());
    }
    for turn in &batch.turns {
        write_turn(conn, turn).await?;
    }
    let taken: Vec<i64> = batch.turns.iter().flat_map(|turn| turn.taken.clone()).collect();
    TAKE.delete(conn, &taken, |place, values| {
        values.add(*place);
    })
    .await?;
    append(conn, &batch.turns).await?;
    set_timers(conn, &batch.turns).await?;
    let mut told = Vec::with_capacity(batch.starts.len() + batch.tells.len());
    for start in &batch.starts {
        if begin(conn, start).await? {
            told.push((start.tenant, start.part, start.id, to_text(&start.told())?));
        }
    }
    for tell in &batch.tells {
        if is_there(conn, tell.tenant).await? {
            told.push((tell.tenant, tell.part, tell.run, to_text(&tell.told)?));
        }
    }
    TELL.execute(conn, &told, |(tenant, part, run, body), values| {
        values.add(tenant.0).add(part.0).add(run.0).add(body.as_str());
    })
    .await
}

async fn write_turn(conn: &mut SqliteConnection, turn: &RunTurn) -> Result<(), StoreError> {
    let Some(state) = &turn.state else { return Ok(()) };
    let text = "update engine_run
        set status = ?3, entry_count = ?4, updated_at = ?5, ended_at = ?6, error = ?7
        where tenant = ?1 and id = ?2";
    sqlx::query(text)
        .bind(turn.tenant.0)
        .bind(turn.run.0)
        .bind(state.status.number())
        .bind(state.entry_count)
        .bind(micros(state.updated_at))
        .bind(state.ended_at.map(micros))
        .bind(state.error.as_deref())
        .execute(conn)
        .await
        .map(drop)
        .map_err(store_error)
}

async fn append(conn: &mut SqliteConnection, turns: &[RunTurn]) -> Result<(), StoreError> {
    let numbered = |turn: &RunTurn| {
        let (tenant, run) = (turn.tenant.0, turn.run.0);
        let rows = (turn.first..).zip(&turn.entries).map(move |(number, entry)| {
            let execution: Option<Uuid> = entry.execution.map(|id| id.0);
            Ok((tenant, run, number, execution, to_text(&entry.entry)?))
        });
        rows.collect::<Vec<Result<_, StoreError>>>()
    };
    let rows: Vec<_> = turns.iter().flat_map(numbered).collect::<Result<_, _>>()?;
    APPEND
        .execute(conn, &rows, |(tenant, run, number, execution, body), values| {
            values.add(*tenant).add(*run).add(*number).add(*execution).add(body.as_str());
        })
        .await
}

async fn set_timers(conn: &mut SqliteConnection, turns: &[RunTurn]) -> Result<(), StoreError> {
    let cleared = |turn: &RunTurn| {
        let run = turn.run.0;
        turn.timers_cleared.iter().map(|call| (run, call.0)).collect::<Vec<_>>()
    };
    let cleared: Vec<(Uuid, u32)> = turns.iter().flat_map(cleared).collect();
    CLEAR_TIMERS
        .delete(conn, &cleared, |(run, call), values| {
            values.add(*run).add(*call);
        })
        .await?;
    let set = |turn: &RunTurn| {
        let (tenant, part, run) = (turn.tenant.0, turn.part.0, turn.run.0);
        let each = turn.timers_set.iter();
        each.map(|(call, due)| (tenant, part, run, call.0, micros(*due))).collect::<Vec<_>>()
    };
    let set: Vec<(i32, u16, Uuid, u32, i64)> = turns.iter().flat_map(set).collect();
    SET_TIMERS
        .execute(conn, &set, |(tenant, part, run, call, due), values| {
            values.add(*tenant).add(*part).add(*run).add(*call).add(*due);
        })
        .await
}

/// Writes a new run down, and says whether it is one.
async fn begin(conn: &mut SqliteConnection, start: &NewRun) -> Result<bool, StoreError> {
    let text = "insert into engine_run (
            tenant, id, part, name, workflow, defs, parent, parent_part, parent_call, status,
            entry_count, started_at, updated_at)
        select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0, ?10, ?10
        where exists (select 1 from engine_tenant where id = ?1)
        on conflict do nothing";
    let done = sqlx::query(text)
        .bind(start.tenant.0)
        .bind(start.id.0)
        .bind(start.part.0)
        .bind(start.name.as_str())
        .bind(start.workflow.action.0)
        .bind(start.workflow.defs)
        .bind(start.parent.map(|parent| parent.run.0))
        .bind(start.parent.map(|parent| parent.part.0))
        .bind(start.parent.map(|parent| parent.call.0))
        .bind(micros(start.started_at))
        .execute(conn)
        .await
        .map_err(store_error)?;
    Ok(done.rows_affected() == 1)
}

async fn is_there(conn: &mut SqliteConnection, tenant: TenantId) -> Result<bool, StoreError> {
    sqlx::query_scalar("select exists (select 1 from engine_tenant where id = ?)")
        .bind(tenant.0)
        .fetch_one(conn)
        .await
        .map_err(store_error)
}

fn timer(row: &SqliteRow) -> Result<RunTimer, StoreError> {
    Ok(RunTimer {
        tenant: get(row, "tenant").map(TenantId)?,
        part: part(row)?,
        run: get(row, "run").map(RunId)?,
        call: get(row, "call").map(CallId)?,
        due_at: time(row, "due_at")?,
    })
}

fn record(row: &SqliteRow) -> Result<RunRecord, StoreError> {
    let parent = match get::<Option<Uuid>>(row, "parent")? {
        Some(run) => Some(ParentCall {
            run: RunId(run),
            part: get(row, "parent_part").map(Part)?,
            call: get(row, "parent_call").map(CallId)?,
        }),
        None => None,
    };
    let status = get(row, "status")?;
    let ended_at: Option<i64> = get(row, "ended_at")?;
    Ok(RunRecord {
        id: get(row, "id").map(RunId)?,
        tenant: get(row, "tenant").map(TenantId)?,
        part: part(row)?,
        name: get(row, "name")?,
        workflow: WorkflowVersion {
            action: get(row, "workflow").map(ActionId)?,
            defs: get(row, "defs")?,
        },
        parent,
        started_at: time(row, "started_at")?,
        state: RunState {
            status: RunStatus::from_number(status).ok_or_else(|| corrupt("status", status))?,
            entry_count: get(row, "entry_count")?,
            updated_at: time(row, "updated_at")?,
            ended_at: ended_at.map(timestamp).transpose()?,
            error: get(row, "error")?,
        },
    })
}

fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, StoreError> {
    timestamp(get(row, column)?)
}
