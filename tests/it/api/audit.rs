//! The audit over HTTP: what is in it, who may read it, and that nothing which changes something
//! passes it by.

use std::collections::BTreeSet;

use actions_domain::audit::{Entry, Head, Verifier};
use actions_infra::system::SystemDice;
use actions_infra::vault::LocalKeys;
use axum::http::Method;
use serde_json::{Value, json};

use super::api_keys::{given_key, with};
use super::roles::{Things, body, described, split, workflow};
use super::sessions::{PASSWORD, given_account, given_session};
use crate::support::app::{TOKEN, TestApp};

const AUDIT: &str = "/v1/tenants/acme/audit";

/// Routes that take something in and leave no entry, and why.
const WITHOUT_ENTRY: &[(&str, &str)] = &[
    (
        "POST /actions/{action}:execute",
        "a job is work, as an event is: there are thousands a second",
    ),
    ("POST /actions/{action}:test", "changes nothing"),
    ("POST /actions:validate", "changes nothing"),
    ("POST /definitions:diff", "changes nothing"),
    ("POST /definitions:validate", "changes nothing"),
    ("POST /events", "an event is work: there are thousands a second, and each is kept"),
    ("POST /events:explain", "changes nothing"),
    ("POST /handlers/{handler}:validate", "changes nothing"),
    ("POST /workflows/{workflow}/runs", "a run is work, and its journal is kept"),
    ("POST /workflows:validate", "changes nothing"),
    ("POST /v1/internal/events:execute", "an event is work"),
    ("POST /v1/internal/executions:bulk", "jobs are work"),
    ("POST /v1/internal/handlers:validate", "changes nothing"),
    ("POST /v1/internal/pull:claim", "a worker's part in an attempt, which the history keeps"),
    ("POST /v1/internal/pull:complete", "a worker's part in an attempt, which the history keeps"),
    ("POST /v1/internal/pull:extend", "a worker's part in an attempt, which the history keeps"),
    ("POST /v1/internal/pull:fail", "a worker's part in an attempt, which the history keeps"),
    ("POST /v1/internal/pull:progress", "a worker's part in an attempt, which the history keeps"),
];

async fn all(app: &TestApp, base: &str) -> Vec<Entry> {
    let answer = app.send(Method::GET, &format!("{base}/audit:export"), &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let entries: Vec<Entry> =
        answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let head = entries.last().map(Entry::head).unwrap_or_default();
    assert_eq!(answer.header("actions-audit-head"), head.to_string());
    entries
}

async fn newest(app: &TestApp) -> Value {
    let answer = app.send(Method::GET, &format!("{AUDIT}?limit=1"), &[], "").await;
    answer.body()["items"][0].clone()
}

async fn count(app: &TestApp) -> usize {
    let platform = all(app, "/v1/admin").await.len();
    // One of the routes deletes the tenant.
    if app.get("audit").await.status == 404 {
        return platform;
    }
    all(app, "/v1/tenants/acme").await.len() + platform
}

/// What has to be done before a route so that it changes something.
fn first(pattern: &str, things: &Things) -> Option<String> {
    let verb = match pattern {
        "POST /actions/{action}:enable" | "POST /actions/{action}:restore" => "actions/a:disable",
        "POST /accounts/{account}:enable" => "accounts/nobodys:disable",
        "POST /actions/{action}:resume" => "actions/a:pause",
        "POST /controls:resume" => "controls:pause",
        "POST /schedules/{schedule}:resume" => "schedules/s:pause",
        "POST /subscriptions/{subscription}:enable" => {
            return Some(format!("/v1/tenants/acme/subscriptions/{}:disable", things.subscription));
        }
        "POST /bulk/{bulk}:resume" => {
            return Some(format!("/v1/tenants/acme/bulk/{}:pause", things.bulk));
        }
        "POST /runs/{run}:resume" => return Some(things.path("/v1/tenants/acme/runs/{run}:pause")),
        "POST /runs/{run}:retry" => return Some(things.path("/v1/tenants/acme/runs/{run}:cancel")),
        "POST /v1/admin/tenants/{slug}:resume" | "DELETE /v1/admin/tenants/{slug}" => {
            return Some("/v1/admin/tenants/acme:suspend".to_owned());
        }
        _ => return None,
    };
    Some(format!("/v1/tenants/acme/{verb}"))
}

/// One of everything that has not ended yet.
async fn given_things(app: &TestApp) -> Things {
    let mut things = Things::below(app, "/v1/tenants/acme").await;
    given_key(app, "acme", json!({ "name": "nobodys", "role": "viewer" })).await;
    for name in ["nobodys", "own"] {
        given_account(app, "acme", name, "viewer").await;
    }
    given_session(app, "acme", "nobodys", PASSWORD).await;
    let sessions = app.get("sessions").await.body();
    things.session = sessions["items"][0]["id"].as_str().unwrap().to_owned();
    let put = app.put("secrets/TOKEN", &[], json!({ "value": "first-of-all" })).await;
    assert!(put.status.is_success(), "{}", put.text);
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let job = app.post("actions/a:execute", json!({ "delay": "30d" })).await.body();
        waiting.push(job["id"].as_str().unwrap().to_owned());
    }
    things.execution = waiting.pop().unwrap();
    let bulk = json!({ "op": "cancel", "ids": waiting, "rate": 1 });
    let bulk = app.post("bulk", bulk).await;
    assert_eq!(bulk.status, 202, "{}", bulk.text);
    things.bulk = bulk.body()["id"].as_str().unwrap().to_owned();
    things
}

