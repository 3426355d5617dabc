//! Secrets of a real server: a marked one is looked for everywhere, and one is replaced under load.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actions_infra::system::SystemDice;
use actions_infra::vault::LocalKeys;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::support::cluster::{Cluster, eventually};
use crate::support::postgres::fresh_database;
use crate::support::process::{Server, TOKEN, pause};

/// What must not be found anywhere but at the other side.
const CANARY: &str = "canary3f9a71c2e84b5d60";
const NAMED: &str = "{{ secrets.CANARY }}";
const TENANT: &str = "/v1/tenants/acme";

/// The worst receiver there is: it answers all that it was sent, as success or as failure.
struct Echo {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    async fn start() -> Self {
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let routes = Router::new().fallback(repeat).with_state(heard.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { port, heard }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it was sent so far, the newest last.
    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn repeat(
    State(heard): State<Arc<Mutex<Vec<String>>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let said = json!({
        "method": method.as_str(),
        "path": uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    heard.lock().unwrap().push(said.to_string());
    let is_fine = uri.path().starts_with("/ok");
    (if is_fine { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }, said.to_string())
}

/// A mail server that repeats what it refuses.
async fn mail_echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                stream.write_all(b"220 echo\r\n").await?;
                let mut line = String::new();
                while stream.read_line(&mut line).await? > 0 {
                    let answer = match line.starts_with("EHLO") {
                        true => "250-echo\r\n250 AUTH PLAIN LOGIN\r\n".to_owned(),
                        false => format!("535 no {}\r\n", line.trim()),
                    };
                    stream.write_all(answer.as_bytes()).await?;
                    line.clear();
                }
                std::io::Result::Ok(())
            });
        }
    });
    port
}

/// A config for each secret member of each handler, and for texts besides.
fn configs(echo: &Echo, mail_port: u16) -> Vec<(&'static str, Value)> {
    let (ok, no) = (echo.url(&format!("/ok/{NAMED}")), echo.url(&format!("/no/{NAMED}")));
    let base = echo.url("/api");
    let mail = |body: Value| {
        let mut config = json!({
            "smtp_host": "127.0.0.1", "smtp_port": mail_port, "use_tls": false,
            "smtp_username": "me", "smtp_password": NAMED, "from_email": "a@b.example",
            "to": "c@d.example", "subject": "s", "timeout_seconds": 5,
        });
        for (name, value) in body.as_object().unwrap() {
            config[name] = value.clone();
        }
        config
    };
    let proofs = [
        ("basic", json!({ "username": "me", "password": NAMED })),
        ("bearer", json!({ "token": NAMED })),
        ("api_key", json!({ "key": NAMED })),
        ("hmac", json!({ "secret": NAMED })),
        ("jwt", json!({ "secret": NAMED, "subject": NAMED })),
    ];
    let mut all = vec![
        ("webhook.http", json!({ "webhook_url": ok, "headers": { "x-secret": NAMED } })),
        ("webhook.http", json!({ "webhook_url": no, "headers": { "x-secret": NAMED } })),
        (
            "webhook.signed",
            json!({ "webhook_url": ok, "webhook_secret": NAMED, "previous_secret": NAMED }),
        ),
        (
            "http.call",
            json!({ "url": ok, "method": "POST", "query": { "q": NAMED }, "body": { "b": [NAMED] } }),
        ),
        ("http.call", json!({ "url": NAMED })),
        ("slack.message", json!({ "webhook_url": no, "text": format!("hi {NAMED}") })),
        (
            "slack.message",
            json!({ "token": NAMED, "channel": "c", "api_base": base, "text": NAMED }),
        ),
        ("teams.message", json!({ "webhook_url": no, "title": NAMED, "text": "x" })),
        (
            "sms.twilio",
            json!({
                "account_sid": format!("AC{}", "0".repeat(32)), "auth_token": NAMED,
                "from_phone": "+15550100", "to": "+15550101", "message": NAMED, "api_base": base,
            }),
        ),
        (
            "sms.aws_sns",
            json!({
                "key": "AKIDEXAMPLE", "secret": NAMED, "session_token": NAMED, "to": "+15550101",
                "message": NAMED, "api_base": base,
            }),
        ),
        (
            "email.sendgrid",
            json!({
                "api_key": NAMED, "from_email": "a@b.example", "to": "c@d.example",
                "subject": NAMED, "content": NAMED, "api_base": base,
            }),
        ),
        ("email.smtp", mail(json!({ "body": NAMED, "html_body": NAMED }))),
        ("email.template", mail(json!({ "text": NAMED }))),
        ("monitoring.alert", json!({ "target": "webhook", "webhook_url": no, "message": NAMED })),
        ("monitoring.alert", json!({ "target": "log", "severity": "critical", "message": NAMED })),
        ("notification.inbox", json!({ "to": NAMED, "title": NAMED, "text": NAMED })),
        ("health.check", json!({ "url": no, "headers": { "x-secret": NAMED } })),
    ];
    for (kind, proof) in proofs {
        all.push((
            "http.call",
            json!({ "url": echo.url("/ok"), "auth_type": kind, "auth_config": proof }),
        ));
        all.push((
            "webhook.retry",
            json!({ "webhook_url": echo.url("/no"), "auth_type": kind, "auth_config": proof }),
        ));
    }
    all
}

