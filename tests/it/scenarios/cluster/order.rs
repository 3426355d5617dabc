//! What holds at the receiver while nodes die: the order of a key, its exclusion, and the limit
//! of an action.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::storm::is_full;
use crate::support::audit::{
    every_call_is_explained, nothing_is_lost_or_doubled, wait_until_quiet,
};
use crate::support::cluster::{Cluster, event, post_somewhere};
use crate::support::process::{Server, pause};
use crate::support::receiver::Call;

/// The limit of the action under test.
const LIMIT: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_while_nodes_are_killed() {
    let (keys, rounds) = if is_full() { (200, 500) } else { (50, 40) };
    let mut cluster = Cluster::start(3).await;
    let affinity = json!({ "affinity": { "key": "order:{data.key}", "mode": "mutate" } });
    cluster.create_action("deliver", affinity).await;
    cluster.wait_until_owned_by(&[0, 1, 2]).await;

    let sending = send_in_order(&cluster, keys, rounds, json!({ "take_ms": 2 }));
    kill_one_after_the_other(&mut cluster, 3).await;
    sending.await.unwrap();
    wait_until_quiet(&cluster.nodes[0], "deliver", keys * rounds).await;

    let executions = cluster.nodes[0].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, keys * rounds);
    in_order_and_alone(&cluster.receiver.calls(), keys, rounds);
    let calls = cluster.receiver.calls_by_execution();
    every_call_is_explained(&cluster.nodes[0], &executions, &calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_over_nodes_that_are_killed() {
    let mut cluster = Cluster::start(3).await;
    cluster.create_action("deliver", json!({ "max_concurrent_executions": LIMIT })).await;
    cluster.wait_until_owned_by(&[0, 1, 2]).await;

    let (batches, size) = (30, 40);
    for batch in 0..batches {
        let numbers = batch * size..(batch + 1) * size;
        let events =
            numbers.map(|number| event("orders.deliver", number, json!({ "take_ms": 25 })));
        let senders = cluster.nodes.iter().map(Server::sender).collect();
        post_somewhere(senders, batch, json!(events.collect::<Vec<_>>())).await;
    }
    kill_one_after_the_other(&mut cluster, 2).await;
    wait_until_quiet(&cluster.nodes[0], "deliver", batches * size).await;

    let executions = cluster.nodes[0].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, batches * size);
    let most = most_at_once(&cluster.receiver.calls());
    assert!((2..=LIMIT).contains(&most), "{most} calls at once under a limit of {LIMIT}");
}

async fn kill_one_after_the_other(cluster: &mut Cluster, kills: usize) {
    for kill in 0..kills {
        pause(Duration::from_millis(1_500)).await;
        let count = cluster.nodes.len();
        cluster.nodes[kill % count].kill_and_restart().await;
    }
}

/// Sends one event for each key, round after round: the next round when the one before is
/// acknowledged, so that each key has its order.
pub(super) fn send_in_order(
    cluster: &Cluster,
    keys: usize,
    rounds: usize,
    data: Value,
) -> JoinHandle<()> {
    let senders: Vec<_> = cluster.nodes.iter().map(Server::sender).collect();
    tokio::spawn(async move {
        for round in 0..rounds {
            let events = (0..keys).map(|key| {
                let mut data = data.clone();
                data["key"] = json!(format!("k{key}"));
                data["round"] = json!(round);
                event("orders.deliver", round * keys + key, data)
            });
            post_somewhere(senders.clone(), round, json!(events.collect::<Vec<_>>())).await;
        }
    })
}

/// Each key's calls come one after the other, round after round. Only the last round may be
/// called again, after its caller has gone.
pub(super) fn in_order_and_alone(calls: &[Call], keys: usize, rounds: usize) {
    let mut by_key: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        by_key.entry(call.data["key"].as_str().unwrap()).or_default().push(call);
    }
    assert_eq!(by_key.len(), keys);
    for (key, calls) in by_key {
        let seen: Vec<u64> =
            calls.iter().map(|call| call.data["round"].as_u64().unwrap()).collect();
        let expected: Vec<u64> = (0..rounds as u64).collect();
        let mut once = seen.clone();
        once.dedup();
        assert_eq!(once, expected, "{key} was called in the order {seen:?}");
        for pair in calls.windows(2) {
            let is_alone = pair[0].ended.is_some_and(|ended| ended <= pair[1].began);
            assert!(is_alone, "{key} was called twice at once: {pair:?}");
        }
    }
}

/// The most calls that were under way at one time.
fn most_at_once(calls: &[Call]) -> usize {
    let began = calls.iter().map(|call| (call.began, 1));
    let ended = calls.iter().map(|call| (call.ended.unwrap(), -1));
    let mut changes: Vec<_> = began.chain(ended).collect();
    changes.sort_unstable();
    let (mut now, mut most) = (0_i32, 0);
    for (_, change) in changes {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).unwrap()
}
