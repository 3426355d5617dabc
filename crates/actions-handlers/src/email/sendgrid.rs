//! Sends mail through SendGrid's API, version 3.

use async_trait::async_trait;
use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use actions_domain::action::ActionType;
use actions_domain::execution::{Outcome, Output};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use super::smtp::sender;
use super::{OneOrMany, check_subject, check_text, invalid, note_address, recipients, text};
use crate::answer::classify;
use crate::config::{
    About, Secret, checked, descriptor, parse, parse_config, parse_input, time_limit, to_value,
};
use crate::egress::{Egress, Method, Request};
use crate::template::{Escape, Template, render_for};
use crate::webhook::USER_AGENT;

const API_BASE: &str = "https://api.sendgrid.com";
/// SendGrid's own limit.
const CATEGORIES_MAX: usize = 10;

/// The account, the sender, and the message where it does not come with the input.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    api_key: Secret,
    from_email: String,
    #[serde(default)]
    from_name: Option<String>,
    /// A dynamic template of the account.
    #[serde(default)]
    template_id: Option<String>,
    /// A template over `event`, `data`, `tenant` for the recipients, separated by commas.
    #[serde(default)]
    to: Option<Template>,
    /// A template. Without it the input's `subject`.
    #[serde(default)]
    subject: Option<Template>,
    /// A template. Without it the input's `content` and `html_content`.
    #[serde(default)]
    content: Option<Template>,
    #[serde(default)]
    #[schemars(length(max = 10))]
    categories: Vec<String>,
    /// Checked by SendGrid, but not sent.
    #[serde(default)]
    sandbox_mode: bool,
    /// Seconds.
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    api_timeout: u32,
    /// Where the API is: SendGrid's European region, or something compatible.
    #[serde(default)]
    api_base: Option<String>,
}

/// A message of a job, or an event's data that holds one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
struct Input {
    #[serde(default)]
    to_email: Option<OneOrMany>,
    #[serde(default)]
    email: Option<OneOrMany>,
    /// Variables of the account's template. Without them the whole input.
    #[serde(default)]
    template_data: Option<Value>,
    #[serde(default)]
    subject: Option<Value>,
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    html_content: Option<Value>,
    #[serde(default)]
    custom_args: Option<Map<String, Value>>,
    /// A UNIX time, at most 72 hours ahead.
    #[serde(default)]
    send_at: Option<i64>,
}

/// What SendGrid took.
#[derive(Debug, Serialize, JsonSchema)]
struct Accepted {
    /// The header `X-Message-Id`. There is none in sandbox mode.
    message_id: Option<String>,
    status_code: u16,
}

fn address(mailbox: &Mailbox) -> Value {
    match &mailbox.name {
        Some(name) => json!({ "email": mailbox.email.to_string(), "name": name }),
        None => json!({ "email": mailbox.email.to_string() }),
    }
}

