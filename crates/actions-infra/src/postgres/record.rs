//! Rows ⇄ domain.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::FromRow;
use uuid::Uuid;

use actions_domain::Timestamp;
use actions_domain::event::{Event, EventType};
use actions_domain::execution::report::Report;
use actions_domain::execution::{Execution, Fault, LeftOut, Priority, Status};
use actions_domain::id::{ActionId, EventId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::history::ListedEvent;
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Home, Item, Key, KeyMode, Later, Part, Seq, Why, Work};

/// A partition's number as the tables keep it. One beyond the largest names none.
pub(super) fn part_number(part: Part) -> i16 {
    i16::try_from(part.0).unwrap_or(i16::MAX)
}

pub(super) fn part_of(number: i16) -> Result<Part, StoreError> {
    u16::try_from(number).map(Part).map_err(|_| corrupt("partition", &number))
}

pub(super) fn lane_number(lane: Priority) -> i16 {
    i16::from(lane.rank())
}

pub(super) fn mode_number(mode: KeyMode) -> i16 {
    match mode {
        KeyMode::Read => 0,
        KeyMode::Create => 1,
        KeyMode::Mutate => 2,
    }
}

/// Whole microseconds, at most a hundred years: a pause that no clock will see the end of.
pub(super) fn micros(pause: Duration) -> i64 {
    const LONGEST: i64 = 100 * 366 * 86_400 * 1_000_000;
    i64::try_from(pause.as_micros()).unwrap_or(LONGEST).min(LONGEST)
}

pub(super) fn corrupt(what: &str, value: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what: format!("{what} {value}") }
}

pub(super) fn from_text<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(what, &error))
}

/// Serialises what serde can always serialise: trees of our own types.
pub(super) fn to_text<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused { reason: error.to_string() })
}

fn lane_of(number: i16) -> Result<Priority, StoreError> {
    u8::try_from(number)
        .ok()
        .and_then(Priority::from_rank)
        .ok_or_else(|| corrupt("priority", &number))
}

fn key_of(name: Option<String>, mode: Option<i16>) -> Result<Option<Key>, StoreError> {
    let Some(name) = name else { return Ok(None) };
    let mode = match mode {
        Some(0) => KeyMode::Read,
        Some(1) => KeyMode::Create,
        Some(2) => KeyMode::Mutate,
        Some(_) | None => return Err(corrupt("key mode of", &name)),
    };
    Ok(Some(Key { name: name.into(), mode }))
}

/// An unfinished item, from the log or from the later ones.
#[derive(Debug, FromRow)]
pub(super) struct ItemRecord {
    id: Uuid,
    part: i16,
    ord: i64,
    tenant: i32,
    lane: i16,
    action: i32,
    defs: i64,
    key: Option<String>,
    mode: Option<i16>,
    event: Option<Uuid>,
    parent: Option<Uuid>,
    queued_at: Timestamp,
    depth: i16,
    input: Option<String>,
    is_later: bool,
    attempts: Option<String>,
    losses: i16,
    terms: Option<String>,
}

impl ItemRecord {
    pub(super) fn into_item(self) -> Result<Item, StoreError> {
        let attempts = match &self.attempts {
            Some(text) => from_text("attempts", text)?,
            None => Vec::new(),
        };
        let work = Work {
            id: ExecutionId(self.id),
            tenant: TenantId(self.tenant),
            lane: lane_of(self.lane)?,
            action: ActionId(self.action),
            defs: self.defs,
            key: key_of(self.key, self.mode)?,
            event: self.event.map(EventId),
            parent: self.parent.map(ExecutionId),
            queued_at: self.queued_at,
            delay: None,
            input: self.input.map(Json::from_record),
            depth: u8::try_from(self.depth).map_err(|_| corrupt("depth", &self.depth))?,
            terms: match &self.terms {
                Some(text) => Some(Arc::new(from_text("terms", text)?)),
                None => None,
            },
        };
        Ok(Item {
            work: Arc::new(work),
            part: part_of(self.part)?,
            ord: Seq(self.ord),
            home: if self.is_later { Home::Later } else { Home::Log },
            attempts,
            losses: u8::try_from(self.losses).map_err(|_| corrupt("losses", &self.losses))?,
            event: None,
        })
    }
}

#[derive(Debug, FromRow)]
pub(super) struct LaterRecord {
    #[sqlx(flatten)]
    item: ItemRecord,
    why: i16,
    hold: bool,
    /// Microseconds.
    pause: i64,
}

