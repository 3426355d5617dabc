//! Bulks whose records an operator or an older program has spoilt.

use actions_domain::bulk::{Bulk, BulkSpec, Chosen, Operation};
use actions_domain::id::{BulkId, TenantId};
use actions_domain::ports::bulks::Bulks;

use super::fixture::open;

#[tokio::test]
async fn a_bulk_that_cannot_be_read_neither_hides_another_one_nor_ends_the_list() {
    let database = open().await;
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let ids = [1, 2, 3, 4].map(|number| BulkId::mint(at, [number; 10]));
    for id in ids {
        let spec = BulkSpec {
            operation: Operation::Requeue,
            chosen: Chosen::Ids,
            canary: None,
            rate: None,
            reason: None,
        };
        let bulk = Bulk::new(id, TenantId::ADMIN, spec, "me".to_owned(), (1, false), at);
        database.store.create_bulk(&bulk, &[], None).await.unwrap();
    }
    for spoilt in &ids[1..3] {
        sqlx::query("update engine.bulk set record = '{}' where id = $1")
            .bind(spoilt.0)
            .execute(database.store.pool())
            .await
            .unwrap();
    }
    let store = &database.store;
    let listed = store.list_bulks(TenantId::ADMIN, None, 2).await.unwrap();
    assert_eq!(listed.iter().map(|bulk| bulk.id).collect::<Vec<_>>(), [ids[3], ids[0]]);
    let open = store.open_bulks(None).await.unwrap();
    assert_eq!(open.iter().map(|bulk| bulk.id).collect::<Vec<_>>(), [ids[0], ids[3]]);
}
