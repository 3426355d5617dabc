//! Delivers with authentication, its own pace of retries and a circuit breaker per URL.
//!
//! The engine repeats the attempts, as the action's retry policy says. `retry` only makes that
//! stricter: fewer attempts, longer pauses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use actions_domain::action::ActionType;
use actions_domain::execution::{Fault, Outcome};
use actions_domain::ports::clock::Clock;
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use super::auth::{AuthConfig, AuthType};
use super::breaker::{Breakers, Limits};
use super::{Target, classify};
use crate::answer::Answer;
use crate::config::{About, Headers, checked, descriptor, parse, parse_config, reject, seconds};
use crate::egress::{Egress, Method};

/// Where to deliver, with which proof, and how patiently.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// An http or https address outside private networks.
    webhook_url: String,
    #[serde(default = "super::post")]
    method: Method,
    /// Sent beside our own headers.
    #[serde(default)]
    headers: Headers,
    #[serde(default = "super::timeout_default")]
    #[schemars(range(min = 1, max = 3600))]
    timeout_seconds: u32,
    #[serde(default = "super::yes")]
    verify_ssl: bool,
    #[serde(default)]
    auth_type: AuthType,
    #[serde(default)]
    auth_config: AuthConfig,
    #[serde(default)]
    circuit_breaker: BreakerConfig,
    #[serde(default)]
    retry: Pace,
}

/// When a receiver is left alone.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct BreakerConfig {
    /// Failures in a row that open the circuit.
    #[schemars(range(min = 1, max = 1000))]
    failure_threshold: u32,
    /// How long it stays open before one call tries again.
    #[schemars(range(min = 1, max = 86400))]
    recovery_seconds: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failure_threshold: 5, recovery_seconds: 60 }
    }
}

/// Bounds on top of the action's retry policy.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Pace {
    /// Attempts after the first.
    max_retries: u32,
    /// The first pause; each further one is twice as long.
    base_delay_ms: u64,
    max_delay_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { max_retries: 3, base_delay_ms: 1_000, max_delay_ms: 30_000 }
    }
}

impl Pace {
    /// Turns a retry of the engine into what this pace allows.
    fn bound(self, fault: Fault, attempt: u32) -> Outcome {
        if attempt > self.max_retries {
            return Outcome::Reject(fault);
        }
        let factor = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        let pause = self.base_delay_ms.saturating_mul(factor).min(self.max_delay_ms);
        let asked = fault.retry_after().unwrap_or_default();
        Outcome::Retry(fault.with_retry_after(Some(asked.max(Duration::from_millis(pause)))))
    }
}

impl Config {
    fn target(&self) -> Target<'_> {
        Target {
            url: &self.webhook_url,
            method: self.method,
            headers: &self.headers,
            timeout_seconds: self.timeout_seconds,
            verify_ssl: self.verify_ssl,
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            failures_max: self.circuit_breaker.failure_threshold.max(1),
            recovery: seconds(self.circuit_breaker.recovery_seconds),
            trial_max: seconds(self.timeout_seconds),
        }
    }
}

/// `webhook.retry`
pub struct RetryWebhook {
    descriptor: Descriptor,
    egress: Egress,
    clock: Arc<dyn Clock>,
    breakers: Breakers,
}

impl RetryWebhook {
    pub fn new(egress: Egress, clock: Arc<dyn Clock>) -> Self {
        let descriptor = descriptor::<Config, Value, Answer>(About {
            id: "webhook.retry",
            aliases: &["RetryWebhookHandler"],
            title: "Deliver with authentication and a circuit breaker",
            handler_type: "webhook_http",
            capabilities: &["async", "idempotency_key", "circuit_breaker"],
            action_types: &[ActionType::Webhook],
            delivery: Delivery::OnceWithIdempotentPeer,
        });
        Self { descriptor, egress, clock, breakers: Breakers::default() }
    }

    async fn deliver(&self, config: &Config, call: &Call) -> Outcome {
        let target = config.target();
        let body = target.body(call);
        let request = match target.request(&self.egress, call, &body) {
            Ok(request) => request,
            Err(error) => return error.outcome(),
        };
        let auth = &config.auth_config;
        let request = match auth.prove(config.auth_type, request, &body, call.started_at) {
            Ok(request) => request,
            Err(field) => {
                return reject("config.invalid", format!("/auth_config/{field} is missing"));
            }
        };
        match self.egress.send(request).await {
            Ok(response) => classify(&response, call),
            Err(error) => error.outcome(),
        }
    }
}

/// Counts an attempt that was dropped on its way as a failure of the receiver.
struct Verdict<'a> {
    handler: &'a RetryWebhook,
    circuit: &'a str,
    limits: Limits,
    is_success: bool,
}

impl Drop for Verdict<'_> {
    fn drop(&mut self) {
        let now = self.handler.clock.now();
        self.handler.breakers.report(self.circuit, self.is_success, now, self.limits);
    }
}

#[async_trait]
impl Handler for RetryWebhook {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &Config, notes| {
            config.target().check(&self.egress, notes);
            config.auth_config.check(config.auth_type, notes);
            let breaker = config.circuit_breaker;
            if breaker.failure_threshold == 0 || breaker.recovery_seconds == 0 {
                notes.error("/circuit_breaker", "both numbers must be 1 or more");
            }
            if config.retry.max_delay_ms < config.retry.base_delay_ms {
                notes.error("/retry/max_delay_ms", "must not be below base_delay_ms");
            }
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let config: Config = match parse_config(call) {
            Ok(config) => config,
            Err(outcome) => return outcome,
        };
        let limits = config.limits();
        // Tenants share no circuit: one could open another's.
        let circuit = format!("{} {}", call.tenant.id, config.webhook_url);
        if let Err(pause) = self.breakers.admit(&circuit, self.clock.now(), limits) {
            let message = "the receiver failed too often and is left alone for a while";
            let fault = Fault::system("webhook.circuit_open", message);
            return Outcome::Retry(fault.with_retry_after(Some(pause)));
        }
        let mut verdict = Verdict { handler: self, circuit: &circuit, limits, is_success: false };
        let outcome = self.deliver(&config, call).await;
        // A refusal is an answer: the receiver is there.
        verdict.is_success = !matches!(outcome, Outcome::Retry(_));
        drop(verdict);
        match outcome {
            Outcome::Retry(fault) => config.retry.bound(fault, call.attempt),
            Outcome::Done(_) | Outcome::Reject(_) => outcome,
        }
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: Config = parse(config).map_err(|note| note.message)?;
        self.egress.reach_url(&config.webhook_url).await.map_err(|error| error.to_string())
    }
}
