//! The whole interface, over requests that were made to break it: never an answer of 5xx, never a
//! panic, and every refusal is a problem that says what is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use actions::connections::{Bounds, serve};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::roles::{Things, body, described, split};
use crate::support::app::{Answer, TOKEN, TestApp};
use crate::support::mutator::{Chance, NAUGHTY, each_case_of, mutated, mutated_text, mutated_tree};

const MEDIAS: [&str; 8] = [
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/json; charset=utf-8",
    "application/problem+json",
    "text/plain",
    "multipart/form-data; boundary=x",
    "",
];
const HEADERS: [&str; 20] = [
    "authorization",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "x-request-id",
    "traceparent",
    "tracestate",
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "accept",
    "accept-encoding",
    "host",
    "origin",
    "range",
    "expect",
    "ce-type",
    "ce-specversion",
    "ce-time",
    "x-http-method-override",
];
const PARAMETERS: [&str; 22] = [
    "limit", "cursor", "where", "fields", "wait", "tenant", "since", "until", "status", "action",
    "delay", "run_at", "priority", "event", "verbose", "window", "bucket", "type", "source",
    "from", "to", "count",
];
const VALUES: [&str; 14] = [
    "1",
    "1000",
    "failed",
    "status:failed since:1h",
    "acme",
    "id,status",
    "2026-01-01T00:00:00Z",
    "5m",
    "0s",
    "true",
    "a",
    "high",
    "attempts>1",
    "",
];

fn encoded(chance: &mut Chance, text: &str) -> String {
    // Now and then as it is, where that can be a path or a query at all.
    if chance.one_in(4) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'?') {
        return text.to_owned();
    }
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn value(chance: &mut Chance) -> String {
    match chance.below(3) {
        0 => chance.pick(&VALUES).to_owned(),
        1 => chance.pick(NAUGHTY).to_owned(),
        _ => mutated_text(chance, &VALUES, NAUGHTY),
    }
}

/// A path of the interface, with one or another part replaced.
fn path(chance: &mut Chance, things: &Things, pattern: &str) -> String {
    let whole = things.path(pattern).replace("{tenant}", "acme").replace("{code}", "body.invalid");
    let mut parts: Vec<String> = whole.split('/').map(ToOwned::to_owned).collect();
    if chance.one_in(4) {
        let at = chance.below(parts.len());
        let odd = value(chance);
        let odd: String = odd.chars().take(300).collect();
        let verb = parts[at].split_once(':').map(|(_, verb)| format!(":{verb}"));
        parts[at] = encoded(chance, &odd) + verb.as_deref().unwrap_or_default();
    }
    let mut path = parts.join("/");
    for n in 0..chance.below(4) {
        let name = if chance.one_in(6) { chance.pick(NAUGHTY) } else { chance.pick(&PARAMETERS) };
        let odd: String = value(chance).chars().take(600).collect();
        let (name, odd) = (encoded(chance, name), encoded(chance, &odd));
        path += &format!("{}{name}={odd}", if n == 0 { '?' } else { '&' });
    }
    path
}

fn request(chance: &mut Chance, things: &Things, route: &str) -> Option<Request<Body>> {
    let (described, pattern) = split(route);
    let methods = [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::OPTIONS];
    let method =
        if chance.one_in(30) { methods[chance.below(methods.len())].clone() } else { described };
    let uri: Uri = path(chance, things, pattern).parse().ok()?;
    let mut request = Request::builder().method(method.clone()).uri(uri);
    let headers = request.headers_mut()?;
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {TOKEN}")).unwrap());
    let media = if chance.one_in(10) { chance.pick(&MEDIAS) } else { MEDIAS[0] };
    headers.insert("content-type", HeaderValue::from_static(media));
    if method == Method::PUT {
        headers.insert("if-match", HeaderValue::from_static("*"));
    }
    for _ in 0..chance.below(3) {
        let name = HeaderName::from_static(chance.pick(&HEADERS));
        let odd = value(chance);
        // A header of a request can hold any byte but a few.
        let odd = odd.bytes().filter(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7F)).take(5_000);
        headers.insert(name, HeaderValue::from_bytes(&odd.collect::<Vec<_>>()).ok()?);
    }
    let seed = body(pattern);
    let bytes = match chance.below(10) {
        0 => Vec::new(),
        1..=3 => seed.to_string().into_bytes(),
        4..=7 => mutated_tree(chance, &seed).to_string().into_bytes(),
        _ => mutated(chance, &[&seed.to_string(), "[]", "{}"], NAUGHTY),
    };
    request.body(Body::from(bytes)).ok()
}

