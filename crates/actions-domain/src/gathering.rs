//! Batches: executions of one action that gather into one, which runs once with all their events.
//!
//! The first one is the batch's head. What joins it is no execution of its own: its event is kept
//! with the head. Joining and closing exclude each other in the store, so whatever joined is there
//! when the head begins.

use serde::{Deserialize, Serialize};

use crate::event::{Envelope, Event};
use crate::id::{EventId, ExecutionId};
use crate::json::Json;
use crate::limits::GATHERED_BYTES_MAX;
use crate::work::{Part, Work};

/// What an execution gathers: kept with its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathering {
    /// BLAKE3, 128 bits, of what those have in common that gather. `None`: nobody joins any more,
    /// because it repeats one that was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<[u8; 16]>,
    /// It is closed with so many, its own among them.
    pub size_max: u32,
}

/// A batch that others may join, as stores keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenBatch {
    pub head: ExecutionId,
    /// Where the head lives.
    pub part: Part,
    /// How many events are in it, the head's own among them.
    pub size: u32,
    /// Bytes of their envelopes.
    pub bytes: usize,
}

/// What becomes of an execution that gathers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gathered {
    /// It is in this batch now, and is none of its own.
    Joins(OpenBatch),
    /// It is the head of this batch. The one before is closed, because it has no room for it.
    Begins { batch: OpenBatch, closes: Option<OpenBatch> },
}

impl OpenBatch {
    /// Whether it is closed by what it holds.
    pub fn is_full(&self, size_max: u32) -> bool {
        self.size >= size_max || self.bytes >= GATHERED_BYTES_MAX
    }
}

impl Gathering {
    /// Decides what becomes of `execution`, whose envelope has so many bytes. `known` is the open
    /// batch with its key, when its head has not ended.
    pub fn judge(
        execution: ExecutionId,
        part: Part,
        bytes: usize,
        known: Option<OpenBatch>,
    ) -> Gathered {
        match known {
            Some(known) if known.bytes + bytes <= GATHERED_BYTES_MAX => {
                Gathered::Joins(OpenBatch {
                    size: known.size + 1,
                    bytes: known.bytes + bytes,
                    ..known
                })
            }
            known => {
                let batch = OpenBatch { head: execution, part, size: 1, bytes };
                Gathered::Begins { batch, closes: known }
            }
        }
    }
}

/// What joined a batch, as it is kept with the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// A job has none.
    pub event: Option<EventId>,
    /// The envelope that handlers see.
    pub envelope: Json,
}

impl Member {
    /// The work's event, or its input as one that has no type.
    pub fn of(work: &Work, event: Option<&Event>) -> Self {
        Self { event: work.event, envelope: envelope(work, event) }
    }
}

/// What a handler sees of one that was gathered.
fn envelope(work: &Work, event: Option<&Event>) -> Json {
    let null = Json::null();
    let of_job = || {
        let data = work.input.as_ref().unwrap_or(&null);
        Envelope { time: Some(work.queued_at), ..Envelope::bare(data) }
    };
    let envelope = event.map_or_else(of_job, Event::envelope);
    Json::from_record(serde_json::to_string(&envelope).expect("it has texts, ids and times only"))
}

/// The input of a batch: all that it gathered, in the order in which it was accepted.
pub fn input_of(work: &Work, event: Option<&Event>, members: &[Json]) -> Json {
    #[derive(Serialize)]
    struct Input<'a> {
        size: usize,
        events: Vec<&'a Json>,
    }
    let own = envelope(work, event);
    let events: Vec<&Json> = std::iter::once(&own).chain(members).collect();
    let input = Input { size: events.len(), events };
    Json::from_record(serde_json::to_string(&input).expect("it has JSON and a number only"))
}

#[cfg(test)]
mod tests;
