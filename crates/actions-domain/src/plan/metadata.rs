//! What an action says about itself before it runs.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::context::KeyUse;
use crate::action::{ActionName, ActionNameError};
use crate::execution::Priority;
use crate::flow::graph::{Call, FailureImpact};
use crate::limits::{KEY_BYTES_MAX, KEY_TOKENS_MAX, NAME_BYTES_MAX, TIMEOUT_MAX};
use crate::retry::{RetryPolicy, RetryPolicyError};
use crate::work::KeyMode;

/// Something that can be a step of a plan. It says what it needs, produces and changes when the
/// plan is made; the work is done later.
///
/// ```
/// use actions_domain::plan::context::ContextKey;
/// use actions_domain::plan::metadata::{ActionMetadata, Declare, MetadataErrors};
/// use serde_json::Value;
///
/// const JOKE: ContextKey<String> = ContextKey::new("joke");
///
/// struct SendEmail;
///
/// impl Declare for SendEmail {
///     fn declare(&self, _arguments: &Value) -> Result<ActionMetadata, MetadataErrors> {
///         ActionMetadata::mutate("email.send")
///             .affinity("email:recipient:{to}")
///             .requires(JOKE)
///             .build()
///     }
/// }
/// ```
///
/// An action without metadata does not compile:
///
/// ```compile_fail,E0046
/// use actions_domain::plan::metadata::Declare;
///
/// struct SendEmail;
///
/// impl Declare for SendEmail {}
/// ```
///
/// Nor does one that answers with something else, as actions did before there were plans:
///
/// ```compile_fail,E0053
/// use actions_domain::plan::metadata::Declare;
/// use serde_json::Value;
///
/// struct SendEmail;
///
/// impl Declare for SendEmail {
///     fn declare(&self, _arguments: &Value) -> String {
///         "sent".to_owned()
///     }
/// }
/// ```
///
/// Nor one that changes something and does not say what, because [`Draft::build`] is not there
/// before [`Draft::affinity`] was called:
///
/// ```compile_fail,E0599
/// use actions_domain::plan::metadata::ActionMetadata;
///
/// let metadata = ActionMetadata::mutate("email.send").build();
/// ```
///
/// Nor one that reads only and writes all the same:
///
/// ```compile_fail,E0599
/// use actions_domain::plan::metadata::ActionMetadata;
///
/// let metadata = ActionMetadata::read_only("orders.latest").writes("orders").build();
/// ```
pub trait Declare {
    /// Pure: the same arguments always give the same metadata.
    ///
    /// # Errors
    /// What is wrong with the declaration.
    fn declare(&self, arguments: &Value) -> Result<ActionMetadata, MetadataErrors>;
}

/// A declaration in which nothing is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Declaration", into = "Declaration")]
pub struct ActionMetadata(Declaration);

/// What an action declares, as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    pub action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What its runs exclude each other from: `email:recipient:{to}`. A place is an argument or a
    /// key that it requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
    #[serde(default)]
    pub mutability: Mutability,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reads: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub writes: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requires: BTreeSet<KeyUse>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub produces: BTreeSet<KeyUse>,
    /// Whether it may put no keys that it does not declare.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// In comparison with other actions.
    #[serde(default = "one")]
    pub cost: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<FailureImpact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Call>,
}

/// What an action does to what its affinity names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutability {
    ReadOnly,
    Create,
    #[default]
    Mutate,
}

impl From<Mutability> for KeyMode {
    fn from(mutability: Mutability) -> Self {
        match mutability {
            Mutability::ReadOnly => Self::Read,
            Mutability::Create => Self::Create,
            Mutability::Mutate => Self::Mutate,
        }
    }
}

/// One thing that is wrong with a declaration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error(transparent)]
    Action(#[from] ActionNameError),
    #[error("{action} changes something and has no affinity; say what, like order:{{id}}")]
    AffinityMissing { action: String },
    #[error(
        "an affinity has 2 to {tokens} tokens joined by ':', each with its places in whole, and at most {bytes} bytes, like order:{{id}}; {action} has {given:?}",
        tokens = KEY_TOKENS_MAX, bytes = KEY_BYTES_MAX
    )]
    Affinity { action: String, given: String },
    #[error("{action} reads only and says that it writes {scope}; make it create or mutate")]
    ReadOnlyWrites { action: String, scope: String },
    #[error("a key of the context is a letter or '_', then letters, digits or '_', at most {max} bytes; {action} has {given:?}", max = NAME_BYTES_MAX)]
    ContextKey { action: String, given: String },
    #[error("{action} names {key} with the types {left} and {right}")]
    ContextType { action: String, key: String, left: String, right: String },
    #[error("cost of {action} is 0, the least is 1")]
    Cost { action: String },
    #[error("timeout_seconds of {action} is {given}, allowed are 1 to {max}", max = TIMEOUT_MAX.as_secs())]
    Timeout { action: String, given: u32 },
    #[error("the retry policy of {action} is wrong: {why}")]
    Retry { action: String, why: RetryPolicyError },
}

