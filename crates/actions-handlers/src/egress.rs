//! The one gate for every outbound dial.
//!
//! Tenants choose where we call, so every address is treated as hostile: a URL is parsed once,
//! a literal address is checked before the dial, a name is resolved once, *all* its answers are
//! checked, and only a checked address is dialled. Redirects, proxies and hidden repetitions
//! are off, answers are capped in size and time. There is no switch that turns the gate off;
//! development and tests open networks with [`EgressPolicy::allow`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actions_domain::tenant::reach::Reach;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use url::{Host, Url};

/// Which addresses are forbidden, and why.
pub mod address;
mod client;
mod error;
mod lookup;
mod policy;
mod request;

pub use client::install_crypto;
pub use error::{EgressError, Refusal};
pub use lookup::{Lookup, SystemLookup};
pub use policy::EgressPolicy;
pub use request::{BadHeader, Method, Request, Response, check_header};

use client::Clients;
use lookup::Resolver;

/// Resolving a name takes at most this long.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(5);
/// Connecting takes at most this long.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Names that lead to a cloud's metadata on every cloud that knows them.
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "metadata.goog"];

/// The gate. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
}

struct Inner {
    policy: Arc<EgressPolicy>,
    resolver: Resolver,
    clients: Clients,
}

impl Egress {
    /// Opens a gate with the system's name resolution.
    ///
    /// # Errors
    /// `Setup` when a root certificate of the policy cannot be used.
    pub fn new(policy: EgressPolicy) -> Result<Self, EgressError> {
        Self::with_lookup(policy, Arc::new(SystemLookup::default()))
    }

    /// Opens a gate that resolves names with `lookup`.
    ///
    /// # Errors
    /// `Setup` when a root certificate of the policy cannot be used.
    pub fn with_lookup(policy: EgressPolicy, lookup: Arc<dyn Lookup>) -> Result<Self, EgressError> {
        let policy = Arc::new(policy);
        let resolver = Resolver::new(policy.clone(), lookup);
        let clients = Clients::new(&policy, &resolver)?;
        Ok(Self { inner: Arc::new(Inner { policy, resolver, clients }) })
    }

    /// The gate as one tenant has it. It shares no connection with other lists: one that is open was
    /// checked by somebody else's rules.
    ///
    /// # Errors
    /// `Setup` when a root certificate of the policy cannot be used.
    pub fn within(&self, reach: &Reach) -> Result<Self, EgressError> {
        let policy = EgressPolicy { reach: reach.clone(), ..self.policy().clone() };
        let policy = Arc::new(policy);
        let resolver = self.inner.resolver.under(policy.clone());
        let clients = Clients::new(&policy, &resolver)?;
        Ok(Self { inner: Arc::new(Inner { policy, resolver, clients }) })
    }

    pub fn policy(&self) -> &EgressPolicy {
        &self.inner.policy
    }

    /// Parses a URL and checks all that can be known without resolving its name. Called when a
    /// definition is saved, and again before each dial.
    ///
    /// # Errors
    /// `Url` when it is none, `Forbidden` when it may not be called.
    pub fn check_url(&self, raw: &str) -> Result<Url, EgressError> {
        let url = Url::parse(raw.trim())
            .map_err(|error| EgressError::Url { reason: error.to_string() })?;
        self.check_parsed(&url)?;
        Ok(url)
    }

    fn check_parsed(&self, url: &Url) -> Result<(), EgressError> {
        let policy = &self.inner.policy;
        if !matches!(url.scheme(), "http" | "https") {
            let reason = format!("its scheme is {}, allowed are http and https", url.scheme());
            return Err(EgressError::Url { reason });
        }
        if !url.username().is_empty() || url.password().is_some() {
            let reason = "it holds a user name or password; use the handler's auth fields";
            return Err(EgressError::Url { reason: reason.to_owned() });
        }
        let host =
            url.host().ok_or_else(|| EgressError::Url { reason: "it has no host".into() })?;
        let port = url.port_or_known_default().unwrap_or(0);
        if !policy.http_ports.iter().any(|range| range.contains(&port)) {
            let reason = format!("port {port} is not open");
            return Err(EgressError::forbidden(host, Refusal::Port, reason));
        }
        policy.check_host(&host)
    }

