//! The built-in handlers against real peers: HTTP servers, a mail server, and verifiers that
//! other people wrote.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::execution::report::Reporter;
use actions_domain::execution::{Fault, Outcome};
use actions_domain::id::{EventId, ExecutionId, NodeId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::handler::{Call, Handler, TenantRef};
use actions_domain::ports::pull_queue::PullQueue;
use actions_domain::{Timestamp, action::HandlerId};
use actions_handlers::{Egress, EgressPolicy, Functions, Registry, builtin};
use actions_infra::memory::MemoryPullQueue;
use actions_infra::system::SystemClock;
use serde_json::Value;
use uuid::Uuid;

mod definitions;
mod egress;
mod encryption;
mod mail;
mod messages;
pub(crate) mod peer;
mod reach;
mod sms;
mod webhooks;

/// A gate that reaches this machine and no other private place.
fn gate() -> Egress {
    gate_trusting(Vec::new())
}

fn gate_trusting(roots: Vec<Vec<u8>>) -> Egress {
    crate::support::install_crypto();
    let allow = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).to_vec();
    Egress::new(EgressPolicy { roots, ..EgressPolicy::allowing(allow) }).unwrap()
}

pub(crate) fn handlers() -> Registry {
    handlers_with(&gate())
}

fn handlers_with(gate: &Egress) -> Registry {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tasks: Arc<dyn PullQueue> = Arc::new(MemoryPullQueue::new(clock.clone()));
    builtin(gate, &Functions::new(), &tasks, &clock)
}

pub(crate) fn find(registry: &Registry, id: &str) -> Arc<dyn Handler> {
    registry.find(&HandlerId::parse(id).unwrap()).unwrap_or_else(|| panic!("no handler {id}"))
}

/// The first attempt of a job, now.
pub(crate) fn job(config: Value, input: Value) -> Call {
    let now = SystemClock.now();
    Call {
        execution: ExecutionId::mint(now, [7; 10]),
        parent: None,
        attempt: 1,
        tenant: TenantRef {
            id: TenantId(2),
            uuid: Uuid::from_u128(7),
            slug: "acme".to_owned(),
            schema: "tenant_acme".to_owned(),
        },
        action: "test".to_owned(),
        config: config.into(),
        input,
        gathered: None,
        event: None,
        node: NodeId(1),
        queued_at: now - chrono::TimeDelta::seconds(2),
        started_at: now,
        timeout: Duration::from_secs(20),
        checkpoint: None,
        reporter: Reporter::default(),
    }
}

/// The first attempt that an event caused, now.
fn caused(config: Value, event_type: &str, data: &str) -> Call {
    let data = Json::parse(data).unwrap();
    let call = job(config, data.to_value());
    let event = event(event_type, data, call.queued_at);
    Call { event: Some(Arc::new(event)), ..call }
}

fn event(event_type: &str, data: Json, at: Timestamp) -> Event {
    Event {
        id: EventId::mint(at, [3; 10]),
        tenant: TenantId(2),
        event_type: EventType::parse(event_type).unwrap(),
        source: "test".to_owned(),
        external_id: None,
        accepted_at: at,
        data,
        attributes: Attributes::default(),
    }
}

#[track_caller]
fn done(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Done(output) => output.data,
        Outcome::Retry(fault) => panic!("retry: {fault:?}"),
        Outcome::Reject(fault) => panic!("reject: {fault:?}"),
    }
}

/// What an attempt that failed leads to, and why.
#[track_caller]
fn failed(outcome: Outcome) -> (&'static str, Fault) {
    match outcome {
        Outcome::Done(output) => panic!("done: {output:?}"),
        Outcome::Retry(fault) => ("retry", fault),
        Outcome::Reject(fault) => ("reject", fault),
    }
}

/// The word and the code of a failed attempt.
#[track_caller]
fn why(outcome: Outcome) -> (&'static str, String) {
    let (word, fault) = failed(outcome);
    (word, fault.code)
}
