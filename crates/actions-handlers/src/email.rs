//! Mail: what its three handlers share.
//!
//! Addresses are parsed, recipients are capped, and nothing that could start a new header line
//! gets into one. A message's id is made of the execution's, so a repeated attempt sends the
//! same message again, not another one.

use lettre::Address;
use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use actions_domain::execution::Outcome;
use actions_domain::ports::handler::Call;

use crate::config::{Notes, reject};
use crate::template::{Escape, Template, render_for};

mod builtin;
mod message;
/// Mail through SendGrid.
pub mod sendgrid;
/// Mail through a server of the tenant's.
pub mod smtp;
mod stream;
/// Mail made of templates.
pub mod template;
mod transport;

pub(crate) use builtin::BuiltIn;

/// Recipients of one message, all kinds together.
pub(crate) const RECIPIENTS_MAX: usize = 50;
/// Longer subjects are refused by some servers.
const SUBJECT_BYTES_MAX: usize = 900;
/// A message's texts.
const TEXT_BYTES_MAX: usize = 512 * 1024;
/// An address with its name: as long as a line of a message.
const MAILBOX_BYTES_MAX: usize = 998;

/// One address or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The recipients of an attempt: the config's template, else `to_email`, else `email`.
pub(crate) fn recipients(
    call: &Call,
    template: Option<&Template>,
    given: Option<&OneOrMany>,
) -> Result<Vec<Mailbox>, Outcome> {
    let found = copies(call, template, given)?;
    if found.is_empty() {
        return Err(invalid("a recipient is needed: to in the config, or to_email in the input"));
    }
    Ok(found)
}

/// Further recipients. There may be none.
pub(crate) fn copies(
    call: &Call,
    template: Option<&Template>,
    given: Option<&OneOrMany>,
) -> Result<Vec<Mailbox>, Outcome> {
    let rendered = template.map(|to| render_for(call, to, Escape::Plain)).transpose()?;
    let raw: Vec<&str> = match (&rendered, given) {
        (Some(rendered), _) => rendered.split(',').map(str::trim).collect(),
        (None, Some(given)) => given.all().iter().map(String::as_str).collect(),
        (None, None) => Vec::new(),
    };
    mailboxes(&raw)
}

/// Where answers shall go.
pub(crate) fn reply_to(
    call: &Call,
    template: Option<&Template>,
    given: Option<&str>,
) -> Result<Option<Mailbox>, Outcome> {
    let rendered = template.map(|to| render_for(call, to, Escape::Plain)).transpose()?;
    rendered.as_deref().or(given).map(mailbox).transpose()
}

pub(crate) fn mailboxes<S: AsRef<str>>(raw: &[S]) -> Result<Vec<Mailbox>, Outcome> {
    if raw.len() > RECIPIENTS_MAX {
        return Err(invalid(format!("{} recipients, allowed are {RECIPIENTS_MAX}", raw.len())));
    }
    raw.iter().map(|raw| mailbox(raw.as_ref())).collect()
}

/// Parses `name@host`, or `Name <name@host>`.
pub(crate) fn mailbox(raw: &str) -> Result<Mailbox, Outcome> {
    if raw.len() > MAILBOX_BYTES_MAX {
        return Err(invalid(format!("an address has at most {MAILBOX_BYTES_MAX} bytes")));
    }
    check_line("an address", raw)?;
    let parsed: Result<Mailbox, _> = raw.trim().parse();
    parsed.map_err(|error| invalid(format!("{raw:?} is not a mail address: {error}")))
}

pub(crate) fn invalid(message: impl Into<String>) -> Outcome {
    reject("email.invalid", message)
}

/// Refuses what could end a header line.
pub(crate) fn check_line(what: &str, text: &str) -> Result<(), Outcome> {
    let ends_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.chars().any(ends_line) {
        return Err(invalid(format!("{what} holds a control character or a line break")));
    }
    Ok(())
}

pub(crate) fn check_subject(subject: &str) -> Result<(), Outcome> {
    check_line("the subject", subject)?;
    if subject.len() > SUBJECT_BYTES_MAX {
        return Err(invalid(format!("a subject has at most {SUBJECT_BYTES_MAX} bytes")));
    }
    Ok(())
}

pub(crate) fn check_text(text: &str) -> Result<(), Outcome> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(invalid(format!("a text has at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Notes an address of a definition that cannot be used.
pub(crate) fn note_address(notes: &mut Notes, pointer: &str, raw: &str) {
    if let Err(error) = raw.trim().parse::<Address>() {
        notes.error(pointer, format!("{raw:?} is not a mail address: {error}"));
    }
}

/// A text of the input, when it is one.
pub(crate) fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
