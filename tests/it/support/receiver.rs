//! A receiver of webhooks that writes every call down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::time::Instant;

use super::process::pause;

/// An HTTP server on the loopback interface. An event whose data has `take_ms` keeps its caller
/// waiting for so long; the first call of one that has `first_status` is answered with that.
pub struct Receiver {
    url: String,
    calls: Calls,
}

/// A call of an execution, as the receiver saw it.
#[derive(Debug, Clone)]
pub struct Call {
    pub execution: String,
    /// The event's data.
    pub data: Value,
    pub began: Instant,
    /// When it was answered, or its caller went away.
    pub ended: Option<Instant>,
}

type Calls = Arc<Mutex<Vec<Call>>>;

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

    /// All calls, in the order in which they began.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn calls_by_execution(&self) -> HashMap<String, u32> {
        let mut counts = HashMap::new();
        for call in self.calls.lock().unwrap().iter() {
            *counts.entry(call.execution.clone()).or_default() += 1;
        }
        counts
    }
}

/// Notes the end of a call, whichever way it ends.
struct Ending {
    calls: Calls,
    index: usize,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.calls.lock().unwrap()[self.index].ended = Some(Instant::now());
    }
}

async fn receive(State(calls): State<Calls>, headers: HeaderMap, body: String) -> StatusCode {
    let id = headers.get("webhook-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut body: Value = serde_json::from_str(&body).unwrap_or_default();
    let data = body["data"].take();
    let took = data["take_ms"].as_u64().unwrap_or(0);
    let first_status = data["first_status"].as_u64();
    // Written down before the answer, so that nothing answered is missing.
    let (ending, is_first) = {
        let mut calls_made = calls.lock().unwrap();
        let is_first =
            first_status.is_some() && !calls_made.iter().any(|call| call.execution == id);
        let (execution, began) = (id.to_owned(), Instant::now());
        calls_made.push(Call { execution, data, began, ended: None });
        (Ending { calls: calls.clone(), index: calls_made.len() - 1 }, is_first)
    };
    if took > 0 {
        pause(Duration::from_millis(took)).await;
    }
    drop(ending);
    let status = first_status.filter(|_| is_first).unwrap_or(204);
    StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap()
}
