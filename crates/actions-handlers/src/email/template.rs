//! Sends mail whose subject, text and HTML are templates: the definition's own, or one that
//! comes with the engine. A missing variable is refused, not left blank.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use actions_domain::action::ActionType;
use actions_domain::execution::{Outcome, Output};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use super::message::Parts;
use super::smtp::{Sent, port_default, send, sender};
use super::transport::Server;
use super::{BuiltIn, OneOrMany, note_address, recipients, reply_to};
use crate::config::{
    About, Notes, Secret, checked, descriptor, parse, parse_config, parse_input, reject,
};
use crate::egress::Egress;
use crate::template::{Escape, Template, context, render};

/// A mail server, the sender, and the templates.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    smtp_host: String,
    #[serde(default = "port_default")]
    #[schemars(range(min = 1))]
    smtp_port: u16,
    #[serde(default)]
    smtp_username: Option<String>,
    #[serde(default)]
    smtp_password: Option<Secret>,
    /// STARTTLS. Without it from the server nothing is sent.
    #[serde(default = "crate::webhook::yes")]
    use_tls: bool,
    /// TLS from the first byte, as on port 465.
    #[serde(default)]
    use_ssl: bool,
    #[serde(default = "crate::webhook::yes")]
    verify_ssl: bool,
    /// What we call ourselves. Without it the sender's domain.
    #[serde(default)]
    helo_name: Option<String>,
    from_email: String,
    #[serde(default)]
    from_name: Option<String>,
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
    /// A template over `event`, `data`, `tenant` for the recipients, separated by commas.
    /// Without it the input's `to_email` or `email`, with its `reply_to`.
    #[serde(default)]
    to: Option<Template>,
    /// A template for one address.
    #[serde(default)]
    reply_to: Option<Template>,
    /// A built-in message. The definition's own templates take the place of its parts.
    #[serde(default)]
    template: Option<String>,
    /// The founding name of `template`.
    #[serde(default)]
    template_name: Option<String>,
    #[serde(default)]
    subject: Option<Template>,
    #[serde(default)]
    text: Option<Template>,
    /// HTML. Values are escaped.
    #[serde(default)]
    html: Option<Template>,
}

/// The recipient and the variables.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
struct Input {
    #[serde(default)]
    to_email: Option<OneOrMany>,
    #[serde(default)]
    email: Option<OneOrMany>,
    /// Variables of the templates. Without them the whole input.
    #[serde(default)]
    template_data: Option<Value>,
    #[serde(default)]
    reply_to: Option<String>,
}

/// The templates that a config asks for.
struct Sources<'a> {
    subject: &'a str,
    text: Option<&'a str>,
    html: Option<&'a str>,
}

impl Config {
    fn server(&self) -> Server<'_> {
        Server {
            host: &self.smtp_host,
            port: self.smtp_port,
            username: self.smtp_username.as_deref(),
            password: self.smtp_password.as_ref(),
            use_tls: self.use_tls,
            use_ssl: self.use_ssl,
            verify_ssl: self.verify_ssl,
            helo_name: self.helo_name.as_deref(),
        }
    }

    /// # Errors
    /// The field that is wrong, and why.
    fn sources(&self) -> Result<Sources<'_>, (&'static str, String)> {
        let name = self.template.as_deref().or(self.template_name.as_deref());
        let builtin = match name {
            Some(name) => Some(BuiltIn::find(name).ok_or_else(|| {
                let message = format!("there is no template {name:?}, only {}", BuiltIn::names());
                ("/template", message)
            })?),
            None => None,
        };
        let subject = self.subject.as_deref().or_else(|| builtin.map(|builtin| builtin.subject));
        let sources = Sources {
            subject: subject
                .ok_or_else(|| ("/subject", "a subject or a template is needed".to_owned()))?,
            text: self.text.as_deref().or_else(|| builtin.map(|builtin| builtin.text)),
            html: self.html.as_deref().or_else(|| builtin.map(|builtin| builtin.html)),
        };
        if sources.text.is_none() && sources.html.is_none() {
            return Err(("/text", "a text, an html or a template is needed".to_owned()));
        }
        Ok(sources)
    }

    fn parts(&self, call: &Call) -> Result<Parts, Outcome> {
        let input: Input = parse_input(call)?;
        let sources = self.sources().map_err(|(pointer, message)| {
            reject("config.invalid", format!("{pointer}: {message}"))
        })?;
        let variables = variables(call, input.template_data.as_ref());
        let rendered = |source: &str, escape| render(source, &variables, escape);
        let to = input.to_email.as_ref().or(input.email.as_ref());
        // Whoever fixes the recipient fixes where answers go.
        let asked = input.reply_to.as_deref().filter(|_| self.to.is_none());
        Ok(Parts {
            from: sender(&self.from_email, self.from_name.as_deref())?,
            to: recipients(call, self.to.as_ref(), to)?,
            cc: Vec::new(),
            bcc: Vec::new(),
            reply_to: reply_to(call, self.reply_to.as_ref(), asked)?,
            subject: rendered(sources.subject, Escape::Plain)?,
            text: sources.text.map(|text| rendered(text, Escape::Plain)).transpose()?,
            html: sources.html.map(|html| rendered(html, Escape::Html)).transpose()?,
        })
    }

    fn check(&self, egress: &Egress, notes: &mut Notes) {
        self.server().check(egress, notes);
        note_address(notes, "/from_email", &self.from_email);
        notes.timeout("/timeout_seconds", self.timeout_seconds, 300);
        notes.template("/to", self.to.as_ref());
        notes.template("/reply_to", self.reply_to.as_ref());
        notes.template("/subject", self.subject.as_ref());
        notes.template("/text", self.text.as_ref());
        notes.template("/html", self.html.as_ref());
        if let Err((pointer, message)) = self.sources() {
            notes.error(pointer, message);
        }
    }
}

/// The data's own fields, and `event`, `data`, `tenant`, which no field can replace.
fn variables(call: &Call, given: Option<&Value>) -> Value {
    let mut variables = match given.unwrap_or(&call.input) {
        Value::Object(fields) => fields.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            serde_json::Map::new()
        }
    };
    variables.extend(context(call));
    Value::Object(variables)
}

/// `email.template`
pub struct TemplateEmail {
    descriptor: Descriptor,
    egress: Egress,
}

impl TemplateEmail {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Input, Sent>(About {
            id: "email.template",
            aliases: &[
                "TemplateEmailHandler",
                "SendWelcomeEmailHandler",
                "SendInvitationEmailHandler",
            ],
            title: "Send mail made of templates",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[ActionType::Email],
            delivery: Delivery::AtLeastOnce,
        });
        Self { descriptor, egress }
    }

    async fn deliver(&self, call: &Call) -> Result<Output, Outcome> {
        let config: Config = parse_config(call)?;
        let parts = config.parts(call)?;
        send(&self.egress, &config.server(), parts, config.timeout_seconds, call).await
    }
}

#[async_trait]
impl Handler for TemplateEmail {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| config.check(&self.egress, notes))
    }

    async fn execute(&self, call: &Call) -> Outcome {
        match self.deliver(call).await {
            Ok(output) => Outcome::Done(output),
            Err(outcome) => outcome,
        }
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: Config = parse(config).map_err(|note| note.message)?;
        let reached = self.egress.reach_smtp(&config.smtp_host, config.smtp_port).await;
        reached.map_err(|error| error.to_string())
    }
}
