//! `function.call` and `job.run`: the same registry under its two founding names.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use actions_domain::action::ActionType;
use actions_domain::execution::Outcome;
use actions_domain::ports::handler::{Call, ConfigReport, Delivery, Descriptor, Handler};

use super::Functions;
use crate::config::{About, Notes, checked, descriptor, parse, parse_config};

/// Which function. Further fields are the function's own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
struct FunctionConfig {
    /// The name it was registered with.
    function_name: String,
}

/// Which kind of job. Further fields are the job's own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
struct JobConfig {
    /// The name its function was registered with.
    job_type: String,
}

/// `function.call`
pub struct FunctionCall {
    descriptor: Descriptor,
    functions: Functions,
}

impl FunctionCall {
    pub fn new(functions: Functions) -> Self {
        let descriptor = descriptor::<FunctionConfig, Value, Value>(About {
            id: "function.call",
            aliases: &["TenantSetupFunctionHandler", "FunctionHandler"],
            title: "Call a function of this service",
            handler_type: "native",
            capabilities: &["async", "idempotency_key"],
            action_types: &[ActionType::FunctionExecution, ActionType::Custom],
            delivery: Delivery::AtLeastOnce,
        });
        Self { descriptor, functions }
    }
}

#[async_trait]
impl Handler for FunctionCall {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &FunctionConfig, notes| {
            check_name(&self.functions, "/function_name", &config.function_name, notes);
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        match parse_config::<FunctionConfig>(call) {
            Ok(config) => self.functions.run(&config.function_name, call).await,
            Err(outcome) => outcome,
        }
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: FunctionConfig = parse(config).map_err(|note| note.message)?;
        registered(&self.functions, &config.function_name)
    }
}

/// `job.run`
pub struct JobRun {
    descriptor: Descriptor,
    functions: Functions,
}

impl JobRun {
    pub fn new(functions: Functions) -> Self {
        let descriptor = descriptor::<JobConfig, Value, Value>(About {
            id: "job.run",
            aliases: &["OrganizationBillingHandler", "PaymentBatchHandler", "JobHandler"],
            title: "Run a background job of this service",
            handler_type: "native",
            capabilities: &["async", "idempotency_key"],
            action_types: &[ActionType::BackgroundJob, ActionType::Custom],
            delivery: Delivery::AtLeastOnce,
        });
        Self { descriptor, functions }
    }
}

#[async_trait]
impl Handler for JobRun {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        checked(config, |config: &JobConfig, notes| {
            check_name(&self.functions, "/job_type", &config.job_type, notes);
        })
    }

    async fn execute(&self, call: &Call) -> Outcome {
        match parse_config::<JobConfig>(call) {
            Ok(config) => self.functions.run(&config.job_type, call).await,
            Err(outcome) => outcome,
        }
    }

    async fn check_health(&self, config: &Value) -> Result<(), String> {
        let config: JobConfig = parse(config).map_err(|note| note.message)?;
        registered(&self.functions, &config.job_type)
    }
}

/// An unknown name is only doubtful: the service may register it later.
fn check_name(functions: &Functions, pointer: &str, name: &str, notes: &mut Notes) {
    if name.is_empty() {
        notes.error(pointer, "must not be empty");
    } else if let Err(message) = registered(functions, name) {
        notes.warn(pointer, message);
    }
}

fn registered(functions: &Functions, name: &str) -> Result<(), String> {
    if functions.contains(name) {
        return Ok(());
    }
    let known = functions.names();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(format!("this service has no function {name:?}; it has: {known}"))
}
