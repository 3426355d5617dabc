//! Logging in and out: what a session is, how long it holds, and what a cookie needs besides.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actions_domain::api_key::{SESSION_TOKEN_REGEX, Token};
use actions_domain::limits::{
    ACCOUNT_GUESSES_FREE, ACCOUNT_GUESSES_HOT, ACCOUNT_SESSIONS_MAX, API_KEY_ASKS_MAX, GUESSES_FREE,
};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use regex::Regex;
use serde_json::{Value, json};

use super::api_keys::{given_key, with};
use crate::support::app::{Answer, TestApp};
use crate::support::faults::Fails;

const SESSIONS: &str = "/v1/sessions";
const OWN: &str = "/v1/sessions/current";
const EVENTS: &str = "/v1/tenants/acme/events";
const MINUTE: Duration = Duration::from_secs(60);
pub(super) const PASSWORD: &str = "correct horse battery";
const COOKIE: &str = "__Host-actions_session";

pub(super) async fn given_account(app: &TestApp, tenant: &str, name: &str, role: &str) {
    let path = format!("/v1/tenants/{tenant}/accounts");
    let body = json!({ "name": name, "role": role, "password": PASSWORD });
    let answer = app.json(Method::POST, &path, &[], body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// Logs in without any other credential.
pub(super) async fn log_in(app: &TestApp, tenant: &str, name: &str, password: &str) -> Answer {
    let body = json!({ "tenant": tenant, "name": name, "password": password });
    from(app, None, SESSIONS, &[], Some(body)).await
}

/// Logs in and answers the token.
pub(super) async fn given_session(
    app: &TestApp,
    tenant: &str,
    name: &str,
    password: &str,
) -> String {
    let answer = log_in(app, tenant, name, password).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body()["token"].as_str().unwrap().to_owned()
}

/// The interface over an engine whose node has stopped: hours pass at once.
pub(super) async fn at_rest() -> TestApp {
    let mut app = TestApp::start().await;
    app.engine.stop_node().await.unwrap();
    app
}

/// A request from an address, without the token that tests have.
async fn from(
    app: &TestApp,
    peer: Option<&str>,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Answer {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder().method(method).uri(path);
    request = request.header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(peer) = peer {
        let peer = SocketAddr::new(peer.parse::<IpAddr>().unwrap(), 4_711);
        request = request.extension(ConnectInfo(peer));
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    app.answer(request.body(Body::from(body)).unwrap()).await
}

async fn guess(app: &TestApp, peer: &str, name: &str, password: &str) -> Answer {
    let body = json!({ "tenant": "acme", "name": name, "password": password });
    from(app, Some(peer), SESSIONS, &[], Some(body)).await
}

async fn get(app: &TestApp, path: &str, token: &str) -> Answer {
    app.send(Method::GET, path, &[("authorization", &with(token))], "").await
}

#[tokio::test]
async fn a_login_gives_a_token_that_is_its_owners_until_the_logout() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "operator").await;
    let begun = log_in(&app, "acme", "Ada", PASSWORD).await;
    assert_eq!(begun.status, 201, "{}", begun.text);
    let mut shown = begun.body();
    let token = shown.as_object_mut().unwrap().remove("token").unwrap();
    let token = token.as_str().unwrap();
    assert!(Regex::new(SESSION_TOKEN_REGEX).unwrap().is_match(token), "{token}");
    assert!(Token::parse_session(token).is_ok());
    assert_eq!(begun.header("set-cookie"), "");
    let id = shown["id"].clone();
    assert_eq!(
        shown,
        json!({
            "id": id,
            "tenant": "acme",
            "account": "ada",
            "role": "operator",
            "expires_at": "2026-01-01T12:00:00.000000Z",
            "idle_seconds": 3600,
        })
    );
    let own = get(&app, OWN, token).await.body();
    assert_eq!((&own["id"], &own["account"]), (&id, &json!("ada")), "{own}");
    assert_eq!(get(&app, EVENTS, token).await.status, 200);
    let elsewhere = get(&app, "/v1/tenants/admin/events", token).await;
    insta::assert_snapshot!(elsewhere.problem(), @"404 not_found");
    let by_id = "00000000-0000-0000-0000-000000000007";
    given_session(&app, by_id, "ada", PASSWORD).await;

    let headers = [("authorization", with(token))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ended = app.send(Method::DELETE, OWN, &headers, "").await;
    assert_eq!(ended.status, 204, "{}", ended.text);
    insta::assert_snapshot!(get(&app, EVENTS, token).await.problem(), @"401 auth.invalid");
    insta::assert_snapshot!(get(&app, OWN, token).await.problem(), @"401 auth.invalid");
}

#[tokio::test]
async fn whoever_came_without_a_session_has_none() {
    let app = TestApp::start().await;
    let key = given_key(&app, "acme", json!({ "name": "k", "role": "tenant_admin" })).await;
    let body = json!({ "password": PASSWORD, "new_password": "quite another one" });
    let set = format!("{OWN}:set-password");
    for bearer in [with(&key), with("test-token")] {
        let headers = [("authorization", bearer.as_str())];
        for method in [Method::GET, Method::DELETE] {
            let answer = app.send(method, OWN, &headers, "").await;
            assert_eq!(answer.problem(), "404 not_found");
        }
        let answer = app.json(Method::POST, &set, &headers, body.clone()).await;
        assert_eq!(answer.problem(), "404 not_found");
    }
    let nobody = from(&app, None, OWN, &[], None).await;
    insta::assert_snapshot!(nobody.problem(), @"401 auth.missing");
}

#[tokio::test]
async fn a_stranger_cannot_tell_why_a_login_is_refused() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "viewer").await;
    given_account(&app, "acme", "gone", "viewer").await;
    app.post("accounts/gone:disable", json!({})).await;
    let mut answers = Vec::new();
    for (tenant, name, password) in [
        ("acme", "ada", "not the password"),
        ("acme", "ada", ""),
        ("acme", "nobody", PASSWORD),
        ("acme", "no name at all", PASSWORD),
        ("acme", "gone", PASSWORD),
        ("admin", "ada", PASSWORD),
        ("nowhere", "ada", PASSWORD),
        ("", "", ""),
    ] {
        let answer = log_in(&app, tenant, name, password).await;
        let mut body = answer.body();
        body.as_object_mut().unwrap().remove("request_id");
        answers.push((answer.problem(), body));
    }
    assert_eq!(answers[0].0, "401 auth.invalid");
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    assert!(!answers[0].1.to_string().contains("not the password"));
}

#[tokio::test]
async fn a_session_ends_after_half_a_day_or_an_hour_of_rest() {
    let app = at_rest().await;
    given_account(&app, "acme", "ada", "viewer").await;
    let idle = given_session(&app, "acme", "ada", PASSWORD).await;
    let busy = given_session(&app, "acme", "ada", PASSWORD).await;
    for _ in 0..3 {
        app.advance(19 * MINUTE).await;
        assert_eq!(get(&app, EVENTS, &busy).await.status, 200);
    }
    app.advance(3 * MINUTE).await;
    insta::assert_snapshot!(get(&app, EVENTS, &idle).await.problem(), @"401 auth.invalid");
    for _ in 0..16 {
        app.advance(40 * MINUTE).await;
        assert_eq!(get(&app, EVENTS, &busy).await.status, 200);
    }
    app.advance(20 * MINUTE).await;
    insta::assert_snapshot!(get(&app, EVENTS, &busy).await.problem(), @"401 auth.invalid");
}

#[tokio::test]
async fn what_is_used_on_one_node_is_not_idle_on_another() {
    let app = at_rest().await;
    given_account(&app, "acme", "ada", "viewer").await;
    let token = given_session(&app, "acme", "ada", PASSWORD).await;
    let other = app.engine.other_process().await;
    app.advance(58 * MINUTE).await;
    // What the other one reads now is old in a moment.
    assert!(other.api_keys.verify_session(&token, true).await.is_ok());
    app.advance(MINUTE).await;
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    app.advance(59 * MINUTE).await;
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    assert!(other.api_keys.verify_session(&token, false).await.is_ok());
}

#[tokio::test]
async fn an_account_has_so_many_sessions_and_no_more() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "viewer").await;
    let oldest = given_session(&app, "acme", "ada", PASSWORD).await;
    app.advance(Duration::from_secs(1)).await;
    let mut others = Vec::new();
    for _ in 1..ACCOUNT_SESSIONS_MAX {
        others.push(given_session(&app, "acme", "ada", PASSWORD).await);
    }
    assert_eq!(get(&app, EVENTS, &oldest).await.status, 200);
    app.advance(Duration::from_secs(1)).await;
    others.push(given_session(&app, "acme", "ada", PASSWORD).await);
    insta::assert_snapshot!(get(&app, EVENTS, &oldest).await.problem(), @"401 auth.invalid");
    for token in others {
        assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    }
}

