//! Dead letters that are requeued or discarded.

use actions_domain::execution::Status;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::work::{Commit, Discard, Ingested};

use super::super::given::{self, PART};
use super::super::stores::Stores;
use super::{create_tenant, find};

contract! { Store:
    a_dead_letter_is_requeued_once,
    a_requeue_of_what_is_not_dead_does_not_use_up_its_key,
    a_dead_letter_is_discarded_once,
}

async fn a_dead_letter_is_requeued_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    node.bury(&items[0], "f").await;
    node.bury(&items[1], "f").await;
    let (first, second) = (given::requeue(PART, &items[0]), given::requeue(PART, &items[0]));
    let repeated = first.works[0].1.id;

    assert_eq!(node.submit(vec![first.clone()]).await, [Ingested::Stored]);
    assert_eq!(node.submit(vec![second]).await, [Ingested::NotDead]);
    // The answer was lost, and the same flush comes again.
    let duplicate = Ingested::Duplicate { subject: repeated.0 };
    assert_eq!(node.submit(vec![first]).await, [duplicate]);
    // Two people at once.
    let (third, fourth) = (given::requeue(PART, &items[1]), given::requeue(PART, &items[1]));
    assert_eq!(node.submit(vec![third, fourth]).await, [Ingested::Stored, Ingested::NotDead]);

    let log = node.log(PART).await;
    assert_eq!(log.len(), 2);
    assert_eq!(log[0].work.parent, Some(items[0].work.id));
    let of_event = (node.ports.history)
        .executions_of_event(TenantId::ADMIN, items[0].work.event.unwrap())
        .await
        .unwrap();
    let ids: Vec<ExecutionId> = of_event.iter().map(|execution| execution.id).collect();
    assert_eq!(ids, [items[0].work.id, repeated]);
}

async fn a_requeue_of_what_is_not_dead_does_not_use_up_its_key(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    let requeue = given::requeue(PART, &item);

    assert_eq!(node.submit(vec![requeue.clone()]).await, [Ingested::NotDead]);
    node.bury(&item, "f").await;
    assert_eq!(node.submit(vec![requeue]).await, [Ingested::Stored]);
}

async fn a_dead_letter_is_discarded_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    node.bury(&item, "f").await;
    let acme = create_tenant(&node, "acme").await;
    let discard_as = async |tenant| {
        let reason = "known".to_owned();
        let discards = vec![Discard { tenant, execution: item.work.id, reason }];
        node.commit(Commit { discards, ..Commit::default() }).await.unwrap().discarded
    };

    assert_eq!(discard_as(acme).await, 0);
    assert_eq!(discard_as(TenantId::ADMIN).await, 1);
    assert_eq!(discard_as(TenantId::ADMIN).await, 0);

    let dead = node.ports.history.find_dead_letter(TenantId::ADMIN, item.work.id).await;
    assert_eq!(dead.unwrap(), None);
    assert_eq!(find(&node, &item).await.status, Status::Failed, "the execution stays");
    assert_eq!(node.submit(vec![given::requeue(PART, &item)]).await, [Ingested::NotDead]);
}
