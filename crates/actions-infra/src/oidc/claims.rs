//! The claims of a token, as strictly as a signature deserves.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// A JSON object in which each name stands once: of two `exp`, nobody knows which one the provider
/// meant.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// A claim by its name, or by a JSON pointer that begins with `/`.
    fn find(&self, name: &str) -> Option<&Value> {
        match name.strip_prefix('/') {
            None => self.0.get(name),
            Some(path) => {
                let (first, rest) =
                    path.split_once('/').map_or((path, None), |(a, b)| (a, Some(b)));
                let found = self.0.get(&first.replace("~1", "/").replace("~0", "~"))?;
                rest.map_or(Some(found), |rest| found.pointer(&format!("/{rest}")))
            }
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.find(name)?.as_str().map(str::to_owned)
    }

    /// One text or a list of them. Nothing when anything else is among them.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        match self.find(name) {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Seconds since 1970, whole ones: what is no number is a mistake, and never a missing claim.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, ()> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(seconds) if seconds >= 0 => Ok(Some(seconds)),
                Some(_) | None => Err(()),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;

        impl<'de> Visitor<'de> for Once {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if claims.contains_key(&name) {
                        return Err(A::Error::custom(format!("the claim {name:?} stands twice")));
                    }
                    claims.insert(name, value);
                }
                Ok(Claims(claims))
            }
        }

        deserializer.deserialize_map(Once)
    }
}
