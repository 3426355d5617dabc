//! What is allowed in patterns and yet probably not meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::{Form, Pattern};

/// First words of events that the platform itself publishes.
const RESERVED: [&str; 4] = ["admin", "system", "internal", "debug"];
/// From this many patterns of one domain on, one pattern for the domain is easier to read.
const DOMAIN_PATTERNS_MAX: usize = 3;

/// A remark about patterns. Its text is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "warning")]
pub enum PatternWarning {
    /// Matches most types there are.
    Broad { pattern: Pattern },
    /// Asks for events of the platform.
    Reserved { pattern: Pattern, word: &'static str },
    /// Stands there more than once.
    Duplicate { pattern: Pattern },
    /// Can match nothing, because a type has at least two words and no dot at an end.
    Never { pattern: Pattern },
    /// Many patterns of one domain.
    OneDomain { domain: String, count: usize },
}

impl fmt::Display for PatternWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broad { pattern } => write!(f, "{pattern} is very broad: it matches most events"),
            Self::Reserved { pattern, word } => {
                write!(f, "{pattern} asks for events of the platform: {word} is a reserved word")
            }
            Self::Duplicate { pattern } => write!(f, "{pattern} stands there more than once"),
            Self::Never { pattern } => write!(
                f,
                "{pattern} matches nothing: a type is two or more words, and the pattern has to match all of it"
            ),
            Self::OneDomain { domain, count } => {
                write!(f, "{count} patterns start with {domain}: {domain}.* would do")
            }
        }
    }
}

/// Finds what is probably not meant, pattern by pattern, then over all of them.
pub fn warnings(patterns: &[Pattern]) -> Vec<PatternWarning> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut domains: BTreeMap<String, usize> = BTreeMap::new();
    for pattern in patterns {
        // Case carries meaning inside a regular expression: `\d` is not `\D`.
        let text = match pattern.form() {
            Form::Exact(text) | Form::Glob(text) => text.to_ascii_lowercase(),
            Form::Regex(source) => source.to_owned(),
        };
        if !seen.insert(text) {
            found.push(PatternWarning::Duplicate { pattern: pattern.clone() });
            continue;
        }
        found.extend(warning_of_one(pattern));
        if let Some(domain) = pattern.first_word() {
            *domains.entry(domain).or_default() += 1;
        }
    }
    let crowded = domains.into_iter().filter(|(_, count)| *count > DOMAIN_PATTERNS_MAX);
    found.extend(crowded.map(|(domain, count)| PatternWarning::OneDomain { domain, count }));
    found
}

fn warning_of_one(pattern: &Pattern) -> Option<PatternWarning> {
    if is_broad(pattern) {
        return Some(PatternWarning::Broad { pattern: pattern.clone() });
    }
    if never_matches(pattern) {
        return Some(PatternWarning::Never { pattern: pattern.clone() });
    }
    let first = pattern.first_word()?;
    let word = RESERVED.into_iter().find(|word| *word == first)?;
    Some(PatternWarning::Reserved { pattern: pattern.clone(), word })
}

fn is_broad(pattern: &Pattern) -> bool {
    match pattern.form() {
        Form::Exact(_) => false,
        Form::Glob(text) => text == "*" || text.starts_with("*."),
        Form::Regex(source) => {
            let inner = source.strip_prefix('^').unwrap_or(source);
            matches!(inner.strip_suffix('$').unwrap_or(inner), ".*" | ".+")
        }
    }
}

fn never_matches(pattern: &Pattern) -> bool {
    match pattern.form() {
        Form::Exact(text) => !text.contains('.'),
        Form::Glob(text) => text != "*" && !text.contains('.'),
        // People write `^users\.` and expect it to look at the start only.
        Form::Regex(source) => source.ends_with("\\.") || source.starts_with("\\."),
    }
}
