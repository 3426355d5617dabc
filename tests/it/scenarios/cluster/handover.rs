//! Partitions change hands without a death: a node stops, or joins.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::order::{in_order_and_alone, send_in_order};
use super::storm::is_full;
use crate::support::audit::{nothing_is_lost_or_doubled, wait_until_quiet};
use crate::support::cluster::{Cluster, PARTS, event, eventually, post_somewhere};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_hands_over_at_once_where_nothing_runs() {
    let mut cluster = Cluster::start(2).await;
    cluster.create_action("deliver", json!({})).await;
    cluster.wait_until_owned_by(&[0, 1]).await;
    let slow = event("orders.deliver", 1_000_000, json!({ "take_ms": 6_000 }));
    post_somewhere(vec![cluster.nodes[0].sender()], 0, json!([slow])).await;
    eventually("the slow attempt runs", async || !cluster.receiver.calls().is_empty()).await;
    let producer = cluster.produce("deliver", 100);
    eventually("others run beside it", async || cluster.receiver.calls().len() > 100).await;

    cluster.nodes[0].signal("TERM");
    let stopped_at = Instant::now();
    eventually("the other node owns the rest", async || cluster.parts_of(1).await >= PARTS - 1)
        .await;
    let took = stopped_at.elapsed();
    eprintln!("{} partitions changed hands within {took:?}", PARTS / 2 - 1);
    // It takes a third of a second. On a starved machine it is at least quicker than the next
    // beat would be.
    let most = Duration::from_secs(if is_full() { 1 } else { 2 });
    assert!(took < most, "the hand-over took {took:?}");
    assert!(cluster.nodes[0].is_running(), "it waits for the slow attempt");
    let before = cluster.receiver.calls().len();
    eventually("work goes on there", async || cluster.receiver.calls().len() > before + 50).await;
    assert!(cluster.nodes[0].is_running(), "it still waits for the slow attempt");

    assert_eq!(cluster.nodes[0].ended().await, Some(0));
    cluster.wait_until_owned_by(&[1]).await;
    let event_count = producer.stop().await + 1;
    wait_until_quiet(&cluster.nodes[1], "deliver", event_count).await;
    let executions = cluster.nodes[1].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, event_count);
    assert_eq!(cluster.receiver.calls().len(), event_count, "an orderly stop repeats no call");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_gets_its_share_in_order() {
    let mut cluster = Cluster::start(1).await;
    let affinity = json!({ "affinity": { "key": "order:{data.key}", "mode": "mutate" } });
    cluster.create_action("deliver", affinity).await;
    cluster.wait_until_owned_by(&[0]).await;
    let (keys, rounds) = (40, 60);
    let sending = send_in_order(&cluster, keys, rounds, json!({ "take_ms": 5 }));
    eventually("it works", async || cluster.receiver.calls().len() > 200).await;

    cluster.add(&[]).await;
    let joined_at = Instant::now();
    cluster.wait_until_owned_by(&[0, 1]).await;
    eprintln!("its share came within {:?}", joined_at.elapsed());
    assert_eq!(cluster.parts_of(1).await, PARTS / 2);

    sending.await.unwrap();
    wait_until_quiet(&cluster.nodes[1], "deliver", keys * rounds).await;
    let executions = cluster.nodes[1].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, keys * rounds);
    in_order_and_alone(&cluster.receiver.calls(), keys, rounds);
    let calls = cluster.receiver.calls().len();
    assert_eq!(calls, keys * rounds, "a node that joins repeats no call");
}
