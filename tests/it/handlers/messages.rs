//! Chat messages, API calls, alerts and health checks.

use serde_json::{Value, json};

use super::peer::{Peer, status, text};
use super::{caused, done, failed, find, handlers, job, why};

#[tokio::test]
async fn slack_takes_a_message_through_a_webhook() {
    let peer = Peer::answering([text(200, "ok"), text(200, "ok")]).await;
    let handler = find(&handlers(), "slack.message");
    let config = json!({
        "webhook_url": peer.url("/services/T/B/x"),
        "text": "<https://acme.example|{{ data.name }}> in {{ tenant.slug }}",
    });
    done(handler.execute(&caused(config, "orders.paid", r#"{"name":"<!channel> & co"}"#)).await);
    let plain = json!({ "webhook_url": peer.url("/services/T/B/x") });
    done(handler.execute(&caused(plain, "orders.paid", "{}")).await);

    let received = peer.received();
    let expected = "<https://acme.example|&lt;!channel&gt; &amp; co> in acme";
    assert_eq!(received[0].json(), json!({ "text": expected }));
    assert_eq!(received[0].uri.path(), "/services/T/B/x");
    assert_eq!(received[1].json(), json!({ "text": "orders.paid in acme" }));
}

#[tokio::test]
async fn slack_takes_a_message_with_a_token_and_its_200_may_be_a_refusal() {
    let peer = Peer::answering([
        text(200, r#"{"ok":true,"channel":"C1","ts":"1700000000.000100"}"#),
        text(200, r#"{"ok":false,"error":"channel_not_found"}"#),
        text(200, r#"{"ok":false,"error":"internal_error"}"#),
        text(429, r#"{"ok":false,"error":"ratelimited"}"#).header("retry-after", "7"),
        text(200, "<html>a proxy's page</html>"),
        text(410, "channel_is_archived"),
    ])
    .await;
    let handler = find(&handlers(), "slack.message");
    let config = json!({ "token": "xoxb-1", "channel": "C1", "api_base": peer.url("/api") });
    assert_eq!(handler.check_config(&config).errors, []);
    let call = job(config, json!({ "text": "hello" }));

    let output = done(handler.execute(&call).await);
    assert_eq!(output, json!({ "channel": "C1", "message_id": "1700000000.000100" }));
    let received = peer.one();
    assert_eq!(received.uri.path(), "/api/chat.postMessage");
    assert_eq!(received.header("authorization"), "Bearer xoxb-1");
    assert_eq!(received.json(), json!({ "channel": "C1", "text": "hello" }));

    assert_eq!(why(handler.execute(&call).await), ("reject", "slack.refused".to_owned()));
    assert_eq!(why(handler.execute(&call).await), ("retry", "slack.refused".to_owned()));
    let (word, fault) = failed(handler.execute(&call).await);
    assert_eq!((word, fault.retry_after_ms), ("retry", Some(7000)));
    assert_eq!(why(handler.execute(&call).await), ("reject", "slack.refused".to_owned()));
    let (word, fault) = failed(handler.execute(&call).await);
    assert_eq!((word, fault.disables), ("reject", true));
}

#[tokio::test]
async fn teams_takes_a_card_and_its_200_may_be_a_refusal() {
    let refusal = "Webhook message delivery failed with error: \
        Microsoft Teams endpoint returned HTTP error 429 with ContextId ...";
    let peer = Peer::answering([status(202), text(200, refusal)]).await;
    let handler = find(&handlers(), "teams.message");
    let config = json!({
        "webhook_url": peer.url("/workflows/x"),
        "title": "{{ event.type }}", "text": "Node {{ data.node }} is down",
    });
    let call = caused(config, "system.error", r#"{"node":"n1"}"#);
    assert_eq!(done(handler.execute(&call).await), json!({ "status_code": 202 }));
    let card = peer.one().json();
    assert_eq!(card["type"], "message");
    let content = &card["attachments"][0];
    assert_eq!(content["contentType"], "application/vnd.microsoft.card.adaptive");
    let blocks = content["content"]["body"].as_array().unwrap().iter();
    let texts: Vec<&Value> = blocks.map(|block| &block["text"]).collect();
    assert_eq!(texts, ["system.error", "Node n1 is down"]);

    assert_eq!(why(handler.execute(&call).await), ("retry", "teams.refused".to_owned()));
}

#[tokio::test]
async fn an_api_is_called_as_configured_and_its_answer_kept() {
    let answer = text(200, r#"{"id":7}"#).header("content-type", "application/json");
    let peer = Peer::answering([answer, text(409, r#"{"error":"exists"}"#), status(503)]).await;
    let handler = find(&handlers(), "http.call");
    let config = json!({
        "url": peer.url("/admin/realms?a=1"), "method": "POST", "query": { "b": "x y&z" },
        "headers": { "X-Team": "core" }, "auth_type": "bearer", "auth_config": { "token": "t" },
    });
    assert_eq!(handler.check_config(&config).errors, []);
    let call = job(config, json!({ "realm": "acme" }));
    let output = done(handler.execute(&call).await);
    assert_eq!((&output["status_code"], &output["json"]), (&json!(200), &json!({ "id": 7 })));
    let received = peer.one();
    assert_eq!(received.uri.to_string(), "/admin/realms?a=1&b=x+y%26z");
    assert_eq!(received.json(), json!({ "realm": "acme" }));
    assert_eq!(received.header("idempotency-key"), call.execution.to_string());
    assert_eq!(received.header("authorization"), "Bearer t");

    assert_eq!(why(handler.execute(&call).await), ("reject", "http.status".to_owned()));
    assert_eq!(why(handler.execute(&call).await), ("retry", "http.status".to_owned()));
}

#[tokio::test]
async fn an_alert_reaches_its_webhook() {
    let peer = Peer::answering([]).await;
    let handler = find(&handlers(), "monitoring.alert");
    let config = json!({
        "target": "webhook", "webhook_url": peer.url("/alerts"), "severity": "critical",
        "metric": "load", "threshold": 0.9, "message": "load is {{ data.load }}",
    });
    let call = caused(config, "system.performance_degraded", r#"{"load":0.95}"#);
    let output = done(handler.execute(&call).await);
    assert_eq!((&output["alerted"], &output["status_code"]), (&json!(true), &json!(204)));
    let alert = peer.one().json();
    assert_eq!(alert["severity"], "critical");
    assert_eq!(alert["message"], "load is 0.95");
    assert_eq!(alert["event"], "system.performance_degraded");
    assert_eq!(alert["alert_id"], json!(call.execution));
}

#[tokio::test]
async fn a_health_check_tells_well_from_unwell() {
    let peer = Peer::answering([status(200), status(503), status(418)]).await;
    let handler = find(&handlers(), "health.check");
    let config = json!({ "url": peer.url("/healthz") });
    assert_eq!(handler.check_health(&config).await, Ok(()));
    let call = job(config, json!({}));
    assert_eq!(done(handler.execute(&call).await)["healthy"], true);
    assert_eq!(why(handler.execute(&call).await), ("retry", "health.unwell".to_owned()));
    let teapot = json!({ "url": peer.url("/healthz"), "expected_status": 418 });
    assert_eq!(done(handler.execute(&job(teapot, json!({}))).await)["status_code"], 418);

    let nobody = json!({ "url": "http://127.0.0.1:1/" });
    assert!(handler.check_health(&nobody).await.is_err());
    let closed = json!({ "url": "http://127.0.0.1:2048/" });
    assert_eq!(why(handler.execute(&job(closed, json!({}))).await).0, "retry");
}
