//! Actions: a tenant's definitions of what to do, and how carefully.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::Timestamp;
use crate::execution::Priority;
use crate::id::{ActionId, TenantId};
use crate::limits::{
    CONCURRENCY_MAX, CONFIG_BYTES_MAX, FLOW_BYTES_MAX, GATHERED_MAX, GATHERED_WAIT_MAX,
    HANDLER_ID_BYTES_MAX, KEY_BYTES_MAX, KEY_TOKENS_MAX, NAME_BYTES_MAX, RATE_MAX, TIMEOUT_DEFAULT,
    TIMEOUT_MAX, UNIQUE_MAX,
};
use crate::matching::condition::Condition;
use crate::matching::pattern::Pattern;
use crate::retry::{RetryPolicy, RetryPolicyError};
use crate::terms::Conflict;
use crate::work::KeyMode;

/// A definition: what to do when one of its patterns matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    pub id: ActionId,
    pub tenant: TenantId,
    /// The founding id, stable over renames and versions.
    pub uuid: Uuid,
    pub spec: ActionSpec,
    pub health: Health,
    /// The tenant's definitions version that this state of the action came with.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted: bool,
}

/// What a person writes down. Durations are seconds in its JSON form, as in the founding table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionSpec {
    pub name: ActionName,
    pub action_type: ActionType,
    /// The founding column's name is accepted.
    #[serde(alias = "handler_class")]
    pub handler: HandlerId,
    #[serde(default = "empty_object")]
    pub config: Value,
    /// Shorthand for subscriptions without filters.
    #[serde(default)]
    pub event_patterns: Vec<Pattern>,
    /// Must hold on every way to this action.
    #[serde(default)]
    pub conditions: Condition,
    #[serde(default = "yes")]
    pub is_active: bool,
    #[serde(default, deserialize_with = "priority_word_or_number")]
    pub priority: Priority,
    #[serde(default = "timeout_default", alias = "timeout")]
    pub timeout_seconds: u32,
    /// A running attempt that is silent for so long is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout_seconds: Option<u32>,
    #[serde(default)]
    pub retry_policy: RetryPolicy,
    #[serde(default, skip_serializing_if = "DeliveryMode::is_default")]
    pub delivery: DeliveryMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_executions: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_per_hour: Option<u32>,
    /// Executions with the same key run in order and one at a time, as the mode says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// So many of its executions with one key run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<KeyConcurrency>,
    /// So many of its executions with one key start in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<KeyThrottle>,
    /// One of its executions with one key stands for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// The last one of a burst of executions with one key stands for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debounce: Option<Debounce>,
    /// Executions with one key gather into one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_team: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
}

/// The handler of actions that are workflows: it starts a run of what its config says.
pub const WORKFLOW_HANDLER: &str = "workflow.run";

/// What is done about an attempt whose end nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// It is made again.
    #[default]
    AtLeastOnce,
    /// It is written down before it begins, and made again only when its handler knows that it
    /// had no effect.
    AtMostOnce,
}

impl DeliveryMode {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which key an execution takes: a text with `{data.path}` places, and the mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affinity {
    /// Tokens from broad to narrow, joined by `:`, at least two: `order:{data.order_id}`.
    pub key: String,
    #[serde(default)]
    pub mode: KeyMode,
}

/// How many executions of an action with one key run at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConcurrency {
    /// As of an [`Affinity`]: `customer:{data.customer}`.
    pub key: String,
    pub max: u32,
}

/// How many executions of an action with one key start in a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyThrottle {
    /// As of an [`Affinity`]: `customer:{data.customer}`.
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
}

/// For what an execution is the only one, and what becomes of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// A text with `{data.path}` places: `invoice:{data.id}`.
    pub key: String,
    /// It is the only one for so long after it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<u32>,
    /// It is the only one until it has ended. So it is when no period is given, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    #[serde(default)]
    pub on_conflict: Conflict,
}

/// The end of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    Finished,
}

/// How long an execution waits for a newer one to take its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debounce {
    /// A text with `{data.path}` places: `document:{data.id}`.
    pub key: String,
    pub wait_seconds: u32,
    /// After the first one of a burst, the last one waits no longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait_seconds: Option<u32>,
}