impl MetadataError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Action(_) => "metadata.action",
            Self::AffinityMissing { .. } => "metadata.affinity_missing",
            Self::Affinity { .. } => "metadata.affinity",
            Self::ReadOnlyWrites { .. } => "metadata.read_only_writes",
            Self::ContextKey { .. } => "metadata.context_key",
            Self::ContextType { .. } => "metadata.context_type",
            Self::Cost { .. } => "metadata.cost",
            Self::Timeout { .. } => "metadata.timeout",
            Self::Retry { .. } => "metadata.retry",
        }
    }
}

/// Everything that is wrong with a declaration: at least one thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct MetadataErrors(pub Vec<MetadataError>);

impl ActionMetadata {
    /// An action that changes nothing. Such actions run beside each other.
    pub fn read_only(action: &str) -> Draft<Reading> {
        Draft::new(action, Mutability::ReadOnly)
    }

    /// An action that makes something new. Such actions run beside each other, except below one
    /// parent.
    pub fn create(action: &str) -> Draft<Unbound> {
        Draft::new(action, Mutability::Create)
    }

    /// An action that changes something. It runs alone on what its affinity names.
    pub fn mutate(action: &str) -> Draft<Unbound> {
        Draft::new(action, Mutability::Mutate)
    }

    pub fn declared(&self) -> &Declaration {
        &self.0
    }
}

impl TryFrom<Declaration> for ActionMetadata {
    type Error = MetadataErrors;

    fn try_from(declaration: Declaration) -> Result<Self, Self::Error> {
        let errors = declaration.check();
        if errors.is_empty() { Ok(Self(declaration)) } else { Err(MetadataErrors(errors)) }
    }
}

impl From<ActionMetadata> for Declaration {
    fn from(metadata: ActionMetadata) -> Self {
        metadata.0
    }
}

impl Declaration {
    fn check(&self) -> Vec<MetadataError> {
        let mut errors = Vec::new();
        let action = || self.action.chars().take(NAME_BYTES_MAX).collect::<String>();
        if let Err(error) = ActionName::parse(&self.action) {
            errors.push(error.into());
        }
        match &self.affinity {
            None if self.mutability != Mutability::ReadOnly => {
                errors.push(MetadataError::AffinityMissing { action: action() });
            }
            Some(affinity) if !is_affinity(affinity) => {
                let given = affinity.chars().take(KEY_BYTES_MAX).collect();
                errors.push(MetadataError::Affinity { action: action(), given });
            }
            Some(_) | None => {}
        }
        if let Some(scope) = self.writes.first()
            && self.mutability == Mutability::ReadOnly
        {
            let scope = scope.clone();
            errors.push(MetadataError::ReadOnlyWrites { action: action(), scope });
        }
        errors.extend(self.check_keys());
        if self.cost == 0 {
            errors.push(MetadataError::Cost { action: action() });
        }
        if let Some(given) = self.timeout_seconds
            && !(1..=TIMEOUT_MAX.as_secs()).contains(&u64::from(given))
        {
            errors.push(MetadataError::Timeout { action: action(), given });
        }
        if let Some(Err(why)) = self.retry.as_ref().map(RetryPolicy::check) {
            errors.push(MetadataError::Retry { action: action(), why });
        }
        errors
    }

    fn check_keys(&self) -> Vec<MetadataError> {
        let action = || self.action.chars().take(NAME_BYTES_MAX).collect::<String>();
        let keys: BTreeSet<&KeyUse> = self.requires.iter().chain(&self.produces).collect();
        let wrong = keys.iter().filter(|key| !is_context_key(&key.name)).map(|key| {
            let given = key.name.chars().take(NAME_BYTES_MAX).collect();
            MetadataError::ContextKey { action: action(), given }
        });
        let pairs = keys.iter().zip(keys.iter().skip(1));
        let torn = pairs.filter(|(left, right)| left.name == right.name).map(|(left, right)| {
            MetadataError::ContextType {
                action: action(),
                key: left.name.clone(),
                left: left.type_name.clone(),
                right: right.type_name.clone(),
            }
        });
        wrong.chain(torn).collect()
    }

    /// The places of its affinity, without their braces.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        let parts = self.affinity.as_deref().unwrap_or("").split('{').skip(1);
        parts.filter_map(|part| Some(part.split_once('}')?.0))
    }
}