/// The members that a schema says are secret, as `handler /pointer`.
fn secret_members(
    handler: &str,
    root: &Value,
    schema: &Value,
    pointer: &str,
    found: &mut BTreeSet<String>,
) {
    if schema["writeOnly"] == true {
        found.insert(format!("{handler} {pointer}"));
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        secret_members(handler, root, target, pointer, found);
    }
    for branch in ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema[word].as_array()) {
        for schema in branch {
            secret_members(handler, root, schema, pointer, found);
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        secret_members(handler, root, schema, &format!("{pointer}/{name}"), found);
    }
}

/// The forms in which the marked secret would be recognised.
fn forms() -> Vec<String> {
    let mut forms = vec![CANARY.to_owned(), CANARY.to_uppercase()];
    forms.push(CANARY.bytes().map(|byte| format!("{byte:02x}")).collect());
    for shift in 0..3 {
        let encoded = STANDARD.encode([vec![b'x'; shift], CANARY.into()].concat());
        forms.push(encoded[4..encoded.len() - 4].to_owned());
    }
    forms
}

fn looks_clean(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for form in forms() {
        if let Some(at) = text.find(&form) {
            let start = text.floor_char_boundary(at.saturating_sub(300));
            let end = text.ceil_char_boundary((at + 200).min(text.len()));
            panic!("{place} holds the secret: …{}…", &text[start..end]);
        }
    }
}

/// What every table holds. The engine drops tables behind its back (segments it is done with), so
/// one that is gone when its turn comes starts the look anew.
async fn dump(url: &str) -> String {
    const UNDEFINED_TABLE: &str = "42P01";
    let mut connection = PgConnection::connect(url).await.unwrap();
    for _ in 0..10 {
        match try_dump(&mut connection).await {
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(UNDEFINED_TABLE) => {}
            dumped => return dumped.unwrap(),
        }
    }
    panic!("tables kept going away while they were read");
}

async fn try_dump(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select table_schema, table_name from information_schema.tables
         where table_schema not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut dump = String::new();
    for (schema, table) in tables {
        let text = format!("select t::text from \"{schema}\".\"{table}\" as t");
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&mut *connection).await?;
        dump.push_str(&format!("\n{schema}.{table}\n{}", rows.join("\n")));
    }
    Ok(dump)
}

async fn answer(server: &Server, path: &str) -> String {
    server.get(path).send().await.unwrap().text().await.unwrap()
}

