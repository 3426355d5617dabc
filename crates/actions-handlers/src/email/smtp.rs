//! Sends mail through a server that the tenant names.

use async_trait::async_trait;
use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use actions_domain::action::ActionType;
use actions_domain::execution::{Outcome, Output};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use super::message::Parts;
use super::transport::Server;
use super::{OneOrMany, copies, invalid, mailbox, note_address, recipients, reply_to, text};
use crate::config::{
    About, Notes, Secret, checked, descriptor, parse, parse_config, parse_input, time_limit,
    to_value,
};
use crate::egress::Egress;
use crate::template::{Escape, Template, render_for};

/// A mail server, the sender, and the message where it does not come with the input.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) smtp_host: String,
    #[serde(default = "port_default")]
    #[schemars(range(min = 1))]
    pub(super) smtp_port: u16,
    #[serde(default)]
    pub(super) smtp_username: Option<String>,
    #[serde(default)]
    pub(super) smtp_password: Option<Secret>,
    /// STARTTLS. Without it from the server nothing is sent.
    #[serde(default = "crate::webhook::yes")]
    pub(super) use_tls: bool,
    /// TLS from the first byte, as on port 465.
    #[serde(default)]
    pub(super) use_ssl: bool,
    #[serde(default = "crate::webhook::yes")]
    pub(super) verify_ssl: bool,
    /// What we call ourselves. Without it the sender's domain.
    #[serde(default)]
    pub(super) helo_name: Option<String>,
    pub(super) from_email: String,
    #[serde(default)]
    pub(super) from_name: Option<String>,
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    pub(super) timeout_seconds: u32,
    /// A template over `event`, `data`, `tenant` for the recipients, separated by commas.
    /// Without it the input's `to_email` or `email`, with its `cc`, `bcc` and `reply_to`.
    #[serde(default)]
    pub(super) to: Option<Template>,
    /// As `to`.
    #[serde(default)]
    pub(super) cc: Option<Template>,
    /// As `to`.
    #[serde(default)]
    pub(super) bcc: Option<Template>,
    /// A template for one address.
    #[serde(default)]
    pub(super) reply_to: Option<Template>,
    /// A template. Without it the input's `subject`.
    #[serde(default)]
    pub(super) subject: Option<Template>,
    /// A template for the plain text.
    #[serde(default)]
    pub(super) body: Option<Template>,
    /// A template for HTML; values are escaped. Without this and `body`, the input's `body` and
    /// `html_body`.
    #[serde(default)]
    pub(super) html_body: Option<Template>,
}

pub(super) fn port_default() -> u16 {
    587
}

/// A message of a job, or an event's data that holds one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
struct Input {
    #[serde(flatten)]
    recipients: Recipients,
    #[serde(default)]
    subject: Option<Value>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    html_body: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
struct Recipients {
    #[serde(default)]
    to_email: Option<OneOrMany>,
    #[serde(default)]
    email: Option<OneOrMany>,
    #[serde(default)]
    cc: Option<OneOrMany>,
    #[serde(default)]
    bcc: Option<OneOrMany>,
    #[serde(default)]
    reply_to: Option<String>,
}

/// What the server took.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sent {
    /// The `Message-ID` header.
    pub(super) message_id: String,
    pub(super) recipients: usize,
    /// The server's last words.
    pub(super) response: String,
}

impl Config {
    pub(super) fn server(&self) -> Server<'_> {
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

    fn parts(&self, call: &Call) -> Result<Parts, Outcome> {
        let input: Input = parse_input(call)?;
        let said = |template: &Option<Template>, given: &Option<Value>, escape| match template {
            Some(template) => render_for(call, template, escape).map(Some),
            None => Ok(text(given.as_ref()).map(ToOwned::to_owned)),
        };
        // Whoever fixes the recipients, or the text, fixes all of them: the input is often the
        // data of somebody else's event.
        let given = if self.to.is_none() { input.recipients } else { Recipients::default() };
        let (body, html_body) = if self.body.is_none() && self.html_body.is_none() {
            (input.body, input.html_body)
        } else {
            (None, None)
        };
        let to = given.to_email.as_ref().or(given.email.as_ref());
        Ok(Parts {
            from: sender(&self.from_email, self.from_name.as_deref())?,
            to: recipients(call, self.to.as_ref(), to)?,
            cc: copies(call, self.cc.as_ref(), given.cc.as_ref())?,
            bcc: copies(call, self.bcc.as_ref(), given.bcc.as_ref())?,
            reply_to: reply_to(call, self.reply_to.as_ref(), given.reply_to.as_deref())?,
            subject: said(&self.subject, &input.subject, Escape::Plain)?
                .ok_or_else(|| invalid("a subject is needed, in the config or in the input"))?,
            text: said(&self.body, &body, Escape::Plain)?,
            html: said(&self.html_body, &html_body, Escape::Html)?,
        })
    }
}

/// The sender, with its name.
pub(super) fn sender(email: &str, name: Option<&str>) -> Result<Mailbox, Outcome> {
    let bare = mailbox(email)?;
    Ok(Mailbox { name: name.map(ToOwned::to_owned).or(bare.name), email: bare.email })
}

/// Sends a message and tells what became of it.
pub(super) async fn send(
    egress: &Egress,
    server: &Server<'_>,
    parts: Parts,
    timeout_seconds: u32,
    call: &Call,
) -> Result<Output, Outcome> {
    let (message, message_id) = parts.build(call)?;
    let recipients = message.envelope().to().len();
    let limit = time_limit(timeout_seconds, call);
    let response = server.send(egress, &message, limit).await?;
    Ok(Output::new(to_value(&Sent { message_id, recipients, response })))
}

/// `email.smtp`
pub struct SmtpEmail {
    descriptor: Descriptor,
    egress: Egress,
}

impl SmtpEmail {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Input, Sent>(About {
            id: "email.smtp",
            aliases: &["SMTPEmailHandler"],
            title: "Send mail through a mail server",
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

fn check(config: &Config, egress: &Egress, notes: &mut Notes) {
    config.server().check(egress, notes);
    note_address(notes, "/from_email", &config.from_email);
    notes.timeout("/timeout_seconds", config.timeout_seconds, 300);
    notes.template("/to", config.to.as_ref());
    notes.template("/cc", config.cc.as_ref());
    notes.template("/bcc", config.bcc.as_ref());
    notes.template("/reply_to", config.reply_to.as_ref());
    notes.template("/subject", config.subject.as_ref());
    notes.template("/body", config.body.as_ref());
    notes.template("/html_body", config.html_body.as_ref());
}

#[async_trait]
impl Handler for SmtpEmail {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| check(config, &self.egress, notes))
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
