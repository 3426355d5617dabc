//! Bulks over crashes and outages: each item is done once, and its outcome is told.

use std::time::Duration;

use actions_app::commands::start_bulk::{BulkSelection, StartBulk, start_bulk};
use actions_domain::bulk::{Bulk, BulkState, ItemOutcome, Operation};
use actions_domain::execution::{Fault, Status};
use actions_domain::id::ExecutionId;
use actions_domain::ports::history::{DeadLetterQuery, ExecutionQuery};
use serde_json::{Value, json};

use crate::support::engine::{Answer, TestEngine, caller, given_event};
use crate::support::faults::Fails;
use crate::support::process::{Server, pause};

const SECOND: Duration = Duration::from_secs(1);

/// An engine with so many dead letters, or with so many jobs that wait.
async fn start(operation: Operation, count: usize) -> TestEngine {
    let engine = TestEngine::start().await;
    engine.define("ship", "orders.paid", json!({})).await;
    if operation == Operation::Cancel {
        for _ in 0..count {
            let mut event = given_event("orders.paid", json!({}));
            event.delay = Some(Duration::from_secs(3_600));
            engine.submit(vec![event]).await.unwrap();
        }
    } else {
        let fault = |_| Answer::Reject(Fault::handler("http.status", "answered 503"));
        engine.script.answer((0..count).map(fault));
        for _ in 0..count {
            engine.emit("orders.paid", json!({})).await;
        }
    }
    engine.settle().await;
    engine
}

async fn begin(engine: &TestEngine, operation: Operation) -> Bulk {
    let request = StartBulk {
        tenant: engine.tenant,
        operation,
        selection: BulkSelection::Where(String::new()),
        max: 1_000,
        canary: None,
        rate: None,
        reason: Some("for the test".to_owned()),
    };
    start_bulk(&engine.app, &caller(engine.tenant), request).await.unwrap()
}

async fn stored(engine: &TestEngine, bulk: &Bulk) -> Bulk {
    engine.app.ports.bulks.find_bulk(engine.tenant, bulk.id).await.unwrap().unwrap()
}

async fn executions(engine: &TestEngine, statuses: Vec<Status>) -> usize {
    let (tenant, action, before) = (engine.tenant, None, None);
    let query = ExecutionQuery { tenant, action, statuses, before, limit: 5_000 };
    engine.app.ports.history.list_executions(query).await.unwrap().len()
}

async fn dead(engine: &TestEngine) -> usize {
    let (tenant, fingerprint, action) = (engine.tenant, None, None);
    let query = DeadLetterQuery { tenant, fingerprint, action, before: None, limit: 5_000 };
    engine.app.ports.history.list_dead_letters(query).await.unwrap().len()
}

/// The new executions of what was requeued.
async fn requeued(engine: &TestEngine, bulk: &Bulk) -> Vec<ExecutionId> {
    let items = engine.app.ports.bulks.bulk_items(engine.tenant, bulk.id, 0, 5_000).await.unwrap();
    let outcomes = items.into_iter().filter_map(|item| item.handled);
    outcomes.filter_map(|(_, outcome)| outcome.execution()).collect()
}

const ALL: [Operation; 3] = [Operation::Cancel, Operation::Requeue, Operation::Discard];

/// Everything was done once, and nothing twice.
async fn check_done(engine: &TestEngine, bulk: &Bulk, count: usize) {
    let ended = stored(engine, bulk).await;
    let expected = (BulkState::Completed, u32::try_from(count).unwrap(), 0);
    assert_eq!((ended.state, ended.done, ended.refused), expected, "{:?}", bulk.spec.operation);
    match bulk.spec.operation {
        Operation::Cancel => {
            assert_eq!(executions(engine, vec![Status::Cancelled]).await, count);
        }
        Operation::Requeue => {
            assert_eq!(dead(engine).await, 0);
            assert_eq!(executions(engine, vec![Status::Completed]).await, count);
            let fresh = requeued(engine, bulk).await;
            assert_eq!(fresh.len(), count);
            for id in fresh {
                assert_eq!(engine.execution(id).await.status, Status::Completed);
            }
        }
        Operation::Discard => assert_eq!(dead(engine).await, 0),
    }
}

#[tokio::test]
async fn a_piece_that_nobody_wrote_down_is_not_done_twice() {
    for operation in ALL {
        let mut engine = start(operation, 230).await;
        // It is done, and the process ends before that is written down.
        engine.faults.plan("record_items", Fails::Never, 1);
        let bulk = begin(&engine, operation).await;
        engine.advance(2 * SECOND).await;
        let before = stored(&engine, &bulk).await;
        assert_eq!((before.begun, before.handled()), (200, 0), "{operation:?}");

        engine.crash_and_restart().await;
        engine.advance(10 * SECOND).await;

        assert_eq!(engine.faults.outstanding(), 0);
        check_done(&engine, &bulk, 230).await;
    }
}

