//! One evaluation for both questions: whether a condition holds, and why.
//!
//! The answer to "why" is a [`Note`]. With `()` it is never put into words and costs nothing.

use std::cmp::Ordering;

use serde_json::Value;

use super::compare::{order, values_are_equal};
use super::parse::kind;
use super::{Expression, Operator, Path, Test};

/// What is known of an event while conditions are evaluated.
pub trait Facts {
    /// The event's data. Asked for only when a condition looks at it.
    fn data(&self) -> &Value;
}

/// A compiled regular expression.
pub trait TextMatch {
    fn is_match(&self, text: &str) -> bool;
    /// The expression as it was written.
    fn source(&self) -> &str;
}

/// A compiled piece of CEL.
pub trait Evaluate<F> {
    fn evaluate<N: Note>(&self, facts: &F) -> (Truth, N);
}

/// What an evaluation leads to. Undecided counts as not holding, and stays undecided when it is
/// negated.
pub type Truth = Result<bool, Undecided>;

/// An error came up while evaluating, like a missing place in CEL. The note says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecided;

/// How a verdict is told.
pub trait Note: Sized {
    fn tell(words: impl FnOnce() -> String) -> Self;
    fn change(self, words: impl FnOnce(String) -> String) -> Self;
    fn join(notes: Vec<Self>, between: &str) -> Self;
}

impl Note for () {
    fn tell(_: impl FnOnce() -> String) -> Self {}

    fn change(self, _: impl FnOnce(String) -> String) -> Self {}

    fn join(_: Vec<Self>, _: &str) -> Self {}
}

/// Nobody reads a longer explanation of one condition.
const NOTE_BYTES_MAX: usize = 1_000;

impl Note for String {
    fn tell(words: impl FnOnce() -> String) -> Self {
        words()
    }

    fn change(self, words: impl FnOnce(String) -> String) -> Self {
        words(self)
    }

    fn join(notes: Vec<Self>, between: &str) -> Self {
        let mut joined = String::new();
        for note in notes {
            if joined.len() + note.len() > NOTE_BYTES_MAX {
                joined.push_str(" …");
                break;
            }
            if !joined.is_empty() {
                joined.push_str(between);
            }
            joined.push_str(&note);
        }
        joined
    }
}

impl<R: TextMatch, C> Expression<R, C> {
    /// Evaluates in the order written, up to the part that decides. A part that cannot be
    /// decided is overruled by one that decides alone, as in CEL.
    pub fn evaluate<F: Facts, N: Note>(&self, facts: &F) -> (Truth, N)
    where
        C: Evaluate<F>,
    {
        match self {
            Self::All(parts) => {
                let (truth, note) = decide(parts, facts, false);
                (truth, note.unwrap_or_else(|notes| N::join(notes, " and ")))
            }
            Self::Any(parts) => {
                let (truth, note) = decide(parts, facts, true);
                let none = |notes| N::join(notes, "; ").change(|notes| format!("none of: {notes}"));
                (truth, note.unwrap_or_else(none))
            }
            Self::Not(part) => {
                let (truth, note) = part.evaluate::<F, N>(facts);
                (truth.map(|holds| !holds), note.change(|note| format!("not: {note}")))
            }
            Self::Test(test) => test.evaluate(facts.data()),
            Self::Cel(cel) => cel.evaluate(facts),
        }
    }
}

/// Looks for the part that decides alone: a false one of all, a true one of any. Answers its
/// note, or everyone's when there is none.
fn decide<R, C, F, N>(
    parts: &[Expression<R, C>],
    facts: &F,
    decisive: bool,
) -> (Truth, Result<N, Vec<N>>)
where
    R: TextMatch,
    C: Evaluate<F>,
    F: Facts,
    N: Note,
{
    let mut notes = Vec::new();
    let mut undecided = None;
    for part in parts {
        match part.evaluate(facts) {
            (Ok(holds), note) if holds == decisive => return (Ok(decisive), Ok(note)),
            (Ok(_), note) => notes.push(note),
            (Err(Undecided), note) => {
                undecided.get_or_insert(note);
            }
        }
    }
    match undecided {
        Some(note) => (Err(Undecided), Ok(note)),
        None => (Ok(!decisive), Err(notes)),
    }
}

impl<R: TextMatch> Test<R> {
    fn evaluate<N: Note>(&self, data: &Value) -> (Truth, N) {
        let found =
            if self.strict { self.path.find_in_objects(data) } else { self.path.find(data) };
        let truth = if let Operator::Exists(wanted) = self.operator {
            self.exists(found, data).map(|exists| exists == wanted)
        } else if let Some(value) = found {
            self.operator.compare(value, self.strict)
        } else if self.strict {
            Err(Undecided)
        } else {
            Ok(self.operator.holds_without_value())
        };
        (truth, N::tell(|| self.tell(truth, found)))
    }

