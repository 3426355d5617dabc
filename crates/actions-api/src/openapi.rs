//! The API's description: OpenAPI 3.1, collected from the same registrations as the routes and
//! completed here with what is the same for all of them.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use crate::problem::{FieldError, ProblemView};

/// Paths that need no credential.
const OPEN_PATHS: [&str; 9] = [
    "/",
    "/healthz",
    "/readyz",
    "/version",
    "/openapi.json",
    "/v1/limits",
    "/v1/sessions",
    "/docs/errors",
    "/docs/errors/{code}",
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Actions",
        description = "A multi-tenant engine that runs actions when events happen.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(ProblemView, FieldError))
)]
struct Frame;

/// The document without paths.
pub(crate) fn frame() -> Document {
    Frame::openapi()
}

/// The finished document as JSON text.
pub(crate) fn text(document: Document) -> String {
    let mut document = serde_json::to_value(&document).unwrap_or_default();
    complete(&mut document);
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn complete(document: &mut Value) {
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "The token of an API key, of a session or of the identity provider, or the bootstrap token. `dev` needs none." },
    });
    document["components"]["responses"] = json!({
        "Problem": {
            "description": "Why the request was not served (RFC 9457)",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        },
    });
    let Some(Value::Object(paths)) = document.get_mut("paths").map(Value::take) else { return };
    let mut finished = Map::new();
    for (path, mut item) in paths {
        if let Some(operations) = item.as_object_mut() {
            for operation in operations.values_mut() {
                complete_operation(&path, operation);
            }
        }
        // The router's form of a verb is its own business.
        finished.insert(path.replace("/~", ":"), item);
    }
    document["paths"] = Value::Object(finished);
}

fn complete_operation(path: &str, operation: &mut Value) {
    if path.starts_with("/v1/admin/")
        && let Some(id) = operation.get("operationId").and_then(Value::as_str)
        && !id.ends_with("tenant")
        && !id.ends_with("tenants")
    {
        // The same route is there for each tenant, and an id belongs to one operation.
        operation["operationId"] = json!(format!("admin_{id}"));
    }
    if path.contains("{tenant}") {
        let parameter = json!({
            "name": "tenant", "in": "path", "required": true,
            "description": "The tenant's slug or id", "schema": { "type": "string" },
        });
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.insert(0, parameter),
            None => operation["parameters"] = json!([parameter]),
        }
    }
    operation["responses"]["default"] = json!({ "$ref": "#/components/responses/Problem" });
    let is_open = OPEN_PATHS.contains(&path);
    operation["security"] = if is_open { json!([]) } else { json!([{ "token": [] }]) };
}
