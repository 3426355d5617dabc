//! What every handler does with every text that it is given: which ones lead to a connection, and
//! which ones never do. A text that is new in a schema has to be put into one of the two lists.

use serde_json::{Value, json};

/// How an address is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Url,
    /// A host; the port stands beside it.
    Host,
}

/// A text of a config that is an address.
pub(super) struct Field {
    pub(super) handler: &'static str,
    pub(super) pointer: &'static str,
    pub(super) takes: Takes,
    /// We connect to it ourselves. Else we only tell it to somebody who does.
    pub(super) is_dialled: bool,
    /// What else the config needs.
    rest: fn() -> Value,
}

const fn url(handler: &'static str, pointer: &'static str, rest: fn() -> Value) -> Field {
    Field { handler, pointer, takes: Takes::Url, is_dialled: true, rest }
}

const fn host(handler: &'static str, pointer: &'static str, rest: fn() -> Value) -> Field {
    Field { handler, pointer, takes: Takes::Host, is_dialled: true, rest }
}

fn nothing() -> Value {
    json!({})
}

fn text() -> Value {
    json!({ "text": "hello" })
}

fn mail() -> Value {
    json!({
        "from_email": "shop@acme.test", "to": "ann@b.test", "subject": "hello", "use_tls": false,
        "timeout_seconds": 5,
    })
}

fn twilio() -> Value {
    json!({
        "account_sid": format!("AC{}", "0".repeat(32)), "auth_token": "t",
        "from_phone": "+15550100", "to": "+15550101", "message": "hello",
    })
}

pub(super) const FIELDS: &[Field] = &[
    url("webhook.http", "/webhook_url", nothing),
    url(
        "webhook.signed",
        "/webhook_url",
        || json!({ "webhook_secret": "a secret of twenty-four bytes" }),
    ),
    url("webhook.retry", "/webhook_url", || {
        // Else one failure would close the way for the next try.
        json!({ "circuit_breaker": { "failure_threshold": 1000 } })
    }),
    url("http.call", "/url", nothing),
    url("health.check", "/url", nothing),
    url("monitoring.alert", "/webhook_url", || json!({ "target": "webhook", "message": "hello" })),
    url("slack.message", "/webhook_url", text),
    url("slack.message", "/api_base", || json!({ "text": "hello", "token": "t", "channel": "C1" })),
    url("teams.message", "/webhook_url", text),
    url("email.sendgrid", "/api_base", || {
        json!({
            "api_key": "k", "from_email": "shop@acme.test", "to": "ann@b.test",
            "subject": "hello", "content": "hello",
        })
    }),
    url("sms.twilio", "/api_base", twilio),
    Field {
        handler: "sms.twilio",
        pointer: "/status_webhook",
        takes: Takes::Url,
        is_dialled: false,
        rest: twilio,
    },
    url(
        "sms.aws_sns",
        "/api_base",
        || json!({ "key": "k", "secret": "s", "to": "+15550101", "message": "hello" }),
    ),
    host("email.smtp", "/smtp_host", || {
        let mut config = mail();
        config["body"] = json!("hello");
        config
    }),
    host("email.template", "/smtp_host", || {
        let mut config = mail();
        config["text"] = json!("hello");
        config
    }),
];

impl Field {
    /// A config with `value` in this field, in which everything else is well.
    pub(super) fn config(&self, value: &str, port: u16) -> Value {
        let mut config = (self.rest)();
        config[self.pointer.trim_start_matches('/')] = json!(value);
        if self.takes == Takes::Host {
            config["smtp_port"] = json!(port);
        }
        config
    }
}

/// Texts that are no addresses, or that nobody of ours connects to.
pub(super) const QUIET: &[(&str, &str)] = &[
    ("audit.log", "config/redact"),
    (
        "email.sendgrid",
        "config/api_key config/categories config/content config/from_email config/from_name \
         config/subject config/template_id config/to input/content input/custom_args/* \
         input/email input/html_content input/subject input/template_data input/to_email",
    ),
    (
        "email.smtp",
        "config/bcc config/body config/cc config/from_email config/from_name config/helo_name \
         config/html_body config/reply_to config/smtp_password config/smtp_username \
         config/subject config/to input/bcc input/body input/cc input/email input/html_body \
         input/reply_to input/subject input/to_email",
    ),
    (
        "email.template",
        "config/from_email config/from_name config/helo_name config/html config/reply_to \
         config/smtp_password config/smtp_username config/subject config/template \
         config/template_name config/text config/to input/email input/reply_to \
         input/template_data input/to_email",
    ),
    ("function.call", "config/function_name"),
    ("health.check", "config/headers/*"),
    (
        "http.call",
        "config/auth_config/audience config/auth_config/header config/auth_config/issuer \
         config/auth_config/key config/auth_config/password config/auth_config/secret \
         config/auth_config/subject config/auth_config/token config/auth_config/username \
         config/body config/headers/* config/query/* config/request",
    ),
    ("job.run", "config/job_type"),
    ("monitoring.alert", "config/headers/* config/message config/metric"),
    (
        "notification.inbox",
        "config/text config/title config/to input/target input/text input/title",
    ),
    (
        "slack.message",
        "config/channel config/text config/token input/blocks input/channel input/text",
    ),
    (
        "sms.aws_sns",
        "config/aws_region config/key config/message config/secret config/sender_id \
         config/session_token config/template config/to input/media_url input/message \
         input/phone input/to_phone",
    ),
    (
        "sms.twilio",
        "config/account_sid config/auth_token config/from_number config/from_phone \
         config/message config/template config/to input/media_url input/message input/phone \
         input/to_phone",
    ),
    ("teams.message", "config/channel config/text config/title input/text input/title"),
    ("webhook.http", "config/headers/*"),
    (
        "webhook.retry",
        "config/auth_config/audience config/auth_config/header config/auth_config/issuer \
         config/auth_config/key config/auth_config/password config/auth_config/secret \
         config/auth_config/subject config/auth_config/token config/auth_config/username \
         config/headers/*",
    ),
    (
        "webhook.signed",
        "config/headers/* config/previous_secret config/signature_header config/webhook_secret",
    ),
    ("worker.pull", "config/queue config/settings"),
];
