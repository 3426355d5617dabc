//! Where one tenant's handlers may connect to: what is opened or closed for one is so for nobody else.

use std::sync::Arc;

use actions_app::handlers::Handlers;
use actions_domain::action::HandlerId;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::pull_queue::PullQueue;
use actions_domain::tenant::reach::Reach;
use actions_handlers::{Egress, EgressPolicy, Functions, builtin};
use actions_infra::memory::MemoryPullQueue;
use actions_infra::system::SystemClock;
use axum::routing::get;
use serde_json::{Value, json};

use super::{failed, job};
use crate::support::process::{Server, TOKEN};
use crate::support::receiver::Receiver;

fn reach(allow: &[&str], only: &[&str], deny: &[&str]) -> Reach {
    let texts = |raw: &[&str]| raw.iter().map(ToString::to_string).collect::<Vec<_>>();
    Reach::parse(&texts(allow), &texts(only), &texts(deny)).unwrap()
}

/// The handlers as the program puts them together.
fn handlers(allow: &[&str]) -> Handlers {
    crate::support::install_crypto();
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    let gate = Egress::new(EgressPolicy::allowing(allow)).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tasks: Arc<dyn PullQueue> = Arc::new(MemoryPullQueue::new(clock.clone()));
    let functions = Functions::new();
    let all = builtin(&gate, &functions, &tasks, &clock);
    let handlers = Handlers::new(all.list().cloned());
    handlers.remade_by(Box::new(move |reach| {
        let gate = gate.within(reach).map_err(|error| error.to_string())?;
        Ok(builtin(&gate, &functions, &tasks, &clock).list().cloned().collect())
    }))
}

fn id(raw: &str) -> HandlerId {
    HandlerId::parse(raw).unwrap()
}