    /// CEL's `has` asks an object; whether anything else has a member is an error to it.
    fn exists(&self, found: Option<&Value>, data: &Value) -> Truth {
        if found.is_none() && self.strict && self.path.find_parent(data).is_none() {
            return Err(Undecided);
        }
        Ok(found.is_some())
    }

    fn tell(&self, truth: Truth, found: Option<&Value>) -> String {
        let path = &self.path;
        let asked = self.operator.tell(path);
        match (truth, found) {
            (Err(Undecided), None) => format!("{asked} cannot be decided: {path} is missing"),
            (Err(Undecided), Some(value)) => {
                format!("{asked} cannot be decided: {path} is {}", kind(value))
            }
            (Ok(_), None) => format!("{asked}, got nothing"),
            (Ok(_), Some(value)) => format!("{asked}, got {}", shown(value)),
        }
    }
}

impl<R: TextMatch> Operator<R> {
    /// What holds of a place that is not there.
    fn holds_without_value(&self) -> bool {
        matches!(self, Self::NotEqual(_) | Self::NotIn(_))
    }

    fn compare(&self, value: &Value, strict: bool) -> Truth {
        match self {
            Self::True => value.as_bool().ok_or(Undecided),
            Self::Equal(wanted) => Ok(values_are_equal(value, wanted)),
            Self::NotEqual(wanted) => Ok(!values_are_equal(value, wanted)),
            Self::Greater(bound) => ordered(value, bound, strict, Ordering::is_gt),
            Self::GreaterOrEqual(bound) => ordered(value, bound, strict, Ordering::is_ge),
            Self::Less(bound) => ordered(value, bound, strict, Ordering::is_lt),
            Self::LessOrEqual(bound) => ordered(value, bound, strict, Ordering::is_le),
            Self::In(values) => Ok(values.iter().any(|wanted| values_are_equal(value, wanted))),
            Self::NotIn(values) => Ok(!values.iter().any(|wanted| values_are_equal(value, wanted))),
            // Answered before, where the parent is known.
            Self::Exists(wanted) => Ok(*wanted),
            Self::Matches(regex) => match value.as_str() {
                Some(text) => Ok(regex.is_match(text)),
                None if strict => Err(Undecided),
                None => Ok(false),
            },
            Self::Contains(part) => Ok(contains(value, part)),
        }
    }

    fn tell(&self, path: &Path) -> String {
        match self {
            Self::True => format!("{path} is true"),
            Self::Equal(wanted) => format!("{path} = {}", shown(wanted)),
            Self::NotEqual(wanted) => format!("{path} != {}", shown(wanted)),
            Self::Greater(bound) => format!("{path} > {}", shown(bound)),
            Self::GreaterOrEqual(bound) => format!("{path} >= {}", shown(bound)),
            Self::Less(bound) => format!("{path} < {}", shown(bound)),
            Self::LessOrEqual(bound) => format!("{path} <= {}", shown(bound)),
            Self::In(values) => format!("{path} in {}", shown_list(values)),
            Self::NotIn(values) => format!("{path} not in {}", shown_list(values)),
            Self::Exists(true) => format!("{path} exists"),
            Self::Exists(false) => format!("{path} does not exist"),
            Self::Matches(regex) => format!("{path} matches /{}/", regex.source()),
            Self::Contains(part) => format!("{path} contains {}", shown(part)),
        }
    }
}

fn ordered(value: &Value, bound: &Value, strict: bool, holds: fn(Ordering) -> bool) -> Truth {
    match order(value, bound) {
        Some(order) => Ok(holds(order)),
        None if strict => Err(Undecided),
        None => Ok(false),
    }
}

fn contains(value: &Value, part: &Value) -> bool {
    match value {
        Value::String(text) => part.as_str().is_some_and(|part| text.contains(part)),
        Value::Array(items) => items.iter().any(|item| values_are_equal(item, part)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Characters of a value that are worth showing.
const SHOWN_CHARS_MAX: usize = 80;

/// Shows a value as JSON, cut where it gets long.
pub fn shown(value: &Value) -> String {
    // Long values are not serialised in full first: the data may be a megabyte.
    let length = match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        Value::String(text) => text.len() / 4,
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    if length <= SHOWN_CHARS_MAX {
        return cut(value.to_string());
    }
    match value.as_str() {
        Some(text) => {
            let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            format!("{start:?}…")
        }
        None => format!("{} with {length} entries", kind(value)),
    }
}

fn shown_list(values: &[Value]) -> String {
    let shown: Vec<String> = values.iter().take(SHOWN_CHARS_MAX / 4).map(shown).collect();
    cut(format!("[{}]", shown.join(", ")))
}

fn cut(text: String) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