/// What is sent: something that changes what is there.
fn sent(pattern: &str, things: &Things) -> Value {
    let action = json!({
        "name": "a", "action_type": "custom", "handler": "test.script", "description": pattern,
    });
    match pattern {
        "POST /actions" => {
            json!({ "name": "new", "action_type": "custom", "handler": "test.script" })
        }
        "PUT /actions/{action}" => action,
        "POST /v1/sessions" => json!({ "tenant": "acme", "name": "own", "password": PASSWORD }),
        "POST /v1/sessions/current:set-password" => {
            json!({ "password": PASSWORD, "new_password": "another one now" })
        }
        "POST /definitions:apply" => json!({ "actions": [action] }),
        "PUT /controls/limits" | "PUT /v1/admin/tenant-limits" => json!({ "weight": 3 }),
        "PUT /controls/retention" => json!({ "keep_days": 3 }),
        "PUT /controls/egress" => json!({ "deny": ["example.com"] }),
        "POST /bulk" => json!({ "op": "cancel", "ids": [things.execution] }),
        "POST /dead-letters:discard" => json!({ "ids": [things.dead], "reason": "none" }),
        "POST /dead-letters:requeue" => json!({ "ids": [things.dead] }),
        "POST /schedules" => json!({ "name": "new", "action": "a", "every_seconds": 60 }),
        "PUT /schedules/{schedule}" => json!({ "name": "s", "action": "a", "every_seconds": 60 }),
        "PUT /workflows/{workflow}" => {
            let mut changed = workflow("w");
            changed["graph"]["description"] = json!(pattern);
            changed
        }
        "PUT /subscriptions/{subscription}" => json!({ "action": "a", "event_pattern": "a.c" }),
        _ => body(pattern),
    }
}

