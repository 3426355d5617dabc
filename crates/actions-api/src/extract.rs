//! What routes read from a request besides its body, refused with problems of ours.

use std::time::Duration;

use actions_app::commands::submit_event::Idempotency;
use actions_app::durations::parse_duration;
use actions_domain::limits::{IDEMPOTENCY_KEY_BYTES_MAX, WAIT_MAX};
use actions_domain::ports::definitions::Expected;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::de::DeserializeOwned;

use crate::plain::plain;
use crate::problem::{Problem, VERSION_REQUIRED, VERSION_STALE};
use crate::routes::Api;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The parameters of a path.
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Api> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Path(segments) =
            Path::from_request_parts(parts, api).await.map_err(|rejection| misread(&rejection))?;
        Ok(Self(segments))
    }
}

/// The parameters of a query. Unknown ones are refused where the type says so.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let Query(params) = Query::try_from_uri(&parts.uri).map_err(|rejection| {
            let message = innermost(&rejection);
            // The parser names the parameter before its complaint, where it knows it.
            match message.split_once(": ").filter(|(name, _)| !name.contains(' ')) {
                Some((name, message)) => Problem::parameter(name, plain(message)),
                None => Problem::parameter("query", plain(&message)),
            }
        })?;
        Ok(Self(params))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library may know more kinds one day")]
fn misread(rejection: &PathRejection) -> Problem {
    let PathRejection::FailedToDeserializePathParams(failed) = rejection else {
        return Problem::parameter("path", rejection.body_text());
    };
    match failed.kind() {
        ErrorKind::DeserializeError { key, value, message } => {
            Problem::parameter(key, format!("{value:?}: {}", plain(message)))
        }
        ErrorKind::ParseErrorAtKey { key, value, expected_type } => {
            let message = plain(&format!("invalid {expected_type}"));
            Problem::parameter(key, format!("{value:?}: {message}"))
        }
        other => Problem::parameter("path", plain(&other.to_string())),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

/// What a change expects to be there, from `If-Match` and `If-None-Match`.
pub(crate) struct Precondition {
    expected: Option<Expected>,
}

impl FromRequestParts<Api> for Precondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let text = |name| parts.headers.get(name).map(HeaderValue::as_bytes);
        let expected = match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
            (None, None) => None,
            (Some(b"*"), None) => Some(Expected::Anything),
            (Some(tag), None) => Some(Expected::Version(version_of(tag)?)),
            (None, Some(b"*")) => Some(Expected::Absent),
            (_, Some(_)) => {
                let message = "only * is understood, and not together with If-Match";
                return Err(Problem::parameter("If-None-Match", message));
            }
        };
        Ok(Self { expected })
    }
}

impl Precondition {
    /// For something whose current version is `current`. What exists is changed only by
    /// somebody who knows its version.
    pub(crate) fn expected(&self, current: Option<i64>) -> Result<Expected, Problem> {
        match (self.expected, current) {
            (None, Some(current)) => Err(Problem::new(
                &VERSION_REQUIRED,
                format!("it exists; send If-Match with its ETag, now \"{current}\""),
            )),
            (None, None) => Ok(Expected::Absent),
            (Some(Expected::Absent), Some(current)) => Err(Problem::new(
                &VERSION_STALE,
                format!("it exists already, with ETag \"{current}\""),
            )),
            (Some(Expected::Anything | Expected::Version(_)), None) => {
                Err(Problem::new(&VERSION_STALE, "it does not exist"))
            }
            (Some(Expected::Version(wanted)), Some(current)) if wanted != current => {
                Err(Problem::new(
                    &VERSION_STALE,
                    format!("the ETag is \"{current}\" now, not \"{wanted}\""),
                ))
            }
            (Some(expected), _) => Ok(expected),
        }
    }
}

fn version_of(tag: &[u8]) -> Result<i64, Problem> {
    let text = std::str::from_utf8(tag).ok();
    let inner = text.and_then(|tag| tag.trim().strip_prefix('"')?.strip_suffix('"'));
    inner
        .and_then(|version| version.parse().ok())
        .ok_or_else(|| Problem::parameter("If-Match", "expected one ETag like \"17\", or *"))
}

/// The `ETag` of a version.
pub(crate) fn etag(version: i64) -> [(HeaderName, HeaderValue); 1] {
    let tag = HeaderValue::from_str(&format!("\"{version}\""));
    [(header::ETAG, tag.unwrap_or(HeaderValue::from_static("\"0\"")))]
}

/// Reads `wait=30s`.
pub(crate) fn wait_of(wait: Option<&str>) -> Result<Option<Duration>, Problem> {
    let Some(wait) = wait else { return Ok(None) };
    let wait = parse_duration(wait).map_err(|error| Problem::parameter("wait", error))?;
    if wait > WAIT_MAX {
        let message = format!("at most {} s", WAIT_MAX.as_secs());
        return Err(Problem::parameter("wait", message));
    }
    Ok(Some(wait))
}

/// Reads `Idempotency-Key` for a request with this path and query. What the key stands for is
/// everything that decides what is done: not how long the answer is waited for.
pub(crate) fn idempotency_of(
    headers: &HeaderMap,
    scope: &'static str,
    path: &str,
    query: Option<&str>,
    body: &[u8],
) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let is_printable = |b: &u8| (0x20..0x7F).contains(b);
    let bytes = key.as_bytes();
    let is_valid =
        (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(is_printable);
    let key = key.to_str().ok().filter(|_| is_valid);
    let key = key.ok_or_else(|| {
        let message = format!("1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable ASCII characters");
        Problem::parameter("Idempotency-Key", message)
    })?;
    let beside = canonical(headers, path, query);
    Ok(Some(Idempotency::new(scope, key, &[&beside, body])))
}

/// What a request says beside its body, in lines. No header's value has a line break, and an
/// empty line ends them, so no two requests have one text.
fn canonical(headers: &HeaderMap, path: &str, query: Option<&str>) -> Vec<u8> {
    let mut query: Vec<_> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect();
    // The tenant is in the path that is given here.
    query.retain(|(name, _)| name != "wait" && name != "tenant");
    query.sort();
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let media = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut lines = [path.as_bytes(), query.as_bytes(), media].join(&b'\n');
    let is_event = |name: &HeaderName| name.as_str().starts_with("ce-");
    let mut attributes: Vec<(&[u8], &[u8])> = (headers.iter())
        .filter(|(name, _)| is_event(name))
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
        .collect();
    attributes.sort_unstable();
    for (name, value) in attributes {
        lines.extend([b"\n", name, b":", value].concat());
    }
    lines.extend(b"\n\n");
    lines
}

/// Says that the answer is the one of an earlier request.
pub(crate) fn mark_replayed(headers: &mut HeaderMap) {
    headers
        .insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
}
