//! Rows become domain values and back here, and nowhere else in this adapter.

use std::sync::Arc;

use actions_domain::Timestamp;
use actions_domain::action::Action;
use actions_domain::event::{Event, EventType};
use actions_domain::execution::report::Report;
use actions_domain::execution::{
    Attempt, AttemptOutcome, Cause, Execution, Fault, LeftOut, Priority, Status,
};
use actions_domain::id::{ActionId, EventId, ExecutionId, NodeId, SubscriptionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::history::{ActionCounts, ListedEvent, QueueMetric};
use actions_domain::ports::store::{IntakeRow, StoreError};
use actions_domain::subscription::Subscription;
use actions_domain::tenant::{Tenant, TenantSlug};
use actions_domain::work::{Epoch, Home, Item, Key, KeyMode, Part, Seq, Work};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};
use uuid::Uuid;

use crate::unreadable;

/// Microseconds since 1970.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.timestamp_micros()
}

pub(super) fn timestamp(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_timestamp_micros(micros).ok_or_else(|| corrupt("a time", micros))
}

/// Reads one column.
pub(super) fn get<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(
    row: &'r SqliteRow,
    column: &str,
) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| corrupt(column, error))
}

pub(super) fn corrupt(what: &str, value: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what: format!("{what}: {value}") }
}

/// Writes a value as JSON text.
pub(super) fn to_text(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused { reason: error.to_string() })
}

/// An attempt as it is stored: every execution has one, so its names are short.
#[derive(Serialize, Deserialize)]
struct AttemptRecord {
    n: u32,
    node: NodeId,
    epoch: Epoch,
    cause: Cause,
    /// The epoch that was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<Epoch>,
    /// Start and end, in microseconds.
    from: i64,
    to: i64,
    outcome: AttemptOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_mb: Option<u64>,
}

/// Writes attempts as a JSON list.
pub(super) fn attempts_text(attempts: &[Attempt]) -> Result<String, StoreError> {
    let record = |attempt: &Attempt| AttemptRecord {
        n: attempt.number,
        node: attempt.node,
        epoch: attempt.epoch,
        cause: attempt.cause,
        lost: attempt.lost_epoch,
        from: micros(attempt.started_at),
        to: micros(attempt.ended_at),
        outcome: attempt.outcome,
        error: attempt.error.clone(),
        cpu_ms: attempt.cpu_ms,
        memory_mb: attempt.memory_mb,
    };
    to_text(&attempts.iter().map(record).collect::<Vec<_>>())
}

fn attempts(row: &SqliteRow) -> Result<Vec<Attempt>, StoreError> {
    let records: Vec<AttemptRecord> = from_text(row, "attempts")?;
    let attempt = |record: AttemptRecord| {
        Ok(Attempt {
            number: record.n,
            node: record.node,
            epoch: record.epoch,
            cause: record.cause,
            lost_epoch: record.lost,
            started_at: timestamp(record.from)?,
            ended_at: timestamp(record.to)?,
            outcome: record.outcome,
            error: record.error,
            cpu_ms: record.cpu_ms,
            memory_mb: record.memory_mb,
        })
    };
    records.into_iter().map(attempt).collect()
}

pub(super) fn from_text<T: DeserializeOwned>(
    row: &SqliteRow,
    column: &str,
) -> Result<T, StoreError> {
    let text: &str = get(row, column)?;
    serde_json::from_str(text).map_err(|error| corrupt(column, error))
}

pub(super) fn optional_from_text<T: DeserializeOwned>(
    row: &SqliteRow,
    column: &str,
) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = get(row, column)?;
    text.map(|text| serde_json::from_str(text).map_err(|error| corrupt(column, error))).transpose()
}

fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, StoreError> {
    timestamp(get(row, column)?)
}

fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    get::<Option<i64>>(row, column)?.map(timestamp).transpose()
}

fn optional_json(row: &SqliteRow, column: &str) -> Result<Option<Json>, StoreError> {
    Ok(get::<Option<String>>(row, column)?.map(Json::from_record))
}

pub(super) fn part(row: &SqliteRow) -> Result<Part, StoreError> {
    get(row, "part").map(Part)
}

/// The stored number of a key's mode.
pub(super) fn mode_number(key: Option<&Key>) -> i16 {
    match key.map(|key| key.mode) {
        None | Some(KeyMode::Read) => 0,
        Some(KeyMode::Create) => 1,
        Some(KeyMode::Mutate) => 2,
    }
}

