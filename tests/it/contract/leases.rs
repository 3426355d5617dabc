//! What every `Leases` must do: one owner for each partition, and no zombie that writes.

use std::collections::BTreeSet;
use std::time::Duration;

use actions_domain::id::{ExecutionId, NodeId};
use actions_domain::ports::leases::{Peer, Vitals};
use actions_domain::ports::store::{DueQuery, StoreError};
use actions_domain::work::{Commit, Epoch, Fence, Item, Part, Seq};

use super::given::{self, OTHER_PART, PART};
use super::stores::{Node, PARTS, Stores};

contract! { Leases:
    the_number_of_partitions_is_fixed,
    a_new_partition_is_clean_and_empty,
    a_partition_has_one_owner,
    a_claim_takes_no_more_than_asked_for,
    nodes_that_claim_at_once_share_the_partitions,
    a_claim_raises_the_epoch,
    a_claim_lists_what_is_there_when_it_is_committed,
    a_claim_that_waited_sees_what_it_waited_for,
    node_numbers_are_never_used_again,
    a_join_of_the_same_name_kills_the_older_start,
    a_beat_is_seen_by_the_others,
    a_node_tells_how_it_is_with_each_beat,
    what_nobody_owns_is_noticed,
    a_dead_node_is_told_with_its_next_beat,
    a_dead_node_cannot_claim,
    a_node_cannot_declare_itself_dead,
    a_dead_node_is_seen_until_its_partitions_are_taken,
    a_partition_that_was_given_back_is_clean,
    a_partition_is_given_back_by_its_owner_alone,
    a_node_that_leaves_gives_nothing_back_by_itself,
    ends_are_numbered_on_by_the_next_owner,
    the_next_owner_starts_reading_at_the_low_mark,
    a_low_mark_is_its_owners_and_never_moves_back,
    a_low_mark_loses_nothing_that_is_not_finished,
}

async fn the_number_of_partitions_is_fixed(stores: &Stores) {
    for _ in 0..2 {
        let ports = stores.open().await;
        assert_eq!(ports.leases.part_count().await.unwrap(), PARTS);
        assert_eq!(ports.store.tails().await.unwrap().len(), usize::from(PARTS));
    }
}

async fn a_new_partition_is_clean_and_empty(stores: &Stores) {
    let node = stores.owner("node").await;
    let parts: Vec<Part> = node.leases.iter().map(|lease| lease.part).collect();
    assert_eq!(parts.iter().collect::<BTreeSet<_>>().len(), usize::from(PARTS));
    for lease in &node.leases {
        assert!(lease.clean && lease.epoch > Epoch(0), "{lease:?}");
        assert!(lease.low <= Seq(1), "{lease:?}");
        assert_eq!((lease.tail, lease.next_fin), (Seq(1), 1));
    }
}

async fn a_partition_has_one_owner(stores: &Stores) {
    stores.owner("owner").await;
    let other = stores.join("other").await;
    let claimed = other.ports.leases.claim(other.id, &[], PARTS).await.unwrap();
    assert_eq!(claimed, []);
}

async fn a_claim_takes_no_more_than_asked_for(stores: &Stores) {
    let node = stores.join("node").await;
    let leases = &node.ports.leases;
    let counts = [
        leases.claim(node.id, &[], 0).await.unwrap().len(),
        leases.claim(node.id, &[], 1).await.unwrap().len(),
        leases.claim(node.id, &[], PARTS).await.unwrap().len(),
        leases.claim(node.id, &[], PARTS).await.unwrap().len(),
    ];
    assert_eq!(counts, [0, 1, usize::from(PARTS) - 1, 0]);
}

async fn nodes_that_claim_at_once_share_the_partitions(stores: &Stores) {
    let mut claims = tokio::task::JoinSet::new();
    for number in 0..4 {
        let node = stores.join(&format!("node {number}")).await;
        claims.spawn(async move { node.ports.leases.claim(node.id, &[], 2).await.unwrap() });
    }
    let mut parts = Vec::new();
    while let Some(claimed) = claims.join_next().await {
        parts.extend(claimed.unwrap().into_iter().map(|lease| lease.part));
    }
    assert_eq!(parts.len(), usize::from(PARTS));
    assert_eq!(parts.into_iter().collect::<BTreeSet<_>>().len(), usize::from(PARTS));
}

