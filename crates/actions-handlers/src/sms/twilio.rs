//! Sends text and media messages through Twilio.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use actions_domain::action::ActionType;
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use super::{Input, NO_TEXT, Texts, is_phone};
use crate::answer::classify;
use crate::config::{
    About, Notes, Secret, checked, descriptor, parse, parse_config, parse_input, reject,
    time_limit, to_value,
};
use crate::egress::{Egress, Method, Request, Response};
use crate::email::text;
use crate::template::Template;
use crate::webhook::USER_AGENT;
use crate::webhook::auth::basic;

const API_BASE: &str = "https://api.twilio.com";

/// The account, the sender, and the message where it does not come with the input.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// `AC…`
    account_sid: String,
    auth_token: Secret,
    /// A number like +15550100, a sender name, or a messaging service (`MG…`).
    #[serde(default)]
    from_phone: Option<String>,
    /// The founding rules' name of `from_phone`.
    #[serde(default)]
    from_number: Option<String>,
    /// A template over `event`, `data`, `tenant`. Without it the input's `to_phone`.
    #[serde(default)]
    to: Option<Template>,
    /// A template. Without it the input's `message`.
    #[serde(default)]
    message: Option<Template>,
    /// A built-in text, when there is no `message`.
    #[serde(default)]
    template: Option<String>,
    /// The most that one message may cost, in US dollars.
    #[serde(default)]
    max_price: Option<f64>,
    /// How long Twilio may try, in seconds.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36000))]
    validity_period: Option<u32>,
    /// Told by Twilio what becomes of the message.
    #[serde(default)]
    status_webhook: Option<String>,
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
    /// Where the API is: a region of Twilio's, or something compatible.
    #[serde(default)]
    api_base: Option<String>,
}

/// What Twilio took.
#[derive(Debug, Serialize, JsonSchema)]
struct Accepted {
    /// `SM…` or `MM…`
    message_id: String,
    /// Twilio's word: `queued`, `accepted` …
    status: Option<String>,
}

impl Config {
    fn texts(&self) -> Texts<'_> {
        Texts {
            to: self.to.as_ref(),
            message: self.message.as_ref(),
            template: self.template.as_deref(),
        }
    }

    fn from(&self) -> Option<&str> {
        self.from_phone.as_deref().or(self.from_number.as_deref())
    }

    fn base(&self) -> &str {
        self.api_base.as_deref().unwrap_or(API_BASE)
    }

    fn fields(&self, call: &Call) -> Result<Vec<(&'static str, String)>, Outcome> {
        let input: Input = parse_input(call)?;
        let from = self.from().ok_or_else(|| reject("config.invalid", NO_FROM))?;
        let sender = if is_service(from) { "MessagingServiceSid" } else { "From" };
        let mut fields =
            vec![("To", self.texts().recipient(call, &input)?), (sender, from.to_owned())];
        let said = self.texts().text(call, &input)?;
        let media = text(input.media_url.as_ref());
        if said.is_none() && media.is_none() {
            return Err(reject("input.invalid", NO_TEXT));
        }
        fields.extend(said.map(|said| ("Body", said)));
        fields.extend(media.map(|media| ("MediaUrl", media.to_owned())));
        fields.extend(self.max_price.map(|price| ("MaxPrice", price.to_string())));
        fields.extend(self.validity_period.map(|period| ("ValidityPeriod", period.to_string())));
        fields.extend(self.status_webhook.clone().map(|url| ("StatusCallback", url)));
        Ok(fields)
    }

    fn check(&self, egress: &Egress, notes: &mut Notes) {
        if !is_account(&self.account_sid) {
            notes.error("/account_sid", "is AC and 32 hexadecimal digits");
        }
        notes.secret("/auth_token", Some(&self.auth_token));
        match self.from() {
            None => notes.error("/from_phone", NO_FROM),
            Some(from) if from.starts_with('+') && !is_phone(from) => {
                notes.error("/from_phone", "is not a number like +15550100");
            }
            Some(_) => {}
        }
        self.texts().check(notes);
        notes.timeout("/timeout_seconds", self.timeout_seconds, 300);
        if self.max_price.is_some_and(|price| price <= 0.0) {
            notes.error("/max_price", "must be more than 0");
        }
        for (pointer, url) in
            [("/api_base", &self.api_base), ("/status_webhook", &self.status_webhook)]
        {
            if let Some(url) = url {
                notes.url(egress, pointer, url);
            }
        }
    }
}

const NO_FROM: &str = "a from_phone is needed";

/// An account's id stands in the path of the URL, so it must be one.
fn is_account(sid: &str) -> bool {
    sid.strip_prefix("AC")
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_service(from: &str) -> bool {
    from.len() == 34 && from.starts_with("MG")
}

/// What Twilio's answer means.
fn understood(response: &Response, call: &Call) -> Outcome {
    if !response.is_success() {
        return named(classify(response, call.started_at), response);
    }
    let answer = response.json().unwrap_or_default();
    let Some(sid) = text(answer.get("sid")) else {
        // Accepted, but without an id: a second try could send the message twice.
        let message = "Twilio answered without a message id";
        return Outcome::Reject(Fault::handler("sms.answer", message));
    };
    let status = text(answer.get("status")).map(ToOwned::to_owned);
    let accepted = Accepted { message_id: sid.to_owned(), status };
    Outcome::Done(Output::new(to_value(&accepted)))
}

/// Adds Twilio's own words to a fault.
fn named(outcome: Outcome, response: &Response) -> Outcome {
    let answer = response.json().unwrap_or_default();
    let Some(words) = text(answer.get("message")) else { return outcome };
    let code = answer.get("code").map(|code| format!(" ({code})")).unwrap_or_default();
    let with_words = |fault: Fault| {
        let message = format!("Twilio answered {}: {words}{code}", response.status);
        let worded = Fault::handler("sms.refused", message);
        Fault { code: worded.code, message: worded.message, ..fault }
    };
    match outcome {
        Outcome::Retry(fault) => Outcome::Retry(with_words(fault)),
        Outcome::Reject(fault) => Outcome::Reject(with_words(fault)),
        Outcome::Done(_) => outcome,
    }
}

/// `sms.twilio`
pub struct TwilioSms {
    descriptor: Descriptor,
    egress: Egress,
}

impl TwilioSms {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Input, Accepted>(About {
            id: "sms.twilio",
            aliases: &["SendWelcomeSmsHandler", "TwilioSmsHandler"],
            title: "Send a text message through Twilio",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[ActionType::Sms],
            delivery: Delivery::AtLeastOnce,
        });
        Self { descriptor, egress }
    }

    fn request(&self, call: &Call) -> Result<Request, Outcome> {
        let config: Config = parse_config(call)?;
        if !is_account(&config.account_sid) {
            return Err(reject("config.invalid", "/account_sid: is AC and 32 hexadecimal digits"));
        }
        let fields = config.fields(call)?;
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path = format!("/2010-04-01/Accounts/{}/Messages.json", config.account_sid);
        Ok(Request::below(&self.egress, Method::Post, config.base(), &path)
            .map_err(|error| error.outcome())?
            .timeout(time_limit(config.timeout_seconds, call))
            .header("user-agent", USER_AGENT)
            .header("authorization", basic(&config.account_sid, config.auth_token.expose()))
            .form(&fields))
    }
}

#[async_trait]
impl Handler for TwilioSms {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| config.check(&self.egress, notes))
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let sent = match self.request(call) {
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
        self.egress.reach_url(config.base()).await.map_err(|error| error.to_string())
    }
}
