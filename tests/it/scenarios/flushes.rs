//! How work is gathered into commits: how much, where to, and how often.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::action::Action;
use actions_domain::execution::{Priority, Status};
use actions_domain::id::ExecutionId;
use actions_domain::json::Json;
use actions_domain::limits::FLUSH_BYTES_MAX;
use actions_domain::ports::clock::Clock;
use actions_domain::work::{Commit, Dedupe, Ingest, Part, Submission, Submitted, Work};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::engine::{TestEngine, given_event};
use crate::support::faults::Fails;

/// Has a job accepted as another process would, with the definitions as of the action's version.
async fn accept_job(engine: &TestEngine, action: &Action, input: Value) -> ExecutionId {
    let now = engine.clock.now();
    let id = ExecutionId::mint(now, engine.app.ports.dice.bytes());
    let work = Work {
        id,
        tenant: engine.tenant,
        lane: Priority::Normal,
        action: action.id,
        defs: action.version,
        key: None,
        event: None,
        parent: None,
        queued_at: now,
        delay: None,
        input: Some(Json::from_value(&input)),
        depth: 0,
        terms: None,
    };
    let ingest = Ingest {
        event: None,
        dedupe: Some(Dedupe { key: id.0.into_bytes(), subject: id.0 }),
        works: vec![(Part(0), Arc::new(work))],
        requeue_of: None,
    };
    let submission = Submission::new(engine.tenant, Some(action.version), vec![ingest]);
    let submitted = engine.app.ingress.submit(submission).await.unwrap();
    assert!(matches!(submitted, Submitted::Accepted(_)), "{submitted:?}");
    id
}

fn works(commit: &Commit) -> impl Iterator<Item = &(Part, Arc<Work>)> {
    let ingests = commit.submissions.iter().flat_map(|submission| &submission.ingests);
    ingests.flat_map(|ingest| &ingest.works)
}

#[tokio::test]
async fn a_flush_of_the_way_in_is_bounded_in_bytes() {
    const EVENTS: usize = 20;
    let engine = TestEngine::start().await;
    let data = json!("x".repeat(900_000));
    let submit = || engine.submit(vec![given_event("orders.paid", data.clone())]);

    for submitted in join_all((0..EVENTS).map(|_| submit())).await {
        submitted.unwrap();
    }

    let counts: Vec<usize> =
        engine.faults.commits().iter().map(|commit| commit.submissions.len()).collect();
    let most = FLUSH_BYTES_MAX / 900_000;
    assert_eq!(counts.iter().sum::<usize>(), EVENTS);
    assert_eq!(counts.iter().max(), Some(&most), "as many as fit: {counts:?}");
}

#[tokio::test]
async fn a_flush_of_results_is_bounded_in_bytes_and_takes_one_at_least() {
    const BYTES: usize = 3_000_000;
    let engine = TestEngine::start().await;
    let action = engine.define("large", "orders.*", json!({})).await;
    let input = json!("x".repeat(BYTES));
    let huge = json!("x".repeat(FLUSH_BYTES_MAX + 1));

    let jobs = [huge].into_iter().chain((0..7).map(|_| input.clone()));
    let ids = join_all(jobs.map(|input| accept_job(&engine, &action, input))).await;
    engine.settle().await;

    for id in ids {
        assert_eq!(engine.execution(id).await.status, Status::Completed);
    }
    let counts: Vec<usize> =
        engine.faults.commits().iter().map(|commit| commit.finishes.len()).collect();
    assert_eq!(counts.iter().max(), Some(&(FLUSH_BYTES_MAX / BYTES)), "as many as fit: {counts:?}");
}

#[tokio::test]
async fn what_has_no_key_goes_into_one_own_partition_a_whole_flush_together() {
    let mut engine = TestEngine::start().await;
    engine.define("first", "orders.*", json!({})).await;
    engine.define("other", "orders.*", json!({})).await;
    engine.define("keyed", "orders.*", json!({ "affinity": { "key": "order:{n}" } })).await;
    engine.stop_node().await.unwrap();
    let leases = engine.app.ports.leases.clone();
    let peer = leases.join("peer").await.unwrap();
    leases.claim(peer, &[], 2).await.unwrap();
    engine.start_node().await;
    let own: BTreeSet<Part> = engine.app.live.parts().into_iter().collect();
    assert_eq!(own.len(), 2);

    for _ in 0..4 {
        let events = |n: i32| vec![given_event("orders.paid", json!({ "n": n })); 2];
        join_all((0..6).map(|n| engine.submit(events(n)))).await;
    }

    let commits = engine.faults.commits();
    let flushes: Vec<&Commit> = commits.iter().filter(|it| it.submissions.len() > 1).collect();
    let parts = |commit: &Commit, has_key: bool| -> BTreeSet<Part> {
        let chosen = works(commit).filter(|(_, work)| work.key.is_some() == has_key);
        chosen.map(|(part, _)| *part).collect()
    };
    let keyless: Vec<BTreeSet<Part>> = flushes.iter().map(|it| parts(it, false)).collect();
    assert!(keyless.len() >= 4 && keyless.iter().all(|parts| parts.len() == 1), "{keyless:?}");
    assert_eq!(keyless.into_iter().flatten().collect::<BTreeSet<_>>(), own, "in turn");
    assert!(parts(flushes[0], true).len() > 1, "a key has its own place");
}

#[tokio::test]
async fn loading_hints_are_written_every_ten_seconds_and_not_more_often() {
    let engine = TestEngine::start().await;
    for _ in 0..2 {
        engine.faults.plan("note_low", Fails::Before, 1);
        engine.advance(Duration::from_millis(9_700)).await;
        assert_eq!(engine.faults.outstanding(), 1);
        engine.advance(Duration::from_millis(300)).await;
        assert_eq!(engine.faults.outstanding(), 0);
    }
}

/// Another process may accept an execution before this one has heard of the edit.
#[tokio::test]
async fn an_attempt_learns_the_definitions_that_its_execution_was_accepted_with() {
    let engine = TestEngine::start().await;
    engine.define("off", "orders.*", json!({ "is_active": false })).await;
    let known = || engine.app.catalogue.find(engine.tenant).unwrap().version();

    for (name, text) in [("created", "first"), ("off", "second")] {
        let saved = engine.save(name, "orders.*", json!({ "config": { "text": text } })).await;
        assert!(known() < saved.version);
        let id = accept_job(&engine, &saved, json!({})).await;
        engine.settle().await;
        assert_eq!(engine.execution(id).await.status, Status::Completed);
        assert_eq!(known(), saved.version);
    }
    let calls = engine.script.calls();
    let texts: Vec<_> = calls.iter().map(|call| call.config["text"].clone()).collect();
    assert_eq!(texts, ["first", "second"]);
}
