//! Who may do what: every route of the API's description, for every role and every state that a
//! credential can be in. A route that is not in the table fails.

use std::collections::BTreeSet;

use actions_domain::authorization::{Permission, Role};
use actions_domain::execution::Fault;
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use super::api_keys::{given_key, with};
use super::sessions::{PASSWORD, given_account, given_session};
use crate::support::app::{Answer, TestApp};
use crate::support::engine::Answer as Told;

use Permission::{
    CancelExecution, Execute, ManageApiKeys, ManageDeadLetters, ManageSecrets, ManageTenants,
    Pause, ReadAudit, ReadDefinitions, ReadEvents, ReadExecutions, ReadMetrics, SubmitEvent,
    WorkOnTasks, WriteDefinitions,
};

/// Whoever asks.
const OPEN: [&str; 8] = [
    "GET /",
    "GET /docs/errors",
    "GET /docs/errors/{code}",
    "GET /healthz",
    "GET /openapi.json",
    "GET /readyz",
    "GET /v1/limits",
    "GET /version",
];

/// Whoever asks, and changes something: a login is how one gets to be somebody.
const LOGIN: &str = "POST /v1/sessions";

/// About the session that the request came with, whatever its role.
const OWN: [&str; 3] = [
    "DELETE /v1/sessions/current",
    "GET /v1/sessions/current",
    "POST /v1/sessions/current:set-password",
];

/// About all tenants: what a role of the tenant `admin` needs.
const OF_PLATFORM: [(&str, &[Permission]); 13] = [
    ("GET /metrics", &[ReadMetrics]),
    ("GET /v1/admin/master-keys", &[ManageTenants]),
    ("GET /v1/admin/nodes", &[ManageTenants]),
    ("GET /v1/admin/tenant-limits", &[ManageTenants]),
    ("PUT /v1/admin/tenant-limits", &[ManageTenants]),
    ("GET /v1/admin/tenants", &[ManageTenants]),
    ("POST /v1/admin/tenants", &[ManageTenants]),
    ("GET /v1/admin/tenants/{slug}", &[ManageTenants]),
    ("POST /v1/admin/master-keys:rewrap", &[ManageTenants]),
    ("POST /v1/admin/tenants/{slug}:suspend", &[ManageTenants]),
    ("POST /v1/admin/tenants/{slug}:resume", &[ManageTenants]),
    ("GET /v1/admin/tenants/{slug}/deletion", &[ManageTenants]),
    ("DELETE /v1/admin/tenants/{slug}", &[ManageTenants]),
];

const INTERNAL: [(&str, &[Permission]); 10] = [
    ("GET /v1/internal/actions", &[ReadDefinitions]),
    ("POST /v1/internal/events:execute", &[SubmitEvent]),
    ("POST /v1/internal/executions:bulk", &[Execute]),
    ("POST /v1/internal/handlers:validate", &[ReadDefinitions]),
    ("GET /v1/internal/health", &[ReadMetrics]),
    ("POST /v1/internal/pull:claim", &[WorkOnTasks]),
    ("POST /v1/internal/pull:complete", &[WorkOnTasks]),
    ("POST /v1/internal/pull:extend", &[WorkOnTasks]),
    ("POST /v1/internal/pull:fail", &[WorkOnTasks]),
    ("POST /v1/internal/pull:progress", &[WorkOnTasks]),
];