/// Uses a marked secret in every way, and looks at everything that can be asked for.
async fn use_everywhere(server: &Server, echo: &Echo, mail_port: u16) {
    server.create("/v1/admin/tenants", &json!({ "slug": "acme" })).await;
    let url = server.url(&format!("{TENANT}/secrets/CANARY"));
    let put = reqwest::Client::new().put(url).bearer_auth(TOKEN);
    let put = put.json(&json!({ "value": CANARY })).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::CREATED);
    looks_clean("the answer of put", put.text().await.unwrap().as_bytes());

    let mut paths = vec![];
    let configs = configs(echo, mail_port);
    let (mut expected, mut covered) = (BTreeSet::new(), BTreeSet::new());
    for handler in server.read(&format!("{TENANT}/handlers")).await["items"].as_array().unwrap() {
        let id = handler["id"].as_str().unwrap();
        let schema = server.read(&format!("{TENANT}/handlers/{id}")).await["config_schema"].take();
        secret_members(id, &schema, &schema, "", &mut expected);
        let own = configs.iter().filter(|(handler, _)| *handler == id);
        for pointer in own.flat_map(|(_, config)| actions_domain::secret::references(config)) {
            covered.insert(format!("{id} {}", pointer.0));
        }
    }
    let missing: Vec<_> = expected.difference(&covered).collect();
    assert!(expected.len() >= 15 && missing.is_empty(), "give these a marked secret: {missing:?}");

    for (index, (handler, config)) in configs.iter().enumerate() {
        let name = format!("a{index}");
        let action = json!({
            "name": name, "action_type": "custom", "handler": handler, "config": config,
            "retry_policy": "no_retry",
        });
        let made = server.create(&format!("{TENANT}/actions"), &action).await;
        looks_clean(&format!("the answer of {handler}"), made.to_string().as_bytes());
        let run = server.post(&format!("{TENANT}/actions/{name}:execute?wait=30s"));
        let run = run.json(&json!({ "input": {} })).send().await.unwrap();
        let (status, text) = (run.status(), run.text().await.unwrap());
        assert!(status.is_success(), "{handler}: {text}");
        let ended: Value = serde_json::from_str(&text).unwrap();
        let id = ended["id"].as_str().unwrap_or_else(|| panic!("{text}"));
        let path = format!("{TENANT}/executions/{id}");
        eventually("it has ended", async || {
            ["completed", "failed", "timeout"]
                .contains(&server.read(&path).await["status"].as_str().unwrap())
        })
        .await;
        paths.push(path);
        let checked = server.post(&format!("{TENANT}/actions/{name}:check-health"));
        let checked = checked.json(&json!({})).send().await.unwrap().text().await.unwrap();
        looks_clean(&format!("the health check of {handler}"), checked.as_bytes());
        for rest in ["", "/versions", "/metrics"] {
            paths.push(format!("{TENANT}/actions/{name}{rest}"));
        }
    }
    let heard = echo.heard();
    let repeated = heard.iter().filter(|said| forms().iter().any(|form| said.contains(form)));
    assert!(repeated.count() >= 15, "the other side did get it: {heard:#?}");

    for rest in [
        "actions",
        "definitions",
        "executions",
        "events",
        "dead-letters",
        "dead-letters/groups",
        "secrets",
        "secrets/CANARY",
        "metrics/summary",
        "queues",
        "controls",
        "handlers",
    ] {
        paths.push(format!("{TENANT}/{rest}"));
    }
    for path in
        ["/metrics", "/v1/admin/master-keys", "/v1/admin/nodes", "/readyz?verbose", "/openapi.json"]
    {
        paths.push(path.to_owned());
    }
    for path in paths {
        looks_clean(&path, answer(server, &path).await.as_bytes());
    }
}

