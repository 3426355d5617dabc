//! By which names the server is asked, and which web pages may ask it.
//!
//! Without settings every name is answered, and no page of another site: a browser may send a
//! request, but no script gets to read the answer. Nothing here stands for a credential, and no
//! browser is told to send one, so an origin that is let in still needs a token. What goes for the
//! cookie of a session is in `cookie.rs`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use url::{Host, Url};

/// What a page may send beside what every page may.
const SENT: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, \
                    traceparent, tracestate, x-request-id";
/// What a page may read beside what every page may.
const SHOWN: &str =
    "actions-audit-head, etag, idempotent-replayed, link, location, retry-after, x-request-id";
const METHODS: &str = "GET, POST, PUT, DELETE";
/// Seconds for which a browser need not ask again.
const REMEMBERED: &str = "600";
/// Who asks these knows an address and no name.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The lists, read once. The default answers to every name, and to no page of another site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sites {
    hosts: Vec<String>,
    origins: Vec<HeaderValue>,
}

impl Sites {
    /// Names without ports, like `actions.example.com`, and origins like
    /// `https://app.example.com`.
    ///
    /// # Errors
    /// Which of them is none, and what was expected.
    pub fn new(hosts: &[String], origins: &[String]) -> Result<Self, String> {
        let hosts = hosts.iter().map(|host| read_host(host)).collect::<Result<_, _>>()?;
        let origins = origins.iter().map(|origin| read_origin(origin)).collect::<Result<_, _>>()?;
        Ok(Self { hosts, origins })
    }

    /// Whether the names by which this request asks are the server's. There may be several: in
    /// the address, and in one header after the other.
    pub(crate) fn answers(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        if self.hosts.is_empty() || PROBES.contains(&uri.path()) {
            return true;
        }
        let named = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
        let named = named.chain(uri.authority().map(|authority| Some(authority.as_str())));
        let mut known = named.map(|host| {
            let host = host.map(|host| without_port(host).to_ascii_lowercase());
            host.is_some_and(|host| self.hosts.contains(&host))
        });
        // Who names nobody means nobody.
        known.next() == Some(true) && known.all(|is_known| is_known)
    }

    /// The origin of a page that may ask.
    pub(crate) fn welcome<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        headers.get(header::ORIGIN).filter(|origin| self.origins.contains(origin))
    }

    /// The answer to a browser's question whether a page may ask.
    pub(crate) fn preflight(&self, request: &Request) -> Option<Response> {
        let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if request.method() != Method::OPTIONS || !asks {
            return None;
        }
        self.welcome(request.headers())?;
        let headers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, SENT),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED),
        ];
        Some((StatusCode::NO_CONTENT, headers).into_response())
    }

    /// Lets a page that may ask read the answer.
    pub(crate) fn mark(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let shown = HeaderValue::from_static(SHOWN);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, shown);
        }
    }
}

/// What every answer tells a browser: nothing of it is a page, a script or a part of one.
pub(crate) fn harmless(headers: &mut HeaderMap) {
    let policy = "default-src 'none'; frame-ancestors 'none'";
    let same_site = HeaderName::from_static("cross-origin-resource-policy");
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (same_site, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn read_host(raw: &str) -> Result<String, String> {
    let expected = || format!("{raw:?} is no host; expected a name like actions.example.com");
    let bare = raw.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        let is_v6 = ip.is_ipv6();
        return Ok(if is_v6 { format!("[{ip}]") } else { ip.to_string() });
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match Host::parse(raw) {
        Ok(Host::Domain(name)) if raw.chars().all(is_name) => Ok(name),
        Ok(_) | Err(_) => Err(expected()),
    }
}

fn read_origin(raw: &str) -> Result<HeaderValue, String> {
    let expected = || {
        format!(
            "{raw:?} is no origin; expected one like https://app.example.com, and each by itself"
        )
    };
    let url = Url::parse(raw).map_err(|_| expected())?;
    let origin = url.origin().ascii_serialization();
    // A path, a user or a wildcard would promise something that browsers do not send.
    let is_whole = raw.trim_end_matches('/').eq_ignore_ascii_case(&origin);
    if !matches!(url.scheme(), "http" | "https") || !is_whole || origin.contains('*') {
        return Err(expected());
    }
    HeaderValue::from_str(&origin).map_err(|_| expected())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Uri};

    use super::Sites;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn answers(hosts: &[&str], uri: &str, named: &[&str]) -> bool {
        let sites = Sites::new(&texts(hosts), &[]).unwrap();
        let mut headers = HeaderMap::new();
        for host in named {
            headers.append("host", HeaderValue::from_str(host).unwrap());
        }
        sites.answers(&uri.parse::<Uri>().unwrap(), &headers)
    }

    #[test]
    fn only_the_names_of_the_list_are_answered() {
        let hosts = ["Actions.example.com", "10.0.0.1", "::1"];
        for named in [
            "actions.example.com",
            "ACTIONS.EXAMPLE.COM:7070",
            "10.0.0.1:80",
            "[::1]:7070",
            "[::1]",
        ] {
            assert!(answers(&hosts, "/", &[named]), "{named}");
            assert!(answers(&hosts, "/", &[named, named]), "{named}");
            assert!(answers(&[], "/", &[named]), "{named}");
        }
        for named in [
            "example.com",
            "evil.example",
            "actions.example.com.evil.example",
            "xactions.example.com",
            "actions.example.com:80:80",
            "actions.example.com@evil.example",
            "10.0.0.2",
            "::1",
            "",
        ] {
            assert!(!answers(&hosts, "/", &[named]), "{named}");
            assert!(!answers(&hosts, "/", &["10.0.0.1", named]), "{named}");
            assert!(answers(&hosts, "/readyz", &[named]), "a probe knows no name");
        }
        assert!(!answers(&hosts, "/", &[]));
        assert!(answers(&hosts, "http://10.0.0.1/v1", &[]));
        assert!(!answers(&hosts, "http://evil.example/v1", &["10.0.0.1"]));
    }

    #[test]
    fn what_is_no_name_or_origin_is_refused_at_the_start() {
        for host in ["", "*", "*.example.com", "http://a.example", "a.example:80", "a b", "a/b"] {
            assert!(Sites::new(&texts(&[host]), &[]).is_err(), "{host}");
        }
        for origin in [
            "",
            "*",
            "null",
            "a.example",
            "https://*.example.com",
            "https://a.example/path",
            "https://a.example?x",
            "https://u@a.example",
            "ftp://a.example",
            "file:///etc",
        ] {
            assert!(Sites::new(&[], &texts(&[origin])).is_err(), "{origin}");
        }
        for origin in ["https://a.example", "http://localhost:3000", "https://a.example/"] {
            assert!(Sites::new(&[], &texts(&[origin])).is_ok(), "{origin}");
        }
    }
}
