//! Which actions an event leads to, fast: the compiled form of a tenant's definitions.

use crate::event::Event;
use crate::matching::condition::Condition;
use crate::matching::explanation::{Explanation, Match};
use crate::matching::pattern::Pattern;
use crate::ports::definitions::Changes;
use crate::tenant::Tenant;

/// Compiles definitions.
pub trait MatcherFactory: Send + Sync {
    /// A matcher of a tenant without definitions.
    fn empty(&self, tenant: &Tenant) -> Box<dyn Matcher>;

    /// Compiles a pattern and a condition as the matcher would, to refuse them at the door.
    ///
    /// # Errors
    /// Where and why, as a sentence.
    fn check(&self, pattern: Option<&Pattern>, condition: &Condition) -> Result<(), MatchError>;
}

/// Why a pattern or condition cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    #[error("{message}")]
    Pattern { message: String },
    /// `pointer` leads into the condition; line and column into a text.
    #[error("{message}")]
    Condition { message: String, pointer: String, line: Option<u32>, column: Option<u32> },
}

/// One tenant's definitions, compiled. Changes are applied in place, so that one more
/// subscription among a hundred thousand costs what one costs.
pub trait Matcher: Send + Sync {
    /// The definitions' version that was applied last.
    fn version(&self) -> i64;

    /// Applies changes, all of which are newer than [`Matcher::version`].
    fn apply(&mut self, changes: &Changes);

    /// The actions that this event leads to, each once: by action priority, then subscription
    /// priority, both descending, then by action name.
    fn matches(&self, event: &Event) -> Vec<Match>;

    /// What [`Matcher::matches`] found out, for every way to every action: those that matched
    /// first. Found by the same evaluation, so both agree.
    fn explain(&self, event: &Event) -> Vec<Explanation>;
}