/// How executions of an action gather into one, which runs with all their events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// A text with `{data.path}` places: `customer:{data.customer}`. Without it, all gather.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// It runs when so many are together.
    pub max_size: u32,
    /// It runs no later than so long after the first one.
    pub max_wait_seconds: u32,
}

impl Batch {
    pub fn max_wait(&self) -> Duration {
        Duration::from_secs(self.max_wait_seconds.into())
    }
}

/// Whether an action may run, as the last health check said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub is_healthy: bool,
    pub last_check_at: Option<Timestamp>,
    pub error: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self { is_healthy: true, last_check_at: None, error: None }
    }
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

const fn yes() -> bool {
    true
}

fn timeout_default() -> u32 {
    u32::try_from(TIMEOUT_DEFAULT.as_secs()).unwrap_or(300)
}

/// The API takes a word, or the founding number 0 to 1000.
fn priority_word_or_number<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Priority, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum WordOrNumber {
        Word(Priority),
        Number(u16),
    }
    match WordOrNumber::deserialize(deserializer)
        .map_err(|_| serde::de::Error::custom(PRIORITY_EXPECTED))?
    {
        WordOrNumber::Word(priority) => Ok(priority),
        WordOrNumber::Number(number) => {
            Priority::from_number(number).ok_or_else(|| serde::de::Error::custom(PRIORITY_EXPECTED))
        }
    }
}

const PRIORITY_EXPECTED: &str =
    "expected low, normal, high, very_high, critical, or a number from 0 to 1000";

/// Why a specification was refused, with the JSON pointer of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionSpecError {
    #[error("timeout_seconds is {given}, allowed are 1 to {max}", max = TIMEOUT_MAX.as_secs())]
    Timeout { given: u32 },
    #[error("heartbeat_timeout_seconds is {given}, allowed are 1 to {max}", max = TIMEOUT_MAX.as_secs())]
    HeartbeatTimeout { given: u32 },
    #[error(transparent)]
    Retry(#[from] RetryPolicyError),
    #[error("max_concurrent_executions is {given}, allowed are 1 to {max}", max = CONCURRENCY_MAX)]
    Concurrency { given: u32 },
    #[error("{field} is {given}, allowed are 1 to {max}", max = RATE_MAX)]
    Rate { field: &'static str, given: u32 },
    #[error("config is a JSON object of at most {max} bytes")]
    Config { max: usize },
    #[error(
        "a key has 2 to {tokens} tokens joined by ':', like order:{{data.id}}, and at most {bytes} bytes; got {given:?}",
        tokens = KEY_TOKENS_MAX, bytes = KEY_BYTES_MAX
    )]
    Key { pointer: &'static str, given: String },
    #[error(
        "its first two tokens, {given:?}, are not those of {other}, {expected:?}: the owner of one key counts both"
    )]
    Root { pointer: &'static str, given: String, other: &'static str, expected: String },
    #[error("a key has 1 to {bytes} bytes; got {given:?}", bytes = KEY_BYTES_MAX)]
    ClaimKey { pointer: &'static str, given: String },
    #[error("{field} is {given}, allowed are {min} to {max}", max = UNIQUE_MAX.as_secs())]
    ClaimTime { pointer: &'static str, field: &'static str, given: u32, min: u32 },
    #[error("unique and debounce exclude each other: both say which execution stands for others")]
    UniqueAndDebounce,
    #[error(
        "batch and {other} exclude each other: one runs with all their events, the other leaves events out"
    )]
    BatchAndClaim { other: &'static str },
    #[error("max_size is {given}, allowed are 2 to {max}", max = GATHERED_MAX)]
    BatchSize { given: u32 },
    #[error("max_wait_seconds is {given}, allowed are 1 to {max}", max = GATHERED_WAIT_MAX.as_secs())]
    BatchWait { given: u32 },
    #[error("max is {given}, allowed are 1 to {max}", max = CONCURRENCY_MAX)]
    KeyConcurrency { given: u32 },
    #[error("throttle needs per_minute or per_hour")]
    NoThrottle,
    #[error("{field} is {given}, allowed are 1 to {max}", max = RATE_MAX)]
    Throttle { field: &'static str, given: u32 },
}

impl ActionSpecError {
    /// The JSON pointer of the field that is wrong.
    pub fn pointer(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "/timeout_seconds",
            Self::HeartbeatTimeout { .. } => "/heartbeat_timeout_seconds",
            Self::Retry(_) => "/retry_policy",
            Self::Concurrency { .. } => "/max_concurrent_executions",
            Self::Rate { field: "rate_limit_per_hour", .. } => "/rate_limit_per_hour",
            Self::Rate { .. } => "/rate_limit_per_minute",
            Self::Config { .. } => "/config",
            Self::Key { pointer, .. } | Self::Root { pointer, .. } => pointer,
            Self::ClaimKey { pointer, .. } | Self::ClaimTime { pointer, .. } => pointer,
            Self::UniqueAndDebounce => "/debounce",
            Self::BatchAndClaim { .. } => "/batch",
            Self::BatchSize { .. } => "/batch/max_size",
            Self::BatchWait { .. } => "/batch/max_wait_seconds",
            Self::KeyConcurrency { .. } => "/concurrency/max",
            Self::NoThrottle => "/throttle",
            Self::Throttle { field: "per_hour", .. } => "/throttle/per_hour",
            Self::Throttle { .. } => "/throttle/per_minute",
        }
    }
}