/// Of each tenant, the platform's own included. What deletes stands at the end, so that the rest
/// finds something.
const OF_TENANT: &[(&str, &[Permission])] = &[
    ("GET /accounts", &[ManageApiKeys]),
    ("POST /accounts", &[ManageApiKeys]),
    ("GET /accounts/{account}", &[ManageApiKeys]),
    ("POST /accounts/{account}:disable", &[ManageApiKeys]),
    ("POST /accounts/{account}:enable", &[ManageApiKeys]),
    ("POST /accounts/{account}:log-out", &[ManageApiKeys]),
    ("POST /accounts/{account}:set-password", &[ManageApiKeys]),
    ("POST /accounts/{account}:set-role", &[ManageApiKeys]),
    ("GET /actions", &[ReadDefinitions]),
    ("POST /actions", &[WriteDefinitions]),
    ("GET /actions/active", &[ReadDefinitions]),
    ("GET /actions/{action}", &[ReadDefinitions]),
    ("PUT /actions/{action}", &[WriteDefinitions]),
    ("GET /actions/{action}/executions", &[ReadExecutions]),
    ("GET /actions/{action}/limits", &[ReadDefinitions]),
    ("GET /actions/{action}/metrics", &[ReadMetrics]),
    ("GET /actions/{action}/versions", &[ReadDefinitions]),
    ("GET /actions/{action}/versions/{before}/diff/{after}", &[ReadDefinitions]),
    ("GET /actions/{action}/versions/{version}", &[ReadDefinitions]),
    ("POST /actions/{action}:check-health", &[WriteDefinitions]),
    ("POST /actions/{action}:disable", &[WriteDefinitions]),
    ("POST /actions/{action}:enable", &[WriteDefinitions]),
    ("POST /actions/{action}:execute", &[Execute]),
    ("POST /actions/{action}:pause", &[Pause]),
    ("POST /actions/{action}:restore", &[WriteDefinitions]),
    ("POST /actions/{action}:resume", &[Pause]),
    ("POST /actions/{action}:test", &[ReadDefinitions]),
    ("POST /actions:validate", &[ReadDefinitions]),
    ("GET /audit", &[ReadAudit]),
    ("GET /audit:export", &[ReadAudit]),
    ("GET /audit:verify", &[ReadAudit]),
    ("GET /bulk", &[ReadExecutions]),
    ("POST /bulk", &[CancelExecution]),
    ("GET /bulk/{bulk}", &[ReadExecutions]),
    ("GET /bulk/{bulk}/items", &[ReadExecutions]),
    ("POST /bulk/{bulk}:pause", &[CancelExecution]),
    ("POST /bulk/{bulk}:resume", &[CancelExecution]),
    ("POST /bulk/{bulk}:cancel", &[CancelExecution]),
    ("GET /controls", &[ReadDefinitions]),
    ("PUT /controls/limits", &[ManageTenants]),
    ("PUT /controls/retention", &[ManageTenants]),
    ("PUT /controls/egress", &[ManageTenants]),
    ("POST /controls:pause", &[Pause]),
    ("POST /controls:resume", &[Pause]),
    ("GET /dead-letters", &[ReadExecutions]),
    ("GET /dead-letters/groups", &[ReadExecutions]),
    ("GET /dead-letters/groups/{fingerprint}", &[ReadExecutions]),
    ("POST /dead-letters/groups/{fingerprint}:discard", &[ManageDeadLetters]),
    ("POST /dead-letters/groups/{fingerprint}:requeue", &[ManageDeadLetters]),
    ("GET /dead-letters/{execution}", &[ReadExecutions]),
    ("POST /dead-letters/{execution}:discard", &[ManageDeadLetters]),
    ("POST /dead-letters/{execution}:requeue", &[ManageDeadLetters]),
    ("POST /dead-letters:discard", &[ManageDeadLetters]),
    ("POST /dead-letters:requeue", &[ManageDeadLetters]),
    ("GET /definitions", &[ReadDefinitions]),
    ("POST /definitions:apply", &[WriteDefinitions]),
    ("POST /definitions:diff", &[ReadDefinitions]),
    ("POST /definitions:validate", &[ReadDefinitions]),
    ("GET /events", &[ReadEvents]),
    ("POST /events", &[SubmitEvent]),
    ("GET /events/{event}", &[ReadEvents]),
    ("GET /events/{event}/matches", &[ReadEvents, ReadDefinitions]),
    ("POST /events/{event}:replay", &[ReadEvents, SubmitEvent]),
    ("POST /events:explain", &[ReadDefinitions]),
    ("GET /executions", &[ReadExecutions]),
    ("GET /executions/{execution}", &[ReadExecutions]),
    ("GET /executions/{execution}/attempts", &[ReadExecutions]),
    ("GET /executions/{execution}/timeline", &[ReadExecutions]),
    ("GET /executions/{execution}/why", &[ReadExecutions]),
    ("POST /executions/{execution}:cancel", &[CancelExecution]),
    ("GET /handlers", &[ReadDefinitions]),
    ("GET /handlers/{handler}", &[ReadDefinitions]),
    ("POST /handlers/{handler}:validate", &[ReadDefinitions]),
    ("GET /keys", &[ManageApiKeys]),
    ("POST /keys", &[ManageApiKeys]),
    ("GET /keys/{key}", &[ManageApiKeys]),
    ("POST /keys/{key}:rotate", &[ManageApiKeys]),
    ("GET /limits", &[ReadDefinitions]),
    ("GET /metrics/summary", &[ReadMetrics]),
    ("GET /queues", &[ReadMetrics]),
    ("GET /runs", &[ReadExecutions]),
    ("GET /runs/{run}", &[ReadExecutions]),
    ("GET /runs/{run}/journal", &[ReadExecutions]),
    ("GET /runs/{run}/timeline", &[ReadExecutions]),
    ("POST /runs/{run}:signal", &[Execute]),
    ("POST /runs/{run}:pause", &[Pause]),
    ("POST /runs/{run}:resume", &[Pause]),
    ("POST /runs/{run}:cancel", &[CancelExecution]),
    ("POST /runs/{run}:retry", &[ManageDeadLetters]),
    ("GET /schedules", &[ReadDefinitions]),
    ("POST /schedules", &[WriteDefinitions]),
    ("GET /schedules/{schedule}", &[ReadDefinitions]),
    ("PUT /schedules/{schedule}", &[WriteDefinitions]),
    ("GET /schedules/{schedule}/next", &[ReadDefinitions]),
    ("POST /schedules/{schedule}:backfill", &[Execute]),
    ("POST /schedules/{schedule}:fire", &[Execute]),
    ("POST /schedules/{schedule}:pause", &[WriteDefinitions]),
    ("POST /schedules/{schedule}:resume", &[WriteDefinitions]),
    ("GET /secrets", &[ReadDefinitions]),
    ("GET /secrets/{secret}", &[ReadDefinitions]),
    ("PUT /secrets/{secret}", &[ManageSecrets]),
    ("GET /sessions", &[ManageApiKeys]),
    ("GET /subscriptions", &[ReadDefinitions]),
    ("POST /subscriptions", &[WriteDefinitions]),
    ("GET /subscriptions/{subscription}", &[ReadDefinitions]),
    ("PUT /subscriptions/{subscription}", &[WriteDefinitions]),
    ("POST /subscriptions/{subscription}:disable", &[WriteDefinitions]),
    ("POST /subscriptions/{subscription}:enable", &[WriteDefinitions]),
    ("GET /usage", &[ReadMetrics]),
    ("DELETE /accounts/{account}", &[ManageApiKeys]),
    ("GET /workflows", &[ReadDefinitions]),
    ("GET /workflows/{workflow}", &[ReadDefinitions]),
    ("PUT /workflows/{workflow}", &[WriteDefinitions]),
    ("GET /workflows/{workflow}/graph", &[ReadDefinitions]),
    ("POST /workflows/{workflow}/runs", &[Execute]),
    ("GET /workflows/{workflow}/versions", &[ReadDefinitions]),
    ("POST /workflows:validate", &[ReadDefinitions]),
    ("DELETE /keys/{key}", &[ManageApiKeys]),
    ("DELETE /schedules/{schedule}", &[WriteDefinitions]),
    ("DELETE /secrets/{secret}", &[ManageSecrets]),
    ("DELETE /sessions/{session}", &[ManageApiKeys]),
    ("DELETE /subscriptions/{subscription}", &[WriteDefinitions]),
    ("DELETE /workflows/{workflow}", &[WriteDefinitions]),
    ("DELETE /actions/{action}", &[WriteDefinitions]),
];

