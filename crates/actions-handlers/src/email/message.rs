//! A message, from its parts to its bytes.

use std::time::SystemTime;

use lettre::Message;
use lettre::message::{Mailbox, MultiPart, SinglePart};

use actions_domain::execution::Outcome;
use actions_domain::ports::handler::Call;

use super::{RECIPIENTS_MAX, check_line, check_subject, check_text, invalid};

/// What a message is made of.
pub(super) struct Parts {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    pub(super) bcc: Vec<Mailbox>,
    pub(super) reply_to: Option<Mailbox>,
    pub(super) subject: String,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
}

/// The message's id: the same for all attempts of an execution.
pub(super) fn message_id(call: &Call, from: &Mailbox) -> String {
    format!("<{}@{}>", call.execution, from.email.domain())
}

impl Parts {
    /// Builds the message.
    ///
    /// # Errors
    /// The outcome to answer with.
    pub(super) fn build(self, call: &Call) -> Result<(Message, String), Outcome> {
        let count = self.to.len() + self.cc.len() + self.bcc.len();
        if count > RECIPIENTS_MAX {
            return Err(invalid(format!("{count} recipients, allowed are {RECIPIENTS_MAX}")));
        }
        check_subject(&self.subject)?;
        for mailbox in self.to.iter().chain(&self.cc).chain(&self.bcc).chain([&self.from]) {
            check_line("a name", mailbox.name.as_deref().unwrap_or_default())?;
        }
        for text in [&self.text, &self.html].into_iter().flatten() {
            check_text(text)?;
        }
        let id = message_id(call, &self.from);
        let mut builder = Message::builder()
            .message_id(Some(id.clone()))
            .date(SystemTime::from(call.started_at))
            .from(self.from)
            .subject(self.subject);
        for to in self.to {
            builder = builder.to(to);
        }
        for cc in self.cc {
            builder = builder.cc(cc);
        }
        for bcc in self.bcc {
            builder = builder.bcc(bcc);
        }
        if let Some(reply_to) = self.reply_to {
            builder = builder.reply_to(reply_to);
        }
        let message = match (self.text, self.html) {
            (Some(text), Some(html)) => {
                builder.multipart(MultiPart::alternative_plain_html(text, html))
            }
            (Some(text), None) => builder.singlepart(SinglePart::plain(text)),
            (None, Some(html)) => builder.singlepart(SinglePart::html(html)),
            (None, None) => return Err(invalid("a text is needed: body or html_body")),
        };
        let message = message.map_err(|error| invalid(error.to_string()))?;
        Ok((message, id))
    }
}
