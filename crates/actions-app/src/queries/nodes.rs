//! The nodes of the cluster.

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::TenantId;
use actions_domain::ports::leases::Peer;

use crate::app::App;
use crate::queries::QueryError;

/// Lists the nodes that are alive, and those whose partitions nobody has taken yet, by number.
pub async fn list_nodes(app: &App, caller: &AuthorizationContext) -> Result<Vec<Peer>, QueryError> {
    app.require(caller, Permission::ManageTenants, TenantId::ADMIN).await?;
    Ok(app.ports.leases.nodes().await?)
}
