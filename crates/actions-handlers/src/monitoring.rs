//! Alerts, and health checks of somebody's address or of this node: `monitoring.alert` and
//! `health.check`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use actions_domain::action::ActionType;
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use crate::answer::{classify_endpoint, refused};
use crate::config::{
    About, Headers, Secret, checked, descriptor, parse, parse_config, reject, time_limit, to_value,
};
use crate::egress::{Egress, Method, Request};
use crate::template::{Escape, Template, announcement, render_for};
use crate::webhook::USER_AGENT;

/// Where an alert goes, and when.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AlertConfig {
    #[serde(default)]
    target: AlertTarget,
    /// For the target `webhook`. It may be a credential of its own.
    #[serde(default)]
    webhook_url: Option<Secret>,
    #[serde(default)]
    headers: Headers,
    #[serde(default)]
    severity: Severity,
    /// A template over `event`, `data`, `tenant`.
    #[serde(default)]
    message: Option<Template>,
    /// A dotted path to a number in the data, compared with `threshold`.
    #[serde(default)]
    metric: Option<String>,
    /// No alert below this.
    #[serde(default)]
    threshold: Option<f64>,
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum AlertTarget {
    /// The log of this node.
    #[default]
    Log,
    Webhook,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Severity {
    Info,
    #[default]
    Warning,
    Critical,
}

/// What became of an alert.
#[derive(Debug, Serialize, JsonSchema)]
struct Alerted {
    /// Whether the threshold was reached.
    alerted: bool,
    severity: Severity,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
}

/// `monitoring.alert`
pub struct MonitoringAlert {
    descriptor: Descriptor,
    egress: Egress,
}

impl MonitoringAlert {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<AlertConfig, Value, Alerted>(About {
            id: "monitoring.alert",
            aliases: &["MonitoringAlertHandler"],
            title: "Raise an alert",
            handler_type: "native",
            capabilities: &["async", "idempotency_key"],
            action_types: &[ActionType::MonitoringAlert],
            delivery: Delivery::OnceWithIdempotentPeer,
        });
        Self { descriptor, egress }
    }

    async fn alert(&self, call: &Call) -> Result<Alerted, Outcome> {
        let config: AlertConfig = parse_config(call)?;
        let message = match &config.message {
            Some(template) => render_for(call, template, Escape::Plain)?,
            None => announcement(call)
                .unwrap_or_else(|| format!("{} in {}", call.action, call.tenant.slug)),
        };
        let value = match &config.metric {
            Some(path) => Some(number_at(&call.input, path)?),
            None => None,
        };
        let is_reached = match (value, config.threshold) {
            (Some(value), Some(threshold)) => value >= threshold,
            (None, _) | (_, None) => true,
        };
        let severity = config.severity;
        let mut alerted =
            Alerted { alerted: is_reached, severity, message, value, status_code: None };
        if is_reached {
            match config.target {
                AlertTarget::Log => log(&alerted, call),
                AlertTarget::Webhook => {
                    alerted.status_code = Some(self.post(&config, &alerted, call).await?);
                }
            }
        }
        Ok(alerted)
    }

    async fn post(
        &self,
        config: &AlertConfig,
        alerted: &Alerted,
        call: &Call,
    ) -> Result<u16, Outcome> {
        let url = config.webhook_url.as_ref().ok_or_else(|| reject("config.invalid", NO_URL))?;
        let body = json!({
            "alert_id": call.execution,
            "severity": alerted.severity,
            "message": alerted.message,
            "value": alerted.value,
            "threshold": config.threshold,
            "event": call.event.as_ref().map(|event| event.event_type.as_str()),
            "data": call.input,
            "tenant_id": call.tenant.uuid,
            "timestamp": call.started_at,
        });
        let mut request = Request::new(&self.egress, Method::Post, url.expose())
            .map_err(|error| error.outcome())?
            .timeout(time_limit(config.timeout_seconds, call))
            .header("user-agent", USER_AGENT)
            .json(&body);
        for (name, value) in &config.headers {
            request = request.header(name, value);
        }
        let request = request.header("idempotency-key", call.execution.to_string()).traced(call);
        let response = self.egress.send(request).await.map_err(|error| error.outcome())?;
        if response.is_success() {
            return Ok(response.status);
        }
        Err(classify_endpoint(&response, call.started_at))
    }
}

const NO_URL: &str = "the target webhook needs a webhook_url";

/// What the log keeps of a message.
const LOGGED_CHARS_MAX: usize = 1_000;

/// A tenant's words on one line: a line break would let them begin an entry of their own.
fn loggable(message: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    message.chars().take(LOGGED_CHARS_MAX).map(plain).collect()
}

fn log(alerted: &Alerted, call: &Call) {
    let (tenant, action) = (&call.tenant.slug, &call.action);
    let message = loggable(&call.config.masking().text(&alerted.message));
    match alerted.severity {
        Severity::Info => {
            tracing::info!(target: "actions::alert", tenant, action, "{message}");
        }
        Severity::Warning => {
            tracing::warn!(target: "actions::alert", tenant, action, "{message}");
        }
        Severity::Critical => {
            tracing::error!(target: "actions::alert", tenant, action, "{message}");
        }
    }
}

fn number_at(data: &Value, path: &str) -> Result<f64, Outcome> {
    let found = path.split('.').try_fold(data, |value, name| value.get(name));
    let number = found.and_then(Value::as_f64);
    number.ok_or_else(|| reject("input.invalid", format!("the data has no number at {path}")))
}

