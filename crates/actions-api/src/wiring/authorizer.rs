//! The policy service, where one is named.

use std::sync::Arc;

use actions_domain::limits::POLICY_ANSWER_MAX;
use actions_domain::ports::authorizer::Authorizer;
use actions_handlers::egress::{Egress, Method, Request};
use actions_infra::policy::{PolicyService, Questions};
use actions_infra::system::SystemClock;
use async_trait::async_trait;
use url::Url;

use super::{WiringError, egress_policy};
use crate::config::EngineConfig;

/// Whether a text can be the address of a rule.
pub(crate) fn check_policy_url(raw: &str) -> Result<(), String> {
    let url = Url::parse(raw).map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("expected one like http://127.0.0.1:8181/v1/data/actions/allow".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL must hold no user name and no password".to_owned());
    }
    Ok(())
}

/// The service that is asked after the table of roles. It need not be there yet; while it is not,
/// nothing is allowed.
pub(super) fn authorizer(
    config: &EngineConfig,
) -> Result<Option<Arc<dyn Authorizer>>, WiringError> {
    let Some(url) = &config.policy_url else { return Ok(None) };
    check_policy_url(url.expose()).map_err(WiringError::Policy)?;
    let egress = Egress::new(egress_policy(&config.egress_allow)?)?;
    let gate = Gate { egress, url: url.expose().to_owned() };
    Ok(Some(Arc::new(PolicyService::new(Arc::new(gate), Arc::new(SystemClock)))))
}

/// The service is reached as everything is: an address that is not public has to be allowed.
struct Gate {
    egress: Egress,
    url: String,
}

#[async_trait]
impl Questions for Gate {
    async fn post(&self, body: Vec<u8>) -> Result<(u16, Vec<u8>), String> {
        let request = Request::new(&self.egress, Method::Post, &self.url);
        let request = request.map_err(|error| error.to_string())?;
        let request = request.header("content-type", "application/json").body(body);
        let answer = self.egress.send(request.timeout(POLICY_ANSWER_MAX)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.is_cut {
            return Err("it answers with too much".to_owned());
        }
        Ok((answer.status, answer.body))
    }
}
