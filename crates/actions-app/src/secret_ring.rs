//! The secrets that attempts of this node use, opened, in memory.
//!
//! What is here is used only while the store was asked less than
//! [`SECRET_TRUST_MAX`] ago whether anything has changed; after a change of any secret all of it is
//! read again. So a new version is used everywhere within that time, with or without hints. A store
//! that does not answer lets an attempt wait, as for everything else that it has to read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::id::TenantId;
use actions_domain::limits::SECRET_TRUST_MAX;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::secrets::Secrets;
use actions_domain::ports::store::StoreError;
use actions_domain::ports::vault::{Vault, VaultError};
use actions_domain::secret::{SealedSecret, SecretName, SecretReference, SecretText};
use tracing::warn;

/// How old an answer about changes may be before somebody asks again.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer of the store may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Bytes of texts in memory. Beyond, all of it is read again when it is needed.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an entry takes beside its texts, names that do not exist included.
const ENTRY_BYTES: usize = 256;

/// Why a secret is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    #[error("there is no secret {name}; store it with: actions secret put {name}")]
    NotFound { name: SecretName },
    /// It was never replaced, or the time of the version before is over.
    #[error("the secret {name} has no previous version that may still be used")]
    NoPrevious { name: SecretName },
    #[error("the secret {name} cannot be opened: {error}")]
    Closed { name: SecretName, error: VaultError },
}

pub struct SecretRing {
    store: Arc<dyn Secrets>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// One question about changes at a time.
    polling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// What the store said last, and when it was asked.
    version: Option<i64>,
    asked_at: Option<Timestamp>,
    /// How often somebody knew better.
    doubts: u64,
    /// Grows with each change that was heard of: what was on its way is not kept then.
    generation: u64,
    known: HashMap<(TenantId, SecretName), Option<Arc<Opened>>>,
    bytes: usize,
}

/// A secret with its texts.
struct Opened {
    current: SecretText,
    previous: Option<(SecretText, Timestamp)>,
}

impl SecretRing {
    pub(crate) fn new(
        store: Arc<dyn Secrets>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (state, polling) = (Mutex::default(), tokio::sync::Mutex::new(()));
        Self { store, vault, clock, state, polling }
    }

    /// The texts of these secrets as they are now, in the same order.
    ///
    /// # Errors
    /// The outer one when the store does not answer; that says nothing about the secrets.
    pub(crate) async fn find(
        &self,
        tenant: TenantId,
        wanted: &[SecretReference],
    ) -> Result<Vec<Result<SecretText, Missing>>, StoreError> {
        self.hear_of_changes().await?;
        let mut found = HashMap::new();
        let mut unknown = Vec::new();
        let generation = {
            let state = self.lock();
            for SecretReference { name, .. } in wanted {
                match state.known.get(&(tenant, name.clone())) {
                    Some(known) => {
                        found.insert(name.clone(), Ok(known.clone()));
                    }
                    None if unknown.contains(name) => {}
                    None => unknown.push(name.clone()),
                }
            }
            state.generation
        };
        if !unknown.is_empty() {
            let sealed = self.answer(self.store.find_secrets(tenant, &unknown)).await?;
            for name in unknown {
                let sealed = sealed.iter().find(|sealed| sealed.secret.name == name);
                let opened = match sealed {
                    Some(sealed) => self.open(sealed).await.map(|opened| Some(Arc::new(opened))),
                    None => Ok(None),
                };
                if let Ok(opened) = &opened {
                    self.keep(tenant, &name, opened.clone(), generation);
                }
                found.insert(name, opened);
            }
        }
        let now = self.clock.now();
        let text = |reference: &SecretReference| {
            let name = reference.name.clone();
            match (found.get(&reference.name), reference.is_previous) {
                (Some(Err(error)), _) => Err(Missing::Closed { name, error: error.clone() }),
                (None | Some(Ok(None)), _) => Err(Missing::NotFound { name }),
                (Some(Ok(Some(opened))), false) => Ok(opened.current.clone()),
                (Some(Ok(Some(opened))), true) => match &opened.previous {
                    Some((text, ends_at)) if *ends_at > now => Ok(text.clone()),
                    Some(_) | None => Err(Missing::NoPrevious { name }),
                },
            }
        };
        Ok(wanted.iter().map(text).collect())
    }

    /// Asks for changes before anything is used again.
    pub(crate) fn doubt(&self) {
        let mut state = self.lock();
        state.asked_at = None;
        state.doubts += 1;
    }

    async fn open(&self, sealed: &SealedSecret) -> Result<Opened, VaultError> {
        let SealedSecret { secret, current, previous } = sealed;
        let current = self.vault.open(&secret.place(secret.current.number), current).await?;
        let mut older = None;
        if let (Some(sealed), Some(version)) = (previous, secret.previous_at(self.clock.now())) {
            match self.vault.open(&secret.place(version.number), sealed).await {
                Ok(text) => older = version.ends_at.map(|end| (text, end)),
                // The current one is what nearly everybody wants.
                Err(error) => {
                    let (name, tenant) = (&secret.name, secret.tenant);
                    warn!(%name, %tenant, %error, "the previous version of a secret stays closed");
                }
            }
        }
        Ok(Opened { current, previous: older })
    }

    fn keep(
        &self,
        tenant: TenantId,
        name: &SecretName,
        opened: Option<Arc<Opened>>,
        generation: u64,
    ) {
        let mut state = self.lock();
        // What was read before a change that others have heard of meanwhile is used once.
        if state.generation != generation {
            return;
        }
        let texts = opened.iter().map(|opened| {
            let older = opened.previous.as_ref().map_or(0, |(text, _)| text.expose().len());
            opened.current.expose().len() + older
        });
        let bytes = ENTRY_BYTES + texts.sum::<usize>();
        if state.bytes + bytes > BYTES_MAX {
            state.known.clear();
            state.bytes = 0;
        }
        if state.known.insert((tenant, name.clone()), opened).is_none() {
            state.bytes += bytes;
        }
    }

    /// Makes sure that what is here was asked about a moment ago.
    async fn hear_of_changes(&self) -> Result<(), StoreError> {
        if self.age().is_some_and(|age| age < ASK_EVERY) {
            return Ok(());
        }
        let _guard = self.polling.lock().await;
        if self.age().is_some_and(|age| age < ASK_EVERY) {
            return Ok(());
        }
        let doubts = self.lock().doubts;
        let now = self.clock.now();
        let version = match self.answer(self.store.secrets_version()).await {
            Ok(version) => version,
            // Until it is too old, what was heard last holds.
            Err(_) if self.age().is_some_and(|age| age < SECRET_TRUST_MAX) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut state = self.lock();
        // A database that went back has another version, too.
        if state.version != Some(version) {
            state.generation += 1;
            state.known.clear();
            state.bytes = 0;
        }
        state.version = Some(version);
        // Who doubts while the question is on its way does not mean this answer.
        if state.doubts == doubts {
            state.asked_at = Some(now);
        }
        Ok(())
    }

    /// How long ago it was asked what has changed. A clock that was set back tells nothing.
    fn age(&self) -> Option<Duration> {
        let now = self.clock.now();
        self.lock().asked_at.and_then(|at| (now - at).to_std().ok())
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
