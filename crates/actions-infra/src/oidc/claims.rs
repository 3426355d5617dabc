//! The claims of a token, as strictly as a signature deserves.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON object in which each name stands once, at every depth: of two `exp`, and of two lists of
/// roles, nobody knows which one the provider meant.
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
        match Once::deserialize(deserializer)?.0 {
            Value::Object(claims) => Ok(Self(claims)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(D::Error::custom("expected an object of claims")),
        }
    }
}

/// A value in which no name stands twice. `serde_json` bounds its depth.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
                let number = Number::from_f64(value);
                number.map(Value::Number).ok_or_else(|| E::custom("a number without end"))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut all = Vec::new();
                while let Some(Once(item)) = items.next_element()? {
                    all.push(item);
                }
                Ok(Value::Array(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
                let mut all = Map::new();
                while let Some((name, Once(value))) = members.next_entry::<String, _>()? {
                    if all.contains_key(&name) {
                        return Err(A::Error::custom(format!("the claim {name:?} stands twice")));
                    }
                    all.insert(name, value);
                }
                Ok(Value::Object(all))
            }
        }

        deserializer.deserialize_any(Reader).map(Self)
    }
}