impl ActionSpec {
    /// Whether it is a workflow: an action that starts runs.
    pub fn is_workflow(&self) -> bool {
        self.handler.as_str() == WORKFLOW_HANDLER
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_seconds))
    }

    pub fn heartbeat_timeout(&self) -> Option<Duration> {
        self.heartbeat_timeout_seconds.map(|seconds| Duration::from_secs(u64::from(seconds)))
    }

    /// Finds everything that is outside the published limits.
    pub fn check(&self) -> Vec<ActionSpecError> {
        let mut errors = Vec::new();
        if self.timeout_seconds == 0 || u64::from(self.timeout_seconds) > TIMEOUT_MAX.as_secs() {
            errors.push(ActionSpecError::Timeout { given: self.timeout_seconds });
        }
        if let Some(given) = self.heartbeat_timeout_seconds
            && (given == 0 || u64::from(given) > TIMEOUT_MAX.as_secs())
        {
            errors.push(ActionSpecError::HeartbeatTimeout { given });
        }
        if let Err(error) = self.retry_policy.check() {
            errors.push(error.into());
        }
        if let Some(given) = self.max_concurrent_executions
            && !(1..=CONCURRENCY_MAX).contains(&given)
        {
            errors.push(ActionSpecError::Concurrency { given });
        }
        let rates = [
            ("rate_limit_per_minute", self.rate_limit_per_minute),
            ("rate_limit_per_hour", self.rate_limit_per_hour),
        ];
        for (field, rate) in rates {
            if let Some(given) = rate
                && !(1..=RATE_MAX).contains(&given)
            {
                errors.push(ActionSpecError::Rate { field, given });
            }
        }
        let max = if self.is_workflow() { FLOW_BYTES_MAX } else { CONFIG_BYTES_MAX };
        if !self.config.is_object() || self.config.to_string().len() > max {
            errors.push(ActionSpecError::Config { max });
        }
        errors.extend(self.check_keys());
        errors.extend(self.check_claims());
        errors
    }

    /// Whether executions are counted for each key by itself.
    pub fn counts_keys(&self) -> bool {
        self.concurrency.is_some() || self.throttle.is_some()
    }

    fn check_claims(&self) -> Vec<ActionSpecError> {
        let mut errors = Vec::new();
        let keys = [
            ("/unique/key", self.unique.as_ref().map(|unique| &unique.key)),
            ("/debounce/key", self.debounce.as_ref().map(|debounce| &debounce.key)),
            ("/batch/key", self.batch.as_ref().and_then(|batch| batch.key.as_ref())),
        ];
        for (pointer, key) in keys {
            if let Some(key) = key
                && !(1..=KEY_BYTES_MAX).contains(&key.len())
            {
                let given = key.chars().take(KEY_BYTES_MAX).collect();
                errors.push(ActionSpecError::ClaimKey { pointer, given });
            }
        }
        let period = self.unique.as_ref().and_then(|unique| unique.period_seconds);
        let wait = self.debounce.as_ref().map(|debounce| debounce.wait_seconds);
        let max_wait = self.debounce.as_ref().and_then(|debounce| debounce.max_wait_seconds);
        let times = [
            ("/unique/period_seconds", "period_seconds", period, 1),
            ("/debounce/wait_seconds", "wait_seconds", wait, 1),
            ("/debounce/max_wait_seconds", "max_wait_seconds", max_wait, wait.unwrap_or(1)),
        ];
        for (pointer, field, given, min) in times {
            if let Some(given) = given
                && (given < min || u64::from(given) > UNIQUE_MAX.as_secs())
            {
                errors.push(ActionSpecError::ClaimTime { pointer, field, given, min });
            }
        }
        if self.unique.is_some() && self.debounce.is_some() {
            errors.push(ActionSpecError::UniqueAndDebounce);
        }
        if let Some(batch) = &self.batch {
            errors.extend(self.check_batch(batch));
        }
        errors
    }

    fn check_batch(&self, batch: &Batch) -> Vec<ActionSpecError> {
        let mut errors = Vec::new();
        let others = [("unique", self.unique.is_some()), ("debounce", self.debounce.is_some())];
        for (other, _) in others.into_iter().filter(|(_, is_given)| *is_given) {
            errors.push(ActionSpecError::BatchAndClaim { other });
        }
        if !(2..=GATHERED_MAX).contains(&batch.max_size) {
            errors.push(ActionSpecError::BatchSize { given: batch.max_size });
        }
        let given = batch.max_wait_seconds;
        if given == 0 || u64::from(given) > GATHERED_WAIT_MAX.as_secs() {
            errors.push(ActionSpecError::BatchWait { given });
        }
        errors
    }

    fn check_keys(&self) -> Vec<ActionSpecError> {
        let mut errors = Vec::new();
        let keys = [
            ("affinity", "/affinity/key", self.affinity.as_ref().map(|affinity| &affinity.key)),
            ("concurrency", "/concurrency/key", self.concurrency.as_ref().map(|known| &known.key)),
            ("throttle", "/throttle/key", self.throttle.as_ref().map(|known| &known.key)),
        ];
        let mut first: Option<(&'static str, &str)> = None;
        for (field, pointer, key) in keys {
            let Some(key) = key else { continue };
            if !is_key_template(key) || is_torn(root_of(key)) {
                let given = key.chars().take(KEY_BYTES_MAX).collect();
                errors.push(ActionSpecError::Key { pointer, given });
                continue;
            }
            // What is counted for a key is counted by the owner of its partition, which the root
            // decides: keys of one action must not lead to different owners.
            let (other, expected) = *first.get_or_insert_with(|| (field, root_of(key)));
            if root_of(key) != expected {
                let (given, expected) = (root_of(key).to_owned(), expected.to_owned());
                errors.push(ActionSpecError::Root { pointer, given, other, expected });
            }
        }
        if let Some(KeyConcurrency { max, .. }) = self.concurrency
            && !(1..=CONCURRENCY_MAX).contains(&max)
        {
            errors.push(ActionSpecError::KeyConcurrency { given: max });
        }
        if let Some(KeyThrottle { per_minute, per_hour, .. }) = self.throttle {
            if per_minute.is_none() && per_hour.is_none() {
                errors.push(ActionSpecError::NoThrottle);
            }
            for (field, rate) in [("per_minute", per_minute), ("per_hour", per_hour)] {
                if let Some(given) = rate.filter(|given| !(1..=RATE_MAX).contains(given)) {
                    errors.push(ActionSpecError::Throttle { field, given });
                }
            }
        }
        errors
    }
}

