//! Posts a message to Slack: through an incoming webhook, or with a bot's token.
//!
//! Slack answers 200 also when it refuses; `ok` tells.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use actions_domain::action::ActionType;
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use crate::answer::{classify_endpoint, refused, retry_after};
use crate::config::{
    About, Secret, checked, descriptor, parse, parse_config, parse_input, reject, time_limit,
    to_value,
};
use crate::egress::{Egress, Method, Request, Response};
use crate::template::{Escape, Template, announcement, render_for, slack_escaped};
use crate::webhook::USER_AGENT;

const API_BASE: &str = "https://slack.com/api";
/// Slack cuts longer texts.
const TEXT_CHARS_MAX: usize = 40_000;
/// Refusals that pass.
const PASSING: [&str; 8] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "accesslimited",
    "rollup_error",
];

/// Where to post, and what. Either `webhook_url`, or `token` and `channel`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// An incoming webhook. It is a credential of its own.
    #[serde(default)]
    webhook_url: Option<Secret>,
    /// A bot's token.
    #[serde(default)]
    token: Option<Secret>,
    /// A channel's id or name.
    #[serde(default)]
    channel: Option<String>,
    /// A template over `event`, `data`, `tenant`. Values are escaped. Without it the input's
    /// `text` is posted, escaped too, with its `blocks`, or the event's name.
    #[serde(default)]
    text: Option<Template>,
    /// Where Slack's API is.
    #[serde(default)]
    api_base: Option<String>,
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
}

/// What a job may say instead of the config.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
struct Input {
    #[serde(default)]
    text: Option<Value>,
    #[serde(default)]
    channel: Option<Value>,
    /// Slack's own layout.
    #[serde(default)]
    blocks: Option<Value>,
}

/// What Slack says of the message.
#[derive(Debug, Serialize, JsonSchema)]
struct Posted {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    /// The message's id in its channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
}

/// `slack.message`
pub struct SlackMessage {
    descriptor: Descriptor,
    egress: Egress,
}

impl SlackMessage {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Input, Posted>(About {
            id: "slack.message",
            aliases: &["TenantProvisioningHandler", "OrganizationSlackHandler"],
            title: "Post a message to Slack",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[ActionType::SlackNotification],
            delivery: Delivery::AtLeastOnce,
        });
        Self { descriptor, egress }
    }

    fn request(&self, config: &Config, call: &Call) -> Result<Request, Outcome> {
        let input: Input = parse_input(call)?;
        let text = match &config.text {
            Some(template) => render_for(call, template, Escape::Slack)?,
            None => match (input.text, announcement(call)) {
                (Some(Value::String(text)), _) => slack_escaped(&text),
                (_, Some(announcement)) => announcement,
                (_, None) => return Err(reject("input.invalid", NO_TEXT)),
            },
        };
        let mut body = json!({ "text": text.chars().take(TEXT_CHARS_MAX).collect::<String>() });
        // Slack would show these instead of the text that the config fixes.
        if let (None, Some(Value::Array(blocks))) = (&config.text, input.blocks) {
            body["blocks"] = json!(blocks);
        }
        let asked = input.channel.as_ref().and_then(Value::as_str);
        if let Some(channel) = config.channel.as_deref().or(asked) {
            body["channel"] = json!(channel);
        }
        let (begun, token) = match (&config.webhook_url, &config.token) {
            (Some(url), _) => (Request::new(&self.egress, Method::Post, url.expose()), None),
            (None, Some(token)) if body.get("channel").is_some() => {
                let base = config.api_base.as_deref().unwrap_or(API_BASE);
                let path = "/chat.postMessage";
                (Request::below(&self.egress, Method::Post, base, path), Some(token))
            }
            (None, _) => return Err(reject("config.invalid", NO_TARGET)),
        };
        let request = begun
            .map_err(|error| error.outcome())?
            .timeout(time_limit(config.timeout_seconds, call))
            .header("user-agent", USER_AGENT)
            .json(&body);
        Ok(match token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.expose())),
            None => request,
        })
    }
}

