//! A policy service of the tests: it speaks the data API of Open Policy Agent over HTTP, and fails in
//! the ways in which such a service can.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Decides: definitions are written by administrators alone.
    Decides,
    /// Says `true` and nothing else.
    SaysYes,
    /// Takes the question and never answers.
    Hangs,
    Fails,
    /// Answers with what is no JSON.
    Babbles,
    /// The rule is undefined for this input: the answer has no result.
    IsUndefined,
    /// Sends the asker to somebody who says yes.
    Redirects,
}

#[derive(Clone)]
pub struct PolicyPeer {
    address: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    mode: Mode,
    asked: Vec<Value>,
}

impl PolicyPeer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Shared { mode: Mode::Decides, asked: Vec::new() };
        let peer = Self { address, shared: Arc::new(Mutex::new(shared)) };
        let router = Router::new()
            .route("/v1/data/{*path}", post(decide))
            .route("/yes", post(async || yes()))
            .with_state(peer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        peer
    }

    /// The address of its rule.
    pub fn url(&self) -> String {
        format!("http://{}/v1/data/actions/allow", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.shared.lock().unwrap().mode = mode;
    }

    /// The inputs so far.
    pub fn asked(&self) -> Vec<Value> {
        self.shared.lock().unwrap().asked.clone()
    }
}

fn answer(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn yes() -> Response {
    answer(&json!({ "result": true }))
}

async fn decide(State(peer): State<PolicyPeer>, Path(path): Path<String>, body: Bytes) -> Response {
    let Ok(question) = serde_json::from_slice::<Value>(&body) else {
        let error = json!({ "code": "invalid_parameter", "message": "error(s) occurred" });
        return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
    };
    if path != "actions/allow" {
        return answer(&json!({}));
    }
    let input = question["input"].clone();
    let mode = {
        let mut shared = peer.shared.lock().unwrap();
        shared.asked.push(input.clone());
        shared.mode
    };
    match mode {
        Mode::Decides => {
            let is_frozen = input["permission"] == "write_definitions";
            let is_admin = matches!(input["role"].as_str(), Some("platform_admin" | "internal"));
            let allow = is_admin || !is_frozen;
            let reason = if allow { Value::Null } else { json!("frozen until Monday") };
            answer(&json!({ "result": { "allow": allow, "reason": reason } }))
        }
        Mode::SaysYes => yes(),
        Mode::Hangs => std::future::pending().await,
        Mode::Fails => {
            let error = json!({ "code": "internal_error", "message": "eval_conflict_error" });
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
        Mode::Babbles => (StatusCode::OK, "<html>true</html>").into_response(),
        Mode::IsUndefined => answer(&json!({})),
        Mode::Redirects => {
            let place = format!("http://{}/yes", peer.address);
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response()
        }
    }
}