async fn nothing_holds_a_marked_secret(
    folder: &std::path::Path,
    database_url: &str,
) -> (Server, String) {
    let (echo, mail_port) = (Echo::start().await, mail_echo().await);
    let log = folder.join("server.log");
    let key = LocalKeys::generate(&SystemDice).to_string();
    let server = Server::start_with(
        database_url,
        vec![
            ("ACTIONS_MASTER_KEY", key.clone()),
            ("ACTIONS_LOG", "trace".to_owned()),
            ("ACTIONS_TEST_LOG_FILE", log.display().to_string()),
        ],
    )
    .await;
    use_everywhere(&server, &echo, mail_port).await;
    let told = std::fs::read(&log).unwrap();
    assert!(told.len() > 100_000, "it logs everything: {} bytes", told.len());
    looks_clean("the log", &told);
    assert!(!String::from_utf8_lossy(&told).contains(&key), "the log holds the master key");
    (server, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_secret_is_found_nowhere_with_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let url = format!("sqlite://{}", data.join("actions.db").display());
    let (mut server, key) = nothing_holds_a_marked_secret(folder.path(), &url).await;
    server.kill();
    let mut sizes = 0;
    for file in std::fs::read_dir(&data).unwrap() {
        let file = file.unwrap().path();
        let bytes = std::fs::read(&file).unwrap();
        sizes += bytes.len();
        looks_clean(&file.display().to_string(), &bytes);
        assert!(!String::from_utf8_lossy(&bytes).contains(&key));
    }
    assert!(sizes > 100_000, "the database was looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_secret_is_found_nowhere_with_postgres() {
    let (folder, url) = (tempfile::tempdir().unwrap(), fresh_database().await);
    let (_server, key) = nothing_holds_a_marked_secret(folder.path(), &url).await;
    let dump = dump(&url).await;
    assert!(
        dump.contains("engine.secret_version\n(") && dump.contains(NAMED),
        "it is a whole dump"
    );
    looks_clean("a dump of the database", dump.as_bytes());
    assert!(!dump.contains(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_master_keys_are_replaced_under_load_and_nothing_fails() {
    let keys =
        ["old", "new"].map(|id| format!("{id}:{}", LocalKeys::generate(&SystemDice).as_str()));
    let setting = |keys: &str| vec![("ACTIONS_MASTER_KEY", keys.to_owned())];
    let mut cluster = Cluster::start_over(&fresh_database().await, 3, setting(&keys[0])).await;
    let echo = Echo::start().await;
    let client = reqwest::Client::new();
    let put = async |cluster: &Cluster, number: usize| {
        let node = &cluster.nodes[number % cluster.nodes.len()];
        let request = client.put(node.url(&format!("{TENANT}/secrets/KEY"))).bearer_auth(TOKEN);
        let request = request.json(&json!({ "value": format!("value-{number}-of-the-key") }));
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    };
    put(&cluster, 0).await;
    let config = json!({
        "webhook_url": echo.url("/ok"),
        "headers": { "x-key": "{{ secrets.KEY }}", "x-before": "before {{ secrets.KEY }}" },
    });
    cluster.create_action("keyed", json!({ "config": config, "retry_policy": "no_retry" })).await;
    let producer = cluster.produce("keyed", 100);
    for number in 1..=10 {
        put(&cluster, number).await;
        pause(Duration::from_millis(200)).await;
    }
    // One after the other: first every node learns the new key, then it wraps, then the old one goes.
    let both = [format!("{},{}", keys[0], keys[1]), format!("{},{}", keys[1], keys[0])];
    for keys in &both {
        for node in &mut cluster.nodes {
            node.signal("TERM");
            assert_eq!(node.ended().await, Some(0));
            node.set(("ACTIONS_MASTER_KEY", keys.clone()));
            node.start_again().await;
        }
    }
    put(&cluster, 11).await;
    let rewrap = cluster.nodes[0].post("/v1/admin/master-keys:rewrap").send().await.unwrap();
    let done: Value = rewrap.json().await.unwrap();
    assert_eq!(done["left"], 0, "{done}");
    for node in &mut cluster.nodes {
        node.signal("TERM");
        assert_eq!(node.ended().await, Some(0));
        node.set(("ACTIONS_MASTER_KEY", keys[1].clone()));
        node.start_again().await;
    }
    let sent = producer.stop().await;
    let metrics = format!("{TENANT}/actions/keyed/metrics");
    eventually("all executions have ended", async || {
        let metrics = cluster.nodes[0].read(&metrics).await;
        assert_eq!(metrics["failed_executions"], 0, "{metrics:#}");
        metrics["successful_executions"].as_u64() == Some(sent as u64)
    })
    .await;
    // Whatever is begun two seconds after a change has the newest value.
    put(&cluster, 12).await;
    pause(Duration::from_secs(2)).await;
    let before = echo.heard().len();
    for node in 0..cluster.nodes.len() {
        let run = cluster.nodes[node].post(&format!("{TENANT}/actions/keyed:execute?wait=30s"));
        assert!(run.json(&json!({ "input": {} })).send().await.unwrap().status().is_success());
    }
    eventually("the calls have come", async || echo.heard().len() >= before + 3).await;
    for said in &echo.heard()[before..] {
        assert!(said.contains("value-12-of-the-key"), "{said}");
    }
}
