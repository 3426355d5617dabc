//! What is written together, and under which fence.

use std::time::Duration;

use actions_domain::id::TenantId;
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Ingested, Submission, Submitted};

use super::super::given::{self, OTHER_PART, PART};
use super::super::stores::{Stores, submit};
use super::{cancel, due, places, save_action};

contract! { Store:
    a_batch_is_written_whole_or_not_at_all,
    an_old_epoch_cannot_commit,
    a_batch_is_refused_when_one_of_its_leases_is_lost,
    a_node_cannot_commit_under_the_lease_of_another,
    a_write_in_a_partition_without_its_fence_is_refused,
    a_submission_needs_no_lease,
    an_unknown_tenant_is_refused_and_nothing_is_written,
    a_large_batch_is_one_batch,
    stale_submissions_are_left_out_alone,
    an_empty_batch_does_nothing,
}

async fn a_batch_is_written_whole_or_not_at_all(stores: &Stores) {
    let left = stores.owner("left").await;
    let items = left.enqueue(PART, 2).await;
    let right = stores.take_over("right", &left).await;
    let tails = right.ports.store.tails().await.unwrap();
    let ingest = given::ingest(OTHER_PART);
    let event = ingest.event.clone().unwrap();

    let batch = Commit {
        submissions: vec![given::submission(vec![ingest])],
        finishes: vec![left.end(&items[0])],
        retries: vec![given::retry(&items[1], left.id, Duration::ZERO)],
        cancels: vec![cancel(&items[1])],
        ..left.batch()
    };
    let refused = left.commit(batch).await;

    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert!(right.ports.store.events(&[event.id]).await.unwrap().is_empty());
    assert_eq!(right.ports.store.tails().await.unwrap(), tails);
    assert_eq!(right.log(PART).await.len(), 2);
    assert!(right.ports.store.cancels().await.unwrap().is_empty());
}

async fn an_old_epoch_cannot_commit(stores: &Stores) {
    let left = stores.owner("left").await;
    let item = left.enqueue(PART, 1).await.remove(0);
    let right = stores.take_over("right", &left).await;

    let late = left.finish(&item).await;
    let current = right.finish(&item).await;

    let Err(StoreError::Fenced { lost }) = late else { panic!("not fenced: {late:?}") };
    assert!(lost.contains(&PART), "{lost:?}");
    assert!(current.is_ok(), "{current:?}");
}

async fn a_batch_is_refused_when_one_of_its_leases_is_lost(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(OTHER_PART, 1).await.remove(0);
    node.ports.leases.release(node.id, &[node.fence(PART)]).await.unwrap();

    // What it would write is in a partition that it still owns.
    let refused = node.finish(&item).await;

    let Err(StoreError::Fenced { lost }) = refused else { panic!("not fenced: {refused:?}") };
    assert_eq!(lost, [PART]);
    assert_eq!(node.log(OTHER_PART).await.len(), 1);
}

async fn a_node_cannot_commit_under_the_lease_of_another(stores: &Stores) {
    let owner = stores.owner("owner").await;
    let item = owner.enqueue(PART, 1).await.remove(0);
    let other = stores.join("other").await;

    let stolen = Commit { node: Some(other.id), finishes: vec![owner.end(&item)], ..owner.batch() };
    let nobody = Commit { node: None, ..stolen.clone() };

    for batch in [stolen, nobody] {
        let refused = owner.commit(batch).await;
        assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    }
    assert_eq!(owner.log(PART).await.len(), 1);
}

async fn a_write_in_a_partition_without_its_fence_is_refused(stores: &Stores) {
    let owner = stores.owner("owner").await;
    let item = owner.enqueue(PART, 1).await.remove(0);

    let fences = vec![owner.fence(OTHER_PART)];
    let batch = Commit { fences, finishes: vec![owner.end(&item)], ..owner.batch() };
    let refused = owner.commit(batch).await;

    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    assert_eq!(owner.log(PART).await.len(), 1);
}

async fn a_submission_needs_no_lease(stores: &Stores) {
    let ports = stores.open().await;
    let ingested = submit(&ports, vec![given::ingest(PART)]).await;
    assert_eq!(ingested, [Ingested::Stored]);
}

async fn an_unknown_tenant_is_refused_and_nothing_is_written(stores: &Stores) {
    let node = stores.owner("node").await;
    let known = given::submission(vec![given::ingest(PART)]);
    let unknown = Submission { tenant: TenantId(404), ..given::submission(Vec::new()) };

    let batch = Commit { submissions: vec![known, unknown], ..Commit::default() };
    let refused = node.commit(batch).await;

    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    assert!(node.log(PART).await.is_empty());
}

async fn a_large_batch_is_one_batch(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 777).await;
    assert_eq!(node.log(PART).await, items);

    let (ends, rest) = items.split_at(600);
    let batch = Commit {
        finishes: ends.iter().map(|item| node.end(item)).collect(),
        retries: (rest.iter())
            .map(|item| given::retry(item, node.id, Duration::from_secs(9)))
            .collect(),
        ..node.batch()
    };
    node.commit(batch).await.unwrap();

    assert!(node.log(PART).await.is_empty());
    assert_eq!(due(&node, PART, 60).await.len(), 177);
    let events: Vec<_> = items.iter().filter_map(|item| item.work.event).collect();
    assert_eq!(node.ports.store.events(&events).await.unwrap().len(), 777);
}

async fn stale_submissions_are_left_out_alone(stores: &Stores) {
    let node = stores.owner("node").await;
    save_action(&node, "first").await;
    let current = save_action(&node, "second").await;
    let matched_with = |defs| Submission { defs, ..given::submission(vec![given::ingest(PART)]) };

    let submissions = [Some(current - 1), Some(current), None].map(matched_with).to_vec();
    let event = submissions[0].ingests[0].event.clone().unwrap();
    let again = Submission { defs: Some(current), ..submissions[0].clone() };
    let batch = Commit { submissions, ..Commit::default() };
    let receipt = node.commit(batch).await.unwrap();

    let stored = Submitted::Accepted(vec![Ingested::Stored]);
    let stale = Submitted::Stale { defs: current };
    assert_eq!(receipt.submissions, [stale, stored.clone(), stored.clone()]);
    assert!(node.ports.store.events(&[event.id]).await.unwrap().is_empty());
    assert_eq!(places(&node.log(PART).await), [1, 2]);

    let batch = Commit { submissions: vec![again], ..Commit::default() };
    assert_eq!(node.commit(batch).await.unwrap().submissions, [stored]);
}

async fn an_empty_batch_does_nothing(stores: &Stores) {
    let node = stores.owner("node").await;
    let receipt = node.commit(Commit::default()).await.unwrap();
    assert_eq!(receipt, actions_domain::work::Receipt::default());
}
