//! An action as it is sent and shown.

use actions_app::app::App;
use actions_app::queries::definitions::{ActionState, Difference, blocked_reason, shown_config};
use actions_domain::action::{
    Action, ActionName, ActionSpec, ActionType, Affinity, Batch, Debounce, DeliveryMode, HandlerId,
    KeyConcurrency, KeyThrottle, Unique,
};
use actions_domain::execution::Priority;
use actions_domain::limits::TIMEOUT_DEFAULT;
use actions_domain::matching::condition::Condition;
use actions_domain::matching::pattern::Pattern;
use actions_domain::ports::handler::FieldNote;
use actions_domain::retry::RetryPolicy;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::problem::{FieldError, PATTERN_INVALID, Problem};
use crate::time::Time;

/// An action as a person writes it. What reading it shows beyond that may be sent back, and is
/// ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "welcome", "action_type": "webhook", "handler": "webhook.signed",
    "config": { "webhook_url": "https://example.com/hook", "webhook_secret": "whsec_…" },
    "event_patterns": ["users.created"],
}))]
pub(crate) struct ActionBody {
    /// 1 to 100 letters, digits, `_`, `-` or `.`.
    #[schema(value_type = String)]
    name: ActionName,
    #[schema(value_type = String)]
    action_type: ActionType,
    /// The handler's id. The founding name `handler_class` is accepted.
    #[serde(alias = "handler_class")]
    #[schema(value_type = String)]
    handler: HandlerId,
    #[serde(default = "empty_object")]
    #[schema(value_type = Object)]
    config: Value,
    /// Shorthand for subscriptions without filters.
    #[serde(default)]
    event_patterns: Vec<String>,
    /// JSON operators, or a text in CEL. Must hold on every way to this action.
    #[serde(default)]
    #[schema(value_type = Object)]
    conditions: Condition,
    is_active: Option<bool>,
    /// low, normal, high, `very_high`, critical, or the founding number 0 to 1000.
    #[schema(value_type = Option<String>)]
    priority: Option<PriorityBody>,
    /// 1 to 3600.
    #[serde(alias = "timeout")]
    timeout_seconds: Option<u32>,
    /// A running attempt that says nothing for so long is over: 1 to 3600.
    heartbeat_timeout_seconds: Option<u32>,
    /// `at_least_once`, or `at_most_once`: each start is written down before it happens, and an
    /// attempt whose end nobody knows is not repeated unless the handler knows that it had no
    /// effect.
    #[serde(default)]
    #[schema(value_type = String, examples("at_least_once"))]
    delivery: DeliveryMode,
    /// A policy, or the name of one: default, aggressive, conservative, `no_retry`.
    #[schema(value_type = Option<Object>)]
    retry_policy: Option<RetryBody>,
    max_concurrent_executions: Option<u32>,
    rate_limit_per_minute: Option<u32>,
    rate_limit_per_hour: Option<u32>,
    /// `{"key": "order:{data.order_id}", "mode": "mutate"}`.
    #[schema(value_type = Option<Object>)]
    affinity: Option<Affinity>,
    /// At most so many with one key at once: `{"key": "customer:{data.customer}", "max": 3}`.
    #[schema(value_type = Option<Object>)]
    concurrency: Option<KeyConcurrency>,
    /// At most so many starts with one key:
    /// `{"key": "customer:{data.customer}", "per_minute": 60, "per_hour": 600}`.
    #[schema(value_type = Option<Object>)]
    throttle: Option<KeyThrottle>,
    /// One execution with one key stands for all: `{"key": "invoice:{data.id}"}`, until it has
    /// ended (`"until": "finished"`), for `period_seconds`, or both. `on_conflict` says what becomes
    /// of another one: `existing`, `reject` or `replace`.
    #[schema(value_type = Option<Object>)]
    unique: Option<Unique>,
    /// The last one of a burst with one key stands for all:
    /// `{"key": "document:{data.id}", "wait_seconds": 10, "max_wait_seconds": 60}`.
    #[schema(value_type = Option<Object>)]
    debounce: Option<Debounce>,
    /// Executions with one key gather into one, which runs with all their events when `max_size`
    /// are together, `max_wait_seconds` after the first one at the latest:
    /// `{"key": "customer:{data.customer}", "max_size": 100, "max_wait_seconds": 10}`.
    #[schema(value_type = Option<Object>)]
    batch: Option<Batch>,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    owner_team: Option<String>,
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: Value,

