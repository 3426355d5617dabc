//! JSON text that was checked once and is then kept byte for byte.
//!
//! Payloads are never re-serialised: numbers keep every digit, and what a caller signed stays
//! what the caller signed.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::limits::JSON_DEPTH_MAX;

/// Valid JSON text, at most [`JSON_DEPTH_MAX`] deep, which every store can keep.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

/// Why a text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("not valid JSON: {message} (line {line}, column {column})")]
    Syntax { message: String, line: usize, column: usize },
    #[error("JSON is nested deeper than {max} levels (byte {offset})", max = JSON_DEPTH_MAX)]
    TooDeep { offset: usize },
    #[error(
        "a string holds {what}, which PostgreSQL cannot store (byte {offset}); encode binary data as base64"
    )]
    Character { what: &'static str, offset: usize },
    #[error("a number at byte {offset} is outside the range of a double")]
    Number { offset: usize },
}

impl Json {
    /// Checks `text` and keeps it as it is, without surrounding white space.
    ///
    /// # Errors
    /// [`JsonError`] names the place, counted in bytes or lines from the start.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        check_tokens(text)?;
        serde_json::from_str::<&RawValue>(text).map_err(|error| JsonError::Syntax {
            message: plain_message(&error),
            line: error.line(),
            column: error.column(),
        })?;
        Ok(Self(text.into()))
    }

    /// Trusts a text that [`Json::parse`] accepted before, as stores do with their own rows.
    pub fn from_record(text: String) -> Self {
        Self(text.into())
    }

    /// Serialises a value. Values are trees of valid JSON, so nothing is left to check.
    pub fn from_value(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    pub fn null() -> Self {
        Self("null".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses the text into a tree. Numbers outside 64-bit integers become doubles here; the
    /// text keeps them.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// Parses the text into a type of the caller's.
    ///
    /// # Errors
    /// The message of the parser, when the text has another shape.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

/// `serde_json` repeats line and column in its text; we print them ourselves.
fn plain_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// Finds what a JSON parser lets pass but a store refuses or alters: depth, `\u0000`, lone
/// surrogates, and numbers that no double can hold. Syntax is left to the parser.
fn check_tokens(text: &str) -> Result<(), JsonError> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    return Err(JsonError::TooDeep { offset: at });
                }
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'"' => at = check_string(bytes, at)?,
            b'-' | b'0'..=b'9' => at = check_number(text, at)?,
            _ => at += 1,
        }
    }
    Ok(())
}

/// Checks the string that starts at `start` and answers where it ends.
fn check_string(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start + 1;
    // Where a high surrogate stands that still waits for its low one.
    let mut open_pair = None;
    while let Some(&byte) = bytes.get(at) {
        let unit = if byte == b'\\' { escaped_unit(bytes, at) } else { None };
        let is_low = unit.is_some_and(|unit| (0xDC00..=0xDFFF).contains(&unit));
        if open_pair.is_some() != is_low {
            let offset = open_pair.unwrap_or(at);
            return Err(JsonError::Character { what: "half of a surrogate pair", offset });
        }
        open_pair = unit.filter(|unit| (0xD800..=0xDBFF).contains(unit)).map(|_| at);
        if unit == Some(0) {
            return Err(JsonError::Character { what: "\\u0000", offset: at });
        }
        at += match (byte, unit) {
            (b'"', _) => return Ok(at + 1),
            (b'\\', Some(_)) => 6,
            (b'\\', None) => 2,
            _ => 1,
        };
    }
    Ok(at)
}

/// The UTF-16 unit of a `\uXXXX` at `at`, when there is one.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at + 2..at + 6).filter(|_| bytes.get(at + 1) == Some(&b'u'))?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Checks the number that starts at `start` and answers where it ends.
fn check_number(text: &str, start: usize) -> Result<usize, JsonError> {
    let rest = &text[start..];
    let length = rest
        .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
        .unwrap_or(rest.len());
    match rest[..length].parse::<f64>() {
        Ok(number) if !number.is_finite() => Err(JsonError::Number { offset: start }),
        _ => Ok(start + length),
    }
}

#[cfg(test)]
mod tests;
