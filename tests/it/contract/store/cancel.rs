//! Cancellations that wait for an end.

use std::time::Duration;

use actions_domain::id::TenantId;
use actions_domain::work::{Cancel, Commit};

use super::super::given::{self, PART};
use super::super::stores::Stores;
use super::{cancel, create_tenant, due};

contract! { Store:
    a_cancel_stays_until_an_end_answers_it,
    a_cancel_of_what_is_not_unfinished_is_not_kept,
    what_is_to_be_cancelled_is_found_long_before_it_is_due,
}

async fn a_cancel_stays_until_an_end_answers_it(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    node.retry(given::retry(&items[1], node.id, Duration::ZERO)).await.unwrap();
    let cancels: Vec<Cancel> = items.iter().map(cancel).collect();
    // Any node may ask, twice as well.
    for _ in 0..2 {
        let batch = Commit { cancels: cancels.clone(), ..Commit::default() };
        node.commit(batch).await.unwrap();
    }

    let mut found = node.ports.store.cancels().await.unwrap();
    found.sort_by_key(|cancel| cancel.execution);
    let mut expected = cancels.clone();
    expected.sort_by_key(|cancel| cancel.execution);
    assert_eq!(found, expected);

    node.finish(&items[0]).await.unwrap();
    assert_eq!(node.ports.store.cancels().await.unwrap(), cancels[1..]);
}

async fn a_cancel_of_what_is_not_unfinished_is_not_kept(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    let acme = create_tenant(&node, "acme").await;
    node.finish(&items[0]).await.unwrap();

    let unknown = Cancel { tenant: TenantId::ADMIN, execution: given::execution_id(0), by: None };
    let foreign = Cancel { tenant: acme, ..cancel(&items[1]) };
    let cancels = vec![cancel(&items[0]), unknown, foreign];
    node.commit(Commit { cancels, ..Commit::default() }).await.unwrap();

    assert_eq!(node.ports.store.cancels().await.unwrap(), []);
}

async fn what_is_to_be_cancelled_is_found_long_before_it_is_due(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    for (item, seconds) in items.iter().zip([5, 7_200, 3_600]) {
        let pause = Duration::from_secs(seconds);
        node.retry(given::retry(item, node.id, pause)).await.unwrap();
    }
    let cancels = vec![cancel(&items[0]), cancel(&items[1])];
    node.commit(Commit { cancels, ..Commit::default() }).await.unwrap();

    let found: Vec<_> = due(&node, PART, 60).await.iter().map(|later| later.item.work.id).collect();
    assert_eq!(found, [items[0].work.id, items[1].work.id]);
}
