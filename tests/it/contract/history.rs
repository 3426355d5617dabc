//! What every `History` must do: show each thing once, newest first, to its own tenant.

use actions_domain::event::Event;
use actions_domain::execution::Execution;
use actions_domain::id::{ActionId, EventId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::history::{DeadLetterQuery, EventQuery, ExecutionQuery};
use actions_domain::tenant::TenantSlug;
use actions_domain::work::{Item, Work};

use super::given::{self, PART};
use super::stores::Node;

mod dead_letter;
mod event;
mod execution;
mod metrics;

const ADMIN: TenantId = TenantId::ADMIN;

fn events(tenant: TenantId) -> EventQuery {
    EventQuery { tenant, event_type: None, before: None, limit: 100 }
}

fn executions() -> ExecutionQuery {
    ExecutionQuery { tenant: ADMIN, action: None, statuses: Vec::new(), before: None, limit: 100 }
}

fn letters() -> DeadLetterQuery {
    DeadLetterQuery { tenant: ADMIN, fingerprint: None, action: None, before: None, limit: 100 }
}

async fn find(node: &Node, id: ExecutionId) -> Execution {
    node.ports.history.find_execution(ADMIN, id).await.unwrap().expect("it was accepted")
}

/// A JSON text of so many bytes, in fewer characters.
fn text_of(bytes: usize) -> Json {
    let wide = "ü".repeat(1_000);
    Json::parse(&format!("\"{wide}{}\"", "x".repeat(bytes - 2_002))).unwrap()
}

/// Works of the actions 1 and 2 in turns, each newer than the one before.
async fn spread(node: &Node, count: i64) -> Vec<Item> {
    let ingests = (0..count).map(|at| {
        let event = Event { id: EventId(given::event_id(at * 10).0), ..given::event() };
        let action = ActionId(if at % 2 == 0 { 1 } else { 2 });
        let work = Work { id: given::execution_id(at * 10), action, ..given::work(Some(&event)) };
        given::ingest_of(event, vec![(PART, work)])
    });
    node.enqueue_these(PART, ingests.collect()).await
}

async fn create_tenant(node: &Node, slug: &str) -> TenantId {
    let slug = TenantSlug::parse(slug).unwrap();
    let tenant = node.ports.definitions.create_tenant(given::uuid(), &slug, "A tenant", None).await;
    tenant.unwrap().id
}
