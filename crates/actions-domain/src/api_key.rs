//! API keys: what a caller proves itself with, and what that lets it do.
//!
//! A key is what people manage: a name, a role, an end. What is sent with a request is a token of
//! it, `act_` and 60 letters and digits. Nobody keeps a token but its owner: the store has its
//! digest, and a lookup to find that by.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::action::ActionName;
use crate::authorization::Role;
use crate::id::{ApiKeyId, TenantId};

/// What every token of an API key begins with.
pub const TOKEN_PREFIX: &str = "act_";
/// What every token of a session begins with. It is as long.
pub const SESSION_TOKEN_PREFIX: &str = "acs_";
/// The same for tokens of sessions, whose form is the same behind it.
pub const SESSION_TOKEN_REGEX: &str = r"\bacs_[0-9A-Za-z]{60}\b";
/// What scanners for leaked secrets look for. The last six characters are a checksum.
pub const TOKEN_REGEX: &str = r"\bact_[0-9A-Za-z]{60}\b";
/// Random bytes of a token: those of its lookup and 32 of its secret.
pub const TOKEN_RANDOM_BYTES: usize = LOOKUP_RANDOM_BYTES + 32;

const LOOKUP_RANDOM_BYTES: usize = 8;
/// Digits of base 62 that hold 64, 256 and 32 bits.
const LOOKUP_LENGTH: usize = 11;
const SECRET_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;
const BODY_LENGTH: usize = TOKEN_PREFIX.len() + LOOKUP_LENGTH + SECRET_LENGTH;
const TOKEN_LENGTH: usize = BODY_LENGTH + CHECKSUM_LENGTH;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An API key's name, unique among the living keys of its tenant. It is formed like an action's,
/// and is no id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApiKeyName(ActionName);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyNameError {
    #[error(transparent)]
    Form(#[from] crate::action::ActionNameError),
    #[error("a name that looks like an id would be taken for one")]
    Id,
}

impl ApiKeyName {
    pub fn parse(raw: &str) -> Result<Self, ApiKeyNameError> {
        if raw.parse::<ApiKeyId>().is_ok() {
            return Err(ApiKeyNameError::Id);
        }
        Ok(Self(ActionName::parse(raw)?))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ApiKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An API key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub tenant: TenantId,
    pub name: ApiKeyName,
    pub role: Role,
    /// The actor who asked for it.
    pub created_by: String,
    pub created_at: Timestamp,
    /// From then on it holds no more. `None`: until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// To about a minute.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// Of its newest token.
    pub lookup: Lookup,
    /// Until then its older tokens hold at most, where there are any.
    pub others_end_at: Option<Timestamp>,
}

/// Whether a key lets anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKeyStatus {
    Active,
    Expired,
    Revoked,
}

impl ApiKeyStatus {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl ApiKey {
    pub fn status(&self, now: Timestamp) -> ApiKeyStatus {
        if self.revoked_at.is_some() {
            ApiKeyStatus::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            ApiKeyStatus::Expired
        } else {
            ApiKeyStatus::Active
        }
    }

    /// What it is with a new token.
    #[must_use]
    pub fn rotated(self, token: &StoredToken, others_end_at: Timestamp) -> Self {
        Self { lookup: token.lookup, others_end_at: Some(others_end_at), ..self }
    }

    pub fn is_living(&self, now: Timestamp) -> bool {
        self.status(now) == ApiKeyStatus::Active
    }
}

/// A token as its owner sends it: well-formed, and not known to belong to anybody.
///
/// Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The part of a token that finds its key. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lookup([u8; LOOKUP_LENGTH]);

/// What a store keeps of a token. Comparing takes the same time wherever two differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(blake3::Hash);

/// What a store keeps of one token of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredToken {
    pub lookup: Lookup,
    pub digest: Digest,
    /// From then on another token of the key has to be sent. `None`: it ends with its key.
    pub ends_at: Option<Timestamp>,
}

