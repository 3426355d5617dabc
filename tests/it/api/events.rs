//! Events over HTTP: every form, the answer, waiting, repetition, lists, explanations.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, in_tenant};
use crate::support::engine::Answer as Told;

#[tokio::test]
async fn an_event_runs_what_it_matches() {
    let app = TestApp::start().await;
    app.given_action("welcome", "users.created", json!({})).await;
    let accepted = app.emit("users.created", json!({ "email": "a@b.c" })).await;
    assert_eq!(accepted["duplicate"], false);
    assert_eq!(accepted["executions"][0]["action"], "welcome");

    let id = accepted["id"].as_str().unwrap();
    let event = app.get(&format!("events/{id}")).await.body();
    assert_eq!(event["type"], "users.created");
    assert_eq!(event["data"], json!({ "email": "a@b.c" }));
    assert_eq!(event["source"], "token:bootstrap");
    assert_eq!(event["executions"][0]["status"], "completed");
    assert_eq!(app.engine.script.calls()[0].input, json!({ "email": "a@b.c" }));
}

#[tokio::test]
async fn the_answer_says_where_things_are() {
    let app = TestApp::start().await;
    let answer = app.post("events", json!({ "type": "a.b" })).await;
    assert_eq!(answer.status, 202);
    let own = answer.body()["links"]["self"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), own);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.header("x-request-id").is_empty());
    assert_eq!(app.send(Method::GET, &own, &[], "").await.status, 200);
}

#[tokio::test]
async fn waiting_holds_the_answer_until_the_end() {
    let app = TestApp::start().await;
    app.given_action("welcome", "users.created", json!({ "retry_policy": "default" })).await;
    let fault = actions_domain::execution::Fault::handler("x.y", "not yet");
    app.engine.script.answer([Told::Retry(fault), Told::Done(json!({ "sent": true }))]);
    let answer = app.post("events?wait=30s", json!({ "type": "users.created" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let execution = &answer.body()["executions"][0];
    assert_eq!(execution["status"], "completed");
    assert_eq!(execution["attempt_count"], 2);
    assert_eq!(execution["output"], json!({ "sent": true }));
}

#[tokio::test]
async fn a_wait_that_is_too_short_ends_with_202() {
    let app = TestApp::start().await;
    app.given_action("slow", "users.created", json!({})).await;
    app.engine.script.answer([Told::Hang]);
    let answer = app.post("events?wait=1s", json!({ "type": "users.created" })).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body()["executions"][0]["status"], "running");
}

#[tokio::test]
async fn a_delay_is_kept() {
    let app = TestApp::start().await;
    app.given_action("later", "users.created", json!({})).await;
    let body = json!({ "type": "users.created", "delay": "10m" });
    let accepted = app.post("events", body).await.body();
    let path = format!("executions/{}", accepted["executions"][0]["id"].as_str().unwrap());
    app.advance(Duration::from_secs(540)).await;
    assert_eq!(app.get(&path).await.body()["status"], "pending");
    app.advance(Duration::from_secs(61)).await;
    assert_eq!(app.get(&path).await.body()["status"], "completed");
}

#[tokio::test]
async fn every_form_of_an_event_is_read() {
    let app = TestApp::start().await;
    app.given_action("all", "*", json!({})).await;
    let cloud = |id: &str| json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "a.b", "data": 1 });
    let send = async |headers: &[(&str, &str)], body: String| {
        app.send(Method::POST, &in_tenant("events"), headers, body).await
    };
    let structured = [("content-type", "application/cloudevents+json; charset=utf-8")];
    assert_eq!(send(&structured, cloud("1").to_string()).await.status, 202);
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let answer = send(&batch, json!([cloud("2"), cloud("3")]).to_string()).await;
    assert_eq!(answer.body()["items"].as_array().unwrap().len(), 2);
    let binary = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "4"),
        ("ce-source", "/s"),
        ("ce-type", "a.b"),
        ("ce-subject", "Gr%C3%BC%C3%9Fe"),
    ];
    assert_eq!(send(&binary, "hello".to_owned()).await.status, 202);
    let plain = [("content-type", "application/json")];
    assert_eq!(send(&plain, json!([{ "type": "a.b" }]).to_string()).await.status, 202);

    let items = app.get("events?type=a.b").await.body()["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 5);
    assert_eq!(items[1]["subject"], "Grüße");
    assert_eq!(items[1]["data"], "hello");
}

