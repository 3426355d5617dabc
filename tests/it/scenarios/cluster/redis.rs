//! Redis is in trouble while several nodes work.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::storm::{is_full, late_by};
use crate::support::audit::{nothing_is_lost_or_doubled, wait_until_quiet};
use crate::support::cluster::{Cluster, event, post_somewhere};
use crate::support::postgres::fresh_database;
use crate::support::process::{Server, pause};
use crate::support::receiver::Call;
use crate::support::redis::{self, Gate};

/// Of the paced action: starts in a minute.
const PER_MINUTE: usize = 240;

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_stops_forgets_and_returns_loses_nothing() {
    let (per_second, rounds) = if is_full() { (3_000, 12) } else { (150, 2) };
    let url = redis::own_database();
    let mut gate = Gate::to(&url).await;
    let settings =
        vec![("ACTIONS_REDIS_URL", gate.url()), ("ACTIONS_RATE_LEDGER", "redis".to_owned())];
    let mut cluster = Cluster::start_over(&fresh_database().await, 3, settings).await;
    cluster.create_action("deliver", json!({})).await;
    cluster.create_action("pace", json!({ "rate_limit_per_minute": PER_MINUTE })).await;
    cluster.wait_until_owned_by(&[0, 1, 2]).await;

    let paced = 60 * rounds;
    let events = (0..paced).map(|number| event("orders.pace", 1_000_000 + number, json!({})));
    let senders = cluster.nodes.iter().map(Server::sender).collect();
    post_somewhere(senders, 0, json!(events.collect::<Vec<_>>())).await;
    let producer = cluster.produce("deliver", per_second);
    let mut emptied = Vec::new();
    for _ in 0..rounds {
        pause(Duration::from_millis(1_500)).await;
        emptied.push(flush(&url).await);
        pause(Duration::from_millis(1_500)).await;
        gate.shut().await;
        pause(Duration::from_millis(1_500)).await;
        // As after a restart without its data.
        emptied.push(flush(&url).await);
        gate.open().await;
        pause(Duration::from_millis(500)).await;
    }
    let event_count = producer.stop().await;

    wait_until_quiet(&cluster.nodes[0], "deliver", event_count).await;
    wait_until_quiet(&cluster.nodes[0], "pace", paced).await;
    for node in &mut cluster.nodes {
        assert!(node.is_running(), "no process may end with its Redis");
    }
    let executions = cluster.nodes[0].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, event_count + paced);
    let calls = cluster.receiver.calls();
    assert_eq!(calls.len(), event_count + paced, "nobody died, so nothing is called twice");
    let (delivered, paced): (Vec<Call>, Vec<Call>) =
        calls.into_iter().partition(|call| !call.data["number"].is_null());
    paced_by_two_ledgers(&paced, &emptied);
    let late = late_by(&delivered);
    assert!(late < Duration::from_secs(5), "without hints work is found by polls: {late:?}");
}

async fn flush(url: &str) -> Instant {
    let _: String = redis::ask(url, &::redis::cmd("FLUSHDB")).await;
    Instant::now()
}

/// For as long as the nodes do not agree whether Redis is there, a rate may be doubled; and an
/// emptied ledger lets its burst pass once more. What each node has drawn may be used later.
fn paced_by_two_ledgers(calls: &[Call], emptied: &[Instant]) {
    let burst = PER_MINUTE / 20;
    for (index, first) in calls.iter().enumerate() {
        for (count, last) in (1..).zip(&calls[index..]) {
            let time = (last.began - first.began).as_secs_f64();
            let share = (PER_MINUTE as f64 / 60.0 * time).ceil() as usize;
            let again = emptied.iter().filter(|at| (first.began..=last.began).contains(*at));
            let most = 2 * (share + burst) + burst * (again.count() + 3);
            assert!(count <= most, "{count} starts within {time:.1} s, allowed are {most}");
        }
    }
}
