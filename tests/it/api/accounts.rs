//! Accounts over HTTP: their life, who may change them, and what that does to sessions.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use super::api_keys::{given_key, with};
use super::sessions::{PASSWORD, at_rest, given_account, given_session, log_in};
use crate::support::app::{Answer, TestApp};

const ACCOUNTS: &str = "/v1/tenants/acme/accounts";
const EVENTS: &str = "/v1/tenants/acme/events";

async fn get(app: &TestApp, path: &str, token: &str) -> Answer {
    app.send(Method::GET, path, &[("authorization", &with(token))], "").await
}

async fn post(app: &TestApp, path: &str, token: &str, body: Value) -> Answer {
    app.json(Method::POST, path, &[("authorization", &with(token))], body).await
}

#[tokio::test]
async fn an_account_is_created_used_changed_and_deleted() {
    let app = TestApp::start().await;
    let body = json!({ "name": "Ada@Example.com", "role": "viewer", "password": PASSWORD });
    let created = app.json(Method::POST, ACCOUNTS, &[], body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let shown = created.body();
    let id = shown["id"].as_str().unwrap().to_owned();
    assert_eq!(created.header("location"), format!("{ACCOUNTS}/{id}"));
    assert_eq!(
        shown,
        json!({
            "id": id,
            "name": "ada@example.com",
            "role": "viewer",
            "status": "active",
            "created_by": "token:bootstrap",
            "created_at": "2026-01-01T00:00:00.000000Z",
            "password_set_at": "2026-01-01T00:00:00.000000Z",
            "disabled_at": null,
            "last_login_at": null,
        })
    );
    for name in ["ada@example.com", "ADA@example.com", &id] {
        let found = app.get(&format!("accounts/{name}")).await;
        assert_eq!(found.body(), shown, "{name}");
    }
    let token = given_session(&app, "acme", "ada@example.com", PASSWORD).await;
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    let refused = post(&app, EVENTS, &token, json!({ "type": "a.b" })).await;
    insta::assert_snapshot!(refused.problem(), @"403 auth.role");

    let path = format!("{ACCOUNTS}/ada@example.com:set-role");
    let changed = app.json(Method::POST, &path, &[], json!({ "role": "developer" })).await;
    assert_eq!(changed.body()["role"], "developer", "{}", changed.text);
    insta::assert_snapshot!(get(&app, EVENTS, &token).await.problem(), @"401 auth.invalid");
    let token = given_session(&app, "acme", "ada@example.com", PASSWORD).await;
    let sent = post(&app, EVENTS, &token, json!({ "type": "a.b" })).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let event = format!("{EVENTS}/{}", sent.body()["id"].as_str().unwrap());
    let stored = app.send(Method::GET, &event, &[], "").await.body();
    assert_eq!(stored["source"], "account:ada@example.com", "{stored}");

    let gone = app.delete("accounts/ada@example.com", &[]).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    insta::assert_snapshot!(get(&app, EVENTS, &token).await.problem(), @"401 auth.invalid");
    let late = log_in(&app, "acme", "ada@example.com", PASSWORD).await;
    insta::assert_snapshot!(late.problem(), @"401 auth.invalid");
    insta::assert_snapshot!(app.get("accounts/ada@example.com").await.problem(), @"404 not_found");
}

#[tokio::test]
async fn whatever_is_changed_ends_the_sessions_on_every_node_within_two_seconds() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "viewer").await;
    let other = app.engine.other_process().await;
    for (verb, body) in [
        ("set-password", json!({ "password": "quite another one" })),
        ("set-password", json!({ "password": PASSWORD })),
        ("set-role", json!({ "role": "operator" })),
        ("log-out", json!({})),
        ("disable", json!({})),
    ] {
        let password = if body["password"] == PASSWORD { "quite another one" } else { PASSWORD };
        let token = given_session(&app, "acme", "ada", password).await;
        assert!(other.api_keys.verify_session(&token, true).await.is_ok(), "{verb}");
        let path = format!("accounts/ada:{verb}");
        let changed = app.post(&path, body).await;
        assert_eq!(changed.status, 200, "{verb}: {}", changed.text);
        let here = get(&app, EVENTS, &token).await;
        assert_eq!(here.problem(), "401 auth.invalid", "{verb}");
        // No node runs in the other process, so it hears no hints.
        app.advance(Duration::from_secs(2)).await;
        assert!(other.api_keys.verify_session(&token, true).await.is_err(), "{verb}");
    }
    let refused = log_in(&app, "acme", "ada", PASSWORD).await;
    insta::assert_snapshot!(refused.problem(), @"401 auth.invalid");
    assert_eq!(app.get("accounts/ada").await.body()["status"], "disabled");
    assert_eq!(app.post("accounts/ada:disable", json!({})).await.status, 200, "as good as once");
    let enabled = app.post("accounts/ada:enable", json!({})).await;
    assert_eq!(enabled.body()["status"], "active");
    given_session(&app, "acme", "ada", PASSWORD).await;
}

