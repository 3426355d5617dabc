//! Who guesses at tokens and passwords, and how long they wait ([`actions_domain::guesses`]).
//!
//! It is this process's own: nothing is shared, so whoever asks several nodes has that many tries
//! more. Passwords that were refused are written into the audit once a minute, as a number for each
//! account, so that a guesser cannot fill it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::account::AccountName;
use actions_domain::audit::{Act, ActKind};
use actions_domain::authorization::AuthorizationContext;
use actions_domain::guesses::{Guesses, Peer, Target};
use actions_domain::id::TenantId;
use actions_domain::ports::audit::Audit;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::passwords::Who;
use metrics::counter;
use serde_json::json;
use tracing::warn;

/// How long refused logins gather before they are written down.
const WRITE_AFTER: Duration = Duration::from_secs(60);
/// Accounts whose refused logins are counted one by one. More of them are counted together.
const COUNTED_MAX: usize = 1_000;

pub struct GuessCounter {
    clock: Arc<dyn Clock>,
    audit: Arc<dyn Audit>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    guesses: Guesses,
    /// `None`: names of no account, and of more accounts than are counted.
    refused: HashMap<(TenantId, Option<AccountName>), Refused>,
    is_writing: bool,
}

struct Refused {
    count: u64,
    since: Timestamp,
    until: Timestamp,
}

/// Where a request comes from. `None`: nobody said so.
pub fn peer_of(address: Option<IpAddr>) -> Option<Peer> {
    address.map(Peer::of)
}

impl GuessCounter {
    pub(crate) fn new(clock: Arc<dyn Clock>, audit: Arc<dyn Audit>) -> Self {
        Self { clock, audit, state: Mutex::default() }
    }

    /// How long an address has to wait before it may cause work with an unknown token. Of those who
    /// cannot be told apart nobody waits.
    pub fn wait(&self, address: Option<IpAddr>) -> Option<Duration> {
        self.lock().guesses.wait(Peer::of(address?), self.clock.now())
    }

    /// Notes a token that nobody has.
    pub fn fail(&self, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        self.lock().guesses.fail(Peer::of(address), self.clock.now());
    }

    /// Those who cannot be told apart wait for nobody but the places where passwords are hashed.
    pub(crate) fn try_login(&self, target: Target, peer: Option<Peer>) -> Result<Who, Duration> {
        let tried = self.lock().guesses.try_login(target, peer, self.clock.now());
        let is_familiar = tried.inspect_err(|_| count("throttled"))?;
        Ok(if is_familiar { Who::Known } else { Who::Stranger })
    }

    pub(crate) fn succeed(&self, target: Target, peer: Option<Peer>) {
        self.lock().guesses.succeed(target, peer, self.clock.now());
    }

    /// Nobody has looked at the password.
    pub(crate) fn undo(&self, target: Target, peer: Option<Peer>) {
        self.lock().guesses.undo(target, peer);
    }

    /// Counts a login that was refused, for the audit of its tenant.
    pub(crate) fn refuse(self: &Arc<Self>, tenant: Option<TenantId>, name: Option<&AccountName>) {
        count("refused");
        let Some(tenant) = tenant else { return };
        let now = self.clock.now();
        let mut state = self.lock();
        let mut key = (tenant, name.cloned());
        if state.refused.len() >= COUNTED_MAX && !state.refused.contains_key(&key) {
            key.1 = None;
        }
        let new = Refused { count: 0, since: now, until: now };
        let refused = state.refused.entry(key).or_insert(new);
        refused.count += 1;
        refused.until = now;
        if !std::mem::replace(&mut state.is_writing, true) {
            tokio::spawn(Arc::clone(self).write_refused());
        }
    }

    /// Writes down what has gathered, and ends when there is nothing.
    async fn write_refused(self: Arc<Self>) {
        loop {
            self.clock.sleep(WRITE_AFTER).await;
            let refused: Vec<_> = {
                let mut state = self.lock();
                if state.refused.is_empty() {
                    state.is_writing = false;
                    return;
                }
                state.refused.drain().collect()
            };
            for ((tenant, name), Refused { count, since, until }) in refused {
                let engine = AuthorizationContext::of_engine(tenant, "logins");
                let subject = match name {
                    Some(name) => format!("account:{name}"),
                    None => "accounts".to_owned(),
                };
                let act = Act::new(&engine, tenant, until, ActKind::LoginsRefused, subject)
                    .to(json!({ "count": count, "since": since, "until": until }));
                if let Err(error) = self.audit.record_act(&act).await {
                    warn!(%error, %tenant, count, "refused logins are not written down");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(reason: &'static str) {
    counter!("actions_login_refusals_total", "reason" => reason).increment(1);
}
