//! Posts a message to Microsoft Teams through a channel's webhook, as an adaptive card.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use actions_domain::action::ActionType;
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use crate::answer::{classify_endpoint, refused};
use crate::config::{
    About, Secret, checked, descriptor, parse, parse_config, parse_input, reject, time_limit,
    to_value,
};
use crate::egress::{Egress, Method, Request, Response};
use crate::template::{Escape, Template, announcement, render_for};
use crate::webhook::USER_AGENT;

/// Teams refuses larger messages (28 KB, with the card around it).
const TEXT_BYTES_MAX: usize = 24 * 1024;

/// Where to post, and what.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The channel's webhook. It is a credential of its own.
    webhook_url: Secret,
    /// The channel's name, for people.
    #[serde(default)]
    #[expect(dead_code, reason = "people read it in the definition")]
    channel: Option<String>,
    /// A template over `event`, `data`, `tenant`. Without it the input's `title` is used.
    #[serde(default)]
    title: Option<Template>,
    /// A template over `event`, `data`, `tenant`. Without it the input's `text` is posted,
    /// or the event's name.
    #[serde(default)]
    text: Option<Template>,
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
}

/// What a job may say instead of the config.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
struct Input {
    #[serde(default)]
    title: Option<Value>,
    #[serde(default)]
    text: Option<Value>,
}

/// How Teams answered.
#[derive(Debug, Serialize, JsonSchema)]
struct Posted {
    status_code: u16,
}

/// `teams.message`
pub struct TeamsMessage {
    descriptor: Descriptor,
    egress: Egress,
}

impl TeamsMessage {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Input, Posted>(About {
            id: "teams.message",
            aliases: &["TeamsNotificationHandler"],
            title: "Post a message to Microsoft Teams",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[ActionType::TeamsNotification],
            delivery: Delivery::AtLeastOnce,
        });
        Self { descriptor, egress }
    }

    fn request(&self, config: &Config, call: &Call) -> Result<Request, Outcome> {
        let input: Input = parse_input(call)?;
        let said = |template: &Option<Template>, given: Option<Value>| match (template, given) {
            (Some(template), _) => render_for(call, template, Escape::Plain).map(Some),
            (None, Some(Value::String(given))) => Ok(Some(given)),
            (None, _) => Ok(None),
        };
        let title = said(&config.title, input.title)?;
        let text = said(&config.text, input.text)?
            .filter(|text| !text.is_empty())
            .or_else(|| announcement(call))
            .ok_or_else(|| reject("input.invalid", NO_TEXT))?;
        if text.len() > TEXT_BYTES_MAX {
            let message =
                format!("the text has {} bytes, Teams takes {TEXT_BYTES_MAX}", text.len());
            return Err(reject("input.invalid", message));
        }
        Ok(Request::new(&self.egress, Method::Post, config.webhook_url.expose())
            .map_err(|error| error.outcome())?
            .timeout(time_limit(config.timeout_seconds, call))
            .header("user-agent", USER_AGENT)
            .json(&card(title.as_deref(), &text)))
    }
}

const NO_TEXT: &str = "a text is needed: as a template in the config, or in the input";

/// The message that a channel's webhook takes.
fn card(title: Option<&str>, text: &str) -> Value {
    let block = |text: &str| json!({ "type": "TextBlock", "text": text, "wrap": true });
    let mut body = Vec::new();
    if let Some(title) = title {
        let mut block = block(title);
        block["weight"] = json!("Bolder");
        block["size"] = json!("Medium");
        body.push(block);
    }
    body.push(block(text));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

/// What Teams' answer means. Its older webhooks answer 200 also when the channel refused, and
/// say so in the text.
fn understood(response: &Response, call: &Call) -> Outcome {
    let text = response.text();
    if response.is_success() {
        let Some((_, inner)) = text.split_once("returned HTTP error ") else {
            return Outcome::Done(Output::new(to_value(&Posted { status_code: response.status })));
        };
        let fault = Fault::handler("teams.refused", "Teams refused the message")
            .with_details(refused(response, call.started_at).details.unwrap_or_default());
        let passes = inner.starts_with("429") || inner.starts_with('5');
        return if passes { Outcome::Retry(fault) } else { Outcome::Reject(fault) };
    }
    classify_endpoint(response, call.started_at)
}

#[async_trait]
impl Handler for TeamsMessage {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| {
            notes.url(&self.egress, "/webhook_url", config.webhook_url.expose());
            notes.template("/title", config.title.as_ref());
            notes.template("/text", config.text.as_ref());
            notes.timeout("/timeout_seconds", config.timeout_seconds, 300);
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let sent = match parse_config(call).and_then(|config| self.request(&config, call)) {
            Ok(request) => self.egress.send(request).await,
            Err(outcome) => return outcome,
        };
        match sent {
            Ok(response) => understood(&response, call),
            Err(error) => error.outcome(),
        }
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: Config = parse(config).map_err(|note| note.message)?;
        let reached = self.egress.reach_url(config.webhook_url.expose()).await;
        reached.map_err(|error| error.to_string())
    }
}
