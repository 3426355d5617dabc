//! What running attempts told of themselves: kept until the end of their execution.

use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::execution::report::{Report, ReportOf};
use actions_domain::json::Json;
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Fence, Item};
use chrono::TimeDelta;

use super::super::given::{self, OTHER_PART, PART};
use super::super::stores::{Node, Stores};

contract! { Store:
    a_report_is_found_until_its_execution_ends,
    the_last_report_of_an_execution_stands,
    a_report_outlives_a_retry_and_its_owner,
    a_report_of_a_finished_execution_is_left_out,
    a_report_under_an_old_epoch_is_refused,
}

fn told(item: &Item, attempt: u32, checkpoint: &str) -> ReportOf {
    let report = Report {
        attempt,
        told_at: Timestamp::UNIX_EPOCH + TimeDelta::seconds(i64::from(attempt)),
        progress: Some(0.25),
        note: Some("a quarter".to_owned()),
        checkpoint: Some(Json::parse(checkpoint).unwrap()),
    };
    ReportOf { execution: item.work.id, tenant: item.work.tenant, part: item.part, report }
}

async fn report(node: &Node, item: &Item) -> Option<Report> {
    node.ports.store.report(item.work.id).await.unwrap()
}

async fn a_report_is_found_until_its_execution_ends(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    let other = node.enqueue(OTHER_PART, 1).await.remove(0);
    let bare = ReportOf {
        report: Report {
            progress: None,
            note: None,
            checkpoint: None,
            ..told(&other, 1, "0").report
        },
        ..told(&other, 1, "0")
    };
    let reports = vec![told(&items[0], 1, r#"{"page": 7}"#), bare.clone()];
    node.commit(Commit { reports: reports.clone(), ..node.batch() }).await.unwrap();

    assert_eq!(report(&node, &items[0]).await, Some(reports[0].report.clone()));
    assert_eq!(report(&node, &other).await, Some(bare.report));
    assert_eq!(report(&node, &items[1]).await, None);
    assert_eq!(node.ports.store.reported(PART).await.unwrap(), [items[0].work.id]);

    node.finish(&items[0]).await.unwrap();
    assert_eq!(report(&node, &items[0]).await, None);
    assert!(node.ports.store.reported(PART).await.unwrap().is_empty());
    assert!(report(&node, &other).await.is_some());
}

async fn the_last_report_of_an_execution_stands(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    let reports = vec![told(&item, 1, "1"), told(&item, 1, "2")];
    node.commit(Commit { reports, ..node.batch() }).await.unwrap();
    assert_eq!(report(&node, &item).await, Some(told(&item, 1, "2").report));

    let reports = vec![told(&item, 2, "3")];
    node.commit(Commit { reports, ..node.batch() }).await.unwrap();
    assert_eq!(report(&node, &item).await, Some(told(&item, 2, "3").report));
}

async fn a_report_outlives_a_retry_and_its_owner(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    let retries = vec![given::retry(&item, node.id, Duration::ZERO)];
    let reports = vec![told(&item, 1, "1")];
    node.commit(Commit { retries, reports, ..node.batch() }).await.unwrap();

    let next = stores.take_over("next", &node).await;
    assert_eq!(report(&next, &item).await, Some(told(&item, 1, "1").report));
    assert_eq!(next.ports.store.reported(PART).await.unwrap(), [item.work.id]);
}

async fn a_report_of_a_finished_execution_is_left_out(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    node.finish(&items[0]).await.unwrap();
    let reports = items.iter().map(|item| told(item, 1, "1")).collect();
    let finishes = vec![node.end(&items[1])];
    node.commit(Commit { reports, finishes, ..node.batch() }).await.unwrap();

    assert!(node.ports.store.reported(PART).await.unwrap().is_empty());
}

async fn a_report_under_an_old_epoch_is_refused(stores: &Stores) {
    let former = stores.owner("former").await;
    let item = former.enqueue(PART, 1).await.remove(0);
    let owner = stores.take_over("owner", &former).await;

    let reports = vec![told(&item, 1, "1")];
    let late = former.commit(Commit { reports: reports.clone(), ..former.batch() }).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
    let fences: Vec<Fence> = vec![owner.fence(OTHER_PART)];
    let unfenced = owner.commit(Commit { reports, fences, ..owner.batch() }).await;
    assert!(matches!(unfenced, Err(StoreError::Refused { .. })), "{unfenced:?}");
    assert_eq!(report(&owner, &item).await, None);
}
