//! Delivers an execution as a signed HTTP request: Standard Webhooks, the founding header, or
//! both.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use actions_domain::action::ActionType;
use actions_domain::execution::Outcome;
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use super::signature::{founding, key, standard};
use super::{Target, classify};
use crate::answer::Answer;
use crate::config::{
    About, Headers, Notes, Secret, checked, descriptor, parse, parse_config, reject,
};
use crate::egress::{Egress, EgressError, Method, Request, check_header};

/// Fewer random bytes can be guessed.
const SECRET_BYTES_MIN: usize = 24;

/// Where to deliver, and with which signature.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// An http or https address outside private networks.
    webhook_url: String,
    /// `whsec_` and base64, or any text of 24 bytes and more.
    webhook_secret: Secret,
    /// Signs a second time while receivers change to the new secret.
    #[serde(default)]
    previous_secret: Option<Secret>,
    #[serde(default)]
    signature: Signature,
    /// The founding signature's header.
    #[serde(default = "signature_header_default")]
    signature_header: String,
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

/// Which signatures a delivery carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Signature {
    /// `sha256=…` over the body.
    Founding,
    /// `webhook-signature`, as Standard Webhooks says.
    Standard,
    #[default]
    Both,
}

fn signature_header_default() -> String {
    "X-Webhook-Signature".to_owned()
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

    /// The keys to sign with, the current one first.
    fn keys(&self) -> Result<Vec<Vec<u8>>, &'static str> {
        let secrets = std::iter::once(&self.webhook_secret).chain(&self.previous_secret);
        secrets.map(|secret| key(secret.expose())).collect()
    }

    fn sign(&self, request: Request, call: &Call, body: &[u8]) -> Result<Request, &'static str> {
        let mut request = request;
        if matches!(self.signature, Signature::Founding | Signature::Both) {
            let signature = founding(self.webhook_secret.expose(), body);
            request = request.header(&self.signature_header, signature);
        }
        if matches!(self.signature, Signature::Standard | Signature::Both) {
            let (id, timestamp) = (call.execution.to_string(), call.started_at.timestamp());
            let signature = standard(&self.keys()?, &id, &timestamp.to_string(), body);
            request = request.header("webhook-signature", signature);
        }
        Ok(request)
    }

    fn check(&self, egress: &Egress, notes: &mut Notes) {
        self.target().check(egress, notes);
        for (pointer, secret) in [
            ("/webhook_secret", Some(&self.webhook_secret)),
            ("/previous_secret", self.previous_secret.as_ref()),
        ] {
            notes.secret(pointer, secret);
            match secret.map(|secret| key(secret.expose())) {
                Some(Ok(key)) if key.len() < SECRET_BYTES_MIN => {
                    let message = format!(
                        "has {} bytes; use {SECRET_BYTES_MIN} random ones or more",
                        key.len()
                    );
                    notes.warn(pointer, message);
                }
                Some(Err(message)) => notes.error(pointer, message),
                Some(Ok(_)) | None => {}
            }
        }
        if let Err(error) = check_header(&self.signature_header, "x") {
            notes.error("/signature_header", error.to_string());
        }
    }
}

/// `webhook.signed`
pub struct SignedWebhook {
    descriptor: Descriptor,
    egress: Egress,
}

impl SignedWebhook {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Value, Answer>(About {
            id: "webhook.signed",
            aliases: &["SignedWebhookHandler", "OrganizationWebhookHandler"],
            title: "Deliver as a signed HTTP request",
            handler_type: "webhook_http",
            capabilities: &["async", "idempotency_key", "signature"],
            action_types: &[ActionType::Webhook],
            delivery: Delivery::OnceWithIdempotentPeer,
        });
        Self { descriptor, egress }
    }
}

#[async_trait]
impl Handler for SignedWebhook {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| config.check(&self.egress, notes))
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let config: Config = match parse_config(call) {
            Ok(config) => config,
            Err(outcome) => return outcome,
        };
        let target = config.target();
        // What is signed is what is sent.
        let body = target.body(call);
        let request = match target.request(&self.egress, call, &body) {
            Ok(request) => request,
            Err(error) => return error.outcome(),
        };
        let request = match config.sign(request, call, &body) {
            Ok(request) => request,
            Err(message) => return reject("config.invalid", format!("/webhook_secret: {message}")),
        };
        self.egress
            .send(request)
            .await
            .map_or_else(|error: EgressError| error.outcome(), |response| classify(&response, call))
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: Config = parse(config).map_err(|note| note.message)?;
        self.egress.reach_url(&config.webhook_url).await.map_err(|error| error.to_string())
    }
}