/// A server on this machine that keeps connections open.
async fn peer() -> String {
    let routes = axum::Router::new().route("/", get(|| async { "here" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}/")
}

async fn call(handlers: &Handlers, reach: &Reach, url: &str) -> Result<(), (String, Value)> {
    let handler = handlers.find_within(&id("http.call"), reach).unwrap();
    let outcome = handler.execute(&job(json!({ "url": url }), json!({}))).await;
    if matches!(outcome, actions_domain::execution::Outcome::Done(_)) {
        return Ok(());
    }
    let (_, fault) = failed(outcome);
    let refusal = fault.details.map_or(Value::Null, |details| details["refusal"].clone());
    Err((fault.code, refusal))
}

fn refused(refusal: &str) -> Result<(), (String, Value)> {
    Err(("egress.forbidden".to_owned(), json!(refusal)))
}

#[tokio::test]
async fn what_is_opened_for_one_tenant_is_not_open_for_another() {
    let (handlers, url) = (handlers(&[]), peer().await);
    let open = reach(&["127.0.0.0/8"], &[], &[]);
    assert_eq!(call(&handlers, &open, &url).await, Ok(()));
    // There is an open connection by now, which is nobody else's.
    for other in [Reach::default(), reach(&["10.0.0.0/8"], &[], &[])] {
        assert_eq!(call(&handlers, &other, &url).await, refused("private"), "{other:?}");
    }
    assert_eq!(call(&handlers, &open, &url).await, Ok(()));
    // Nothing opens what hands out credentials.
    let all = reach(&["0.0.0.0/0", "::/0"], &["0.0.0.0/0"], &[]);
    for metadata in [
        "http://169.254.169.254/",
        "http://[::ffff:169.254.169.254]/",
        "http://metadata.google.internal/",
    ] {
        assert_eq!(call(&handlers, &all, metadata).await, refused("metadata"), "{metadata}");
    }
}

#[tokio::test]
async fn what_is_closed_for_one_tenant_is_open_for_the_others() {
    let (handlers, url) = (handlers(&["127.0.0.0/8"]), peer().await);
    let port = url.rsplit(':').next().unwrap().trim_end_matches('/').to_owned();
    assert_eq!(call(&handlers, &Reach::default(), &url).await, Ok(()));
    for closed in [
        reach(&[], &[], &["127.0.0.1"]),
        reach(&["127.0.0.0/8"], &["127.0.0.0/8"], &["127.0.0.0/24"]),
    ] {
        assert_eq!(call(&handlers, &closed, &url).await, refused("denied"), "{closed:?}");
        // In whatever form it is written.
        let mapped = format!("http://[::ffff:127.0.0.1]:{port}/");
        assert_eq!(call(&handlers, &closed, &mapped).await, refused("denied"), "{closed:?}");
    }
    let by_name = reach(&[], &[], &["localhost"]);
    let named = format!("http://localhost:{port}/");
    assert_eq!(call(&handlers, &by_name, &named).await, refused("denied"));
    assert_eq!(call(&handlers, &by_name, &url).await, Ok(()), "the name alone is denied");
    let listed = reach(&[], &["api.example.com", "127.0.0.0/8"], &[]);
    assert_eq!(call(&handlers, &listed, &url).await, Ok(()));
    let elsewhere = reach(&[], &["api.example.com"], &[]);
    assert_eq!(call(&handlers, &elsewhere, &url).await, refused("not_listed"));
    let unlisted = call(&handlers, &elsewhere, "https://example.org/").await;
    assert_eq!(unlisted, refused("not_listed"));
}

#[tokio::test]
async fn a_save_is_refused_as_the_call_would_be() {
    let handlers = handlers(&[]);
    let errors = |reach: &Reach, url: &str| {
        let handler = handlers.find_within(&id("http.call"), reach).unwrap();
        let report = handler.check_config(&json!({ "url": url }));
        report.errors.into_iter().map(|note| note.pointer).collect::<Vec<_>>()
    };
    let open = reach(&["10.0.0.0/8"], &[], &["*.example.org"]);
    assert_eq!(errors(&open, "http://10.1.2.3/"), [] as [&str; 0]);
    assert_eq!(errors(&Reach::default(), "http://10.1.2.3/"), ["/url"]);
    assert_eq!(errors(&open, "https://a.example.org/"), ["/url"]);
    assert_eq!(errors(&open, "https://example.org/"), [] as [&str; 0]);
    assert_eq!(errors(&open, "http://169.254.169.254/"), ["/url"]);
}

#[tokio::test]
async fn mail_passes_the_same_lists() {
    let handlers = handlers(&["127.0.0.0/8"]);
    let handler =
        handlers.find_within(&id("email.smtp"), &reach(&[], &[], &["127.0.0.1"])).unwrap();
    let config = json!({
        "smtp_host": "127.0.0.1", "smtp_port": 2525, "from_email": "a@example.com",
        "to": "b@example.com", "subject": "s", "body": "b", "use_tls": false,
    });
    let report = handler.check_config(&config);
    assert!(
        report.errors.iter().any(|note| note.message.contains("the tenant's settings deny it")),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_handler_that_somebody_installed_is_the_same_for_everybody() {
    let handlers = handlers(&[]);
    let own = crate::handlers::handlers();
    let theirs = super::find(&own, "http.call");
    handlers.register(theirs.clone());
    let found = handlers.find_within(&id("http.call"), &reach(&["10.0.0.0/8"], &[], &[])).unwrap();
    assert!(Arc::ptr_eq(&found, &theirs));
    let (first, second) = (
        handlers.find_within(&id("webhook.http"), &reach(&["10.0.0.0/8"], &[], &[])),
        handlers.find_within(&id("webhook.http"), &reach(&["10.0.0.0/8"], &[], &[])),
    );
    assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()), "they are made once");
}

#[tokio::test]
async fn a_tenants_lists_hold_from_the_next_call_on() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/actions.db", folder.path().display());
    let closed = ("ACTIONS_EGRESS_ALLOW", String::new());
    let server = Server::start_with(&database, vec![closed]).await;
    let receiver = Receiver::start().await;
    for slug in ["acme", "other"] {
        server.create("/v1/admin/tenants", &json!({ "slug": slug })).await;
    }
    let put = async |tenant: &str, body: Value| {
        let url = server.url(&format!("/v1/tenants/{tenant}/controls/egress"));
        let client = reqwest::Client::new();
        let answer = client.put(url).bearer_auth(TOKEN).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, controls) = put("acme", json!({ "allow": ["127.0.0.0/8"] })).await;
    assert_eq!((status, &controls["egress"]), (200, &json!({ "allow": ["127.0.0.0/8"] })));
    let (status, wrong) = put("acme", json!({ "only": ["a.example", "http://x"] })).await;
    assert_eq!((status, &wrong["errors"][0]["pointer"]), (422, &json!("/only/1")), "{wrong}");

    let action = json!({
        "name": "call", "action_type": "external_api", "handler": "http.call",
        "config": { "url": receiver.url(), "method": "POST" }, "retry_policy": "no_retry",
    });
    let refused = server.post("/v1/tenants/other/actions").json(&action).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 422, "{}", refused.text().await.unwrap());
    server.create("/v1/tenants/acme/actions", &action).await;
    let execute = async || {
        let path = "/v1/tenants/acme/actions/call:execute?wait=20s";
        let answer = server.post(path).json(&json!({ "input": {} })).send().await.unwrap();
        let id = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
        server.read(&format!("/v1/tenants/acme/executions/{id}")).await
    };
    let done = execute().await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(receiver.calls().len(), 1);

    assert_eq!(put("acme", json!({})).await.0, 200);
    let failed = execute().await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert_eq!(failed["error"]["code"], "egress.forbidden", "{failed}");
    assert_eq!(failed["error"]["details"]["refusal"], "private", "the history says why");
    assert_eq!(receiver.calls().len(), 1, "nothing was dialled");
    let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("actions_egress_refusals_total{reason=\"private\"} 1"), "{metrics}");
    let entries = server.read("/v1/tenants/acme/audit?act=egress.changed").await;
    assert_eq!(entries["items"].as_array().unwrap().len(), 2, "{entries}");
    assert_eq!(entries["items"][1]["after"], json!({ "allow": ["127.0.0.0/8"] }));
}