impl LaterRecord {
    pub(super) fn into_later(self) -> Result<Later, StoreError> {
        Ok(Later {
            item: self.item.into_item()?,
            delay: Duration::from_micros(u64::try_from(self.pause).unwrap_or(0)),
            why: Why::from_number(self.why).ok_or_else(|| corrupt("reason to wait", &self.why))?,
            hold: self.hold,
        })
    }
}

#[derive(Debug, FromRow)]
pub(super) struct EventRecord {
    id: Uuid,
    tenant: i32,
    #[sqlx(rename = "type")]
    event_type: String,
    source: String,
    external_id: Option<String>,
    accepted_at: Timestamp,
    /// `None` where a list leaves them out.
    data: Option<String>,
    /// Only in lists.
    #[sqlx(default)]
    data_bytes: i32,
    attributes: String,
}

impl EventRecord {
    pub(super) fn into_listed(self) -> Result<ListedEvent, StoreError> {
        let data_bytes = usize::try_from(self.data_bytes).unwrap_or_default();
        Ok(ListedEvent { event: self.into_event()?, data_bytes })
    }

    pub(super) fn into_event(self) -> Result<Event, StoreError> {
        Ok(Event {
            id: EventId(self.id),
            tenant: TenantId(self.tenant),
            event_type: EventType::parse(&self.event_type)
                .map_err(|error| corrupt("event type:", &error))?,
            source: self.source,
            external_id: self.external_id,
            accepted_at: self.accepted_at,
            data: self.data.map_or_else(Json::null, Json::from_record),
            attributes: from_text("attributes", &self.attributes)?,
        })
    }
}

/// An execution, finished or not.
#[derive(Debug, FromRow)]
pub(super) struct ExecutionRecord {
    id: Uuid,
    tenant: i32,
    action: i32,
    defs: i64,
    event: Option<Uuid>,
    parent: Option<Uuid>,
    lane: i16,
    key: Option<String>,
    mode: Option<i16>,
    /// `None` while it is unfinished.
    status: Option<i16>,
    queued_at: Timestamp,
    due_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    input: Option<String>,
    output: Option<String>,
    /// Only in lists.
    #[sqlx(default)]
    input_bytes: Option<i32>,
    #[sqlx(default)]
    output_bytes: Option<i32>,
    error: Option<String>,
    attempts: Option<String>,
}

impl ExecutionRecord {
    pub(super) fn into_execution(self) -> Result<Execution, StoreError> {
        let attempts: Vec<actions_domain::execution::Attempt> = match &self.attempts {
            Some(text) => from_text("attempts", text)?,
            None => Vec::new(),
        };
        let status = match self.status {
            Some(number) => {
                Status::from_number(number).ok_or_else(|| corrupt("status", &number))?
            }
            None if attempts.is_empty() => Status::Pending,
            None => Status::Retrying,
        };
        let left_out = LeftOut {
            input: left_out(self.input.as_ref(), self.input_bytes),
            output: left_out(self.output.as_ref(), self.output_bytes),
        };
        let error: Option<Fault> = self.error.map(|text| from_text("error", &text)).transpose()?;
        Ok(Execution {
            id: ExecutionId(self.id),
            tenant: TenantId(self.tenant),
            action: ActionId(self.action),
            defs: self.defs,
            event: self.event.map(EventId),
            parent: self.parent.map(ExecutionId),
            priority: lane_of(self.lane)?,
            key: key_of(self.key, self.mode)?,
            status,
            queued_at: self.queued_at,
            due_at: self.due_at,
            started_at: if self.status.is_some() {
                self.started_at
            } else {
                attempts.first().map(|attempt| attempt.started_at)
            },
            ended_at: self.ended_at,
            input: self.input.map(Json::from_record),
            output: self.output.map(Json::from_record),
            error,
            attempts,
            left_out,
        })
    }
}

/// A text that has a size and is not here was left out.
fn left_out(text: Option<&String>, bytes: Option<i32>) -> Option<usize> {
    if text.is_some() { None } else { usize::try_from(bytes?).ok() }
}

/// What an attempt has told.
#[derive(Debug, FromRow)]
pub(super) struct ReportRecord {
    attempt: i32,
    told_at: Timestamp,
    progress: Option<f64>,
    note: Option<String>,
    checkpoint: Option<String>,
}

impl ReportRecord {
    pub(super) fn into_report(self) -> Result<Report, StoreError> {
        Ok(Report {
            attempt: u32::try_from(self.attempt).map_err(|_| corrupt("attempt", &self.attempt))?,
            told_at: self.told_at,
            progress: self.progress,
            note: self.note,
            checkpoint: self.checkpoint.map(Json::from_record),
        })
    }
}
