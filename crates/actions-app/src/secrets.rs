//! Secrets in configs: which members they are, how they are shown, and how they are kept when a
//! caller sends back what it was shown. What only names a stored secret is no secret itself.

use std::collections::BTreeSet;

use actions_domain::ports::handler::TEMPLATE_MARK;
use actions_domain::secret::{Piece, pieces};
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
        if !value.is_null() && !is_reference(value) {
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

/// Where secrets stand in the config as plain text.
pub fn plain_places(schema: &Value, config: &Value) -> Vec<String> {
    let (mut config, mut found) = (config.clone(), Vec::new());
    let mut note = |pointer: &str, value: &mut Value| {
        if value.as_str().is_some_and(|text| !text.is_empty() && text != MASK)
            && !is_reference(value)
        {
            found.push(pointer.to_owned());
        }
    };
    // A schema that describes no members leaves their names to tell.
    let schema = Some(schema).filter(|schema| schema.get("properties").is_some());
    visit(schema, &mut config, &mut note);
    found
}

/// Where templates stand in the config.
pub(crate) fn template_places(schema: &Value, config: &Value) -> BTreeSet<String> {
    let (mut config, mut found) = (config.clone(), BTreeSet::new());
    let mut walk = Walk {
        root: schema,
        mark: TEMPLATE_MARK,
        pointer: String::new(),
        act: &mut |pointer, _| {
            found.insert(pointer.to_owned());
        },
    };
    walk.by_schema(schema, &mut config, DEPTH_MAX);
    found
}

/// Whether it names a stored secret and says nothing else.
fn is_reference(value: &Value) -> bool {
    let parts = value.as_str().and_then(|text| pieces(text).ok()).unwrap_or_default();
    matches!(parts.as_slice(), [Piece::Secret(_)])
}

fn visit(schema: Option<&Value>, config: &mut Value, act: &mut dyn FnMut(&str, &mut Value)) {
    match schema {
        Some(schema) => {
            let mut walk = Walk { root: schema, mark: "writeOnly", pointer: String::new(), act };
            walk.by_schema(schema, config, DEPTH_MAX);
        }
        None => by_name(config, &mut String::new(), act),
    }
}

/// A walk through a config beside its schema.
struct Walk<'a> {
    root: &'a Value,
    /// What the schema says of the members that are looked for.
    mark: &'static str,
    pointer: String,
    act: &'a mut dyn FnMut(&str, &mut Value),
}

impl Walk<'_> {
    fn by_schema(&mut self, schema: &Value, value: &mut Value, depth: usize) {
        if depth == 0 {
            return;
        }
        if schema.get(self.mark) == Some(&Value::Bool(true)) {
            (self.act)(&self.pointer, value);
            return;
        }
        let root = self.root;
        let referred = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
        if let Some(target) = referred.and_then(|reference| root.pointer(reference)) {
            self.by_schema(target, value, depth - 1);
        }
        let branches = ["allOf", "anyOf", "oneOf"].iter().filter_map(|word| schema.get(word));
        for branch in branches.filter_map(Value::as_array).flatten() {
            self.by_schema(branch, value, depth - 1);
        }
        let length = self.pointer.len();
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let known = schema.get("properties").and_then(|known| known.get(name));
                    if let Some(inner) = known.or_else(|| schema.get("additionalProperties")) {
                        push(&mut self.pointer, name);
                        self.by_schema(inner, member, depth - 1);
                        self.pointer.truncate(length);
                    }
                }
            }
            Value::Array(items) => {
                let Some(inner) = schema.get("items") else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    push(&mut self.pointer, &index.to_string());
                    self.by_schema(inner, item, depth - 1);
                    self.pointer.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
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

    use super::{masked, plain_places, template_places, unmasked};

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

    #[test]
    fn a_name_of_a_secret_is_shown() {
        let word = "{{ secrets.WORD }}";
        let stored = json!({ "auth": { "word": word }, "keys": ["{{ secrets.A }}x", "b"] });
        let shown = masked(Some(&schema()), &stored);
        assert_eq!(shown, json!({ "auth": { "word": word }, "keys": ["***", "***"] }));
        assert_eq!(unmasked(Some(&schema()), &shown, Some(&stored)).unwrap(), stored);
        assert_eq!(plain_places(&schema(), &stored), ["/keys/0", "/keys/1"]);
        assert_eq!(plain_places(&schema(), &json!({ "keys": ["***", "", null] })), [""; 0]);
        let free = json!({ "type": "object" });
        let config = json!({ "api_key": "k", "to": "x", "token": word });
        assert_eq!(plain_places(&free, &config), ["/api_key"]);
    }

    #[test]
    fn templates_are_found_by_their_mark() {
        let schema = json!({ "properties": {
            "text": { "anyOf": [{ "type": "string", "x-template": true }, { "type": "null" }] },
            "url": { "type": "string" },
        } });
        let config = json!({ "text": "a", "url": "b" });
        assert_eq!(template_places(&schema, &config).into_iter().collect::<Vec<_>>(), ["/text"]);
    }
}