/// The weakest first: what they may do leaves most for the others.
const ROLES: [Role; 7] = [
    Role::Worker,
    Role::IngestOnly,
    Role::Viewer,
    Role::Operator,
    Role::Developer,
    Role::TenantAdmin,
    Role::PlatformAdmin,
];

const OWN_SESSION: &str = "/v1/sessions/current";

/// A body that the route can read, so that only the credential decides.
pub fn body(path: &str) -> Value {
    let action = json!({ "name": "a", "action_type": "custom", "handler": "test.script" });
    let set =
        json!({ "actions": [{ "name": "b", "action_type": "custom", "handler": "test.script" }] });
    match path.rsplit('/').next().unwrap_or_default() {
        "actions" | "actions:validate" | "{action}" => action,
        "{action}:restore" => json!({ "version": 1 }),
        "{action}:test" => json!({ "event": { "type": "a.b" } }),
        "bulk" => json!({ "op": "cancel", "where": "action:nothing", "dry_run": true }),
        "executions:bulk" => json!({ "executions": [{ "action": "a" }] }),
        "definitions:apply" | "definitions:diff" | "definitions:validate" => set,
        "events" | "events:explain" | "events:execute" => json!({ "type": "a.b" }),
        "handlers:validate" => json!({ "handler": "test.script", "config": {} }),
        "{handler}:validate" => json!({ "config": {} }),
        "pull:claim" => json!({ "queues": ["q"], "worker": "w" }),
        "pull:fail" => json!({ "token": "t", "message": "m" }),
        "pull:complete" | "pull:extend" | "pull:progress" => json!({ "token": "t" }),
        "keys" => json!({ "name": "made", "role": "viewer" }),
        "accounts" => json!({ "name": "made", "role": "viewer", "password": "long enough now" }),
        "{account}:set-password" => json!({ "password": "another one now" }),
        "{account}:set-role" => json!({ "role": "operator" }),
        "schedules" | "{schedule}" => json!({ "name": "s", "action": "a", "every_seconds": 3600 }),
        "{schedule}:backfill" => {
            json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:01Z" })
        }
        "subscriptions" | "{subscription}" => json!({ "action": "a", "event_pattern": "a.b" }),
        "tenants" => json!({ "slug": "again" }),
        "{workflow}" | "workflows:validate" => workflow("w"),
        "{run}:signal" => json!({ "name": "go" }),
        "{run}:retry" => json!({ "step": "wait" }),
        "{secret}" => json!({ "value": "hunter2" }),
        "{execution}:discard" | "{fingerprint}:discard" => json!({ "reason": "none" }),
        "dead-letters:discard" => json!({ "where": "action:nothing", "reason": "none" }),
        "dead-letters:requeue" => json!({ "where": "action:nothing" }),
        _ => json!({}),
    }
}

