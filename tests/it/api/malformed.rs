//! No input, however broken, is answered with our own failure.

use axum::body::Body;
use axum::http::{Method, Request};

use crate::support::app::{TOKEN, TestApp};

const JSON: &str = "application/json";

fn bodies() -> Vec<Vec<u8>> {
    let deep = |open: &str, close: &str, depth: usize| {
        [open.repeat(depth), "1".to_owned(), close.repeat(depth)].concat().into_bytes()
    };
    let texts = [
        "",
        " ",
        "null",
        "true",
        "7",
        "\"x\"",
        "[]",
        "{}",
        "[{}]",
        "[null]",
        "[[]]",
        "{",
        "}",
        "[",
        "{\"a\":}",
        "{\"a\":1,}",
        "{'a':1}",
        "{\"a\":1}{\"a\":1}",
        "NaN",
        "-",
        "1e",
        "01",
        "1e400",
        "-1e400",
        "1e1000000",
        "{\"type\":\"a.b\",\"data\":\"\\u0000\"}",
        "{\"type\":\"a.b\",\"data\":\"\\ud800\"}",
        "{\"type\":\"a.b\",\"data\":\"\\udc00\\ud800\"}",
        "{\"type\":\"a.b\",\"data\":{\"\\u0000\":1}}",
        "{\"type\":\"a.b\",\"data\":1e400}",
        "{\"type\":\"a.b\",\"data\":1,\"data\":2}",
        "{\"type\":\"a.b\",\"type\":\"c.d\"}",
        "{\"type\":null}",
        "{\"type\":[]}",
        "{\"type\":{}}",
        "{\"type\":\"\"}",
        "{\"type\":\"a\\u0000.b\"}",
        "{\"type\":\"a.b\",\"delay\":\"99999999999999999999999d\"}",
        "{\"type\":\"a.b\",\"delay_ms\":18446744073709551615}",
        "{\"type\":\"a.b\",\"delay_ms\":-1}",
        "{\"type\":\"a.b\",\"run_at\":\"9999-12-31T23:59:59Z\"}",
        "{\"type\":\"a.b\",\"run_at\":\"-9999-12-31T23:59:59Z\"}",
        "{\"type\":\"a.b\",\"time\":\"yesterday\"}",
        "{\"type\":\"a.b\",\"priority\":-5}",
        "{\"type\":\"a.b\",\"priority\":1e99}",
        "{\"type\":\"a.b\",\"event_version\":99999999999}",
        "{\"specversion\":\"1.0\"}",
        "{\"specversion\":1}",
        "{\"specversion\":null}",
        "{\"specversion\":\"1.0\",\"type\":\"a.b\",\"source\":\"s\",\"id\":\"1\",\"data_base64\":\"***\"}",
        "{\"name\":\"x\",\"action_type\":\"custom\",\"handler\":\"a.b\",\"config\":12345678901234567890123}",
        "{\"name\":\"x\",\"action_type\":\"custom\",\"handler\":\"test.secretive\",\"config\":[]}",
        "{\"name\":\"x\",\"action_type\":\"custom\",\"handler\":\"a.b\",\"conditions\":\"((((((((((((((((((((\"}",
        "{\"name\":\"x\",\"action_type\":\"custom\",\"handler\":\"a.b\",\"conditions\":[1,2,3]}",
        "{\"name\":\"x\",\"action_type\":\"custom\",\"handler\":\"a.b\",\"event_patterns\":[\"/(a{1000}){1000}/\"]}",
        "{\"name\":\"x\",\"action_type\":\"custom\",\"handler\":\"a.b\",\"event_patterns\":[\"\\u202e.x\"]}",
        "{\"name\":\"x\",\"action_type\":\"custom\",\"handler\":\"a.b\",\"affinity\":{\"key\":\":\"}}",
        "{\"name\":\"x\",\"action_type\":\"custom\",\"handler\":\"a.b\",\"retry_policy\":{\"max_retries\":4294967295,\"backoff\":\"fixed\",\"initial_delay_ms\":18446744073709551615}}",
        "{\"version\":9223372036854775807}",
        "{\"version\":-9223372036854775808}",
        "{\"actions\":[{}]}",
        "{\"actions\":{}}",
        "{\"actions\":[{\"name\":\"x\"}],\"prune\":1}",
        "{\"executions\":[{\"action\":\"\"}]}",
        "{\"event\":7}",
        "{\"event\":{\"type\":\"a.b\",\"data\":{}}}",
        "{\"ids\":[\"01890000-0000-7000-8000-000000000000\"],\"reason\":\"\\u0000\"}",
        "{\"where\":\"\\\"\"}",
        "{\"where\":\"since:99999999999999d\"}",
        "{\"group\":\"\"}",
        "{\"op\":\"requeue\",\"where\":\"until:-1s since:9999-12-31T23:59:59Z\"}",
        "{\"op\":\"cancel\",\"where\":\"attempts>1e400\"}",
        "{\"op\":\"discard\",\"group\":\"\\u202e\",\"reason\":\"x\",\"rate\":4294967295}",
        "{\"max\":-1}",
        "{\"slug\":\"x\",\"name\":\"\\ud83d\"}",
        "{\"config\":null}",
    ];
    let mut bodies: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    bodies.push(vec![0xFF, 0xFE, 0x00]);
    bodies.push(vec![0; 100]);
    bodies.push(b"\xEF\xBB\xBF{}".to_vec());
    bodies.push(b"{\"type\":\"a.b\",\"data\":\"\xC3\x28\"}".to_vec());
    bodies.push(deep("[", "]", 100_000));
    bodies.push(deep("{\"a\":", "}", 65));
    bodies.push(
        [b"{\"type\":\"a.b\",\"data\":".to_vec(), deep("[", "]", 63), b"}".to_vec()].concat(),
    );
    bodies.push(format!("{{\"type\":\"a.b\",\"data\":{}}}", "9".repeat(100_000)).into_bytes());
    bodies.push(
        format!("{{{}}}", (0..5_000).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(","))
            .into_bytes(),
    );
    bodies.push(vec![b' '; 6 * 1024 * 1024]);
    bodies
}

