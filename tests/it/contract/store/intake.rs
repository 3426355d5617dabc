//! Rows that a user's own transaction left.

use actions_domain::id::TenantId;
use actions_domain::ports::store::{IntakeRow, StoreError};
use actions_domain::work::{Commit, IntakeRefusal, Submission, Submitted};
use uuid::Uuid;

use super::super::given::{self, PART};
use super::super::stores::Stores;
use super::save_action;

contract! { Store:
    intake_rows_appear_with_the_commit_of_their_transaction,
    intake_rows_go_with_their_submission_or_not_at_all,
    an_intake_row_stays_when_its_own_submission_is_stale,
    refused_intake_rows_are_kept_with_the_reason,
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
        submissions: vec![Submission {
            intake: Some(row.id),
            ..given::submission(vec![ingest.clone()])
        }],
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

async fn an_intake_row_stays_when_its_own_submission_is_stale(stores: &Stores) {
    let node = stores.owner("node").await;
    stores.emit("orders.paid", true).await;
    stores.emit("orders.sent", true).await;
    let mut rows = node.ports.store.intake(10).await.unwrap();
    save_action(&node, "new").await;

    let of = |row: &IntakeRow, defs| Submission {
        defs,
        intake: Some(row.id),
        ..given::submission(vec![given::ingest(PART)])
    };
    let submissions = vec![of(&rows[0], None), of(&rows[1], Some(0))];
    let receipt = node.commit(Commit { submissions, ..node.batch() }).await.unwrap();

    assert!(matches!(receipt.submissions[1], Submitted::Stale { .. }), "{receipt:?}");
    assert_eq!(node.ports.store.intake(10).await.unwrap(), [rows.remove(1)]);
    assert_eq!(node.log(PART).await.len(), 1);
}

async fn refused_intake_rows_are_kept_with_the_reason(stores: &Stores) {
    let node = stores.owner("node").await;
    stores.emit("orders.paid", true).await;
    stores.emit("orders.sent", true).await;
    let rows = node.ports.store.intake(10).await.unwrap();
    let refuse = |row: &IntakeRow| IntakeRefusal { row: row.id, reason: "too odd".to_owned() };

    let batch = Commit { refusals: rows.iter().map(refuse).collect(), ..node.batch() };
    node.commit(batch).await.unwrap();

    assert!(node.ports.store.intake(10).await.unwrap().is_empty());
    let kept = node.ports.history.refused_intake(TenantId::ADMIN, 10).await.unwrap();
    let newest = node.ports.history.refused_intake(TenantId::ADMIN, 1).await.unwrap();
    let kept: Vec<_> = kept.into_iter().map(|one| (one.row, one.reason)).collect();
    let expected = [1, 0].map(|at: usize| (rows[at].clone(), "too odd".to_owned()));
    assert_eq!(kept, expected, "newest first");
    assert_eq!(newest.len(), 1);
    assert!(node.ports.history.refused_intake(TenantId(404), 10).await.unwrap().is_empty());
}
