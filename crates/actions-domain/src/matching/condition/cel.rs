//! What can be said of a CEL expression before it is parsed. The parser follows brackets by
//! recursion, and a text that nests too deep would end the process.

use super::ConditionProblem;
use crate::limits::{CEL_BYTES_MAX, CEL_DEPTH_MAX};

/// A CEL expression that is short and flat enough to be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CelText {
    text: String,
    pointer: String,
}

impl CelText {
    /// Checks length and nesting. A `{{ … }}` around all of it becomes blanks, so that columns
    /// are those of the text as it was written.
    ///
    /// # Errors
    /// When it is empty, too long or nested too deep.
    pub fn parse(raw: &str, pointer: &str) -> Result<Self, ConditionProblem> {
        if raw.len() > CEL_BYTES_MAX {
            return Err(ConditionProblem::CelLength { bytes: raw.len() });
        }
        let text = without_braces(raw)?;
        if text.trim().is_empty() {
            return Err(ConditionProblem::CelEmpty);
        }
        if depth(&text) > CEL_DEPTH_MAX {
            return Err(ConditionProblem::CelDepth);
        }
        Ok(Self { text, pointer: pointer.to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The JSON pointer of the text inside its condition.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }
}

fn without_braces(raw: &str) -> Result<String, ConditionProblem> {
    let trimmed = raw.trim();
    let Some(inner) = trimmed.strip_prefix("{{") else {
        return Ok(raw.to_owned());
    };
    let inner = inner.strip_suffix("}}").ok_or(ConditionProblem::CelBraces)?;
    if inner.contains("{{") {
        return Err(ConditionProblem::CelBraces);
    }
    let before = raw.len() - raw.trim_start().len();
    Ok(format!("{}  {inner}", &raw[..before]))
}

/// The deepest nesting of brackets outside of texts and comments.
fn depth(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut deepest) = (0, 0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'\'' | b'"' => {
                at = end_of_text(bytes, at);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes[at..].iter().position(|&b| b == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    deepest
}

/// Where the text that begins at `start` is over.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let is_triple = bytes[start..].starts_with(&[quote; 3]);
    let is_raw = is_raw(bytes, start);
    let mut at = start + if is_triple { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\\' && !is_raw {
            at += 2;
        } else if is_triple && bytes[at..].starts_with(&[quote; 3]) {
            return at + 3;
        } else if !is_triple && (byte == quote || byte == b'\n') {
            return at + 1;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// A backslash means itself in `r'…'`, `br'…'` and `rb'…'`, unless the letter ends a name.
fn is_raw(bytes: &[u8], start: usize) -> bool {
    let before = &bytes[..start];
    let letters = before.iter().rev().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_');
    let prefix: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    matches!(prefix.as_slice(), b"r" | b"br" | b"rb")
}
