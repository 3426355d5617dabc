//! Who did what, when and why: entries of a stream that is only ever appended to.
//!
//! Each is sealed with a hash that takes in the one before, so that nothing can be changed, left out or moved
//! without being noticed. `docs/audit.md` says the bytes.

use std::fmt;
use std::str::FromStr;

use chrono::SubsecRound;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Timestamp;
use crate::authorization::AuthorizationContext;
use crate::id::{ExecutionId, TenantId};
use crate::json::Json;
use crate::limits::AUDIT_STATE_BYTES_MAX;
use crate::ports::bulks::BulkStep;
use crate::settings::Bound;
use crate::tenant::{ControlChange, Controls};
use crate::work::{Ingested, Receipt, Submitted};

/// What the hashed bytes of every entry begin with: the format, and what it is for.
const DOMAIN: &[u8] = b"actions.audit.1\0";

macro_rules! act_kinds {
    ($($name:ident = $word:literal),* $(,)?) => {
        /// What somebody can do. The words are stored.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ActKind {
            $($name,)*
        }

        impl ActKind {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

act_kinds! {
    TenantCreated = "tenant.created",
    LimitsChanged = "limits.changed",
    RetentionChanged = "retention.changed",
    EgressChanged = "egress.changed",
    TenantSuspended = "tenant.suspended",
    TenantReinstated = "tenant.reinstated",
    TenantDeletionBegun = "tenant.deletion_begun",
    TenantDeleted = "tenant.deleted",
    TenantPaused = "tenant.paused",
    TenantResumed = "tenant.resumed",
    ActionPaused = "action.paused",
    ActionResumed = "action.resumed",
    ActionCreated = "action.created",
    ActionUpdated = "action.updated",
    ActionDeleted = "action.deleted",
    ActionChecked = "action.checked",
    SubscriptionCreated = "subscription.created",
    SubscriptionUpdated = "subscription.updated",
    SubscriptionDeleted = "subscription.deleted",
    ScheduleCreated = "schedule.created",
    ScheduleUpdated = "schedule.updated",
    ScheduleDeleted = "schedule.deleted",
    ScheduleFired = "schedule.fired",
    ScheduleBackfilled = "schedule.backfilled",
    ApiKeyCreated = "api_key.created",
    ApiKeyRotated = "api_key.rotated",
    ApiKeyRevoked = "api_key.revoked",
    AccountCreated = "account.created",
    AccountPasswordSet = "account.password_set",
    AccountRoleChanged = "account.role_changed",
    AccountDisabled = "account.disabled",
    AccountEnabled = "account.enabled",
    AccountLoggedOut = "account.logged_out",
    AccountDeleted = "account.deleted",
    SessionCreated = "session.created",
    SessionEnded = "session.ended",
    LoginsRefused = "logins.refused",
    SecretCreated = "secret.created",
    SecretReplaced = "secret.replaced",
    SecretDeleted = "secret.deleted",
    SecretsRewrapped = "secrets.rewrapped",
    EventReplayed = "event.replayed",
    ExecutionCancelled = "execution.cancelled",
    DeadLettersRequeued = "dead_letters.requeued",
    DeadLettersDiscarded = "dead_letters.discarded",
    BulkStarted = "bulk.started",
    BulkPaused = "bulk.paused",
    BulkResumed = "bulk.resumed",
    BulkCancelled = "bulk.cancelled",
    RunSignalled = "run.signalled",
    RunPaused = "run.paused",
    RunResumed = "run.resumed",
    RunCancelled = "run.cancelled",
    RunRetried = "run.retried",
}

/// Something that somebody does. It has no place in its stream yet: the store gives it one, in the
/// transaction in which it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// Whose stream it belongs to. What is done to tenants as such belongs to the platform's.
    pub tenant: TenantId,
    pub at: Timestamp,
    pub actor: Actor,
    pub kind: ActKind,
    /// `action:NAME`, `key:NAME`, `bulk:ID` …
    pub subject: String,
    /// States without secrets.
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// It is only done if the tenant has no more than this afterwards. No part of the entry.
    pub bound: Option<Bound>,
}

/// Who does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub kind: &'static str,
    /// Of an API key or an account.
    pub id: Option<String>,
    /// As it stands everywhere else: `key:deployer`, `token:bootstrap`.
    pub name: String,
    pub role: &'static str,
    pub ingress: &'static str,
    pub request_id: String,
}