fn key(row: &SqliteRow) -> Result<Option<Key>, StoreError> {
    let Some(name) = get::<Option<&str>>(row, "akey")? else { return Ok(None) };
    let mode = match get::<i16>(row, "amode")? {
        0 => KeyMode::Read,
        1 => KeyMode::Create,
        2 => KeyMode::Mutate,
        number => return Err(corrupt("amode", number)),
    };
    Ok(Some(Key { name: Arc::from(name), mode }))
}

fn lane(row: &SqliteRow) -> Result<Priority, StoreError> {
    let rank = get(row, "lane")?;
    Priority::from_rank(rank).ok_or_else(|| corrupt("lane", rank))
}

/// Who takes an execution's place, as text.
pub(super) fn superseded_by(row: &SqliteRow) -> Result<Option<ExecutionId>, StoreError> {
    let text: Option<&str> = get(row, "superseded_by")?;
    let id = |text: &str| text.parse().map_err(|error| corrupt("superseded_by", error));
    Ok(text.map(id).transpose()?.map(ExecutionId))
}

pub(super) fn execution_id(row: &SqliteRow) -> Result<ExecutionId, StoreError> {
    get(row, "id").map(ExecutionId)
}

fn work(row: &SqliteRow) -> Result<Work, StoreError> {
    Ok(Work {
        id: execution_id(row)?,
        tenant: get(row, "tenant").map(TenantId)?,
        lane: lane(row)?,
        action: get(row, "action").map(ActionId)?,
        defs: get(row, "defs")?,
        key: key(row)?,
        event: get::<Option<Uuid>>(row, "event")?.map(EventId),
        parent: get::<Option<Uuid>>(row, "parent")?.map(ExecutionId),
        queued_at: time(row, "queued_at")?,
        // It was used up when the item got its time.
        delay: None,
        input: optional_json(row, "input")?,
        depth: get(row, "depth")?,
        terms: optional_from_text(row, "terms")?.map(Arc::new),
    })
}

/// An item of the log: its columns, with `ord`.
pub(super) fn log_item(row: &SqliteRow) -> Result<Item, StoreError> {
    Ok(Item {
        work: Arc::new(work(row)?),
        part: part(row)?,
        ord: get(row, "ord").map(Seq)?,
        home: Home::Log,
        attempts: Vec::new(),
        losses: 0,
        event: None,
    })
}

/// A later item: as before, with `attempts` and `losses`.
pub(super) fn later_item(row: &SqliteRow) -> Result<Item, StoreError> {
    let item = log_item(row)?;
    Ok(Item { home: Home::Later, attempts: attempts(row)?, losses: get(row, "losses")?, ..item })
}

pub(super) fn report(row: &SqliteRow) -> Result<Report, StoreError> {
    Ok(Report {
        attempt: get(row, "attempt")?,
        told_at: time(row, "told_at")?,
        progress: get(row, "progress")?,
        note: get(row, "note")?,
        checkpoint: optional_json(row, "checkpoint")?,
    })
}

pub(super) fn event(row: &SqliteRow) -> Result<Event, StoreError> {
    let kind: String = get(row, "type")?;
    Ok(Event {
        id: get(row, "id").map(EventId)?,
        tenant: get(row, "tenant").map(TenantId)?,
        event_type: EventType::try_from(kind).map_err(|error| corrupt("type", error))?,
        source: get(row, "source")?,
        external_id: get(row, "external_id")?,
        accepted_at: time(row, "accepted_at")?,
        // Lists may leave them out.
        data: optional_json(row, "data")?.unwrap_or_else(Json::null),
        attributes: from_text(row, "attributes")?,
    })
}

pub(super) fn listed_event(row: &SqliteRow) -> Result<ListedEvent, StoreError> {
    let data_bytes: i64 = get(row, "data_bytes")?;
    Ok(ListedEvent { event: event(row)?, data_bytes: usize::try_from(data_bytes).unwrap_or(0) })
}

/// An execution, finished or not: `status` is null while it is not, and follows from its
/// attempts.
pub(super) fn execution(row: &SqliteRow) -> Result<Execution, StoreError> {
    let attempts = attempts(row)?;
    let (status, started_at) = match get::<Option<i16>>(row, "status")? {
        Some(number) => {
            let status = Status::from_number(number).ok_or_else(|| corrupt("status", number))?;
            (status, optional_time(row, "started_at")?)
        }
        None => match attempts.first() {
            None => (Status::Pending, None),
            Some(first) => (Status::Retrying, Some(first.started_at)),
        },
    };
    Ok(Execution {
        id: execution_id(row)?,
        tenant: get(row, "tenant").map(TenantId)?,
        action: get(row, "action").map(ActionId)?,
        defs: get(row, "defs")?,
        event: get::<Option<Uuid>>(row, "event")?.map(EventId),
        parent: get::<Option<Uuid>>(row, "parent")?.map(ExecutionId),
        priority: lane(row)?,
        key: key(row)?,
        status,
        queued_at: time(row, "queued_at")?,
        due_at: optional_time(row, "due")?,
        started_at,
        ended_at: optional_time(row, "ended_at")?,
        input: optional_json(row, "input")?,
        output: optional_json(row, "output")?,
        error: optional_from_text(row, "error")?,
        attempts,
        left_out: LeftOut {
            input: left_out(row, "input", "input_bytes")?,
            output: left_out(row, "output", "output_bytes")?,
        },
    })
}

