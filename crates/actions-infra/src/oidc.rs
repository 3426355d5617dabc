//! Tokens of an identity provider: JWTs (RFC 7519), signed with keys that the provider publishes
//! (RFC 7517), which are found by OpenID Connect Discovery 1.0.
//!
//! Which algorithms count is a setting, and never what a token says of itself. Keys come from the
//! provider's published set alone: what a token's header offers (`jwk`, `jku`, `x5u`, `x5c`) is not
//! looked at. The set is read again when it is old, and when a token names a key that it does not
//! have; not more often than each half minute, whoever asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::authorization::Role;
use actions_domain::limits::{IDENTITY_TOKEN_BYTES_MAX, JWKS_KEYS_MAX};
use actions_domain::ports::clock::Clock;
use actions_domain::ports::identities::{Identities, Identity, IdentityError};
use async_trait::async_trait;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use tracing::{info, warn};

use self::claims::Claims;

mod claims;
mod signatures;

/// How old the provider's keys may be before they are read again.
const FRESH: Duration = Duration::from_secs(300);
/// How long keys count that cannot be read again: a provider that takes one back is heard by then.
const TRUSTED: Duration = Duration::from_secs(3_600);
/// The shortest time between two readings.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// How far the provider's clock may be off.
const LEEWAY: i64 = 60;

/// What is expected of tokens.
#[derive(Debug, Clone)]
pub struct OidcOptions {
    /// Exactly as `iss` says it. `/.well-known/openid-configuration` is below it.
    pub issuer: String,
    /// What `aud` must name.
    pub audience: String,
    /// What tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// The claims that name the tenant and the role: a name, or a JSON pointer that begins with `/`.
    pub tenant_claim: String,
    pub role_claim: String,
}

/// Reads a document of the provider, as outgoing calls are made everywhere.
#[async_trait]
pub trait Documents: Send + Sync {
    /// # Errors
    /// Why there is none, for a person.
    async fn get(&self, url: &str) -> Result<Vec<u8>, String>;
}

/// An identity provider.
pub struct Oidc(Arc<Provider>);

struct Provider {
    options: OidcOptions,
    documents: Arc<dyn Documents>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// One reading at a time.
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    keys: Arc<[Key]>,
    read_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
    /// Why the last reading failed.
    failure: Option<String>,
}

/// A published key that signatures can be checked with.
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What discovery tells.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oidc").field("issuer", &self.0.options.issuer).finish_non_exhaustive()
    }
}

/// Reads an algorithm that asks for a public key.
///
/// # Errors
/// The names that are known.
pub fn algorithm(name: &str) -> Result<Algorithm, String> {
    let known = signatures::ALGORITHMS.into_iter().find(|known| format!("{known:?}") == name);
    known.ok_or_else(|| {
        let names: Vec<_> = signatures::ALGORITHMS.iter().map(|a| format!("{a:?}")).collect();
        format!("{name} is none of {}", names.join(", "))
    })
}

impl Oidc {
    /// Nothing is read before the first token comes.
    pub fn new(options: OidcOptions, documents: Arc<dyn Documents>, clock: Arc<dyn Clock>) -> Self {
        signatures::install();
        let (state, asking) = (Mutex::default(), Arc::default());
        Self(Arc::new(Provider { options, documents, clock, state, asking }))
    }
}

impl Provider {
    /// The published key that a token names.
    async fn key_of(
        self: &Arc<Self>,
        header: &Header,
    ) -> Result<(Arc<[Key]>, usize), IdentityError> {
        let mut is_read_again = false;
        loop {
            let keys = self.keys(is_read_again).await?;
            let mut fitting = keys.iter().enumerate().filter(|(_, key)| {
                key.algorithm == header.alg
                    && header.kid.as_ref().is_none_or(|kid| key.id.as_ref() == Some(kid))
            });
            match (fitting.next(), fitting.next()) {
                (Some((index, _)), None) => {
                    drop(fitting);
                    return Ok((keys, index));
                }
                (Some(_), Some(_)) => return Err(refused("several keys fit it")),
                (None, _) if !is_read_again => is_read_again = true,
                (None, _) => {
                    return Err(match self.state().failure.clone() {
                        // It may be a new one.
                        Some(reason) => IdentityError::Unavailable { reason },
                        None => refused("the provider publishes no such key"),
                    });
                }
            }
        }
    }

