//! What is counted and sampled.

use std::time::Duration;

use actions_domain::execution::Status;
use actions_domain::id::ActionId;
use actions_domain::ports::history::{ActionCounts, QueueMetric, TenantCounts};
use actions_domain::work::{Commit, Finish, Item, Submission, Work};
use chrono::TimeDelta;

use super::super::given::{self, PART};
use super::super::stores::{Node, Stores};
use super::{ADMIN, create_tenant, find, spread};

contract! { History:
    every_end_is_counted_for_its_action,
    ends_are_counted_per_tenant,
    ends_are_counted_since_an_instant,
    recent_durations_are_those_of_the_newest_executions,
    samples_of_the_queues_are_read_newest_first,
}

async fn every_end_is_counted_for_its_action(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let items = spread(&node, 8).await;
    let ends = [
        Status::Completed,
        Status::Completed,
        Status::Failed,
        Status::Timeout,
        Status::Cancelled,
        Status::Skipped,
    ];
    let mut finishes = Vec::new();
    for (item, status) in items.iter().zip(ends) {
        finishes.push(Finish { status, ..node.end(item) });
    }
    // The seventh took two attempts, in a commit of its own.
    node.commit(Commit { finishes, ..node.batch() }).await.unwrap();
    let later = given::retry(&items[6], node.id, Duration::ZERO);
    node.retry(later.clone()).await.unwrap();
    node.finish(&later.item).await.unwrap();

    let counts = counted(&node, None).await;

    let [first, second] = counts.as_slice() else { panic!("two actions: {counts:?}") };
    assert_eq!((first.action, second.action), (ActionId(1), ActionId(2)));
    assert_eq!((first.completed, first.failed, first.cancelled, first.retries), (2, 1, 1, 1));
    assert_eq!((second.completed, second.failed, second.cancelled, second.retries), (1, 1, 0, 0));
    assert!(second.duration_ms >= 3 * 250, "{second:?}");
    let newest = find(&node, items[6].work.id).await.ended_at;
    assert_eq!(first.last_at, newest);
    let history = &node.ports.history;
    let one = history.action_counts(ADMIN, Some(ActionId(2)), None).await.unwrap();
    assert_eq!(one, [*second]);
    assert_eq!(history.action_counts(acme, None, None).await.unwrap(), []);
}

async fn ends_are_counted_per_tenant(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let items = spread(&node, 3).await;
    let now = given::now();
    let ended = |item: &Item, ago: i64, status| {
        let ended_at = now - TimeDelta::minutes(ago);
        let started_at = Some(ended_at - TimeDelta::milliseconds(40));
        Finish { started_at, ended_at, status, ..node.end(item) }
    };
    let finishes = [
        ended(&items[0], 30, Status::Completed),
        ended(&items[1], 1, Status::Completed),
        ended(&items[2], 1, Status::Failed),
    ];
    for finish in finishes {
        node.commit(Commit { finishes: vec![finish], ..node.batch() }).await.unwrap();
    }
    let other = Work { tenant: acme, ..given::work(None) };
    let job = Submission { tenant: acme, ..given::submission(vec![given::job(PART, other)]) };
    node.commit(Commit { submissions: vec![job], ..Commit::default() }).await.unwrap();
    let item = node.log(PART).await.pop().unwrap();
    let of = |tenant, completed, failed, duration_ms| TenantCounts {
        tenant,
        completed,
        failed,
        duration_ms,
    };

    let lately = now - TimeDelta::minutes(5);
    let before = node.ports.history.counts_by_tenant(lately).await.unwrap();
    node.commit(Commit { finishes: vec![ended(&item, 0, Status::Completed)], ..node.batch() })
        .await
        .unwrap();
    let after = node.ports.history.counts_by_tenant(lately).await.unwrap();

    assert_eq!(before, [of(ADMIN, 1, 1, 80)]);
    assert_eq!(after, [of(ADMIN, 1, 1, 80), of(acme, 1, 0, 40)]);
}

