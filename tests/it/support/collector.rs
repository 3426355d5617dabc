//! A collector of traces, which also receives webhooks.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// A collector, and a receiver that fails the first call of each execution.
#[derive(Clone, Default)]
pub struct Sink {
    spans: Arc<Mutex<Vec<Span>>>,
    arrived: Arc<Condvar>,
    pub bytes: Arc<Mutex<Vec<u8>>>,
    /// `traceparent` of each call.
    pub parents: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    /// Starts it on a runtime of its own, and answers its URL.
    pub fn start(&self) -> (tokio::runtime::Runtime, String) {
        let (collector, receiver) = (self.clone(), self.clone());
        let export = move |body: Bytes| async move {
            let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|all| all.scope_spans);
            collector.spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
            collector.bytes.lock().unwrap().extend(body);
            collector.arrived.notify_all();
        };
        let hook = move |headers: HeaderMap| async move {
            let mut parents = receiver.parents.lock().unwrap();
            parents.push(headers["traceparent"].to_str().unwrap().to_owned());
            if headers["actions-attempt"] == "1" {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::OK
            }
        };
        let routes = Router::new().route("/v1/traces", post(export)).route("/hook", post(hook));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        (runtime, url)
    }

    /// Waits until so many spans of a trace are there, or half a minute.
    pub fn spans_of(&self, trace: &str, count: usize) -> Vec<Span> {
        let of_trace = |span: &&Span| hex(&span.trace_id) == trace;
        let spans = self.spans.lock().unwrap();
        let is_short = |spans: &mut Vec<Span>| spans.iter().filter(of_trace).count() < count;
        let (spans, _) =
            self.arrived.wait_timeout_while(spans, Duration::from_secs(30), is_short).unwrap();
        spans.iter().filter(of_trace).cloned().collect()
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