async fn a_claim_raises_the_epoch(stores: &Stores) {
    let left = stores.owner("left").await;
    let right = stores.take_over("right", &left).await;
    assert_eq!(right.lease(PART).epoch, Epoch(left.lease(PART).epoch.0 + 1));
    assert!(!right.lease(PART).clean, "nobody gave it back");
}

async fn a_claim_lists_what_is_there_when_it_is_committed(stores: &Stores) {
    let left = stores.owner("left").await;
    let items = left.enqueue(PART, 3).await;
    left.finish(&items[0]).await.unwrap();

    let right = stores.take_over("right", &left).await;

    assert_eq!(right.lease(PART).tail, Seq(4));
    assert_eq!(right.lease(PART).next_fin, 2);
    assert_eq!(right.log(PART).await, items[1..]);
}

/// The old owner goes on finishing while its partition is taken. Whatever it was told to be
/// written is seen by the new owner, and whatever it was refused is still there.
async fn a_claim_that_waited_sees_what_it_waited_for(stores: &Stores) {
    let left = stores.owner("left").await;
    let items = left.enqueue(PART, 200).await;
    let all: BTreeSet<ExecutionId> = ids(&items);
    let victim = left.id;
    let (started, is_started) = tokio::sync::oneshot::channel();
    let finishing = tokio::spawn(async move {
        let mut started = Some(started);
        let mut finished = BTreeSet::new();
        for item in &items {
            match left.finish(item).await {
                Ok(_) => finished.insert(item.work.id),
                Err(StoreError::Fenced { .. }) => break,
                Err(error) => panic!("{error}"),
            };
            if let Some(started) = started.take() {
                let _ = started.send(());
            }
        }
        finished
    });
    is_started.await.unwrap();

    let right = stores.join("right").await;
    let claimed = right.ports.leases.claim(right.id, &[victim], PARTS).await.unwrap();
    let listed = ids(&right.log(PART).await);
    let finished = finishing.await.unwrap();

    assert_eq!(claimed.len(), usize::from(PARTS));
    assert_eq!(finished.intersection(&listed).count(), 0, "nothing that was finished runs again");
    assert_eq!(&finished | &listed, all, "nothing is lost");
}

async fn node_numbers_are_never_used_again(stores: &Stores) {
    let mut numbers = BTreeSet::new();
    for name in ["a", "a", "b", "a"] {
        let node = stores.join(name).await;
        node.ports.leases.leave(node.id).await.unwrap();
        assert!(numbers.insert(node.id), "{:?} came twice", node.id);
    }
}

async fn a_join_of_the_same_name_kills_the_older_start(stores: &Stores) {
    let older = stores.owner("node").await;
    let items = older.enqueue(PART, 1).await;
    let newer = stores.join("node").await;
    let mine = newer.ports.leases.claim(newer.id, &[], PARTS).await.unwrap();

    assert_eq!(mine.len(), usize::from(PARTS), "it need not wait for its own lease to run out");
    assert!(mine.iter().all(|lease| !lease.clean));
    assert!(matches!(beat(&older).await, Err(StoreError::Fenced { .. })));
    assert!(matches!(older.finish(&items[0]).await, Err(StoreError::Fenced { .. })));
    assert!(beat(&newer).await.is_ok());
}

async fn a_beat_is_seen_by_the_others(stores: &Stores) {
    let (left, right) = (stores.owner("left").await, stores.join("right").await);
    let before = peer(&right, left.id).await.unwrap();

    beat(&left).await.unwrap();
    beat(&left).await.unwrap();

    let after = peer(&right, left.id).await.unwrap();
    assert_eq!((after.beats, after.name.as_str()), (before.beats + 2, "left"));
    assert!(after.alive);
    assert_eq!(after.parts.iter().collect::<BTreeSet<_>>().len(), usize::from(PARTS));
    assert_eq!(peer(&right, right.id).await, None, "a node is not its own peer");
}