const PATHS: [&str; 20] = [
    "/v1/tenants/acme/events",
    "/v1/tenants/acme/events:explain",
    "/v1/tenants/acme/actions",
    "/v1/tenants/acme/actions:validate",
    "/v1/tenants/acme/actions/a:execute",
    "/v1/tenants/acme/actions/a:test",
    "/v1/tenants/acme/actions/a:restore",
    "/v1/tenants/acme/subscriptions",
    "/v1/tenants/acme/definitions:apply",
    "/v1/tenants/acme/definitions:diff",
    "/v1/tenants/acme/definitions:validate",
    "/v1/tenants/acme/handlers/test.secretive:validate",
    "/v1/tenants/acme/dead-letters:requeue",
    "/v1/tenants/acme/bulk",
    "/v1/tenants/acme/dead-letters:discard",
    "/v1/tenants/acme/dead-letters/groups/x:discard",
    "/v1/admin/tenants",
    "/v1/internal/events:execute?tenant=acme",
    "/v1/internal/executions:bulk?tenant=acme",
    "/v1/internal/handlers:validate",
];

#[tokio::test]
async fn no_body_leads_to_a_failure_of_ours() {
    let app = TestApp::start().await;
    app.given_action("a", "a.b", serde_json::json!({})).await;
    let medias = [JSON, "application/cloudevents+json", "application/cloudevents-batch+json"];
    for path in PATHS {
        let medias = if path.contains("events") { &medias[..] } else { &medias[..1] };
        for media in medias {
            for body in bodies() {
                let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
                let answer = app.send(Method::POST, path, &[("content-type", media)], body).await;
                let status = answer.status.as_u16();
                assert!(status < 500, "{path} {media} {shown}: {}", answer.text);
                if status >= 400 {
                    answer.problem();
                }
            }
        }
    }
}

