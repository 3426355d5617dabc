//! The API's description and the API are the same.

use std::collections::BTreeSet;

use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(&actions::openapi_json()).unwrap()
}

#[test]
fn every_operation_is_described_once() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(!path.contains('~'), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{at} has no id"));
            assert!(ids.insert(id.to_owned()), "{at}: {id} is there twice");
            assert!(operation["responses"]["default"].is_object(), "{at}");
            assert!(operation["security"].is_array(), "{at}");
            let summary =
                operation["summary"].as_str().or_else(|| operation["description"].as_str());
            assert!(summary.is_some_and(|text| text.ends_with('.') || !text.is_empty()), "{at}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for name in path.split(['{', '}']).skip(1).step_by(2) {
                let is_described = parameters.iter().any(|one| {
                    one["name"] == name && one["in"] == "path" && one["required"] == true
                });
                assert!(is_described, "{at}: {name}");
            }
        }
    }
    assert!(ids.len() > 80, "{}", ids.len());
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(document: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|member| check(document, member));
            }
            Value::Array(items) => items.iter().for_each(|item| check(document, item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    check(&document, &document);
}

#[test]
fn the_committed_description_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, actions::openapi_json() + "\n").unwrap();
        return;
    }
    assert!(
        committed.trim_end() == actions::openapi_json(),
        "docs/reference/openapi.json is old; UPDATE_OPENAPI=1 cargo test -p actions-tests api::openapi writes it"
    );
}
