//! What an HTTP answer means for an attempt, and what is kept of it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::DateTime;
use schemars::JsonSchema;
use serde::Serialize;

use actions_domain::Timestamp;
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::limits::RETRY_DELAY_MAX;

use crate::config::to_value;
use crate::egress::Response;

/// What is kept of a body. The history keeps the whole output below its own limit.
const BODY_BYTES_MAX: usize = 16 * 1024;
const HEADER_BYTES_MAX: usize = 1024;
/// Less of a refusal: its first words tell why, and every attempt keeps them.
const REFUSAL_BODY_BYTES_MAX: usize = 4 * 1024;
const REFUSAL_HEADER_BYTES_MAX: usize = 256;
/// Longer names are left out.
const HEADER_NAME_BYTES_MAX: usize = 128;

/// An answer, as the history keeps it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Answer {
    pub(crate) status_code: u16,
    /// Without cookies, long values are cut.
    pub(crate) response_headers: BTreeMap<String, String>,
    /// The start of the body, as text.
    pub(crate) response_body: String,
}

impl Answer {
    pub(crate) fn of(response: &Response) -> Self {
        Self::cut(response, BODY_BYTES_MAX, HEADER_BYTES_MAX)
    }

    fn cut(response: &Response, body_bytes_max: usize, header_bytes_max: usize) -> Self {
        let is_kept = |name: &str| {
            name != "set-cookie" && name != "set-cookie2" && name.len() <= HEADER_NAME_BYTES_MAX
        };
        let headers = response
            .headers
            .iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, value)| (name.clone(), cut(value.as_bytes(), header_bytes_max)));
        Self {
            status_code: response.status,
            response_headers: headers.take(32).collect(),
            response_body: cut(&response.body, body_bytes_max),
        }
    }
}

/// The first bytes as text that every store can keep.
fn cut(bytes: &[u8], max: usize) -> String {
    let start = bytes.get(..max).unwrap_or(bytes);
    String::from_utf8_lossy(start).replace('\0', "\u{fffd}")
}

/// What an answer means. The receiver asks for another try with 408, 425, 429 or any 5xx; every
/// other refusal is final, a redirect too: it is not followed.
pub(crate) fn classify(response: &Response, now: Timestamp) -> Outcome {
    match response.status {
        200..=299 => Outcome::Done(Output::new(to_value(&Answer::of(response)))),
        408 | 425 | 429 | 500..=599 => Outcome::Retry(refused(response, now)),
        _ => Outcome::Reject(refused(response, now)),
    }
}

/// As [`classify`], for an address that was made for us: gone means gone for good, and nobody
/// will ever listen there again.
pub(crate) fn classify_endpoint(response: &Response, now: Timestamp) -> Outcome {
    if response.status == 410 {
        return Outcome::Reject(Fault { disables: true, ..refused(response, now) });
    }
    classify(response, now)
}

/// The fault of an answer that is not a success.
pub(crate) fn refused(response: &Response, now: Timestamp) -> Fault {
    let status = response.status;
    let meaning = match status {
        300..=399 => " (redirects are not followed)",
        410 => " (gone)",
        429 => " (too many requests)",
        _ => "",
    };
    let answer = Answer::cut(response, REFUSAL_BODY_BYTES_MAX, REFUSAL_HEADER_BYTES_MAX);
    Fault::handler("http.status", format!("the receiver answered {status}{meaning}"))
        .with_details(to_value(&answer))
        .with_retry_after(retry_after(response, now))
}

/// How long the receiver asks us to wait, as seconds or as a date.
pub(crate) fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    let pause = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let due = DateTime::parse_from_rfc2822(value).ok()?;
            (due.to_utc() - now).to_std().unwrap_or_default()
        }
    };
    Some(pause.min(RETRY_DELAY_MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actions_domain::Timestamp;
    use actions_domain::execution::Outcome;

    use super::{classify, refused, retry_after};
    use crate::egress::Response;

    fn answered(status: u16, headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Response { status, headers, body: b"text\0".to_vec(), is_cut: false }
    }

    fn now() -> Timestamp {
        "2026-11-21T07:28:00Z".parse().expect("a time")
    }

    #[test]
    fn every_status_has_one_meaning() {
        let word = |status| match classify(&answered(status, &[]), now()) {
            Outcome::Done(_) => "done",
            Outcome::Retry(_) => "retry",
            Outcome::Reject(_) => "reject",
        };
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(word(status), "done", "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(word(status), "retry", "{status}");
        }
        for status in [301, 302, 304, 307, 308, 400, 401, 403, 404, 409, 410, 422] {
            assert_eq!(word(status), "reject", "{status}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_patience_in_seconds_or_as_a_date() {
        let asked = |value| retry_after(&answered(503, &[("retry-after", value)]), now());
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sat, 21 Nov 2026 07:29:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(asked("Sat, 21 Nov 2020 07:29:30 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("99999999999"), Some(Duration::from_secs(86_400)));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
    }

    #[test]
    fn a_large_refusal_is_kept_by_its_start() {
        let name = format!("x-{}", "n".repeat(1_000));
        let headers = [("x-long", "v".repeat(10_000)), (name.as_str(), String::new())];
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mut response = answered(500, &headers);
        response.body = vec![1; 256 * 1024];
        let details = refused(&response, now()).details.expect("details");
        assert_eq!(details["response_headers"]["x-long"].as_str().map(str::len), Some(256));
        assert_eq!(details["response_body"].as_str().map(str::len), Some(4096));
    }

    #[test]
    fn what_is_kept_can_be_stored() {
        let headers = [("set-cookie", "session=1"), ("x-id", "7")];
        let Outcome::Done(output) = classify(&answered(200, &headers), now()) else {
            panic!("done");
        };
        assert_eq!(output.data["response_headers"], serde_json::json!({ "x-id": "7" }));
        assert_eq!(output.data["response_body"], "text\u{fffd}");
    }
}