/// A workflow whose runs wait for a signal.
pub fn workflow(name: &str) -> Value {
    let steps = json!({ "wait": { "does": { "wait_signal": { "signal": "go" } } } });
    json!({ "graph": { "name": name, "steps": steps } })
}

/// What the paths of a tenant lead to.
pub(super) struct Things {
    pub(super) event: String,
    pub(super) execution: String,
    pub(super) dead: String,
    fingerprint: String,
    pub(super) subscription: String,
    pub(super) bulk: String,
    pub(super) session: String,
    run: String,
}

impl Things {
    /// Makes one of each.
    pub(super) async fn below(app: &TestApp, base: &str) -> Self {
        let post = async |path: &str, body: Value| {
            let answer = app.json(Method::POST, &format!("{base}{path}"), &[], body).await;
            assert!(answer.status.is_success(), "{path}: {}", answer.text);
            app.engine.settle().await;
            answer.body()
        };
        let action = json!({
            "name": "a",
            "action_type": "custom",
            "handler": "test.script",
            "event_patterns": ["a.dead"],
            "retry_policy": "no_retry",
        });
        post("/actions", action).await;
        app.engine.script.answer([Told::Reject(Fault::handler("http.status", "503"))]);
        let event = post("/events", json!({ "type": "a.dead" })).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let waiting = post("/actions/a:execute", json!({ "delay": "30d" })).await;
        let subscription = json!({ "action": "a", "event_pattern": "a.other" });
        let subscription = post("/subscriptions", subscription).await;
        let schedule = json!({ "name": "s", "action": "a", "every_seconds": 3600 });
        post("/schedules", schedule).await;
        let waiting = text(&waiting["id"]);
        let bulk = json!({ "op": "cancel", "ids": [waiting], "rate": 1, "canary": 1 });
        let bulk = post("/bulk", bulk).await;
        let path = format!("{base}/workflows/w");
        let put = app.json(Method::PUT, &path, &[], workflow("w")).await;
        assert!(put.status.is_success(), "{}", put.text);
        let run = post("/workflows/w/runs", json!({})).await;
        let groups = format!("{base}/dead-letters/groups");
        let groups = app.send(Method::GET, &groups, &[], "").await.body();
        Self {
            event: text(&event["id"]),
            execution: waiting,
            dead: text(&event["executions"][0]["id"]),
            fingerprint: text(&groups["items"][0]["fingerprint"]),
            subscription: text(&subscription["id"]),
            bulk: text(&bulk["id"]),
            session: "01980000-0000-7000-8000-000000000000".to_owned(),
            run: text(&run["id"]),
        }
    }

