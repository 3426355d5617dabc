//! Handlers whose only effect is the record of their execution: `notification.inbox` and
//! `audit.log`.
//!
//! Notifications and audit records are the outputs of executions, so both are written exactly
//! once, and the list of an action's executions is the list of them. There is no list by
//! recipient.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use actions_domain::Timestamp;
use actions_domain::action::ActionType;
use actions_domain::execution::{Outcome, Output};
use actions_domain::limits::OUTPUT_BYTES_MAX;
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use crate::config::{About, checked, descriptor, parse_config, parse_input, reject, to_value};
use crate::template::{Escape, Template, render_for};

/// Who is told what. The notification is the execution's output: list the executions of the
/// action to find it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InboxConfig {
    /// A template for the recipient's id. Without it the input's `target`, else the event's
    /// user.
    #[serde(default)]
    to: Option<Template>,
    /// A template. Without it the input's `title`.
    #[serde(default)]
    title: Option<Template>,
    /// A template. Without it the input's `text`.
    #[serde(default)]
    text: Option<Template>,
    #[serde(default)]
    level: Level,
}

/// How important a notification is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Level {
    #[default]
    Info,
    Success,
    Warning,
    Error,
}

/// What a job may say instead of the config.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
struct InboxInput {
    #[serde(default)]
    target: Option<Value>,
    #[serde(default)]
    title: Option<Value>,
    #[serde(default)]
    text: Option<Value>,
}

/// A notification, as its recipient sees it.
#[derive(Debug, Serialize, JsonSchema)]
struct Notification {
    /// The execution's id.
    message_id: Uuid,
    recipient: String,
    title: Option<String>,
    text: String,
    level: Level,
    sent_at: Timestamp,
}

/// `notification.inbox`
pub struct NotificationInbox {
    descriptor: Descriptor,
}

impl Default for NotificationInbox {
    fn default() -> Self {
        let descriptor = descriptor::<InboxConfig, InboxInput, Notification>(About {
            id: "notification.inbox",
            aliases: &["SystemNotificationHandler"],
            title: "Record a notification for a person as the execution's output",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[ActionType::SystemNotification],
            delivery: Delivery::OnceRecorded,
        });
        Self { descriptor }
    }
}

fn notify(call: &Call) -> Result<Notification, Outcome> {
    let config: InboxConfig = parse_config(call)?;
    let input: InboxInput = parse_input(call)?;
    let said = |template: &Option<Template>, given: Option<Value>| match (template, given) {
        (Some(template), _) => render_for(call, template, Escape::Plain).map(Some),
        (None, Some(Value::String(given))) => Ok(Some(given)),
        (None, _) => Ok(None),
    };
    let user = call.event.as_ref().and_then(|event| event.attributes.user_id);
    let recipient = said(&config.to, input.target)?.or_else(|| user.map(|user| user.to_string()));
    let text = said(&config.text, input.text)?;
    let missing = |what: &str| {
        let message = format!("a {what} is needed: as a template in the config, or in the input");
        reject("input.invalid", message)
    };
    Ok(Notification {
        message_id: call.execution.0,
        recipient: recipient.filter(|to| !to.is_empty()).ok_or_else(|| missing("target"))?,
        title: said(&config.title, input.title)?,
        text: text.filter(|text| !text.is_empty()).ok_or_else(|| missing("text"))?,
        level: config.level,
        sent_at: call.started_at,
    })
}

#[async_trait]
impl Handler for NotificationInbox {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &InboxConfig, notes| {
            notes.template("/to", config.to.as_ref());
            notes.template("/title", config.title.as_ref());
            notes.template("/text", config.text.as_ref());
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        match notify(call).map(|notification| to_value(&notification)) {
            Ok(output) if output.to_string().len() > OUTPUT_BYTES_MAX => {
                let message = format!("a notification has at most {OUTPUT_BYTES_MAX} bytes");
                reject("input.invalid", message)
            }
            Ok(output) => Outcome::Done(Output::new(output)),
            Err(outcome) => outcome,
        }
    }
}

/// What an audit record says beside the event.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AuditConfig {
    /// Names of input fields that are left out at any depth, beside those that look secret.
    #[serde(default)]
    redact: Vec<String>,
}