/// What is wrong with a text that should be a token. It is found out without asking anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error(
        "an API key's token begins with {TOKEN_PREFIX}, a session's with {SESSION_TOKEN_PREFIX}"
    )]
    Prefix,
    #[error(
        "a token has {TOKEN_LENGTH} characters, not {length}; a part is missing, or something was added"
    )]
    Length { length: usize },
    #[error("after its first four characters, a token has letters and digits only")]
    Character,
    #[error("the token has a typing error: its checksum is wrong")]
    Checksum,
}

impl Token {
    /// Makes an API key's token of uniform random bytes from a cryptographic source.
    pub fn mint(random: &[u8; TOKEN_RANDOM_BYTES]) -> Self {
        Self::mint_with(TOKEN_PREFIX, random)
    }

    /// The same for a session.
    pub fn mint_session(random: &[u8; TOKEN_RANDOM_BYTES]) -> Self {
        Self::mint_with(SESSION_TOKEN_PREFIX, random)
    }

    fn mint_with(prefix: &str, random: &[u8; TOKEN_RANDOM_BYTES]) -> Self {
        let (lookup, secret) = random.split_at(LOOKUP_RANDOM_BYTES);
        let body =
            format!("{prefix}{}{}", base62(lookup, LOOKUP_LENGTH), base62(secret, SECRET_LENGTH));
        let checksum = checksum(&body);
        Self(body + &checksum)
    }

    /// Reads what a caller sent as an API key's token. Every single wrong or swapped character is
    /// noticed.
    pub fn parse(raw: &str) -> Result<Self, TokenError> {
        Self::parse_with(TOKEN_PREFIX, raw)
    }

    /// The same for a session's.
    pub fn parse_session(raw: &str) -> Result<Self, TokenError> {
        Self::parse_with(SESSION_TOKEN_PREFIX, raw)
    }

    fn parse_with(prefix: &str, raw: &str) -> Result<Self, TokenError> {
        let rest = raw.strip_prefix(prefix).ok_or(TokenError::Prefix)?;
        if !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(TokenError::Character);
        }
        if raw.len() != TOKEN_LENGTH {
            return Err(TokenError::Length { length: raw.len() });
        }
        let (body, sum) = raw.split_at(BODY_LENGTH);
        if checksum(body) != sum {
            return Err(TokenError::Checksum);
        }
        Ok(Self(raw.to_owned()))
    }

    pub fn lookup(&self) -> Lookup {
        let mut lookup = [0; LOOKUP_LENGTH];
        // Both prefixes are as long.
        let start = TOKEN_PREFIX.len();
        lookup.copy_from_slice(&self.0.as_bytes()[start..start + LOOKUP_LENGTH]);
        Lookup(lookup)
    }

    pub fn digest(&self) -> Digest {
        Digest(blake3::hash(self.0.as_bytes()))
    }

    pub fn stored(&self) -> StoredToken {
        StoredToken { lookup: self.lookup(), digest: self.digest(), ends_at: None }
    }

    /// The token in plain text, for the one answer that shows it to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.lookup().beginning())
    }
}

impl Lookup {
    /// Reads what a store has kept.
    pub fn from_record(raw: &str) -> Option<Self> {
        let is_formed = raw.bytes().all(|byte| byte.is_ascii_alphanumeric());
        raw.as_bytes().try_into().ok().filter(|_| is_formed).map(Self)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("it has ASCII letters and digits only")
    }

    /// What its token begins with, so that people find the key of a token.
    pub fn beginning(&self) -> String {
        format!("{TOKEN_PREFIX}{}", self.as_str())
    }
}

impl Digest {
    pub fn from_record(bytes: [u8; 32]) -> Self {
        Self(blake3::Hash::from_bytes(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// Writes bytes as one number of base 62, with zeros before it.
fn base62(bytes: &[u8], length: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![DIGITS[0]; length];
    for digit in digits.iter_mut().rev() {
        let mut rest: u32 = 0;
        for byte in &mut number {
            let part = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(part / 62).expect("the rest is below 62, so this is below 256");
            rest = part % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    digits.into_iter().map(char::from).collect()
}

/// The CRC-32 of a token's beginning: scanners in any language can compute it.
fn checksum(body: &str) -> String {
    base62(&crc32(body.as_bytes()).to_be_bytes(), CHECKSUM_LENGTH)
}

/// CRC-32 as in ISO-HDLC, which `zlib` computes.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests;
