//! As `noop`, with an affinity key for every execution and a rate for every tenant.

use std::sync::Arc;

use actions_app::commands::control_tenant::set_limits;
use actions_domain::limits::RATE_MAX;
use actions_domain::tenant::TenantLimits;
use serde_json::json;

use super::super::error::CliError;
use super::super::seed::operator;
use super::super::server::chain;
use super::noop::{Noop, flood, spec};
use super::{Measured, Running};

/// Tenants that share the work. A rate of one tenant cannot be set so high that it would not
/// bind.
const TENANTS: usize = 4;

pub(super) async fn run(bench: &Running<'_>) -> Result<Measured, CliError> {
    let app = &bench.engine.app;
    let handler = Arc::new(Noop::new(app.ports.clock.clone()));
    bench.install(handler.clone());
    let mut spec = spec();
    // Events of one batch have numbers of their own, so each tenant has as many keys.
    spec["affinity"] = json!({ "key": "item:{data.number}", "mode": "mutate" });
    let mut targets = Vec::with_capacity(TENANTS);
    for _ in 0..TENANTS {
        let target = bench.target(spec.clone()).await?;
        let limits =
            TenantLimits { rate_limit_per_minute: Some(RATE_MAX), ..TenantLimits::default() };
        let limited = set_limits(app, &operator(app, target.tenant), target.tenant, limits).await;
        limited.map_err(|error| CliError::failed(chain(&error)))?;
        targets.push(target);
    }
    flood(bench, &handler, targets.into()).await
}
