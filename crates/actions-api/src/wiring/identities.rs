//! The identity provider, where one is named.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::ports::identities::Identities;
use actions_handlers::egress::{Egress, Method, Request};
use actions_infra::oidc::{Documents, Oidc, OidcOptions, algorithm};
use actions_infra::system::SystemClock;
use async_trait::async_trait;

use super::{WiringError, egress_policy};
use crate::config::{EngineConfig, OidcConfig};

/// How long the provider may take for one document. A caller waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether an algorithm can be asked for.
pub(crate) fn check_token_algorithm(name: &str) -> Result<(), String> {
    algorithm(name).map(drop)
}

/// The provider whose tokens are accepted. It need not be there yet.
pub(crate) fn identities(
    oidc: &OidcConfig,
    config: &EngineConfig,
) -> Result<Arc<dyn Identities>, WiringError> {
    let algorithms = oidc.algorithms.iter().map(|name| algorithm(name));
    let options = OidcOptions {
        issuer: oidc.issuer.clone(),
        audience: oidc.audience.clone(),
        algorithms: algorithms.collect::<Result<_, _>>().map_err(WiringError::Identities)?,
        tenant_claim: oidc.tenant_claim.clone(),
        role_claim: oidc.role_claim.clone(),
    };
    let gate = Gate(Egress::new(egress_policy(&config.egress_allow)?)?);
    Ok(Arc::new(Oidc::new(options, Arc::new(gate), Arc::new(SystemClock))))
}

/// The provider is reached as everything is: an address that is not public has to be allowed.
struct Gate(Egress);

#[async_trait]
impl Documents for Gate {
    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let told = |error| format!("{url}: {error}");
        let request = Request::new(&self.0, Method::Get, url).map_err(told)?;
        let answer = self.0.send(request.timeout(TIMEOUT)).await.map_err(told)?;
        match answer.status {
            _ if answer.is_cut => Err(format!("{url} answers with too much")),
            200 => Ok(answer.body),
            status => Err(format!("{url} answers {status}")),
        }
    }
}
