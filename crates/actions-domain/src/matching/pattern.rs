//! Patterns for event types: exact, glob, or regular expression.
//!
//! A regular expression is compiled by an adapter; everything else about patterns is decided
//! here. [`Pattern::matches_glob`] is the definition that every index has to agree with.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::PATTERN_BYTES_MAX;

pub mod warnings;

/// A pattern that was checked once. Matching ignores case; equality does not.
///
/// * `users.created` matches that type.
/// * `*` alone matches every type. As the last word, `users.*`, it stands for one or more words;
///   as the first, `*.created`, too. In between, `orders.*.paid`, it stands for exactly one.
/// * `?` stands for one character of a word, a `*` beside other characters for any number.
/// * `/…/`, or a text that starts with `^` or ends with `$`, is a regular expression for the
///   whole type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a pattern has 1 to {max} bytes, not {bytes}", max = PATTERN_BYTES_MAX)]
    Length { bytes: usize },
    #[error("words of a pattern are joined by single dots, without one at an end; got {raw:?}")]
    Dots { raw: String },
    #[error(
        "a pattern has letters, digits, '_', '.', '*' and '?', not {found:?}; a regular expression is written /…/"
    )]
    Character { found: char },
    #[error(
        "'**' is not needed, because a '*' at an end stands for any number of words; got {raw:?}"
    )]
    Stars { raw: String },
    #[error(
        "a regular expression between slashes has ASCII characters, and at least one; got {raw:?}"
    )]
    Regex { raw: String },
}

/// What a pattern is, with the text that matters: without the slashes of a regular expression,
/// otherwise as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'p> {
    Exact(&'p str),
    Glob(&'p str),
    /// To be matched against the whole type, ignoring case.
    Regex(&'p str),
}

impl Pattern {
    /// Checks a text, all but the syntax of a regular expression.
    ///
    /// # Errors
    /// [`PatternError`] says what is wrong with it.
    pub fn parse(raw: &str) -> Result<Self, PatternError> {
        let bytes = raw.len();
        if bytes == 0 || bytes > PATTERN_BYTES_MAX {
            return Err(PatternError::Length { bytes });
        }
        match form(raw) {
            Form::Regex(source) if source.is_empty() || !source.is_ascii() => {
                return Err(PatternError::Regex { raw: raw.to_owned() });
            }
            Form::Regex(_) => {}
            Form::Exact(text) | Form::Glob(text) => check_words(text)?,
        }
        Ok(Self(raw.to_owned()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn form(&self) -> Form<'_> {
        form(&self.0)
    }

    /// The first word in lower case, when every type that matches starts with it. Events of the
    /// engine itself are matched only by patterns that name their first word.
    pub fn first_word(&self) -> Option<String> {
        let word = match self.form() {
            Form::Exact(text) => text.split('.').next(),
            Form::Glob(text) => text.split('.').next().filter(|word| !word.contains(['*', '?'])),
            Form::Regex(source) => literal_first_word(source),
        };
        word.map(str::to_ascii_lowercase)
    }

    /// Whether an exact or glob pattern matches a type. `None` for a regular expression, which
    /// only an adapter can answer for.
    pub fn matches_glob(&self, event_type: &str) -> Option<bool> {
        match self.form() {
            Form::Exact(text) => Some(text.eq_ignore_ascii_case(event_type)),
            Form::Glob(text) => Some(matches_glob(text, event_type)),
            Form::Regex(_) => None,
        }
    }
}

fn form(raw: &str) -> Form<'_> {
    let between_slashes = raw.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    if let Some(source) = between_slashes {
        Form::Regex(source)
    } else if raw.starts_with('^') || raw.ends_with('$') {
        Form::Regex(raw)
    } else if raw.contains(['*', '?']) {
        Form::Glob(raw)
    } else {
        Form::Exact(raw)
    }
}

fn check_words(text: &str) -> Result<(), PatternError> {
    let is_allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '*' | '?');
    if let Some(found) = text.chars().find(|c| !is_allowed(c)) {
        return Err(PatternError::Character { found });
    }
    if text.split('.').any(str::is_empty) {
        return Err(PatternError::Dots { raw: text.to_owned() });
    }
    if text.contains("**") {
        return Err(PatternError::Stars { raw: text.to_owned() });
    }
    Ok(())
}

/// Tells whether a glob matches a type, in the plainest way. Linear in what it tries, so only
/// for single questions and as the measure of faster ways.
pub fn matches_glob(glob: &str, event_type: &str) -> bool {
    let glob = glob.to_ascii_lowercase();
    let event_type = event_type.to_ascii_lowercase();
    let parts: Vec<&str> = glob.split('.').collect();
    let words: Vec<&str> = event_type.split('.').collect();
    match parts.as_slice() {
        ["*"] => true,
        ["*", rest @ ..] => (1..words.len()).any(|at| words_match(rest, &words[at..])),
        parts => words_match(parts, &words),
    }
}

fn words_match(parts: &[&str], words: &[&str]) -> bool {
    match (parts, words) {
        ([], []) => true,
        (["*"], [_, ..]) => true,
        ([part, parts @ ..], [word, words @ ..]) => {
            word_matches(part, word) && words_match(parts, words)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

/// Tells whether one part of a glob matches one word: `?` is one character, `*` any number.
/// Both texts are ASCII and in lower case.
pub fn word_matches(part: &str, word: &str) -> bool {
    let (part, word) = (part.as_bytes(), word.as_bytes());
    let (mut p, mut w) = (0, 0);
    // Where the last star was, and how far it reaches at least.
    let mut star: Option<(usize, usize)> = None;
    while w < word.len() {
        match part.get(p) {
            Some(b'*') => {
                star = Some((p, w));
                p += 1;
            }
            Some(&b) if b == b'?' || b == word[w] => {
                p += 1;
                w += 1;
            }
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    p = at + 1;
                    w = reach + 1;
                }
                None => return false,
            },
        }
    }
    part[p..].iter().all(|&b| b == b'*')
}

/// The word before the first dot of a regular expression, when the expression spells both out.
/// Says `None` rather than working out a difficult case.
fn literal_first_word(source: &str) -> Option<&str> {
    let source = source.strip_prefix('^').unwrap_or(source);
    let length = source.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (word, rest) = source.split_at(length);
    let rest = rest.strip_prefix("\\.").filter(|_| !word.is_empty())?;
    let dot_is_optional = rest.starts_with(['?', '*', '{']);
    (!dot_is_optional && !has_outer_alternation(rest)).then_some(word)
}

/// Whether a `|` may stand outside of every group. Brackets inside a class would disturb the
/// count, so an expression with both is never trusted.
fn has_outer_alternation(source: &str) -> bool {
    if source.contains('[') {
        return source.contains('|');
    }
    let mut depth = 0_i32;
    let mut bytes = source.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'|' if depth <= 0 => return true,
            _ => {}
        }
    }
    false
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

#[cfg(test)]
mod tests;