    // What only we write.
    #[serde(rename = "id", default)]
    #[schema(ignore)]
    _id: Option<IgnoredAny>,
    #[serde(rename = "version", default)]
    #[schema(ignore)]
    _version: Option<IgnoredAny>,
    #[serde(rename = "status", default)]
    #[schema(ignore)]
    _status: Option<IgnoredAny>,
    #[serde(rename = "blocked_reason", default)]
    #[schema(ignore)]
    _blocked_reason: Option<IgnoredAny>,
    #[serde(rename = "is_healthy", default)]
    #[schema(ignore)]
    _is_healthy: Option<IgnoredAny>,
    #[serde(rename = "last_health_check_at", default)]
    #[schema(ignore)]
    _last_health_check_at: Option<IgnoredAny>,
    #[serde(rename = "health_check_error", default)]
    #[schema(ignore)]
    _health_check_error: Option<IgnoredAny>,
    #[serde(rename = "created_at", default)]
    #[schema(ignore)]
    _created_at: Option<IgnoredAny>,
    #[serde(rename = "updated_at", default)]
    #[schema(ignore)]
    _updated_at: Option<IgnoredAny>,
    #[serde(rename = "deleted", default)]
    #[schema(ignore)]
    _deleted: Option<IgnoredAny>,
    #[serde(rename = "warnings", default)]
    #[schema(ignore)]
    _warnings: Option<IgnoredAny>,
}

/// A priority as a word or as the founding number.
#[derive(Debug)]
struct PriorityBody(Priority);

/// A retry policy, written out or by name.
#[derive(Debug)]
struct RetryBody(RetryPolicy);

/// An action as it is stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionView {
    /// The founding id, stable over versions.
    id: Uuid,
    name: String,
    #[schema(value_type = String, examples("webhook"))]
    action_type: ActionType,
    handler: String,
    /// Secrets are shown as `***`.
    #[schema(value_type = Object)]
    config: Value,
    event_patterns: Vec<String>,
    #[schema(value_type = Object)]
    conditions: Value,
    is_active: bool,
    #[schema(value_type = String)]
    priority: Priority,
    timeout_seconds: u32,
    heartbeat_timeout_seconds: Option<u32>,
    #[schema(value_type = String, examples("at_least_once"))]
    delivery: DeliveryMode,
    #[schema(value_type = Object)]
    retry_policy: RetryPolicy,
    max_concurrent_executions: Option<u32>,
    rate_limit_per_minute: Option<u32>,
    rate_limit_per_hour: Option<u32>,
    #[schema(value_type = Option<Object>)]
    affinity: Option<Affinity>,
    #[schema(value_type = Option<Object>)]
    concurrency: Option<KeyConcurrency>,
    #[schema(value_type = Option<Object>)]
    throttle: Option<KeyThrottle>,
    #[schema(value_type = Option<Object>)]
    unique: Option<Unique>,
    #[schema(value_type = Option<Object>)]
    debounce: Option<Debounce>,
    #[schema(value_type = Option<Object>)]
    batch: Option<Batch>,
    description: Option<String>,
    tags: Vec<String>,
    owner_team: Option<String>,
    #[schema(value_type = Object)]
    metadata: Value,
    /// The tenant's definitions version that this state came with; also the `ETag`.
    version: i64,
    /// `active`, `inactive`, `unhealthy`, or `blocked` while its handler is not installed.
    status: &'static str,
    /// Why it does not run.
    blocked_reason: Option<String>,
    is_healthy: bool,
    last_health_check_at: Option<Time>,
    health_check_error: Option<String>,
    created_at: Time,
    updated_at: Time,
    /// Of a version: that the action was deleted with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// What is doubtful about what was just saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warnings: Option<Vec<NoteView>>,
}

/// Something that is doubtful.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoteView {
    /// JSON pointer into the definition.
    pointer: String,
    message: String,
}

/// One place where two states differ. A missing side is not there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DifferenceView {
    /// JSON pointer into the definition.
    pointer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
}

