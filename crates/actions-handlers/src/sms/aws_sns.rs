//! Sends text messages through Amazon's SNS, with a signature of our own making.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use actions_domain::action::ActionType;
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use super::sigv4::{Signable, Signer, amz_date};
use super::{Input, NO_TEXT, Texts};
use crate::answer::{classify, refused};
use crate::config::{
    About, Notes, Secret, checked, descriptor, parse, parse_config, parse_input, reject,
    time_limit, to_value,
};
use crate::egress::{Egress, Method, Request, Response};
use crate::template::Template;
use crate::webhook::USER_AGENT;

/// The account, and the message where it does not come with the input.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The access key's id.
    key: String,
    /// The secret access key.
    secret: Secret,
    /// For temporary credentials.
    #[serde(default)]
    session_token: Option<Secret>,
    #[serde(default = "region_default")]
    aws_region: String,
    /// Up to 11 letters and digits, where the country allows it.
    #[serde(default)]
    sender_id: Option<String>,
    #[serde(default)]
    sms_type: SmsType,
    /// A template over `event`, `data`, `tenant`. Without it the input's `to_phone`.
    #[serde(default)]
    to: Option<Template>,
    /// A template. Without it the input's `message`.
    #[serde(default)]
    message: Option<Template>,
    /// A built-in text, when there is no `message`.
    #[serde(default)]
    template: Option<String>,
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
    /// Where the API is, when it is not Amazon's own.
    #[serde(default)]
    api_base: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
enum SmsType {
    #[default]
    Transactional,
    Promotional,
}

impl SmsType {
    fn word(self) -> &'static str {
        match self {
            Self::Transactional => "Transactional",
            Self::Promotional => "Promotional",
        }
    }
}

fn region_default() -> String {
    "us-east-1".to_owned()
}

/// What SNS took.
#[derive(Debug, Serialize, JsonSchema)]
struct Published {
    message_id: String,
}

impl Config {
    fn texts(&self) -> Texts<'_> {
        Texts {
            to: self.to.as_ref(),
            message: self.message.as_ref(),
            template: self.template.as_deref(),
        }
    }

    fn base(&self) -> String {
        match &self.api_base {
            Some(base) => base.clone(),
            None => format!("https://sns.{}.amazonaws.com", self.aws_region),
        }
    }

    fn fields(&self, call: &Call) -> Result<Vec<(String, String)>, Outcome> {
        let input: Input = parse_input(call)?;
        let to = self.texts().recipient(call, &input)?;
        let said = self.texts().text(call, &input)?;
        let said = said.ok_or_else(|| reject("input.invalid", NO_TEXT))?;
        let mut fields: Vec<(String, String)> = [
            ("Action", "Publish".to_owned()),
            ("Version", "2010-03-31".to_owned()),
            ("PhoneNumber", to),
            ("Message", said),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let attributes = std::iter::once(("AWS.SNS.SMS.SMSType", self.sms_type.word().to_owned()))
            .chain(self.sender_id.clone().map(|id| ("AWS.SNS.SMS.SenderID", id)));
        for (n, (name, value)) in attributes.enumerate() {
            let entry = format!("MessageAttributes.entry.{}", n + 1);
            fields.push((format!("{entry}.Name"), name.to_owned()));
            fields.push((format!("{entry}.Value.DataType"), "String".to_owned()));
            fields.push((format!("{entry}.Value.StringValue"), value));
        }
        Ok(fields)
    }

    fn check(&self, egress: &Egress, notes: &mut Notes) {
        if self.key.is_empty() {
            notes.error("/key", "must not be empty");
        }
        notes.secret("/secret", Some(&self.secret));
        if !is_region(&self.aws_region) {
            notes.error("/aws_region", "is a region's name, like us-east-1");
        }
        if self.sender_id.as_ref().is_some_and(|id| {
            !(1..=11).contains(&id.len())
                || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }) {
            notes.error("/sender_id", "is 1 to 11 letters and digits");
        }
        self.texts().check(notes);
        notes.timeout("/timeout_seconds", self.timeout_seconds, 300);
        if let Some(base) = &self.api_base {
            notes.url(egress, "/api_base", base);
        }
    }
}

/// A region is part of a host name, so it must be one.
fn is_region(raw: &str) -> bool {
    (1..=32).contains(&raw.len())
        && raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The text between an element's tags, first occurrence.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim()).filter(|text| !text.is_empty() && text.len() <= 1024)
}

/// What SNS' answer means.
fn understood(response: &Response, call: &Call) -> Outcome {
    let xml = response.text();
    if response.is_success() {
        return match element(&xml, "MessageId") {
            Some(id) => {
                let published = Published { message_id: id.to_owned() };
                Outcome::Done(Output::new(to_value(&published)))
            }
            None => {
                let message = "SNS answered without a message id";
                Outcome::Reject(Fault::handler("sms.answer", message))
            }
        };
    }
    let Some(code) = element(&xml, "Code") else {
        return classify(response, call.started_at);
    };
    let words = element(&xml, "Message").unwrap_or_default();
    let message = format!("SNS answered {} {code}: {words}", response.status);
    let worded = Fault::handler("sms.refused", message);
    let fault =
        Fault { code: worded.code, message: worded.message, ..refused(response, call.started_at) };
    let is_passing = code.starts_with("Throttl") || code == "RequestExpired";
    if is_passing || response.status >= 500 || response.status == 429 {
        Outcome::Retry(fault)
    } else {
        Outcome::Reject(fault)
    }
}

/// `sms.aws_sns`
pub struct SnsSms {
    descriptor: Descriptor,
    egress: Egress,
}

impl SnsSms {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<Config, Input, Published>(About {
            id: "sms.aws_sns",
            aliases: &["AwsSnsSmsHandler"],
            title: "Send a text message through Amazon SNS",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[ActionType::Sms],
            delivery: Delivery::AtLeastOnce,
        });
        Self { descriptor, egress }
    }

    fn request(&self, call: &Call) -> Result<Request, Outcome> {
        let config: Config = parse_config(call)?;
        if !is_region(&config.aws_region) {
            return Err(reject("config.invalid", "/aws_region: is a region's name"));
        }
        let fields = config.fields(call)?;
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = Request::below(&self.egress, Method::Post, &config.base(), "/")
            .map_err(|error| error.outcome())?
            .timeout(time_limit(config.timeout_seconds, call))
            .header("user-agent", USER_AGENT)
            .form(&fields);
        Ok(sign(request, &config, call))
    }
}

fn sign(request: Request, config: &Config, call: &Call) -> Request {
    let date = amz_date(call.started_at);
    let host = request.authority();
    let token = config.session_token.as_ref().map(Secret::expose);
    let mut headers = vec![
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", host.as_str()),
        ("x-amz-date", date.as_str()),
    ];
    headers.extend(token.map(|token| ("x-amz-security-token", token)));
    let signer = Signer {
        key_id: &config.key,
        secret: config.secret.expose(),
        region: &config.aws_region,
        service: "sns",
    };
    let signable = Signable {
        method: "POST",
        path: request.path(),
        query: "",
        headers: &headers,
        body: request.bytes(),
    };
    let authorization = signer.authorization(&signable, &date);
    let request = match token {
        Some(token) => request.header("x-amz-security-token", token),
        None => request,
    };
    request.header("x-amz-date", date.clone()).header("authorization", authorization)
}

#[async_trait]
impl Handler for SnsSms {
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
        self.egress.reach_url(&config.base()).await.map_err(|error| error.to_string())
    }
}
