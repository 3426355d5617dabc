//! Nodes of two versions over one database: each node is replaced by a newer one, under load.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::storm::is_full;
use crate::support::audit::{nothing_is_lost_or_doubled, wait_until_quiet};
use crate::support::cluster::{Cluster, PARTS, event, eventually, post_somewhere};
use crate::support::process::{Server, pause, program};

/// As if a newer program had brought the schema up to date.
const NEXT_RELEASE: &str = "insert into engine._sqlx_migrations
        (version, description, success, checksum, execution_time)
    values (9999, 'of the next release', true, '', 0)";

/// The program of the nodes that are replaced: the one under test, or an older one that
/// `ACTIONS_TEST_BINARY_BEFORE` names.
#[expect(clippy::disallowed_methods, reason = "a person may name an older program")]
fn program_before() -> PathBuf {
    std::env::var("ACTIONS_TEST_BINARY_BEFORE").map_or_else(|_| program(), PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_replaced_one_after_the_other_and_nothing_is_lost_or_called_twice() {
    let (per_second, beside) = if is_full() { (1_000, 20) } else { (100, 2) };
    let before = program_before();
    let mut cluster = Cluster::start(0).await;
    for _ in 0..2 {
        cluster.add_of(&before, &[]).await;
    }
    cluster.create_tenant().await;
    let affinity = json!({ "affinity": { "key": "order:{data.key}", "mode": "mutate" } });
    cluster.create_action("deliver", json!({})).await;
    cluster.create_action("keyed", affinity).await;
    let limits = json!({ "max_concurrent_executions": 3, "rate_limit_per_minute": 1_200 });
    cluster.create_action("limited", limits).await;
    cluster.wait_until_owned_by(&[0, 1]).await;
    let producer = cluster.produce("deliver", per_second);
    let mut sent = 0;
    sent += send_beside(&cluster, sent).await;

    // The newer one brings the schema up to date, and all three go on.
    cluster.add(&[]).await;
    cluster.wait_until_owned_by(&[0, 1, 2]).await;
    sent += send_beside(&cluster, sent).await;
    pause(Duration::from_secs(beside)).await;
    for node in 0..2 {
        cluster.nodes[node].signal("TERM");
        assert_eq!(cluster.nodes[node].ended().await, Some(0));
        cluster.nodes[node].upgrade();
        cluster.nodes[node].start_again().await;
        cluster.wait_until_owned_by(&[0, 1, 2]).await;
        sent += send_beside(&cluster, sent).await;
    }
    let event_count = producer.stop().await;

    wait_until_quiet(&cluster.nodes[0], "deliver", event_count).await;
    for action in ["keyed", "limited"] {
        wait_until_quiet(&cluster.nodes[0], action, sent).await;
    }
    let executions = cluster.nodes[0].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, event_count + 2 * sent);
    let calls = cluster.receiver.calls().len();
    assert_eq!(calls, event_count + 2 * sent, "an orderly stop repeats no call");
}

/// Sends some events whose actions have keys and limits; answers how many of each.
async fn send_beside(cluster: &Cluster, first: usize) -> usize {
    const COUNT: usize = 20;
    let events: Vec<Value> = (first..first + COUNT)
        .flat_map(|number| {
            let number = 1_000_000 + 2 * number;
            let keyed = json!({ "key": format!("k{}", number % 3), "take_ms": 20 });
            let limited = json!({ "take_ms": 20 });
            [event("orders.keyed", number, keyed), event("orders.limited", number + 1, limited)]
        })
        .collect();
    let senders = cluster.nodes.iter().map(Server::sender).collect();
    post_somewhere(senders, first, json!(events)).await;
    COUNT
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_on_over_a_newer_schema_but_does_not_start_over_one() {
    let mut cluster = Cluster::start(2).await;
    cluster.create_action("deliver", json!({})).await;
    cluster.wait_until_owned_by(&[0, 1]).await;
    let mut connection = PgConnection::connect(cluster.database_url()).await.unwrap();
    sqlx::query(NEXT_RELEASE).execute(&mut connection).await.unwrap();

    let producer = cluster.produce("deliver", 100);
    pause(Duration::from_secs(1)).await;
    cluster.nodes[0].kill();
    assert_eq!(cluster.nodes[0].start_in_vain().await, Some(1), "a newer program belongs here");
    // The other one takes over meanwhile, which is more than work as usual.
    cluster.wait_until_owned_by(&[1]).await;
    assert_eq!(cluster.parts_of(1).await, PARTS);
    let event_count = producer.stop().await;
    wait_until_quiet(&cluster.nodes[1], "deliver", event_count).await;
    let executions = cluster.nodes[1].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, event_count);
}

/// What a newer node lets a tenant ask for, an older one does not know: it may not take events as
/// if nobody asked for anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_no_events_for_definitions_that_only_a_newer_one_can_read() {
    let cluster = Cluster::start(1).await;
    cluster.create_action("deliver", json!({})).await;
    let sender = cluster.nodes[0].sender();
    let send = async |number| {
        let batch = json!([event("orders.deliver", number, json!({}))]);
        sender.post("/v1/tenants/acme/events", "application/cloudevents-batch+json", &batch).await
    };
    assert!(send(1).await.is_some());
    let mut connection = PgConnection::connect(cluster.database_url()).await.unwrap();
    store_what_only_a_newer_program_can_read(&mut connection).await;

    assert!(send(2).await.is_none(), "503: another node, or a later one, takes it");

    // The definition goes back to what this node knows.
    let back = SAVE.replace("|| $1", "- 'of_the_next_release' || $1");
    sqlx::query(sqlx::AssertSqlSafe(back))
        .bind(json!({ "max_concurrent_executions": 7 }))
        .execute(&mut connection)
        .await
        .unwrap();
    assert!(send(2).await.is_some());
    wait_until_quiet(&cluster.nodes[0], "deliver", 2).await;
}

/// Its tenant waits, and nobody else may wait with it: least of all the node.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_again_while_a_tenant_waits_for_a_newer_program() {
    let cluster = Cluster::start(1).await;
    cluster.create_action("deliver", json!({})).await;
    let mut connection = PgConnection::connect(cluster.database_url()).await.unwrap();
    store_what_only_a_newer_program_can_read(&mut connection).await;

    sqlx::query("update engine.node set alive = false").execute(&mut connection).await.unwrap();
    eventually("the node has joined again and owns everything", async || {
        cluster.parts_in_store(0).await.len() == PARTS as usize
    })
    .await;
}

/// Saves the action `deliver` with what `$1` adds.
const SAVE: &str = "select from engine.action as known, engine.write_action_v1(
        known.tenant, known.id, known.uuid, known.name,
        (known.spec::jsonb || $1)::json, known.health, false)
    where known.name = 'deliver'";

async fn store_what_only_a_newer_program_can_read(connection: &mut PgConnection) {
    sqlx::query(NEXT_RELEASE).execute(&mut *connection).await.unwrap();
    let new_field = json!({ "of_the_next_release": true });
    sqlx::query(SAVE).bind(&new_field).execute(connection).await.unwrap();
}
