//! What browsers are told, whose pages may ask, and by which names.

use actions::Access;
use axum::body::Body;
use axum::http::{Method, Request};

use crate::support::app::{Answer, TOKEN, TestApp};

const EVENTS: &str = "/v1/tenants/acme/events";
const APP: &str = "https://app.example.com";

async fn given(hosts: &[&str], origins: &[&str]) -> TestApp {
    TestApp::at(Access::Token(TOKEN.to_owned().into()), hosts, origins).await
}

async fn ask(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.answer(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn every_answer_tells_browsers_that_it_is_no_page() {
    let app = TestApp::start().await;
    let token = format!("Bearer {TOKEN}");
    let known = [("authorization", token.as_str())];
    for (method, path, headers) in [
        (Method::GET, "/", &[][..]),
        (Method::GET, "/healthz", &[]),
        (Method::GET, "/docs/errors", &[]),
        (Method::GET, "/openapi.json", &[]),
        (Method::GET, EVENTS, &[]),
        (Method::GET, EVENTS, &known),
        (Method::GET, "/metrics", &known),
        (Method::GET, "/nowhere", &known),
        (Method::OPTIONS, EVENTS, &known),
        (Method::POST, EVENTS, &known),
    ] {
        let answer = ask(&app, method.clone(), path, headers).await;
        let shown = [
            "cache-control",
            "x-content-type-options",
            "content-security-policy",
            "referrer-policy",
            "cross-origin-resource-policy",
        ]
        .map(|name| answer.header(name));
        let expected = [
            "no-store",
            "nosniff",
            "default-src 'none'; frame-ancestors 'none'",
            "no-referrer",
            "same-origin",
        ];
        assert_eq!(shown, expected, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{method} {path}");
        assert!(!answer.headers.contains_key("server"), "{method} {path}");
    }
}

#[tokio::test]
async fn no_page_may_ask_unless_its_origin_is_named() {
    let token = format!("Bearer {TOKEN}");
    let asks =
        |origin: &'static str| [("origin", origin), ("access-control-request-method", "POST")];
    let closed = TestApp::start().await;
    let answer = ask(&closed, Method::OPTIONS, EVENTS, &asks(APP)).await;
    insta::assert_snapshot!(answer.problem(), @"405 method.unsupported");

    let open = given(&[], &[APP, "http://localhost:3000"]).await;
    let answer = ask(&open, Method::OPTIONS, EVENTS, &asks(APP)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(answer.header("vary"), "origin");
    let headers = [("authorization", token.as_str()), ("origin", APP)];
    let answer = ask(&open, Method::GET, EVENTS, &headers).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, APP));
    assert!(answer.header("access-control-expose-headers").contains("x-request-id"));
    // A page is let in to ask, not to be somebody.
    let answer = ask(&open, Method::GET, EVENTS, &[("origin", APP)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (401, APP));
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));

    for foreign in [
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://evil.example",
        "null",
        "*",
        "",
    ] {
        let answer = ask(&open, Method::OPTIONS, EVENTS, &asks(foreign)).await;
        assert_eq!(answer.status, 405, "{foreign}");
        let headers = [("authorization", token.as_str()), ("origin", foreign)];
        let answer = ask(&open, Method::GET, EVENTS, &headers).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{foreign}");
        assert_eq!(answer.header("vary"), "origin", "a cache keeps them apart");
    }
}

#[tokio::test]
async fn a_server_with_names_answers_to_no_other() {
    let app = given(&["actions.example.com"], &[]).await;
    let token = format!("Bearer {TOKEN}");
    let with = async |path: &str, host: &str| {
        ask(&app, Method::GET, path, &[("authorization", &token), ("host", host)]).await
    };
    assert_eq!(with(EVENTS, "actions.example.com").await.status, 200);
    assert_eq!(with(EVENTS, "actions.example.com:443").await.status, 200);
    for path in [EVENTS, "/", "/metrics", "/openapi.json"] {
        let answer = with(path, "evil.example").await;
        assert_eq!(answer.problem(), "403 host.forbidden", "{path}");
    }
    let answer = with("http://evil.example/v1/tenants/acme/events", "actions.example.com").await;
    assert_eq!(answer.problem(), "403 host.forbidden");
    // Who asks whether the process is alive knows an address at most.
    assert_eq!(with("/healthz", "10.1.2.3:7070").await.status, 200);
}

#[tokio::test]
async fn a_page_that_is_named_may_ask_a_local_server_too() {
    let app = TestApp::at(Access::LocalDev, &[], &["http://localhost:3000"]).await;
    let from = async |origin: &str| {
        ask(&app, Method::GET, EVENTS, &[("host", "localhost:7070"), ("origin", origin)]).await
    };
    assert_eq!(from("http://localhost:3000").await.status, 200);
    let answer = from("http://localhost:3001").await;
    insta::assert_snapshot!(answer.problem(), @"403 host.forbidden");
}
