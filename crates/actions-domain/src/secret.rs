//! Stored secrets: texts that a tenant's definitions name, and never hold.
//!
//! A [`SecretText`] is the plain text and is never shown. A [`Secret`] is what may be told of it,
//! and [`Sealed`] is what a store keeps. What this module does not do is encrypt: that is the
//! [`crate::ports::vault::Vault`]'s.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::Timestamp;
use crate::id::{SecretId, TenantId};
use crate::limits::{MASTER_KEY_ID_BYTES_MAX, NAME_BYTES_MAX, SECRET_BYTES_MAX};

mod masking;
mod reference;

pub use masking::Masking;
pub use reference::{MalformedReference, PREVIOUS, Piece, SecretReference, pieces, references};

/// A secret's name, unique inside its tenant. It is a word that a template can hold: letters,
/// digits and `_`, and no digit first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SecretName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretNameError {
    #[error("a secret's name has 1 to {NAME_BYTES_MAX} letters, digits or _, and no digit first")]
    Form,
    #[error("{PREVIOUS} is no name: {{{{ secrets.{PREVIOUS}.NAME }}}} stands for an older version")]
    Reserved,
}

impl SecretName {
    pub fn parse(raw: &str) -> Result<Self, SecretNameError> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let starts_well = raw.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if raw.len() > NAME_BYTES_MAX || !starts_well || !raw.bytes().all(is_word) {
            return Err(SecretNameError::Form);
        }
        if raw == PREVIOUS {
            return Err(SecretNameError::Reserved);
        }
        Ok(Self(raw.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The plain text of a secret. Nothing prints or serializes it, and its memory is wiped when it is
/// dropped.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretTextError {
    #[error("a secret must not be empty")]
    Empty,
    #[error("a secret has at most {SECRET_BYTES_MAX} bytes, not {bytes}")]
    TooLong { bytes: usize },
    #[error("a secret cannot hold the character NUL")]
    Nul,
}

impl SecretText {
    /// Takes any text, like one that a store has kept.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Whether it can be stored.
    ///
    /// # Errors
    /// Which rule it breaks, without a part of it.
    pub fn check(&self) -> Result<(), SecretTextError> {
        match self.0.len() {
            0 => Err(SecretTextError::Empty),
            bytes if bytes > SECRET_BYTES_MAX => Err(SecretTextError::TooLong { bytes }),
            _ if self.0.contains('\0') => Err(SecretTextError::Nul),
            _ => Ok(()),
        }
    }

    /// The text itself, for whoever has to seal or send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same text. It takes the same time wherever they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(other.0.as_bytes())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A derived message would repeat the value.
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::new(text)),
            mut other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)) => {
                wipe(&mut other);
                Err(serde::de::Error::custom("a secret must be a string"))
            }
        }
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Overwrites every text of a value that held secrets.
pub fn wipe(value: &mut Value) {
    use zeroize::Zeroize;
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a master key is called. It is no secret, and stands beside all that the key has wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MasterKeyId(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a master key's id has 1 to {MASTER_KEY_ID_BYTES_MAX} letters, digits, '-', '_' or '.'")]
pub struct MasterKeyIdError;

impl MasterKeyId {
    pub fn parse(raw: &str) -> Result<Self, MasterKeyIdError> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=MASTER_KEY_ID_BYTES_MAX).contains(&raw.len()) && raw.bytes().all(is_allowed) {
            return Ok(Self(raw.to_owned()));
        }
        Err(MasterKeyIdError)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may be told of a secret: everything but its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Never used again: of a name that is deleted and put anew, nothing old is valid.
    pub id: SecretId,
    pub tenant: TenantId,
    pub name: SecretName,
    pub created_at: Timestamp,
    pub created_by: String,
    pub current: SecretVersion,
    /// The one before, while it may still be used.
    pub previous: Option<SecretVersion>,
}

/// One text that a secret has or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretVersion {
    /// From 1.
    pub number: i64,
    /// The master key that its data key is wrapped with.
    pub key: MasterKeyId,
    pub created_at: Timestamp,
    pub created_by: String,
    /// From then on it is not used any more. The current one has no end.
    pub ends_at: Option<Timestamp>,
}

impl Secret {
    /// The version before, if it may be used at this moment.
    pub fn previous_at(&self, now: Timestamp) -> Option<&SecretVersion> {
        let holds = |version: &&SecretVersion| version.ends_at.is_some_and(|end| end > now);
        self.previous.as_ref().filter(holds)
    }

    /// Where the text of one of its versions belongs.
    pub fn place(&self, number: i64) -> SecretPlace {
        SecretPlace { tenant: self.tenant, id: self.id, name: self.name.clone(), number }
    }
}

/// A secret with its sealed texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    pub secret: Secret,
    pub current: Sealed,
    /// There is one where [`Secret::previous`] is.
    pub previous: Option<Sealed>,
}

/// A text sealed with a data key of its own, and that key wrapped with a master key.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    pub key: MasterKeyId,
    /// The data key. Only the holder of the master key can read it.
    pub wrapped: Vec<u8>,
    pub text: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.key)
    }
}

/// The one place where a sealed text is valid. Moved to another tenant, name or version it cannot
/// be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlace {
    pub tenant: TenantId,
    pub id: SecretId,
    pub name: SecretName,
    pub number: i64,
}

impl SecretPlace {
    /// What is authenticated beside a ciphertext. Two different places or purposes never have the
    /// same bytes: what may vary in length comes with its length.
    pub fn associated_data(&self, purpose: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + purpose.len() + self.name.as_str().len());
        for text in [purpose, self.name.as_str()] {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(self.tenant.0.to_be_bytes());
        bytes.extend(self.id.0.as_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests;