impl Actor {
    pub fn of(caller: &AuthorizationContext) -> Self {
        Self {
            kind: caller.principal.word(),
            id: caller
                .api_key
                .map(|id| id.to_string())
                .or_else(|| caller.account.map(|id| id.to_string())),
            name: caller.actor.clone(),
            role: caller.role.word(),
            ingress: caller.principal.ingress(),
            request_id: caller.request_id.clone(),
        }
    }
}

impl Act {
    pub fn new(
        caller: &AuthorizationContext,
        tenant: TenantId,
        at: Timestamp,
        kind: ActKind,
        subject: impl Into<String>,
    ) -> Self {
        Self {
            tenant,
            at,
            actor: Actor::of(caller),
            kind,
            subject: subject.into(),
            before: None,
            after: None,
            reason: None,
            bound: None,
        }
    }

    /// Does it only if the tenant has no more than this afterwards.
    #[must_use]
    pub fn within(self, bound: Option<Bound>) -> Self {
        Self { bound, ..self }
    }

    #[must_use]
    pub fn from(self, before: impl Into<Option<Value>>) -> Self {
        Self { before: before.into(), ..self }
    }

    #[must_use]
    pub fn to(self, after: impl Into<Option<Value>>) -> Self {
        Self { after: after.into(), ..self }
    }

    /// Says what a change of controls has changed.
    #[must_use]
    pub fn about(self, change: &ControlChange, before: &Controls, after: &Controls) -> Self {
        self.from(before.shown_for(change)).to(after.shown_for(change))
    }

    /// What the engine itself has brought to its end.
    pub fn of_engine(tenant: TenantId, at: Timestamp, kind: ActKind, subject: String) -> Self {
        let actor = Actor {
            kind: "engine",
            id: None,
            name: "engine".to_owned(),
            role: "engine",
            ingress: "engine",
            request_id: String::new(),
        };
        Self {
            tenant,
            at,
            actor,
            kind,
            subject,
            before: None,
            after: None,
            reason: None,
            bound: None,
        }
    }

    /// Says what has become of a bulk. `None`: nothing, or it was refused.
    pub fn step(&self, step: &BulkStep) -> Option<Self> {
        let after = step.after.as_ref().ok().filter(|after| **after != step.before)?;
        let (before, after) = (step.before.state.word(), after.state.word());
        Some(self.clone().from(json!({ "state": before })).to(json!({ "state": after })))
    }

    #[must_use]
    pub fn because(self, reason: Option<&str>) -> Self {
        Self { reason: reason.map(str::to_owned), ..self }
    }
}

/// What somebody does with a [`Commit`](crate::work::Commit). What has come of it is only known when
/// the rest of it is written, and what changed nothing is no act.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// An act where it was not asked for before, and is now.
    Cancel {
        act: Act,
        execution: ExecutionId,
    },
    /// The dead executions of the only submission's ingests, in order.
    Requeue {
        act: Act,
        executions: Vec<ExecutionId>,
    },
    Discard {
        act: Act,
        executions: Vec<ExecutionId>,
    },
    /// Something that a run is told.
    TellRun {
        act: Act,
    },
}

impl Deed {
    /// The execution that is to be cancelled.
    pub fn cancels(&self) -> Option<ExecutionId> {
        match self {
            Self::Cancel { execution, .. } => Some(*execution),
            Self::Requeue { .. } | Self::Discard { .. } | Self::TellRun { .. } => None,
        }
    }

    /// What was done, as the receipt of the commit has it. `is_asked` tells whether the execution was
    /// to be cancelled before the commit, and whether it is now.
    pub fn done(&self, receipt: &Receipt, is_asked: (bool, bool)) -> Option<Act> {
        match self {
            Self::Cancel { act, .. } => (is_asked == (false, true)).then(|| act.clone()),
            Self::Requeue { act, executions } => {
                let Some(Submitted::Accepted(ingested)) = receipt.submissions.first() else {
                    return None;
                };
                let stored = executions.iter().zip(ingested);
                let stored = stored.filter(|(_, outcome)| **outcome == Ingested::Stored);
                let requeued: Vec<_> = stored.map(|(dead, _)| dead).collect();
                let after = json!({ "requeued": requeued });
                (!requeued.is_empty()).then(|| act.clone().to(after))
            }
            Self::Discard { act, executions } => {
                let after = json!({ "discarded": receipt.discarded, "asked_for": executions });
                (receipt.discarded > 0).then(|| act.clone().to(after))
            }
            Self::TellRun { act } => Some(act.clone()),
        }
    }
}

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash([u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    #[error("a hash has 64 hexadecimal digits")]
    Hash,
    #[error("a head is written as NUMBER:HASH, as `actions audit verify` prints it")]
    Head,
}

impl Hash {
    pub fn from_record(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let hash = blake3::Hash::from_hex(raw).map_err(|_| HashError::Hash)?;
        Ok(Self(*hash.as_bytes()))
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(deserializer)?;
        raw.parse().map_err(serde::de::Error::custom)
    }
}

/// An entry's number and hash: all that the next one depends on. Noted somewhere else, the newest
/// one tells later whether anything before it, or it, has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// 0 where nothing was written yet.
    pub seq: i64,
    pub hash: Hash,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = HashError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let (seq, hash) = raw.split_once(':').ok_or(HashError::Head)?;
        let seq = seq.parse().ok().filter(|seq| *seq >= 0).ok_or(HashError::Head)?;
        Ok(Self { seq, hash: hash.parse().map_err(|_| HashError::Head)? })
    }
}

