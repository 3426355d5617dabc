//! Callers whom an identity provider knows.

use std::sync::Arc;

use actions::Access;
use actions_domain::authorization::Role;
use actions_domain::ports::identities::{Identities, Identity, IdentityError};
use async_trait::async_trait;
use axum::http::Method;
use chrono::Utc;
use serde_json::{Value, json};

use crate::handlers::peer::Program;
use crate::support::app::{Answer, TOKEN, TestApp};
use crate::support::postgres::fresh_database;
use crate::support::process::Server;

const ACTIONS: &str = "/v1/tenants/acme/actions";

/// Believes what a token says: `subject/tenant/role`.
#[derive(Debug)]
struct Gullible;

#[async_trait]
impl Identities for Gullible {
    async fn identify(&self, token: &str) -> Result<Identity, IdentityError> {
        let reason = || "it was written down here".to_owned();
        if token == "away" {
            return Err(IdentityError::Unavailable { reason: reason() });
        }
        let parts: Vec<&str> = token.split('/').collect();
        let [subject, tenant, role] = parts[..] else {
            return Err(IdentityError::Refused { reason: reason() });
        };
        let (subject, tenant) = (subject.to_owned(), tenant.to_owned());
        Ok(Identity { subject, tenant, role: Role::parse(role).unwrap() })
    }
}

async fn app(token: Option<&str>) -> TestApp {
    let token = token.map(|token| token.to_owned().into());
    TestApp::serving(Access::Provider { identities: Arc::new(Gullible), token }).await
}

async fn ask(app: &TestApp, path: &str, token: &str) -> Answer {
    app.send(Method::GET, path, &[("authorization", &format!("Bearer {token}"))], "").await
}

#[tokio::test]
async fn a_caller_has_the_role_and_the_tenant_that_the_provider_says() {
    let app = app(None).await;
    assert_eq!(ask(&app, ACTIONS, "ada/acme/viewer").await.status, 200);
    let by_id = app.engine.app.catalogue.find_named("acme").unwrap().tenant.uuid;
    assert_eq!(ask(&app, ACTIONS, &format!("ada/{by_id}/viewer")).await.status, 200);
    insta::assert_snapshot!(ask(&app, ACTIONS, "ada/acme/worker").await.problem(), @"403 auth.role");
    insta::assert_snapshot!(ask(&app, "/v1/tenants/admin/actions", "ada/acme/tenant_admin").await.problem(), @"404 not_found");
    assert_eq!(ask(&app, ACTIONS, "root/admin/platform_admin").await.status, 200);
}

#[tokio::test]
async fn whoever_says_nothing_that_fits_is_nobody() {
    let app = app(None).await;
    let tokens = ["", "nonsense", "ada/nowhere/viewer", "ada/acme/platform_admin", TOKEN, "act_x"];
    let answers = tokens.map(|token| ask(&app, ACTIONS, token));
    let mut told = Vec::new();
    for answer in answers {
        told.push(answer.await.problem());
    }
    insta::assert_debug_snapshot!(told, @r#"
    [
        "401 auth.invalid",
        "401 auth.invalid",
        "401 auth.invalid",
        "401 auth.invalid",
        "401 auth.invalid",
        "401 auth.malformed",
    ]
    "#);
    let away = ask(&app, ACTIONS, "away").await;
    insta::assert_snapshot!(away.problem(), @"503 auth.unavailable");
    assert_eq!(away.header("retry-after"), "30");
}

#[tokio::test]
async fn the_bootstrap_token_and_api_keys_count_beside_the_provider() {
    let app = app(Some(TOKEN)).await;
    let key = app
        .send(
            Method::POST,
            "/v1/tenants/acme/keys",
            &[("authorization", &format!("Bearer {TOKEN}")), ("content-type", "application/json")],
            r#"{"name":"reader","role":"viewer"}"#,
        )
        .await;
    assert_eq!(key.status, 201, "{}", key.text);
    let key: Value = serde_json::from_str(&key.text).unwrap();
    assert_eq!(ask(&app, ACTIONS, key["token"].as_str().unwrap()).await.status, 200);
    assert_eq!(ask(&app, ACTIONS, "ada/acme/viewer").await.status, 200);
}

/// The whole way: settings, discovery, keys and signatures of another implementation.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_provider_lets_its_people_in() {
    let mut provider = Program::javascript("identity_provider.mjs");
    let issuer = provider.line().await;
    let settings = vec![
        ("ACTIONS_OIDC_ISSUER", issuer.clone()),
        ("ACTIONS_OIDC_ROLE_CLAIM", "/realm_access/roles".to_owned()),
        ("ACTIONS_EGRESS_ALLOW", "127.0.0.0/8".to_owned()),
    ];
    let server = Server::start_with(&fresh_database().await, settings).await;
    server.create("/v1/admin/tenants", &json!({ "slug": "acme", "name": "Acme" })).await;
    let claims = |end: i64| {
        json!({
            "iss": issuer, "aud": ["account", "actions"], "sub": "ada",
            "exp": seconds() + end, "actions_tenant": "acme",
            "realm_access": { "roles": ["uma_authorization", "viewer"] },
        })
    };
    let status = async |token: &str| {
        let request = reqwest::Client::new().get(server.url(ACTIONS)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    let good = provider.ask(&json!({ "claims": claims(300) })).await;
    assert_eq!(status(&good).await, 200);
    let expired = provider.ask(&json!({ "claims": claims(-300) })).await;
    assert_eq!(status(&expired).await, 401);
    let of_another =
        provider.ask(&json!({ "header": { "kid": "x" }, "claims": claims(300) })).await;
    assert_eq!(status(&of_another).await, 401);
    let (message, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = expired.rsplit_once('.').unwrap();
    assert_eq!(status(&format!("{message}.{signature}")).await, 401);
}

#[expect(clippy::disallowed_methods, reason = "the provider has a clock of its own")]
fn seconds() -> i64 {
    Utc::now().timestamp()
}
