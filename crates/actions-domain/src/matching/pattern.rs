//! Patterns for event types: exact, glob, or regular expression.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::PATTERN_BYTES_MAX;

/// A pattern that was checked once. Matching ignores case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a pattern has 1 to {max} bytes, not {bytes}", max = PATTERN_BYTES_MAX)]
    Length { bytes: usize },
}

impl Pattern {
    pub fn parse(raw: &str) -> Result<Self, PatternError> {
        let bytes = raw.len();
        if bytes == 0 || bytes > PATTERN_BYTES_MAX {
            return Err(PatternError::Length { bytes });
        }
        Ok(Self(raw.to_owned()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}
