//! Tenants over HTTP.

use axum::http::Method;
use serde_json::{Value, json};

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