#[tokio::test]
async fn a_cookie_needs_what_only_a_page_of_ours_knows() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "developer").await;
    let body = json!({ "tenant": "acme", "name": "ada", "password": PASSWORD, "cookie": true });
    let begun = from(&app, None, SESSIONS, &[("host", "a.example")], Some(body.clone())).await;
    assert_eq!(begun.status, 201, "{}", begun.text);
    let cookie = begun.header("set-cookie");
    let attributes = "; Path=/; Max-Age=43200; Secure; HttpOnly; SameSite=Strict";
    assert!(cookie.starts_with(COOKIE) && cookie.ends_with(attributes), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let begun = begun.body();
    assert!(begun.get("token").is_none(), "no script gets to read it: {begun}");
    let csrf = begun["csrf_token"].as_str().unwrap();

    let read = from(&app, None, EVENTS, &[("cookie", cookie)], None).await;
    assert_eq!(read.status, 200, "{}", read.text);
    let send = async |headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie), ("host", "a.example")];
        all.extend_from_slice(headers);
        from(&app, None, EVENTS, &all, Some(json!({ "type": "a.b" }))).await
    };
    let own = ("x-actions-csrf", csrf);
    assert_eq!(send(&[own]).await.status, 202);
    assert_eq!(send(&[own, ("sec-fetch-site", "same-origin")]).await.status, 202);
    assert_eq!(send(&[own, ("origin", "https://a.example")]).await.status, 202);
    for refused in [
        &[][..],
        &[("x-actions-csrf", "0000")],
        &[own, ("sec-fetch-site", "cross-site")],
        &[own, ("sec-fetch-site", "same-site")],
        &[own, ("origin", "https://b.example")],
        &[own, ("origin", "null")],
    ] {
        assert_eq!(send(refused).await.problem(), "403 auth.csrf", "{refused:?}");
    }
    // Whoever sends the token as a header is no browser that was led here.
    let token = cookie.split_once('=').unwrap().1;
    let headers = [("authorization", with(token)), ("origin", "https://b.example".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(send(&headers).await.status, 202);
    // Another session's is none.
    let other = from(&app, None, SESSIONS, &[], Some(body.clone())).await.body();
    let foreign = ("x-actions-csrf", other["csrf_token"].as_str().unwrap());
    insta::assert_snapshot!(send(&[foreign]).await.problem(), @"403 auth.csrf");
    let led = [("sec-fetch-site", "cross-site")];
    let led = from(&app, None, SESSIONS, &led, Some(body)).await;
    insta::assert_snapshot!(led.problem(), @"403 auth.csrf");

    let mut logout = Request::builder().method(Method::DELETE).uri(OWN);
    for (name, value) in [("cookie", cookie), own] {
        logout = logout.header(name, value);
    }
    let ended = app.answer(logout.body(Body::empty()).unwrap()).await;
    assert_eq!(ended.status, 204, "{}", ended.text);
    let gone = format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
    assert_eq!(ended.header("set-cookie"), gone);
    let late = from(&app, None, EVENTS, &[("cookie", cookie)], None).await;
    insta::assert_snapshot!(late.problem(), @"401 auth.invalid");
    // No script can take it away, so the answer does.
    assert_eq!(late.header("set-cookie"), gone);
}

#[tokio::test]
async fn somebody_sets_their_own_password_and_logs_in_again() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "worker").await;
    let token = given_session(&app, "acme", "ada", PASSWORD).await;
    let path = format!("{OWN}:set-password");
    let set = async |password: &str, new: &str| {
        let body = json!({ "password": password, "new_password": new });
        app.json(Method::POST, &path, &[("authorization", &with(&token))], body).await
    };
    let wrong = set("not the password", "quite another one").await;
    insta::assert_snapshot!(wrong.problem(), @"422 account.invalid /password");
    insta::assert_snapshot!(set(PASSWORD, "short").await.problem(), @"422 account.invalid /new_password");
    assert_eq!(set(PASSWORD, "quite another one").await.status, 204);
    insta::assert_snapshot!(get(&app, OWN, &token).await.problem(), @"401 auth.invalid");
    insta::assert_snapshot!(log_in(&app, "acme", "ada", PASSWORD).await.problem(), @"401 auth.invalid");
    given_session(&app, "acme", "ada", "quite another one").await;
    let entry = app.get("audit?act=account.password_set").await.body()["items"][0].clone();
    assert_eq!((&entry["actor"], &entry["actor_kind"]), (&json!("account:ada"), &json!("account")));
}

