//! What the contracts write: small and valid, everything else as the test says.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::action::ActionSpec;
use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::execution::{Attempt, AttemptOutcome, Cause, Fault, Priority, Status};
use actions_domain::id::{ActionId, EventId, ExecutionId, NodeId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::dice::Dice;
use actions_domain::subscription::SubscriptionSpec;
use actions_domain::work::{
    Dedupe, Epoch, Finish, Home, Ingest, Item, Later, Part, Seq, Submission, Why, Work,
};
use actions_infra::system::{SystemClock, SystemDice};
use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

pub(crate) const PART: Part = Part(0);
pub(crate) const OTHER_PART: Part = Part(1);
pub(crate) const ACTION: ActionId = ActionId(7);

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// An id that is newer than now by so many milliseconds: newer ones sort later.
pub(crate) fn event_id(offset_ms: i64) -> EventId {
    EventId::mint(now() + TimeDelta::milliseconds(offset_ms), SystemDice.bytes())
}

pub(crate) fn execution_id(offset_ms: i64) -> ExecutionId {
    ExecutionId::mint(now() + TimeDelta::milliseconds(offset_ms), SystemDice.bytes())
}

pub(crate) fn uuid() -> Uuid {
    event_id(0).0
}

pub(crate) fn event() -> Event {
    Event {
        id: event_id(0),
        tenant: TenantId::ADMIN,
        event_type: EventType::parse("orders.paid").unwrap(),
        source: "shop".to_owned(),
        external_id: None,
        accepted_at: now(),
        data: Json::parse(r#"{"amount": 12.50}"#).unwrap(),
        attributes: Attributes::default(),
    }
}

pub(crate) fn work(event: Option<&Event>) -> Work {
    Work {
        id: execution_id(0),
        tenant: event.map_or(TenantId::ADMIN, |event| event.tenant),
        lane: Priority::Normal,
        action: ACTION,
        defs: 0,
        key: None,
        event: event.map(|event| event.id),
        parent: None,
        queued_at: now(),
        delay: None,
        input: None,
        depth: 0,
        terms: None,
    }
}

/// An event with one work.
pub(crate) fn ingest(part: Part) -> Ingest {
    let event = event();
    let work = work(Some(&event));
    ingest_of(event, vec![(part, work)])
}

pub(crate) fn ingest_of(event: Event, works: Vec<(Part, Work)>) -> Ingest {
    let works = works.into_iter().map(|(part, work)| (part, Arc::new(work))).collect();
    Ingest { event: Some(Arc::new(event)), dedupe: None, works, requeue_of: None }
}

/// A job: a work without an event, told apart by its key.
pub(crate) fn job(part: Part, work: Work) -> Ingest {
    let dedupe = dedupe(&work.id.to_string(), work.id.0);
    let works = vec![(part, Arc::new(work))];
    Ingest { event: None, dedupe: Some(dedupe), works, requeue_of: None }
}

pub(crate) fn dedupe(key: &str, subject: Uuid) -> Dedupe {
    Dedupe { key: hash(key), subject }
}

/// Sixteen bytes that differ when the word does.
pub(crate) fn hash(word: &str) -> [u8; 16] {
    let mut bytes = [0_u8; 16];
    for (at, byte) in word.bytes().enumerate() {
        bytes[at % 16] = bytes[at % 16].wrapping_mul(31).wrapping_add(byte);
    }
    bytes
}

pub(crate) fn submission(ingests: Vec<Ingest>) -> Submission {
    Submission::new(TenantId::ADMIN, None, ingests)
}

pub(crate) fn log_item(part: Part, seq: i64, work: Arc<Work>) -> Item {
    let (ord, home) = (Seq(seq), Home::Log);
    Item { work, part, ord, home, attempts: Vec::new(), losses: 0, event: None }
}

pub(crate) fn attempt(node: NodeId, epoch: Epoch, number: u32) -> Attempt {
    let ended_at = now();
    Attempt {
        number,
        node,
        epoch,
        cause: if number == 1 { Cause::First } else { Cause::Retry },
        lost_epoch: None,
        started_at: ended_at - TimeDelta::milliseconds(250),
        ended_at,
        outcome: AttemptOutcome::Completed,
        error: None,
        cpu_ms: Some(3),
        memory_mb: None,
    }
}

pub(crate) fn failed_attempt(node: NodeId, number: u32) -> Attempt {
    let error = Some(fault("no answer"));
    Attempt { outcome: AttemptOutcome::Failed, error, ..attempt(node, Epoch(1), number) }
}

pub(crate) fn fault(message: &str) -> Fault {
    Fault::handler("http.status", message).with_details(json!({"status": 503}))
}

/// The item waits among the later items after one more failed attempt.
pub(crate) fn retry(item: &Item, node: NodeId, delay: Duration) -> Later {
    let mut item = Item { home: Home::Later, ..item.clone() };
    let number = u32::try_from(item.attempts.len() + 1).unwrap();
    item.attempts.push(failed_attempt(node, number));
    Later { item, delay, why: Why::Retry, hold: false }
}

pub(crate) fn finish(item: &Item, node: NodeId, epoch: Epoch, fin: i64) -> Finish {
    let mut item = item.clone();
    let number = u32::try_from(item.attempts.len() + 1).unwrap();
    item.attempts.push(attempt(node, epoch, number));
    let started_at = item.attempts.first().map(|attempt| attempt.started_at);
    let ended_at = item.attempts.last().map_or_else(now, |attempt| attempt.ended_at);
    Finish {
        item,
        fin,
        epoch,
        status: Status::Completed,
        started_at,
        ended_at,
        output: Some(Json::parse(r#"{"sent": true}"#).unwrap()),
        error: None,
        rejected: false,
        dead: None,
    }
}

/// Turns an end into that of a dead letter.
pub(crate) fn death(finish: Finish, fingerprint: &str) -> Finish {
    let (status, dead) = (Status::Failed, Some(fingerprint.to_owned()));
    Finish { status, output: None, error: Some(fault("answered 503")), dead, ..finish }
}

/// The same failure later: for a work that repeats a dead one.
pub(crate) fn requeue(part: Part, dead: &Item) -> Ingest {
    let work = Work { id: execution_id(5), parent: Some(dead.work.id), ..(*dead.work).clone() };
    Ingest { requeue_of: Some(dead.work.id), ..job(part, work) }
}

pub(crate) fn action_spec(name: &str) -> ActionSpec {
    let spec = json!({"name": name, "action_type": "webhook", "handler": "webhook.signed"});
    serde_json::from_value(spec).unwrap()
}

pub(crate) fn subscription_spec(pattern: &str) -> SubscriptionSpec {
    serde_json::from_value(json!({"event_pattern": pattern})).unwrap()
}
