//! Delivers an execution as a plain HTTP request.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use actions_domain::action::ActionType;
use actions_domain::execution::Outcome;
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use super::{Target, classify};
use crate::answer::Answer;
use crate::config::{About, Headers, checked, descriptor, parse, parse_config};
use crate::egress::{Egress, Method};

/// Where to deliver.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// An http or https address outside private networks.
    webhook_url: String,
    #[serde(default = "super::post")]
    method: Method,
    /// Sent beside our own headers.
    #[serde(default)]
    headers: Headers,
    #[serde(default = "super::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
    #[serde(default = "super::yes")]
    verify_ssl: bool,
}

impl Config {
    fn target(&self) -> Target<'_> {
        Target {
            url: &self.webhook_url,
            method: self.method,
            headers: &self.headers,
            timeout_seconds: self.timeout_seconds,
            verify_ssl: self.verify_ssl,
        }
    }
}

/// `webhook.http`
pub struct HttpWebhook {
    descriptor: Descriptor,
    egress: Egress,
}

impl HttpWebhook {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Value, Answer>(About {
            id: "webhook.http",
            aliases: &["HttpWebhookHandler", "WebhookHandler"],
            title: "Deliver as an HTTP request",
            handler_type: "webhook_http",
            capabilities: &["async", "idempotency_key"],
            action_types: &[ActionType::Webhook],
            delivery: Delivery::OnceWithIdempotentPeer,
        });
        Self { descriptor, egress }
    }
}

#[async_trait]
impl Handler for HttpWebhook {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| config.target().check(&self.egress, notes))
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let config: Config = match parse_config(call) {
            Ok(config) => config,
            Err(outcome) => return outcome,
        };
        let target = config.target();
        let sent = match target.request(&self.egress, call, &target.body(call)) {
            Ok(request) => self.egress.send(request).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(response) => classify(&response, call),
            Err(error) => error.outcome(),
        }
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: Config = parse(config).map_err(|note| note.message)?;
        self.egress.reach_url(&config.webhook_url).await.map_err(|error| error.to_string())
    }
}