#[tokio::test]
async fn logins_are_in_the_audit_and_refused_ones_as_a_number() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "viewer").await;
    for _ in 0..3 {
        log_in(&app, "acme", "ada", "not the password").await;
    }
    for name in ["nobody", "my password by mistake"] {
        log_in(&app, "acme", name, PASSWORD).await;
    }
    let token = given_session(&app, "acme", "ada", PASSWORD).await;
    let bearer = with(&token);
    app.send(Method::DELETE, OWN, &[("authorization", &bearer)], "").await;
    app.advance(2 * MINUTE).await;
    let entries = app.get("audit").await.body()["items"].as_array().unwrap().clone();
    let mut told: Vec<_> = entries
        .iter()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap().to_owned();
            let count = entry["after"]["count"].to_string();
            format!("{} {} {} {count}", text("act"), text("subject"), text("actor"))
        })
        .collect();
    told.sort();
    insta::assert_debug_snapshot!(told, @r#"
    [
        "account.created account:ada token:bootstrap null",
        "logins.refused account:ada engine 3",
        "logins.refused accounts engine 2",
        "session.created account:ada account:ada null",
        "session.ended account:ada account:ada null",
    ]
    "#);
    let text = app.get("audit:export").await.text;
    assert!(!text.contains("mistake") && !text.contains(&token[15..]), "{text}");
}