    /// Sends a request and reads its answer, up to the request's limits. Any status is an
    /// answer, a redirect too.
    ///
    /// # Errors
    /// Why there is no answer. No error shows more of the URL than its host.
    pub async fn send(&self, request: Request) -> Result<Response, EgressError> {
        self.check_parsed(&request.url)?;
        self.inner.clients.send(request).await
    }

    /// Resolves a host for a client that dials by itself: one of the answers must be dialled,
    /// and `host` must be kept for TLS. With a literal address nothing is resolved.
    ///
    /// # Errors
    /// `Forbidden` when any of the addresses may not be called, `Dns` when there is none.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, EgressError> {
        let host = parsed_host(host)?;
        self.inner.policy.check_host(&host)?;
        let ips = match host {
            Host::Ipv4(ip) => vec![IpAddr::V4(ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(ip)],
            Host::Domain(name) => self.inner.resolver.resolve(&name).await?,
        };
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// Checks a mail host as far as that is possible without resolving its name.
    ///
    /// # Errors
    /// `Forbidden` or `Url`, as for [`Egress::check_url`].
    pub fn check_smtp_host(&self, host: &str, port: u16) -> Result<(), EgressError> {
        let policy = &self.inner.policy;
        let parsed = parsed_host(host)?;
        if !policy.smtp_ports.iter().any(|range| range.contains(&port)) {
            let reason = format!("port {port} is not open for mail");
            return Err(EgressError::forbidden(host, Refusal::Port, reason));
        }
        policy.check_host(&parsed)
    }

    /// Opens a connection for a client that speaks by itself.
    ///
    /// # Errors
    /// As for [`Egress::resolve`], and `Connect`.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, EgressError> {
        let addresses = self.resolve(host, port).await?;
        let failed = |detail: String| EgressError::Connect { host: host.to_owned(), detail };
        #[expect(clippy::disallowed_methods, reason = "these addresses were just checked")]
        let dial = TcpStream::connect(addresses.as_slice());
        match tokio::time::timeout(CONNECT_TIME_MAX, dial).await {
            Ok(connected) => connected.map_err(|error| failed(error.to_string())),
            Err(_elapsed) => Err(failed("no answer in time".to_owned())),
        }
    }

    /// How such a client speaks TLS.
    ///
    /// # Errors
    /// `Setup` when TLS cannot be set up.
    pub(crate) fn tls(&self, verifies: bool) -> Result<ClientConfig, EgressError> {
        client::tls(&self.inner.policy, verifies)
    }

    /// Opens and closes a connection to a mail host, for health checks.
    ///
    /// # Errors
    /// As for [`Egress::check_smtp_host`] and [`Egress::send`].
    pub async fn reach_smtp(&self, host: &str, port: u16) -> Result<(), EgressError> {
        self.check_smtp_host(host, port)?;
        self.dial(host, port).await.map(|_stream| ())
    }

    /// As [`Egress::reach_smtp`], for the host of a URL.
    ///
    /// # Errors
    /// As for [`Egress::check_url`] and [`Egress::send`].
    pub async fn reach_url(&self, raw: &str) -> Result<(), EgressError> {
        let url = self.check_url(raw)?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(0);
        self.dial(host, port).await.map(|_stream| ())
    }
}

/// Parses a bare host as the URL parser would, so that no form of an address slips past as a
/// name.
fn parsed_host(raw: &str) -> Result<Host, EgressError> {
    let raw = raw.trim();
    if let Ok(ip) = raw.parse() {
        return Ok(Host::Ipv6(ip));
    }
    Host::parse(raw).map_err(|error| EgressError::Url { reason: format!("host {raw:?}: {error}") })
}

#[cfg(test)]
mod tests;
