//! Tenants over HTTP.

use axum::http::Method;
use serde_json::{Value, json};

use super::api_keys::{given_key, with};
use crate::support::app::TestApp;

const TENANTS: &str = "/v1/admin/tenants";

#[tokio::test]
async fn a_tenant_can_be_used_at_once() {
    let app = TestApp::start().await;
    let body = json!({ "slug": "globex", "name": "Globex" });
    let created = app.json(Method::POST, TENANTS, &[], body.clone()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.body()["schema"], "tenant_globex");
    let event = json!({ "type": "a.b" });
    let sent = app.json(Method::POST, "/v1/tenants/globex/events", &[], event).await;
    assert_eq!(sent.status, 202);
    let listed = app.send(Method::GET, TENANTS, &[], "").await.body();
    let slugs: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|one| &one["slug"]).collect();
    assert_eq!(slugs, ["admin", "acme", "globex"]);
    let path = format!("{TENANTS}/{}", created.body()["id"].as_str().unwrap());
    assert_eq!(app.send(Method::GET, &path, &[], "").await.body()["slug"], "globex");
    let again = app.json(Method::POST, TENANTS, &[], body).await;
    insta::assert_snapshot!(again.problem(), @"409 exists");
    let missing = app.send(Method::GET, &format!("{TENANTS}/nobody"), &[], "").await;
    insta::assert_snapshot!(missing.problem(), @"404 not_found");
}