impl Head {
    /// Puts an act into the stream behind this entry.
    pub fn append(&self, act: &Act) -> Entry {
        let Actor { kind, id, name, role, ingress, request_id } = &act.actor;
        let mut entry = Entry {
            seq: self.seq + 1,
            at: act.at.trunc_subsecs(6),
            stream: act.tenant,
            actor: storable(name),
            actor_kind: (*kind).to_owned(),
            actor_id: id.clone(),
            role: (*role).to_owned(),
            ingress: (*ingress).to_owned(),
            request_id: storable(request_id),
            act: act.kind.word().to_owned(),
            subject: storable(&act.subject),
            before: act.before.as_ref().filter(|before| !before.is_null()).map(state),
            after: act.after.as_ref().filter(|after| !after.is_null()).map(state),
            reason: act.reason.as_deref().map(storable),
            previous: self.hash,
            hash: Hash::default(),
        };
        entry.hash = entry.seal();
        entry
    }
}

/// What a store cannot keep in a text is replaced.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn make_storable(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = storable(text),
        Value::Array(items) => items.iter_mut().for_each(make_storable),
        Value::Object(members) => {
            if members.keys().any(|name| name.contains('\0')) {
                let renamed = std::mem::take(members).into_iter();
                *members = renamed.map(|(name, member)| (storable(&name), member)).collect();
            }
            members.values_mut().for_each(make_storable);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A state in a form that reading and writing it again does not change.
fn state(value: &Value) -> Json {
    let mut value = value.clone();
    make_storable(&mut value);
    let mut text = value.to_string();
    if text.len() > AUDIT_STATE_BYTES_MAX {
        let hash = blake3::hash(text.as_bytes()).to_string();
        return Json::from_value(&json!({ "left_out_bytes": text.len(), "blake3": hash }));
    }
    // The last digit of a number may change once.
    for _ in 0..4 {
        let again = canonical(&text);
        if again == text {
            break;
        }
        text = again;
    }
    Json::from_record(text)
}

fn canonical(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}

/// An act in its place. Written as JSON, it is a line of an export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1, without gaps.
    pub seq: i64,
    pub at: Timestamp,
    /// The number of the tenant.
    pub stream: TenantId,
    pub actor: String,
    pub actor_kind: String,
    #[serde(default)]
    pub actor_id: Option<String>,
    pub role: String,
    pub ingress: String,
    pub request_id: String,
    pub act: String,
    pub subject: String,
    #[serde(default)]
    pub before: Option<Json>,
    #[serde(default)]
    pub after: Option<Json>,
    #[serde(default)]
    pub reason: Option<String>,
    /// Of the entry before; zeros in the first one.
    pub previous: Hash,
    pub hash: Hash,
}

impl Entry {
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    /// The hash that it should have.
    pub fn seal(&self) -> Hash {
        self.seal_with(|state| state.as_str().to_owned())
    }

    /// Whether it is as it was written. An export that another program has written again, with other
    /// white space or another order of members, still is.
    pub fn is_intact(&self) -> bool {
        self.seal() == self.hash || self.seal_with(|state| canonical(state.as_str())) == self.hash
    }

    fn seal_with(&self, text_of: impl Fn(&Json) -> String) -> Hash {
        let mut hasher = Sealer::new(DOMAIN);
        hasher.0.update(self.previous.as_bytes());
        hasher.number(i64::from(self.stream.0));
        hasher.number(self.seq);
        hasher.number(self.at.timestamp_micros());
        for text in [&self.actor, &self.actor_kind, &self.role, &self.ingress] {
            hasher.text(text);
        }
        for text in [&self.request_id, &self.act, &self.subject] {
            hasher.text(text);
        }
        let state = |state: &Option<Json>| state.as_ref().map(&text_of);
        hasher.optional(self.actor_id.as_deref());
        hasher.optional(state(&self.before).as_deref());
        hasher.optional(state(&self.after).as_deref());
        hasher.optional(self.reason.as_deref());
        hasher.finish()
    }
}

