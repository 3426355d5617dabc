//! What is understood as an event, and what is not.

use actions_app::commands::submit_event::NewEvent;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::Reader;
use crate::problem::Problem;

fn read(media: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Result<Vec<NewEvent>, Problem> {
    let mut map = HeaderMap::new();
    map.insert("content-type", HeaderValue::from_str(media).unwrap());
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let tenant = ["acme", "01890000-0000-7000-8000-000000000001"].map(str::to_owned);
    Reader { now, tenant, delay: None }.read(&map, body)?.all()
}

fn one(media: &str, body: &str) -> Result<NewEvent, Problem> {
    read(media, &[], body.as_bytes()).map(|mut events| events.remove(0))
}

const PLAIN: &str = "application/json";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";

#[test]
fn a_plain_event_keeps_its_data_to_the_byte() {
    let body = r#"{"type":"Orders.Paid","data":{"n":1.10, "big":123456789012345678901234567890},
                   "delay":"5m","priority":900,"id":"o-1"}"#;
    let event = one(PLAIN, body).unwrap();
    assert_eq!(event.event_type.as_str(), "orders.paid");
    assert_eq!(event.data.as_str(), r#"{"n":1.10, "big":123456789012345678901234567890}"#);
    assert_eq!(event.delay.unwrap().as_secs(), 300);
    assert_eq!(event.external_id.as_deref(), Some("o-1"));
    let later = one(PLAIN, r#"{"type":"a.b","run_at":"2026-01-01T00:01:00Z"}"#).unwrap();
    assert_eq!(later.delay.unwrap().as_secs(), 60);
}

#[test]
fn a_structured_cloud_event_is_understood() {
    let body = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"a.b","time":"2026-01-01T01:00:00+01:00",
        "subject":"s","partitionkey":"k","comexampleflag":true,"data":[1]}"#;
    for media in [STRUCTURED, PLAIN] {
        let event = one(media, body).unwrap();
        assert_eq!(event.source.as_deref(), Some("/shop"));
        assert_eq!(event.attributes.time.unwrap().to_rfc3339(), "2026-01-01T00:00:00+00:00");
        assert_eq!(event.attributes.partition_key.as_deref(), Some("k"));
        assert_eq!(event.attributes.extensions["comexampleflag"], true);
        assert_eq!(event.data.as_str(), "[1]");
    }
    let batch = read(BATCH, &[], format!("[{body},{body}]").as_bytes()).unwrap();
    assert_eq!(batch.len(), 2);
    assert_eq!(read(BATCH, &[], b"[]").unwrap().len(), 0);
}

#[test]
fn base64_data_is_decoded_where_it_is_text() {
    let with = |media: &str, base64: &str| {
        let body = format!(
            r#"{{"specversion":"1.0","id":"1","source":"s","type":"a.b","datacontenttype":"{media}","data_base64":"{base64}"}}"#
        );
        one(STRUCTURED, &body).map(|event| event.data.as_str().to_owned())
    };
    assert_eq!(with("application/json", "eyJhIjoxfQ==").unwrap(), r#"{"a":1}"#);
    assert_eq!(with("text/plain", "aGk=").unwrap(), r#""hi""#);
    assert_eq!(with("image/png", "iVBORw==").unwrap(), r#"{"data_base64":"iVBORw=="}"#);
    assert!(with("application/json", "AAA").is_err());
    assert!(with("text/plain", "AA==").is_err(), "NUL cannot be stored");
}

#[test]
fn a_binary_cloud_event_is_understood() {
    let headers: [(&str, &[u8]); 6] = [
        ("ce-specversion", b"1.0"),
        ("ce-type", b"a.b"),
        ("ce-source", b"/s"),
        ("ce-id", b"1"),
        ("ce-subject", b"Euro%20%E2%82%AC"),
        ("ce-flag", b"x"),
    ];
    let event = read("application/json", &headers, br#"{"a":1}"#).unwrap().remove(0);
    assert_eq!(event.attributes.subject.as_deref(), Some("Euro €"));
    assert_eq!(event.attributes.extensions["flag"], "x");
    assert_eq!(event.data.as_str(), r#"{"a":1}"#);
    let bytes = read("application/octet-stream", &headers, &[0, 255]).unwrap().remove(0);
    assert_eq!(bytes.data.as_str(), r#"{"data_base64":"AP8="}"#);
    let raw: Vec<(&str, &[u8])> = headers.into_iter().chain([("ce-other", &b"\xE9"[..])]).collect();
    assert_eq!(read(PLAIN, &raw, b"{}").unwrap_err().code(), "parameter.invalid");
}

/// Code and first place of a refusal.
fn refusal(media: &str, body: &str) -> String {
    let problem = read(media, &[], body.as_bytes()).unwrap_err();
    let pointer = problem.errors.first().map(|error| error.pointer.clone());
    format!("{} {}", problem.code(), pointer.unwrap_or_default())
}

#[test]
fn what_is_wrong_is_named() {
    let plain = |body: &str| refusal(PLAIN, body);
    insta::assert_snapshot!(plain(r#"{"data":{}}"#), @"event.invalid /type");
    insta::assert_snapshot!(plain(r#"{"type":"users"}"#), @"event.invalid /type");
    insta::assert_snapshot!(plain(r#"{"type":7}"#), @"body.invalid /type");
    insta::assert_snapshot!(plain(r#"{"type":"a.b","tpye":1}"#), @"body.unknown_field /tpye");
    insta::assert_snapshot!(plain(r#"{"type":"a.b","tenant":"other"}"#), @"event.invalid /tenant");
    insta::assert_snapshot!(plain(r#"{"type":"a.b","delay":"5"}"#), @"event.invalid /delay");
    insta::assert_snapshot!(plain(r#"{"type":"a.b","delay":"999d"}"#), @"parameter.invalid ");
    insta::assert_snapshot!(plain(r#"[{"type":"a.b"},{"type":"b"},{}]"#), @"event.invalid /1/type");
    insta::assert_snapshot!(plain(r#""text""#), @"body.invalid ");
    let cloud = |body: &str| refusal(STRUCTURED, body);
    insta::assert_snapshot!(cloud(r#"{"specversion":"0.3"}"#), @"event.invalid /specversion");
    insta::assert_snapshot!(cloud(r#"{"specversion":"1.0","type":"a.b","id":"1"}"#), @"event.invalid /source");
    insta::assert_snapshot!(cloud(r#"{"specversion":"1.0","type":"a.b","id":"","source":"s"}"#), @"event.invalid /id");
    insta::assert_snapshot!(cloud(r#"{"specversion":"1.0","type":"a.b","id":"1","source":"s","ext":{}}"#), @"event.invalid /ext");
    insta::assert_snapshot!(cloud(r#"{"specversion":"1.0","type":"a.b","id":"1","source":"s","Ext":1}"#), @"event.invalid /Ext");
    insta::assert_snapshot!(refusal("text/plain", "x"), @"media.unsupported ");
    insta::assert_snapshot!(refusal("application/cloudevents+avro", "x"), @"media.unsupported ");
}