#[tokio::test]
async fn tenants_are_listed_page_by_page() {
    let app = TestApp::start().await;
    for slug in ["b", "a", "c"] {
        app.json(Method::POST, TENANTS, &[], json!({ "slug": slug })).await;
    }
    let mut seen = Vec::new();
    let mut path = format!("{TENANTS}?limit=2");
    loop {
        let page = app.send(Method::GET, &path, &[], "").await.body();
        seen.extend(page["items"].as_array().unwrap().iter().map(|one| one["slug"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{TENANTS}?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["admin", "acme", "b", "a", "c"]);
    let path = format!("{TENANTS}?where=slug:a");
    let filtered = app.send(Method::GET, &path, &[], "").await;
    insta::assert_snapshot!(filtered.problem(), @"400 filter.unknown_field");
}

#[tokio::test]
async fn slugs_and_names_have_rules() {
    let app = TestApp::start().await;
    let create = async |body: Value| app.json(Method::POST, TENANTS, &[], body).await.problem();
    for slug in ["", "Acme", "1a", "a-b", "template", "pg_x", "a\"; drop schema x"] {
        assert_eq!(create(json!({ "slug": slug })).await, "422 tenant.invalid /slug", "{slug}");
    }
    insta::assert_snapshot!(create(json!({ "slug": "a", "name": "" })).await, @"422 tenant.invalid /name");
    insta::assert_snapshot!(create(json!({ "slug": "a", "colour": 1 })).await, @"400 body.unknown_field /colour");
    insta::assert_snapshot!(create(json!({})).await, @"400 body.invalid");
}

async fn suspend(app: &TestApp, verb: &str) -> Value {
    let body = json!({ "reason": "unpaid" });
    let path = format!("{TENANTS}/acme:{verb}");
    let answer = app.json(Method::POST, &path, &[], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body()
}

#[tokio::test]
async fn a_suspended_tenant_accepts_nothing_and_starts_nothing() {
    let app = TestApp::start().await;
    app.given_action("a", "a.b", json!({})).await;
    let keys = ["developer", "operator"];
    let mut tokens = Vec::new();
    for role in keys {
        tokens.push(given_key(&app, "acme", json!({ "name": role, "role": role })).await);
    }
    let waiting = app.post("actions/a:execute", json!({ "delay": "1m" })).await.body();
    let suspended = suspend(&app, "suspend").await;
    assert_eq!(suspended["suspension"]["by"], "token:bootstrap");
    assert_eq!(suspended["suspension"]["reason"], "unpaid");

    // The platform's administrator is told the same of work.
    let sent = app.post("events", json!({ "type": "a.b" })).await;
    insta::assert_snapshot!(sent.problem(), @"403 tenant.suspended");
    let job = app.post("actions/a:execute", json!({})).await;
    insta::assert_snapshot!(job.problem(), @"409 action.blocked");
    // Its own people may look, and change nothing.
    for token in &tokens {
        let bearer = with(token);
        let headers = [("authorization", bearer.as_str())];
        let path = "/v1/tenants/acme/executions";
        assert_eq!(app.send(Method::GET, path, &headers, "").await.status, 200);
        let path = "/v1/tenants/acme/actions/a:disable";
        let refused = app.json(Method::POST, path, &headers, json!({})).await;
        assert_eq!(refused.problem(), "403 tenant.suspended", "{}", refused.text);
        assert!(refused.text.contains("unpaid"), "{}", refused.text);
    }
    let seen = app.get("controls").await.body();
    assert_eq!(seen["suspension"]["reason"], "unpaid", "{seen}");

    app.advance(std::time::Duration::from_secs(120)).await;
    let path = format!("executions/{}", waiting["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.body()["attempt_count"], 0, "it waits");
    assert_eq!(app.engine.script.calls().len(), 0);

    assert_eq!(suspend(&app, "resume").await["suspension"], Value::Null);
    app.advance(std::time::Duration::from_secs(2)).await;
    assert_eq!(app.get(&path).await.body()["status"], "completed", "it goes on where it was");
    assert_eq!(app.post("events", json!({ "type": "a.b" })).await.status, 202);
}

#[tokio::test]
async fn a_suspension_is_in_the_platforms_audit_and_done_once() {
    let app = TestApp::start().await;
    for verb in ["suspend", "suspend", "resume", "resume"] {
        suspend(&app, verb).await;
    }
    let entries =
        app.send(Method::GET, "/v1/admin/audit?subject=tenant:acme", &[], "").await.body();
    let acts: Vec<_> = entries["items"].as_array().unwrap().iter().map(|one| &one["act"]).collect();
    assert_eq!(acts, ["tenant.reinstated", "tenant.suspended"], "newest first");
    assert_eq!(entries["items"][1]["reason"], "unpaid");
    let admin = app.json(Method::POST, &format!("{TENANTS}/admin:suspend"), &[], json!({})).await;
    insta::assert_snapshot!(admin.problem(), @"422 tenant.invalid");
    let missing = app.json(Method::POST, &format!("{TENANTS}/none:suspend"), &[], json!({})).await;
    insta::assert_snapshot!(missing.problem(), @"404 not_found");
}

async fn delete(app: &TestApp, query: &str) -> crate::support::app::Answer {
    app.send(Method::DELETE, &format!("{TENANTS}/acme{query}"), &[], "").await
}

#[tokio::test]
async fn a_suspended_tenant_is_deleted_with_proof() {
    let app = TestApp::start().await;
    app.given_action("a", "a.b", json!({})).await;
    app.emit("a.b", json!({ "mark": "canary" })).await;
    app.post("actions/a:execute", json!({ "delay": "1m" })).await;
    let token = given_key(&app, "acme", json!({ "name": "k", "role": "developer" })).await;
    let refused = delete(&app, "?confirm=acme").await;
    insta::assert_snapshot!(refused.problem(), @"409 tenant.not_suspended");
    suspend(&app, "suspend").await;
    for query in ["", "?confirm=other", "?confirm=ACME", "?confirm="] {
        let refused = delete(&app, query).await;
        assert_eq!(refused.problem(), "400 parameter.invalid", "{query}: {}", refused.text);
        assert!(refused.text.contains("repeat the slug acme"), "{}", refused.text);
    }
    let head = app.get("audit:verify").await.body()["head"].clone();

    let begun = delete(&app, "?confirm=acme&reason=left").await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    assert_eq!(begun.header("location"), "/v1/admin/tenants/acme/deletion");
    let bearer = with(&token);
    let headers = [("authorization", bearer.as_str())];
    let keys = app.send(Method::GET, "/v1/tenants/acme/actions", &headers, "").await;
    insta::assert_snapshot!(keys.problem(), @"401 auth.invalid");
    let events = app.post("events", json!({ "type": "a.b" })).await;
    insta::assert_snapshot!(events.problem(), @"404 not_found");
    app.advance(std::time::Duration::from_secs(10)).await;

    let shown = app.send(Method::GET, begun.header("location"), &[], "").await.body();
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("deleted"), &json!("left")), "{shown}");
    assert_eq!(shown["requested_by"], "token:bootstrap");
    assert_eq!(shown["audit_head"], head, "of the tenant's own stream");
    let certificate = &shown["certificate"];
    assert_eq!(certificate["intact"], true);
    assert!(certificate["left"].as_object().unwrap().values().all(|rows| *rows == 0), "{shown}");
    assert!(shown["removed"]["event"].as_u64() >= Some(1), "{shown}");
    let entries = "/v1/admin/audit?subject=tenant:acme";
    let entries = app.send(Method::GET, entries, &[], "").await.body();
    assert_eq!(entries["items"][0]["act"], "tenant.deleted");
    assert_eq!(entries["items"][0]["actor"], "engine");
    assert_eq!(entries["items"][0]["after"]["digest"], certificate["digest"]);
    assert_eq!(entries["items"][1]["act"], "tenant.deletion_begun");

    assert_eq!(app.engine.script.calls().len(), 1, "what waited never started");
    let again = delete(&app, "?confirm=acme").await;
    assert_eq!((again.status.as_u16(), &again.body()["state"]), (202, &json!("deleted")));
    let listed = app.send(Method::GET, TENANTS, &[], "").await;
    assert!(!listed.text.contains("acme"), "{}", listed.text);
    let taken = app.json(Method::POST, TENANTS, &[], json!({ "slug": "acme" })).await;
    insta::assert_snapshot!(taken.problem(), @"409 exists");
    assert!(taken.text.contains("was deleted"), "{}", taken.text);
}

#[tokio::test]
async fn what_is_no_deleted_tenant_is_told_so() {
    let app = TestApp::start().await;
    let admin = app.send(Method::DELETE, &format!("{TENANTS}/admin?confirm=admin"), &[], "").await;
    insta::assert_snapshot!(admin.problem(), @"422 tenant.invalid");
    for path in ["none?confirm=none", "a-b?confirm=a-b"] {
        let missing = app.send(Method::DELETE, &format!("{TENANTS}/{path}"), &[], "").await;
        assert_eq!(missing.problem(), "404 not_found", "{path}: {}", missing.text);
    }
    for slug in ["acme", "none", "a-b"] {
        let path = format!("{TENANTS}/{slug}/deletion");
        assert_eq!(app.send(Method::GET, &path, &[], "").await.problem(), "404 not_found");
    }
}
