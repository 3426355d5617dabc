//! API keys over HTTP: their life, and whom they let in.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actions::Access;
use actions_app::commands::change_api_key::{ChangeApiKeyError, rotate_api_key};
use actions_app::commands::create_api_key::{CreateApiKey, CreateApiKeyError, create_api_key};
use actions_domain::api_key::{ApiKeyName, TOKEN_REGEX, Token};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Role};
use axum::body::Body;
use axum::http::{Method, Request};
use regex::Regex;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::app::{Answer, TestApp};
use crate::support::faults::Fails;

const KEYS: &str = "/v1/tenants/acme/keys";
const EVENTS: &str = "/v1/tenants/acme/events";
const SECOND: Duration = Duration::from_secs(1);

/// The header with a token.
pub(super) fn with(token: &str) -> String {
    format!("Bearer {token}")
}

/// Creates a key and answers its token.
pub(super) async fn given_key(app: &TestApp, tenant: &str, body: Value) -> String {
    let path = format!("/v1/tenants/{tenant}/keys");
    let answer = app.json(Method::POST, &path, &[], body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body()["token"].as_str().unwrap().to_owned()
}

async fn viewer(app: &TestApp) -> String {
    given_key(app, "acme", json!({ "name": "reader", "role": "viewer" })).await
}

async fn get(app: &TestApp, path: &str, token: &str) -> Answer {
    app.send(Method::GET, path, &[("authorization", &with(token))], "").await
}

async fn post(app: &TestApp, path: &str, token: &str, body: Value) -> Answer {
    app.json(Method::POST, path, &[("authorization", &with(token))], body).await
}

#[tokio::test]
async fn a_key_is_created_used_and_revoked() {
    let app = TestApp::start().await;
    let body = json!({ "name": "checkout", "role": "ingest_only", "expires_in_seconds": 3600 });
    let created = app.json(Method::POST, KEYS, &[], body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let mut shown = created.body();
    let token = shown.as_object_mut().unwrap().remove("token").unwrap();
    let token = token.as_str().unwrap();
    let id = shown["id"].as_str().unwrap().to_owned();
    assert_eq!(created.header("location"), format!("{KEYS}/{id}"));
    assert_eq!(
        shown,
        json!({
            "id": id,
            "name": "checkout",
            "role": "ingest_only",
            "status": "active",
            "token_begins_with": &token[..15],
            "created_by": "token:bootstrap",
            "created_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": "2026-01-01T01:00:00.000000Z",
            "last_used_at": null,
            "revoked_at": null,
            "old_tokens_end_at": null,
        })
    );
    for name in ["checkout", &id] {
        let found = app.send(Method::GET, &format!("{KEYS}/{name}"), &[], "").await;
        assert_eq!(found.body(), shown, "without its token");
    }

    let sent = post(&app, EVENTS, token, json!({ "type": "a.b" })).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let event = format!("{EVENTS}/{}", sent.body()["id"].as_str().unwrap());
    let stored = app.send(Method::GET, &event, &[], "").await.body();
    assert_eq!(stored["source"], "key:checkout", "{stored}");
    insta::assert_snapshot!(get(&app, &event, token).await.problem(), @"403 auth.role");

    let path = format!("{KEYS}/checkout");
    assert_eq!(app.send(Method::DELETE, &path, &[], "").await.status, 204);
    let refused = post(&app, EVENTS, token, json!({ "type": "a.b" })).await;
    insta::assert_snapshot!(refused.problem(), @"401 auth.invalid");
    // The name is free again, the key is still there.
    insta::assert_snapshot!(app.send(Method::GET, &path, &[], "").await.problem(), @"404 not_found");
    let found = app.send(Method::GET, &format!("{KEYS}/{id}"), &[], "").await.body();
    assert_eq!(
        (&found["status"], &found["revoked_at"]),
        (&json!("revoked"), &json!("2026-01-01T00:00:00.000000Z"))
    );
    let again = app.send(Method::DELETE, &format!("{KEYS}/{id}"), &[], "").await;
    assert_eq!(again.status, 204, "once is as good as twice");
    let rotated = app.json(Method::POST, &format!("{KEYS}/{id}:rotate"), &[], json!({})).await;
    insta::assert_snapshot!(rotated.problem(), @"409 api_key.ended");
}

#[tokio::test]
async fn a_token_is_one_word_that_scanners_find() {
    let app = TestApp::start().await;
    let token = viewer(&app).await;
    let scanner = Regex::new(TOKEN_REGEX).unwrap();
    let text = format!("export ACTIONS_TOKEN=\"{token}\" # {token}.");
    let found: Vec<_> = scanner.find_iter(&text).map(|found| found.as_str()).collect();
    assert_eq!(found, [&token, &token]);
    assert!(Token::parse(&token).is_ok());
}

#[tokio::test]
async fn a_damaged_token_is_told_apart_and_asks_nobody() {
    let app = TestApp::start().await;
    let token = viewer(&app).await;
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    let asked = app.engine.faults.questions.load(Ordering::Relaxed);
    let typo = token.replace(&token[20..22], "??");
    for damaged in [&token[..30], &format!("{token}x"), "act_", &typo, "act_\u{fffd}"] {
        let answer = app.send(Method::GET, EVENTS, &[("authorization", &with(damaged))], "").await;
        assert_eq!(answer.problem(), "401 auth.malformed", "{damaged}");
        assert!(!answer.text.contains(damaged) || damaged == "act_", "it is not repeated");
    }
    insta::assert_snapshot!(get(&app, EVENTS, "something-else").await.problem(), @"401 auth.invalid");
    assert_eq!(app.engine.faults.questions.load(Ordering::Relaxed), asked);
}

#[tokio::test]
async fn a_stranger_cannot_tell_why_a_token_is_refused() {
    let app = TestApp::start().await;
    let known = viewer(&app).await;
    let body = json!({ "name": "short", "role": "viewer", "expires_in_seconds": 1 });
    let expired = given_key(&app, "acme", body).await;
    let unknown = Token::mint(&[9; 40]);
    // The right lookup with another secret.
    let mut random = [9; 40];
    random[..8].copy_from_slice(&[0; 8]);
    let guessed = Token::mint(&random);
    app.send(Method::DELETE, &format!("{KEYS}/reader"), &[], "").await;
    app.advance(2 * SECOND).await;
    let mut answers = Vec::new();
    for token in [&known, &expired, unknown.expose(), guessed.expose()] {
        let answer = get(&app, EVENTS, token).await;
        let mut body = answer.body();
        body.as_object_mut().unwrap().remove("request_id");
        answers.push((answer.status, body));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}

#[tokio::test]
async fn old_tokens_hold_for_the_overlap_and_no_longer() {
    let app = TestApp::start().await;
    let old = viewer(&app).await;
    let path = format!("{KEYS}/reader:rotate");
    let rotate = async |body: Value| {
        let rotated = app.json(Method::POST, &path, &[], body).await;
        assert_eq!(rotated.status, 200, "{}", rotated.text);
        rotated.body()
    };
    let rotated = rotate(json!({ "overlap_seconds": 60 })).await;
    assert_eq!(rotated["old_tokens_end_at"], "2026-01-01T00:01:00.000000Z");
    let new = rotated["token"].as_str().unwrap();
    assert_ne!(new, old);
    for token in [&old, new] {
        assert_eq!(get(&app, EVENTS, token).await.status, 200);
    }
    app.advance(59 * SECOND).await;
    assert_eq!(get(&app, EVENTS, &old).await.status, 200);
    app.advance(SECOND).await;
    insta::assert_snapshot!(get(&app, EVENTS, &old).await.problem(), @"401 auth.invalid");
    assert_eq!(get(&app, EVENTS, new).await.status, 200);

    let at_once = rotate(json!({ "overlap_seconds": 0 })).await;
    insta::assert_snapshot!(get(&app, EVENTS, new).await.problem(), @"401 auth.invalid");
    let newest = at_once["token"].as_str().unwrap();
    assert_eq!(get(&app, EVENTS, newest).await.status, 200);
    // A day, if nothing is said.
    let path = format!("{KEYS}/reader:rotate");
    let rotated = app.send(Method::POST, &path, &[], "").await;
    assert_eq!(rotated.body()["old_tokens_end_at"], "2026-01-02T00:01:00.000000Z");
    let too_long = json!({ "overlap_seconds": 31 * 24 * 60 * 60 });
    let refused = app.json(Method::POST, &path, &[], too_long).await;
    insta::assert_snapshot!(refused.problem(), @"422 api_key.invalid /overlap_seconds");
}

#[tokio::test]
async fn nobody_hands_out_takes_back_or_renews_more_than_they_have() {
    let app = TestApp::start().await;
    let admin = given_key(&app, "acme", json!({ "name": "boss", "role": "tenant_admin" })).await;
    let made = post(&app, KEYS, &admin, json!({ "name": "ci", "role": "developer" })).await;
    assert_eq!(made.body()["created_by"], "key:boss", "{}", made.text);
    let root = json!({ "name": "root", "role": "platform_admin" });
    let refused = post(&app, KEYS, &admin, root.clone()).await;
    insta::assert_snapshot!(refused.problem(), @"403 auth.role");
    // Not by way of the platform's own tenant either.
    let admins = "/v1/admin/keys";
    given_key(&app, "admin", root.clone()).await;
    let clerk = given_key(&app, "admin", json!({ "name": "c", "role": "tenant_admin" })).await;
    for (method, path) in
        [(Method::POST, "/v1/admin/keys/root:rotate"), (Method::DELETE, "/v1/admin/keys/root")]
    {
        let answer = app.send(method, path, &[("authorization", &with(&clerk))], "").await;
        assert_eq!(answer.problem(), "403 auth.role", "{path}");
    }
    let refused =
        post(&app, admins, &clerk, json!({ "name": "r", "role": "platform_admin" })).await;
    insta::assert_snapshot!(refused.problem(), @"403 auth.role");
    // A platform administrator belongs to the platform.
    let misplaced = app.json(Method::POST, KEYS, &[], root).await;
    insta::assert_snapshot!(misplaced.problem(), @"422 api_key.invalid /role");
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_told() {
    let app = TestApp::start().await;
    let create = async |changes: Value| {
        let mut body = json!({ "name": "a", "role": "viewer" });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        app.json(Method::POST, KEYS, &[], body).await.problem()
    };
    insta::assert_snapshot!(create(json!({ "name": "a b" })).await, @"422 api_key.invalid /name");
    let id = "01980000-0000-7000-8000-000000000000";
    insta::assert_snapshot!(create(json!({ "name": id })).await, @"422 api_key.invalid /name");
    insta::assert_snapshot!(create(json!({ "role": "engine" })).await, @"422 api_key.invalid /role");
    insta::assert_snapshot!(create(json!({ "role": "Viewer" })).await, @"422 api_key.invalid /role");
    let past = json!({ "expires_at": "2025-12-31T23:59:59Z" });
    insta::assert_snapshot!(create(past).await, @"422 api_key.invalid /expires_at");
    insta::assert_snapshot!(create(json!({ "expires_in_seconds": 0 })).await, @"422 api_key.invalid /expires_at");
    let far = json!({ "expires_at": "+262000-01-01T00:00:00Z" });
    insta::assert_snapshot!(create(far).await, @"422 api_key.invalid /expires_at");
    let both = json!({ "expires_at": "2026-02-01T00:00:00Z", "expires_in_seconds": 1 });
    insta::assert_snapshot!(create(both).await, @"422 api_key.invalid /expires_in_seconds");
    insta::assert_snapshot!(create(json!({ "tenant": "other" })).await, @"400 body.unknown_field /tenant");
    viewer(&app).await;
    insta::assert_snapshot!(create(json!({ "name": "reader" })).await, @"409 exists");
}

#[tokio::test]
async fn keys_are_listed_page_by_page_without_their_tokens() {
    let app = TestApp::start().await;
    let mut tokens = Vec::new();
    for name in ["a", "b", "c"] {
        tokens.push(given_key(&app, "acme", json!({ "name": name, "role": "viewer" })).await);
    }
    let (mut names, mut path, mut texts) = (Vec::new(), format!("{KEYS}?limit=2"), String::new());
    loop {
        let page = app.send(Method::GET, &path, &[], "").await;
        texts.push_str(&page.text);
        let body = page.body();
        names.extend(body["items"].as_array().unwrap().iter().map(|key| key["name"].clone()));
        let Some(cursor) = body["next_cursor"].as_str() else { break };
        path = format!("{KEYS}?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["a", "b", "c"]);
    assert!(tokens.iter().all(|token| !texts.contains(&token[15..])));
    assert_eq!(app.send(Method::GET, "/v1/admin/keys", &[], "").await.body()["items"], json!([]));
}

#[tokio::test]
async fn another_tenant_is_answered_like_an_unknown_one() {
    let app = TestApp::start().await;
    app.json(Method::POST, "/v1/admin/tenants", &[], json!({ "slug": "other" })).await;
    let theirs = given_key(&app, "other", json!({ "name": "boss", "role": "tenant_admin" })).await;
    let own = get(&app, "/v1/tenants/other/keys", &theirs).await;
    assert_eq!(own.status, 200, "{}", own.text);
    let own = get(&app, "/v1/internal/actions", &theirs).await;
    assert_eq!(own.status, 200, "without a name it is the caller's own: {}", own.text);
    let same = |answer: &Answer| {
        let mut body = answer.body();
        for told in ["instance", "request_id"] {
            body.as_object_mut().unwrap().remove(told);
        }
        (answer.status, body)
    };
    let unknown = same(&get(&app, "/v1/tenants/nobody/events", &theirs).await);
    assert_eq!(unknown.0, 404);
    let foreign = [
        "/v1/tenants/acme/events",
        "/v1/tenants/admin/events",
        "/v1/tenants/00000000-0000-0000-0000-000000000007/events",
        "/v1/admin/events",
        "/v1/admin/tenants",
        "/v1/internal/actions?tenant=acme",
    ];
    for path in foreign {
        assert_eq!(same(&get(&app, path, &theirs).await), unknown, "{path}");
    }
}

#[tokio::test]
async fn development_sees_who_sends_a_key() {
    let app = TestApp::serving(Access::LocalDev).await;
    let local = ("host", "localhost:7070");
    let created =
        app.json(Method::POST, KEYS, &[local], json!({ "name": "reader", "role": "viewer" })).await;
    let token = created.body()["token"].as_str().unwrap().to_owned();
    let ask = async |token: &str| {
        let bearer = with(token);
        let headers = [local, ("authorization", bearer.as_str())];
        app.json(Method::POST, EVENTS, &headers, json!({ "type": "a.b" })).await
    };
    insta::assert_snapshot!(ask(&token).await.problem(), @"403 auth.role");
    insta::assert_snapshot!(ask(&token[..50]).await.problem(), @"401 auth.malformed");
    assert_eq!(ask("whatever").await.status, 202, "as before there were keys");
}

#[tokio::test]
async fn a_store_that_is_away_lets_nobody_in_who_may_have_been_shut_out() {
    let app = TestApp::start().await;
    let token = viewer(&app).await;
    let nodes = json!({ "name": "other", "role": "viewer" });
    let other = given_key(&app, "acme", nodes).await;
    assert_eq!(get(&app, "/v1/tenants/acme/handlers", &token).await.status, 200);
    let faults = &app.engine.faults;
    faults.plan("api_key_changes", Fails::Before, usize::MAX);
    faults.plan("find_token", Fails::Before, usize::MAX);
    let ask = async |token: &str| get(&app, "/v1/tenants/acme/handlers", token).await;
    insta::assert_snapshot!(ask(&other).await.problem(), @"503 store.unavailable");
    app.advance(Duration::from_millis(1_500)).await;
    assert_eq!(ask(&token).await.status, 200, "it was asked for changes less than 2 s ago");
    app.advance(Duration::from_millis(500)).await;
    insta::assert_snapshot!(ask(&token).await.problem(), @"503 store.unavailable");
    assert_eq!(app.get("handlers").await.status, 200, "the bootstrap token needs no store");
    // A store that does not even answer is waited for, and not for long.
    faults.plan("api_key_changes", Fails::Never, usize::MAX);
    insta::assert_snapshot!(ask(&token).await.problem(), @"503 store.unavailable");
    faults.plan("api_key_changes", Fails::Before, 0);
    faults.plan("find_token", Fails::Before, 0);
    assert_eq!(ask(&token).await.status, 200);
    assert_eq!(ask(&other).await.status, 200);
}

#[tokio::test]
async fn made_up_tokens_hardly_reach_the_store() {
    let app = TestApp::start().await;
    let token = viewer(&app).await;
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    let asked = || app.engine.faults.questions.load(Ordering::Relaxed);
    let before = asked();
    let mut refusals = std::collections::BTreeMap::<String, usize>::new();
    for number in 0..300_u16 {
        let mut random = [7; 40];
        random[..2].copy_from_slice(&number.to_be_bytes());
        let made_up = Token::mint(&random);
        let answer = get(&app, EVENTS, made_up.expose()).await;
        *refusals.entry(answer.problem()).or_default() += 1;
        if number == 0 {
            get(&app, EVENTS, made_up.expose()).await;
            assert_eq!(asked(), before + 1, "what does not exist is remembered");
        }
    }
    assert_eq!(asked(), before + 100, "the known one is no guess");
    assert_eq!(refusals["401 auth.invalid"], 100);
    assert_eq!(refusals["503 overloaded"], 200);
    assert_eq!(get(&app, EVENTS, &token).await.status, 200, "who is known is not held up");
}

#[tokio::test]
async fn uses_are_written_down_together_and_rarely() {
    let app = TestApp::start().await;
    let token = viewer(&app).await;
    let other = given_key(&app, "acme", json!({ "name": "other", "role": "viewer" })).await;
    let notes = || app.engine.faults.notes.load(Ordering::Relaxed);
    let used = async |name: &str| {
        let found = app.send(Method::GET, &format!("{KEYS}/{name}"), &[], "").await;
        found.body()["last_used_at"].clone()
    };
    for token in [&token, &other, &token, &other] {
        assert_eq!(get(&app, EVENTS, token).await.status, 200);
    }
    app.advance(2 * SECOND).await;
    assert_eq!(notes(), 1, "in one batch");
    for name in ["reader", "other"] {
        assert_eq!(used(name).await, "2026-01-01T00:00:00.000000Z", "{name}");
    }
    for _ in 0..29 {
        get(&app, EVENTS, &token).await;
        app.advance(2 * SECOND).await;
    }
    assert_eq!(notes(), 1, "a minute is not over");
    get(&app, EVENTS, &token).await;
    app.advance(2 * SECOND).await;
    assert_eq!(notes(), 2);
    assert_eq!(used("reader").await, "2026-01-01T00:01:00.000000Z");
}

#[tokio::test]
async fn what_one_node_revokes_another_one_refuses_within_two_seconds() {
    let app = TestApp::start().await;
    let token = viewer(&app).await;
    let other = app.engine.other_process().await;
    assert!(other.api_keys.verify(&token).await.is_ok());
    app.send(Method::DELETE, &format!("{KEYS}/reader"), &[], "").await;
    insta::assert_snapshot!(get(&app, EVENTS, &token).await.problem(), @"401 auth.invalid");
    // No node runs in the other process, so it hears no hints.
    app.advance(2 * SECOND).await;
    assert!(other.api_keys.verify(&token).await.is_err());
}

#[tokio::test]
async fn a_worker_that_is_shut_out_while_it_waits_is_refused_within_two_seconds() {
    let app = TestApp::start().await;
    let token = given_key(&app, "acme", json!({ "name": "resizer", "role": "worker" })).await;
    let body = json!({ "queues": ["images"], "worker": "resizer", "wait": 60 });
    let waiting = Request::post("/v1/internal/pull:claim?tenant=acme")
        .header("authorization", with(&token))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let waiting = tokio::spawn(app.router().oneshot(waiting));
    app.advance(10 * SECOND).await;
    assert!(!waiting.is_finished(), "there is nothing to do yet");

    app.send(Method::DELETE, &format!("{KEYS}/resizer"), &[], "").await;
    app.advance(2 * SECOND).await;
    assert!(waiting.is_finished());
    assert_eq!(waiting.await.unwrap().unwrap().status(), 401);
}

#[tokio::test]
async fn a_key_that_was_revoked_meanwhile_makes_no_other_one() {
    let app = TestApp::start().await;
    let body = json!({ "name": "boss", "role": "tenant_admin" });
    let token = given_key(&app, "acme", body).await;
    let other = app.engine.other_process().await;
    // Let in when its request began; the body comes later.
    let boss = other.api_keys.verify(&token).await.unwrap();
    let caller = AuthorizationContext::of_api_key(&boss, "slow");
    app.send(Method::DELETE, &format!("{KEYS}/boss"), &[], "").await;

    let request = CreateApiKey {
        tenant: boss.tenant,
        name: ApiKeyName::parse("heir").unwrap(),
        role: Role::TenantAdmin,
        expires_at: None,
    };
    let created = create_api_key(&other, &caller, request).await;
    let ended = matches!(created, Err(CreateApiKeyError::Forbidden(Forbidden::Ended { .. })));
    assert!(ended, "{created:?}");
    given_key(&app, "acme", json!({ "name": "old", "role": "tenant_admin" })).await;
    let overlap = Duration::ZERO;
    let rotated = rotate_api_key(&other, &caller, boss.tenant, "old", overlap).await;
    let ended = matches!(rotated, Err(ChangeApiKeyError::Forbidden(Forbidden::Ended { .. })));
    assert!(ended, "{rotated:?}");
}

#[tokio::test]
async fn a_sender_who_would_wait_is_refused_before_anything_is_stored() {
    let app = TestApp::start().await;
    let token = given_key(&app, "acme", json!({ "name": "s", "role": "ingest_only" })).await;
    let event = json!({ "type": "order.paid", "data": {} });
    let refused = post(&app, &format!("{EVENTS}?wait=1s"), &token, event.clone()).await;
    insta::assert_snapshot!(refused.problem(), @"403 auth.role");
    let stored = app.send(Method::GET, EVENTS, &[], "").await;
    assert_eq!(stored.body()["items"], json!([]));
    assert_eq!(post(&app, EVENTS, &token, event).await.status, 202);
}

#[tokio::test]
async fn a_token_is_asked_about_again_after_a_while() {
    let app = TestApp::start().await;
    let token = viewer(&app).await;
    let asked = || app.engine.faults.questions.load(Ordering::Relaxed);
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    let before = asked();
    app.advance(299 * SECOND).await;
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    assert_eq!(asked(), before);
    app.advance(2 * SECOND).await;
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    assert_eq!(asked(), before + 1, "its tenant may have forgotten it, and nobody tells of that");
}

#[tokio::test]
async fn a_question_about_a_guess_holds_up_nobody_who_is_known() {
    let app = TestApp::start().await;
    let token = viewer(&app).await;
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    app.engine.faults.plan("find_token", Fails::Never, usize::MAX);
    let made_up = Token::mint(&[9; 40]);
    let guess = get(&app, EVENTS, made_up.expose());
    let known = async {
        // The changes have to be asked for again meanwhile.
        tokio::task::yield_now().await;
        app.engine.app.api_keys.doubt();
        get(&app, EVENTS, &token).await
    };
    tokio::select! {
        biased;
        guess = guess => panic!("the store does not answer: {}", guess.text),
        known = known => assert_eq!(known.status, 200),
    }
}
