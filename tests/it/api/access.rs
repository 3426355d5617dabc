//! Who is let in.

use actions::Access;
use axum::body::Body;
use axum::http::{Method, Request};

use crate::support::app::TestApp;

const EVENTS: &str = "/v1/tenants/acme/events";

#[tokio::test]
async fn a_token_is_needed_and_compared_whole() {
    let app = TestApp::start().await;
    let with =
        async |value: &str| app.send(Method::GET, EVENTS, &[("authorization", value)], "").await;
    assert_eq!(with("Bearer test-token").await.status, 200);
    assert_eq!(with("bearer test-token ").await.status, 200);
    insta::assert_snapshot!(with("Bearer test-toke").await.problem(), @"401 auth.invalid");
    insta::assert_snapshot!(with("Bearer ").await.problem(), @"401 auth.invalid");
    insta::assert_snapshot!(with("Basic dGVzdA==").await.problem(), @"401 auth.missing");
    let answer = app.answer(Request::get(EVENTS).body(Body::empty()).unwrap()).await;
    insta::assert_snapshot!(answer.problem(), @"401 auth.missing");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"actions\"");
}

#[tokio::test]
async fn an_empty_token_lets_nobody_in() {
    let app = TestApp::serving(Access::Token(String::new().into())).await;
    for value in ["Bearer ", "Bearer x", "Bearer  "] {
        let answer = app.send(Method::GET, EVENTS, &[("authorization", value)], "").await;
        assert_eq!(answer.status, 401, "{value:?}");
    }
}

#[tokio::test]
async fn local_development_answers_this_machine_only() {
    let app = TestApp::serving(Access::LocalDev).await;
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = Request::get(EVENTS);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        app.answer(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(ask(&[("host", "localhost:7070")]).await.status, 200);
    assert_eq!(ask(&[("host", "[::1]:7070")]).await.status, 200);
    let own = [("host", "127.0.0.1:7070"), ("origin", "http://127.0.0.1:7070")];
    assert_eq!(ask(&own).await.status, 200);
    insta::assert_snapshot!(ask(&[("host", "evil.example")]).await.problem(), @"403 host.forbidden");
    insta::assert_snapshot!(ask(&[("host", "127.0.0.1.evil.example")]).await.problem(), @"403 host.forbidden");
    let foreign = [("host", "localhost:7070"), ("origin", "https://evil.example")];
    insta::assert_snapshot!(ask(&foreign).await.problem(), @"403 host.forbidden");
    let other_port = [("host", "localhost:7070"), ("origin", "http://localhost:8080")];
    insta::assert_snapshot!(ask(&other_port).await.problem(), @"403 host.forbidden");
    insta::assert_snapshot!(ask(&[]).await.problem(), @"403 host.forbidden");
}

#[tokio::test]
async fn an_unknown_tenant_is_not_found() {
    let app = TestApp::start().await;
    for path in [
        "/v1/tenants/nobody/events",
        "/v1/tenants/%00/actions",
        "/v1/tenants/%FF/events",
        "/v1/tenants/a%2Fb/events",
    ] {
        let answer = app.send(Method::GET, path, &[], "").await;
        assert_eq!(answer.problem(), "404 not_found", "{path}");
    }
}

#[tokio::test]
async fn no_route_takes_a_tenant_that_cannot_be_read_for_the_platform() {
    let app = TestApp::start().await;
    let document: serde_json::Value = serde_json::from_str(&actions::openapi_json()).unwrap();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(rest) = path.strip_prefix("/v1/tenants/{tenant}") else { continue };
        // A name that is one, so that only the tenant is wrong.
        let rest: String = rest
            .split('{')
            .map(|part| {
                part.split_once('}').map_or_else(|| part.to_owned(), |(_, rest)| format!("x{rest}"))
            })
            .collect();
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = format!("/v1/tenants/%FF{rest}");
            let headers = [("content-type", "application/json")];
            let answer = app.send(method.clone(), &path, &headers, r#"{"type":"a.b"}"#).await;
            assert_eq!(answer.problem(), "404 not_found", "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked > 40, "{asked}");
    let events = app.send(Method::GET, "/v1/admin/events", &[], "").await;
    assert_eq!(events.body()["items"], serde_json::json!([]));
}

#[tokio::test]
async fn a_tenant_is_known_by_its_id_too() {
    let app = TestApp::start().await;
    let path = "/v1/tenants/00000000-0000-0000-0000-000000000007/events";
    assert_eq!(app.send(Method::GET, path, &[], "").await.status, 200);
}

#[tokio::test]
async fn nothing_of_another_tenant_is_found() {
    let app = TestApp::start().await;
    let tenant = serde_json::json!({ "slug": "other" });
    app.json(Method::POST, "/v1/admin/tenants", &[], tenant).await;
    app.given_action("welcome", "users.created", serde_json::json!({})).await;
    let accepted = app.emit("users.created", serde_json::json!({})).await;
    let (event, execution) = (&accepted["id"], &accepted["executions"][0]["id"]);
    let (event, execution) = (event.as_str().unwrap(), execution.as_str().unwrap());
    for path in [
        format!("events/{event}"),
        format!("events/{event}/matches"),
        format!("executions/{execution}"),
        format!("executions/{execution}/why"),
        "actions/welcome".to_owned(),
        "actions/welcome/versions".to_owned(),
        "actions/welcome/metrics".to_owned(),
    ] {
        assert_eq!(app.get(&path).await.status, 200, "{path}");
        let foreign = format!("/v1/tenants/other/{path}");
        let foreign = app.send(Method::GET, &foreign, &[], "").await;
        assert_eq!(foreign.problem(), "404 not_found", "{path}");
    }
}

#[tokio::test]
async fn an_idempotency_key_is_kept_or_refused_never_ignored() {
    let app = TestApp::start().await;
    app.given_action("a", "never.matched", serde_json::json!({})).await;
    let key = [("idempotency-key", "k")];
    for path in [
        "actions",
        "actions:validate",
        "actions/a:disable",
        "subscriptions",
        "dead-letters:requeue",
    ] {
        let path = crate::support::app::in_tenant(path);
        let answer = app.json(Method::POST, &path, &key, serde_json::json!({})).await;
        assert_eq!(answer.problem(), "400 idempotency.unsupported", "{path}");
    }
    let answer = app.json(Method::POST, "/v1/admin/tenants", &key, serde_json::json!({})).await;
    assert_eq!(answer.problem(), "400 idempotency.unsupported");
    // What only reads, and what may be repeated by its nature, needs no key.
    assert_eq!(app.send(Method::GET, EVENTS, &key, "").await.status, 200);
    // Who may not ask is told nothing else.
    let with = [("idempotency-key", "k"), ("authorization", "Bearer x")];
    let answer = app.json(Method::POST, "/v1/admin/tenants", &with, serde_json::json!({})).await;
    assert_eq!(answer.problem(), "401 auth.invalid");
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_problems_too() {
    let app = TestApp::start().await;
    let ask = async |method: Method, path: &str| app.send(method, path, &[], "").await;
    insta::assert_snapshot!(ask(Method::GET, "/nothing").await.problem(), @"404 not_found");
    insta::assert_snapshot!(ask(Method::GET, "/v1/nothing").await.problem(), @"404 not_found");
    let answer = ask(Method::DELETE, EVENTS).await;
    insta::assert_snapshot!(answer.problem(), @"405 method.unsupported");
    assert_eq!(answer.header("allow"), "POST,GET,HEAD");
}