const NO_TEXT: &str = "a text is needed: as a template in the config, or in the input";
const NO_TARGET: &str = "a webhook_url is needed, or a token and a channel";

/// What Slack's answer means.
fn understood(response: &Response, call: &Call) -> Outcome {
    let answer = response.json();
    let error = match answer.as_ref() {
        // The API's form.
        Some(Value::Object(answer)) if response.is_success() => {
            if answer.get("ok") == Some(&Value::Bool(true)) {
                let text = |name: &str| answer.get(name)?.as_str().map(ToOwned::to_owned);
                let posted = Posted { channel: text("channel"), message_id: text("ts") };
                return Outcome::Done(Output::new(to_value(&posted)));
            }
            answer.get("error").and_then(Value::as_str).unwrap_or("no reason given").to_owned()
        }
        // A webhook's form.
        _ if response.is_success() && response.text().trim() == "ok" => {
            let posted = Posted { channel: None, message_id: None };
            return Outcome::Done(Output::new(to_value(&posted)));
        }
        _ if response.is_success() => "an answer that is not Slack's".to_owned(),
        _ => return classify_endpoint(response, call.started_at),
    };
    let fault = Fault::handler("slack.refused", format!("Slack refused the message: {error}"))
        .with_details(refused(response, call.started_at).details.unwrap_or_default())
        .with_retry_after(retry_after(response, call.started_at));
    if PASSING.contains(&error.as_str()) { Outcome::Retry(fault) } else { Outcome::Reject(fault) }
}

#[async_trait]
impl Handler for SlackMessage {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| {
            match (&config.webhook_url, &config.token) {
                (Some(url), None) => notes.url(&self.egress, "/webhook_url", url.expose()),
                (None, Some(_)) if config.channel.is_none() => {
                    notes.warn("/channel", "every input must name a channel");
                }
                (None, Some(_)) => {}
                (None, None) => notes.error("/webhook_url", NO_TARGET),
                (Some(_), Some(_)) => notes.error("/token", "with a webhook_url it is not used"),
            }
            notes.secret("/token", config.token.as_ref());
            notes.template("/text", config.text.as_ref());
            notes.timeout("/timeout_seconds", config.timeout_seconds, 300);
            if let Some(base) = &config.api_base {
                notes.url(&self.egress, "/api_base", base);
            }
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
        let base = config.api_base.as_deref().unwrap_or(API_BASE);
        let url = config.webhook_url.as_ref().map_or(base, Secret::expose);
        self.egress.reach_url(url).await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Config, SlackMessage};
    use crate::config::parse_config;
    use crate::egress::{Egress, EgressPolicy};
    use crate::fixture::call;

    fn posted(config: Value, input: Value) -> Value {
        let mut config = config;
        config["webhook_url"] = json!("https://hooks.slack.example/services/x");
        let call = call(config, input);
        let config: Config = parse_config(&call).expect("a config");
        let slack = SlackMessage::new(Egress::new(EgressPolicy::default()).expect("a gate"));
        let request = slack.request(&config, &call).expect("a request");
        serde_json::from_slice(request.bytes()).expect("JSON")
    }

    #[test]
    fn an_input_cannot_ping_a_channel_or_replace_the_text_of_the_config() {
        let evil = json!({ "text": "<!channel> & <https://evil.example|ours>", "blocks": [{}] });
        let escaped = "&lt;!channel&gt; &amp; &lt;https://evil.example|ours&gt;";
        assert_eq!(posted(json!({}), evil.clone()), json!({ "text": escaped, "blocks": [{}] }));
        let fixed = posted(json!({ "text": "Hi {{ data.text }}" }), evil);
        assert_eq!(fixed, json!({ "text": format!("Hi {escaped}") }));
    }
}
