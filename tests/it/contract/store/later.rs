//! Items that wait for their time.

use std::time::Duration;

use actions_domain::ports::store::DueQuery;
use actions_domain::work::{Commit, Home, Later, Seq, Why, Work};
use chrono::TimeDelta;

use super::super::given::{self, OTHER_PART, PART};
use super::super::stores::Stores;
use super::{due, places};

contract! { Store:
    a_delayed_work_waits_among_the_later_items_and_takes_no_number,
    a_retry_lives_among_the_later_items_with_its_place_and_attempts,
    a_retry_can_be_retried,
    due_times_are_on_the_clock_of_the_store,
    a_wrong_clock_of_a_node_moves_no_due_time,
    held_items_come_first_then_those_due_first,
}

async fn a_delayed_work_waits_among_the_later_items_and_takes_no_number(stores: &Stores) {
    let node = stores.owner("node").await;
    let work = Work { delay: Some(Duration::from_secs(30)), ..given::work(None) };
    let id = work.id;
    let ingests = vec![given::ingest(PART), given::job(PART, work), given::ingest(PART)];
    let batch = Commit { submissions: vec![given::submission(ingests)], ..Commit::default() };

    let receipt = node.commit(batch).await.unwrap();

    assert_eq!(receipt.first, [(PART, Seq(1))]);
    assert_eq!(places(&node.log(PART).await), [1, 2]);
    let laters = due(&node, PART, 60).await;
    assert_eq!(laters.len(), 1);
    let later = &laters[0];
    assert_eq!((later.item.work.id, later.item.home, later.why), (id, Home::Later, Why::Delay));
    assert!(!later.hold && later.item.attempts.is_empty() && later.item.losses == 0);
    assert!((1..=3).contains(&later.item.ord.0), "its place is where it was accepted");
}

async fn a_retry_lives_among_the_later_items_with_its_place_and_attempts(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    let mut later = given::retry(&items[1], node.id, Duration::from_secs(30));
    later.hold = true;
    later.item.losses = 2;

    node.retry(later.clone()).await.unwrap();

    let found = due(&node, PART, 60).await.remove(0);
    assert_eq!(found.item, later.item);
    assert_eq!(found.item.ord, items[1].ord);
    assert_eq!((found.why, found.hold), (Why::Retry, true));
    assert_eq!(places(&node.log(PART).await), [1, 3]);
}

async fn a_retry_can_be_retried(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    let first = given::retry(&item, node.id, Duration::from_secs(5));
    node.retry(first.clone()).await.unwrap();
    let second =
        Later { why: Why::Carried, ..given::retry(&first.item, node.id, Duration::from_secs(50)) };

    node.retry(second.clone()).await.unwrap();

    assert!(due(&node, PART, 20).await.is_empty());
    let found = due(&node, PART, 60).await;
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].item, found[0].why), (&second.item, Why::Carried));
    assert_eq!(found[0].item.attempts.len(), 2);
}

async fn due_times_are_on_the_clock_of_the_store(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    let delays = [0, 30, 90].map(Duration::from_secs);
    let retries = (items.iter().zip(delays))
        .map(|(item, delay)| given::retry(item, node.id, delay))
        .collect();
    let before = node.ports.store.now().await.unwrap();
    node.commit(Commit { retries, ..node.batch() }).await.unwrap();

    let found = due(&node, PART, 60).await;

    let passed = (node.ports.store.now().await.unwrap() - before).to_std().unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].delay, Duration::ZERO);
    let (longest, shortest) = (delays[1], delays[1].saturating_sub(passed));
    assert!((shortest..=longest).contains(&found[1].delay), "{:?}", found[1].delay);
}

async fn a_wrong_clock_of_a_node_moves_no_due_time(stores: &Stores) {
    let node = stores.owner("node").await;
    let pause = Duration::from_secs(30);
    let before = node.ports.store.now().await.unwrap();
    for skew in [TimeDelta::hours(-1), TimeDelta::hours(1)] {
        let queued_at = before + skew;
        let work = |delay| Work { queued_at, delay, ..given::work(None) };
        let jobs = [Some(pause), None].map(|delay| given::job(PART, work(delay)));
        node.submit(jobs.to_vec()).await;
        let mut later = given::retry(&node.log(PART).await[0], node.id, pause);
        for attempt in &mut later.item.attempts {
            (attempt.started_at, attempt.ended_at) = (queued_at, queued_at);
        }
        node.retry(later).await.unwrap();
    }

    let found = due(&node, PART, 60).await;

    let passed = (node.ports.store.now().await.unwrap() - before).to_std().unwrap();
    assert_eq!(found.len(), 4);
    for Later { delay, why, .. } in found {
        assert!((pause.saturating_sub(passed)..=pause).contains(&delay), "{why:?} {delay:?}");
    }
}

async fn held_items_come_first_then_those_due_first(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 4).await;
    let plans = [(20, false), (40, true), (10, false), (30, true)];
    let retries = (items.iter().zip(plans))
        .map(|(item, (seconds, hold))| Later {
            hold,
            ..given::retry(item, node.id, Duration::from_secs(seconds))
        })
        .collect();
    node.commit(Commit { retries, ..node.batch() }).await.unwrap();

    let all = due(&node, PART, 60).await;
    let query = DueQuery { part: PART, ahead: Duration::from_secs(60), limit: 3 };
    let some = node.ports.store.due(query).await.unwrap();

    let order: Vec<i64> = all.iter().map(|later| later.item.ord.0).collect();
    assert_eq!(order, [4, 2, 3, 1]);
    assert_eq!(some.len(), 3);
    assert!(due(&node, OTHER_PART, 60).await.is_empty());
}