#[tokio::test]
async fn nobody_makes_or_changes_an_account_that_may_more_than_they() {
    let app = TestApp::start().await;
    let boss = given_key(&app, "acme", json!({ "name": "boss", "role": "tenant_admin" })).await;
    let account = |role: &str| json!({ "name": role, "role": role, "password": PASSWORD });
    let made = post(&app, ACCOUNTS, &boss, account("developer")).await;
    assert_eq!(made.body()["created_by"], "key:boss", "{}", made.text);
    let refused = post(&app, ACCOUNTS, &boss, account("platform_admin")).await;
    insta::assert_snapshot!(refused.problem(), @"403 auth.role");
    let path = format!("{ACCOUNTS}/developer:set-role");
    let refused = post(&app, &path, &boss, json!({ "role": "platform_admin" })).await;
    insta::assert_snapshot!(refused.problem(), @"403 auth.role");
    // A platform administrator belongs to the platform.
    let misplaced = app.json(Method::POST, ACCOUNTS, &[], account("platform_admin")).await;
    insta::assert_snapshot!(misplaced.problem(), @"422 account.invalid /role");
    let refused = app.json(Method::POST, &path, &[], json!({ "role": "platform_admin" })).await;
    insta::assert_snapshot!(refused.problem(), @"422 account.invalid /role");

    let root = "/v1/admin/accounts";
    let made = app.json(Method::POST, root, &[], account("platform_admin")).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let session = given_session(&app, "admin", "platform_admin", PASSWORD).await;
    let clerk = given_key(&app, "admin", json!({ "name": "c", "role": "tenant_admin" })).await;
    for (method, path, body) in [
        (Method::POST, ":set-password", json!({ "password": "quite another one" })),
        (Method::POST, ":set-role", json!({ "role": "viewer" })),
        (Method::POST, ":disable", json!({})),
        (Method::POST, ":log-out", json!({})),
        (Method::DELETE, "", json!({})),
    ] {
        let path = format!("{root}/platform_admin{path}");
        let headers = [("authorization", with(&clerk))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let refused = app.json(method, &path, &headers, body).await;
        assert_eq!(refused.problem(), "403 auth.role", "{path}");
    }
    let sessions = get(&app, "/v1/admin/sessions", &clerk).await.body();
    let id = sessions["items"][0]["id"].as_str().unwrap();
    let path = format!("/v1/admin/sessions/{id}");
    let headers = [("authorization", with(&clerk))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let refused = app.send(Method::DELETE, &path, &headers, "").await;
    insta::assert_snapshot!(refused.problem(), @"403 auth.role");
    // Whoever it is sees all tenants.
    assert_eq!(get(&app, EVENTS, &session).await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_with_an_account_is_told_without_its_password() {
    let app = TestApp::start().await;
    let create = async |changes: Value| {
        let mut body = json!({ "name": "ada", "role": "viewer", "password": PASSWORD });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        app.json(Method::POST, ACCOUNTS, &[], body).await
    };
    insta::assert_snapshot!(create(json!({ "name": "a b" })).await.problem(), @"422 account.invalid /name");
    let id = "01980000-0000-7000-8000-000000000000";
    insta::assert_snapshot!(create(json!({ "name": id })).await.problem(), @"422 account.invalid /name");
    insta::assert_snapshot!(create(json!({ "role": "engine" })).await.problem(), @"422 account.invalid /role");
    let short = create(json!({ "password": "hunter2" })).await;
    insta::assert_snapshot!(short.problem(), @"422 account.invalid /password");
    assert!(
        short.text.contains("at least 12") && !short.text.contains("hunter2"),
        "{}",
        short.text
    );
    let long = create(json!({ "password": "ab".repeat(200) })).await;
    insta::assert_snapshot!(long.problem(), @"422 account.invalid /password");
    let number = create(json!({ "password": 123_456_789_012_345_u64 })).await;
    insta::assert_snapshot!(number.problem(), @"400 body.invalid /password");
    assert!(!number.text.contains("123456789012345"), "{}", number.text);
    insta::assert_snapshot!(create(json!({ "tenant": "other" })).await.problem(), @"400 body.unknown_field /tenant");
    assert_eq!(create(json!({})).await.status, 201);
    insta::assert_snapshot!(create(json!({ "name": "ADA" })).await.problem(), @"409 exists");
    let text = app.get("accounts").await.text + &app.get("audit:export").await.text;
    assert!(!text.contains(PASSWORD) && !text.contains("plain:"), "{text}");
}

#[tokio::test]
async fn accounts_and_sessions_are_listed_page_by_page() {
    let app = at_rest().await;
    for name in ["c", "b", "a"] {
        given_account(&app, "acme", name, "viewer").await;
        given_session(&app, "acme", name, PASSWORD).await;
    }
    for (list, member) in [("accounts", "name"), ("sessions", "account")] {
        let (mut names, mut path) = (Vec::new(), format!("{list}?limit=2"));
        loop {
            let page = app.get(&path).await.body();
            names.extend(page["items"].as_array().unwrap().iter().map(|item| item[member].clone()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("{list}?limit=2&cursor={cursor}");
        }
        assert_eq!(names, ["c", "b", "a"], "{list}, oldest first");
    }
    let empty = app.send(Method::GET, "/v1/admin/sessions", &[], "").await;
    assert_eq!(empty.body()["items"], json!([]));
    // What is not used any more is not listed either.
    app.advance(Duration::from_secs(3_600)).await;
    assert_eq!(app.get("sessions").await.body()["items"], json!([]));
}

#[tokio::test]
async fn whoever_may_do_so_ends_one_session() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "viewer").await;
    let one = given_session(&app, "acme", "ada", PASSWORD).await;
    let other = given_session(&app, "acme", "ada", PASSWORD).await;
    let listed = app.get("sessions").await.body();
    let id = listed["items"][0]["id"].as_str().unwrap();
    assert_eq!(app.delete(&format!("sessions/{id}"), &[]).await.status, 204);
    insta::assert_snapshot!(get(&app, EVENTS, &one).await.problem(), @"401 auth.invalid");
    assert_eq!(get(&app, EVENTS, &other).await.status, 200);
    assert_eq!(app.delete(&format!("sessions/{id}"), &[]).await.status, 204, "as good as once");
    for nobodys in ["nonsense", "01980000-0000-7000-8000-000000000000", "%FF"] {
        let answer = app.delete(&format!("sessions/{nobodys}"), &[]).await;
        assert_eq!(answer.status.as_u16() / 100, 4, "{nobodys}: {}", answer.text);
    }
}
