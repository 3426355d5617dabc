//! Accounts of people who log in with a name and a password, and what they get for it: sessions.
//!
//! An account is to a person what an API key is to a program: it belongs to one tenant and has one
//! role. A session is what a login leads to. Its token is formed and kept like that of an API key, so
//! that the same rules hold: random, stored as a digest, taken back everywhere within two seconds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::api_key::{Digest, Lookup, Token};
use crate::authorization::Role;
use crate::id::{AccountId, SessionId, TenantId};
use crate::limits::{
    ACCOUNT_NAME_BYTES_MAX, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, SESSION_IDLE_MAX,
};
use crate::secret::SecretText;

/// An account's name, unique among the accounts of its tenant. Letters become small ones, so that
/// nobody has to remember which were capitals, and no two differ by that alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AccountName(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountNameError {
    #[error(
        "an account's name has 1 to {ACCOUNT_NAME_BYTES_MAX} letters, digits or any of . _ - + @, and begins with a letter or digit; an e-mail address is one"
    )]
    Form,
    #[error("a name that looks like an id would be taken for one")]
    Id,
}

impl AccountName {
    pub fn parse(raw: &str) -> Result<Self, AccountNameError> {
        let is_part =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+' | b'@');
        let starts_well = raw.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if raw.len() > ACCOUNT_NAME_BYTES_MAX || !starts_well || !raw.bytes().all(is_part) {
            return Err(AccountNameError::Form);
        }
        if raw.parse::<AccountId>().is_ok() {
            return Err(AccountNameError::Id);
        }
        Ok(Self(raw.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password as somebody typed it. Nothing shows it, and its memory is wiped.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Password(SecretText);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters; a few words are a good one")]
    Short,
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    Long,
    #[error("a password is not the name of its account")]
    Name,
    #[error("a password is not one character over and over")]
    Monotonous,
}

impl Password {
    pub fn new(text: String) -> Self {
        Self(SecretText::new(text))
    }

    /// Whether it may be chosen. How long it is decides what it is worth; which kinds of characters
    /// it has does not (NIST SP 800-63B-4, 3.1.1.2).
    ///
    /// # Errors
    /// Which rule it breaks, without a part of it.
    pub fn check(&self, name: &AccountName) -> Result<(), PasswordError> {
        let text = self.0.expose();
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::Long);
        }
        if text.chars().count() < PASSWORD_CHARS_MIN {
            return Err(PasswordError::Short);
        }
        if text.trim().eq_ignore_ascii_case(name.as_str()) {
            return Err(PasswordError::Name);
        }
        let first = text.chars().next();
        if text.chars().all(|c| Some(c) == first) {
            return Err(PasswordError::Monotonous);
        }
        Ok(())
    }

    /// Whether it can be anybody's: what is longer is not hashed.
    pub fn is_possible(&self) -> bool {
        self.0.expose().len() <= PASSWORD_BYTES_MAX
    }

    /// The text itself, for whoever hashes or sends it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// What is kept of a password: a text that says how it was made (PHC string format), and from which
/// it cannot be told.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub fn from_record(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whoever has it can try passwords against it, so no log line holds one.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub tenant: TenantId,
    pub name: AccountName,
    pub role: Role,
    /// The actor who made it.
    pub created_by: String,
    pub created_at: Timestamp,
    pub password_set_at: Timestamp,
    /// `None`: it may log in.
    pub disabled_at: Option<Timestamp>,
    pub last_login_at: Option<Timestamp>,
    /// Grows with each change but a login: what was judged by an older one does not count.
    pub revision: i64,
}

impl Account {
    pub const fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }
}

/// What is done to an account. Each ends its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChange {
    Password(PasswordHash),
    Role(Role),
    Disable,
    Enable,
    /// Nothing but the end of its sessions.
    LogOut,
    Delete,
}

/// What a login led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub tenant: TenantId,
    pub account: AccountId,
    pub created_at: Timestamp,
    /// However much it is used.
    pub expires_at: Timestamp,
    /// To about a minute.
    pub last_used_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub lookup: Lookup,
}

/// A session with its digest, as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    pub session: Session,
    pub digest: Digest,
}

/// Who has a session, as the store says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub account: Account,
    pub session: Session,
}

impl Session {
    /// Why it lets nobody in. `None`: it holds.
    pub fn end(&self, now: Timestamp) -> Option<SessionEnd> {
        if self.ended_at.is_some() {
            Some(SessionEnd::Ended)
        } else if self.expires_at <= now {
            Some(SessionEnd::Expired)
        } else if self.last_used_at + SESSION_IDLE_MAX <= now {
            Some(SessionEnd::Idle)
        } else {
            None
        }
    }
}

/// Why a session holds no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// Somebody ended it, or changed its account.
    Ended,
    Expired,
    /// It was not used for too long.
    Idle,
}

/// What a page has to send beside a cookie with a session's token, to show that it could read an
/// answer of ours: no page of another site can. Whoever knows it alone cannot tell the token.
pub fn csrf_token(token: &Token) -> String {
    let key = blake3::derive_key("actions session csrf 1", token.expose().as_bytes());
    blake3::Hash::from_bytes(key).to_hex().to_string()
}

#[cfg(test)]
mod tests;