pub(super) fn is_context_key(name: &str) -> bool {
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    starts
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_affinity(text: &str) -> bool {
    let tokens = text.split(':').count();
    (2..=KEY_TOKENS_MAX).contains(&tokens)
        && text.len() <= KEY_BYTES_MAX
        && text.split(':').all(is_affinity_token)
}

/// Whether a token is not empty, and each of its places is open, named and closed.
fn is_affinity_token(token: &str) -> bool {
    let mut rest = token;
    while let Some(at) = rest.find(['{', '}']) {
        let Some((place, after)) = rest[at..].strip_prefix('{').and_then(|r| r.split_once('}'))
        else {
            return false;
        };
        if place.is_empty() || place.contains('{') || place.split('.').any(str::is_empty) {
            return false;
        }
        rest = after;
    }
    !token.is_empty()
}

/// A declaration that reads only. It may do without an affinity.
#[derive(Debug)]
pub enum Reading {}
/// A declaration that changes something and has not said what.
#[derive(Debug)]
pub enum Unbound {}
/// A declaration that changes something and has said what.
#[derive(Debug)]
pub enum Bound {}

/// Metadata while it is written. What its state does not have cannot be called.
#[derive(Debug, Clone)]
#[must_use]
pub struct Draft<S> {
    declaration: Declaration,
    state: PhantomData<S>,
}

impl<S> Draft<S> {
    fn new(action: &str, mutability: Mutability) -> Self {
        let declaration = Declaration {
            action: action.to_owned(),
            description: None,
            affinity: None,
            mutability,
            reads: BTreeSet::new(),
            writes: BTreeSet::new(),
            requires: BTreeSet::new(),
            produces: BTreeSet::new(),
            strict: false,
            cost: one(),
            priority: None,
            timeout_seconds: None,
            retry: None,
            idempotent: false,
            on_failure: None,
            compensation: None,
        };
        Self { declaration, state: PhantomData }
    }

    fn with(mut self, change: impl FnOnce(&mut Declaration)) -> Self {
        change(&mut self.declaration);
        self
    }

    pub fn description(self, text: &str) -> Self {
        self.with(|known| known.description = Some(text.to_owned()))
    }

    /// It needs this key, so what produces it comes first.
    pub fn requires(self, key: impl Into<KeyUse>) -> Self {
        self.with(|known| {
            known.requires.insert(key.into());
        })
    }

    /// It puts this key.
    pub fn produces(self, key: impl Into<KeyUse>) -> Self {
        self.with(|known| {
            known.produces.insert(key.into());
        })
    }

    /// It puts no keys but those that it declares.
    pub fn strict(self) -> Self {
        self.with(|known| known.strict = true)
    }

    pub fn reads(self, scope: &str) -> Self {
        self.with(|known| {
            known.reads.insert(scope.to_owned());
        })
    }

    pub fn cost(self, cost: u32) -> Self {
        self.with(|known| known.cost = cost)
    }

    pub fn priority(self, priority: Priority) -> Self {
        self.with(|known| known.priority = Some(priority))
    }

    pub fn timeout_seconds(self, seconds: u32) -> Self {
        self.with(|known| known.timeout_seconds = Some(seconds))
    }

    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.with(|known| known.retry = Some(policy))
    }

    /// Doing it twice is the same as doing it once.
    pub fn idempotent(self) -> Self {
        self.with(|known| known.idempotent = true)
    }

    pub fn on_failure(self, impact: FailureImpact) -> Self {
        self.with(|known| known.on_failure = Some(impact))
    }
}

impl Draft<Reading> {
    /// What it reads, so that nobody changes it meanwhile.
    pub fn affinity(self, template: &str) -> Self {
        self.with(|known| known.affinity = Some(template.to_owned()))
    }

    /// # Errors
    /// Everything that is wrong.
    pub fn build(self) -> Result<ActionMetadata, MetadataErrors> {
        self.declaration.try_into()
    }
}

impl Draft<Unbound> {
    /// What it changes: tokens from broad to narrow, with places for arguments and context keys.
    pub fn affinity(mut self, template: &str) -> Draft<Bound> {
        self.declaration.affinity = Some(template.to_owned());
        Draft { declaration: self.declaration, state: PhantomData }
    }
}

impl Draft<Bound> {
    /// A resource that it changes beside what its affinity names.
    pub fn writes(self, scope: &str) -> Self {
        self.with(|known| {
            known.writes.insert(scope.to_owned());
        })
    }

    /// Undoes it.
    pub fn compensation(self, call: Call) -> Self {
        self.with(|known| known.compensation = Some(call))
    }

    /// # Errors
    /// Everything that is wrong.
    pub fn build(self) -> Result<ActionMetadata, MetadataErrors> {
        self.declaration.try_into()
    }
}

const fn one() -> u32 {
    1
}