/// A text that has a size and is not here was left out. Only lists know sizes.
fn left_out(row: &SqliteRow, text: &str, bytes: &str) -> Result<Option<usize>, StoreError> {
    if row.try_column(bytes).is_err() || get::<Option<&str>>(row, text)?.is_some() {
        return Ok(None);
    }
    Ok(get::<Option<i64>>(row, bytes)?.and_then(|bytes| usize::try_from(bytes).ok()))
}

pub(super) fn tenant(row: &SqliteRow) -> Result<Tenant, StoreError> {
    let slug: String = get(row, "slug")?;
    Ok(Tenant {
        id: get(row, "id").map(TenantId)?,
        uuid: get(row, "uuid")?,
        slug: TenantSlug::try_from(slug).map_err(|error| corrupt("slug", error))?,
        name: get(row, "name")?,
        defs_version: get(row, "defs_version")?,
        created_at: time(row, "created_at")?,
    })
}

pub(super) fn action(row: &SqliteRow) -> Result<Action, StoreError> {
    Ok(Action {
        id: get(row, "id").map(ActionId)?,
        tenant: get(row, "tenant").map(TenantId)?,
        uuid: get(row, "uuid")?,
        spec: from_text(row, "spec")?,
        health: from_text(row, "health")?,
        version: get(row, "version")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        deleted: get(row, "deleted")?,
    })
}

/// The present state of an action, which can be saved again where it cannot be read.
pub(super) fn current_action(row: &SqliteRow) -> Result<Action, StoreError> {
    let id = get(row, "id")?;
    let (spec, health) = unreadable::action(id, get(row, "spec")?, get(row, "health")?);
    Ok(Action {
        id: ActionId(id),
        tenant: get(row, "tenant").map(TenantId)?,
        uuid: get(row, "uuid")?,
        spec,
        health,
        version: get(row, "version")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        deleted: get(row, "deleted")?,
    })
}

/// The present state of a subscription. Where it cannot be read, it is gone.
pub(super) fn subscription(row: &SqliteRow) -> Result<Subscription, StoreError> {
    let id = get(row, "id")?;
    let spec = unreadable::subscription(id, get(row, "spec")?);
    Ok(Subscription {
        id: SubscriptionId(id),
        tenant: get(row, "tenant").map(TenantId)?,
        action: get(row, "action").map(ActionId)?,
        deleted: get::<bool>(row, "deleted")? || spec.is_none(),
        spec: spec.unwrap_or_else(unreadable::no_subscription),
        version: get(row, "version")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

pub(super) fn action_counts(row: &SqliteRow) -> Result<ActionCounts, StoreError> {
    Ok(ActionCounts {
        action: get(row, "action").map(ActionId)?,
        completed: get(row, "completed")?,
        failed: get(row, "failed")?,
        cancelled: get(row, "cancelled")?,
        retries: get(row, "retries")?,
        duration_ms: get(row, "duration_ms")?,
        last_at: optional_time(row, "last_at")?,
    })
}

pub(super) fn intake(row: &SqliteRow) -> Result<IntakeRow, StoreError> {
    Ok(IntakeRow {
        id: get(row, "id")?,
        tenant: get(row, "tenant").map(TenantId)?,
        body: Json::from_record(get(row, "body")?),
    })
}

pub(super) fn queue_metric(row: &SqliteRow) -> Result<QueueMetric, StoreError> {
    Ok(QueueMetric {
        tenant: get(row, "tenant").map(TenantId)?,
        queue_name: get(row, "queue_name")?,
        sampled_at: time(row, "sampled_at")?,
        pending: get(row, "pending")?,
        processing: get(row, "processing")?,
        completed: get(row, "completed")?,
        failed: get(row, "failed")?,
        avg_processing_time_ms: get(row, "avg_processing_time_ms")?,
        throughput_per_minute: get(row, "throughput_per_minute")?,
        error_rate_percentage: get(row, "error_rate_percentage")?,
        active_workers: get(row, "active_workers")?,
    })
}
