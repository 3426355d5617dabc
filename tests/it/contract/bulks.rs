//! What every `Bulks` must do: records of operations, and outcomes that are written once.

use actions_domain::Timestamp;
use actions_domain::bulk::{
    Bulk, BulkChange, BulkItem, BulkRefusal, BulkSpec, BulkState, Chosen, ItemOutcome, Operation,
};
use actions_domain::id::{BulkId, ExecutionId, TenantId};
use chrono::{DateTime, TimeDelta};

use super::given;
use super::stores::{Ports, Stores};

contract! { Bulks:
    what_was_created_is_found_with_its_items,
    bulks_are_listed_newest_first_and_page_by_page,
    items_are_read_in_order_and_page_by_page,
    a_change_is_decided_by_the_bulk_and_kept,
    a_change_that_is_refused_changes_nothing,
    an_item_keeps_its_first_outcome_and_is_counted_once,
    a_bulk_ends_with_its_last_item,
    bulks_that_have_not_ended_are_found_over_all_tenants,
    tenants_have_bulks_of_their_own,
    a_hundred_thousand_items_are_not_too_many,
}

const ADMIN: TenantId = TenantId::ADMIN;

fn at(seconds: i64) -> Timestamp {
    let micros = TimeDelta::microseconds(7);
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap() + micros
}

fn targets(count: usize) -> Vec<ExecutionId> {
    (0..count).map(|_| given::execution_id(0)).collect()
}

/// A bulk whose id sorts by `second`.
fn bulk(tenant: TenantId, second: i64, total: usize) -> Bulk {
    let spec = BulkSpec {
        operation: Operation::Discard,
        chosen: Chosen::Where(r#"action:"a b" message:*ä*"#.to_owned()),
        canary: Some(500),
        rate: Some(7),
        reason: Some("they are \"old\"\n".to_owned()),
    };
    let id = BulkId::mint(at(second), [u8::try_from(second).unwrap(); 10]);
    let extent = (u32::try_from(total).unwrap(), true);
    Bulk::new(id, tenant, spec, "token:ops".to_owned(), extent, at(second))
}

async fn create(ports: &Ports, bulk: &Bulk) -> Vec<ExecutionId> {
    let targets = targets(usize::try_from(bulk.total).unwrap());
    ports.bulks.create_bulk(bulk, &targets, None).await.unwrap();
    targets
}

async fn items(ports: &Ports, bulk: &Bulk) -> Vec<BulkItem> {
    ports.bulks.bulk_items(bulk.tenant, bulk.id, 0, 1_000).await.unwrap()
}

async fn change(ports: &Ports, bulk: &Bulk, change: BulkChange) -> Result<Bulk, BulkRefusal> {
    let changed = ports.bulks.change_bulk(bulk.tenant, bulk.id, &change, at(60), None).await;
    changed.unwrap().expect("it exists").after
}

async fn record(ports: &Ports, bulk: &Bulk, outcomes: &[(u32, ItemOutcome)]) -> Bulk {
    let step = ports.bulks.record_items(bulk.tenant, bulk.id, outcomes, at(90)).await;
    step.unwrap().expect("it exists").after.unwrap()
}

fn refused(reason: &str) -> ItemOutcome {
    ItemOutcome::Refused(reason.to_owned())
}

fn by() -> String {
    "token:her".to_owned()
}

async fn what_was_created_is_found_with_its_items(stores: &Stores) {
    let ports = stores.open().await;
    let made = bulk(ADMIN, 1, 3);
    let targets = create(&ports, &made).await;
    let other = stores.open().await;
    assert_eq!(other.bulks.find_bulk(ADMIN, made.id).await.unwrap(), Some(made.clone()));
    let expected = (1..).zip(targets);
    let expected = expected.map(|(number, target)| BulkItem { number, target, handled: None });
    assert_eq!(items(&other, &made).await, expected.collect::<Vec<_>>());
    assert_eq!(other.bulks.find_bulk(ADMIN, bulk(ADMIN, 2, 0).id).await.unwrap(), None);
}

async fn bulks_are_listed_newest_first_and_page_by_page(stores: &Stores) {
    let ports = stores.open().await;
    for second in [2, 1, 3] {
        create(&ports, &bulk(ADMIN, second, 1)).await;
    }
    let page = async |before, limit| {
        let found = ports.bulks.list_bulks(ADMIN, before, limit).await.unwrap();
        found.iter().map(|bulk| bulk.created_at).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2).await, [at(3), at(2)]);
    assert_eq!(page(Some(bulk(ADMIN, 2, 1).id), 2).await, [at(1)]);
}

async fn items_are_read_in_order_and_page_by_page(stores: &Stores) {
    let ports = stores.open().await;
    let made = bulk(ADMIN, 1, 700);
    create(&ports, &made).await;
    let page = ports.bulks.bulk_items(ADMIN, made.id, 513, 100).await.unwrap();
    let numbers: Vec<u32> = page.iter().map(|item| item.number).collect();
    assert_eq!(numbers, (514..=613).collect::<Vec<_>>());
    assert_eq!(ports.bulks.bulk_items(ADMIN, made.id, 700, 100).await.unwrap(), []);
}

async fn a_change_is_decided_by_the_bulk_and_kept(stores: &Stores) {
    let ports = stores.open().await;
    let made = bulk(ADMIN, 1, 3);
    create(&ports, &made).await;
    let begin = BulkChange::Begin { until: 2 };
    let step = ports.bulks.change_bulk(ADMIN, made.id, &begin, at(5), None).await.unwrap().unwrap();
    assert_eq!((step.before.begun, step.after.unwrap().begun), (0, 2));
    let step = ports.bulks.change_bulk(ADMIN, made.id, &begin, at(6), None).await.unwrap().unwrap();
    assert_eq!(step.before.begun, 2, "somebody has begun these before");
    let paused = change(&ports, &made, BulkChange::Pause { by: by() }).await.unwrap();
    assert_eq!((paused.state, paused.changed_by.as_ref()), (BulkState::Paused, Some(&by())));
    assert_eq!(ports.bulks.find_bulk(ADMIN, made.id).await.unwrap(), Some(paused));
}

