//! Calls somebody else's API and keeps the answer.
//!
//! The execution's id travels as `Idempotency-Key`, so an API that knows the header ignores a
//! repetition.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use actions_domain::action::ActionType;
use actions_domain::execution::{Outcome, Output};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use crate::answer::{Answer, classify};
use crate::config::{
    About, Headers, checked, descriptor, parse, parse_config, reject, time_limit, to_value,
};
use crate::egress::{Egress, EgressError, Method, Request, Response};
use crate::webhook::USER_AGENT;
use crate::webhook::auth::{AuthConfig, AuthType};

/// Which request to make.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// An http or https address outside private networks.
    url: String,
    /// A name for this request, for people.
    #[serde(default)]
    #[expect(dead_code, reason = "people read it in the definition")]
    request: Option<String>,
    #[serde(default = "get")]
    method: Method,
    #[serde(default)]
    headers: Headers,
    /// Parameters that are added to the URL's query.
    #[serde(default)]
    query: BTreeMap<String, String>,
    /// The body. Without one, methods that take a body send the input.
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    auth_type: AuthType,
    #[serde(default)]
    auth_config: AuthConfig,
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
    #[serde(default = "crate::webhook::yes")]
    verify_ssl: bool,
}

fn get() -> Method {
    Method::Get
}

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
struct Answered {
    #[serde(flatten)]
    answer: Answer,
    /// The body, when it is JSON and small enough to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
}

/// Larger JSON is kept as the start of its text only.
const JSON_BYTES_MAX: usize = 32 * 1024;

/// `http.call`
pub struct HttpCall {
    descriptor: Descriptor,
    egress: Egress,
}

impl HttpCall {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Value, Answered>(About {
            id: "http.call",
            aliases: &["SetupTenantRealmHandler", "ExternalApiHandler"],
            title: "Call an HTTP API",
            handler_type: "webhook_http",
            capabilities: &["async", "idempotency_key"],
            action_types: &[ActionType::ExternalApi, ActionType::Custom],
            delivery: Delivery::OnceWithIdempotentPeer,
        });
        Self { descriptor, egress }
    }

    fn request(&self, config: &Config, call: &Call) -> Result<Request, Outcome> {
        let query = config.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut request = Request::new(&self.egress, config.method, &config.url)
            .map_err(|error| error.outcome())?
            .query(query)
            .timeout(time_limit(config.timeout_seconds, call))
            .verifies(config.verify_ssl)
            .header("user-agent", USER_AGENT)
            .header("idempotency-key", call.execution.to_string())
            .traced(call);
        let mut text = Vec::new();
        if config.method.has_body() {
            text = config.body.as_ref().unwrap_or(&call.input).to_string().into_bytes();
            request = request.header("content-type", "application/json").body(text.clone());
        }
        for (name, value) in &config.headers {
            request = request.header(name, value);
        }
        config
            .auth_config
            .prove(config.auth_type, request, &text, call.started_at)
            .map_err(|field| reject("config.invalid", format!("/auth_config/{field} is missing")))
    }
}

fn answered(response: &Response) -> Output {
    let is_small = !response.is_cut && response.body.len() <= JSON_BYTES_MAX;
    let json = if is_small { response.json() } else { None };
    let mut answer = Answer::of(response);
    if json.is_some() {
        answer.response_body.clear();
    }
    Output::new(to_value(&Answered { answer, json }))
}

#[async_trait]
impl Handler for HttpCall {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| {
            notes.url(&self.egress, "/url", &config.url);
            notes.headers("/headers", &config.headers);
            notes.timeout("/timeout_seconds", config.timeout_seconds, 300);
            config.auth_config.check(config.auth_type, notes);
            if config.body.is_some() && !config.method.has_body() {
                notes.error("/body", "this method sends no body");
            }
            if !config.verify_ssl {
                notes.warn("/verify_ssl", "anybody on the way can read and change this");
            }
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let sent = match parse_config(call).and_then(|config| self.request(&config, call)) {
            Ok(request) => self.egress.send(request).await,
            Err(outcome) => return outcome,
        };
        match sent {
            Ok(response) if response.is_success() => Outcome::Done(answered(&response)),
            Ok(response) => classify(&response, call.started_at),
            Err(error) => EgressError::outcome(&error),
        }
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: Config = parse(config).map_err(|note| note.message)?;
        self.egress.reach_url(&config.url).await.map_err(|error| error.to_string())
    }
}