#[tokio::test]
async fn numbers_come_back_to_the_digit() {
    let app = TestApp::start().await;
    let body = r#"{"type":"a.b","data":{"n":12345678901234567890123,"m":1.10}}"#;
    let headers = [("content-type", "application/json")];
    let accepted = app.send(Method::POST, &in_tenant("events"), &headers, body).await.body();
    let event = app.get(&format!("events/{}", accepted["id"].as_str().unwrap())).await;
    assert!(event.text.contains(r#""data":{"n":12345678901234567890123,"m":1.10}"#));
    let listed = app.get("events?fields=id,data").await;
    assert!(listed.text.contains(r#""data":{"n":12345678901234567890123,"m":1.10}"#));
    assert!(!listed.text.contains("accepted_at"));
}

#[tokio::test]
async fn an_event_with_a_known_source_and_id_is_that_one() {
    let app = TestApp::start().await;
    app.given_action("welcome", "users.created", json!({})).await;
    let body = json!({ "type": "users.created", "source": "shop", "id": "1" });
    let first = app.post("events", body.clone()).await.body();
    app.engine.settle().await;
    let again = app.post("events", body).await.body();
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["id"], first["id"]);
    assert_eq!(again["executions"][0]["id"], first["executions"][0]["id"]);
    assert_eq!(app.engine.script.calls().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_means_one_request() {
    let app = TestApp::start().await;
    let send = async |key: &str, body: serde_json::Value| {
        let headers = [("idempotency-key", key)];
        app.json(Method::POST, &in_tenant("events"), &headers, body).await
    };
    let first = send("k1", json!({ "type": "a.b" })).await;
    let again = send("k1", json!({ "type": "a.b" })).await;
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.body()["id"], again.body()["id"]);
    insta::assert_snapshot!(send("k1", json!({ "type": "c.d" })).await.problem(), @"422 idempotency.mismatch");
    insta::assert_snapshot!(send("", json!({ "type": "c.d" })).await.problem(), @"400 parameter.invalid");
    insta::assert_snapshot!(send(&"x".repeat(256), json!({ "type": "c.d" })).await.problem(), @"400 parameter.invalid");
}

#[tokio::test]
async fn an_idempotency_key_stands_for_all_that_decides_what_is_done() {
    let app = TestApp::start().await;
    let send = async |key: &str, query: &str, changes: &[(&str, &str)]| {
        let mut headers = vec![
            ("idempotency-key", key),
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-source", "shop"),
        ];
        headers.extend_from_slice(changes);
        app.send(Method::POST, &in_tenant(&format!("events{query}")), &headers, "{}").await
    };
    let paid = [("ce-type", "orders.paid"), ("ce-id", "1")];
    let first = send("k", "", &paid).await;
    assert_eq!(first.status, 202, "{}", first.text);
    // Waiting changes nothing but the moment of the answer.
    let again = send("k", "?wait=1s", &[("ce-id", "1"), ("ce-type", "orders.paid")]).await;
    assert_eq!(again.header("idempotent-replayed"), "true", "{}", again.text);
    for changed in [
        send("k", "", &[("ce-type", "orders.refunded"), ("ce-id", "1")]).await,
        send("k", "", &[("ce-type", "orders.paid"), ("ce-id", "2")]).await,
        send("k", "?delay=10m", &paid).await,
        send("k", "?run_at=2026-06-01T00:00:00Z", &paid).await,
    ] {
        assert_eq!(changed.problem(), "422 idempotency.mismatch");
    }
    let path = in_tenant("events");
    let plain = [("idempotency-key", "k"), ("content-type", "application/json")];
    let plain = app.send(Method::POST, &path, &plain, r#"{"type":"orders.paid"}"#).await;
    assert_eq!(plain.problem(), "422 idempotency.mismatch");
}

#[tokio::test]
async fn a_replay_with_a_key_happens_once() {
    let app = TestApp::start().await;
    app.given_action("welcome", "users.created", json!({})).await;
    let sent = app.emit("users.created", json!({})).await;
    let replay = async |query: &str| {
        let path = format!("events/{}:replay{query}", sent["id"].as_str().unwrap());
        let answer =
            app.send(Method::POST, &in_tenant(&path), &[("idempotency-key", "k")], "").await;
        app.engine.settle().await;
        answer
    };
    let (first, again) = (replay("").await, replay("").await);
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.body()["id"], again.body()["id"]);
    assert_eq!(app.engine.script.calls().len(), 2);
    assert_eq!(replay("?delay=1m").await.problem(), "422 idempotency.mismatch");
}

#[tokio::test]
async fn a_list_leaves_out_large_data_and_still_looks_into_them() {
    let app = TestApp::start().await;
    for number in 0..5 {
        let text = "x".repeat(if number == 2 { 10 } else { 20_000 });
        app.emit("a.b", json!({ "number": number, "text": text, "tier": "gold" })).await;
        app.advance(Duration::from_millis(10)).await;
    }
    let newest = app.get("events?limit=1").await.body()["items"][0].clone();
    assert_eq!(newest["data"], serde_json::Value::Null);
    assert!(newest["data_bytes"].as_u64().unwrap() > 20_000);
    let whole = app.get(&format!("events/{}", newest["id"].as_str().unwrap())).await.body();
    assert_eq!(whole["data"]["number"], 4);

    let found = app.get("events?where=data.number:1").await.body();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    // No page loses the item that told that there is another page.
    let mut seen = 0;
    let mut path = "events?where=data.tier:gold&limit=2".to_owned();
    loop {
        let page = app.get(&path).await.body();
        seen += page["items"].as_array().unwrap().len();
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("events?where=data.tier:gold&limit=2&cursor={cursor}");
    }
    assert_eq!(seen, 5);
}

#[tokio::test]
async fn all_attributes_together_have_a_limit() {
    let app = TestApp::start().await;
    let large = "x".repeat(64 * 1024);
    let refused = async |name: &str| {
        let mut event = json!({ "type": "a.b", "specversion": "1.0", "source": "s", "id": name });
        event[name] = json!(large);
        app.post("events", event).await.problem()
    };
    for name in ["dataschema", "someextension", "traceparent", "tracestate"] {
        assert_eq!(refused(name).await, "413 body.too_large", "{name}");
    }
    for name in ["metadata", "source_version", "aggregate_type", "source_service"] {
        let event = json!({ "type": "a.b", name: large });
        assert_eq!(app.post("events", event).await.problem(), "413 body.too_large", "{name}");
    }
    let fits = json!({ "type": "a.b", "metadata": "x".repeat(60 * 1024) });
    assert_eq!(app.post("events", fits.clone()).await.status, 202);
    let list = json!([fits, { "type": "a.b", "metadata": large }]);
    assert_eq!(app.post("events", list).await.problem(), "413 body.too_large /1");
}

#[tokio::test]
async fn an_idempotency_key_leaves_the_names_of_events_in_force() {
    let app = TestApp::start().await;
    app.given_action("welcome", "users.created", json!({})).await;
    let body = json!({ "type": "users.created", "source": "shop", "id": "1" });
    for headers in [&[("idempotency-key", "k1")][..], &[("idempotency-key", "k2")], &[]] {
        app.json(Method::POST, &in_tenant("events"), headers, body.clone()).await;
        app.engine.settle().await;
    }
    assert_eq!(app.engine.script.calls().len(), 1);
}

#[tokio::test]
async fn a_key_that_was_used_for_other_events_accepts_none_of_these() {
    let app = TestApp::start().await;
    let send = async |count: usize| {
        let events = vec![json!({ "type": "a.b" }); count];
        let headers = [("idempotency-key", "k"), ("content-type", "application/json")];
        app.send(Method::POST, &in_tenant("events"), &headers, json!(events).to_string()).await
    };
    assert_eq!(send(2).await.status, 202);
    insta::assert_snapshot!(send(3).await.problem(), @"422 idempotency.mismatch");
    assert_eq!(app.get("events").await.body()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let app = TestApp::start().await;
    for number in 0..5 {
        app.emit(
            "a.b",
            json!({ "number": number, "tier": if number > 2 { "gold" } else { "tin" } }),
        )
        .await;
        app.advance(Duration::from_millis(10)).await;
    }
    app.emit("c.d", json!({})).await;
    let mut seen = Vec::new();
    let mut path = "events?type=a.b&limit=2".to_owned();
    loop {
        let page = app.get(&path).await;
        let body = page.body();
        seen.extend(
            body["items"].as_array().unwrap().iter().map(|item| item["data"]["number"].clone()),
        );
        let Some(cursor) = body["next_cursor"].as_str() else { break };
        assert!(page.header("link").contains(cursor));
        path = format!("events?type=a.b&limit=2&cursor={cursor}");
    }
    assert_eq!(seen, [4, 3, 2, 1, 0].map(|n| json!(n)));

    let count = async |query: &str| {
        app.get(&format!("events?{query}")).await.body()["items"].as_array().unwrap().len()
    };
    assert_eq!(count("where=data.tier:gold").await, 2);
    assert_eq!(count("where=type:a.b%20-data.tier:gold").await, 3);
    assert_eq!(count("where=data.number%3E1").await, 3);
    assert_eq!(count("since=25ms").await, 3);
    insta::assert_snapshot!(app.get("events?colour=red").await.problem(), @"400 filter.unknown_field");
    insta::assert_snapshot!(app.get("events?where=type").await.problem(), @"400 filter.invalid");
    insta::assert_snapshot!(app.get("events?limit=0").await.problem(), @"400 parameter.invalid");
    insta::assert_snapshot!(app.get("events?cursor=xyz").await.problem(), @"400 cursor.invalid");
}

#[tokio::test]
async fn explain_tells_what_would_run() {
    let app = TestApp::start().await;
    app.given_action("gold", "users.*", json!({ "conditions": { "tier": "gold" } })).await;
    let sample = |tier: &str| json!({ "type": "users.created", "data": { "tier": tier } });
    let yes = app.post("events:explain", sample("gold")).await.body();
    assert_eq!(yes["matched"], true);
    assert_eq!(yes["actions"], json!(["gold"]));
    let no = app.post("events:explain", sample("tin")).await.body();
    assert_eq!(no["matched"], false);
    let because = no["items"][0]["because"].as_str().unwrap();
    assert!(because.contains("tin"), "{because}");
    assert!(app.engine.script.calls().is_empty());

    let accepted = app.emit("users.created", json!({ "tier": "gold" })).await;
    let path = format!("events/{}/matches?all=true", accepted["id"].as_str().unwrap());
    let matches = app.get(&path).await.body();
    assert_eq!(matches["items"][0]["matched"], true);
    assert_eq!(matches["executions"][0]["action"], "gold");
}

#[tokio::test]
async fn a_replay_is_a_new_event() {
    let app = TestApp::start().await;
    app.given_action("welcome", "users.created", json!({})).await;
    let body = json!({ "type": "users.created", "source": "shop", "id": "1", "data": 7 });
    let first = app.post("events", body).await.body();
    let path = format!("events/{}:replay?wait=1s", first["id"].as_str().unwrap());
    let again = app.post(&path, json!({})).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_ne!(again.body()["id"], first["id"]);
    assert_eq!(app.engine.script.calls().len(), 2);
}

#[tokio::test]
async fn refusals_name_the_place() {
    let app = TestApp::start().await;
    let post = async |body: serde_json::Value| app.post("events", body).await.problem();
    insta::assert_snapshot!(post(json!({ "type": "users" })).await, @"422 event.invalid /type");
    insta::assert_snapshot!(post(json!({ "type": "a.b", "colour": 1 })).await, @"400 body.unknown_field /colour");
    insta::assert_snapshot!(post(json!([{ "type": "a.b" }, { "type": "b" }])).await, @"422 event.invalid /1/type");
    insta::assert_snapshot!(post(json!([])).await, @"422 event.invalid");
    insta::assert_snapshot!(post(json!({ "type": "a.b", "source": "s".repeat(1025) })).await, @"422 event.invalid /source");
    insta::assert_snapshot!(post(json!({ "type": "a.b", "data": "x".repeat(1024 * 1024) })).await, @"413 body.too_large /data");
    let many = vec![json!({ "type": "a.b" }); 1001];
    insta::assert_snapshot!(post(json!(many)).await, @"413 body.too_large");
    let get = async |path: &str| app.get(path).await.problem();
    insta::assert_snapshot!(get("events/not-an-id").await, @"400 parameter.invalid");
    insta::assert_snapshot!(get("events/01890000-0000-7000-8000-000000000000").await, @"404 not_found");
    insta::assert_snapshot!(app.post("events?wait=2m", json!({ "type": "a.b" })).await.problem(), @"400 parameter.invalid");
    insta::assert_snapshot!(app.post("events?wait=5", json!({ "type": "a.b" })).await.problem(), @"400 parameter.invalid");
    insta::assert_snapshot!(app.post("events?colour=red", json!({ "type": "a.b" })).await.problem(), @"400 parameter.invalid");
}

#[tokio::test]
async fn a_problem_is_written_like_this() {
    let app = TestApp::start().await;
    let headers = [
        ("x-request-id", "r-1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let body = json!({ "type": "users", "data": {} });
    let answer = app.json(Method::POST, &in_tenant("events"), &headers, body).await;
    assert_eq!(answer.header("x-request-id"), "r-1");
    insta::assert_json_snapshot!(answer.body(), @r#"
    {
      "code": "event.invalid",
      "detail": "an event type is two or more words of a-z, 0-9 and _ joined by dots, like users.created; got \"users\"",
      "doc": "/docs/errors/event.invalid",
      "errors": [
        {
          "message": "an event type is two or more words of a-z, 0-9 and _ joined by dots, like users.created; got \"users\"",
          "pointer": "/type"
        }
      ],
      "instance": "/v1/tenants/acme/events",
      "request_id": "r-1",
      "retryable": false,
      "source": "engine",
      "status": 422,
      "title": "The event breaks a rule",
      "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
      "type": "urn:actions:error:event.invalid"
    }
    "#);
}

#[tokio::test]
async fn a_batch_is_accepted_whole_or_not_at_all() {
    let app = TestApp::start().await;
    let answer =
        app.post("events", json!([{ "type": "a.b" }, { "type": "a.b", "data": 1 }, {}])).await;
    assert_eq!(answer.status, 422);
    assert_eq!(app.get("events").await.body()["items"], json!([]));
}

#[tokio::test]
async fn an_event_without_a_trace_takes_the_requests() {
    let app = TestApp::start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let send = async |header: &str, event: Value| {
        let headers = [("traceparent", header), ("tracestate", "vendor=1")];
        let sent = app.json(Method::POST, &in_tenant("events"), &headers, event).await;
        let id = sent.body()["id"].as_str().unwrap().to_owned();
        let seen = app.get(&format!("events/{id}")).await.body();
        (seen["traceparent"].clone(), seen["tracestate"].clone())
    };
    let plain = json!({ "type": "users.created", "data": {} });
    assert_eq!(send(parent, plain.clone()).await, (json!(parent), json!("vendor=1")));
    let own = "00-11111111111111111111111111111111-2222222222222222-00";
    let traced = json!({ "type": "users.created", "data": {}, "traceparent": own });
    assert_eq!(send(parent, traced).await.0, json!(own));
    assert_eq!(send("nonsense", plain).await.0, json!(null));
}
