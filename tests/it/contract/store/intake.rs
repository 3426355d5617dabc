//! Rows that a user's own transaction left.

use actions_domain::id::TenantId;
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Submission, Submitted};
use uuid::Uuid;

use super::super::given::{self, PART};
use super::super::stores::Stores;
use super::save_action;

contract! { Store:
    intake_rows_appear_with_the_commit_of_their_transaction,
    intake_rows_go_with_their_submission_or_not_at_all,
    intake_rows_stay_when_their_submission_is_stale,
}

async fn intake_rows_appear_with_the_commit_of_their_transaction(stores: &Stores) {
    let node = stores.owner("node").await;
    stores.emit("orders.lost", false).await;
    stores.emit("orders.first", true).await;
    stores.emit("orders.second", true).await;

    let rows = node.ports.store.intake(10).await.unwrap();
    let one = node.ports.store.intake(1).await.unwrap();

    let bodies: Vec<serde_json::Value> = rows.iter().map(|row| row.body.to_value()).collect();
    let types: Vec<&str> = bodies.iter().map(|body| body["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["orders.first", "orders.second"]);
    for (row, body) in rows.iter().zip(&bodies) {
        assert_eq!(row.tenant, TenantId::ADMIN);
        assert!(body["id"].as_str().unwrap().parse::<Uuid>().is_ok());
        assert!(row.body.as_str().contains("1.50"), "the data stay as they were sent: {body}");
    }
    assert_eq!(one, rows[..1]);
}

async fn intake_rows_go_with_their_submission_or_not_at_all(stores: &Stores) {
    let left = stores.owner("left").await;
    stores.emit("orders.paid", true).await;
    let right = stores.take_over("right", &left).await;
    let row = right.ports.store.intake(10).await.unwrap().remove(0);
    let ingest = given::ingest(PART);
    let moved = |batch: Commit| Commit {
        submissions: vec![given::submission(vec![ingest.clone()])],
        intake: vec![row.id],
        ..batch
    };

    let late = left.commit(moved(left.batch())).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
    assert_eq!(right.ports.store.intake(10).await.unwrap().len(), 1);
    assert!(right.log(PART).await.is_empty());

    right.commit(moved(right.batch())).await.unwrap();
    assert!(right.ports.store.intake(10).await.unwrap().is_empty());
    assert_eq!(right.log(PART).await.len(), 1);
}

async fn intake_rows_stay_when_their_submission_is_stale(stores: &Stores) {
    let node = stores.owner("node").await;
    stores.emit("orders.paid", true).await;
    let row = node.ports.store.intake(10).await.unwrap().remove(0);
    save_action(&node, "new").await;

    let stale = Submission { defs: Some(0), ..given::submission(vec![given::ingest(PART)]) };
    let batch = Commit { submissions: vec![stale], intake: vec![row.id], ..node.batch() };
    let receipt = node.commit(batch).await.unwrap();

    assert!(matches!(receipt.submissions[0], Submitted::Stale { .. }), "{receipt:?}");
    assert_eq!(node.ports.store.intake(10).await.unwrap(), [row]);
}
