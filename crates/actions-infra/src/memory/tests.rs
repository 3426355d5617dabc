//! What only the memory adapter has to show; the rest is in the contracts of the ports.

use std::sync::Arc;

use actions_domain::id::TenantId;
use actions_domain::json::Json;
use actions_domain::ports::store::Store;
use actions_domain::work::{Commit, IntakeRefusal};

use super::Memory;
use crate::system::SystemClock;

#[tokio::test]
async fn the_intake_is_emptied_by_the_commit_that_names_its_rows() {
    let memory = Memory::new(Arc::new(SystemClock), 2);
    let body = |text: &str| Json::parse(text).unwrap();
    let first = memory.insert_intake(TenantId::ADMIN, body(r#"{"type":"a.b"}"#));
    let second = memory.insert_intake(TenantId::ADMIN, body(r#"{"type":"c.d"}"#));

    let refusals = vec![IntakeRefusal { row: first, reason: String::new() }];
    memory.commit(Commit { refusals, ..Commit::default() }).await.unwrap();

    let left = memory.intake(10).await.unwrap();
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [second]);
}
