//! Finds the actions that an event leads to, in memory: hash maps for exact types and for values
//! that conditions ask for, a tree of words for globs, sets for regular expressions.
//!
//! Nothing here reads a store. Definitions come in through [`Matcher::apply`], one by one or all
//! at once, and are changed in place.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use actions_domain::action::HandlerId;
use actions_domain::event::Event;
use actions_domain::id::ActionId;
use actions_domain::matching::condition::{Condition, Facts};
use actions_domain::matching::explanation::{Explanation, Match};
use actions_domain::matching::pattern::{Form, Pattern};
use actions_domain::matching::way::{Question, Silent, explain, judge};
use actions_domain::ports::definitions::Changes;
use actions_domain::ports::matcher::{MatchError, Matcher, MatcherFactory};
use actions_domain::tenant::Tenant;

use self::compiler::Compiler;
use self::definitions::{CompiledTarget, CompiledWay, Definitions};
use self::facts::EventFacts;
use self::index::{Bucket, WayId};

mod cel;
mod compiler;
mod definitions;
mod expressions;
mod facts;
mod glob;
mod index;
mod regex;

pub use self::expressions::CelExpressions;

/// Says whether a handler is installed. Asked for every match, so it should be a look-up.
pub type IsInstalled = Arc<dyn Fn(&HandlerId) -> bool + Send + Sync>;

/// Makes matchers that share one compiler.
pub struct IndexedMatcherFactory {
    compiler: Arc<Compiler>,
    is_installed: IsInstalled,
}

impl IndexedMatcherFactory {
    pub fn new(is_installed: IsInstalled) -> Self {
        Self { compiler: Arc::new(Compiler::new()), is_installed }
    }
}

impl MatcherFactory for IndexedMatcherFactory {
    fn empty(&self, tenant: &Tenant) -> Box<dyn Matcher> {
        Box::new(IndexedMatcher {
            tenant: tenant.clone(),
            version: 0,
            compiler: Arc::clone(&self.compiler),
            is_installed: Arc::clone(&self.is_installed),
            definitions: Definitions::default(),
        })
    }

    fn check(&self, pattern: Option<&Pattern>, condition: &Condition) -> Result<(), MatchError> {
        if let Some(Form::Regex(source)) = pattern.map(Pattern::form) {
            regex::check_type_pattern(source).map_err(|error| MatchError::Pattern {
                message: format!("not a regular expression: {error}"),
            })?;
        }
        self.compiler.check(condition)
    }
}

/// One tenant's definitions.
struct IndexedMatcher {
    tenant: Tenant,
    version: i64,
    compiler: Arc<Compiler>,
    is_installed: IsInstalled,
    definitions: Definitions,
}

impl Matcher for IndexedMatcher {
    fn version(&self) -> i64 {
        self.version
    }

    fn apply(&mut self, changes: &Changes) {
        self.definitions.apply(changes, &self.compiler);
        self.version = changes.version;
    }

    fn matches(&self, event: &Event) -> Vec<Match> {
        let facts = EventFacts::new(event, &self.tenant, self.compiler.env());
        let question = self.question(event, &facts, true);
        let index = self.definitions.index();
        let mut best: HashMap<ActionId, (&CompiledWay, &CompiledTarget)> = HashMap::new();
        for bucket in index.find(&event.event_type) {
            for (way, target) in
                bucket.candidates(index, || facts.data()).filter_map(|id| self.definitions.way(id))
            {
                let is_known =
                    best.get(&target.id).is_some_and(|(other, _)| other.rank() >= way.rank());
                if !is_known && judge(way, target, &question, &mut Silent) {
                    best.insert(target.id, (way, target));
                }
            }
        }
        let mut matched: Vec<_> = best.into_values().collect();
        matched.sort_unstable_by(|(left_way, left), (right_way, right)| {
            order(left_way, left).cmp(&order(right_way, right))
        });
        let found = matched.into_iter();
        found.map(|(way, _)| Match { action: way.action, subscription: way.subscription }).collect()
    }

    fn explain(&self, event: &Event) -> Vec<Explanation> {
        let facts = EventFacts::new(event, &self.tenant, self.compiler.env());
        let buckets = self.definitions.index().find(&event.event_type);
        let fitting: HashSet<WayId> = buckets.into_iter().flat_map(Bucket::all).collect();
        let mut told: Vec<_> = self
            .definitions
            .ways()
            .map(|(id, way, target)| {
                let question = self.question(event, &facts, fitting.contains(&id));
                (explain(way, target, &question), way, target)
            })
            .collect();
        told.sort_by(|(left_told, left_way, left), (right_told, right_way, right)| {
            let left_order = (!left_told.matched, order(left_way, left), left_way.subscription);
            let right_order =
                (!right_told.matched, order(right_way, right), right_way.subscription);
            left_order.cmp(&right_order)
        });
        told.into_iter().map(|(explanation, _, _)| explanation).collect()
    }
}

impl IndexedMatcher {
    fn question<'q>(
        &'q self,
        event: &'q Event,
        facts: &'q EventFacts<'q>,
        pattern_fits: bool,
    ) -> Question<'q, EventFacts<'q>> {
        Question { event, facts, pattern_fits, is_installed: &*self.is_installed }
    }
}

/// Action priority, then subscription priority, both descending, then the action's name.
fn order<'w>(way: &CompiledWay, target: &'w CompiledTarget) -> impl Ord + use<'w> {
    (Reverse(target.priority.rank()), Reverse(way.priority), target.name.as_str())
}

#[cfg(test)]
mod tests;