    pub(super) fn path(&self, pattern: &str) -> String {
        let execution = if pattern.contains("dead-letters") { &self.dead } else { &self.execution };
        [
            ("{action}", "a"),
            ("{schedule}", "s"),
            ("{secret}", "TOKEN"),
            ("{handler}", "test.script"),
            ("{key}", "nobodys"),
            ("{account}", "nobodys"),
            ("{session}", &self.session),
            ("{slug}", "acme"),
            ("{version}", "1"),
            ("{before}", "1"),
            ("{after}", "1"),
            ("{event}", &self.event),
            ("{execution}", execution),
            ("{fingerprint}", &self.fingerprint),
            ("{subscription}", &self.subscription),
            ("{bulk}", &self.bulk),
            ("{workflow}", "w"),
            ("{run}", &self.run),
        ]
        .iter()
        .fold(pattern.to_owned(), |path, (name, value)| path.replace(name, value))
    }
}

/// The tokens of one role, in every state.
struct Tokens {
    role: Role,
    valid: String,
    /// Of another tenant. The platform's administrators have none.
    foreign: Option<String>,
    expired: String,
    revoked: String,
}

async fn tokens(app: &TestApp, tenant: &str, role: Role) -> Tokens {
    let word = role.word();
    let valid = given_key(app, tenant, json!({ "name": word, "role": word })).await;
    let expired = format!("{word}.expired");
    let body = json!({ "name": expired, "role": word, "expires_in_seconds": 1 });
    let expired = given_key(app, tenant, body).await;
    let name = format!("{word}.revoked");
    let revoked = given_key(app, tenant, json!({ "name": name, "role": word })).await;
    let path = format!("/v1/tenants/{tenant}/keys/{name}");
    assert_eq!(app.send(Method::DELETE, &path, &[], "").await.status, 204);
    let foreign = if role == Role::PlatformAdmin {
        None
    } else {
        let name = format!("{word}.{tenant}");
        Some(given_key(app, "other", json!({ "name": name, "role": word })).await)
    };
    Tokens { role, valid, foreign, expired, revoked }
}

/// Every operation that the API describes, as `METHOD /path`.
pub fn described() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&actions::openapi_json()).unwrap();
    let paths = document["paths"].as_object().unwrap().clone();
    let operations = paths.iter().flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    operations.collect()
}

