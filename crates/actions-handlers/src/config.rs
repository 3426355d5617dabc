//! What all handlers' configs share: parsing, secrets, schemas and the notes about them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use actions_domain::action::ActionType;
use actions_domain::execution::{Fault, Outcome};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, FieldNote};
use actions_domain::secret::{Piece, pieces};

use crate::egress::{Egress, check_header};
use crate::template::{self, Template};

/// Own headers of a definition.
pub(crate) type Headers = BTreeMap<String, String>;

/// A text that is never printed and never shown again. Its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A derived message would repeat the value.
        let Value::String(text) = Value::deserialize(deserializer)? else {
            return Err(serde::de::Error::custom("a secret must be a string"));
        };
        Ok(Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true })
    }
}

/// Whole seconds of a config.
pub(crate) fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// The time for one request: the config's own limit, inside the attempt's.
pub(crate) fn time_limit(configured: u32, call: &Call) -> Duration {
    seconds(configured).min(call.timeout)
}

/// Parses a config. The note points at the field that is wrong, where the parser names it.
pub(crate) fn parse<T: DeserializeOwned>(config: &Value) -> Result<T, FieldNote> {
    T::deserialize(config).map_err(|error| note(&error.to_string()))
}

/// Parses the config of an attempt.
///
/// # Errors
/// The outcome to answer with: a wrong config stays wrong.
pub(crate) fn parse_config<T: DeserializeOwned>(call: &Call) -> Result<T, Outcome> {
    parse(&call.config).map_err(|note| {
        let message = if note.pointer.is_empty() {
            note.message
        } else {
            format!("{}: {}", note.pointer, note.message)
        };
        reject("config.invalid", message)
    })
}

/// Parses the input of an attempt.
///
/// # Errors
/// The outcome to answer with.
pub(crate) fn parse_input<T: DeserializeOwned>(call: &Call) -> Result<T, Outcome> {
    parse(&call.input).map_err(|note| reject("input.invalid", note.message))
}

pub(crate) fn reject(code: &str, message: impl Into<String>) -> Outcome {
    Outcome::Reject(Fault::handler(code, message))
}

/// Serde names the field in back quotes when it misses or does not know one.
fn note(message: &str) -> FieldNote {
    let named = message.contains("missing field") || message.contains("unknown field");
    let field = message.split('`').nth(1).filter(|_| named);
    FieldNote::new(field.map(|field| format!("/{field}")).unwrap_or_default(), message)
}

/// What is wrong or doubtful about a config, collected.
#[derive(Default)]
pub(crate) struct Notes(ConfigReport);

impl Notes {
    pub(crate) fn error(&mut self, pointer: &str, message: impl Into<String>) {
        self.0.errors.push(FieldNote::new(pointer, message));
    }

    pub(crate) fn warn(&mut self, pointer: &str, message: impl Into<String>) {
        self.0.warnings.push(FieldNote::new(pointer, message));
    }

    pub(crate) fn url(&mut self, egress: &Egress, pointer: &str, url: &str) {
        match egress.check_url(url) {
            Ok(url) if url.scheme() == "http" => {
                self.warn(pointer, "http sends everything in clear text; use https");
            }
            Ok(_) => {}
            Err(error) => self.error(pointer, error.to_string()),
        }
    }

    pub(crate) fn timeout(&mut self, pointer: &str, seconds: u32, usual_max: u32) {
        if seconds == 0 {
            self.error(pointer, "must be 1 second or more");
        } else if seconds > usual_max {
            self.warn(pointer, format!("more than {usual_max} seconds is unusual"));
        }
    }

    pub(crate) fn headers(&mut self, pointer: &str, headers: &Headers) {
        for (name, value) in headers {
            if let Err(error) = check_header(name, value) {
                self.error(pointer, error.to_string());
            }
            if looks_secret(name) && !names_secret(value) {
                let message = format!(
                    "{name} looks secret, but headers are shown to whoever may read the action; store it with `actions secret put NAME` and write {{{{ secrets.NAME }}}}"
                );
                self.warn(pointer, message);
            }
        }
    }

    pub(crate) fn template(&mut self, pointer: &str, source: Option<&Template>) {
        if let Some(Err(message)) = source.map(|source| template::check(source)) {
            self.error(pointer, message);
        }
    }

    /// Reports a secret that is there but empty.
    pub(crate) fn secret(&mut self, pointer: &str, secret: Option<&Secret>) {
        if secret.is_some_and(Secret::is_empty) {
            self.error(pointer, "must not be empty");
        }
    }

    pub(crate) fn done(self) -> ConfigReport {
        self.0
    }
}

/// Checks a config with `check`, when it can be parsed.
pub(crate) fn checked<T: DeserializeOwned>(
    config: &Value,
    check: impl FnOnce(&T, &mut Notes),
) -> ConfigReport {
    match parse(config) {
        Ok(parsed) => {
            let mut notes = Notes::default();
            check(&parsed, &mut notes);
            notes.done()
        }
        Err(note) => ConfigReport { errors: vec![note], warnings: Vec::new() },
    }
}

/// Whether a field of this name usually holds a secret.
pub(crate) fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "key", "credential", "authorization", "cookie"]
        .iter()
        .any(|word| name.contains(word))
}

/// Whether a stored secret is put into this text.
fn names_secret(text: &str) -> bool {
    let parts = pieces(text).unwrap_or_default();
    parts.iter().any(|part| matches!(part, Piece::Secret(_)))
}

/// The part of a descriptor that is not a schema.
pub(crate) struct About {
    pub(crate) id: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) title: &'static str,
    pub(crate) handler_type: &'static str,
    pub(crate) capabilities: &'static [&'static str],
    pub(crate) action_types: &'static [ActionType],
    pub(crate) delivery: Delivery,
}

/// Describes a handler whose config, input and output are these types.
pub(crate) fn descriptor<C: JsonSchema, I: JsonSchema, O: JsonSchema>(about: About) -> Descriptor {
    Descriptor {
        id: about.id,
        aliases: about.aliases,
        version: env!("CARGO_PKG_VERSION"),
        title: about.title,
        handler_type: about.handler_type,
        capabilities: about.capabilities,
        action_types: about.action_types,
        delivery: about.delivery,
        config_schema: schemars::schema_for!(C).to_value(),
        input_schema: schemars::schema_for!(I).to_value(),
        output_schema: schemars::schema_for!(O).to_value(),
    }
}

/// The value of an output type.
pub(crate) fn to_value(output: &impl serde::Serialize) -> Value {
    serde_json::to_value(output).unwrap_or(Value::Null)
}