#[tokio::test]
async fn a_bulk_goes_on_when_the_store_is_back() {
    for operation in ALL {
        for fails in [Fails::Before, Fails::After] {
            let engine = start(operation, 210).await;
            let bulk = begin(&engine, operation).await;
            for method in ["open_bulks", "bulk_items", "change_bulk", "record_items"] {
                engine.faults.plan(method, fails, 1);
            }
            engine.advance(20 * SECOND).await;
            assert_eq!(engine.faults.outstanding(), 0);
            check_done(&engine, &bulk, 210).await;
        }
    }
}

#[tokio::test]
async fn one_bulk_does_not_hold_up_another() {
    let engine = start(Operation::Requeue, 410).await;
    let first = begin(&engine, Operation::Requeue).await;
    let second = begin(&engine, Operation::Discard).await;
    engine.advance(5 * SECOND).await;
    let (first, second) = (stored(&engine, &first).await, stored(&engine, &second).await);
    assert_eq!((first.state, second.state), (BulkState::Completed, BulkState::Completed));
    // Each dead letter was taken by one of them, and the other one says so.
    assert_eq!(first.done + second.done, 410);
    assert_eq!(first.refused + second.refused, 410);
    assert_eq!(dead(&engine).await, 0);
}

#[tokio::test]
async fn an_action_that_cannot_run_leaves_its_dead_letters_where_they_are() {
    let engine = start(Operation::Requeue, 3).await;
    engine.define("ship", "orders.paid", json!({ "is_active": false })).await;
    let bulk = begin(&engine, Operation::Requeue).await;
    engine.advance(5 * SECOND).await;
    let ended = stored(&engine, &bulk).await;
    assert_eq!((ended.state, ended.done, ended.refused), (BulkState::Completed, 0, 3));
    let items = engine.app.ports.bulks.bulk_items(engine.tenant, bulk.id, 0, 10).await.unwrap();
    let Some((_, ItemOutcome::Refused(reason))) = &items[0].handled else { panic!("{items:?}") };
    assert!(reason.contains("switched off"), "{reason}");
    assert_eq!(dead(&engine).await, 3);
}

/// A process that is killed in the middle, over a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_survives_the_kill_of_its_process() {
    const COUNT: u64 = 60;
    const TENANT: &str = "/v1/tenants/acme";
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("actions.db").display());
    let mut server = Server::start(&url).await;
    server.create("/v1/admin/tenants", &json!({ "slug": "acme", "name": "Acme" })).await;
    let action = json!({ "name": "report", "action_type": "webhook", "handler": "webhook.http",
            "config": { "webhook_url": "http://127.0.0.1:9999/" } });
    server.create(&format!("{TENANT}/actions"), &action).await;
    for _ in 0..COUNT {
        let path = format!("{TENANT}/actions/report:execute");
        let answer = server.post(&path).json(&json!({ "delay": "1h" })).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
    let body = json!({ "op": "cancel", "where": "action:report", "rate": 40 });
    let started = server.post(&format!("{TENANT}/bulk")).json(&body).send().await.unwrap();
    let started: Value = started.json().await.unwrap();
    assert_eq!(started["total"], COUNT, "{started}");
    let path = format!("{TENANT}/bulk/{}", started["id"].as_str().unwrap());
    let until = async |server: &Server, holds: fn(&Value) -> bool| {
        for _ in 0..600 {
            let bulk = server.read(&path).await;
            if holds(&bulk) {
                return bulk;
            }
            pause(Duration::from_millis(50)).await;
        }
        panic!("the bulk does not come that far: {}", server.read(&path).await);
    };
    let before = until(&server, |bulk| bulk["done"].as_u64() > Some(0)).await;
    assert_eq!(before["state"], "running");

    server.kill_and_restart().await;

    let ended = until(&server, |bulk| bulk["state"] == "completed").await;
    assert_eq!((&ended["done"], &ended["refused"]), (&json!(COUNT), &json!(0)));
    let cancelled = format!("{TENANT}/executions?status=cancelled&limit=1000");
    for _ in 0..600 {
        if server.read(&cancelled).await["items"].as_array().unwrap().len() as u64 == COUNT {
            return;
        }
        pause(Duration::from_millis(50)).await;
    }
    panic!("not everything was cancelled");
}