#[tokio::test]
async fn guesses_at_one_account_wait_longer_and_longer_and_lock_nobody_out() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "viewer").await;
    for _ in 0..ACCOUNT_GUESSES_FREE {
        let refused = guess(&app, "192.0.2.1", "ada", "not the password").await;
        assert_eq!(refused.problem(), "401 auth.invalid");
    }
    let waiting = guess(&app, "192.0.2.1", "ada", PASSWORD).await;
    insta::assert_snapshot!(waiting.problem(), @"429 auth.throttled");
    assert_eq!(waiting.header("retry-after"), "1");
    assert_eq!(waiting.body()["retryable"], true);
    let elsewhere = guess(&app, "192.0.2.2", "ada", PASSWORD).await;
    assert_eq!(elsewhere.status, 201, "{}", elsewhere.text);
    app.advance(Duration::from_secs(1)).await;
    guess(&app, "192.0.2.1", "ada", "not the password").await;
    let waiting = guess(&app, "192.0.2.1", "ada", PASSWORD).await;
    assert_eq!(waiting.header("retry-after"), "2");
    app.advance(Duration::from_secs(2)).await;
    assert_eq!(guess(&app, "192.0.2.1", "ada", PASSWORD).await.status, 201);
}

#[tokio::test]
async fn a_right_password_is_let_in_however_many_others_guess() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "viewer").await;
    for number in 0..ACCOUNT_GUESSES_HOT {
        let peer = format!("10.0.{}.{}", number / 250, number % 250);
        guess(&app, &peer, "ada", "not the password").await;
    }
    let fresh = guess(&app, "2001:db8:1:2::7", "ada", "a typing error").await;
    insta::assert_snapshot!(fresh.problem(), @"401 auth.invalid");
    let neighbour = guess(&app, "2001:db8:1:2::8", "ada", PASSWORD).await;
    insta::assert_snapshot!(neighbour.problem(), @"429 auth.throttled");
    let fresh = guess(&app, "2001:db8:1:3::7", "ada", PASSWORD).await;
    assert_eq!(fresh.status, 201, "{}", fresh.text);
}