impl ActionBody {
    pub(crate) fn into_spec(self) -> Result<ActionSpec, Problem> {
        let timeout = u32::try_from(TIMEOUT_DEFAULT.as_secs()).unwrap_or(300);
        let patterns = self.event_patterns.iter().enumerate();
        let patterns =
            patterns.map(|(index, raw)| pattern_of(raw, &format!("/event_patterns/{index}")));
        Ok(ActionSpec {
            name: self.name,
            action_type: self.action_type,
            handler: self.handler,
            config: self.config,
            event_patterns: patterns.collect::<Result<_, _>>()?,
            conditions: self.conditions,
            is_active: self.is_active.unwrap_or(true),
            priority: self.priority.map(|priority| priority.0).unwrap_or_default(),
            timeout_seconds: self.timeout_seconds.unwrap_or(timeout),
            heartbeat_timeout_seconds: self.heartbeat_timeout_seconds,
            delivery: self.delivery,
            retry_policy: self.retry_policy.map(|policy| policy.0).unwrap_or_default(),
            max_concurrent_executions: self.max_concurrent_executions,
            rate_limit_per_minute: self.rate_limit_per_minute,
            rate_limit_per_hour: self.rate_limit_per_hour,
            affinity: self.affinity,
            concurrency: self.concurrency,
            throttle: self.throttle,
            unique: self.unique,
            debounce: self.debounce,
            batch: self.batch,
            description: self.description,
            tags: self.tags,
            owner_team: self.owner_team,
            metadata: self.metadata,
        })
    }
}

/// Reads a pattern.
pub(crate) fn pattern_of(raw: &str, pointer: &str) -> Result<Pattern, Problem> {
    Pattern::parse(raw).map_err(|error| {
        let message = error.to_string();
        Problem::new(&PATTERN_INVALID, &message).with_error(FieldError::new(pointer, message))
    })
}

impl ActionView {
    pub(crate) fn new(app: &App, action: &Action) -> Self {
        let spec = action.spec.clone();
        let patterns = spec.event_patterns.iter().map(ToString::to_string).collect();
        Self {
            id: action.uuid,
            name: spec.name.to_string(),
            action_type: spec.action_type,
            handler: spec.handler.to_string(),
            config: shown_config(app, action),
            event_patterns: patterns,
            conditions: spec.conditions.0,
            is_active: spec.is_active,
            priority: spec.priority,
            timeout_seconds: spec.timeout_seconds,
            heartbeat_timeout_seconds: spec.heartbeat_timeout_seconds,
            delivery: spec.delivery,
            retry_policy: spec.retry_policy,
            max_concurrent_executions: spec.max_concurrent_executions,
            rate_limit_per_minute: spec.rate_limit_per_minute,
            rate_limit_per_hour: spec.rate_limit_per_hour,
            affinity: spec.affinity,
            concurrency: spec.concurrency,
            throttle: spec.throttle,
            unique: spec.unique,
            debounce: spec.debounce,
            batch: spec.batch,
            description: spec.description,
            tags: spec.tags,
            owner_team: spec.owner_team,
            metadata: spec.metadata,
            version: action.version,
            status: ActionState::of(app, action).word(),
            blocked_reason: blocked_reason(app, action),
            is_healthy: action.health.is_healthy,
            last_health_check_at: action.health.last_check_at.map(Time),
            health_check_error: action.health.error.clone(),
            created_at: action.created_at.into(),
            updated_at: action.updated_at.into(),
            deleted: action.deleted,
            warnings: None,
        }
    }
}

impl From<&FieldNote> for NoteView {
    fn from(note: &FieldNote) -> Self {
        Self { pointer: note.pointer.clone(), message: note.message.clone() }
    }
}

impl From<Difference> for DifferenceView {
    fn from(difference: Difference) -> Self {
        let Difference { pointer, before, after } = difference;
        Self { pointer, before, after }
    }
}

impl<'de> Deserialize<'de> for PriorityBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected =
            "expected low, normal, high, very_high, critical, or a number from 0 to 1000";
        let written = Value::deserialize(deserializer)?;
        let found = if written.is_number() {
            let number = written.as_u64().and_then(|number| u16::try_from(number).ok());
            number.and_then(Priority::from_number)
        } else {
            serde_json::from_value(written).ok()
        };
        found.map(Self).ok_or_else(|| D::Error::custom(expected))
    }
}

impl<'de> Deserialize<'de> for RetryBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        let policy = match written.as_str() {
            Some(name) => RetryPolicy::preset(name).ok_or_else(|| {
                D::Error::custom("known policies are default, aggressive, conservative, no_retry")
            })?,
            None => serde_json::from_value(written)
                .map_err(|error| D::Error::custom(format!("not a retry policy: {error}")))?,
        };
        Ok(Self(policy))
    }
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}
