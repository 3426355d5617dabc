//! The HTTP client behind the gate.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::CONNECT_TIME_MAX;
use super::error::EgressError;
use super::lookup::Resolver;
use super::policy::EgressPolicy;
use super::request::{BadHeader, Request, Response, check_header};

/// Idle connections that are kept per host: as many as a node usually has attempts. With fewer, a
/// busy host's connections are closed and opened again all the time.
const IDLE_MAX: usize = 256;
/// How long they are kept: after this a name is resolved and checked again.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// Most headers of an answer that are looked at.
const HEADERS_MAX: usize = 64;

/// Chooses the process's cryptography. First thing in `main`; later calls change nothing.
pub fn install_crypto() {
    // The error only says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(super) struct Clients {
    verified: reqwest::Client,
    /// For definitions that switch certificate checks off. Built on first use.
    unverified: OnceLock<reqwest::Client>,
    resolver: Resolver,
    policy: Arc<EgressPolicy>,
}

impl Clients {
    pub(super) fn new(
        policy: &Arc<EgressPolicy>,
        resolver: &Resolver,
    ) -> Result<Self, EgressError> {
        let verified =
            client(tls(policy, true)?, resolver).map_err(|error| setup(cause(&error)))?;
        let (resolver, policy) = (resolver.clone(), policy.clone());
        Ok(Self { verified, unverified: OnceLock::new(), resolver, policy })
    }

    fn unverified(&self) -> Result<&reqwest::Client, EgressError> {
        if let Some(client) = self.unverified.get() {
            return Ok(client);
        }
        let tls = tls(&self.policy, false)?;
        let built = client(tls, &self.resolver).map_err(|error| setup(cause(&error)))?;
        Ok(self.unverified.get_or_init(|| built))
    }

    pub(super) async fn send(&self, request: Request) -> Result<Response, EgressError> {
        let client = if request.verifies { &self.verified } else { self.unverified()? };
        let host = request.host();
        let limit = request.timeout;
        let cap = request.answer_bytes_max;
        let headers = header_map(&request.headers)
            .map_err(|error| EgressError::Request { detail: error.to_string() })?;
        let mut answer = client
            .request(request.method.to_http(), request.url)
            .headers(headers)
            .body(request.body)
            .timeout(limit)
            .send()
            .await
            .map_err(|error| translated(error, &host, limit))?;

        let mut body = Vec::new();
        let mut is_cut = false;
        while let Some(chunk) =
            answer.chunk().await.map_err(|error| translated(error, &host, limit))?
        {
            let room = cap - body.len();
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if chunk.len() > room {
                is_cut = true;
                break;
            }
        }
        let headers = answer.headers().iter().take(HEADERS_MAX);
        let headers = headers
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect();
        Ok(Response { status: answer.status().as_u16(), headers, body, is_cut })
    }
}

fn setup(detail: String) -> EgressError {
    EgressError::Setup { detail }
}

/// How TLS is spoken: with the public authorities and those of the policy, or with any
/// certificate.
pub(super) fn tls(
    policy: &EgressPolicy,
    verifies: bool,
) -> Result<rustls::ClientConfig, EgressError> {
    let builder = tls_builder().map_err(|error| setup(error.to_string()))?;
    if !verifies {
        let verifier = Arc::new(AnyCertificate(provider()));
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        return Ok(builder.with_no_client_auth());
    }
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in &policy.roots {
        let root = CertificateDer::from(root.clone());
        roots.add(root).map_err(|error| setup(error.to_string()))?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn client(
    mut tls: rustls::ClientConfig,
    resolver: &Resolver,
) -> Result<reqwest::Client, reqwest::Error> {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(resolver.clone()))
        .redirect(reqwest::redirect::Policy::none())
        // Every repetition must be an attempt with a record.
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIME_MAX)
        .pool_max_idle_per_host(IDLE_MAX)
        .pool_idle_timeout(IDLE_TIME_MAX)
        .build()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn tls_builder()
-> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, BadHeader> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        check_header(name, value)?;
        let bad = || BadHeader::Name { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
        // Keeps it out of debug output and of HTTP/2's shared tables.
        value.set_sensitive(key == "authorization");
        map.insert(key, value);
    }
    Ok(map)
}

/// Translates a client's error. The gate's own refusal comes back from the resolver inside it.
fn translated(error: reqwest::Error, host: &str, limit: Duration) -> EgressError {
    let error = error.without_url();
    if let Some(refusal) = refusal(&error) {
        return refusal.clone();
    }
    let host = host.to_owned();
    if error.is_timeout() && !error.is_connect() {
        return EgressError::Timeout { host, limit };
    }
    let detail = cause(&error);
    if error.is_connect() {
        EgressError::Connect { host, detail }
    } else if error.is_builder() {
        EgressError::Request { detail }
    } else {
        EgressError::Exchange { host, detail }
    }
}

fn refusal(error: &reqwest::Error) -> Option<&EgressError> {
    let mut source = std::error::Error::source(error);
    while let Some(current) = source {
        if let Some(refusal) = current.downcast_ref::<EgressError>() {
            return Some(refusal);
        }
        source = current.source();
    }
    None
}

/// The innermost reason: the outer ones only say that something failed.
fn cause(error: &reqwest::Error) -> String {
    let mut current: &dyn std::error::Error = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}

/// Accepts any certificate, but insists that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
