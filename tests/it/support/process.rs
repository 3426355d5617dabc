//! A server as its own process, to be killed and started again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

/// The administrator's token of every test server.
pub const TOKEN: &str = "test-token-0123456789abcdef";
/// A setting of these servers: the file that they log into, instead of between the tests' lines.
const LOG_FILE: &str = "ACTIONS_TEST_LOG_FILE";
/// How long a server may take until it is ready.
const START_TRIES_MAX: u32 = 600;
/// How often a read may be told to come again before the server counts as stuck.
const BUSY_ANSWERS_MAX: u32 = 30;

/// A server that listens on one address over all its restarts.
pub struct Server {
    program: PathBuf,
    database_url: String,
    settings: Vec<(&'static str, String)>,
    listen: String,
    process: Child,
    client: Client,
}

impl Server {
    /// Starts a server over a database and waits until it is ready.
    pub async fn start(database_url: &str) -> Self {
        Self::start_with(database_url, Vec::new()).await
    }

    /// Starts a server with more settings than it needs.
    pub async fn start_with(database_url: &str, settings: Vec<(&'static str, String)>) -> Self {
        Self::start_of(&program(), database_url, settings).await
    }

    /// Starts a server of another program.
    pub async fn start_of(
        program: &Path,
        database_url: &str,
        settings: Vec<(&'static str, String)>,
    ) -> Self {
        crate::support::install_crypto();
        let (program, listen) = (program.to_owned(), free_address());
        let process = spawn(&program, database_url, &settings, &listen);
        let client = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        let database_url = database_url.to_owned();
        let mut server = Self { program, database_url, settings, listen, process, client };
        server.wait_until_ready().await;
        server
    }

    /// Ends the process as a power cut would end it, and starts another one.
    pub async fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// Ends the process as a power cut would end it.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the process again after it has ended, and waits until it is ready.
    pub async fn start_again(&mut self) {
        self.spawn_again();
        self.wait_until_ready().await;
    }

    /// Starts a process that has ended again, which ends by itself, and answers its exit code.
    pub async fn start_in_vain(&mut self) -> Option<i32> {
        self.spawn_again();
        self.ended().await
    }

    /// Changes one setting from the next start on.
    pub fn set(&mut self, setting: (&'static str, String)) {
        self.settings.retain(|(name, _)| *name != setting.0);
        self.settings.push(setting);
    }

    /// Starts the program under test from now on.
    pub fn upgrade(&mut self) {
        self.program = program();
    }

    fn spawn_again(&mut self) {
        self.process = spawn(&self.program, &self.database_url, &self.settings, &self.listen);
    }

    /// Sends a signal, like `TERM` or `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until the process has ended by itself, and answers its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        for _ in 0..START_TRIES_MAX {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            pause(Duration::from_millis(50)).await;
        }
        panic!("the server does not end");
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// The same, with other settings from now on.
    pub async fn kill_and_restart_with(&mut self, settings: Vec<(&'static str, String)>) {
        self.settings = settings;
        self.kill_and_restart().await;
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(TOKEN)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path)).bearer_auth(TOKEN)
    }

    pub fn put(&self, path: &str) -> RequestBuilder {
        self.client.put(self.url(path)).bearer_auth(TOKEN)
    }

    /// Reads a JSON document that must be there. A server that says "busy, come again" is asked
    /// again, as every client has to: on a starved machine a read may get no connection in time.
    pub async fn read(&self, path: &str) -> Value {
        for _ in 0..BUSY_ANSWERS_MAX {
            let answer = self.get(path).send().await.unwrap();
            let status = answer.status();
            let body = answer.text().await.unwrap();
            if status == StatusCode::SERVICE_UNAVAILABLE {
                pause(Duration::from_secs(1)).await;
                continue;
            }
            assert_eq!(status, StatusCode::OK, "{path}: {body}");
            return serde_json::from_str(&body).unwrap();
        }
        panic!("{path}: the server stayed busy");
    }

    /// Creates something that must not exist yet.
    pub async fn create(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path).json(body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Reads a list to its end, page by page.
    pub async fn read_all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = format!("{path}?limit=1000");
        loop {
            let page = self.read(&next).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("{path}?limit=1000&cursor={cursor}"),
                None => return items,
            }
        }
    }

    /// A copy that sends requests while this one is killed and restarted.
    pub fn sender(&self) -> Sender {
        Sender { url: self.url(""), client: self.client.clone() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    async fn wait_until_ready(&mut self) {
        for _ in 0..START_TRIES_MAX {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the server ended with {status} before it was ready");
            }
            let answer = self.get("/readyz").send().await;
            if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return;
            }
            pause(Duration::from_millis(50)).await;
        }
        panic!("the server was not ready in time");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends requests to a server that may be away at the moment.
#[derive(Clone)]
pub struct Sender {
    url: String,
    client: Client,
}

impl Sender {
    /// Sends a request until it is acknowledged with 2xx. Refusals other than 503 are a failure
    /// of the test.
    pub async fn post_until_acknowledged(&self, path: &str, media: &str, body: &Value) -> Value {
        loop {
            if let Some(answer) = self.post(path, media, body).await {
                return answer;
            }
            pause(Duration::from_millis(20)).await;
        }
    }

    /// Sends a request once. `None`: the server is away or busy, and may have taken it.
    pub async fn post(&self, path: &str, media: &str, body: &Value) -> Option<Value> {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(TOKEN);
        let sent = request.header("content-type", media).body(body.to_string()).send().await;
        let answer = sent.ok()?;
        let status = answer.status();
        let text = answer.text().await.ok()?;
        match status {
            StatusCode::SERVICE_UNAVAILABLE => None,
            status if status.is_success() => Some(serde_json::from_str(&text).unwrap()),
            status => panic!("{path}: {status} {text}"),
        }
    }
}

/// Waits in real time. Only for tests of real processes, which know no other.
#[expect(clippy::disallowed_methods, reason = "a real process has no clock that we could hold")]
pub async fn pause(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// The program under test.
#[expect(clippy::disallowed_methods, reason = "./scripts/test says where the binary is")]
pub fn program() -> PathBuf {
    let binary = std::env::var("ACTIONS_TEST_BINARY")
        .expect("ACTIONS_TEST_BINARY names the binary under test: run ./scripts/test");
    binary.into()
}

#[expect(clippy::disallowed_methods, reason = "how much a server logs is chosen outside")]
fn spawn(
    program: &Path,
    database_url: &str,
    settings: &[(&'static str, String)],
    listen: &str,
) -> Child {
    let log = std::env::var("ACTIONS_TEST_LOG").unwrap_or_else(|_| "warn".to_owned());
    let mut command = Command::new(program);
    if let Some((_, file)) = settings.iter().find(|(name, _)| *name == LOG_FILE) {
        let file = std::fs::File::options().create(true).append(true).open(file).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
    }
    command
        .arg("serve")
        // Variables of this test program are no settings of the server.
        .env_clear()
        .env("DATABASE_URL", database_url)
        .env("ACTIONS_LISTEN", listen)
        .env("ACTIONS_NODE_NAME", "node-under-test")
        .env("ACTIONS_BOOTSTRAP_TOKEN", TOKEN)
        .env("ACTIONS_EGRESS_ALLOW", "127.0.0.0/8")
        .env("ACTIONS_LOG", log)
        .envs(settings.iter().map(|(name, value)| (name, value)))
        // What it logs stands between the tests' own lines.
        .stdin(Stdio::null())
        .spawn()
        .expect("the binary under test can be started")
}

/// An address on the loopback interface that is free at the moment.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
