//! `/v1/admin/nodes`

use actions_app::queries::nodes::list_nodes;
use actions_domain::ports::leases::Peer;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Operator;
use crate::page::json;
use crate::problem::Problem;
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// All nodes: a cluster has few, so they are not paged.
#[derive(Debug, Serialize, ToSchema)]
struct NodesView {
    items: Vec<NodeView>,
}

/// A process that runs work, as of its last beat.
#[derive(Debug, Serialize, ToSchema)]
struct NodeView {
    /// Of one start of the process; never used again.
    id: i32,
    name: String,
    version: String,
    /// `all`, or `worker` when it serves no API.
    role: String,
    /// False: others are about to take its partitions.
    alive: bool,
    /// It stops, and takes nothing up any more.
    draining: bool,
    /// The partitions that it owns.
    partitions: Vec<u16>,
    /// Attempts that run.
    running: u32,
    /// Items that wait in its memory.
    waiting: u32,
    joined_at: Time,
    /// How long ago its last beat was, by the clock of the store.
    last_beat_ms: u64,
}

impl From<Peer> for NodeView {
    fn from(peer: Peer) -> Self {
        Self {
            id: peer.node.0,
            name: peer.name,
            version: peer.vitals.version,
            role: peer.vitals.role,
            alive: peer.alive,
            draining: peer.vitals.is_draining,
            partitions: peer.parts.iter().map(|part| part.0).collect(),
            running: peer.vitals.running,
            waiting: peer.vitals.waiting,
            joined_at: peer.joined_at.into(),
            last_beat_ms: u64::try_from(peer.silent_for.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Lists the nodes that run work.
#[utoipa::path(get, path = "/nodes", tag = "process", operation_id = "list_nodes",
    responses((status = 200, body = NodesView)))]
async fn list(State(api): State<Api>, Operator(caller): Operator) -> Result<Response, Problem> {
    let nodes = list_nodes(&api.app, &caller).await?;
    Ok(json(&NodesView { items: nodes.into_iter().map(NodeView::from).collect() }))
}