fn is_key_template(key: &str) -> bool {
    (2..=KEY_TOKENS_MAX).contains(&key.split(':').count())
        && !key.split(':').any(str::is_empty)
        && key.len() <= KEY_BYTES_MAX
}

/// Whether a place for a value is cut in two.
fn is_torn(root: &str) -> bool {
    root.rfind('{').is_some_and(|open| root.rfind('}').is_none_or(|close| close < open))
}

/// The first two tokens of a key.
fn root_of(key: &str) -> &str {
    key.match_indices(':').nth(1).map_or(key, |(end, _)| &key[..end])
}

/// A name of 1 to 100 bytes, unique inside its tenant: letters, digits, `_`, `-` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {max} letters, digits, '_', '-' or '.', not {raw:?}", max = NAME_BYTES_MAX)]
pub struct ActionNameError {
    raw: String,
}

impl ActionName {
    pub fn parse(raw: &str) -> Result<Self, ActionNameError> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if raw.is_empty() || raw.len() > NAME_BYTES_MAX || !raw.bytes().all(is_allowed) {
            return Err(ActionNameError { raw: raw.to_owned() });
        }
        Ok(Self(raw.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ActionName {
    type Error = ActionNameError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

impl From<ActionName> for String {
    fn from(name: ActionName) -> Self {
        name.0
    }
}

/// The id of a handler: `module.name`, or the founding class name of a seeded action.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HandlerId(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a handler id is module.name, at most {max} bytes, like webhook.signed; got {raw:?}", max = HANDLER_ID_BYTES_MAX)]
pub struct HandlerIdError {
    raw: String,
}

impl HandlerId {
    pub fn parse(raw: &str) -> Result<Self, HandlerIdError> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let has_parts = raw.contains('.') && raw.split('.').all(|part| !part.is_empty());
        if !has_parts || raw.len() > HANDLER_ID_BYTES_MAX || !raw.bytes().all(is_allowed) {
            return Err(HandlerIdError { raw: raw.to_owned() });
        }
        Ok(Self(raw.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HandlerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HandlerId {
    type Error = HandlerIdError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

impl From<HandlerId> for String {
    fn from(id: HandlerId) -> Self {
        id.0
    }
}

/// What kind of thing an action does: the 37 founding types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionType {
    Email,
    Sms,
    PushNotification,
    Webhook,
    SystemNotification,
    SlackNotification,
    TeamsNotification,
    FunctionExecution,
    ScriptExecution,
    WorkflowTrigger,
    LambdaFunction,
    BackgroundJob,
    DatabaseOperation,
    FileOperation,
    StorageOperation,
    BackupOperation,
    DataSync,
    CacheInvalidation,
    CacheWarming,
    IndexRebuild,
    ExternalApi,
    PaymentProcessing,
    AnalyticsTracking,
    CrmSync,
    ErpSync,
    SecurityScan,
    ComplianceCheck,
    AuditLog,
    AccessReview,
    DeploymentTrigger,
    ScalingOperation,
    MonitoringAlert,
    HealthCheck,
    ReportGeneration,
    BatchProcessing,
    DataPipeline,
    Custom,
}

impl ActionType {
    pub const ALL: [Self; 37] = [
        Self::Email,
        Self::Sms,
        Self::PushNotification,
        Self::Webhook,
        Self::SystemNotification,
        Self::SlackNotification,
        Self::TeamsNotification,
        Self::FunctionExecution,
        Self::ScriptExecution,
        Self::WorkflowTrigger,
        Self::LambdaFunction,
        Self::BackgroundJob,
        Self::DatabaseOperation,
        Self::FileOperation,
        Self::StorageOperation,
        Self::BackupOperation,
        Self::DataSync,
        Self::CacheInvalidation,
        Self::CacheWarming,
        Self::IndexRebuild,
        Self::ExternalApi,
        Self::PaymentProcessing,
        Self::AnalyticsTracking,
        Self::CrmSync,
        Self::ErpSync,
        Self::SecurityScan,
        Self::ComplianceCheck,
        Self::AuditLog,
        Self::AccessReview,
        Self::DeploymentTrigger,
        Self::ScalingOperation,
        Self::MonitoringAlert,
        Self::HealthCheck,
        Self::ReportGeneration,
        Self::BatchProcessing,
        Self::DataPipeline,
        Self::Custom,
    ];
}