pub fn split(route: &str) -> (Method, &str) {
    let (method, path) = route.split_once(' ').unwrap();
    (method.parse().unwrap(), path)
}

async fn ask(app: &TestApp, method: &Method, path: &str, body: &Value, token: &str) -> Answer {
    let bearer = with(token);
    let mut headers = vec![("authorization", bearer.as_str()), ("if-match", "*")];
    if method == Method::GET || method == Method::DELETE {
        return app.send(method.clone(), path, &headers, "").await;
    }
    if path.ends_with("/actions") || path.ends_with("/schedules") {
        headers.pop();
    }
    app.json(method.clone(), path, &headers, body.clone()).await
}

/// Compares what one route answers to all tokens with what it should.
async fn check(
    app: &TestApp,
    route: &str,
    path: &str,
    needs: &[Permission],
    roles: &[Tokens],
) -> Vec<String> {
    let (method, pattern) = split(route);
    let (body, mut wrong) = (body(pattern), Vec::new());
    let mut note = |who: &str, answer: &Answer, expected: &str| {
        wrong.push(format!("{route} for {who}: {} instead of {expected}", answer.text));
    };
    let request = Request::builder().method(method.clone()).uri(path).body(Body::empty()).unwrap();
    let answer = app.answer(request).await;
    if answer.problem() != "401 auth.missing" {
        note("nobody", &answer, "401 auth.missing");
    }
    for Tokens { role, valid, foreign, expired, revoked } in roles {
        for (what, token) in [("expired", expired), ("revoked", revoked)] {
            let answer = ask(app, &method, path, &body, token).await;
            if answer.problem() != "401 auth.invalid" {
                note(&format!("{what} {role}"), &answer, "401 auth.invalid");
            }
        }
        if let Some(foreign) = foreign {
            let answer = ask(app, &method, path, &body, foreign).await;
            let is_metrics = path == "/metrics";
            let expected = if is_metrics { "403 auth.role" } else { "404 not_found" };
            let is_tenant = is_metrics || answer.body()["detail"] == "no such tenant";
            if answer.problem() != expected || !is_tenant {
                note(&format!("foreign {role}"), &answer, expected);
            }
        }
        let answer = ask(app, &method, path, &body, valid).await;
        if needs.iter().all(|permission| role.allows(*permission)) {
            // Whatever the route has to say: it is no refusal, and no mistake of ours.
            let is_hidden = answer.body()["detail"] == "no such tenant";
            if matches!(answer.status.as_u16(), 401 | 403 | 405 | 415 | 500..) || is_hidden {
                note(role.word(), &answer, "being let in");
            }
        } else if answer.status != 403 || answer.problem() != "403 auth.role" {
            note(role.word(), &answer, "403 auth.role");
        }
    }
    wrong
}

