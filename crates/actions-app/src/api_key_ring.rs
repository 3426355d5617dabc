//! The API keys and sessions that are in use, in memory: who sends a token is recognised without
//! asking the store.
//!
//! What was revoked, rotated or ended anywhere is asked for at least once a second while tokens come in.
//! A key is let in only by what was asked less than [`API_KEY_TRUST_MAX`] ago, so a node that is cut
//! off from its store lets nobody in rather than somebody who may have been shut out. What the ring
//! does not know it asks the store about, one token at a time and so many in a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::account::{Session, SessionEnd, SignedIn, StoredSession};
use actions_domain::api_key::{ApiKey, ApiKeyStatus, Lookup, StoredToken, Token, TokenError};
use actions_domain::id::{ApiKeyId, SessionId};
use actions_domain::limits::{API_KEY_ASKS_MAX, API_KEY_ASKS_PER_SECOND, API_KEY_TRUST_MAX};
use actions_domain::ports::accounts::Accounts;
use actions_domain::ports::api_keys::ApiKeys;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::store::StoreError;
use metrics::counter;
use tracing::{debug, info, warn};

/// How old an answer about changes may be before somebody asks again.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer of the store may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a lookup that does not exist is remembered. None ever comes to exist.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// How long a token is remembered. A key that its tenant has forgotten since is told of by nobody.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Tokens, and lookups that do not exist, in memory.
const KNOWN_MAX: usize = 50_000;
const UNKNOWN_MAX: usize = 10_000;
/// How often the log is told that one token is refused.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How often the use of one key is written down, and how long others are waited for that go along.
const NOTE_EVERY: Duration = Duration::from_secs(60);
const NOTE_AFTER: Duration = Duration::from_secs(1);

/// Why a token lets nobody in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No token was ever made like this.
    #[error(transparent)]
    Malformed(#[from] TokenError),
    /// A stranger is not told which of these it is; the log is.
    #[error("no API key or session that holds has this token")]
    Unknown,
    /// It was somebody's.
    #[error("the token holds no more")]
    Ended,
    #[error("too many unknown tokens are being asked about")]
    Busy,
    /// It is not known here, and whoever sent it has guessed too often for the store to be asked now.
    #[error("whoever sent it has guessed too often")]
    Barred,
    #[error("the API keys cannot be read")]
    Store(#[from] StoreError),
}

pub struct ApiKeyRing {
    store: Arc<dyn ApiKeys>,
    accounts: Arc<dyn Accounts>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// One question about changes at a time, and one about a token: who asks for what does not
    /// exist holds up nobody who is known.
    polling: tokio::sync::Mutex<()>,
    asking: tokio::sync::Mutex<()>,
}

struct State {
    /// What the store has told of changes up to now, and when it was asked.
    version: Option<i64>,
    asked_at: Option<Timestamp>,
    /// How often somebody knew better.
    doubts: u64,
    /// Grows with each change that was heard of: an answer that was on its way is not kept then.
    generation: u64,
    /// Questions about changes, and about tokens, that the store did not answer.
    failed_polls: u64,
    failed_asks: u64,
    known: HashMap<Spot, Known>,
    unknown: HashMap<Spot, Timestamp>,
    asks: Asks,
    /// When the last use was noted, and what is still to be written.
    noted: HashMap<Used, Timestamp>,
    uses: HashMap<Used, Timestamp>,
    is_writing: bool,
    /// When the log was told of a refused token.
    told: HashMap<Lookup, Timestamp>,
}

/// What kind of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Key,
    Session,
}

/// Where a token is found. Lookups are no secrets: one that is sent as another kind's finds nothing.
type Spot = (Kind, Lookup);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Used {
    Key(ApiKeyId),
    Session(SessionId),
}

/// Whose token it is.
#[derive(Clone)]
enum Holder {
    Key(Arc<ApiKey>),
    Session(Arc<SignedIn>),
}

