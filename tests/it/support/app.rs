//! The HTTP interface over a whole engine, asked without a socket.

use std::sync::Arc;
use std::time::Duration;

use actions::{Access, Serving, Sites, TrustedProxies};
use actions_domain::execution::{Outcome, Output};
use actions_domain::ports::authorizer::Authorizer;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::handler::{
    Call, ConfigReport, Delivery, Descriptor, FieldNote, Handler,
};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::engine::{MASTER_KEY, TestEngine};

pub const TOKEN: &str = "test-token";

/// An engine with the tenant `acme`, and its API.
pub struct TestApp {
    pub engine: TestEngine,
    pub draining: CancellationToken,
    router: Router,
}

/// What the API said.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::serving(Access::Token(TOKEN.to_owned().into())).await
    }

    pub async fn serving(access: Access) -> Self {
        Self::with(access, true, Sites::default()).await
    }

    /// Serves only what is about the process.
    pub async fn worker() -> Self {
        Self::with(Access::LocalDev, false, Sites::default()).await
    }

    /// Is asked by these names, and by pages of these origins.
    pub async fn at(access: Access, hosts: &[&str], origins: &[&str]) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let sites = Sites::new(&texts(hosts), &texts(origins)).unwrap();
        Self::with(access, true, sites).await
    }

    async fn with(access: Access, has_api: bool, sites: Sites) -> Self {
        Self::over(TestEngine::start().await, access, has_api, sites).await
    }

    /// Serves an engine that was started with these master keys.
    pub async fn with_keys(keys: &str) -> Self {
        let access = Access::Token(TOKEN.to_owned().into());
        let engine = TestEngine::start_with_keys(keys).await;
        Self::over(engine, access, true, Sites::default()).await
    }

    /// Serves an engine in which somebody is asked after the roles.
    pub async fn judged_by(authorizer: Arc<dyn Authorizer>) -> Self {
        let access = Access::Token(TOKEN.to_owned().into());
        let engine = TestEngine::start_judged_by(MASTER_KEY, Some(authorizer)).await;
        Self::over(engine, access, true, Sites::default()).await
    }

    /// The API of the process that the engine is after a crash.
    pub async fn again(self) -> Self {
        let access = Access::Token(TOKEN.to_owned().into());
        Self::over(self.engine, access, true, Sites::default()).await
    }

    async fn over(engine: TestEngine, access: Access, has_api: bool, sites: Sites) -> Self {
        engine.app.handlers.register(Arc::new(Secretive::new()));
        engine.app.catalogue.refresh_all().await.unwrap();
        let draining = CancellationToken::new();
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let serving = Serving {
            access,
            metrics: metrics.handle(),
            has_node: true,
            has_api,
            draining: draining.clone(),
            sites,
            proxies: TrustedProxies::new(&["10.9.0.0/16".to_owned()]).unwrap(),
        };
        let router = actions::router(engine.app.clone(), serving);
        Self { engine, draining, router }
    }

    /// The API as it is served.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Asks for a path below the tenant.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, &in_tenant(path), &[], "").await
    }

    /// Posts JSON below the tenant.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.json(Method::POST, &in_tenant(path), &[], body).await
    }

    /// Puts JSON below the tenant.
    pub async fn put(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        self.json(Method::PUT, &in_tenant(path), headers, body).await
    }

    pub async fn delete(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::DELETE, &in_tenant(path), headers, "").await
    }

    pub async fn json(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.send(method, path, &all, body.to_string()).await
    }

    /// Sends a request with the token, unless it brings another.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {TOKEN}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.body(body.into()).unwrap()).await
    }

    /// Sends a request as it is, and lets time pass where the answer waits for it.
    pub async fn answer(&self, request: Request<Body>) -> Answer {
        let response = tokio::spawn(self.router.clone().oneshot(request));
        for _ in 0..1_000 {
            self.engine.settle().await;
            if response.is_finished() {
                break;
            }
            let limit = self.engine.clock.now() + chrono::TimeDelta::seconds(5);
            self.engine.clock.move_to_next(limit);
        }
        collected(response.await.unwrap().unwrap()).await
    }

    /// As [`TestApp::answer`], without waiting for what the request leads to.
    pub async fn answer_alone(&self, request: Request<Body>) -> Answer {
        let mut response = tokio::spawn(self.router.clone().oneshot(request));
        loop {
            tokio::select! {
                biased;
                response = &mut response => return collected(response.unwrap().unwrap()).await,
                () = self.engine.settle() => {}
            }
            let limit = self.engine.clock.now() + chrono::TimeDelta::seconds(5);
            self.engine.clock.move_to_next(limit);
        }
    }

    /// Creates an action for the scripted handler, which takes part from the next event on.
    pub async fn given_action(&self, name: &str, pattern: &str, changes: Value) -> Value {
        let mut body = json!({
            "name": name,
            "action_type": "custom",
            "handler": "test.script",
            "event_patterns": [pattern],
            "retry_policy": "no_retry",
        });
        for (field, value) in changes.as_object().unwrap() {
            body[field] = value.clone();
        }
        let answer = self.post("actions", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.body()
    }

    /// Sends an event, lets everything run that it led to, and answers what was accepted.
    pub async fn emit(&self, event_type: &str, data: Value) -> Value {
        let answer = self.post("events", json!({ "type": event_type, "data": data })).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        self.engine.settle().await;
        answer.body()
    }

    pub async fn advance(&self, pause: Duration) {
        self.engine.advance(pause).await;
    }
}

impl Answer {
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Status, code and the places of a problem in one line.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let body = self.body();
        let places = body["errors"].as_array().into_iter().flatten();
        let places: Vec<_> =
            places.map(|error| error["pointer"].as_str().unwrap_or_default()).collect();
        let code = body["code"].as_str().unwrap();
        format!("{} {code} {}", self.status.as_u16(), places.join(" ")).trim_end().to_owned()
    }
}

async fn collected(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

pub fn in_tenant(path: &str) -> String {
    format!("/v1/tenants/acme/{path}")
}

/// A handler whose config holds a secret, and which judges its config beyond the schema.
struct Secretive {
    descriptor: Descriptor,
}

impl Secretive {
    fn new() -> Self {
        let descriptor = Descriptor {
            id: "test.secretive",
            aliases: &["founding.SecretiveHandler"],
            version: "1.0.0",
            title: "Keeps a secret",
            handler_type: "native",
            capabilities: &[],
            action_types: &[],
            delivery: Delivery::AtLeastOnce,
            config_schema: json!({
                "type": "object",
                "properties": {
                    "url": { "type": "string" },
                    "secret": { "type": "string", "writeOnly": true },
                },
                "required": ["url"],
                "additionalProperties": false,
            }),
            input_schema: json!({ "type": "object", "required": ["to"] }),
            output_schema: json!(true),
        };
        Self { descriptor }
    }
}

#[async_trait]
impl Handler for Secretive {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        let mut report = ConfigReport::default();
        if config["url"] == "http://169.254.169.254" {
            report.errors.push(FieldNote::new("/url", "this address is forbidden"));
        }
        if config["url"].as_str().is_some_and(|url| url.starts_with("http:")) {
            report.warnings.push(FieldNote::new("/url", "not encrypted"));
        }
        report
    }

    async fn execute(&self, call: &Call) -> Outcome {
        Outcome::Done(Output::new(json!({ "knew": call.config["secret"] })))
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        if config["url"] == "https://down" { Err("it is down".to_owned()) } else { Ok(()) }
    }
}
