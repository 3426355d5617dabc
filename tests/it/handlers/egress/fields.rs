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
pub(super) const QUIET: &[(&str, &str)] = &[("audit.log", "")];
