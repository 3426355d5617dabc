//! What every `Store` must do: accept, number, move and end work.

use std::time::Duration;

use actions_domain::id::TenantId;
use actions_domain::ports::definitions::Expected;
use actions_domain::ports::store::DueQuery;
use actions_domain::tenant::TenantSlug;
use actions_domain::work::{Cancel, Item, Later, Part};

use super::given;
use super::stores::Node;

mod batch;
mod cancel;
mod claim;
mod dead_letter;
mod gathering;
mod intake;
mod item;
mod later;
mod log;
mod repetition;
mod report;

fn places(items: &[Item]) -> Vec<i64> {
    items.iter().map(|item| item.ord.0).collect()
}

fn cancel(item: &Item) -> Cancel {
    Cancel { tenant: item.work.tenant, execution: item.work.id, by: None }
}

async fn due(node: &Node, part: Part, ahead_seconds: u64) -> Vec<Later> {
    let ahead = Duration::from_secs(ahead_seconds);
    node.ports.store.due(DueQuery { part, ahead, limit: 1_000 }).await.unwrap()
}

async fn find(node: &Node, item: &Item) -> actions_domain::execution::Execution {
    let found = node.ports.history.find_execution(item.work.tenant, item.work.id).await;
    found.unwrap().expect("every accepted work can be found")
}

async fn create_tenant(node: &Node, slug: &str) -> TenantId {
    let slug = TenantSlug::parse(slug).unwrap();
    let tenant = node.ports.definitions.create_tenant(given::uuid(), &slug, "A tenant", None).await;
    tenant.unwrap().id
}

/// Changes the definitions of the tenant `admin` and answers their version.
async fn save_action(node: &Node, name: &str) -> i64 {
    let spec = given::action_spec(name);
    let saved = (node.ports.definitions)
        .save_action(TenantId::ADMIN, given::uuid(), &spec, Expected::Absent, None)
        .await;
    saved.unwrap().version
}
