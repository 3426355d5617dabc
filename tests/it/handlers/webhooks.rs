//! Deliveries: what receivers get, what their answers mean, and who can verify them.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::id::ExecutionId;
use actions_domain::json::Json;
use actions_domain::ports::handler::{Call, Handler};
use actions_handlers::egress::{Egress, EgressPolicy};
use actions_handlers::webhook::retry::RetryWebhook;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::peer::{Peer, Program, Received, status, text};
use super::{caused, done, event, failed, find, gate, handlers, handlers_with, job, why};
use crate::support::clock::HeldClock;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
const OLD_SECRET: &str = "whsec_b2xkLXNlY3JldC1vZi0zMi1ieXRlcy1hbmQtbW9yZSE=";

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Verifiers that other people wrote.
struct Verifiers {
    python: Program,
    javascript: Program,
}

impl Verifiers {
    fn start() -> Self {
        Self {
            python: Program::python("verify_webhook.py", &[]),
            javascript: Program::javascript("verify_webhook.mjs"),
        }
    }

    /// What Rust, Python and JavaScript say of a delivery.
    async fn verdicts(&mut self, secret: &str, delivery: &Received) -> [bool; 3] {
        let rust = standardwebhooks::Webhook::new(secret).unwrap();
        let rust = rust.verify(&delivery.body, &delivery.headers).is_ok();
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"]
            .map(|name| (name.to_owned(), Value::from(delivery.header(name))));
        let question = json!({
            "secret": secret,
            "headers": serde_json::Map::from_iter(headers),
            "body": STANDARD.encode(&delivery.body),
        });
        let python = self.python.ask(&question).await;
        let javascript = self.javascript.ask(&question).await;
        for verdict in [&python, &javascript] {
            assert!(verdict == "ok" || verdict.starts_with("refused: "), "{verdict}");
        }
        [rust, python == "ok", javascript == "ok"]
    }
}

#[tokio::test]
async fn deliveries_verify_in_three_languages_and_changed_ones_do_not() {
    let peer = Peer::answering([]).await;
    let handler = find(&handlers(), "webhook.signed");
    let config = json!({
        "webhook_url": peer.url("/hook"), "webhook_secret": SECRET, "previous_secret": OLD_SECRET,
    });
    let bodies = [
        r#"{"email":"user@example.com"}"#,
        r#"{"name":"Zoë 🦀 \u2028","note":"a\\b\"c\n"}"#,
        r#"{"big":12345678901234567890123,"precise":0.1000000000000000055511151231257827}"#,
        r#"{}"#,
        "[1,2,3]",
    ];
    for body in bodies {
        let call = caused(config.clone(), "users.created", body);
        assert_eq!(done(handler.execute(&call).await)["status_code"], 204);
    }
    done(handler.execute(&job(config, json!("a job's own input"))).await);

    let mut verifiers = Verifiers::start();
    for delivery in peer.received() {
        for secret in [SECRET, OLD_SECRET] {
            let verdicts = verifiers.verdicts(secret, &delivery).await;
            assert_eq!(verdicts, [true; 3], "{delivery:?}");
        }
        let founding = delivery.header("x-webhook-signature");
        let expected = hex(&hmac(SECRET.as_bytes(), &delivery.body));
        assert_eq!(founding, format!("sha256={expected}"));

        let tampered = Received { body: [&delivery.body[..], b" "].concat().into(), ..delivery };
        assert_eq!(verifiers.verdicts(SECRET, &tampered).await, [false; 3]);
    }
}

