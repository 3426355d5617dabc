//! What the steps of a plan tell each other: values under typed keys.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{Json, JsonError};

/// A type that a context can hold. Its name is stored and compared, so it must not change.
pub trait ContextValue: Serialize + DeserializeOwned {
    fn type_name() -> String;
}

macro_rules! context_values {
    ($($name:literal: $($type:ty),+;)+) => {
        $($(impl ContextValue for $type {
            fn type_name() -> String {
                $name.to_owned()
            }
        })+)+
    };
}

context_values! {
    "text": String;
    "boolean": bool;
    "integer": i32, i64, u32, u64;
    "number": f64;
    "any": Value;
}

impl<T: ContextValue> ContextValue for Vec<T> {
    fn type_name() -> String {
        format!("list of {}", T::type_name())
    }
}

/// Names a value in the context, and its type. Two keys with one name are the same key.
///
/// ```
/// use actions_domain::plan::context::{Context, ContextKey};
///
/// const JOKE: ContextKey<String> = ContextKey::new("joke");
///
/// let mut context = Context::default();
/// context.put(JOKE, &"What do you call a factory that is good enough?".to_owned()).unwrap();
/// assert!(context.get(JOKE).unwrap().starts_with("What"));
/// ```
///
/// The type is part of the key:
///
/// ```compile_fail,E0308
/// use actions_domain::plan::context::{Context, ContextKey};
///
/// const JOKE: ContextKey<String> = ContextKey::new("joke");
///
/// Context::default().put(JOKE, &42_i64);
/// ```
pub struct ContextKey<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> ContextKey<T> {
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl<T> Clone for ContextKey<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ContextKey<T> {}

impl<T> PartialEq for ContextKey<T> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl<T> Eq for ContextKey<T> {}

impl<T> Hash for ContextKey<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl<T> fmt::Debug for ContextKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ContextKey").field(&self.name).finish()
    }
}

/// A key as a declaration names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyUse {
    pub name: String,
    #[serde(rename = "type")]
    pub type_name: String,
}

impl<T: ContextValue> From<ContextKey<T>> for KeyUse {
    fn from(key: ContextKey<T>) -> Self {
        Self { name: key.name.to_owned(), type_name: T::type_name() }
    }
}

/// The values that a step finds, and those that it puts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Context {
    found: BTreeMap<String, Json>,
    put: BTreeMap<String, Json>,
}

#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error(
        "{key} is not in the context; declare it with `requires`, so that what produces it comes first"
    )]
    Missing { key: &'static str },
    #[error("{key} in the context is no {expected}")]
    Type {
        key: &'static str,
        expected: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{key} cannot be written as JSON")]
    Unwritable {
        key: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("{key} cannot be kept")]
    Refused {
        key: &'static str,
        #[source]
        source: JsonError,
    },
}

impl Context {
    /// A context in which a step finds these values.
    pub fn new(found: BTreeMap<String, Json>) -> Self {
        Self { found, put: BTreeMap::new() }
    }

    pub fn contains<T>(&self, key: ContextKey<T>) -> bool {
        self.text(key.name).is_some()
    }

    /// Reads a value: the one that was put last.
    ///
    /// # Errors
    /// When there is none, or it has another type.
    pub fn get<T: ContextValue>(&self, key: ContextKey<T>) -> Result<T, ContextError> {
        let key = key.name;
        let text = self.text(key).ok_or(ContextError::Missing { key })?;
        let expected = T::type_name;
        text.to().map_err(|source| ContextError::Type { key, expected: expected(), source })
    }

    /// Puts a value, and notes that this step produced the key.
    ///
    /// # Errors
    /// When the value cannot be kept as JSON.
    pub fn put<T: ContextValue>(
        &mut self,
        key: ContextKey<T>,
        value: &T,
    ) -> Result<(), ContextError> {
        let key = key.name;
        let text = serde_json::to_string(value)
            .map_err(|source| ContextError::Unwritable { key, source })?;
        let json = Json::parse(&text).map_err(|source| ContextError::Refused { key, source })?;
        self.put.insert(key.to_owned(), json);
        Ok(())
    }

    /// What the step put: its result, which is compared with what it declared.
    pub fn into_put(self) -> BTreeMap<String, Json> {
        self.put
    }

    fn text(&self, key: &str) -> Option<&Json> {
        self.put.get(key).or_else(|| self.found.get(key))
    }
}