#[derive(Clone)]
struct Known {
    holder: Holder,
    token: StoredToken,
    read_at: Timestamp,
}

impl State {
    fn keep(&mut self, spot: Spot, known: Known) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(spot, known);
    }
}

/// How many questions are left.
struct Asks {
    left: f64,
    at: Option<Timestamp>,
}

impl Asks {
    /// Those who have guessed too often leave half of them to others.
    fn take(&mut self, now: Timestamp, is_guess: bool) -> bool {
        let passed = self.at.and_then(|at| (now - at).to_std().ok()).unwrap_or_default();
        let more = passed.as_secs_f64() * f64::from(API_KEY_ASKS_PER_SECOND);
        self.left = (self.left + more).min(f64::from(API_KEY_ASKS_MAX));
        self.at = Some(now);
        let kept = if is_guess { f64::from(API_KEY_ASKS_MAX) / 2.0 } else { 0.0 };
        let is_left = self.left >= 1.0 + kept;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }

    /// Who exists is no guess.
    fn give_back(&mut self) {
        self.left += 1.0;
    }
}

/// How long ago it was asked what has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    /// It may be used while somebody asks.
    Trusted,
    Old,
}

/// What the ring knows of a token.
enum Found {
    Known(Known),
    Unknown,
    Nothing,
}

impl ApiKeyRing {
    pub(crate) fn new(
        store: Arc<dyn ApiKeys>,
        accounts: Arc<dyn Accounts>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let state = State {
            version: None,
            asked_at: None,
            doubts: 0,
            generation: 0,
            failed_polls: 0,
            failed_asks: 0,
            known: HashMap::new(),
            unknown: HashMap::new(),
            asks: Asks { left: f64::from(API_KEY_ASKS_MAX), at: None },
            noted: HashMap::new(),
            uses: HashMap::new(),
            is_writing: false,
            told: HashMap::new(),
        };
        let (polling, asking) = (tokio::sync::Mutex::new(()), tokio::sync::Mutex::new(()));
        Self { store, accounts, clock, state: Mutex::new(state), polling, asking }
    }

    /// Finds the key of a token, if it holds at this moment.
    ///
    /// # Errors
    /// Also when the store cannot say whether it still holds: nobody is let in then.
    pub async fn verify(self: &Arc<Self>, sent: &str) -> Result<Arc<ApiKey>, Refusal> {
        self.verify_for(sent, true).await
    }

    /// The same. Where `may_ask` is false the store is not asked about what was never seen here: who
    /// guesses takes nothing away from those who are known.
    ///
    /// # Errors
    /// [`Refusal::Barred`] then.
    pub async fn verify_for(
        self: &Arc<Self>,
        sent: &str,
        may_ask: bool,
    ) -> Result<Arc<ApiKey>, Refusal> {
        counted(self.find_key(sent, may_ask).await)
    }

    /// Finds the session of a token, if it holds at this moment.
    ///
    /// # Errors
    /// As [`ApiKeyRing::verify_for`].
    pub async fn verify_session(
        self: &Arc<Self>,
        sent: &str,
        may_ask: bool,
    ) -> Result<Arc<SignedIn>, Refusal> {
        counted(self.find_session(sent, may_ask).await)
    }

    async fn find_session(
        self: &Arc<Self>,
        sent: &str,
        may_ask: bool,
    ) -> Result<Arc<SignedIn>, Refusal> {
        let token = Token::parse_session(sent)?;
        let spot = (Kind::Session, token.lookup());
        let mut may_ask = may_ask;
        loop {
            let Known { holder, read_at, .. } = self.find(&token, Kind::Session, may_ask).await?;
            let Holder::Session(found) = holder else { return Err(Refusal::Unknown) };
            let now = self.clock.now();
            let used = self.lock().noted.get(&Used::Session(found.session.id)).copied();
            let last_used_at = found.session.last_used_at.max(used.unwrap_or_default());
            let session = Session { last_used_at, ..found.session.clone() };
            let Some(end) = session.end(now) else {
                self.note_use(Used::Session(session.id), Some(last_used_at), now);
                return Ok(found);
            };
            // It may have been used on another node since it was read.
            let is_old = (now - read_at).to_std().is_ok_and(|age| age >= NOTE_EVERY);
            if end == SessionEnd::Idle && is_old {
                self.lock().known.remove(&spot);
                may_ask = true;
                continue;
            }
            if self.is_news(&spot.1, now) {
                let (id, name, tenant) = (session.id, &found.account.name, session.tenant);
                info!(%id, account = %name, %tenant, ?end, "a session was refused");
            }
            return Err(Refusal::Ended);
        }
    }

