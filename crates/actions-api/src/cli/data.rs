//! Data of events and jobs as people type it: `email=user@example.com order.total:=12.5`.

use std::io::Read;
use std::path::Path;

use actions_domain::json::Json;
use actions_domain::limits::EVENT_BYTES_MAX;
use serde_json::{Map, Value, json};

use super::error::CliError;

/// Builds data from `--data` or from words: `key=text` and `key:=json`.
pub(super) fn data(source: Option<&str>, words: &[String]) -> Result<Json, CliError> {
    match source {
        Some(_) if !words.is_empty() => {
            Err(CliError::usage("give the data with --data or as key=value, not both"))
        }
        Some(source) => parse(&read(source)?),
        None => from_words(words),
    }
}

/// A text: `@file`, `@-` or `-` for standard input, else the text itself.
pub(super) fn read(source: &str) -> Result<String, CliError> {
    match source.strip_prefix('@') {
        Some("-") => read_stdin(),
        Some(path) => read_file(Path::new(path)),
        None if source == "-" => read_stdin(),
        None => Ok(source.to_owned()),
    }
}

pub(super) fn read_file(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}

fn read_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    // One byte more than fits tells that it does not fit.
    let limit = EVENT_BYTES_MAX as u64 * 4 + 1;
    std::io::stdin().lock().take(limit).read_to_string(&mut text)?;
    if text.len() as u64 >= limit {
        return Err(CliError::usage("standard input is too large"));
    }
    Ok(text)
}

/// A pause, or a time.
pub(super) fn start(at: &str) -> Result<(&'static str, Value), CliError> {
    if let Ok(pause) = crate::config::duration(at) {
        return Ok(("delay_ms", json!(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))));
    }
    match chrono::DateTime::parse_from_rfc3339(at) {
        Ok(time) => Ok(("run_at", json!(time.to_utc().to_rfc3339()))),
        Err(_) => Err(CliError::usage(format!(
            "--at {at:?} is neither a pause like 10m nor a time like 2030-01-01T12:00:00Z"
        ))),
    }
}

/// An object with one member that keeps every byte of its text.
pub(super) fn with_raw(mut rest: Map<String, Value>, name: &str, raw: &Json) -> String {
    rest.remove(name);
    let mut text = Value::Object(rest).to_string();
    text.pop();
    if text.len() > 1 {
        text.push(',');
    }
    text.push_str(&format!("{}:{raw}}}", json!(name)));
    text
}

/// Checks the text and keeps it byte for byte: numbers keep every digit.
fn parse(text: &str) -> Result<Json, CliError> {
    Json::parse(text).map_err(|error| CliError::usage(format!("the data is {error}")))
}

fn from_words(words: &[String]) -> Result<Json, CliError> {
    let mut data = Value::Object(Map::new());
    for word in words {
        let (path, raw) =
            word.split_once('=').filter(|(path, _)| !path.is_empty()).ok_or_else(|| {
                CliError::usage(format!("{word:?} is neither key=text nor key:=json"))
            })?;
        let (path, value) = match path.strip_suffix(':') {
            Some(path) => (path, json_value(raw)?),
            None => (path, Value::String(raw.to_owned())),
        };
        put(&mut data, path, value)
            .map_err(|reason| CliError::usage(format!("{word:?}: {reason}")))?;
    }
    Ok(Json::from_value(&data))
}

/// A number that a tree would alter is refused: its digits are the caller's.
fn json_value(raw: &str) -> Result<Value, CliError> {
    match serde_json::from_str::<Value>(raw) {
        Ok(Value::Number(number)) if number.to_string() != raw => {
            Err(CliError::usage(format!("{raw} cannot be kept as a number without changing it"))
                .with_hint("write it as a text with =, or give the data with --data"))
        }
        Ok(value) => Ok(value),
        Err(_) => Err(CliError::usage(format!("{raw:?} is no JSON; key=text takes it as a text"))),
    }
}

fn put(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let mut place = target;
    for key in path.split('.') {
        if key.is_empty() {
            return Err("a key is empty".to_owned());
        }
        let Value::Object(members) = place else {
            return Err("a key is used both for a value and for what is below it".to_owned());
        };
        place = members.entry(key).or_insert_with(|| Value::Object(Map::new()));
    }
    if place.as_object().is_none_or(|members| !members.is_empty()) {
        return Err("the key is given twice".to_owned());
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::from_words;

    fn built(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        from_words(&words).map(|json| json.as_str().to_owned()).map_err(|error| error.message)
    }

    #[test]
    fn words_become_typed_data() {
        let data = built(&["email=a@b.c", "age:=7", "ok:=true", "zip=0123", "user.tier=premium"]);
        let expected =
            r#"{"age":7,"email":"a@b.c","ok":true,"user":{"tier":"premium"},"zip":"0123"}"#;
        assert_eq!(data.unwrap(), expected);
        assert_eq!(built(&["list:=[1,2]", "a=x=y"]).unwrap(), r#"{"a":"x=y","list":[1,2]}"#);
        assert_eq!(built(&[]).unwrap(), "{}");
    }

    #[test]
    fn what_would_be_altered_is_refused() {
        assert!(built(&["n:=12345678901234567890123"]).unwrap_err().contains("without changing"));
        assert!(built(&["n:=1.50"]).unwrap_err().contains("without changing"));
        assert!(built(&["a=1", "a=2"]).unwrap_err().contains("twice"));
        assert!(built(&["a=1", "a.b=2"]).unwrap_err().contains("both"));
        assert!(built(&["word"]).unwrap_err().contains("key=text"));
        assert!(built(&["a:={x"]).unwrap_err().contains("no JSON"));
    }
}
