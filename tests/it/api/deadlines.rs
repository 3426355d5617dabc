//! Bodies that never come to their end: who may make the server wait, and for how long.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tower::ServiceExt;

use super::roles::Things;
use crate::support::app::{TOKEN, TestApp};

/// Every operation that reads a body.
fn reading() -> Vec<(Method, String)> {
    let document: Value = serde_json::from_str(&actions::openapi_json()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let reading = paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter();
        let reading = operations.filter(|(_, operation)| operation["requestBody"].is_object());
        reading.map(move |(method, _)| (method.to_uppercase().parse().unwrap(), path.clone()))
    });
    reading.collect()
}

/// Begins like JSON, and is never finished.
fn endless() -> Body {
    let begin = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"type\":"))]);
    Body::from_stream(begin.chain(stream::pending()))
}

fn request(method: &Method, path: &str, token: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header("content-type", "application/json").header("if-match", "*");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(endless()).unwrap()
}

#[tokio::test]
async fn nobody_waits_for_the_body_of_a_stranger() {
    let app = TestApp::start().await;
    let things = Things::below(&app, "/v1/tenants/acme").await;
    let reading = reading();
    assert!(reading.len() > 40, "{}", reading.len());
    for (method, path) in reading {
        // Its body is the credential; it is a short one.
        if path == "/v1/sessions" {
            continue;
        }
        let path = things.path(&path).replace("{tenant}", "acme");
        for token in [None, Some("wrong"), Some("act_wrong")] {
            let request = request(&method, &path, token);
            let answer = tokio::spawn(app.router().oneshot(request));
            // No time passes meanwhile.
            app.engine.settle().await;
            assert!(answer.is_finished(), "{method} {path} waits for the body of {token:?}");
            assert_eq!(answer.await.unwrap().unwrap().status(), 401, "{method} {path} {token:?}");
        }
    }
}

#[tokio::test]
async fn every_body_has_its_time() {
    let app = TestApp::start().await;
    let things = Things::below(&app, "/v1/tenants/acme").await;
    let waiting: Vec<_> = reading()
        .into_iter()
        .map(|(method, path)| {
            let path = things.path(&path).replace("{tenant}", "acme");
            let request = request(&method, &path, Some(TOKEN));
            (format!("{method} {path}"), tokio::spawn(app.router().oneshot(request)))
        })
        .collect();
    app.advance(Duration::from_secs(30)).await;
    let mut in_vain = 0;
    for (at, answer) in waiting {
        assert!(answer.is_finished(), "{at} waits for ever");
        match answer.await.unwrap().unwrap().status().as_u16() {
            408 => in_vain += 1,
            // What is not there needs no body.
            status => assert!(matches!(status, 404 | 412), "{at}: {status}"),
        }
    }
    assert!(in_vain > 40, "{in_vain}");
}

#[tokio::test]
async fn who_has_no_body_to_read_waits_for_none() {
    let app = TestApp::start().await;
    for path in ["/healthz", "/v1/tenants/acme/events", "/v1/tenants/acme/actions", "/nowhere"] {
        let answer = tokio::spawn(app.router().oneshot(request(&Method::GET, path, Some(TOKEN))));
        app.engine.settle().await;
        assert!(answer.is_finished(), "{path}");
    }
}