    /// What was heard of changes up to now, to be handed to [`Self::adopt`].
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Takes a session that has just begun here, so that its first use asks nobody. It was begun
    /// after `generation`: what was heard since may have been its end.
    pub(crate) fn adopt(&self, generation: u64, found: SignedIn, token: StoredToken) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.generation == generation {
            let spot = (Kind::Session, token.lookup);
            let holder = Holder::Session(Arc::new(found));
            state.keep(spot, Known { holder, token, read_at: now });
        }
    }

    /// Finds whose token it is. Nothing is said of whether it holds.
    async fn find(
        self: &Arc<Self>,
        token: &Token,
        kind: Kind,
        may_ask: bool,
    ) -> Result<Known, Refusal> {
        let spot = (kind, token.lookup());
        let found = loop {
            self.hear_of_changes().await?;
            match self.look(&spot) {
                Found::Known(known) => break Some(known),
                Found::Unknown => break None,
                Found::Nothing => {}
            }
            // What was known a while ago is no guess.
            let is_guess = !may_ask && !self.lock().known.contains_key(&spot);
            if let Some(answer) = self.ask_about(&spot, is_guess).await? {
                break answer;
            }
        };
        let Some(known) = found else {
            debug!(lookup = token.lookup().as_str(), "a token of nobody was sent");
            return Err(Refusal::Unknown);
        };
        // Whoever knows the lookup alone learns nothing, not even from the log.
        if known.token.digest != token.digest() {
            debug!(lookup = token.lookup().as_str(), "a token with a wrong secret was sent");
            return Err(Refusal::Unknown);
        }
        Ok(known)
    }

    async fn find_key(self: &Arc<Self>, sent: &str, may_ask: bool) -> Result<Arc<ApiKey>, Refusal> {
        let token = Token::parse(sent)?;
        let Known { holder, token: stored, .. } = self.find(&token, Kind::Key, may_ask).await?;
        let Holder::Key(key) = holder else { return Err(Refusal::Unknown) };
        let now = self.clock.now();
        let reason = match key.status(now) {
            ApiKeyStatus::Revoked => "it is revoked",
            ApiKeyStatus::Expired => "it has expired",
            ApiKeyStatus::Active if stored.ends_at.is_some_and(|end| end <= now) => {
                "the token was replaced by a newer one"
            }
            ApiKeyStatus::Active => {
                self.note_use(Used::Key(key.id), key.last_used_at, now);
                return Ok(key);
            }
        };
        if self.is_news(&stored.lookup, now) {
            let (id, name, tenant) = (key.id, &key.name, key.tenant);
            info!(%id, %name, %tenant, reason, "an API key was refused");
        }
        Err(Refusal::Ended)
    }

    /// Asks for changes before the next token is let in.
    pub fn doubt(&self) {
        let mut state = self.lock();
        state.asked_at = None;
        state.doubts += 1;
    }

    /// Makes sure that what is here was asked for a moment ago.
    async fn hear_of_changes(&self) -> Result<(), StoreError> {
        let is_trusted = match self.age() {
            Age::Fresh => return Ok(()),
            Age::Trusted => true,
            Age::Old => false,
        };
        let failures = self.lock().failed_polls;
        let _guard = match self.polling.try_lock() {
            Ok(guard) => guard,
            // Somebody asks already.
            Err(_) if is_trusted => return Ok(()),
            Err(_) => self.polling.lock().await,
        };
        if self.age() == Age::Fresh {
            return Ok(());
        }
        let failures_now = self.lock().failed_polls;
        let asked = match give_up_with_others(failures, failures_now) {
            Ok(()) => self.ask_for_changes().await,
            refused => refused,
        };
        // Until it is too old, what was heard last holds.
        if self.age() == Age::Old { asked } else { Ok(()) }
    }

    async fn ask_for_changes(&self) -> Result<(), StoreError> {
        let (since, doubts) = {
            let state = self.lock();
            (state.version, state.doubts)
        };
        let now = self.clock.now();
        let changes = self.answer(self.store.api_key_changes(since)).await;
        let mut state = self.lock();
        let changes = changes.inspect_err(|_| state.failed_polls += 1)?;
        if since != Some(changes.version) {
            state.generation += 1;
            match since {
                Some(since) if since <= changes.version => {
                    state.known.retain(|_, known| match &known.holder {
                        Holder::Key(key) => !changes.keys.contains(&key.id),
                        Holder::Session(found) => !changes.sessions.contains(&found.session.id),
                    });
                }
                // A database that went back tells of nothing that it has forgotten.
                Some(_) | None => state.known.clear(),
            }
        }
        state.version = Some(changes.version);
        // Who doubts while the question is on its way does not mean this answer.
        if state.doubts == doubts {
            state.asked_at = Some(now);
        }
        Ok(())
    }

    fn age(&self) -> Age {
        let now = self.clock.now();
        // A clock that was set back tells nothing.
        match self.lock().asked_at.and_then(|at| (now - at).to_std().ok()) {
            Some(age) if age < ASK_EVERY => Age::Fresh,
            Some(age) if age < API_KEY_TRUST_MAX => Age::Trusted,
            Some(_) | None => Age::Old,
        }
    }

    fn look(&self, spot: &Spot) -> Found {
        let now = self.clock.now();
        let state = self.lock();
        // A clock that was set back tells nothing.
        let is_young =
            |known: &&Known| (now - known.read_at).to_std().is_ok_and(|age| age < KNOWN_FOR);
        match (state.known.get(spot).filter(is_young), state.unknown.get(spot)) {
            (Some(known), _) => Found::Known(known.clone()),
            (None, Some(until)) if *until > now => Found::Unknown,
            (None, _) => Found::Nothing,
        }
    }

    /// Asks the store about one token. `None`: somebody else has asked meanwhile.
    async fn ask_about(
        &self,
        spot: &Spot,
        is_guess: bool,
    ) -> Result<Option<Option<Known>>, Refusal> {
        let (kind, lookup) = spot;
        let failures = self.lock().failed_asks;
        let _guard = self.asking.lock().await;
        if !matches!(self.look(spot), Found::Nothing) {
            return Ok(None);
        }
        let failures_now = self.lock().failed_asks;
        give_up_with_others(failures, failures_now)?;
        let now = self.clock.now();
        let generation = {
            let mut state = self.lock();
            if !state.asks.take(now, is_guess) {
                return Err(if is_guess { Refusal::Barred } else { Refusal::Busy });
            }
            state.generation
        };
        let answer = match kind {
            Kind::Key => self
                .answer(self.store.find_token(lookup))
                .await
                .map(|found| found.map(|(key, token)| (Holder::Key(Arc::new(key)), token))),
            Kind::Session => self.answer(self.accounts.find_session(lookup)).await.map(|found| {
                found.map(|(account, StoredSession { session, digest })| {
                    let token = StoredToken { lookup: session.lookup, digest, ends_at: None };
                    (Holder::Session(Arc::new(SignedIn { account, session })), token)
                })
            }),
        };
        let mut state = self.lock();
        let found = match answer {
            // It lets nobody in, and a newer program may read it.
            Err(StoreError::Corrupt { what }) => {
                warn!(what, lookup = lookup.as_str(), "an API key or session cannot be read");
                None
            }
            answer => answer.inspect_err(|_| state.failed_asks += 1)?,
        };
        let Some((holder, token)) = found else {
            if state.unknown.len() >= UNKNOWN_MAX {
                state.unknown.clear();
            }
            state.unknown.insert(*spot, now + UNKNOWN_FOR);
            return Ok(Some(None));
        };
        state.asks.give_back();
        let known = Known { holder, token, read_at: now };
        // What was read before a change that others have heard of meanwhile is used once.
        if state.generation == generation {
            state.keep(*spot, known.clone());
        }
        Ok(Some(Some(known)))
    }

    /// Whether a refusal is worth a line: a program that was forgotten asks all day.
    fn is_news(&self, lookup: &Lookup, now: Timestamp) -> bool {
        let mut state = self.lock();
        let last = state.told.get(lookup).copied();
        if last.is_some_and(|last| (now - last).to_std().is_ok_and(|age| age < TELL_EVERY)) {
            return false;
        }
        if state.told.len() >= UNKNOWN_MAX {
            state.told.clear();
        }
        state.told.insert(*lookup, now);
        true
    }

    async fn answer<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            answer = question => answer,
            () = self.clock.sleep(ANSWER_MAX) => {
                Err(StoreError::unavailable("it does not answer in time"))
            }
        }
    }

    fn note_use(self: &Arc<Self>, used: Used, last_used_at: Option<Timestamp>, now: Timestamp) {
        let mut state = self.lock();
        let last = state.noted.get(&used).copied().or(last_used_at);
        if last.is_some_and(|last| (now - last).to_std().is_ok_and(|age| age < NOTE_EVERY)) {
            return;
        }
        if state.noted.len() >= KNOWN_MAX {
            state.noted.clear();
        }
        state.noted.insert(used, now);
        state.uses.insert(used, now);
        if !std::mem::replace(&mut state.is_writing, true) {
            tokio::spawn(Arc::clone(self).write_uses());
        }
    }

    /// Writes down what has gathered, and ends when there is nothing.
    async fn write_uses(self: Arc<Self>) {
        loop {
            self.clock.sleep(NOTE_AFTER).await;
            let uses: Vec<_> = {
                let mut state = self.lock();
                if state.uses.is_empty() {
                    state.is_writing = false;
                    return;
                }
                state.uses.drain().collect()
            };
            let (mut keys, mut sessions) = (Vec::new(), Vec::new());
            for (used, at) in uses {
                match used {
                    Used::Key(key) => keys.push((key, at)),
                    Used::Session(session) => sessions.push((session, at)),
                }
            }
            if !keys.is_empty()
                && let Err(error) = self.store.note_api_key_uses(&keys).await
            {
                warn!(%error, "the last uses of API keys are not written down");
            }
            if !sessions.is_empty()
                && let Err(error) = self.accounts.note_session_uses(&sessions).await
            {
                warn!(%error, "the last uses of sessions are not written down");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counted<T>(found: Result<T, Refusal>) -> Result<T, Refusal> {
    if let Err(refusal) = &found {
        let reason = match refusal {
            Refusal::Malformed(_) => "malformed",
            Refusal::Unknown => "unknown",
            Refusal::Ended => "ended",
            Refusal::Busy => "busy",
            Refusal::Barred => "barred",
            Refusal::Store(_) => "store",
        };
        counter!("actions_api_key_refusals_total", "reason" => reason).increment(1);
    }
    found
}

/// Who waited while another one's question failed does not ask again: a store that does not answer
/// would be waited for by one after the other.
fn give_up_with_others(failures_before: u64, failures: u64) -> Result<(), StoreError> {
    if failures_before == failures {
        return Ok(());
    }
    Err(StoreError::unavailable("it did not answer a moment ago"))
}
