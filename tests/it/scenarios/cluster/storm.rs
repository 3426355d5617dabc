//! Nodes that are killed under steady load lose nothing, record nothing twice, and are missed
//! for seconds only.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::audit::{
    every_call_is_explained, nothing_is_lost_or_doubled, wait_until_quiet,
};
use crate::support::cluster::Cluster;
use crate::support::process::pause;
use crate::support::pulse::Pulse;
use crate::support::receiver::Call;

/// Work of a dead node runs again within this, for 99 of 100.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// A node ends its session after five seconds without a beat, and beats every two: one that loses
/// its lease had to wait for this long.
const STARVED: Duration = Duration::from_secs(3);

/// Whoever needs so long after the last event has fallen behind.
const BEHIND: Duration = Duration::from_secs(2);

/// How hard the cluster is tried. `ACTIONS_TEST_CLUSTER=full` asks for the full length.
struct Storm {
    per_second: usize,
    kills: usize,
    /// Between two kills.
    every: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_killed_under_load_lose_nothing() {
    let storm = if is_full() {
        Storm { per_second: 3_000, kills: 6, every: Duration::from_secs(10) }
    } else {
        Storm { per_second: 200, kills: 2, every: Duration::from_secs(9) }
    };
    let mut cluster = Cluster::start(3).await;
    cluster.create_action("deliver", json!({})).await;
    let pulse = Pulse::over(cluster.database_url()).await;
    let producer = cluster.produce("deliver", storm.per_second);
    pause(Duration::from_secs(2)).await;
    let mut takeovers = Vec::new();
    for kill in 0..storm.kills {
        let node = kill % cluster.nodes.len();
        takeovers.push(cluster.watch_takeover(node).await);
        cluster.nodes[node].kill();
        // Some come back at once and take back what they owned, others stay away until they
        // were missed.
        let away = if kill % 2 == 1 { Duration::from_secs(1) } else { storm.every };
        pause(away).await;
        cluster.nodes[node].start_again().await;
        pause(storm.every.saturating_sub(away)).await;
    }
    let event_count = producer.stop().await;

    let stopped_at = Instant::now();
    wait_until_quiet(&cluster.nodes[0], "deliver", event_count).await;
    let drained_in = stopped_at.elapsed();
    let executions = cluster.nodes[0].read_all("/v1/tenants/acme/executions").await;
    nothing_is_lost_or_doubled(&executions, event_count);
    let calls = cluster.receiver.calls_by_execution();
    every_call_is_explained(&cluster.nodes[0], &executions, &calls).await;
    let listed = cluster.nodes[0].read("/v1/admin/nodes").await;
    let nodes = listed["items"].as_array().unwrap();
    let sessions = nodes.iter().filter_map(|node| node["id"].as_u64()).max().unwrap();
    let starts = (cluster.nodes.len() + storm.kills) as u64;
    let p99 = late_by(&cluster.receiver.calls());
    let mut takeover = Duration::ZERO;
    for watched in takeovers {
        takeover = takeover.max(watched.await.unwrap());
    }
    let write = pulse.longest();
    let told = format!(
        "{starts} starts, {sessions} sessions; longest takeover {takeover:?}, longest write {write:?}; \
         quiet {drained_in:?} after the last event"
    );
    eprintln!("{told}");
    // Who waits for a claim waits for nothing but beats. That is forgiven only when nobody could
    // write: neither machine nor database had time for a write of ours, in which the program
    // under test has no part.
    assert!(write >= STARVED || takeover < RECOVERY_MAX, "a takeover took too long: {told}");
    // Long after the last kill, all nodes together do their work as it comes. If they do not, the
    // machine is too slow for this load, and what piles up says nothing of deaths.
    let is_behind = write >= STARVED || drained_in >= BEHIND;
    assert!(is_behind || sessions <= starts, "a node lost its lease for nothing: {told}");
    assert!(is_behind || p99 < RECOVERY_MAX, "p99 of what a death delayed is {p99:?}: {told}");
}

/// How late 99 of 100 of the calls were that were late at all: events that waited for a new owner,
/// and calls that a kill cut off.
pub(super) fn late_by(calls: &[Call]) -> Duration {
    let mut first: HashMap<&str, &Call> = HashMap::new();
    let mut late = Vec::new();
    for call in calls {
        if let Some(before) = first.insert(&call.execution, call) {
            late.push(call.began - before.began);
        }
    }
    let mut by_event: Vec<(u64, &Call)> =
        first.values().map(|call| (call.data["number"].as_u64().unwrap(), *call)).collect();
    by_event.sort_by_key(|(number, _)| *number);
    // Events are sent at a steady rate, so one that is late began after its neighbours.
    let mut earliest_after = None;
    for (_, call) in by_event.iter().rev() {
        let earliest = earliest_after.map_or(call.began, |known| call.began.min(known));
        late.push(call.began - earliest);
        earliest_after = Some(earliest);
    }
    late.retain(|late| *late > Duration::from_millis(100));
    late.sort_unstable();
    let longest = late.last().copied().unwrap_or_default();
    let p99 = late.get(late.len() * 99 / 100).copied().unwrap_or(longest);
    eprintln!("{} were late: p99 {p99:?}, longest {longest:?}", late.len());
    p99
}

#[expect(clippy::disallowed_methods, reason = "a test's size is chosen outside")]
pub(super) fn is_full() -> bool {
    std::env::var("ACTIONS_TEST_CLUSTER").is_ok_and(|size| size == "full")
}