#[tokio::test]
async fn whatever_changes_something_leaves_an_entry() {
    let keys = format!("test:{}", LocalKeys::generate(&SystemDice).as_str());
    let mut silent = BTreeSet::new();
    let mut unlisted = BTreeSet::new();
    for route in described() {
        let (method, path) = split(&route);
        let base = ["/v1/tenants/{tenant}", "/v1/admin"].into_iter().find_map(|base| {
            let rest = path.strip_prefix(base)?;
            Some((base, rest))
        });
        // The same functions serve the tenant `admin`.
        let is_served_twice = base.is_some_and(|(base, rest)| {
            let twin = format!("{method} /v1/tenants/{{tenant}}{rest}");
            base == "/v1/admin" && described().contains(&twin)
        });
        if method == Method::GET || is_served_twice {
            continue;
        }
        let pattern = match base {
            Some(("/v1/tenants/{tenant}", rest)) => format!("{method} {rest}"),
            _ => route.clone(),
        };
        let app = TestApp::with_keys(&keys).await;
        let things = given_things(&app).await;
        if let Some(path) = first(&pattern, &things) {
            let done = app.json(Method::POST, &path, &[], json!({})).await;
            assert!(done.status.is_success(), "{path}: {}", done.text);
        }
        // What is about the caller's own session needs one.
        let is_own = path.starts_with("/v1/sessions/current");
        let token = match is_own {
            true => given_session(&app, "acme", "own", PASSWORD).await,
            false => TOKEN.to_owned(),
        };
        let bearer = with(&token);
        let before = count(&app).await;
        let path = things.path(path).replace("{tenant}", "acme");
        let path =
            if path.starts_with("/v1/internal") { format!("{path}?tenant=acme") } else { path };
        let path = if pattern == "DELETE /v1/admin/tenants/{slug}" {
            format!("{path}?confirm=acme")
        } else {
            path
        };
        let answer = if method == Method::DELETE {
            let headers = [("if-match", "*"), ("authorization", bearer.as_str())];
            app.send(method.clone(), &path, &headers, "").await
        } else {
            let is_put = method == Method::PUT;
            let mut headers = vec![("authorization", bearer.as_str())];
            headers.extend(is_put.then_some(("if-match", "*")));
            app.json(method.clone(), &path, &headers, sent(&pattern, &things)).await
        };
        app.engine.settle().await;
        let is_silent = count(&app).await == before;
        let is_listed = WITHOUT_ENTRY.iter().any(|(listed, _)| *listed == pattern);
        if !is_listed {
            assert!(answer.status.is_success(), "{pattern} does nothing here: {}", answer.text);
        }
        match (is_silent, is_listed) {
            (true, false) => drop(silent.insert(pattern)),
            (false, true) => drop(unlisted.insert(pattern)),
            (true, true) | (false, false) => {}
        }
    }
    assert!(silent.is_empty(), "these change something and leave no entry: {silent:#?}");
    assert!(unlisted.is_empty(), "these leave an entry, so they are no exceptions: {unlisted:#?}");
    let described = described();
    for (route, _) in WITHOUT_ENTRY {
        let (method, path) = split(route);
        let whole = format!("{method} /v1/tenants/{{tenant}}{path}");
        assert!(described.contains(*route) || described.contains(&whole), "{route} is gone");
    }
}

#[tokio::test]
async fn an_entry_tells_who_did_what_and_why() {
    let app = TestApp::start().await;
    app.given_action("ship", "orders.placed", json!({})).await;
    let token = given_key(&app, "acme", json!({ "name": "ops", "role": "operator" })).await;
    let id = app.get("keys/ops").await.body()["id"].clone();
    let bearer = with(&token);
    let headers = [("authorization", bearer.as_str()), ("x-request-id", "from-me")];
    let path = "/v1/tenants/acme/actions/ship:pause";
    let paused = app.json(Method::POST, path, &headers, json!({ "reason": "a flood" })).await;
    assert_eq!(paused.status, 200, "{}", paused.text);
    let mut entry = newest(&app).await;
    let object = entry.as_object_mut().unwrap();
    let hash = object.remove("hash").unwrap();
    assert_eq!(hash.as_str().unwrap().len(), 64);
    assert_eq!(object.remove("previous").unwrap().as_str().unwrap().len(), 64);
    let request = object.remove("request_id").unwrap();
    assert_eq!(request, paused.header("x-request-id"));
    assert_eq!(
        entry,
        json!({
            "seq": 3,
            "at": "2026-01-01T00:00:00.000000Z",
            "stream": 2,
            "actor": "key:ops",
            "actor_kind": "api_key",
            "actor_id": id,
            "role": "operator",
            "ingress": "http",
            "act": "action.paused",
            "subject": "action:ship",
            "before": null,
            "after": { "at": "2026-01-01T00:00:00Z", "by": "key:ops", "reason": "a flood" },
            "reason": "a flood",
        })
    );
}