    /// The provider's keys: newer ones when those in memory are old, or when `must_be_new`. While
    /// they are being read, whoever can do with those in memory goes on, and others wait.
    async fn keys(self: &Arc<Self>, must_be_new: bool) -> Result<Arc<[Key]>, IdentityError> {
        let known = self.trusted();
        if known.is_ok() && !must_be_new && !self.is_due(false) {
            return known;
        }
        let alone = match self.asking.clone().try_lock_owned() {
            Ok(alone) => alone,
            Err(_) if known.is_ok() && !must_be_new => return known,
            Err(_) => self.asking.clone().lock_owned().await,
        };
        if !self.is_due(must_be_new) {
            return self.trusted();
        }
        // By itself: a caller that goes away must not take the reading with it.
        let provider = self.clone();
        let reading = tokio::spawn(async move {
            provider.read_anew().await;
            drop(alone);
        });
        if reading.await.is_err() {
            warn!(issuer = self.options.issuer, "reading the provider's keys has ended early");
        }
        self.trusted()
    }

    async fn read_anew(&self) {
        self.state().asked_at = Some(self.clock.now());
        let read = self.read().await;
        let mut state = self.state();
        match read {
            Ok(keys) => {
                if state.failure.take().is_some() || state.read_at.is_none() {
                    info!(issuer = self.options.issuer, keys = keys.len(), "the provider's keys");
                }
                state.keys = keys.into();
                state.read_at = Some(self.clock.now());
            }
            Err(reason) => {
                // One line per change of state, not one per try.
                if state.failure.as_ref() != Some(&reason) {
                    warn!(
                        issuer = self.options.issuer,
                        reason, "the provider's keys cannot be read"
                    );
                }
                state.failure = Some(reason);
            }
        }
    }

    fn is_due(&self, must_be_new: bool) -> bool {
        let state = self.state();
        let now = self.clock.now();
        let is_older = |at: Option<Timestamp>, age| at.is_none_or(|at| is_past(at, now, age));
        is_older(state.asked_at, ASK_EVERY) && (must_be_new || is_older(state.read_at, FRESH))
    }

    /// What was read lately enough.
    fn trusted(&self) -> Result<Arc<[Key]>, IdentityError> {
        let state = self.state();
        let now = self.clock.now();
        match state.read_at {
            Some(at) if !is_past(at, now, TRUSTED) => Ok(state.keys.clone()),
            Some(_) | None => {
                let reason = state.failure.clone();
                let reason = reason.unwrap_or_else(|| "they have not come yet".to_owned());
                Err(IdentityError::Unavailable { reason })
            }
        }
    }

    async fn read(&self) -> Result<Vec<Key>, String> {
        let issuer = &self.options.issuer;
        let place = format!(
            "{}/.well-known/openid-configuration",
            issuer.strip_suffix('/').unwrap_or(issuer)
        );
        let document = self.documents.get(&place).await?;
        let found: Discovered = serde_json::from_slice(&document)
            .map_err(|error| format!("{place} is no discovery document: {error}"))?;
        if found.issuer != *issuer {
            return Err(format!(
                "{place} speaks for {:?}, and {issuer:?} is expected",
                found.issuer
            ));
        }
        if issuer.starts_with("https://") && !found.jwks_uri.starts_with("https://") {
            return Err(format!("{place} names keys that are not behind TLS"));
        }
        let document = self.documents.get(&found.jwks_uri).await?;
        let set: JwkSet = serde_json::from_slice(&document)
            .map_err(|error| format!("{} is no set of keys: {error}", found.jwks_uri))?;
        if set.keys.len() > JWKS_KEYS_MAX {
            return Err(format!("{} has more than {JWKS_KEYS_MAX} keys", found.jwks_uri));
        }
        let keys = set.keys.iter().flat_map(|key| self.usable(key)).collect::<Vec<_>>();
        if keys.is_empty() {
            return Err(format!("{} has no key for the algorithms in use", found.jwks_uri));
        }
        Ok(keys)
    }