#[tokio::test]
async fn what_nobody_looked_at_is_no_guess() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "viewer").await;
    for _ in 0..3 * ACCOUNT_GUESSES_FREE {
        let busy = guess(&app, "192.0.2.1", "ada", "busy busy busy").await;
        assert_eq!(busy.problem(), "503 overloaded");
    }
    assert_eq!(guess(&app, "192.0.2.1", "ada", PASSWORD).await.status, 201);
}

#[tokio::test]
async fn whoever_guesses_tokens_waits_and_whoever_is_known_does_not() {
    let app = TestApp::start().await;
    let known = given_key(&app, "acme", json!({ "name": "known", "role": "viewer" })).await;
    let cold = given_key(&app, "acme", json!({ "name": "cold", "role": "viewer" })).await;
    let ask = async |peer: &str, token: &str| {
        from(&app, Some(peer), EVENTS, &[("authorization", &with(token))], None).await
    };
    assert_eq!(ask("192.0.2.1", &known).await.status, 200);
    given_account(&app, "acme", "ada", "viewer").await;
    assert_eq!(guess(&app, "192.0.2.1", "ada", PASSWORD).await.status, 201);
    for number in 0..GUESSES_FREE {
        let made_up = Token::mint(&[u8::try_from(number).unwrap(); 40]);
        let answer = ask("192.0.2.1", made_up.expose()).await;
        assert_eq!(answer.problem(), "401 auth.invalid");
    }
    for guess in ["something-else", Token::mint(&[99; 40]).expose()] {
        let waiting = ask("192.0.2.1", guess).await;
        assert_eq!(waiting.problem(), "429 auth.throttled");
        assert_eq!(waiting.header("retry-after"), "1");
    }
    assert_eq!(ask("192.0.2.1", &known).await.status, 200);
    assert_eq!(ask("192.0.2.1", "test-token").await.status, 200);
    // Nobody here has seen it, as after a restart.
    assert_eq!(ask("192.0.2.1", &cold).await.status, 200);
    // Whoever was right from there before is let in, and so is the session that this gives.
    let begun = guess(&app, "192.0.2.1", "ada", PASSWORD).await;
    assert_eq!(begun.status, 201, "{}", begun.text);
    let session = begun.body()["token"].as_str().unwrap().to_owned();
    // Guessers leave some of the questions that the store is asked to others.
    for number in 0..API_KEY_ASKS_MAX {
        let made_up = Token::mint(&[u8::try_from(100 + number % 150).unwrap(); 40]);
        ask("192.0.2.1", made_up.expose()).await;
    }
    let late = given_key(&app, "acme", json!({ "name": "late", "role": "viewer" })).await;
    assert_eq!(ask("192.0.2.2", &late).await.status, 200);
    assert_eq!(ask("192.0.2.1", &session).await.status, 200);
    // What was known is asked about again after a while, also for them.
    app.advance(Duration::from_secs(301)).await;
    for _ in 0..2 * GUESSES_FREE {
        ask("192.0.2.1", "something-else").await;
    }
    assert_eq!(ask("192.0.2.1", &known).await.status, 200);
}