/// Checks routes for all roles, each with a key of this tenant.
async fn expect(
    tenant: &str,
    roles: &[Role],
    routes: impl Iterator<Item = (String, &'static [Permission])>,
) {
    let app = TestApp::start().await;
    let other = json!({ "slug": "other" });
    app.json(Method::POST, "/v1/admin/tenants", &[], other).await;
    let things = Things::below(&app, &format!("/v1/tenants/{tenant}")).await;
    let mut all = Vec::new();
    for role in roles {
        all.push(tokens(&app, tenant, *role).await);
    }
    app.advance(std::time::Duration::from_secs(2)).await;
    let mut wrong = Vec::new();
    for (route, needs) in routes {
        let path = things.path(split(&route).1).replace("{tenant}", tenant);
        let is_internal = path.starts_with("/v1/internal");
        let path = if is_internal { format!("{path}?tenant={tenant}") } else { path };
        wrong.extend(check(&app, &route, &path, needs, &all).await);
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn below(base: &'static str) -> impl Iterator<Item = (String, &'static [Permission])> {
    OF_TENANT.iter().map(move |(route, needs)| {
        let (method, path) = split(route);
        (format!("{method} {base}{path}"), *needs)
    })
}

fn owned(
    rows: &'static [(&'static str, &'static [Permission])],
) -> impl Iterator<Item = (String, &'static [Permission])> {
    rows.iter().map(|(route, needs)| ((*route).to_owned(), *needs))
}

#[test]
fn every_route_is_in_the_table() {
    let open = OPEN.iter().map(|route| (*route).to_owned());
    let open = open.chain(OWN.map(str::to_owned)).chain([LOGIN.to_owned()]);
    let rows = owned(&OF_PLATFORM).chain(owned(&INTERNAL));
    let rows = rows.chain(below("/v1/tenants/{tenant}")).chain(below("/v1/admin"));
    let listed: BTreeSet<String> = open.chain(rows.map(|(route, _)| route)).collect();
    let described = described();
    let missing: Vec<_> = described.difference(&listed).collect();
    assert!(missing.is_empty(), "say in tests/it/api/roles.rs who may ask for {missing:#?}");
    let gone: Vec<_> = listed.difference(&described).collect();
    assert!(gone.is_empty(), "{gone:#?}");
}

#[tokio::test]
async fn in_its_tenant_a_key_may_what_its_role_may() {
    expect("acme", &ROLES[..6], below("/v1/tenants/{tenant}").chain(owned(&INTERNAL))).await;
}

#[tokio::test]
async fn in_the_platforms_tenant_a_key_may_what_its_role_may() {
    expect("admin", &ROLES, below("/v1/admin").chain(owned(&OF_PLATFORM))).await;
}

#[tokio::test]
async fn a_platform_administrator_is_let_in_everywhere() {
    let app = TestApp::start().await;
    let things = Things::below(&app, "/v1/tenants/acme").await;
    let token = given_key(&app, "admin", json!({ "name": "root", "role": "platform_admin" })).await;
    for (route, _) in below("/v1/tenants/acme") {
        let (method, pattern) = split(&route);
        let answer = ask(&app, &method, &things.path(pattern), &body(pattern), &token).await;
        let is_hidden = answer.body()["detail"] == "no such tenant";
        assert!(!matches!(answer.status.as_u16(), 401 | 403 | 500..) && !is_hidden, "{route}");
    }
}

#[tokio::test]
async fn whatever_the_role_a_session_is_its_owners() {
    let app = TestApp::start().await;
    for role in ROLES {
        given_account(&app, "admin", role.word(), role.word()).await;
        let token = given_session(&app, "admin", role.word(), PASSWORD).await;
        let bearer = with(&token);
        let own = app.send(Method::GET, OWN_SESSION, &[("authorization", &bearer)], "").await;
        assert_eq!(own.body()["account"], role.word(), "{}", own.text);
        let ended = app.send(Method::DELETE, OWN_SESSION, &[("authorization", &bearer)], "").await;
        assert_eq!(ended.status, 204, "{role}: {}", ended.text);
    }
    for route in OWN {
        let (method, path) = split(route);
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        assert_eq!(app.answer(request).await.problem(), "401 auth.missing", "{route}");
    }
}

#[tokio::test]
async fn open_routes_ask_nobody_who_they_are() {
    let app = TestApp::start().await;
    let document: Value = serde_json::from_str(&actions::openapi_json()).unwrap();
    for route in OPEN {
        let (method, pattern) = split(route);
        assert_eq!(document["paths"][pattern]["get"]["security"], json!([]), "{pattern}");
        let path = pattern.replace("{code}", "auth.role");
        let request = Request::builder().method(method).uri(&path);
        assert_eq!(app.answer(request.body(Body::empty()).unwrap()).await.status, 200, "{path}");
        let nobodys = with("act_whatever");
        let answer = app.send(Method::GET, &path, &[("authorization", &nobodys)], "").await;
        assert_eq!(answer.status, 200, "{path}");
    }
}
