//! `CloudEvents` 1.0.2 over HTTP in binary mode: attributes in `ce-` headers, data in the body.

use actions_app::commands::submit_event::NewEvent;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cloud_event::decoded;
use super::{Reader, broken, event_type, with_type};
use crate::problem::{FieldError, PARAMETER_INVALID, Problem};

const PREFIX: &str = "ce-";

pub(super) fn is_binary(headers: &HeaderMap) -> bool {
    headers.contains_key("ce-specversion") || headers.contains_key("ce-type")
}

impl Reader {
    pub(super) fn binary(
        &self,
        headers: &HeaderMap,
        media: Option<&str>,
        body: &[u8],
    ) -> Result<NewEvent, Problem> {
        let spec_version = required(headers, "specversion")?;
        if spec_version != "1.0" {
            let message = format!("specversion is {spec_version:?}, known is \"1.0\"");
            return Err(broken("/specversion", message));
        }
        let mut event = with_type(event_type(&required(headers, "type")?)?);
        event.source = Some(required(headers, "source")?);
        event.external_id = Some(required(headers, "id")?);
        event.delay = self.delay;
        let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
        event.attributes.content_type = content_type.map(str::to_owned);
        for name in headers.keys() {
            let Some(name) = name.as_str().strip_prefix(PREFIX) else { continue };
            if matches!(name, "specversion" | "type" | "source" | "id") {
                continue;
            }
            let text = read(headers, name)?.unwrap_or_default();
            let raw = serde_json::value::to_raw_value(&text)
                .map_err(|error| Problem::internal(error.to_string()))?;
            self.attribute(&mut event, name, &raw)?;
        }
        if !body.is_empty() {
            event.data = decoded(media, body, &STANDARD.encode(body))?;
        }
        Ok(event)
    }
}

fn required(headers: &HeaderMap, name: &str) -> Result<String, Problem> {
    match read(headers, name)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(broken(&format!("/{name}"), format!("a CloudEvent needs the header ce-{name}"))),
    }
}

/// Reads a header as bytes, because not every client encodes what the specification wants
/// percent-encoded.
fn read(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(format!("{PREFIX}{name}")).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refused = |message: &str| {
        let detail = format!("ce-{name}: {message}");
        Problem::new(&PARAMETER_INVALID, detail)
            .with_error(FieldError::new(format!("/{name}"), message))
    };
    if values.next().is_some() {
        return Err(refused("the header is there twice"));
    }
    let bytes = percent_decoded(value.as_bytes());
    let text = String::from_utf8(bytes)
        .map_err(|_| refused("not UTF-8; other characters are percent-encoded"))?;
    if text.chars().any(char::is_control) {
        return Err(refused("control characters cannot be part of an attribute"));
    }
    Ok(Some(text))
}

fn percent_decoded(raw: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        let code = raw
            .get(at + 1..at + 3)
            .filter(|_| *byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn only_percent_codes_are_decoded() {
        let decoded = |raw: &str| String::from_utf8(percent_decoded(raw.as_bytes())).unwrap();
        assert_eq!(decoded("Euro%20%E2%82%AC%20%F0%9F%98%80"), "Euro € 😀");
        assert_eq!(decoded("100% %zz %2"), "100% %zz %2");
        assert_eq!(decoded("%+1"), "%+1");
    }
}