    /// A key, once for each algorithm that it may be used with here.
    fn usable(&self, published: &Jwk) -> Vec<Key> {
        let common = &published.common;
        let is_for_signatures = match (&common.public_key_use, &common.key_operations) {
            (Some(used_for), _) => *used_for == PublicKeyUse::Signature,
            (None, Some(operations)) => operations.contains(&KeyOperations::Verify),
            (None, None) => true,
        };
        let Some(key) = DecodingKey::from_jwk(published).ok().filter(|_| is_for_signatures) else {
            return Vec::new();
        };
        let own = common.key_algorithm.map(|own| own.to_string());
        let fits = |algorithm: &&Algorithm| {
            own.as_ref().is_none_or(|own| *own == format!("{algorithm:?}"))
                && signatures::fits(published, **algorithm)
        };
        let algorithms = self.options.algorithms.iter().filter(fits);
        let id = &common.key_id;
        algorithms.map(|a| Key { id: id.clone(), algorithm: *a, key: key.clone() }).collect()
    }

    /// What the signed claims say, if they hold now.
    fn judge(&self, claims: &Claims) -> Result<Identity, IdentityError> {
        let now = self.clock.now().timestamp();
        let options = &self.options;
        if claims.text("iss").as_deref() != Some(options.issuer.as_str()) {
            return Err(refused("another issuer made it"));
        }
        if !claims.texts("aud").contains(&options.audience) {
            return Err(refused("it is meant for somebody else"));
        }
        let time =
            |name| claims.time(name).map_err(|()| refused(&format!("its {name} is no time")));
        match time("exp")? {
            Some(end) if end.saturating_add(LEEWAY) > now => {}
            Some(_) => return Err(refused("it has expired")),
            None => return Err(refused("it never expires")),
        }
        if time("nbf")?.is_some_and(|begin| begin.saturating_sub(LEEWAY) > now) {
            return Err(refused("it does not hold yet"));
        }
        if time("iat")?.is_some_and(|made| made.saturating_sub(LEEWAY) > now) {
            return Err(refused("it was made in the future"));
        }
        let subject = claims.text("sub").filter(|subject| is_name(subject));
        let subject =
            subject.ok_or_else(|| refused("its sub is no name of 1 to 255 characters"))?;
        let tenant = claims.text(&options.tenant_claim);
        let tenant =
            tenant.ok_or_else(|| refused(&format!("{} names no tenant", options.tenant_claim)))?;
        let role = highest(&claims.texts(&options.role_claim));
        let role = role.ok_or_else(|| {
            refused(&format!("{} names no role, or several side by side", options.role_claim))
        })?;
        Ok(Identity { subject, tenant, role })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Identities for Oidc {
    async fn identify(&self, token: &str) -> Result<Identity, IdentityError> {
        let provider = &self.0;
        if token.len() > IDENTITY_TOKEN_BYTES_MAX {
            return Err(refused(&format!("it has more than {IDENTITY_TOKEN_BYTES_MAX} bytes")));
        }
        let header = jsonwebtoken::decode_header(token)
            .map_err(|error| refused(&format!("it is no signed token: {error}")))?;
        if !provider.options.algorithms.contains(&header.alg) {
            return Err(refused(&format!("{:?} is not among the algorithms in use", header.alg)));
        }
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(refused("it asks for something that is not done here"));
        }
        let kind = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(kind.as_str(), "jwt" | "at+jwt" | "application/at+jwt") {
            return Err(refused("it is another kind of token"));
        }
        let (keys, index) = provider.key_of(&header).await?;
        // The claims are judged here, by our own clock and without exceptions for missing ones.
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        let decoded = jsonwebtoken::decode::<Claims>(token, &keys[index].key, &validation);
        let decoded = decoded.map_err(|error| refused(&error.to_string()))?;
        provider.judge(&decoded.claims)
    }
}

/// The one of several roles that may do all that the others may.
fn highest(words: &[String]) -> Option<Role> {
    let roles: Vec<Role> = words.iter().filter_map(|word| Role::parse(word).ok()).collect();
    roles.iter().copied().find(|role| roles.iter().all(|other| role.covers(*other)))
}

/// Whether it can stand in a record: some characters, all of them visible.
fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// Whether something is older than `age`. A clock that went back far tells nothing.
fn is_past(at: Timestamp, now: Timestamp, age: Duration) -> bool {
    let passed = (now - at).to_std();
    passed.map_or_else(|_| (at - now).num_seconds() > LEEWAY, |passed| passed >= age)
}

fn refused(reason: &str) -> IdentityError {
    IdentityError::Refused { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
