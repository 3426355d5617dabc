//! How a config names a secret: `{{ secrets.NAME }}`, or `{{ secrets.previous.NAME }}` for the
//! version before.
//!
//! The form is that of a template, so that one way of writing holds in all texts of a config; but
//! nothing else may stand between the braces, so that what a config needs is known without running
//! it.

use std::fmt;

use serde_json::Value;

use super::SecretName;

/// Stands before a name for the version before the current one.
pub const PREVIOUS: &str = "previous";

const WORD: &str = "secrets";

/// A secret that a config names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretReference {
    pub name: SecretName,
    pub is_previous: bool,
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_previous {
            false => write!(f, "{{{{ {WORD}.{} }}}}", self.name),
            true => write!(f, "{{{{ {WORD}.{PREVIOUS}.{} }}}}", self.name),
        }
    }
}

/// Something between braces that looks like the name of a secret and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret is named as {{{{ {WORD}.NAME }}}}, or {{{{ {WORD}.{PREVIOUS}.NAME }}}} for the version before, with nothing else between the braces"
)]
pub struct MalformedReference;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    Secret(SecretReference),
}

/// Splits a text at the secrets that it names. Other expressions of templates are text here.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, MalformedReference> {
    let (mut found, mut rest, mut from) = (Vec::new(), text, 0);
    while let Some(open) = rest[from..].find("{{").map(|at| from + at) {
        let inner = &rest[open + 2..];
        if !is_about_secrets(inner) {
            from = open + 1;
            continue;
        }
        let close = inner.find("}}").ok_or(MalformedReference)?;
        let reference = parse(inner[..close].trim())?;
        if open > 0 {
            found.push(Piece::Text(&rest[..open]));
        }
        found.push(Piece::Secret(reference));
        (rest, from) = (&inner[close + 2..], 0);
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest));
    }
    Ok(found)
}

/// Whether the word `secrets` is the first one behind an opening brace.
fn is_about_secrets(inner: &str) -> bool {
    let inner = inner.trim_start_matches(['-', '+']).trim_start();
    let Some(rest) = inner.strip_prefix(WORD) else { return false };
    !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn parse(inner: &str) -> Result<SecretReference, MalformedReference> {
    let name = inner.strip_prefix(WORD).and_then(|rest| rest.strip_prefix('.'));
    let name = name.ok_or(MalformedReference)?;
    let older = name.strip_prefix(PREVIOUS).and_then(|rest| rest.strip_prefix('.'));
    let (name, is_previous) = (older.unwrap_or(name), older.is_some());
    let name = SecretName::parse(name).map_err(|_| MalformedReference)?;
    Ok(SecretReference { name, is_previous })
}

/// Every text of a config that names secrets, with its pointer; wrong ones in their places.
pub fn references(
    config: &Value,
) -> Vec<(String, Result<Vec<SecretReference>, MalformedReference>)> {
    let mut found = Vec::new();
    collect(config, &mut String::new(), &mut found);
    found
}

fn collect(
    value: &Value,
    pointer: &mut String,
    found: &mut Vec<(String, Result<Vec<SecretReference>, MalformedReference>)>,
) {
    let length = pointer.len();
    match value {
        Value::String(text) if text.contains(WORD) => match pieces(text) {
            Ok(pieces) => {
                let secrets = pieces.into_iter().filter_map(|piece| match piece {
                    Piece::Secret(reference) => Some(reference),
                    Piece::Text(_) => None,
                });
                let secrets: Vec<_> = secrets.collect();
                if !secrets.is_empty() {
                    found.push((pointer.clone(), Ok(secrets)));
                }
            }
            Err(error) => found.push((pointer.clone(), Err(error))),
        },
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&index.to_string());
                collect(item, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                collect(member, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
