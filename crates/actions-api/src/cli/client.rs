//! The command line's own HTTP client.
//!
//! Its address is chosen by whoever types, not by a tenant, so it does not pass the egress gate.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;
use url::Url;

use super::error::CliError;
use super::exit::Exit;
use crate::config::Secret;

/// How much longer than the server's own wait an answer may take.
const WAIT_EXTRA: Duration = Duration::from_secs(10);
/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A server, a tenant and a token.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    tenant: String,
    token: Option<Secret>,
    timeout: Duration,
}

/// One request, before it is sent.
pub(crate) struct Call {
    method: Method,
    path: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<(&'static str, Vec<u8>)>,
    extra: Duration,
}

/// An answer with a status that means success.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value, CliError> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| CliError::failed(format!("the server's answer is no JSON: {error}")))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Call {
    /// A call of a path given in segments, each of which is encoded by itself.
    pub(crate) fn new(method: Method, path: &[&str]) -> Self {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        let (query, headers) = (Vec::new(), Vec::new());
        Self { method, path, query, headers, body: None, extra: Duration::ZERO }
    }

    pub(crate) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: &[&str], body: &Value) -> Self {
        Self::new(Method::POST, path).json(body)
    }

    #[must_use]
    pub(crate) fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    #[must_use]
    pub(crate) fn query_if(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    #[must_use]
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    #[must_use]
    pub(crate) fn body(self, media: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some((media, body.into())), ..self }
    }

    /// Asks the server to hold its answer until the work has ended, at most this long.
    #[must_use]
    pub(crate) fn wait(self, wait: Duration) -> Self {
        let this = self.query("wait", format!("{}ms", wait.as_millis()));
        Self { extra: wait + WAIT_EXTRA, ..this }
    }
}

impl Client {
    pub(crate) fn new(
        url: &str,
        tenant: &str,
        token: Option<Secret>,
        timeout: Duration,
    ) -> Result<Self, CliError> {
        let base = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                CliError::usage(format!("{url:?} is no URL of a server"))
                    .with_hint("give --url or ACTIONS_URL like http://127.0.0.1:7070")
            })?;
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .user_agent(concat!("actions-cli/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeout.min(Duration::from_secs(10)));
        let builder = if base.scheme() == "http" {
            // Loading the system's certificates would fail where there are none, as in a small
            // container, although nothing needs them.
            let tls = rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            builder.tls_backend_preconfigured(tls)
        } else {
            builder
        };
        let http = builder
            .build()
            .map_err(|error| CliError::failed(format!("no HTTP client: {}", innermost(&error))))?;
        Ok(Self { http, base, tenant: tenant.to_owned(), token, timeout })
    }

    /// The tenant that commands are about.
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Calls a path below the tenant.
    pub(crate) async fn in_tenant(&self, call: Call) -> Result<Answer, CliError> {
        let mut path = vec!["v1".to_owned(), "tenants".to_owned(), self.tenant.clone()];
        path.extend(call.path);
        self.send(Call { path, ..call }).await
    }

    /// Calls a path below the root.
    ///
    /// # Errors
    /// What the server said, or that it cannot be reached.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, CliError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = self.http.request(call.method, url).timeout(self.timeout.max(call.extra));
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| CliError::usage("the token holds a character that a header cannot"))?;
            value.set_sensitive(true);
            request = request.header("authorization", value);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        if let Some((media, body)) = call.body {
            request = request.header("content-type", media).body(body);
        }
        let mut answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(CliError::failed("the server's answer is too large")
                    .with_hint("ask for less with --limit"));
            }
            body.extend_from_slice(&chunk);
        }
        let status = answer.status().as_u16();
        let answer = Answer { status, headers: answer.headers().clone(), body };
        if (200..300).contains(&status) { Ok(answer) } else { Err(self.refusal(&answer)) }
    }

    fn refusal(&self, answer: &Answer) -> CliError {
        let status = answer.status;
        let mut error = match answer.json() {
            Ok(problem @ Value::Object(_)) => CliError::from_problem(&self.base, status, problem),
            Ok(_) | Err(_) => {
                let exit = Exit::of_status(status);
                let text = answer.text();
                CliError::new(exit, format!("the server answered {status}: {}", text.trim()))
            }
        };
        let mut hints = Vec::from_iter(error.hint.take());
        if error.exit == Exit::Auth && status == 401 {
            hints.insert(
                0,
                "give the token in ACTIONS_TOKEN or with --token-file, or `actions login`"
                    .to_owned(),
            );
        }
        if let Some(pause) = answer.header("retry-after").filter(|_| matches!(status, 429 | 503)) {
            hints.insert(0, format!("try again in {pause} s"));
        }
        CliError { hint: (!hints.is_empty()).then(|| hints.join("; ")), ..error }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let base = &self.base;
        let reason = innermost(error);
        if error.is_timeout() && !error.is_connect() {
            return CliError::new(Exit::Unavailable, format!("{base} did not answer in time"))
                .with_hint("--timeout gives it longer");
        }
        CliError::new(Exit::Unavailable, format!("{base} cannot be reached: {reason}")).with_hint(
            "is the server running? `actions dev` starts one; --url or ACTIONS_URL names another",
        )
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut current: &dyn std::error::Error = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}