impl Config {
    fn body(&self, call: &Call) -> Result<Value, Outcome> {
        let input: Input = parse_input(call)?;
        let to = input.to_email.as_ref().or(input.email.as_ref());
        let to = recipients(call, self.to.as_ref(), to)?;
        let mut custom_args = Map::new();
        for (name, value) in input.custom_args.unwrap_or_default() {
            // SendGrid takes texts only.
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            custom_args.insert(name, Value::String(value));
        }
        custom_args.insert("execution_id".to_owned(), json!(call.execution));
        let mut personal = json!({
            "to": to.iter().map(address).collect::<Vec<_>>(),
            "custom_args": custom_args,
        });
        let mut body = json!({
            "from": address(&sender(&self.from_email, self.from_name.as_deref())?),
        });
        let subject = match &self.subject {
            Some(template) => Some(render_for(call, template, Escape::Plain)?),
            None => text(input.subject.as_ref()).map(ToOwned::to_owned),
        };
        if let Some(subject) = &subject {
            check_subject(subject)?;
            body["subject"] = json!(subject);
        }
        if let Some(template_id) = &self.template_id {
            body["template_id"] = json!(template_id);
            personal["dynamic_template_data"] =
                input.template_data.unwrap_or_else(|| call.input.clone());
        } else {
            if subject.is_none() {
                return Err(invalid("a subject is needed, in the config or in the input"));
            }
            // Whoever fixes the text fixes all of it.
            let (plain, html) = match &self.content {
                Some(template) => (Some(render_for(call, template, Escape::Plain)?), None),
                None => {
                    let given = |value| text(value).map(ToOwned::to_owned);
                    (given(input.content.as_ref()), given(input.html_content.as_ref()))
                }
            };
            // SendGrid wants plain text first.
            let parts = [("text/plain", plain), ("text/html", html)];
            let mut content = Vec::new();
            for (kind, text) in parts {
                if let Some(text) = text {
                    check_text(&text)?;
                    content.push(json!({ "type": kind, "value": text }));
                }
            }
            if content.is_empty() {
                return Err(invalid("a content is needed, or a template_id"));
            }
            body["content"] = json!(content);
        }
        if let Some(send_at) = input.send_at {
            personal["send_at"] = json!(send_at);
        }
        if !self.categories.is_empty() {
            body["categories"] = json!(self.categories);
        }
        if self.sandbox_mode {
            body["mail_settings"] = json!({ "sandbox_mode": { "enable": true } });
        }
        body["personalizations"] = json!([personal]);
        Ok(body)
    }

    fn base(&self) -> &str {
        self.api_base.as_deref().unwrap_or(API_BASE)
    }
}

/// `email.sendgrid`
pub struct SendGridEmail {
    descriptor: Descriptor,
    egress: Egress,
}

impl SendGridEmail {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Input, Accepted>(About {
            id: "email.sendgrid",
            aliases: &["SendGridEmailHandler"],
            title: "Send mail through SendGrid",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[ActionType::Email],
            delivery: Delivery::AtLeastOnce,
        });
        Self { descriptor, egress }
    }

    async fn deliver(&self, call: &Call) -> Result<Outcome, Outcome> {
        let config: Config = parse_config(call)?;
        let body = config.body(call)?;
        let request = Request::below(&self.egress, Method::Post, config.base(), "/v3/mail/send")
            .map_err(|error| error.outcome())?
            .timeout(time_limit(config.api_timeout, call))
            .header("user-agent", USER_AGENT)
            .header("authorization", format!("Bearer {}", config.api_key.expose()))
            .json(&body);
        let response = self.egress.send(request).await.map_err(|error| error.outcome())?;
        if !response.is_success() {
            return Err(classify(&response, call.started_at));
        }
        let message_id = response.header("x-message-id").map(ToOwned::to_owned);
        let accepted = Accepted { message_id, status_code: response.status };
        Ok(Outcome::Done(Output::new(to_value(&accepted))))
    }
}

#[cfg(test)]
impl SendGridEmail {
    pub(super) fn body(call: &Call) -> Result<Value, Outcome> {
        parse_config::<Config>(call)?.body(call)
    }
}

#[async_trait]
impl Handler for SendGridEmail {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| {
            notes.secret("/api_key", Some(&config.api_key));
            note_address(notes, "/from_email", &config.from_email);
            notes.timeout("/api_timeout", config.api_timeout, 300);
            notes.template("/to", config.to.as_ref());
            notes.template("/subject", config.subject.as_ref());
            notes.template("/content", config.content.as_ref());
            if config.categories.len() > CATEGORIES_MAX {
                notes.error("/categories", format!("at most {CATEGORIES_MAX}"));
            }
            if let Some(base) = &config.api_base {
                notes.url(&self.egress, "/api_base", base);
            }
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        self.deliver(call).await.unwrap_or_else(|outcome| outcome)
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: Config = parse(config).map_err(|note| note.message)?;
        self.egress.reach_url(config.base()).await.map_err(|error| error.to_string())
    }
}
