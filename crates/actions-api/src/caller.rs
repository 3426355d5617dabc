//! Who asks: a credential and a path become an [`AuthorizationContext`]. No route builds one.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actions_app::api_key_ring::Refusal;
use actions_app::catalogue::TenantDefinitions;
use actions_domain::api_key::{SESSION_TOKEN_PREFIX, TOKEN_PREFIX};
use actions_domain::authorization::AuthorizationContext;
use actions_domain::id::TenantId;
use actions_domain::ports::identities::{Identities, IdentityError};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tracing::debug;

use crate::cookie;
use crate::extract::IDEMPOTENCY_KEY;
use crate::problem::{
    AUTH_CSRF, AUTH_INVALID, AUTH_MALFORMED, AUTH_MISSING, AUTH_THROTTLED, HOST_FORBIDDEN,
    IDEMPOTENCY_UNSUPPORTED, IDENTITIES_UNAVAILABLE, OVERLOADED, Problem, TENANT_SUSPENDED,
};
use crate::request::RequestContext;
use crate::routes::Api;
use crate::sites::Sites;

/// When to come back while too many unknown tokens are being asked about.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// When to come back while the identity provider's keys cannot be read.
const IDENTITIES_PAUSE: Duration = Duration::from_secs(30);
/// How often somebody who waits is looked at again. With what nodes ask about keys, two seconds.
const PROVE_EVERY: Duration = Duration::from_secs(1);

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever knows this token, as the platform's administrator; and whoever has an API key or a
    /// session.
    Token(SecretString),
    /// Everybody on this machine, as the platform's administrator. The listener must be bound to
    /// loopback. `Host` and `Origin` are checked, against rebinding and cross-site requests. Who
    /// sends an API key or a session is its owner, and nobody else.
    LocalDev,
    /// Whoever has an API key or a session, whomever this provider knows, and whoever knows the token, if there
    /// is one.
    Provider { identities: Arc<dyn Identities>, token: Option<SecretString> },
}

/// A caller whose credential was checked, and the tenant that the path is about.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) authorization: AuthorizationContext,
    pub(crate) tenant: TenantId,
    pub(crate) definitions: Arc<TenantDefinitions>,
}

impl Caller {
    /// The tenant's part of a path.
    pub(crate) fn slug(&self) -> &str {
        self.definitions.tenant.slug.as_str()
    }

    /// The tenant's definitions as the store has them now. What is here may be a moment old,
    /// which only matters where a version is compared.
    pub(crate) async fn current_definitions(
        &self,
        api: &Api,
    ) -> Result<&TenantDefinitions, Problem> {
        // One more than what is here: whatever is new is read.
        api.app.catalogue.refresh(self.tenant, self.definitions.version() + 1).await?;
        Ok(&self.definitions)
    }

    /// The path of something of this tenant.
    pub(crate) fn href(&self, rest: &str) -> String {
        format!("/v1/tenants/{}/{rest}", self.slug())
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let authorization = authorize(parts, api).await?;
        let definitions = find_tenant(parts, api, &authorization).await?;
        check_not_suspended(parts, &authorization, &definitions)?;
        let tenant = definitions.tenant.id;
        Ok(Self { authorization, tenant, definitions })
    }
}

/// What a caller proved itself with, for a request that may wait: whoever is shut out while it waits
/// is told nothing any more.
pub(crate) struct Proof(Parts);

impl<S: Sync> FromRequestParts<S> for Proof {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.clone()))
    }
}

impl Proof {
    /// Of a request whose body is still to be read.
    pub(crate) fn of(request: &Request) -> Self {
        let (mut parts, ()) = axum::http::Request::new(()).into_parts();
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.headers = request.headers().clone();
        parts.extensions = request.extensions().clone();
        Self(parts)
    }

    /// What comes of the wait, or what the caller would be told if it came only now.
    pub(crate) async fn holds_during<T>(
        mut self,
        api: &Api,
        wait: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                waited = &mut wait => return waited,
                () = api.app.ports.clock.sleep(PROVE_EVERY) => {}
            }
            Caller::from_request_parts(&mut self.0, api).await?;
        }
    }
}

/// In a suspended tenant only the platform changes something. Everybody may look, and workers may
/// end what they have.
fn check_not_suspended(
    parts: &Parts,
    authorization: &AuthorizationContext,
    definitions: &TenantDefinitions,
) -> Result<(), Problem> {
    let context = parts.extensions.get::<Arc<RequestContext>>();
    let is_workers = context.is_some_and(|context| context.path.starts_with("/v1/internal/pull"));
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    if reads || is_workers || authorization.role.spans_tenants() {
        return Ok(());
    }
    let controls = definitions.controls();
    let Some(suspension) = &controls.suspension else { return Ok(()) };
    let why = suspension.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    let detail = format!("the tenant is suspended since {}{why}", suspension.at.to_rfc3339());
    Err(Problem::new(&TENANT_SUSPENDED, detail))
}

