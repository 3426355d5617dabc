//! A receiver of webhooks that writes down every call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

/// One call, as it came in.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub execution: String,
    pub attempt: u32,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Delivery {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// An HTTP server on the loopback interface.
pub struct Receiver {
    url: String,
    calls: Calls,
}

#[derive(Clone, Default)]
struct Calls {
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    /// Answers to give first, in order; afterwards 204.
    script: Arc<Mutex<Vec<StatusCode>>>,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::answering([]).await
    }

    /// A receiver that gives these answers first, and 204 afterwards.
    pub async fn answering(script: impl IntoIterator<Item = u16>) -> Self {
        let mut script: Vec<_> =
            script.into_iter().map(|status| StatusCode::from_u16(status).unwrap()).collect();
        script.reverse();
        let calls = Calls { script: Arc::new(Mutex::new(script)), ..Calls::default() };
        let routes = Router::new().route("/hook", post(receive)).with_state(calls.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, calls }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn deliveries(&self) -> Vec<Delivery> {
        self.calls.deliveries.lock().unwrap().clone()
    }

    /// How often each execution was called.
    pub fn calls_by_execution(&self) -> HashMap<String, u32> {
        let mut calls = HashMap::new();
        for delivery in self.calls.deliveries.lock().unwrap().iter() {
            *calls.entry(delivery.execution.clone()).or_default() += 1;
        }
        calls
    }
}

async fn receive(State(calls): State<Calls>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let execution = text("webhook-id").to_owned();
    let attempt = text("actions-attempt").parse().unwrap_or(0);
    // Written down before the answer, so that nothing answered is missing.
    calls.deliveries.lock().unwrap().push(Delivery {
        execution,
        attempt,
        headers: headers.clone(),
        body,
    });
    calls.script.lock().unwrap().pop().unwrap_or(StatusCode::NO_CONTENT)
}