async fn ends_are_counted_since_an_instant(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = spread(&node, 4).await;
    let now = given::now();
    let ended = |item: &Item, ago: i64| {
        let ended_at = now - TimeDelta::minutes(ago);
        let started_at = Some(ended_at - TimeDelta::milliseconds(40));
        Finish { started_at, ended_at, ..node.end(item) }
    };
    let mut finishes: Vec<Finish> =
        items.iter().zip([90, 30, 10, 0]).map(|(item, ago)| ended(item, ago)).collect();
    let mut attempts = finishes[2].item.attempts.clone();
    attempts.push(given::attempt(node.id, finishes[2].epoch, 2));
    finishes[2].item.attempts = attempts;
    // What ends in one commit ends at about one time, and may be counted as one.
    for finish in finishes {
        node.commit(Commit { finishes: vec![finish], ..node.batch() }).await.unwrap();
    }
    let since = |ago| Some(now - TimeDelta::minutes(ago));

    let completed = |counts: &[ActionCounts]| -> Vec<(i32, i64)> {
        counts.iter().map(|count| (count.action.0, count.completed)).collect()
    };
    assert_eq!(completed(&counted(&node, since(100)).await), [(1, 2), (2, 2)]);
    assert_eq!(completed(&counted(&node, since(60)).await), [(1, 1), (2, 2)]);
    assert_eq!(completed(&counted(&node, since(10)).await), [(1, 1), (2, 1)], "inclusive");
    assert_eq!(completed(&counted(&node, since(5)).await), [(2, 1)]);
    assert_eq!(completed(&counted(&node, since(-5)).await), []);
    let recent = counted(&node, since(20)).await;
    assert_eq!((recent[0].retries, recent[0].duration_ms), (1, 40));
    assert_eq!(recent[0].last_at, since(10));
    let one = node.ports.history.action_counts(ADMIN, Some(ActionId(2)), since(60)).await.unwrap();
    assert_eq!(completed(&one), [(2, 2)]);
}

async fn recent_durations_are_those_of_the_newest_executions(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = spread(&node, 8).await;
    let mut finishes = Vec::new();
    for (item, millis) in items.iter().zip([10, 20, 30, 40, 50, 60, 70]) {
        let finish = node.end(item);
        let started_at = Some(finish.ended_at - TimeDelta::milliseconds(millis));
        finishes.push(Finish { started_at, ..finish });
    }
    finishes[4].started_at = None;
    node.commit(Commit { finishes, ..node.batch() }).await.unwrap();

    let recent = async |action, limit| {
        node.ports.history.recent_durations(ADMIN, ActionId(action), limit).await.unwrap()
    };
    assert_eq!(recent(1, 10).await, [70, 30, 10], "what never started took no time");
    assert_eq!(recent(2, 2).await, [60, 40]);
    assert_eq!(recent(404, 2).await, Vec::<i64>::new());
}

async fn samples_of_the_queues_are_read_newest_first(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let now = given::now();
    let sample = |tenant, seconds: i64| QueueMetric {
        tenant,
        queue_name: "normal".to_owned(),
        sampled_at: now - TimeDelta::seconds(seconds),
        pending: 1,
        processing: 2,
        completed: 3,
        failed: 4,
        avg_processing_time_ms: 5.25,
        throughput_per_minute: 6.5,
        error_rate_percentage: 7.75,
        active_workers: 8,
    };
    let samples = [sample(ADMIN, 20), sample(acme, 10), sample(ADMIN, 0), sample(ADMIN, 10)];
    let history = &node.ports.history;
    history.record_queue_metrics(&samples[..2]).await.unwrap();
    history.record_queue_metrics(&samples[2..]).await.unwrap();

    let [oldest, theirs, newest, middle] = samples;
    let all = [newest.clone(), middle.clone(), oldest];
    assert_eq!(history.queue_metrics(ADMIN, 10).await.unwrap(), all);
    assert_eq!(history.queue_metrics(ADMIN, 2).await.unwrap(), [newest, middle]);
    assert_eq!(history.queue_metrics(acme, 10).await.unwrap(), [theirs]);
}

async fn counted(node: &Node, since: Option<actions_domain::Timestamp>) -> Vec<ActionCounts> {
    let mut counts = node.ports.history.action_counts(ADMIN, None, since).await.unwrap();
    counts.sort_by_key(|count| count.action);
    counts
}
