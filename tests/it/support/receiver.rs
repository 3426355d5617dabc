//! A receiver of webhooks that counts every call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;

/// An HTTP server on the loopback interface.
pub struct Receiver {
    url: String,
    calls: Calls,
}

/// How often each execution was called.
type Calls = Arc<Mutex<HashMap<String, u32>>>;

impl Receiver {
    pub async fn start() -> Self {
        let calls = Calls::default();
        let routes = Router::new().route("/hook", post(receive)).with_state(calls.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, calls }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn calls_by_execution(&self) -> HashMap<String, u32> {
        self.calls.lock().unwrap().clone()
    }
}

async fn receive(State(calls): State<Calls>, headers: HeaderMap) -> StatusCode {
    let id = headers.get("webhook-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Counted before the answer, so that nothing answered is missing.
    *calls.lock().unwrap().entry(id.to_owned()).or_default() += 1;
    StatusCode::NO_CONTENT
}
