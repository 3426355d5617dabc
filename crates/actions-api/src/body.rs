//! Reads bodies: limits, media types, and JSON whose mistakes are named with their place.

use actions_domain::json::{Json, JsonError};
use actions_domain::limits::{BODY_ARRIVAL_MAX, BODY_BYTES_MAX};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::plain::plain;
use crate::problem::{
    BODY_INVALID, BODY_TIMEOUT, BODY_TOO_LARGE, BODY_UNKNOWN_FIELD, FieldError, MEDIA_UNSUPPORTED,
    Problem,
};
use crate::routes::Api;

mod place;

use place::{line_and_column, offset_of, pointer_at};

/// A JSON body of a known shape.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Api> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let bytes = read(request, api, BODY_BYTES_MAX).await?;
        decode(&bytes).map(Self)
    }
}

/// A JSON body that may be missing.
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<Api> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let media = require_json(request.headers());
        let bytes = read(request, api, BODY_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        media?;
        decode(&bytes).map(Self)
    }
}

/// Reads a whole body of at most `max` bytes.
pub(crate) async fn read(request: Request, api: &Api, max: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(&BODY_TOO_LARGE, format!("the body has more than {max} bytes"));
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING)
        && encoding.as_bytes() != b"identity"
    {
        return Err(Problem::new(&MEDIA_UNSUPPORTED, "compressed bodies are not read here"));
    }
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let mut chunks = request.into_body().into_data_stream();
    let arrival = async {
        let mut body = BytesMut::with_capacity(announced.unwrap_or(0));
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk
                .map_err(|_| Problem::new(&BODY_INVALID, "the body broke off before its end"))?;
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    tokio::select! {
        body = arrival => body,
        () = api.app.ports.clock.sleep(BODY_ARRIVAL_MAX) => {
            let seconds = BODY_ARRIVAL_MAX.as_secs();
            Err(Problem::new(&BODY_TIMEOUT, format!("the body did not arrive within {seconds} s")))
        }
    }
}

/// The content type without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let media = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!media.is_empty()).then_some(media)
}

pub(crate) fn is_json(media: &str) -> bool {
    media == "application/json" || media == "text/json" || media.ends_with("+json")
}

pub(crate) fn unsupported(media: Option<&str>, expected: &str) -> Problem {
    let sent = media.unwrap_or("no content type");
    Problem::new(&MEDIA_UNSUPPORTED, format!("{sent} was sent; expected {expected}"))
}

pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media = media_type(headers);
    match &media {
        Some(media) if is_json(media) => Ok(()),
        _ => Err(unsupported(media.as_deref(), "application/json")),
    }
}

/// Reads JSON text of a known shape. Numbers that a tree would alter are refused.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = checked(bytes)?;
    if let Some(offset) = altered_number(text.as_str()) {
        let message = "this integer does not fit into 64 bits; send it as a text";
        return Err(at_offset(text.as_str(), offset, message));
    }
    decode_raw(text.as_str())
}

/// Checks that bytes are JSON that can be kept, and nothing more.
pub(crate) fn checked(bytes: &[u8]) -> Result<Json, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("not UTF-8 from byte {} on", error.valid_up_to());
        Problem::new(&BODY_INVALID, message)
    })?;
    Json::parse(text).map_err(|error| match &error {
        JsonError::Syntax { message, line, column } => {
            let place = FieldError {
                line: Some(*line),
                column: Some(*column),
                ..FieldError::new("", message)
            };
            Problem::new(&BODY_INVALID, error.to_string()).with_error(place)
        }
        JsonError::TooDeep { offset }
        | JsonError::Character { offset, .. }
        | JsonError::Number { offset } => at_offset(text.trim_start(), *offset, &error.to_string()),
    })
}

/// Reads a checked text of a known shape. Only what keeps numbers as text may use it alone.
pub(crate) fn decode_raw<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| misshapen(text, &error))
}

fn at_offset(text: &str, offset: usize, message: &str) -> Problem {
    let (line, column) = line_and_column(text, offset);
    let place = FieldError {
        line: Some(line),
        column: Some(column),
        ..FieldError::new(pointer_at(text, offset, true), message)
    };
    Problem::new(&BODY_INVALID, message).with_error(place)
}

fn misshapen(text: &str, error: &serde_json::Error) -> Problem {
    let full = error.to_string();
    let message = full.rsplit_once(" at line ").map_or(full.as_str(), |(message, _)| message);
    let message = plain(message);
    let message = message.as_str();
    let (line, column) = (error.line(), error.column());
    let is_unknown_field = message.starts_with("unknown field");
    let kind = match error.classify() {
        Category::Data if is_unknown_field => &BODY_UNKNOWN_FIELD,
        Category::Data | Category::Syntax | Category::Eof | Category::Io => &BODY_INVALID,
    };
    let is_whole = message.starts_with("missing field");
    let mut pointer = pointer_at(text, offset_of(text, line, column), is_whole);
    // Behind a member that was read as a whole, the place is its end; the field is named.
    if is_unknown_field && let Some(name) = message.split('`').nth(1) {
        let name = name.replace('~', "~0").replace('/', "~1");
        if pointer.rsplit('/').next() != Some(name.as_str()) {
            pointer = format!("{pointer}/{name}");
        }
    }
    let place =
        FieldError { line: Some(line), column: Some(column), ..FieldError::new(pointer, message) };
    Problem::new(kind, message).with_error(place)
}

/// Finds an integer that no 64 bits hold: it would become a double, with other digits.
fn altered_number(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = place::end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let length = bytes[at..].iter().take_while(|b| is_part(b)).count();
                let number = &text[at..at + length];
                let is_integer = !number.contains(['.', 'e', 'E']);
                if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Some(at);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests;
