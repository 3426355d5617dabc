//! What a collector of traces is told.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use super::program::Dev;
use crate::support::collector::{Sink, hex};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// In the event's data: none of a collector's business.
const CANARY: &str = "canary-5d41402a";

#[test]
fn a_trace_leads_from_the_sender_through_every_attempt() {
    actions_handlers::egress::install_crypto();
    let sink = Sink::default();
    let (runtime, url) = sink.start();
    let dev = Dev::start(&["--ephemeral", "--otlp-endpoint", &url]);
    let spec = json!({ "actions": [{
        "name": "call", "action_type": "webhook", "handler": "webhook.http",
        "config": { "webhook_url": format!("{url}/hook") }, "event_patterns": ["a.b"],
        "retry_policy": { "max_retries": 1, "backoff": "fixed", "initial_delay_ms": 100, "jitter": false },
    }]});
    dev.file("a.json", &spec.to_string());
    assert_eq!(dev.run(&["apply", "-f", "a.json"]).code, 0);

    let send = |parent: &str| {
        let body = json!({ "type": "a.b", "data": { "secret": CANARY } });
        let request = reqwest::Client::new()
            .post(format!("{}/v1/tenants/default/events?wait=20s", dev.url()))
            .header("traceparent", parent)
            .json(&body);
        runtime.block_on(async { request.send().await.unwrap().status() })
    };
    assert!(send(&format!("00-{TRACE}-{CALLER}-00")).is_success(), "whose trace is not kept");
    assert!(send(&format!("00-{TRACE}-{CALLER}-01")).is_success());

    let spans = sink.spans_of(TRACE, 5);
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (event, of_match) = (named("event"), named("match"));
    let (execution, attempts) = (named("execution"), named("attempt"));
    assert_eq!((event.len(), of_match.len(), execution.len(), attempts.len()), (1, 1, 1, 2));
    assert_eq!(hex(&event[0].parent_span_id), CALLER);
    assert_eq!(of_match[0].parent_span_id, event[0].span_id);
    assert_eq!(execution[0].parent_span_id, event[0].span_id);
    assert!(attempts.iter().all(|attempt| attempt.parent_span_id == execution[0].span_id));
    let failed = |span: &Span| span.status.as_ref().is_some_and(|status| status.code == 2);
    assert_eq!(attempts.iter().map(|span| failed(span)).collect::<Vec<_>>(), [true, false]);
    assert!(!failed(execution[0]), "the execution completed");
    assert!(spans.iter().all(|span| span.start_time_unix_nano <= span.end_time_unix_nano));
    // The receiver was told the span of the attempt that called it.
    let expected = attempts.iter().map(|span| format!("00-{TRACE}-{}-01", hex(&span.span_id)));
    let told = sink.parents.lock().unwrap().clone();
    assert_eq!(
        told.into_iter().filter(|told| told.ends_with("-01")).collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );

    let sent = dev.run(&["emit", "a.b", "--wait", "-o", "json"]).json();
    let own = sent["id"].as_str().unwrap().replace('-', "");
    let spans = sink.spans_of(&own, 5);
    let roots: Vec<_> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert_eq!((spans.len(), roots.len(), roots[0].name.as_str()), (5, 1, "event"));
    let bytes = sink.bytes.lock().unwrap();
    let holds_canary = bytes.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes());
    assert!(!holds_canary, "data stays out of traces");
}