/// A caller of a route that is about no tenant.
pub(crate) struct Operator(pub(crate) AuthorizationContext);

impl FromRequestParts<Api> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        authorize(parts, api).await.map(Self)
    }
}

async fn authorize(parts: &mut Parts, api: &Api) -> Result<AuthorizationContext, Problem> {
    if matches!(api.access, Access::LocalDev) {
        check_host(&parts.uri, &parts.headers, &api.sites)?;
    }
    let context = parts.extensions.get::<Arc<RequestContext>>();
    let peer = context.and_then(|context| context.peer);
    let request_id = context.map(|context| context.request_id.clone()).unwrap_or_default();
    let found = identify(parts, api, peer, request_id).await;
    let authorization = found.map_err(|problem| judge(api, peer, problem))?;
    check_key_is_kept(parts)?;
    // Where nobody judges by it, nobody pays for it.
    if api.app.ports.authorizer.is_none() {
        return Ok(authorization);
    }
    let pattern = parts.extensions.get::<MatchedPath>().map(|found| found.as_str().to_owned());
    let pattern = pattern.unwrap_or_default();
    let path = meant_path(parts, &pattern).await;
    let route = format!("{} {}", parts.method, pattern.replace("/~", ":"));
    Ok(authorization.at(route, path))
}

/// The path with its parameters as handlers read them: one that is spelled in another way means the
/// same, to a rule as well.
async fn meant_path(parts: &mut Parts, pattern: &str) -> String {
    // Without any they are not there.
    let params = RawPathParams::from_request_parts(parts, &()).await.ok();
    let value = |name: &str| {
        let found = params.as_ref()?.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.replace('/', "%2F"))
    };
    let plain = |segment: &str| {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        name.and_then(value).unwrap_or_else(|| segment.to_owned())
    };
    pattern.split('/').map(plain).collect::<Vec<_>>().join("/").replace("/~", ":")
}

/// Who is who, by the first credential that is there: a token, then a cookie.
async fn identify(
    parts: &Parts,
    api: &Api,
    peer: Option<IpAddr>,
    request_id: String,
) -> Result<AuthorizationContext, Problem> {
    let bootstrap = match &api.access {
        Access::Token(token) => Some(token),
        Access::Provider { token, .. } => token.as_ref(),
        Access::LocalDev => None,
    };
    let Some(sent) = sent_token(&parts.headers) else {
        return match (cookie::session_token(&parts.headers), &api.access) {
            (Some(token), _) => of_cookie(parts, api, token, peer, request_id).await,
            (None, Access::LocalDev) => Ok(AuthorizationContext::of_local_dev(request_id)),
            (None, Access::Token(_) | Access::Provider { .. }) => {
                Err(Problem::new(&AUTH_MISSING, "send Authorization: Bearer and a token"))
            }
        };
    };
    match &api.access {
        _ if bootstrap.is_some_and(|token| is_same(sent, token)) => {
            Ok(AuthorizationContext::of_bootstrap_token(request_id))
        }
        _ if sent.starts_with(PREFIX) => of_api_key(api, sent, peer, request_id).await,
        _ if sent.starts_with(SESSION_PREFIX) => of_session(api, sent, peer, request_id).await,
        Access::Provider { identities, .. } => {
            of_identity(api, identities.as_ref(), sent, request_id).await
        }
        Access::Token(_) => Err(unknown().guessed()),
        Access::LocalDev => Ok(AuthorizationContext::of_local_dev(request_id)),
    }
}

/// The caller whose browser sends the cookie of a session, and whose page meant it.
async fn of_cookie(
    parts: &Parts,
    api: &Api,
    token: &str,
    peer: Option<IpAddr>,
    request_id: String,
) -> Result<AuthorizationContext, Problem> {
    let found = of_session(api, token.as_bytes(), peer, request_id).await;
    // No script can take the cookie away, and what it names holds no more.
    let found = found.map_err(|problem| match problem.is(&AUTH_INVALID) {
        true => problem.with_headers(HeaderMap::from_iter([cookie::set("", 0)])),
        false => problem,
    })?;
    match cookie::forgery(&parts.method, &parts.uri, &parts.headers, token) {
        None => Ok(found),
        Some(why) => Err(Problem::new(&AUTH_CSRF, why)),
    }
}

