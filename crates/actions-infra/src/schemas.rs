//! JSON Schema validation with the `jsonschema` crate, which is built without any way to fetch
//! what a schema refers to.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use actions_domain::ports::handler::FieldNote;
use actions_domain::ports::schemas::{SchemaError, Schemas};
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Compiled schemas that are kept: far more than there are handlers.
const COMPILED_MAX: usize = 512;
/// Mistakes that are told at once.
const NOTES_MAX: usize = 20;
/// Compiled size of a regular expression in a schema.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Compiles each schema once.
#[derive(Default)]
pub struct JsonSchemas {
    compiled: RwLock<HashMap<String, Arc<Validator>>>,
}

impl Schemas for JsonSchemas {
    fn check(&self, schema: &Value, value: &Value) -> Result<Vec<FieldNote>, SchemaError> {
        let validator = self.compiled(schema)?;
        let errors = validator.iter_errors(value).take(NOTES_MAX);
        Ok(errors
            .map(|error| FieldNote::new(error.instance_path().as_str(), error.masked().to_string()))
            .collect())
    }
}

impl JsonSchemas {
    fn compiled(&self, schema: &Value) -> Result<Arc<Validator>, SchemaError> {
        let text = schema.to_string();
        if let Some(known) =
            self.compiled.read().unwrap_or_else(PoisonError::into_inner).get(&text).cloned()
        {
            return Ok(known);
        }
        // The linear-time engine: patterns come from plugins too.
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let fresh = jsonschema::options()
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .build(schema)
            .map_err(|error| SchemaError { message: error.to_string() })?;
        let fresh = Arc::new(fresh);
        let mut compiled = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= COMPILED_MAX {
            compiled.clear();
        }
        compiled.insert(text, fresh.clone());
        Ok(fresh)
    }
}

#[cfg(test)]
mod tests {
    use actions_domain::ports::schemas::Schemas;
    use serde_json::json;

    use super::JsonSchemas;

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let schema = json!({
            "type": "object",
            "properties": { "url": { "type": "string" }, "port": { "type": "integer", "maximum": 9 } },
            "required": ["url"],
            "additionalProperties": false,
        });
        let schemas = JsonSchemas::default();
        let ok = schemas.check(&schema, &json!({ "url": "x" })).unwrap();
        assert_eq!(ok, []);
        let notes = schemas.check(&schema, &json!({ "port": 10, "colour": "s3cret" })).unwrap();
        let pointers: Vec<_> = notes.iter().map(|note| note.pointer.as_str()).collect();
        assert_eq!(pointers.len(), 3);
        assert!(pointers.contains(&"/port"));
        assert!(!notes.iter().any(|note| note.message.contains("s3cret")));
    }

    #[test]
    fn nothing_is_fetched() {
        for reference in ["https://example.com/schema.json", "file:///etc/passwd"] {
            let error = JsonSchemas::default().check(&json!({ "$ref": reference }), &json!(1));
            assert!(error.is_err(), "{reference}");
        }
    }
}
