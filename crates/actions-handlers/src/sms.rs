//! Text messages: what their two handlers share.

use actions_domain::execution::Outcome;
use actions_domain::ports::handler::Call;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::config::{Notes, reject};
use crate::email::{BuiltIn, text};
use crate::template::{Escape, Template, context, render, render_for};

/// Text messages through Amazon's SNS.
pub mod aws_sns;
mod sigv4;
/// Text messages through Twilio.
pub mod twilio;

/// Ten parts, as both vendors take them.
const TEXT_CHARS_MAX: usize = 1_600;

/// A message of a job, or an event's data that holds one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
struct Input {
    #[serde(default)]
    to_phone: Option<Value>,
    /// The founding events' name for it.
    #[serde(default)]
    phone: Option<Value>,
    #[serde(default)]
    message: Option<Value>,
    #[serde(default)]
    media_url: Option<Value>,
}

/// The templates of a config.
struct Texts<'a> {
    to: Option<&'a Template>,
    message: Option<&'a Template>,
    template: Option<&'a str>,
}

impl Texts<'_> {
    fn check(&self, notes: &mut Notes) {
        notes.template("/to", self.to);
        notes.template("/message", self.message);
        if let Some(name) = self.template.filter(|name| BuiltIn::find(name).is_none()) {
            let message = format!("there is no template {name:?}, only {}", BuiltIn::names());
            notes.error("/template", message);
        }
    }

    fn recipient(&self, call: &Call, input: &Input) -> Result<String, Outcome> {
        let to = match self.to {
            Some(template) => render_for(call, template, Escape::Plain)?,
            None => text(input.to_phone.as_ref())
                .or_else(|| text(input.phone.as_ref()))
                .ok_or_else(|| reject("input.invalid", NO_PHONE))?
                .to_owned(),
        };
        let to = to.trim();
        if !is_phone(to) {
            return Err(reject("sms.invalid", format!("{to:?} is not a number like +15550100")));
        }
        Ok(to.to_owned())
    }

    /// The text, when there is one.
    fn text(&self, call: &Call, input: &Input) -> Result<Option<String>, Outcome> {
        let said = match (self.message, self.template) {
            (Some(template), _) => Some(render_for(call, template, Escape::Plain)?),
            (None, Some(name)) => {
                let builtin = BuiltIn::find(name)
                    .ok_or_else(|| reject("config.invalid", format!("no template {name:?}")))?;
                let mut variables = call.input.as_object().cloned().unwrap_or_default();
                variables.extend(context(call));
                Some(render(builtin.short, &Value::Object(variables), Escape::Plain)?)
            }
            (None, None) => text(input.message.as_ref()).map(ToOwned::to_owned),
        };
        let length = said.as_ref().map_or(0, |text| text.chars().count());
        if length > TEXT_CHARS_MAX {
            let message = format!("the text has {length} characters, allowed are {TEXT_CHARS_MAX}");
            return Err(reject("sms.invalid", message));
        }
        Ok(said.filter(|text| !text.is_empty()))
    }
}

const NO_PHONE: &str = "a number is needed: to in the config, or to_phone in the input";
const NO_TEXT: &str = "a text is needed: message in the config, or in the input";

/// A number in international form: `+`, then 7 to 15 digits.
fn is_phone(raw: &str) -> bool {
    raw.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

#[cfg(test)]
mod tests {
    use super::is_phone;

    #[test]
    fn numbers_are_international() {
        for good in ["+15005550006", "+4915123456789", "+1234567"] {
            assert!(is_phone(good), "{good}");
        }
        for bad in ["", "15005550006", "+0123456789", "+1 500", "+123456", "+1234567890123456"] {
            assert!(!is_phone(bad), "{bad}");
        }
    }
}