async fn a_node_tells_how_it_is_with_each_beat(stores: &Stores) {
    let (node, other) = (stores.owner("node").await, stores.join("other").await);
    let unheard = peer(&other, node.id).await.unwrap();
    assert_eq!(unheard.vitals, Vitals::default());
    let (version, role) = ("1.2.3".to_owned(), "worker".to_owned());
    let vitals = Vitals { version, role, running: 4, waiting: 5, is_draining: true };
    node.ports.leases.beat(node.id, &vitals).await.unwrap();

    let seen = peer(&other, node.id).await.unwrap();
    assert_eq!(seen.vitals, vitals);
    assert!(seen.alive && !seen.is_taking_part());
    assert!(seen.silent_for < Duration::from_secs(60), "{seen:?}");
    let listed = other.ports.leases.nodes().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|one| (one.node, one.parts.len())).collect();
    assert_eq!(listed, [(node.id, usize::from(PARTS)), (other.id, 0)]);
}

async fn what_nobody_owns_is_noticed(stores: &Stores) {
    let node = stores.join("node").await;
    let has_free = async || node.ports.leases.has_free().await.unwrap();
    assert!(has_free().await, "nobody has taken anything");
    let leases = node.ports.leases.claim(node.id, &[], PARTS).await.unwrap();
    assert!(!has_free().await);
    let fence = Fence { part: leases[0].part, epoch: leases[0].epoch };
    node.ports.leases.release(node.id, &[fence]).await.unwrap();
    assert!(has_free().await, "one was given back");
    node.ports.leases.claim(node.id, &[], PARTS).await.unwrap();
    let other = stores.join("other").await;
    other.ports.leases.claim(other.id, &[node.id], 0).await.unwrap();
    assert!(other.ports.leases.has_free().await.unwrap(), "the owner is dead");
}

async fn a_dead_node_is_told_with_its_next_beat(stores: &Stores) {
    let left = stores.owner("left").await;
    assert!(beat(&left).await.is_ok());
    stores.take_over("right", &left).await;
    assert!(matches!(beat(&left).await, Err(StoreError::Fenced { .. })));
}

async fn a_dead_node_cannot_claim(stores: &Stores) {
    let left = stores.join("left").await;
    stores.take_over("right", &left).await;
    let refused = left.ports.leases.claim(left.id, &[], PARTS).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
}

async fn a_node_cannot_declare_itself_dead(stores: &Stores) {
    let node = stores.join("node").await;
    let claimed = node.ports.leases.claim(node.id, &[node.id], PARTS).await.unwrap();
    assert_eq!(claimed.len(), usize::from(PARTS));
    assert!(beat(&node).await.is_ok());
}

async fn a_dead_node_is_seen_until_its_partitions_are_taken(stores: &Stores) {
    let left = stores.owner("left").await;
    let right = stores.join("right").await;
    left.ports.leases.leave(left.id).await.unwrap();

    let dead = peer(&right, left.id).await.expect("its partitions wait for somebody");
    assert!(!dead.alive);
    assert_eq!(dead.parts.len(), usize::from(PARTS));

    right.ports.leases.claim(right.id, &[], PARTS).await.unwrap();
    assert_eq!(peer(&right, left.id).await.filter(|peer| !peer.parts.is_empty()), None);
}

async fn a_partition_that_was_given_back_is_clean(stores: &Stores) {
    let left = stores.owner("left").await;
    let items = left.enqueue(PART, 2).await;
    left.finish(&items[0]).await.unwrap();

    left.ports.leases.release(left.id, &[left.fence(PART)]).await.unwrap();
    let right = stores.take_over("right", &left).await;

    assert!(right.lease(PART).clean);
    assert!(!right.lease(OTHER_PART).clean);
    assert_eq!(right.log(PART).await, items[1..]);
    assert!(matches!(left.finish(&items[1]).await, Err(StoreError::Fenced { .. })));
}

async fn a_partition_is_given_back_by_its_owner_alone(stores: &Stores) {
    let left = stores.owner("left").await;
    let right = stores.take_over("right", &left).await;
    let old = left.fence(PART);
    let guessed = Fence { epoch: right.lease(PART).epoch, ..old };

    for fence in [old, guessed] {
        // Whether it is told so or not, nothing happens.
        let _ = left.ports.leases.release(left.id, &[fence]).await;
    }

    let third = stores.join("third").await;
    assert_eq!(third.ports.leases.claim(third.id, &[], PARTS).await.unwrap(), []);
    assert!(right.commit(right.batch()).await.is_ok());
}