/// A stranger is told one and the same, whatever it was.
fn unknown() -> Problem {
    Problem::new(&AUTH_INVALID, "the token is not known here, or holds no more")
}

/// Counts what was a guess. Who has guessed too often waits; who is known never does.
fn judge(api: &Api, peer: Option<IpAddr>, problem: Problem) -> Problem {
    if !problem.is_guess() {
        return problem;
    }
    match api.app.guesses.wait(peer) {
        Some(wait) => throttled(wait),
        None => {
            api.app.guesses.fail(peer);
            problem
        }
    }
}

pub(crate) fn throttled(wait: Duration) -> Problem {
    let detail = "too many tokens or passwords from this address were wrong";
    Problem::new(&AUTH_THROTTLED, detail).with_retry_after(wait)
}

/// What a token begins with, whatever follows.
const PREFIX: &[u8] = TOKEN_PREFIX.as_bytes();
const SESSION_PREFIX: &[u8] = SESSION_TOKEN_PREFIX.as_bytes();

/// The caller whose API key was sent.
async fn of_api_key(
    api: &Api,
    sent: &[u8],
    peer: Option<IpAddr>,
    request_id: String,
) -> Result<AuthorizationContext, Problem> {
    // A token with bytes that are no text has a wrong character.
    let text = String::from_utf8_lossy(sent);
    let may_ask = api.app.guesses.wait(peer).is_none();
    match api.app.api_keys.verify_for(&text, may_ask).await {
        Ok(key) => Ok(AuthorizationContext::of_api_key(&key, request_id)),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// The caller whose session's token was sent.
async fn of_session(
    api: &Api,
    sent: &[u8],
    peer: Option<IpAddr>,
    request_id: String,
) -> Result<AuthorizationContext, Problem> {
    let text = String::from_utf8_lossy(sent);
    let may_ask = api.app.guesses.wait(peer).is_none();
    match api.app.api_keys.verify_session(&text, may_ask).await {
        Ok(signed_in) => Ok(AuthorizationContext::of_session(&signed_in, request_id)),
        Err(refusal) => Err(refused(refusal)),
    }
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Malformed(error) => Problem::new(&AUTH_MALFORMED, error.to_string()),
        Refusal::Unknown | Refusal::Barred => unknown().guessed(),
        // A stranger does not learn that it was there once. A program that was forgotten is no
        // guesser.
        Refusal::Ended => unknown(),
        error @ Refusal::Busy => {
            Problem::new(&OVERLOADED, error.to_string()).with_retry_after(BUSY_PAUSE)
        }
        Refusal::Store(error) => error.into(),
    }
}

/// The caller of whom the provider's token speaks.
async fn of_identity(
    api: &Api,
    identities: &dyn Identities,
    sent: &[u8],
    request_id: String,
) -> Result<AuthorizationContext, Problem> {
    let text = std::str::from_utf8(sent).map_err(|_| unknown().guessed())?;
    let identity = match identities.identify(text).await {
        Ok(identity) => identity,
        // A stranger does not learn what is checked.
        Err(error @ IdentityError::Refused { .. }) => {
            debug!(%error, request_id, "a token is refused");
            return Err(unknown().guessed());
        }
        Err(error @ IdentityError::Unavailable { .. }) => {
            let detail = "nobody can say whether the token holds; try again";
            let problem = Problem::new(&IDENTITIES_UNAVAILABLE, detail);
            return Err(problem.with_retry_after(IDENTITIES_PAUSE).caused_by(&error));
        }
    };
    let catalogue = &api.app.catalogue;
    let found = match catalogue.find_named(&identity.tenant) {
        Some(found) => Some(found),
        None => {
            // It may have been created by another process a moment ago.
            catalogue.refresh_all().await?;
            catalogue.find_named(&identity.tenant)
        }
    };
    let Some(found) = found else {
        debug!(tenant = identity.tenant, request_id, "a token names a tenant that is not here");
        return Err(unknown());
    };
    let context = AuthorizationContext::of_identity(&identity, found.tenant.id, request_id);
    context.ok_or_else(|| {
        debug!(subject = identity.subject, "a role over all tenants belongs to the tenant admin");
        unknown()
    })
}

/// Ends of the paths whose routes keep `Idempotency-Key`.
const KEYED: [&str; 5] = [
    "/events",
    "/events/~execute",
    "/events/{event}/~replay",
    "/actions/{action}/~execute",
    "/executions/~bulk",
];

/// Who sends a key relies on it, so a route that does not keep it says so.
fn check_key_is_kept(parts: &Parts) -> Result<(), Problem> {
    let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    if parts.method != Method::POST
        || !parts.headers.contains_key(IDEMPOTENCY_KEY)
        || KEYED.iter().any(|end| path.ends_with(end))
    {
        return Ok(());
    }
    let detail = "this request would be done again; send it without Idempotency-Key";
    Err(Problem::new(&IDEMPOTENCY_UNSUPPORTED, detail))
}

/// The token of `Authorization: Bearer`, if there is one.
fn sent_token(headers: &HeaderMap) -> Option<&[u8]> {
    let sent = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, sent) = sent.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| sent.trim_ascii())
}

