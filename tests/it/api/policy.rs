//! A policy service that is asked after the roles: whoever comes in, and whatever it answers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use actions_app::app::App;
use actions_app::commands::submit_event::{SubmitEvents, submit_events};
use actions_app::queries::definitions::find_action;
use actions_domain::action::ActionName;
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission, Principal, Role};
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::ports::authorizer::{Authorizer, AuthorizerError, Question, Verdict};
use async_trait::async_trait;
use axum::http::Method;
use serde_json::json;

use super::api_keys::{given_key, with};
use super::roles::{Things, body, described, split};
use super::sessions::{PASSWORD, given_account, given_session};
use crate::support::app::{TOKEN, TestApp};
use crate::support::engine::given_event;
use crate::support::policy_peer::{Mode, PolicyPeer};
use crate::support::postgres::fresh_database;
use crate::support::process::Server;

const ACTIONS: &str = "/v1/tenants/acme/actions";

/// Says what the test has written down.
#[derive(Default)]
struct Judge {
    asked: Mutex<Vec<Question>>,
    answer: Mutex<Option<Result<Verdict, AuthorizerError>>>,
}

impl Judge {
    fn says(&self, answer: Result<Verdict, AuthorizerError>) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    fn denies(&self, reason: Option<&str>) {
        self.says(Ok(Verdict::Deny { reason: reason.map(str::to_owned) }));
    }

    fn is_away(&self) {
        self.says(Err(AuthorizerError { reason: "it is away".to_owned() }));
    }