#[tokio::test]
async fn a_delivery_says_when_its_event_happened_and_what_it_repeats() {
    let peer = Peer::answering([]).await;
    let handler = find(&handlers(), "webhook.http");
    let config = json!({ "webhook_url": peer.url("/") });
    let call = caused(config.clone(), "orders.paid", "{}");
    let mut event = event("orders.paid", Json::parse("{}").unwrap(), call.queued_at);
    event.attributes.time = Some("2020-02-29T12:00:00Z".parse().unwrap());
    let parent = ExecutionId::mint(call.queued_at, [9; 10]);
    let call = Call { event: Some(Arc::new(event)), parent: Some(parent), ..call };
    done(handler.execute(&call).await);
    let asked_for = job(config, json!({}));
    done(handler.execute(&asked_for).await);

    let bodies: Vec<Value> =
        peer.received().iter().map(|one| serde_json::from_str(one.text()).unwrap()).collect();
    assert_eq!(bodies[0]["timestamp"], "2020-02-29T12:00:00.000000Z");
    assert_eq!(bodies[0]["parent_id"], parent.to_string());
    let asked_at = asked_for.queued_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    assert_eq!(bodies[1]["timestamp"], asked_at.as_str());
    assert_eq!(bodies[1]["event_id"], Value::Null);
    assert_eq!(bodies[1].get("parent_id"), None);
}

