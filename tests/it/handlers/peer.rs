//! The other ends: an HTTP server that answers from a script, and foreign programs.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// One request, as it came in.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// An answer to give.
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

pub(super) fn status(status: u16) -> Answer {
    Answer { status, headers: Vec::new(), body: String::new() }
}

pub(super) fn text(code: u16, body: &str) -> Answer {
    Answer { body: body.to_owned(), ..status(code) }
}

impl Answer {
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An HTTP server on the loopback interface that writes down every request.
pub(super) struct Peer {
    url: String,
    state: Shared,
}

type Shared = Arc<Mutex<Script>>;

#[derive(Default)]
struct Script {
    received: Vec<Received>,
    answers: VecDeque<Answer>,
}

impl Peer {
    /// Gives these answers, and 204 afterwards.
    pub(super) async fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let script = Script { answers: answers.into_iter().collect(), ..Script::default() };
        let state = Arc::new(Mutex::new(script));
        let routes = Router::new().fallback(receive).with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, state }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// The only request.
    #[track_caller]
    pub(super) fn one(&self) -> Received {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received[0].clone()
    }
}

async fn receive(
    State(state): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = state.lock().unwrap();
    state.received.push(Received { method, uri, headers, body });
    let Some(answer) = state.answers.pop_front() else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let mut response = (StatusCode::from_u16(answer.status).unwrap(), answer.body).into_response();
    for (name, value) in answer.headers {
        let value = HeaderValue::from_str(&value).unwrap();
        response.headers_mut().append(HeaderName::from_static(name), value);
    }
    response
}

/// A foreign program that is asked and answers line by line.
pub(crate) struct Program {
    name: &'static str,
    lines: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
    _process: Child,
}

impl Program {
    /// Starts a Python program of `tests/peers`.
    pub(crate) fn python(name: &'static str, arguments: &[&str]) -> Self {
        let python = installed("python/bin/python");
        let mut command = Command::new(python);
        command.arg(script(name)).args(arguments);
        Self::start(name, command)
    }

    /// Starts a JavaScript program of `tests/peers`.
    pub(crate) fn javascript(name: &'static str) -> Self {
        let modules = installed("node/node_modules");
        let mut command = Command::new("node");
        command.arg(script(name)).arg(modules.parent().unwrap());
        Self::start(name, command)
    }

    fn start(name: &'static str, mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started ({error}); {MISSING}"));
        let input = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { name, lines, input, _process: process }
    }

    /// Reads the next line.
    pub(crate) async fn line(&mut self) -> String {
        let line = self.lines.next_line().await.unwrap();
        line.unwrap_or_else(|| panic!("{} ended; its reason is above; {MISSING}", self.name))
    }

    pub(crate) async fn ask(&mut self, question: &Value) -> String {
        self.input.write_all(format!("{question}\n").as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
        self.line().await
    }
}

const MISSING: &str = "run the tests with ./scripts/test, which installs the peers";

#[expect(clippy::disallowed_methods, reason = "scripts/test says where it put the peers")]
fn installed(part: &str) -> PathBuf {
    let root = std::env::var("ACTIONS_TEST_PEERS")
        .unwrap_or_else(|_| panic!("ACTIONS_TEST_PEERS is not set; {MISSING}"));
    let path = PathBuf::from(root).join(part);
    assert!(path.exists(), "{} is missing; {MISSING}", path.display());
    path
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}
