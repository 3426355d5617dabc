//! JSON Schemas: whether a value has the shape that a handler asks for.

use serde_json::Value;

use crate::ports::handler::FieldNote;

/// Judges values by JSON Schemas (2020-12). Nothing that a schema refers to is fetched.
pub trait Schemas: Send + Sync {
    /// Finds everything about `value` that `schema` does not allow; nothing means that it fits.
    /// The messages never repeat the value, which may be a secret.
    ///
    /// # Errors
    /// The schema itself cannot be used: the mistake of whoever wrote the handler.
    fn check(&self, schema: &Value, value: &Value) -> Result<Vec<FieldNote>, SchemaError>;
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema cannot be used: {message}")]
pub struct SchemaError {
    pub message: String,
}
