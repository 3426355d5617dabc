//! What failed for good.

use actions_domain::execution::Fault;
use actions_domain::id::{ActionId, ExecutionId};
use actions_domain::ports::history::DeadLetterQuery;
use actions_domain::work::{Commit, Finish};

use super::super::given::{self, PART};
use super::super::stores::Stores;
use super::{ADMIN, create_tenant, find, letters, spread};

contract! { History:
    dead_letters_are_listed_newest_first,
    a_dead_letter_is_found_by_its_own_tenant,
    dead_letters_are_grouped_by_cause,
}

async fn dead_letters_are_listed_newest_first(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = spread(&node, 4).await;
    for (item, fingerprint) in items.iter().zip(["f", "g", "f", "f"]) {
        node.bury(item, fingerprint).await;
    }
    let of = |wanted: &[usize]| -> Vec<ExecutionId> {
        wanted.iter().map(|at| items[*at].work.id).collect()
    };
    let fingerprint = Some("f".to_owned());
    let cases = [
        (letters(), of(&[3, 2, 1, 0])),
        (DeadLetterQuery { limit: 2, ..letters() }, of(&[3, 2])),
        (DeadLetterQuery { before: Some(items[2].work.id), ..letters() }, of(&[1, 0])),
        (DeadLetterQuery { fingerprint: fingerprint.clone(), ..letters() }, of(&[3, 2, 0])),
        (
            DeadLetterQuery { fingerprint, before: Some(items[3].work.id), limit: 1, ..letters() },
            of(&[2]),
        ),
        (DeadLetterQuery { action: Some(ActionId(2)), ..letters() }, of(&[3, 1])),
    ];
    for (query, expected) in cases {
        let found = node.ports.history.list_dead_letters(query.clone()).await.unwrap();
        let found: Vec<ExecutionId> = found.iter().map(|letter| letter.execution.id).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

async fn a_dead_letter_is_found_by_its_own_tenant(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let items = node.enqueue(PART, 2).await;
    node.bury(&items[0], "f").await;
    node.finish(&items[1]).await.unwrap();
    let [dead, alive] = [items[0].work.id, items[1].work.id];
    let history = &node.ports.history;

    let found = history.find_dead_letter(ADMIN, dead).await.unwrap().unwrap();

    assert_eq!(found.fingerprint, "f");
    assert_eq!(found.execution, find(&node, dead).await);
    assert_eq!(found.execution.error, Some(given::fault("answered 503")));
    assert_eq!(Some(found.died_at), found.execution.ended_at);
    assert_eq!(history.find_dead_letter(ADMIN, alive).await.unwrap(), None);
    assert_eq!(history.find_dead_letter(acme, dead).await.unwrap(), None);
    let theirs = DeadLetterQuery { tenant: acme, ..letters() };
    assert_eq!(history.list_dead_letters(theirs).await.unwrap(), []);
    assert_eq!(history.dead_letter_groups(acme, 10).await.unwrap(), []);
}

async fn dead_letters_are_grouped_by_cause(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = spread(&node, 5).await;
    // Two actions take turns; a fingerprint belongs to one action.
    let plan = [("f", 0), ("g", 1), ("f", 2), ("f", 4)];
    for (fingerprint, at) in plan {
        let finish = given::death(node.end(&items[at]), fingerprint);
        let error = Some(Fault::handler("x", format!("died as {at}")));
        let finish = Finish { error, ..finish };
        node.commit(Commit { finishes: vec![finish], ..node.batch() }).await.unwrap();
    }

    let groups = node.ports.history.dead_letter_groups(ADMIN, 10).await.unwrap();
    let largest = node.ports.history.dead_letter_groups(ADMIN, 1).await.unwrap();

    let summary: Vec<(&str, i32, i64)> = (groups.iter())
        .map(|group| (group.fingerprint.as_str(), group.action.0, group.count))
        .collect();
    assert_eq!(summary, [("f", 1, 3), ("g", 2, 1)]);
    let [first, last] = [0, 4].map(|at: usize| items[at].work.id);
    assert_eq!(Some(groups[0].first_at), find(&node, first).await.ended_at);
    assert_eq!(Some(groups[0].last_at), find(&node, last).await.ended_at);
    assert_eq!(groups[0].sample.as_ref().unwrap().message, "died as 4");
    assert_eq!(largest, groups[..1]);
}