async fn a_node_that_leaves_gives_nothing_back_by_itself(stores: &Stores) {
    let left = stores.owner("left").await;
    left.ports.leases.leave(left.id).await.unwrap();

    let right = stores.join("right").await;
    let claimed = right.ports.leases.claim(right.id, &[], PARTS).await.unwrap();

    assert_eq!(claimed.len(), usize::from(PARTS), "it is not waited for");
    assert!(claimed.iter().all(|lease| !lease.clean), "its attempts may still be running");
}

async fn ends_are_numbered_on_by_the_next_owner(stores: &Stores) {
    let left = stores.owner("left").await;
    let items = left.enqueue(PART, 5).await;
    for item in &items[..3] {
        left.finish(item).await.unwrap();
    }
    let right = stores.take_over("right", &left).await;
    right.finish(&items[3]).await.unwrap();

    let third = stores.take_over("third", &right).await;

    assert_eq!(right.lease(PART).next_fin, 4);
    assert_eq!(third.lease(PART).next_fin, 5);
    assert_eq!(third.lease(OTHER_PART).next_fin, 1);
}

async fn the_next_owner_starts_reading_at_the_low_mark(stores: &Stores) {
    let left = stores.owner("left").await;
    let items = left.enqueue(PART, 3).await;
    left.finish(&items[0]).await.unwrap();
    left.ports.leases.note_low(left.id, &[(left.fence(PART), Seq(2))]).await.unwrap();

    let right = stores.take_over("right", &left).await;
    let low = right.lease(PART).low;
    let window = right.ports.store.window(PART, low, 10, &[]).await.unwrap();

    assert_eq!(low, Seq(2));
    assert_eq!(window.items, items[1..]);
}

async fn a_low_mark_is_its_owners_and_never_moves_back(stores: &Stores) {
    let left = stores.owner("left").await;
    let items = left.enqueue(PART, 3).await;
    for item in &items {
        left.finish(item).await.unwrap();
    }
    let note = async |node: &Node, epoch: Epoch, low: i64| {
        let fence = Fence { part: PART, epoch };
        // Whether it is told so or not, nothing happens.
        let _ = node.ports.leases.note_low(node.id, &[(fence, Seq(low))]).await;
    };
    note(&left, left.lease(PART).epoch, 3).await;
    note(&left, left.lease(PART).epoch, 2).await;
    note(&left, Epoch(99), 4).await;
    let stranger = stores.join("stranger").await;
    note(&stranger, left.lease(PART).epoch, 4).await;

    let right = stores.take_over("right", &left).await;
    assert_eq!(right.lease(PART).low, Seq(3));
}

/// The mark is a hint. A wrong one must cost a look, not an item.
async fn a_low_mark_loses_nothing_that_is_not_finished(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 6).await;
    node.finish(&items[0]).await.unwrap();
    node.finish(&items[2]).await.unwrap();
    node.retry(given::retry(&items[3], node.id, Duration::ZERO)).await.unwrap();

    let low = [(node.fence(PART), Seq(6))];
    node.ports.leases.note_low(node.id, &low).await.unwrap();
    node.ports.leases.note_low(node.id, &low).await.unwrap();

    let expected = [&items[1], &items[4], &items[5]].map(Clone::clone);
    assert_eq!(node.log(PART).await, expected);
    let query = DueQuery { part: PART, ahead: Duration::from_secs(1), limit: 10 };
    assert_eq!(node.ports.store.due(query).await.unwrap().len(), 1);
    for item in &items {
        let found = node.ports.history.find_execution(item.work.tenant, item.work.id).await;
        assert!(found.unwrap().is_some(), "{item:?}");
    }
    // Numbers go on after the entries that were removed.
    let next = node.enqueue(PART, 1).await;
    assert_eq!(next[0].ord, Seq(7));
    assert!(node.commit(Commit { marks: next, ..node.batch() }).await.is_ok());
}

async fn beat(node: &Node) -> Result<Vec<Peer>, StoreError> {
    node.ports.leases.beat(node.id, &Vitals::default()).await
}

/// What a node's beat says of another one.
async fn peer(of: &Node, node: NodeId) -> Option<Peer> {
    beat(of).await.unwrap().into_iter().find(|peer| peer.node == node)
}

fn ids(items: &[Item]) -> BTreeSet<ExecutionId> {
    items.iter().map(|item| item.work.id).collect()
}
