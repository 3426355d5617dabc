//! A work item: its one home, its marks, its one end.

use std::collections::BTreeSet;
use std::time::Duration;

use actions_domain::execution::Status;
use actions_domain::id::{ExecutionId, SubscriptionId, TenantId};
use actions_domain::terms::Terms;
use actions_domain::work::{Commit, Finish, Work};
use chrono::TimeDelta;

use super::super::given::{self, OTHER_PART, PART};
use super::super::stores::Stores;
use super::{cancel, due, find};

contract! { Store:
    a_work_item_is_finished_once,
    an_item_finished_twice_in_one_batch_is_finished_once,
    an_item_finished_on_two_days_is_finished_once,
    a_finished_item_is_not_moved_back,
    a_finish_removes_the_item_from_wherever_it_lives,
    marked_items_are_found_wherever_they_live,
    a_retry_removes_the_mark_and_a_finish_too,
    a_finished_item_cannot_be_marked,
    every_accepted_work_is_in_exactly_one_home,
    the_terms_of_a_work_stay_with_it_to_its_end,
}

async fn a_work_item_is_finished_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    node.finish(&item).await.unwrap();
    let before = find(&node, &item).await;

    node.bury(&item, "f").await;

    assert_eq!(find(&node, &item).await, before);
    assert_eq!(before.status, Status::Completed);
    let dead = node.ports.history.find_dead_letter(TenantId::ADMIN, item.work.id).await;
    assert_eq!(dead.unwrap(), None);
    let counts = node.ports.history.action_counts(TenantId::ADMIN, None, None).await.unwrap();
    assert_eq!((counts[0].completed, counts[0].failed), (1, 0));
}

async fn an_item_finished_twice_in_one_batch_is_finished_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);

    let finishes = vec![node.end(&item), given::death(node.end(&item), "f")];
    node.commit(Commit { finishes, ..node.batch() }).await.unwrap();

    assert_eq!(find(&node, &item).await.status, Status::Completed);
    let counts = node.ports.history.action_counts(TenantId::ADMIN, None, None).await.unwrap();
    assert_eq!((counts[0].completed, counts[0].failed), (1, 0));
}

async fn an_item_finished_on_two_days_is_finished_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    node.finish(&item).await.unwrap();
    let before = find(&node, &item).await;

    let later = Finish { ended_at: given::now() + TimeDelta::days(1), ..node.end(&item) };
    node.commit(Commit { finishes: vec![later], ..node.batch() }).await.unwrap();

    assert_eq!(find(&node, &item).await, before);
    let counts = node.ports.history.action_counts(TenantId::ADMIN, None, None).await.unwrap();
    assert_eq!(counts[0].completed, 1);
}

async fn a_finished_item_is_not_moved_back(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    node.finish(&item).await.unwrap();

    node.retry(given::retry(&item, node.id, Duration::ZERO)).await.unwrap();

    assert!(due(&node, PART, 60).await.is_empty());
    assert_eq!(find(&node, &item).await.status, Status::Completed);
}

async fn a_finish_removes_the_item_from_wherever_it_lives(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    node.retry(given::retry(&items[0], node.id, Duration::ZERO)).await.unwrap();
    let marks = vec![items[1].clone()];
    let cancels = items.iter().map(cancel).collect();
    node.commit(Commit { marks, cancels, ..node.batch() }).await.unwrap();

    // The first one's owner may still believe that it lives in the log.
    let finishes = items.iter().map(|item| node.end(item)).collect();
    node.commit(Commit { finishes, ..node.batch() }).await.unwrap();

    assert!(node.log(PART).await.is_empty());
    assert!(due(&node, PART, 60).await.is_empty());
    assert!(node.ports.store.marked(PART).await.unwrap().is_empty());
    assert!(node.ports.store.cancels().await.unwrap().is_empty());
}