/// An audit record.
#[derive(Debug, Serialize, JsonSchema)]
struct AuditRecord {
    /// The execution's id.
    record_id: Uuid,
    tenant: String,
    event_id: Option<Uuid>,
    event_type: Option<String>,
    source: Option<String>,
    user_id: Option<Uuid>,
    recorded_at: Timestamp,
    /// The data without its secrets, or nothing when it is too large to be kept twice.
    data: Option<Value>,
}

/// `audit.log`
pub struct AuditLog {
    descriptor: Descriptor,
}

impl Default for AuditLog {
    fn default() -> Self {
        let descriptor = descriptor::<AuditConfig, Value, AuditRecord>(About {
            id: "audit.log",
            aliases: &["AuditLogHandler"],
            title: "Write an audit record",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[ActionType::AuditLog],
            delivery: Delivery::OnceRecorded,
        });
        Self { descriptor }
    }
}

/// Leaves room for the other fields of a record.
const AUDIT_DATA_BYTES_MAX: usize = OUTPUT_BYTES_MAX - 4 * 1024;

#[async_trait]
impl Handler for AuditLog {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |_: &AuditConfig, _| {})
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let config: AuditConfig = match parse_config(call) {
            Ok(config) => config,
            Err(outcome) => return outcome,
        };
        let event = call.event.as_deref();
        let data = redacted(&call.input, &config.redact);
        let record = AuditRecord {
            record_id: call.execution.0,
            tenant: call.tenant.slug.clone(),
            event_id: event.map(|event| event.id.0),
            event_type: event.map(|event| event.event_type.to_string()),
            source: event.map(|event| event.source.clone()),
            user_id: event.and_then(|event| event.attributes.user_id),
            recorded_at: call.started_at,
            data: Some(data).filter(|data| data.to_string().len() <= AUDIT_DATA_BYTES_MAX),
        };
        tracing::info!(
            target: "actions::audit",
            record = %record.record_id,
            tenant = record.tenant,
            event_type = record.event_type,
            "audit record"
        );
        Outcome::Done(Output::new(to_value(&record)))
    }
}

fn redacted(value: &Value, names: &[String]) -> Value {
    match value {
        Value::Object(fields) => {
            let is_kept = |name: &str| {
                !crate::config::looks_secret(name)
                    && !names.iter().any(|redact| redact.eq_ignore_ascii_case(name))
            };
            let kept = fields.iter().map(|(name, value)| {
                let value =
                    if is_kept(name) { redacted(value, names) } else { "(redacted)".into() };
                (name.clone(), value)
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.iter().map(|item| redacted(item, names)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use actions_domain::execution::Outcome;
    use actions_domain::ports::handler::Handler;

    use super::{AuditLog, NotificationInbox};
    use crate::fixture::call;

    #[tokio::test]
    async fn a_notification_is_its_record() {
        let config = json!({ "to": "{{ data.user }}", "text": "Order {{ data.order }} shipped" });
        let input = json!({ "user": "u1", "order": 7 });
        let done = NotificationInbox::default().execute(&call(config, input)).await;
        let Outcome::Done(output) = done else { panic!("{done:?}") };
        assert_eq!(output.data["recipient"], "u1");
        assert_eq!(output.data["text"], "Order 7 shipped");
        let refused = NotificationInbox::default().execute(&call(json!({}), json!({}))).await;
        assert!(matches!(refused, Outcome::Reject(fault) if fault.code == "input.invalid"));
    }

    #[tokio::test]
    async fn an_audit_record_holds_no_secrets() {
        let input = json!({ "user": { "password": "p", "name": "Ann" }, "cards": [{ "pan": 1 }] });
        let config = json!({ "redact": ["PAN"] });
        let done = AuditLog::default().execute(&call(config, input)).await;
        let Outcome::Done(output) = done else { panic!("{done:?}") };
        let expected = json!({
            "user": { "password": "(redacted)", "name": "Ann" },
            "cards": [{ "pan": "(redacted)" }],
        });
        assert_eq!(output.data["data"], expected);
    }
}
