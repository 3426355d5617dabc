//! The cookie of a session, and what has to come with it.
//!
//! A browser sends a cookie by itself, also when a page of another site makes it ask. `SameSite`
//! keeps most of that away. What changes something needs two more things besides: a header that only
//! a page which read an answer of ours can know, and no sign of the browser that another site asks.

use actions_domain::account::csrf_token;
use actions_domain::api_key::Token;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use subtle::ConstantTimeEq;

/// The prefix makes browsers refuse it from other hosts, for other paths and without TLS.
pub(crate) const COOKIE: &str = "__Host-actions_session";
pub(crate) const CSRF: HeaderName = HeaderName::from_static("x-actions-csrf");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The header that gives a browser the cookie, for so long; with 0 seconds, that takes it away.
pub(crate) fn set(token: &str, seconds: u64) -> (HeaderName, HeaderValue) {
    let text =
        format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict");
    // Tokens are letters and digits.
    let mut value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    (header::SET_COOKIE, value)
}

/// The token in the cookie, if there is one. Of several with the name none is believed.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&str> {
    let headers = headers.get_all(header::COOKIE).iter();
    let pairs = headers.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let named = pairs.filter_map(|pair| pair.trim().split_once('='));
    let mut tokens = named.filter(|(name, _)| *name == COOKIE).map(|(_, token)| token);
    let token = tokens.next().filter(|token| !token.is_empty())?;
    tokens.next().is_none().then_some(token)
}

/// Why a request with the cookie is not one that a page of ours has meant. `None`: it is.
pub(crate) fn forgery(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    token: &str,
) -> Option<&'static str> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    if !is_own_page(uri, headers) {
        return Some("a page of another site asks");
    }
    let expected = Token::parse_session(token).map(|token| csrf_token(&token)).unwrap_or_default();
    let sent = headers.get(CSRF).map(|sent| sent.as_bytes()).unwrap_or_default();
    let is_same = !expected.is_empty() && bool::from(sent.ct_eq(expected.as_bytes()));
    (!is_same).then_some("send X-Actions-CSRF with the csrf_token that the login answered")
}

/// Whether nothing says that a page of another site asks. What is no browser says nothing.
pub(crate) fn is_own_page(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter().peekable();
    // Behind a proxy the browser knows better than we what our own origin is.
    if sites.peek().is_some() {
        return sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().ok();
        let name = origin.and_then(|origin| {
            origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))
        });
        name.is_some_and(|name| host.is_some_and(|host| host.eq_ignore_ascii_case(name)))
    })
}

#[cfg(test)]
mod tests {
    use actions_domain::account::csrf_token;
    use actions_domain::api_key::{TOKEN_RANDOM_BYTES, Token};
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

    use super::{forgery, is_own_page, session_token};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn one_cookie_is_read_and_of_two_none() {
        let read = |value: &str| session_token(&headers(&[("cookie", value)])).map(str::to_owned);
        assert_eq!(read("a=b; __Host-actions_session=x; c=d").as_deref(), Some("x"));
        for none in [
            "",
            "__Host-actions_session",
            "__Host-actions_session=",
            "actions_session=x",
            "__host-actions_session=x",
            "__Host-actions_session=x; __Host-actions_session=y",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_known_by_what_the_browser_says() {
        let own =
            |pairs: &[(&'static str, &str)]| is_own_page(&Uri::from_static("/"), &headers(pairs));
        let host = ("host", "a.example:7070");
        assert!(own(&[host]) && own(&[]));
        assert!(own(&[host, ("origin", "https://A.example:7070")]));
        assert!(own(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(own(&[("host", "inside"), ("sec-fetch-site", "none"), ("origin", "https://x")]));
        for foreign in [
            vec![host, ("origin", "https://b.example")],
            vec![host, ("origin", "null")],
            vec![host, ("origin", "https://a.example:7070.b.example")],
            vec![("origin", "https://a.example:7070")],
            vec![host, ("sec-fetch-site", "same-site")],
            vec![host, ("sec-fetch-site", "cross-site")],
            vec![host, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(!own(&foreign), "{foreign:?}");
        }
    }

    #[test]
    fn what_changes_something_needs_what_only_our_page_knows() {
        let token = Token::mint_session(&[7; TOKEN_RANDOM_BYTES]);
        let (uri, known) = (Uri::from_static("/"), csrf_token(&token));
        let refused = |method: Method, pairs: &[(&'static str, &str)]| {
            forgery(&method, &uri, &headers(pairs), token.expose()).is_some()
        };
        assert!(!refused(Method::GET, &[]) && !refused(Method::HEAD, &[]));
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert!(refused(method.clone(), &[]));
            assert!(refused(method.clone(), &[("x-actions-csrf", "")]));
            assert!(refused(method.clone(), &[("x-actions-csrf", &known[..63])]));
            assert!(!refused(method.clone(), &[("x-actions-csrf", &known)]));
            let foreign = [("x-actions-csrf", known.as_str()), ("sec-fetch-site", "cross-site")];
            assert!(refused(method, &foreign));
        }
    }
}