#[async_trait]
impl Handler for MonitoringAlert {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &AlertConfig, notes| {
            match (config.target, &config.webhook_url) {
                (AlertTarget::Webhook, None) => notes.error("/webhook_url", NO_URL),
                (AlertTarget::Log, Some(_)) => {
                    notes.warn("/webhook_url", "is not used for the target log");
                }
                (_, Some(url)) => notes.url(&self.egress, "/webhook_url", url.expose()),
                (AlertTarget::Log, None) => {}
            }
            if config.threshold.is_some() && config.metric.is_none() {
                notes.error("/metric", "a threshold needs the path of the number to compare");
            }
            notes.headers("/headers", &config.headers);
            notes.template("/message", config.message.as_ref());
            notes.timeout("/timeout_seconds", config.timeout_seconds, 300);
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        match self.alert(call).await {
            Ok(alerted) => Outcome::Done(Output::new(to_value(&alerted))),
            Err(outcome) => outcome,
        }
    }
}

/// What is checked. Without a URL, this node itself.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CheckConfig {
    /// An address that answers 2xx when it is well.
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    headers: Headers,
    /// The one status that is well, instead of any 2xx.
    #[serde(default)]
    expected_status: Option<u16>,
    #[serde(default = "crate::webhook::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
struct Checked {
    healthy: bool,
    /// `self`, or the host that was asked.
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    /// The node that asked.
    node: i32,
    version: &'static str,
}

/// `health.check`
pub struct HealthCheck {
    descriptor: Descriptor,
    egress: Egress,
}

impl HealthCheck {
    pub fn new(egress: Egress) -> Self {
        let descriptor = descriptor::<CheckConfig, Value, Checked>(About {
            id: "health.check",
            aliases: &["HealthCheckHandler"],
            title: "Check whether something is well",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[ActionType::HealthCheck],
            delivery: Delivery::OnceRecorded,
        });
        Self { descriptor, egress }
    }

    async fn check(&self, call: &Call) -> Result<Checked, Outcome> {
        let config: CheckConfig = parse_config(call)?;
        let checked = |target: String, status_code| Checked {
            healthy: true,
            target,
            status_code,
            node: call.node.0,
            version: env!("CARGO_PKG_VERSION"),
        };
        // That this attempt runs at all is the finding: it was accepted, stored, scheduled and
        // started.
        let Some(url) = &config.url else { return Ok(checked("self".to_owned(), None)) };
        let mut request = Request::new(&self.egress, Method::Get, url)
            .map_err(|error| error.outcome())?
            .timeout(time_limit(config.timeout_seconds, call))
            .header("user-agent", USER_AGENT);
        for (name, value) in &config.headers {
            request = request.header(name, value);
        }
        let host = request.host();
        let response = self.egress.send(request).await.map_err(|error| error.outcome())?;
        let is_well = match config.expected_status {
            Some(status) => response.status == status,
            None => response.is_success(),
        };
        if is_well {
            return Ok(checked(host, Some(response.status)));
        }
        let mut fault = refused(&response, call.started_at);
        fault.code = "health.unwell".to_owned();
        Err(Outcome::Retry(Fault {
            message: format!("{host} answered {}", response.status),
            ..fault
        }))
    }
}

#[async_trait]
impl Handler for HealthCheck {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &CheckConfig, notes| {
            if let Some(url) = &config.url {
                notes.url(&self.egress, "/url", url);
            }
            notes.headers("/headers", &config.headers);
            notes.timeout("/timeout_seconds", config.timeout_seconds, 300);
            if config.expected_status.is_some_and(|status| !(100..=599).contains(&status)) {
                notes.error("/expected_status", "is not an HTTP status");
            }
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        match self.check(call).await {
            Ok(found) => Outcome::Done(Output::new(to_value(&found))),
            Err(outcome) => outcome,
        }
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: CheckConfig = parse(config).map_err(|note| note.message)?;
        match config.url {
            Some(url) => self.egress.reach_url(&url).await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use actions_domain::execution::Outcome;
    use actions_domain::ports::handler::Handler;

    use super::{HealthCheck, MonitoringAlert, loggable};
    use crate::egress::{Egress, EgressPolicy};
    use crate::fixture::call;

    fn gate() -> Egress {
        Egress::new(EgressPolicy::default()).expect("a gate")
    }

    #[tokio::test]
    async fn an_alert_needs_its_threshold() {
        let config = json!({
            "metric": "load.p99", "threshold": 250, "message": "p99 is {{ data.load.p99 }}",
        });
        let alert = async |input: Value| match MonitoringAlert::new(gate())
            .execute(&call(config.clone(), input))
            .await
        {
            Outcome::Done(output) => output.data,
            Outcome::Reject(fault) => json!(fault.code),
            Outcome::Retry(fault) => panic!("{fault:?}"),
        };
        let high = alert(json!({ "load": { "p99": 300 } })).await;
        assert_eq!((&high["alerted"], &high["message"]), (&json!(true), &json!("p99 is 300")));
        assert_eq!(alert(json!({ "load": { "p99": 200 } })).await["alerted"], false);
        assert_eq!(alert(json!({ "load": {} })).await, "template.undefined");
    }

    #[test]
    fn an_alert_is_one_line_of_the_log() {
        assert_eq!(loggable("load\r\nERROR all\u{1b}[2J is lost"), "load  ERROR all [2J is lost");
        assert_eq!(loggable(&"x".repeat(300_000)).len(), 1_000);
    }

    #[tokio::test]
    async fn a_node_that_runs_a_check_is_well() {
        let done = HealthCheck::new(gate()).execute(&call(json!({}), json!({}))).await;
        assert!(matches!(done, Outcome::Done(output) if output.data["healthy"] == true));
    }
}