    fn take(&self) -> Vec<Question> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Authorizer for Judge {
    async fn decide(&self, question: &Question) -> Result<Verdict, AuthorizerError> {
        self.asked.lock().unwrap().push(question.clone());
        self.answer.lock().unwrap().clone().unwrap_or(Ok(Verdict::Allow))
    }
}

async fn judged() -> (TestApp, Arc<Judge>) {
    let judge = Arc::new(Judge::default());
    (TestApp::judged_by(judge.clone()).await, judge)
}

#[tokio::test]
async fn it_is_asked_after_the_role_and_told_who_wants_what_and_where() {
    let (app, judge) = judged().await;
    let token = given_key(&app, "acme", json!({ "name": "ci", "role": "developer" })).await;
    let bearer = with(&token);
    judge.take();
    let action = json!({ "name": "a", "action_type": "custom", "handler": "test.script" });
    let headers = [("authorization", bearer.as_str()), ("x-request-id", "r-1")];
    let created = app.json(Method::POST, ACTIONS, &headers, action.clone()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let asked = judge.take();
    assert_eq!(
        asked[0],
        Question {
            principal: "key:ci".to_owned(),
            principal_kind: "api_key",
            principal_tenant: "acme".to_owned(),
            role: Role::Developer,
            permission: Permission::WriteDefinitions,
            tenant: "acme".to_owned(),
            route: Some("POST /v1/tenants/{tenant}/actions".to_owned()),
            path: Some(ACTIONS.to_owned()),
            request_id: "r-1".to_owned(),
        }
    );
    // However it is spelled, it is the same to a rule as to the handler.
    app.send(Method::GET, &format!("{ACTIONS}/%61"), &headers, "").await;
    assert_eq!(judge.take()[0].path, Some(format!("{ACTIONS}/a")));
    let verb = format!("{ACTIONS}/a:test");
    let event = json!({ "event": { "type": "a.b" } });
    app.json(Method::POST, &verb, &headers, event).await;
    let asked = judge.take().remove(0);
    assert_eq!(asked.path, Some(verb));
    let route = asked.route;
    assert_eq!(route.as_deref(), Some("POST /v1/tenants/{tenant}/actions/{action}:test"));
    // What the role forbids, nobody else is asked about.
    let refused = app.send(Method::GET, "/v1/tenants/acme/keys", &headers, "").await;
    insta::assert_snapshot!(refused.problem(), @"403 auth.role");
    let foreign = app.send(Method::GET, "/v1/tenants/admin/events", &headers, "").await;
    insta::assert_snapshot!(foreign.problem(), @"404 not_found");
    assert_eq!(judge.take(), []);
}

#[tokio::test]
async fn it_takes_away_what_a_role_allows_and_its_silence_does_too() {
    let (app, judge) = judged().await;
    judge.denies(Some("frozen until Monday"));
    let denied = app.get("actions").await;
    insta::assert_snapshot!(denied.problem(), @"403 policy.denied");
    assert!(denied.text.contains("frozen until Monday"), "{}", denied.text);
    judge.denies(None);
    insta::assert_snapshot!(app.get("actions").await.problem(), @"403 policy.denied");
    judge.is_away();
    let away = app.get("actions").await;
    insta::assert_snapshot!(away.problem(), @"503 policy.unavailable");
    assert!(!away.header("retry-after").is_empty() && !away.text.contains("it is away"));
    judge.says(Ok(Verdict::Allow));
    assert_eq!(app.get("actions").await.status, 200);
}

/// Routes that need no permission.
const FREE: [&str; 12] = [
    "GET /",
    "GET /docs/errors",
    "GET /docs/errors/{code}",
    "GET /healthz",
    "GET /openapi.json",
    "GET /readyz",
    "GET /v1/limits",
    "GET /version",
    "POST /v1/sessions",
    "GET /v1/sessions/current",
    "DELETE /v1/sessions/current",
    "POST /v1/sessions/current:set-password",
];

#[tokio::test]
async fn no_route_passes_it_by() {
    let (app, judge) = judged().await;
    let things = Things::below(&app, "/v1/tenants/acme").await;
    let mut passed = BTreeSet::new();
    for (answer, expected) in [
        (Ok(Verdict::Deny { reason: None }), "403 policy.denied"),
        (Err(AuthorizerError { reason: "away".to_owned() }), "503 policy.unavailable"),
    ] {
        judge.says(answer);
        for route in described() {
            let (method, pattern) = split(&route);
            // The same functions serve the tenant `admin`, where nothing of this is.
            let is_twin = pattern.strip_prefix("/v1/admin").is_some_and(|rest| {
                described().contains(&format!("{method} /v1/tenants/{{tenant}}{rest}"))
            });
            if FREE.contains(&route.as_str()) || is_twin {
                continue;
            }
            let path = things.path(pattern).replace("{tenant}", "acme");
            let path =
                if path.starts_with("/v1/internal") { format!("{path}?tenant=acme") } else { path };
            let bearer = with(TOKEN);
            let mut headers = vec![("authorization", bearer.as_str()), ("if-match", "*")];
            if matches!(method, Method::POST) {
                headers.pop();
            }
            let answer = match method {
                Method::GET | Method::DELETE => app.send(method, &path, &headers, "").await,
                method => app.json(method, &path, &headers, body(pattern)).await,
            };
            if answer.status.is_success() || answer.problem() != expected {
                passed.insert(format!("{route}: {}", answer.text));
            }
        }
    }
    assert!(passed.is_empty(), "these are not judged:\n{passed:#?}");
}

#[tokio::test]
async fn every_way_in_is_judged_but_that_of_the_engine_itself() {
    let (app, judge) = judged().await;
    given_account(&app, "acme", "ada", "viewer").await;
    let session = given_session(&app, "acme", "ada", PASSWORD).await;
    let key = given_key(&app, "acme", json!({ "name": "k", "role": "viewer" })).await;
    let mut kinds = BTreeSet::new();
    judge.take();
    for token in [TOKEN, session.as_str(), key.as_str()] {
        let bearer = with(token);
        app.send(Method::GET, ACTIONS, &[("authorization", &bearer)], "").await;
        kinds.extend(judge.take().iter().map(|question| question.principal_kind));
    }
    assert_eq!(kinds, BTreeSet::from(["bootstrap_token", "account", "api_key"]));
    judge.denies(None);
    let (engine, tenant) = (&app.engine, app.engine.tenant);
    for caller in [
        AuthorizationContext::of_library("svc", tenant, "r"),
        AuthorizationContext::of_command_line(tenant, "r"),
        AuthorizationContext::of_local_dev("r"),
        AuthorizationContext::of_bootstrap_token("r"),
        AuthorizationContext::of_stream("events:actions", tenant, "r"),
    ] {
        let refused = submit(&engine.app, &caller, tenant).await;
        let is_denied = matches!(refused, Err(Forbidden::Policy { .. }));
        assert!(is_denied, "{:?}: {refused:?}", caller.principal);
    }
    for caller in [
        AuthorizationContext::of_engine(tenant, "r"),
        AuthorizationContext::of_schedules(),
        AuthorizationContext::of_execution("x", tenant, ExecutionId(uuid::Uuid::nil())),
    ] {
        assert_eq!(caller.principal, Principal::Engine);
        assert_eq!(submit(&engine.app, &caller, tenant).await, Ok(()));
    }
    let name = ActionName::parse("a").unwrap();
    let library = AuthorizationContext::of_library("svc", tenant, "r");
    let found = find_action(&engine.app, &library, tenant, name.as_str()).await;
    assert!(found.is_err());
}

async fn submit(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
) -> Result<(), Forbidden> {
    use actions_app::commands::submit_event::SubmitEventsError;
    let events = vec![given_event("a.b", json!({}))];
    match submit_events(app, caller, SubmitEvents { tenant, events, idempotency: None }).await {
        Err(SubmitEventsError::Forbidden(forbidden)) => Err(forbidden),
        Ok(_) => Ok(()),
        Err(error) => panic!("{error}"),
    }
}

/// The whole way: settings, the gate and a service of another make.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_service_decides_and_whatever_else_it_does_is_a_refusal() {
    let peer = PolicyPeer::start().await;
    let settings = vec![
        ("ACTIONS_POLICY_URL", peer.url()),
        ("ACTIONS_EGRESS_ALLOW", "127.0.0.0/8".to_owned()),
    ];
    let server = Server::start_with(&fresh_database().await, settings).await;
    server.create("/v1/admin/tenants", &json!({ "slug": "acme", "name": "Acme" })).await;
    let key = json!({ "name": "ci", "role": "developer" });
    let key = server.create("/v1/tenants/acme/keys", &key).await;
    let token = key["token"].as_str().unwrap().to_owned();
    let ask = async |method: Method, path: &str, token: &str| {
        let request = reqwest::Client::new().request(method, server.url(path)).bearer_auth(token);
        let body = json!({ "name": "a", "action_type": "custom", "handler": "test.none" });
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await.unwrap();
        format!("{status} {}", body["code"].as_str().unwrap_or_default())
    };
    assert_eq!(ask(Method::GET, ACTIONS, &token).await, "200 ");
    assert_eq!(ask(Method::POST, ACTIONS, &token).await, "403 policy.denied");
    let input = peer.asked().pop().unwrap();
    assert_eq!((&input["principal"], &input["tenant"]), (&json!("key:ci"), &json!("acme")));
    for (mode, expected) in [
        (Mode::Fails, "503 policy.unavailable"),
        (Mode::Babbles, "503 policy.unavailable"),
        (Mode::Redirects, "503 policy.unavailable"),
        (Mode::Hangs, "503 policy.unavailable"),
        (Mode::IsUndefined, "403 policy.denied"),
    ] {
        peer.set(mode);
        // Nobody has asked this before, so nothing is remembered of it.
        let path = format!("{ACTIONS}/{mode:?}");
        assert_eq!(ask(Method::GET, &path, &token).await, expected, "{mode:?}");
    }
    peer.set(Mode::SaysYes);
    let path = format!("{ACTIONS}/missing");
    assert_eq!(ask(Method::GET, &path, &token).await, "404 not_found");
}
