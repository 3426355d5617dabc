//! Conditions on an event, as they were written: JSON operators, CEL, or the older list form.
//!
//! [`Condition::parse`] turns each of them into one [`Expression`]. Regular expressions and CEL
//! stay texts in it until an adapter compiles them; [`Expression::evaluate`] is the same for all.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::{CEL_BYTES_MAX, CEL_DEPTH_MAX, CONDITION_NODES_MAX, CONDITION_VALUES_MAX};

mod cel;
mod compare;
mod evaluate;
mod parse;
mod path;

pub use cel::CelText;
pub use compare::{compare_numbers, values_are_equal};
pub use evaluate::{Evaluate, Facts, Note, TextMatch, Truth, Undecided, shown};
pub use path::Path;

/// A condition as it was written. The default holds always.
///
/// * An object of JSON operators: `{"total": {"$gte": 100}, "tier": "premium"}`. Its paths start
///   in the event's data.
/// * A text, or a list of texts that must all hold, in CEL: `event.data.total >= 100`.
/// * The older list: `[{"field": "total", "operator": "gt", "value": 100}]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Condition(pub Value);

/// A parsed condition. `R` is a regular expression and `C` a piece of CEL, as texts at first.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression<R = String, C = CelText> {
    /// Holds when all parts do, so always when there are none.
    All(Vec<Self>),
    /// Holds when one part does.
    Any(Vec<Self>),
    Not(Box<Self>),
    Test(Test<R>),
    Cel(C),
}

/// A comparison of one place in the event's data.
#[derive(Debug, Clone, PartialEq)]
pub struct Test<R = String> {
    pub path: Path,
    pub operator: Operator<R>,
    /// As CEL wants it: a missing place or a value of the wrong kind leaves the answer open.
    /// Otherwise both simply do not compare.
    pub strict: bool,
}

/// How a value is compared. Numbers compare by value, whole numbers exactly; values of different
/// kinds are never equal and have no order.
#[derive(Debug, Clone, PartialEq)]
pub enum Operator<R = String> {
    /// Is the boolean `true`. Only CEL asks this way.
    True,
    Equal(Value),
    NotEqual(Value),
    Greater(Value),
    GreaterOrEqual(Value),
    Less(Value),
    LessOrEqual(Value),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    Exists(bool),
    /// A text in which the expression is found, anywhere.
    Matches(R),
    /// A text with this part, or a list with this item.
    Contains(Value),
}

/// Why a condition was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ConditionError {
    pub problem: ConditionProblem,
    /// The JSON pointer of the place inside the condition; empty for all of it.
    pub pointer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionProblem {
    #[error("a condition has at most {max} parts", max = CONDITION_NODES_MAX)]
    Parts,
    #[error("the lists of a condition have at most {max} values together", max = CONDITION_VALUES_MAX)]
    Values,
    #[error("{operator} is not an operator; there are {known}")]
    Operator { operator: String, known: &'static str },
    #[error("{operator} cannot stand here: {hint}")]
    Misplaced { operator: String, hint: &'static str },
    #[error("{what} takes {expected}, not {given}")]
    Expected { what: String, expected: &'static str, given: &'static str },
    #[error("{path:?} is not a path: names joined by single dots, at most {max} of them", max = path::NAMES_MAX)]
    Path { path: String },
    #[error("a regular expression has 1 to {max} bytes", max = crate::limits::PATTERN_BYTES_MAX)]
    RegexLength,
    #[error("a CEL expression is empty; leave the condition out to let every event pass")]
    CelEmpty,
    #[error("a CEL expression has at most {max} bytes, not {bytes}", max = CEL_BYTES_MAX)]
    CelLength { bytes: usize },
    #[error("brackets of a CEL expression are nested at most {max} deep", max = CEL_DEPTH_MAX)]
    CelDepth,
    #[error("{{{{ and }}}} may only stand around the whole expression")]
    CelBraces,
}

impl Condition {
    /// Parses the condition, all but the syntax of CEL and regular expressions.
    ///
    /// # Errors
    /// What is wrong first, with its place.
    pub fn parse(&self) -> Result<Expression, ConditionError> {
        parse::parse(&self.0)
    }

    /// Whether any part of it is CEL, which takes a deep stack to compile.
    pub fn has_cel(&self) -> bool {
        match &self.0 {
            Value::String(_) => true,
            Value::Array(items) => items.iter().any(Value::is_string),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        }
    }
}

impl<R, C> Expression<R, C> {
    /// Holds for every event.
    pub const fn always() -> Self {
        Self::All(Vec::new())
    }

    pub fn is_always(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }

    /// Replaces the texts by what an adapter compiled from them.
    ///
    /// # Errors
    /// The first error of `regex` or `cel`.
    pub fn compile<R2, C2, E>(
        self,
        regex: &mut impl FnMut(R) -> Result<R2, E>,
        cel: &mut impl FnMut(C) -> Result<Expression<R2, C2>, E>,
    ) -> Result<Expression<R2, C2>, E> {
        let mut each = |parts: Vec<Self>| -> Result<Vec<Expression<R2, C2>>, E> {
            parts.into_iter().map(|part| part.compile(regex, cel)).collect()
        };
        Ok(match self {
            Self::All(parts) => Expression::All(each(parts)?),
            Self::Any(parts) => Expression::Any(each(parts)?),
            Self::Not(part) => Expression::Not(Box::new(part.compile(regex, cel)?)),
            Self::Test(test) => Expression::Test(test.compile(regex)?),
            Self::Cel(text) => cel(text)?,
        })
    }

    /// The places that must have one of a few plain values for the expression to hold. An index
    /// may look events up by any of them.
    pub fn anchors(&self) -> Vec<(&Path, Vec<&Value>)> {
        match self {
            Self::All(parts) => parts.iter().flat_map(Self::anchors).collect(),
            Self::Test(test) => test.anchor().into_iter().collect(),
            Self::Any(_) | Self::Not(_) | Self::Cel(_) => Vec::new(),
        }
    }
}

/// Lists longer than this are no help in looking events up.
const ANCHOR_VALUES_MAX: usize = 16;

impl<R> Test<R> {
    fn compile<R2, E>(self, regex: &mut impl FnMut(R) -> Result<R2, E>) -> Result<Test<R2>, E> {
        let operator = match self.operator {
            Operator::True => Operator::True,
            Operator::Equal(value) => Operator::Equal(value),
            Operator::NotEqual(value) => Operator::NotEqual(value),
            Operator::Greater(value) => Operator::Greater(value),
            Operator::GreaterOrEqual(value) => Operator::GreaterOrEqual(value),
            Operator::Less(value) => Operator::Less(value),
            Operator::LessOrEqual(value) => Operator::LessOrEqual(value),
            Operator::In(values) => Operator::In(values),
            Operator::NotIn(values) => Operator::NotIn(values),
            Operator::Exists(exists) => Operator::Exists(exists),
            Operator::Matches(text) => Operator::Matches(regex(text)?),
            Operator::Contains(value) => Operator::Contains(value),
        };
        Ok(Test { path: self.path, operator, strict: self.strict })
    }

    fn anchor(&self) -> Option<(&Path, Vec<&Value>)> {
        let values: Vec<&Value> = if let Operator::Equal(value) = &self.operator {
            vec![value]
        } else if let Operator::In(values) = &self.operator {
            values.iter().collect()
        } else {
            return None;
        };
        if values.len() > ANCHOR_VALUES_MAX {
            return None;
        }
        let all_plain = values.iter().all(|value| !value.is_array() && !value.is_object());
        all_plain.then_some((&self.path, values))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