async fn marked_items_are_found_wherever_they_live(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    let other = node.enqueue(OTHER_PART, 1).await;
    let mut later = given::retry(&items[2], node.id, Duration::ZERO);
    later.item.losses = 1;
    node.retry(later.clone()).await.unwrap();

    let marks = vec![items[0].clone(), later.item.clone(), other[0].clone()];
    node.commit(Commit { marks: marks.clone(), ..node.batch() }).await.unwrap();
    // Marking again changes nothing.
    node.commit(Commit { marks, ..node.batch() }).await.unwrap();

    let mut found = node.ports.store.marked(PART).await.unwrap();
    found.sort_by_key(|item| item.ord);
    assert_eq!(found, [items[0].clone(), later.item], "the unmarked one gains no loss");
    assert_eq!(node.log(PART).await.len(), 2, "a mark does not move");
}

async fn a_retry_removes_the_mark_and_a_finish_too(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    node.commit(Commit { marks: items.clone(), ..node.batch() }).await.unwrap();

    node.retry(given::retry(&items[0], node.id, Duration::ZERO)).await.unwrap();
    node.finish(&items[1]).await.unwrap();

    assert_eq!(node.ports.store.marked(PART).await.unwrap(), [items[2].clone()]);
}

async fn a_finished_item_cannot_be_marked(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    node.finish(&item).await.unwrap();

    node.commit(Commit { marks: vec![item], ..node.batch() }).await.unwrap();

    assert!(node.ports.store.marked(PART).await.unwrap().is_empty());
}

async fn every_accepted_work_is_in_exactly_one_home(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 30).await;
    for (at, item) in items.iter().enumerate() {
        if at % 2 == 0 {
            node.retry(given::retry(item, node.id, Duration::ZERO)).await.unwrap();
        }
        if at % 3 == 0 {
            node.finish(item).await.unwrap();
        }
    }

    let mut homes: Vec<ExecutionId> = Vec::new();
    homes.extend(node.log(PART).await.iter().map(|item| item.work.id));
    homes.extend(due(&node, PART, 60).await.iter().map(|later| later.item.work.id));
    for item in &items {
        if find(&node, item).await.status.is_final() {
            homes.push(item.work.id);
        }
    }

    let all: BTreeSet<ExecutionId> = items.iter().map(|item| item.work.id).collect();
    assert_eq!(homes.len(), 30, "nothing is in two homes");
    assert_eq!(homes.into_iter().collect::<BTreeSet<_>>(), all, "nothing is lost");
}

async fn the_terms_of_a_work_stay_with_it_to_its_end(stores: &Stores) {
    let node = stores.owner("node").await;
    let terms = Terms {
        subscription: Some(SubscriptionId(given::uuid())),
        concurrency_key: Some("customer:9".into()),
        throttle_key: Some("customer:9:calls".into()),
        ..Terms::default()
    };
    let with_terms = Work { terms: terms.unless_empty(), ..given::work(None) };
    let delay = Some(Duration::from_secs(5));
    let delayed = Work { id: given::execution_id(1), delay, ..with_terms.clone() };
    let plain = Work { id: given::execution_id(2), ..given::work(None) };
    let wanted = with_terms.terms.clone();
    let jobs = [with_terms, delayed, plain].map(|work| given::job(PART, work));
    node.submit(jobs.into()).await;

    let log = node.log(PART).await;
    assert_eq!(
        log.iter().map(|item| item.work.terms.clone()).collect::<Vec<_>>(),
        [wanted.clone(), None]
    );
    let later = due(&node, PART, 60).await.remove(0);
    assert_eq!(later.item.work.terms, wanted);
    let marks = vec![log[0].clone(), later.item.clone()];
    node.commit(Commit { marks, ..node.batch() }).await.unwrap();
    for item in node.ports.store.marked(PART).await.unwrap() {
        assert_eq!(item.work.terms, wanted);
    }
    node.retry(given::retry(&log[0], node.id, Duration::ZERO)).await.unwrap();
    let items: Vec<_> = due(&node, PART, 60).await.into_iter().map(|later| later.item).collect();
    assert!(items.iter().all(|item| item.work.terms == wanted));

    let finishes = items.iter().map(|item| node.end(item)).collect();
    node.commit(Commit { finishes, ..node.batch() }).await.unwrap();

    assert_eq!(find(&node, &items[0]).await.status, Status::Completed);
    assert!(due(&node, PART, 60).await.is_empty());
}