#[tokio::test]
async fn a_program_that_was_forgotten_is_no_guesser() {
    let app = TestApp::start().await;
    let revoked = given_key(&app, "acme", json!({ "name": "old", "role": "viewer" })).await;
    let fresh = given_key(&app, "acme", json!({ "name": "new", "role": "viewer" })).await;
    app.delete("keys/old", &[]).await;
    let ask = async |token: &str| {
        from(&app, Some("192.0.2.1"), EVENTS, &[("authorization", &with(token))], None).await
    };
    for _ in 0..2 * GUESSES_FREE {
        assert_eq!(ask(&revoked).await.problem(), "401 auth.invalid");
        assert_eq!(ask(&revoked[..40]).await.problem(), "401 auth.malformed");
    }
    assert_eq!(ask(&fresh).await.status, 200);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_waits_for_itself() {
    let app = TestApp::start().await;
    let ask = async |peer: &str, client: &str| {
        let headers = [("authorization", "Bearer something"), ("x-forwarded-for", client)];
        from(&app, Some(peer), EVENTS, &headers, None).await.problem()
    };
    for _ in 0..GUESSES_FREE {
        ask("10.9.0.1", "198.51.100.7").await;
    }
    assert_eq!(ask("10.9.0.1", "198.51.100.7").await, "429 auth.throttled");
    assert_eq!(ask("10.9.0.1", "203.0.113.1, 198.51.100.7").await, "429 auth.throttled");
    assert_eq!(ask("10.9.0.1", "198.51.100.8").await, "401 auth.invalid");
    // Who is no proxy of ours is not believed, and waits for what it does.
    for number in 0..GUESSES_FREE {
        ask("192.0.2.1", &format!("203.0.113.{number}")).await;
    }
    assert_eq!(ask("192.0.2.1", "203.0.113.99").await, "429 auth.throttled");
}

#[tokio::test]
async fn a_store_that_is_away_lets_no_session_in() {
    let app = TestApp::start().await;
    given_account(&app, "acme", "ada", "viewer").await;
    let token = given_session(&app, "acme", "ada", PASSWORD).await;
    assert_eq!(get(&app, EVENTS, &token).await.status, 200);
    app.engine.faults.plan("api_key_changes", Fails::Before, usize::MAX);
    app.advance(Duration::from_secs(3)).await;
    insta::assert_snapshot!(get(&app, OWN, &token).await.problem(), @"503 store.unavailable");
    app.engine.faults.plan("api_key_changes", Fails::Before, 0);
    assert_eq!(get(&app, OWN, &token).await.status, 200);
}

#[tokio::test]
async fn a_session_that_was_ended_meanwhile_makes_no_key() {
    use actions_app::commands::create_api_key::{CreateApiKey, CreateApiKeyError, create_api_key};
    use actions_domain::api_key::ApiKeyName;
    use actions_domain::authorization::{AuthorizationContext, Forbidden, Role};

    let app = TestApp::start().await;
    given_account(&app, "acme", "boss", "tenant_admin").await;
    let token = given_session(&app, "acme", "boss", PASSWORD).await;
    let other = app.engine.other_process().await;
    // Let in when its request began; the body comes later.
    let boss = other.api_keys.verify_session(&token, true).await.unwrap();
    let caller = AuthorizationContext::of_session(&boss, "slow");
    app.post("accounts/boss:log-out", json!({})).await;
    let request = CreateApiKey {
        tenant: boss.account.tenant,
        name: ApiKeyName::parse("heir").unwrap(),
        role: Role::TenantAdmin,
        expires_at: None,
    };
    let created = create_api_key(&other, &caller, request).await;
    let ended = matches!(created, Err(CreateApiKeyError::Forbidden(Forbidden::Ended { .. })));
    assert!(ended, "{created:?}");
}