/// Compares in a time that tells nothing. An empty token is not a token.
fn is_same(sent: &[u8], expected: &SecretString) -> bool {
    let expected = expected.expose_secret().as_bytes();
    !expected.is_empty() && bool::from(sent.ct_eq(expected))
}

pub(crate) fn check_host(uri: &Uri, headers: &HeaderMap, sites: &Sites) -> Result<(), Problem> {
    let refused = |what: &str| {
        let detail = format!("{what}; without a token, use http://localhost or http://127.0.0.1");
        Problem::new(&HOST_FORBIDDEN, detail)
    };
    let header = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 has the host in its address.
    let host = header.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let host = host.ok_or_else(|| refused("the request names no host"))?;
    if !is_loopback(host) {
        return Err(refused("the request names another host"));
    }
    if let Some(origin) = headers.get(header::ORIGIN)
        && sites.welcome(headers).is_none()
    {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        if origin != Some(host) {
            return Err(refused("the request comes from another site"));
        }
    }
    Ok(())
}

/// Whether `host`, with or without a port, names this machine and nothing that DNS decides.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            return rest.split_once(']').is_some_and(|(address, port)| {
                address == "::1" && (port.is_empty() || port.starts_with(':'))
            });
        }
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1"
}

/// The tenant of `/v1/tenants/{tenant}/…`, or of `?tenant=` below `/v1/internal`, where it is the
/// caller's own without that; else the platform's own. A foreign one is answered like an unknown
/// one, and after the same steps.
async fn find_tenant(
    parts: &mut Parts,
    api: &Api,
    authorization: &AuthorizationContext,
) -> Result<Arc<TenantDefinitions>, Problem> {
    let unknown = || Problem::not_found("tenant");
    let is_internal = is_internal(parts);
    let name = match named_in_path(parts, api).await.map_err(|_| unknown())? {
        Some(name) => Some(name),
        None if is_internal => named_in_query(&parts.uri),
        None => None,
    };
    let catalogue = &api.app.catalogue;
    let is_free = authorization.role.spans_tenants();
    let find = || match &name {
        Some(name) if is_free => catalogue.find_named(name),
        None if is_free && !is_internal => catalogue.find(TenantId::ADMIN),
        // Whoever sees one tenant only need not be told which others there are.
        Some(_) | None => catalogue.find(authorization.tenant),
    };
    let found = match find() {
        Some(found) => found,
        None => {
            // It may have been created by another process a moment ago.
            catalogue.refresh_all().await?;
            find().ok_or_else(unknown)?
        }
    };
    let is_meant = match &name {
        Some(name) => found.is_called(name),
        None => is_internal || found.tenant.id == TenantId::ADMIN,
    };
    if is_meant { Ok(found) } else { Err(unknown()) }
}

/// A nested router sees only the rest of the path, so the whole one is asked for.
fn is_internal(parts: &Parts) -> bool {
    let context = parts.extensions.get::<Arc<RequestContext>>();
    context.is_some_and(|context| context.path.starts_with("/v1/internal/"))
}

/// A path that cannot be read names somebody: never the platform by default.
async fn named_in_path(
    parts: &mut Parts,
    api: &Api,
) -> Result<Option<String>, RawPathParamsRejection> {
    let params = RawPathParams::from_request_parts(parts, api).await?;
    let found = params.iter().find(|(name, _)| *name == "tenant");
    Ok(found.map(|(_, value)| value.to_owned()))
}

fn named_in_query(uri: &Uri) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.into_iter().find(|(name, _)| name == "tenant").map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_has_three_names() {
        for own in
            ["localhost", "LOCALHOST:7070", "127.0.0.1:1", "127.0.0.1", "[::1]:7070", "[::1]"]
        {
            assert!(is_loopback(own), "{own}");
        }
        for foreign in [
            "example.com",
            "localhost.example.com",
            "127.0.0.1.nip.io",
            "127.0.0.2",
            "[::2]",
            "[::1]x",
            "::1",
            "",
        ] {
            assert!(!is_loopback(foreign), "{foreign}");
        }
    }
}