#[tokio::test]
async fn a_delivery_has_the_founding_body_with_every_digit_of_the_data() {
    let peer = Peer::answering([]).await;
    let handler = find(&handlers(), "webhook.signed");
    let config = json!({
        "webhook_url": peer.url("/hook?x=1"), "webhook_secret": SECRET, "signature": "founding",
        "signature_header": "X-Acme-Signature", "method": "PUT", "headers": { "X-Team": "sales" },
    });
    let call =
        caused(config, "orders.paid", r#"{"total": 12345678901234567890.10, "b": 1, "a": 2}"#);
    let call = Call { attempt: 3, ..call };
    done(handler.execute(&call).await);

    let received = peer.one();
    let event = call.event.as_ref().unwrap();
    let timestamp = event.accepted_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let expected = format!(
        r#"{{"event":"orders.paid","data":{{"total": 12345678901234567890.10, "b": 1, "a": 2}},"timestamp":"{timestamp}","tenant_id":"{}","event_id":"{}","execution_id":"{}"}}"#,
        call.tenant.uuid, event.id, call.execution,
    );
    assert_eq!(received.text(), expected);
    assert_eq!((received.method.as_str(), received.uri.to_string().as_str()), ("PUT", "/hook?x=1"));
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(received.header("webhook-id"), call.execution.to_string());
    assert_eq!(received.header("webhook-timestamp"), call.started_at.timestamp().to_string());
    assert_eq!(received.header("actions-attempt"), "3");
    assert_eq!(received.header("x-team"), "sales");
    assert!(received.header("user-agent").starts_with("Actions/"));
    assert!(received.header("x-acme-signature").starts_with("sha256="));
    assert_eq!(received.header("webhook-signature"), "");
}

#[tokio::test]
async fn a_delivery_belongs_to_the_trace_of_its_event() {
    let peer = Peer::answering([]).await;
    let handler = find(&handlers(), "webhook.signed");
    let config = json!({ "webhook_url": peer.url("/hook"), "webhook_secret": SECRET });
    let call = caused(config, "orders.paid", "{}");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut event = (**call.event.as_ref().unwrap()).clone();
    event.attributes.traceparent = Some(format!("00-{trace}-00f067aa0ba902b7-01"));
    event.attributes.tracestate = Some("vendor=1\n".to_owned());
    let call = Call { event: Some(Arc::new(event)), ..call };
    done(handler.execute(&call).await);

    let received = peer.one();
    let parent = received.header("traceparent");
    assert!(parent.starts_with(&format!("00-{trace}-")) && parent.ends_with("-01"), "{parent}");
    assert!(!parent.contains("00f067aa0ba902b7"), "a call has a span of its own");
    assert_eq!(received.header("tracestate"), "", "what is no header is left out");
}

#[tokio::test]
async fn answers_mean_success_another_try_or_the_end() {
    let cases = [
        (200, "done"),
        (201, "done"),
        (204, "done"),
        (301, "reject"),
        (302, "reject"),
        (307, "reject"),
        (400, "reject"),
        (401, "reject"),
        (404, "reject"),
        (408, "retry"),
        (410, "reject"),
        (422, "reject"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
    ];
    let elsewhere = Peer::answering([]).await;
    let answers =
        cases.map(|(code, _)| status(code).header("location", elsewhere.url("/followed")));
    let peer = Peer::answering(answers).await;
    let registry = handlers();
    for (code, expected) in cases {
        let handler = find(&registry, "webhook.http");
        let outcome =
            handler.execute(&job(json!({ "webhook_url": peer.url("/") }), json!({}))).await;
        if expected == "done" {
            assert_eq!(done(outcome)["status_code"], code);
            continue;
        }
        let (word, fault) = failed(outcome);
        assert_eq!((word, fault.code.as_str()), (expected, "http.status"), "{code}");
        assert_eq!(fault.disables, code == 410, "{code}");
        assert_eq!(fault.details.unwrap()["status_code"], code);
    }
    assert!(elsewhere.received().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn an_answer_is_recorded_and_its_wish_to_wait_is_kept() {
    let busy = text(503, "try later").header("retry-after", "120").header("x-trace", "t1");
    let peer = Peer::answering([busy, text(200, &"x".repeat(100_000))]).await;
    let handler = find(&handlers(), "webhook.http");
    let call = job(json!({ "webhook_url": peer.url("/") }), json!({}));

    let (word, fault) = failed(handler.execute(&call).await);
    assert_eq!((word, fault.retry_after()), ("retry", Some(Duration::from_secs(120))));
    let details = fault.details.unwrap();
    assert_eq!(details["response_headers"]["x-trace"], "t1");
    assert_eq!(details["response_body"], "try later");

    let output = done(handler.execute(&call).await);
    assert!(output.to_string().len() < 20_000, "the answer is capped");
}

#[tokio::test]
async fn a_forbidden_address_is_never_dialled() {
    let peer = Peer::answering([]).await;
    crate::support::install_crypto();
    let registry = handlers_with(&Egress::new(EgressPolicy::default()).unwrap());
    let port = peer.url("").rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let url = format!("http://{host}:{port}/");
        let secret = { json!({ "webhook_url": url, "webhook_secret": SECRET }) };
        let plain = json!({ "webhook_url": url });
        for (id, config) in [
            ("webhook.http", plain.clone()),
            ("webhook.signed", secret),
            ("webhook.retry", plain),
            ("http.call", json!({ "url": url })),
            ("health.check", json!({ "url": url })),
            ("slack.message", json!({ "webhook_url": url, "text": "hi" })),
            ("teams.message", json!({ "webhook_url": url, "text": "hi" })),
            ("monitoring.alert", json!({ "target": "webhook", "webhook_url": url })),
        ] {
            let handler = find(&registry, id);
            assert!(!handler.check_config(&config).errors.is_empty(), "{id} {url}");
            assert!(handler.check_health(&config).await.is_err() || id == "monitoring.alert");
            let outcome = handler.execute(&job(config, json!({}))).await;
            assert_eq!(why(outcome), ("reject", "egress.forbidden".to_owned()), "{id} {url}");
        }
    }
    assert!(peer.received().is_empty());
}

#[tokio::test]
async fn a_receiver_is_shown_who_calls() {
    let peer = Peer::answering([]).await;
    let handler = find(&handlers(), "webhook.retry");
    let send = async |kind: &str, auth: Value| {
        let config = json!({
            "webhook_url": peer.url("/"), "auth_type": kind, "auth_config": auth,
        });
        assert_eq!(handler.check_config(&config).errors, [], "{kind}");
        let call = job(config, json!({ "n": 1 }));
        done(handler.execute(&call).await);
        (call, peer.received().pop().unwrap())
    };

    let (_, basic) = send("basic", json!({ "username": "ann", "password": "p:w" })).await;
    let expected = format!("Basic {}", STANDARD.encode("ann:p:w"));
    assert_eq!(basic.header("authorization"), expected);
    let (_, bearer) = send("bearer", json!({ "token": "t0k" })).await;
    assert_eq!(bearer.header("authorization"), "Bearer t0k");
    let (_, key) = send("api_key", json!({ "header": "X-Acme-Key", "key": "k3y" })).await;
    assert_eq!(key.header("x-acme-key"), "k3y");
    let (_, signed) = send("hmac", json!({ "secret": "s3cret" })).await;
    let expected = format!("sha256={}", hex(&hmac(b"s3cret", &signed.body)));
    assert_eq!(signed.header("x-signature"), expected);

    let jwt = json!({ "secret": "s3cret", "issuer": "acme", "audience": "erp", "ttl_seconds": 60 });
    let (call, received) = send("jwt", jwt).await;
    let token = received.header("authorization").strip_prefix("Bearer ").unwrap();
    let (content, signature) = token.rsplit_once('.').unwrap();
    let expected = URL_SAFE_NO_PAD.encode(hmac(b"s3cret", content.as_bytes()));
    assert_eq!(signature, expected);
    let claims = URL_SAFE_NO_PAD.decode(content.split_once('.').unwrap().1).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let now = call.started_at.timestamp();
    assert_eq!(claims, json!({ "iss": "acme", "aud": "erp", "iat": now, "exp": now + 60 }));
}

#[tokio::test]
async fn a_receiver_that_keeps_failing_is_left_alone_and_tried_once() {
    let peer = Peer::answering([status(500), status(500), status(500)]).await;
    let clock = HeldClock::at("2026-11-21T08:00:00Z");
    let handler = RetryWebhook::new(gate(), clock.clone());
    let config = json!({
        "webhook_url": peer.url("/"),
        "circuit_breaker": { "failure_threshold": 2, "recovery_seconds": 60 },
        "retry": { "max_retries": 9, "base_delay_ms": 100, "max_delay_ms": 1000 },
    });
    let attempt = async || handler.execute(&job(config.clone(), json!({}))).await;
    let wait = |seconds| {
        use actions_domain::ports::clock::Clock;
        let until = clock.now() + chrono::TimeDelta::seconds(seconds);
        clock.move_to_next(until);
    };

    assert_eq!(why(attempt().await).1, "http.status");
    assert_eq!(why(attempt().await).1, "http.status");
    let (word, fault) = failed(attempt().await);
    assert_eq!((word, fault.code.as_str()), ("retry", "webhook.circuit_open"));
    assert_eq!(fault.retry_after(), Some(Duration::from_secs(60)));
    assert_eq!(peer.received().len(), 2, "an open circuit calls nobody");

    wait(60);
    assert_eq!(why(attempt().await).1, "http.status");
    assert_eq!(why(attempt().await).1, "webhook.circuit_open");
    wait(60);
    assert_eq!(done(attempt().await)["status_code"], 204);
    assert_eq!(done(attempt().await)["status_code"], 204);
    assert_eq!(peer.received().len(), 5);
}

#[tokio::test]
async fn a_pace_makes_retries_fewer_and_slower() {
    let peer = Peer::answering([(); 4].map(|()| status(503))).await;
    let handler = find(&handlers(), "webhook.retry");
    let config = json!({
        "webhook_url": peer.url("/"),
        "retry": { "max_retries": 3, "base_delay_ms": 1000, "max_delay_ms": 3000 },
    });
    let mut seen = Vec::new();
    for attempt in 1..=4 {
        let call = Call { attempt, ..job(config.clone(), json!({})) };
        let (word, fault) = failed(handler.execute(&call).await);
        seen.push((word, fault.retry_after_ms));
    }
    let expected =
        [("retry", Some(1000)), ("retry", Some(2000)), ("retry", Some(3000)), ("reject", None)];
    assert_eq!(seen, expected);
}
