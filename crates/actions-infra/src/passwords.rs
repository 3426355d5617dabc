//! Passwords with Argon2id (RFC 9106), at the cost that OWASP's sheet of password storage asks for
//! at least: 19 MiB, two passes, one lane.
//!
//! What is kept is a text in the PHC string format, which says how it was made, so that the cost can
//! be raised later. Hashing runs outside of the runtime's own threads, and only so many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actions_domain::account::{Password, PasswordHash};
use actions_domain::limits::{PASSWORD_HASHES_MAX, PASSWORD_WAITS_MAX};
use actions_domain::ports::dice::Dice;
use actions_domain::ports::passwords::{Passwords, PasswordsError, Who};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// What a stored hash may ask for at most: a damaged row does not take the machine's memory.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;

/// How much one hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
}

impl Default for Cost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

/// Hashes with Argon2id.
pub struct Argon2Passwords {
    cost: Cost,
    dice: Arc<dyn Dice>,
    known: Room,
    strangers: Room,
}

/// Places where passwords are hashed, and those who wait for one.
struct Room {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Somebody waits for as long as this is there.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a stored text says.
struct Stored {
    cost: Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2Passwords {
    pub fn new(cost: Cost, dice: Arc<dyn Dice>) -> Self {
        let room = || Room {
            places: Arc::new(Semaphore::new(PASSWORD_HASHES_MAX)),
            waiting: AtomicUsize::new(0),
        };
        Self { cost, dice, known: room(), strangers: room() }
    }

    async fn derive(
        &self,
        password: &Password,
        cost: Cost,
        salt: Vec<u8>,
        who: Who,
    ) -> Result<[u8; HASH_BYTES], PasswordsError> {
        let room = match who {
            Who::Known => &self.known,
            Who::Stranger => &self.strangers,
        };
        if room.waiting.fetch_add(1, Ordering::Relaxed) >= PASSWORD_WAITS_MAX {
            room.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(PasswordsError::Busy);
        }
        let waiting = Waiting(&room.waiting);
        let place = room.places.clone().acquire_owned().await.map_err(failed)?;
        drop(waiting);
        let text = Zeroizing::new(password.expose().as_bytes().to_vec());
        let work = tokio::task::spawn_blocking(move || {
            // Who asked may have gone; the memory is taken for as long as this runs.
            let _place = place;
            derive(&text, cost, &salt)
        });
        work.await.map_err(failed)?
    }
}

fn failed(error: impl std::fmt::Display) -> PasswordsError {
    PasswordsError::Failed { reason: error.to_string() }
}

fn derive(text: &[u8], cost: Cost, salt: &[u8]) -> Result<[u8; HASH_BYTES], PasswordsError> {
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(HASH_BYTES)).map_err(failed)?;
    let mut hash = [0; HASH_BYTES];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(text, salt, &mut hash).map_err(failed)?;
    Ok(hash)
}

impl Stored {
    /// `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (cost, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |name: &str, text: &str| text.strip_prefix(name)?.parse::<u32>().ok();
        let mut numbers = cost.split(',');
        let memory_kib = number("m=", numbers.next()?)?;
        let passes = number("t=", numbers.next()?)?;
        let is_known = number("p=", numbers.next()?)? == 1 && numbers.next().is_none();
        let salt = STANDARD_NO_PAD.decode(salt).ok()?;
        let hash = STANDARD_NO_PAD.decode(hash).ok()?;
        let is_fitting = memory_kib <= MEMORY_KIB_MAX && passes <= PASSES_MAX;
        let is_whole = parts.next().is_none() && hash.len() == HASH_BYTES;
        let cost = Cost { memory_kib, passes };
        (is_known && is_fitting && is_whole).then_some(Self { cost, salt, hash })
    }
}

#[async_trait]
impl Passwords for Argon2Passwords {
    async fn hash(&self, password: &Password) -> Result<PasswordHash, PasswordsError> {
        let mut salt = vec![0; SALT_BYTES];
        self.dice.fill(&mut salt);
        let Cost { memory_kib, passes } = self.cost;
        let encoded = STANDARD_NO_PAD.encode(&salt);
        let hash = self.derive(password, self.cost, salt, Who::Known).await?;
        let hash = STANDARD_NO_PAD.encode(hash);
        let text = format!("$argon2id$v=19$m={memory_kib},t={passes},p=1${encoded}${hash}");
        Ok(PasswordHash::from_record(text))
    }

    async fn is_right(
        &self,
        password: &Password,
        hash: Option<&PasswordHash>,
        who: Who,
    ) -> Result<bool, PasswordsError> {
        let Some(hash) = hash else {
            self.derive(password, self.cost, vec![0; SALT_BYTES], who).await?;
            return Ok(false);
        };
        let stored = Stored::parse(hash.as_str());
        let stored = stored.ok_or_else(|| failed("what is kept of it cannot be read"))?;
        let found = self.derive(password, stored.cost, stored.salt, who).await?;
        Ok(bool::from(found.as_slice().ct_eq(stored.hash.as_slice())))
    }
}

#[cfg(test)]
mod tests;
