//! Names to addresses, all of them checked.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::error::EgressError;
use super::policy::EgressPolicy;
use super::{CONNECT_TIME_MAX, LOOKUP_TIME_MAX};

/// Asks for the addresses of a name.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// # Errors
    /// Those of the resolution.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Name resolution of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Resolves a name once and lets nothing pass unless every answer may be called. The HTTP
/// client dials what this answers, so nobody resolves the name a second time.
#[derive(Clone)]
pub(super) struct Resolver {
    policy: Arc<EgressPolicy>,
    lookup: Arc<dyn Lookup>,
}

impl Resolver {
    pub(super) fn new(policy: Arc<EgressPolicy>, lookup: Arc<dyn Lookup>) -> Self {
        Self { policy, lookup }
    }

    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, EgressError> {
        debug_assert!(LOOKUP_TIME_MAX < CONNECT_TIME_MAX, "a lookup is part of a connect");
        let failed = |detail: String| EgressError::Dns { host: name.to_owned(), detail };
        let answers = tokio::time::timeout(LOOKUP_TIME_MAX, self.lookup.lookup(name))
            .await
            .map_err(|_elapsed| failed("no answer in time".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        if answers.is_empty() {
            return Err(failed("it has no address".to_owned()));
        }
        for answer in &answers {
            self.policy.check_answer(*answer, name)?;
        }
        Ok(answers)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let answers = Resolver::resolve(&resolver, name.as_str()).await?;
            let addresses = answers.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