#[tokio::test]
async fn other_media_types_are_refused() {
    let app = TestApp::start().await;
    for path in PATHS {
        for media in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "*/*",
            "",
        ] {
            let answer = app.send(Method::POST, path, &[("content-type", media)], "{}").await;
            // A group may be discarded without a body, so an unreadable one is all that is wrong.
            assert_eq!(answer.problem(), "415 media.unsupported", "{path} {media}");
        }
        let compressed = [("content-type", JSON), ("content-encoding", "gzip")];
        let answer = app.send(Method::POST, path, &compressed, vec![0x1F, 0x8B]).await;
        assert_eq!(answer.problem(), "415 media.unsupported", "{path}");
    }
}

#[tokio::test]
async fn no_header_leads_to_a_failure_of_ours() {
    let app = TestApp::start().await;
    let nasty: [&[u8]; 6] =
        [b"\xE9", b"%00", b"%ED%A0%80", b"\"", b"9".repeat(5_000).leak(), b"\t"];
    let names = [
        "ce-specversion",
        "ce-type",
        "ce-id",
        "ce-source",
        "ce-time",
        "ce-subject",
        "ce-x",
        "ce-",
        "ce-priority",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "content-type",
        "content-length",
        "x-request-id",
        "traceparent",
        "authorization",
        "accept",
        "host",
    ];
    for name in names {
        for value in nasty {
            let binary = name.starts_with("ce-");
            let mut request = Request::builder()
                .method(if name.starts_with("if-") { Method::PUT } else { Method::POST })
                .uri(if name.starts_with("if-") { "/v1/tenants/acme/actions/a" } else { PATHS[0] });
            for (known, text) in [
                ("authorization", format!("Bearer {TOKEN}").as_str()),
                ("content-type", JSON),
                ("ce-specversion", "1.0"),
                ("ce-type", "a.b"),
                ("ce-id", "1"),
                ("ce-source", "s"),
            ] {
                if known != name && (binary || !known.starts_with("ce-")) {
                    request = request.header(known, text);
                }
            }
            let request =
                request.header(name, value).body(Body::from("{\"type\":\"a.b\"}")).unwrap();
            let answer = app.answer(request).await;
            assert!(answer.status.as_u16() < 500, "{name} {value:?}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn no_query_or_path_leads_to_a_failure_of_ours() {
    let app = TestApp::start().await;
    let lists = ["events", "executions", "actions", "subscriptions", "dead-letters"];
    let queries = [
        "limit=-1",
        "limit=x",
        "limit=99999999999",
        "cursor=",
        "cursor=%00",
        "where=%00",
        "where=%22",
        "where=-:",
        "where=a:b:c",
        "since=x",
        "since=99999999999999999d",
        "since=0001-01-01T00:00:00Z",
        "status=%FF",
        "fields=",
        "fields=%00",
        "=x",
        "&&&",
        "where=attempts>NaN",
        "%",
        "%zz=%zz",
    ];
    for list in lists {
        for query in queries {
            let query = query.replace('>', "%3E");
            let answer = app.get(&format!("{list}?{query}")).await;
            assert!(answer.status.as_u16() < 500, "{list}?{query}: {}", answer.text);
        }
    }
    for path in [
        "events/%FF",
        "executions/%00",
        "actions/%2E%2E",
        "actions/..",
        "actions/a/versions/x",
        "actions/a/versions/1/diff/99999999999999999999",
        "dead-letters/groups/%F0%9F%98%80",
        "handlers/%20",
        "events/x:explain",
        "events/:",
        "events:",
        "events:nothing",
        "actions/~validate",
    ] {
        let answer = app.get(path).await;
        assert!((400..500).contains(&answer.status.as_u16()), "{path}: {}", answer.text);
        answer.problem();
    }
}

#[tokio::test]
async fn a_path_or_a_query_that_cannot_be_read_is_told_without_words_of_the_program() {
    let app = TestApp::start().await;
    let told = async |path: &str| {
        let answer = app.get(path).await;
        assert_eq!(answer.problem(), "400 parameter.invalid", "{path}");
        answer.body()["detail"].as_str().unwrap().to_owned()
    };
    let id = told("executions/17").await;
    assert!(id.contains("execution") && id.contains("expected an id like"), "{id}");
    let limit = told("events/01900000-0000-7000-8000-000000000001/matches?limit=many").await;
    assert!(limit.contains("limit") && limit.contains("expected a whole number"), "{limit}");
}