/// An answer that a stranger may get.
fn check(at: &str, answer: &Answer) {
    let status = answer.status.as_u16();
    assert!(status < 500, "{at}: {status} {}", answer.text);
    if status >= 400 {
        let told = answer.body();
        let detail = told["detail"].as_str().unwrap_or_default();
        assert!(answer.header("content-type") == "application/problem+json", "{at}: {status}");
        assert!(!detail.is_empty() && told["code"].is_string(), "{at}: {}", answer.text);
        for inner in ["panicked", "src/", ".rs:", "sqlx", "RUST_", "select ", "/home/"] {
            assert!(!detail.contains(inner), "{at}: {detail}");
        }
    }
}

#[tokio::test]
async fn no_request_leads_to_a_failure_of_ours() {
    let routes: Vec<String> = described().into_iter().collect();
    let mut app = TestApp::start().await;
    let mut things = Things::below(&app, "/v1/tenants/acme").await;
    let (mut asked, mut answers) = (0_u64, BTreeMap::<u16, u64>::new());
    each_case_of("requests", 20_000, async |mut chance| {
        // What the requests have made would slow down the later ones.
        if asked % 5_000 == 4_999 {
            app = TestApp::start().await;
            things = Things::below(&app, "/v1/tenants/acme").await;
        }
        asked += 1;
        let route = &routes[chance.below(routes.len())];
        let Some(request) = request(&mut chance, &things, route) else { return };
        let at = format!("{} {}", request.method(), request.uri());
        let answer = app.answer_alone(request).await;
        check(&at, &answer);
        *answers.entry(answer.status.as_u16()).or_default() += 1;
    })
    .await;
    let good: u64 = answers.range(200..300).map(|(_, count)| count).sum();
    assert!(good > asked / 20, "hardly anything was let in: {answers:?}");
    let event = app.post("events", json!({ "type": "a.b" })).await;
    assert_eq!(event.status, 202, "{}", event.text);
}

#[tokio::test]
async fn no_cursor_that_was_made_up_is_read() {
    let app = TestApp::start().await;
    for n in 0..3 {
        app.post("events", json!({ "type": "a.b", "data": n })).await;
    }
    let first = app.get("events?limit=1").await.body();
    let cursor = first["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&format!("events?limit=1&cursor={cursor}")).await.status, 200);
    each_case_of("cursors", 2_000, async |mut chance| {
        let text = mutated_text(&mut chance, &[&cursor, "AAAA", "e30"], &["=", "-", "_", "A", "."]);
        let text: String = text.chars().take(2_000).collect();
        let sent: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = app.get(&format!("events?limit=1&cursor={sent}")).await;
        let expected = if text == cursor { 200 } else { 400 };
        assert_eq!(answer.status, expected, "{text:?}: {}", answer.text);
    })
    .await;
}

const LAST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const QUIET: Duration = Duration::from_secs(61);

#[expect(clippy::disallowed_methods, reason = "the test is the client")]
async fn connect(address: std::net::SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn no_bytes_of_a_connection_lead_to_a_failure_of_ours() {
    let app = TestApp::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clock = app.engine.clock.clone();
    let closing = CancellationToken::new();
    tokio::spawn(serve(listener, app.router(), clock, Bounds::default(), closing));
    let get = format!(
        "GET /v1/tenants/acme/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let post = format!(
        "POST /v1/tenants/acme/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{{\"type\":\"a.b\"}}"
    );
    let chunked = format!(
        "POST /v1/tenants/acme/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{{\"type\"\r\n7\r\n:\"a.b\"}}\r\n0\r\n\r\n"
    );
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let seeds = [get.as_str(), &post, &chunked, preface];
    let words = [
        "\r\n",
        "\n",
        "\r",
        " ",
        ":",
        "\0",
        "HTTP/1.0",
        "HTTP/9.9",
        "content-length: 5\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: identity, chunked\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "host: a\r\n",
        "expect: 100-continue\r\n",
        "upgrade: h2c\r\n",
        "connection: close\r\n",
        "GET ",
        "* ",
        "http://x/",
        "//",
        "\u{80}",
        "TRACE / HTTP/1.1\r\n",
    ];
    let mut answered = 0;
    each_case_of("connections", 3_000, async |mut chance| {
        let bytes = mutated(&mut chance, &seeds, &words);
        let (mut reading, mut writing) = connect(address).await.into_split();
        // What is said after a refusal may not be read any more.
        let _ = writing.write_all(&bytes).await;
        let _ = writing.write_all(LAST).await;
        let mut answer = Vec::new();
        {
            let mut hearing = std::pin::pin!(reading.read_to_end(&mut answer));
            loop {
                tokio::select! {
                    biased;
                    _ = &mut hearing => break,
                    // Whoever leaves something open is given up in time.
                    () = app.advance(QUIET) => {}
                }
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        for line in answer.lines().filter(|line| line.starts_with("HTTP/1.")) {
            answered += 1;
            assert!(!line.contains(" 5"), "{line} for {}", bytes.escape_ascii());
        }
    })
    .await;
    assert!(answered > 500, "{answered}");
    // The next one is served as ever.
    let mut stream = connect(address).await;
    stream.write_all(LAST).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
