//! Secrets in configs: which members they are, how they are shown, and how they are kept when a
//! caller sends back what it was shown.

use serde_json::Value;

/// What stands for a secret wherever a config is shown.
pub const MASK: &str = "***";
/// `$ref`s that refer to one another end here.
const DEPTH_MAX: usize = 32;
/// Without a schema, members whose names hold one of these are taken for secrets.
const TELLING_NAMES: [&str; 9] = [
    "secret",
    "password",
    "passwd",
    "token",
    "api_key",
    "apikey",
    "private_key",
    "access_key",
    "credential",
];

/// A sent config refers to a stored secret that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{MASK} stands for the stored secret, and none is stored here")]
pub struct NothingStored {
    /// Into the config.
    pub pointer: String,
}

/// The config with every secret replaced by [`MASK`]. Without a schema, because its handler is
/// not installed, members with telling names are hidden.
pub fn masked(schema: Option<&Value>, config: &Value) -> Value {
    let mut shown = config.clone();
    visit(schema, &mut shown, &mut |_, value| {
        if !value.is_null() {
            *value = Value::String(MASK.to_owned());
        }
    });
    shown
}

/// The config with every [`MASK`] replaced by the secret that is stored at the same place.
///
/// # Errors
/// [`NothingStored`] where there is no such secret.
pub fn unmasked(
    schema: Option<&Value>,
    sent: &Value,
    stored: Option<&Value>,
) -> Result<Value, NothingStored> {
    let mut config = sent.clone();
    let mut missing = None;
    visit(schema, &mut config, &mut |pointer, value| {
        if value.as_str() == Some(MASK) {
            match stored.and_then(|stored| stored.pointer(pointer)) {
                Some(secret) => *value = secret.clone(),
                None => missing = Some(NothingStored { pointer: pointer.to_owned() }),
            }
        }
    });
    missing.map_or(Ok(config), Err)
}

fn visit(schema: Option<&Value>, config: &mut Value, act: &mut dyn FnMut(&str, &mut Value)) {
    match schema {
        Some(schema) => by_schema(schema, schema, config, &mut String::new(), DEPTH_MAX, act),
        None => by_name(config, &mut String::new(), act),
    }
}

fn by_schema(
    root: &Value,
    schema: &Value,
    value: &mut Value,
    pointer: &mut String,
    depth: usize,
    act: &mut dyn FnMut(&str, &mut Value),
) {
    if depth == 0 {
        return;
    }
    if schema.get("writeOnly") == Some(&Value::Bool(true)) {
        act(pointer, value);
        return;
    }
    let referred = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    if let Some(target) = referred.and_then(|reference| root.pointer(reference)) {
        by_schema(root, target, value, pointer, depth - 1, act);
    }
    let branches = ["allOf", "anyOf", "oneOf"].iter().filter_map(|word| schema.get(word));
    for branch in branches.filter_map(Value::as_array).flatten() {
        by_schema(root, branch, value, pointer, depth - 1, act);
    }
    let length = pointer.len();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let known = schema.get("properties").and_then(|known| known.get(name));
                if let Some(inner) = known.or_else(|| schema.get("additionalProperties")) {
                    push(pointer, name);
                    by_schema(root, inner, member, pointer, depth - 1, act);
                    pointer.truncate(length);
                }
            }
        }
        Value::Array(items) => {
            let Some(inner) = schema.get("items") else { return };
            for (index, item) in items.iter_mut().enumerate() {
                push(pointer, &index.to_string());
                by_schema(root, inner, item, pointer, depth - 1, act);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn by_name(value: &mut Value, pointer: &mut String, act: &mut dyn FnMut(&str, &mut Value)) {
    let length = pointer.len();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                push(pointer, name);
                let lower = name.to_ascii_lowercase();
                if TELLING_NAMES.iter().any(|word| lower.contains(word)) {
                    act(pointer, member);
                } else {
                    by_name(member, pointer, act);
                }
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                push(pointer, &index.to_string());
                by_name(item, pointer, act);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn push(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{masked, unmasked};

    fn schema() -> Value {
        json!({
            "properties": {
                "url": { "type": "string" },
                "auth": { "$ref": "#/$defs/auth" },
                "keys": { "type": "array", "items": { "type": "string", "writeOnly": true } },
            },
            "$defs": { "auth": { "anyOf": [
                { "type": "null" },
                { "properties": { "user": {}, "word": { "writeOnly": true } } },
            ] } },
        })
    }

    #[test]
    fn what_is_shown_can_be_sent_back() {
        let stored =
            json!({ "url": "u", "auth": { "user": "me", "word": "s" }, "keys": ["a", "b"] });
        let shown = masked(Some(&schema()), &stored);
        assert_eq!(
            shown,
            json!({ "url": "u", "auth": { "user": "me", "word": "***" }, "keys": ["***", "***"] })
        );
        assert_eq!(unmasked(Some(&schema()), &shown, Some(&stored)).unwrap(), stored);
    }

    #[test]
    fn a_mask_needs_something_behind_it() {
        let sent = json!({ "auth": { "word": "***" } });
        let refusal = unmasked(Some(&schema()), &sent, Some(&json!({}))).unwrap_err();
        assert_eq!(refusal.pointer, "/auth/word");
    }

    #[test]
    fn without_a_schema_telling_names_are_hidden() {
        let stored = json!({ "Auth_Token": "s", "a": [{ "smtp_password": "p" }], "to": "x" });
        let shown = masked(None, &stored);
        assert_eq!(
            shown,
            json!({ "Auth_Token": "***", "a": [{ "smtp_password": "***" }], "to": "x" })
        );
    }
}