async fn a_change_that_is_refused_changes_nothing(stores: &Stores) {
    let ports = stores.open().await;
    let made = bulk(ADMIN, 1, 3);
    create(&ports, &made).await;
    let ended = change(&ports, &made, BulkChange::Cancel { by: by() }).await.unwrap();
    for refusal in [BulkChange::Resume { by: by() }, BulkChange::Begin { until: 1 }] {
        let refused = change(&ports, &made, refusal).await;
        assert_eq!(refused, Err(BulkRefusal { state: BulkState::Cancelled }));
    }
    assert_eq!(ports.bulks.find_bulk(ADMIN, made.id).await.unwrap(), Some(ended));
    let nobody = bulk(ADMIN, 2, 1);
    let resume = BulkChange::Resume { by: by() };
    let missing = ports.bulks.change_bulk(ADMIN, nobody.id, &resume, at(9), None).await.unwrap();
    assert_eq!(missing, None);
    assert_eq!(ports.bulks.record_items(ADMIN, nobody.id, &[], at(9)).await.unwrap(), None);
}

async fn an_item_keeps_its_first_outcome_and_is_counted_once(stores: &Stores) {
    let ports = stores.open().await;
    let made = bulk(ADMIN, 1, 4);
    create(&ports, &made).await;
    let fresh = given::execution_id(0);
    let first = [(1, ItemOutcome::Done(Some(fresh))), (2, refused("deleted ä"))];
    let after = record(&ports, &made, &first).await;
    assert_eq!((after.done, after.refused), (1, 1));
    let second =
        [(1, refused("too late")), (2, ItemOutcome::Done(None)), (3, ItemOutcome::Done(None))];
    let after = record(&ports, &made, &second).await;
    assert_eq!((after.done, after.refused, after.state), (2, 1, BulkState::Running));
    let handled: Vec<_> = items(&ports, &made).await.into_iter().map(|item| item.handled).collect();
    let expected = [
        Some((at(90), ItemOutcome::Done(Some(fresh)))),
        Some((at(90), refused("deleted ä"))),
        Some((at(90), ItemOutcome::Done(None))),
        None,
    ];
    assert_eq!(handled, expected);
}

async fn a_bulk_ends_with_its_last_item(stores: &Stores) {
    let ports = stores.open().await;
    let made = bulk(ADMIN, 1, 2);
    create(&ports, &made).await;
    assert_eq!(ports.bulks.open_bulks(None).await.unwrap().len(), 1);
    let outcomes = [(1, ItemOutcome::Done(None)), (2, refused("gone"))];
    let ended = record(&ports, &made, &outcomes).await;
    assert_eq!((ended.state, ended.ended_at()), (BulkState::Completed, Some(at(90))));
    assert_eq!(ports.bulks.open_bulks(None).await.unwrap(), []);
}

async fn bulks_that_have_not_ended_are_found_over_all_tenants(stores: &Stores) {
    let ports = stores.open().await;
    let slug = "acme".parse().unwrap();
    let other =
        ports.definitions.create_tenant(given::uuid(), &slug, "Acme", None).await.unwrap().id;
    let bulks = [bulk(other, 1, 1), bulk(ADMIN, 2, 1), bulk(ADMIN, 3, 1), bulk(ADMIN, 4, 0)];
    for made in &bulks {
        create(&ports, made).await;
    }
    change(&ports, &bulks[1], BulkChange::Pause { by: by() }).await.unwrap();
    let open = async |tenant| {
        let found = ports.bulks.open_bulks(tenant).await.unwrap();
        found.iter().map(|bulk| bulk.created_at).collect::<Vec<_>>()
    };
    assert_eq!(open(None).await, [at(1), at(2), at(3)]);
    assert_eq!(open(Some(ADMIN)).await, [at(2), at(3)]);
    change(&ports, &bulks[2], BulkChange::Cancel { by: by() }).await.unwrap();
    assert_eq!(open(None).await, [at(1), at(2)]);
}

async fn tenants_have_bulks_of_their_own(stores: &Stores) {
    let ports = stores.open().await;
    let made = bulk(ADMIN, 1, 2);
    create(&ports, &made).await;
    let other = TenantId(999);
    assert_eq!(ports.bulks.find_bulk(other, made.id).await.unwrap(), None);
    assert_eq!(ports.bulks.list_bulks(other, None, 10).await.unwrap(), []);
    assert_eq!(ports.bulks.bulk_items(other, made.id, 0, 10).await.unwrap(), []);
    let cancel = BulkChange::Cancel { by: by() };
    assert_eq!(ports.bulks.change_bulk(other, made.id, &cancel, at(9), None).await.unwrap(), None);
    assert_eq!(ports.bulks.find_bulk(ADMIN, made.id).await.unwrap(), Some(made));
}

async fn a_hundred_thousand_items_are_not_too_many(stores: &Stores) {
    let ports = stores.open().await;
    let made = bulk(ADMIN, 1, 100_000);
    let targets = create(&ports, &made).await;
    let last = ports.bulks.bulk_items(ADMIN, made.id, 99_999, 10).await.unwrap();
    assert_eq!(last.len(), 1);
    assert_eq!(Some(&last[0].target), targets.last());
}