/// Writes fields so that no two lists of fields give the same bytes.
pub(crate) struct Sealer(blake3::Hasher);

impl Sealer {
    pub(crate) fn new(domain: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(domain);
        Self(hasher)
    }

    pub(crate) fn finish(&self) -> Hash {
        Hash(*self.0.finalize().as_bytes())
    }

    pub(crate) fn number(&mut self, number: i64) {
        self.0.update(&number.to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    pub(crate) fn optional(&mut self, text: Option<&str>) {
        self.0.update(&[u8::from(text.is_some())]);
        if let Some(text) = text {
            self.text(text);
        }
    }
}

/// What is wrong with a stream, and where first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("entry {seq} is not as it was written")]
    Altered { seq: i64 },
    #[error("entry {expected} is missing: entry {found} comes in its place")]
    Missing { expected: i64, found: i64 },
    #[error("entry {found} comes after entry {last}, out of its order")]
    Reordered { last: i64, found: i64 },
    #[error("entry {seq} does not follow from the one before")]
    Unlinked { seq: i64 },
    #[error("entry {seq} belongs to stream {found}, not {expected}")]
    Foreign { seq: i64, expected: TenantId, found: TenantId },
    #[error("entry {seq} is another one than that which was noted")]
    Replaced { seq: i64 },
    #[error("the entries after {last} are missing: {noted} was noted")]
    Cut { last: i64, noted: i64 },
}

impl Broken {
    /// The number of the first entry that is not what or where it should be.
    pub fn position(&self) -> i64 {
        match self {
            Self::Altered { seq }
            | Self::Unlinked { seq }
            | Self::Foreign { seq, .. }
            | Self::Replaced { seq } => *seq,
            Self::Missing { expected, .. } => *expected,
            Self::Reordered { last, .. } | Self::Cut { last, .. } => last + 1,
        }
    }

    pub const fn word(&self) -> &'static str {
        match self {
            Self::Altered { .. } => "altered",
            Self::Missing { .. } => "missing",
            Self::Reordered { .. } => "reordered",
            Self::Unlinked { .. } => "unlinked",
            Self::Foreign { .. } => "foreign",
            Self::Replaced { .. } => "replaced",
            Self::Cut { .. } => "cut",
        }
    }
}

/// Checks a stream, entry by entry, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    last: Head,
    stream: Option<TenantId>,
    /// Heads that were noted before, by their numbers.
    noted: Vec<Head>,
}

impl Verifier {
    /// Begins behind `from`, which is trusted, and compares what was noted when it comes by.
    pub fn new(from: Head, mut noted: Vec<Head>) -> Self {
        noted.retain(|head| head.seq > from.seq);
        noted.sort_by_key(|head| head.seq);
        Self { last: from, stream: None, noted }
    }

    /// The last entry that holds, or where it began.
    pub fn head(&self) -> Head {
        self.last
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// What is wrong with it. Nothing can be said of what comes after.
    pub fn check(&mut self, entry: &Entry) -> Result<(), Broken> {
        let (seq, expected) = (entry.seq, self.last.seq + 1);
        let stream = *self.stream.get_or_insert(entry.stream);
        if entry.stream != stream {
            return Err(Broken::Foreign { seq, expected: stream, found: entry.stream });
        }
        if seq < expected {
            return Err(Broken::Reordered { last: self.last.seq, found: seq });
        }
        if seq > expected {
            return Err(Broken::Missing { expected, found: seq });
        }
        if !entry.is_intact() {
            return Err(Broken::Altered { seq });
        }
        if entry.previous != self.last.hash {
            return Err(Broken::Unlinked { seq });
        }
        if self.noted.iter().any(|noted| noted.seq == seq && noted.hash != entry.hash) {
            return Err(Broken::Replaced { seq });
        }
        self.last = entry.head();
        Ok(())
    }

    /// Says that there is no more, and answers the newest entry.
    ///
    /// # Errors
    /// [`Broken::Cut`] when more had been there once.
    pub fn finish(self) -> Result<Head, Broken> {
        match self.noted.last() {
            Some(noted) if noted.seq > self.last.seq => {
                Err(Broken::Cut { last: self.last.seq, noted: noted.seq })
            }
            Some(_) | None => Ok(self.last),
        }
    }
}

#[cfg(test)]
mod tests;