#[tokio::test]
async fn no_secret_gets_into_an_entry() {
    let app = TestApp::start().await;
    let body = json!({
        "name": "s",
        "action_type": "custom",
        "handler": "test.secretive",
        "config": { "url": "u", "secret": "hunter2-canary" },
    });
    let created = app.post("actions", body.clone()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let token = given_key(&app, "acme", json!({ "name": "k", "role": "viewer" })).await;
    app.post("keys/k:rotate", json!({})).await;
    let text = app.get("audit:export").await.text;
    assert!(text.contains("***"), "{text}");
    assert!(!text.contains("hunter2-canary") && !text.contains(&token[20..]), "{text}");
}

#[tokio::test]
async fn the_list_is_filtered_and_goes_on_page_by_page() {
    let app = TestApp::start().await;
    for name in ["a", "b", "c"] {
        app.given_action(name, "x.y", json!({})).await;
        app.post(&format!("actions/{name}:pause"), json!({})).await;
    }
    let subjects = async |query: &str| {
        let page = app.get(&format!("audit?{query}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let items = page.body()["items"].as_array().unwrap().clone();
        let list: Vec<_> =
            items.iter().map(|item| item["subject"].as_str().unwrap().to_owned()).collect();
        (list, page.body()["next_cursor"].as_str().map(str::to_owned))
    };
    let (paused, _) = subjects("act=action.paused").await;
    assert_eq!(paused, ["action:c", "action:b", "action:a"], "newest first");
    assert_eq!(subjects("act=action.*&subject=action:b").await.0, ["action:b", "action:b"]);
    assert_eq!(subjects("actor=key:*").await.0, [] as [&str; 0]);
    assert_eq!(subjects("until=2026-01-01T00:00:00Z").await.0, [] as [&str; 0]);
    assert_eq!(subjects("since=1h").await.0.len(), subjects("").await.0.len());
    let (page, next) = subjects("act=action.paused&limit=2").await;
    assert_eq!(page, ["action:c", "action:b"]);
    let rest = format!("act=action.paused&limit=2&cursor={}", next.unwrap());
    assert_eq!(subjects(&rest).await, (vec!["action:a".to_owned()], None));
    insta::assert_snapshot!(app.get("audit?color=red").await.problem(), @"400 filter.unknown_field");
}

#[tokio::test]
async fn an_export_goes_on_behind_its_last_line_and_can_be_checked() {
    let app = TestApp::start().await;
    app.given_action("a", "x.y", json!({})).await;
    app.post("actions/a:pause", json!({})).await;
    let entries = all(&app, "/v1/tenants/acme").await;
    let mut verifier = Verifier::new(Head::default(), vec![]);
    entries.iter().try_for_each(|entry| verifier.check(entry)).unwrap();
    let head = verifier.finish().unwrap();
    let rest = app.get(&format!("audit:export?after={}", head.seq - 1)).await;
    assert_eq!(rest.text.lines().count(), 1);
    let rest = app.get(&format!("audit:export?after={}", head.seq)).await;
    assert_eq!((rest.status.as_u16(), rest.text.as_str()), (200, ""));
    let checked = app.get("audit:verify").await.body();
    assert_eq!(
        checked,
        json!({ "ok": true, "checked": head.seq, "head": head.to_string(), "more": false, "broken": null })
    );
    // A head that was noted when more was there.
    let later = Head { seq: head.seq + 2, hash: head.hash };
    let cut = app.get(&format!("audit:verify?noted={later}")).await.body();
    assert_eq!((&cut["ok"], &cut["broken"]["kind"]), (&json!(false), &json!("cut")));
    assert_eq!(cut["broken"]["position"], json!(head.seq + 1));
    for wrong in ["export?after=-1", "export?after=x", "verify?after=7", "verify?noted=1:zz"] {
        let refused = app.get(&format!("audit:{wrong}")).await;
        assert_eq!(refused.problem(), "400 parameter.invalid", "{wrong}: {}", refused.text);
    }
}

#[tokio::test]
async fn what_is_done_to_tenants_is_in_the_platforms_stream() {
    let app = TestApp::start().await;
    let made = json!({ "slug": "fresh", "name": "Fresh" });
    let made = app.json(Method::POST, "/v1/admin/tenants", &[], made).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let platform = all(&app, "/v1/admin").await;
    let entry = platform.last().unwrap();
    assert_eq!((entry.act.as_str(), entry.subject.as_str()), ("tenant.created", "tenant:fresh"));
    assert_eq!(all(&app, "/v1/tenants/fresh").await, []);
}
