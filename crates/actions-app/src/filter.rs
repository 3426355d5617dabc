//! The filter grammar of every list: `status:failed,timeout -action:email.* attempts>2 since:1h`.
//!
//! A space means *and*, a comma *or*, a leading `-` *not*; `>` and `<` compare numbers and times;
//! quotes keep spaces. Texts are compared without case, and `*` stands for anything in them. A
//! field that a list does not know is refused, never ignored.

use std::borrow::Cow;

use actions_domain::Timestamp;
use actions_domain::limits::{FILTER_BYTES_MAX, FILTER_TERMS_MAX};

use crate::durations::parse_duration;

/// A filter as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    compare: Compare,
    values: Vec<String>,
    negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Is,
    Greater,
    Less,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("a filter has at most {max} bytes and {terms} terms", max = FILTER_BYTES_MAX, terms = FILTER_TERMS_MAX)]
    TooLong,
    #[error("expected field:value, field>value or field<value, got {term:?}")]
    Form { term: String },
    #[error("there is no field {field}; known are {known}")]
    UnknownField { field: String, known: String },
    #[error("{field} cannot be {value:?}; expected {expected}")]
    Value { field: String, value: String, expected: &'static str },
}

/// What a list knows about one item under one field's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Absent,
}

impl<'a> Fact<'a> {
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    pub fn maybe(text: Option<impl Into<Cow<'a, str>>>) -> Self {
        text.map_or(Self::Absent, |text| Self::Text(text.into()))
    }

    pub fn count(count: usize) -> Self {
        Self::Number(f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
    }
}

impl Filter {
    /// Reads a filter. The empty text lets everything pass.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        let mut terms = Vec::new();
        for word in words(text) {
            terms.push(Term::parse(&word)?);
        }
        if terms.len() > FILTER_TERMS_MAX {
            return Err(FilterError::TooLong);
        }
        Ok(Self { terms })
    }

    /// Adds the term `field:value`, where a comma separates alternatives.
    pub fn and(&mut self, field: &str, value: &str) {
        let values = value.split(',').map(str::to_owned).collect();
        let field = field.to_owned();
        self.terms.push(Term { field, compare: Compare::Is, values, negated: false });
    }

    /// Takes out what was said about a field.
    pub fn drop(&mut self, field: &str) {
        self.terms.retain(|term| term.field != field);
    }

    /// Lets a field be called by another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        for term in self.terms.iter_mut().filter(|term| term.field == from) {
            term.field = to.to_owned();
        }
    }

    /// Looks for the values of a field anywhere in its text.
    pub fn loosen(&mut self, field: &str) {
        for term in self.terms.iter_mut().filter(|term| term.field == field) {
            for value in &mut term.values {
                *value = format!("*{value}*");
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// A text that is the same for equal filters, for cursors.
    pub fn canonical(&self) -> String {
        format!("{:?}", self.terms)
    }

    /// Prepares the filter for a list with these fields. A field that ends in a dot stands for
    /// all that begin with it.
    pub fn compile(&self, known: &[&str], now: Timestamp) -> Result<Compiled, FilterError> {
        let mut compiled = Compiled::default();
        for term in &self.terms {
            match (term.field.as_str(), term.compare, term.negated) {
                ("since", Compare::Is, false) => {
                    let at = term.instant(now)?;
                    compiled.since = compiled.since.max(Some(at));
                }
                ("until", Compare::Is, false) => {
                    let at = term.instant(now)?;
                    compiled.until = Some(compiled.until.map_or(at, |other| other.min(at)));
                }
                (field, _, _) => {
                    let is_known = known.iter().any(|known| {
                        *known == field || (known.ends_with('.') && field.starts_with(known))
                    });
                    if !is_known {
                        let known = [known, &["since", "until"]].concat().join(", ");
                        return Err(FilterError::UnknownField { field: field.to_owned(), known });
                    }
                    compiled.terms.push(term.compile()?);
                }
            }
        }
        Ok(compiled)
    }
}

/// A filter that fits a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Compiled {
    terms: Vec<CompiledTerm>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
struct CompiledTerm {
    field: String,
    test: Test,
    negated: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    AnyOf(Vec<String>),
    Greater(f64),
    Less(f64),
}

impl Compiled {
    /// Takes out the alternatives of a field that the store can look for by itself: a plain,
    /// single, positive term.
    pub fn take(&mut self, field: &str) -> Option<Vec<String>> {
        let is_plain = |term: &CompiledTerm| term.field == field && !term.negated;
        let at = self.terms.iter().position(is_plain)?;
        let Test::AnyOf(values) = &self.terms[at].test else { return None };
        if values.iter().any(|value| value.contains('*')) {
            return None;
        }
        let values = values.clone();
        self.terms.remove(at);
        Some(values)
    }

    /// The alternatives of a field, for checking them.
    pub fn values<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        let terms = self.terms.iter().filter(move |term| term.field == field);
        terms.flat_map(|term| match &term.test {
            Test::AnyOf(values) => values.iter().map(String::as_str).collect::<Vec<_>>(),
            Test::Greater(_) | Test::Less(_) => Vec::new(),
        })
    }

    /// Whether a field like this is asked for.
    pub fn names(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        self.terms.iter().any(|term| is_meant(&term.field))
    }

    /// Whether something is left to ask of each item.
    pub fn is_selective(&self) -> bool {
        !self.terms.is_empty() || self.since.is_some() || self.until.is_some()
    }

    /// Whether an item with these facts, which happened `at`, passes.
    pub fn holds<'a>(&self, at: Timestamp, fact: impl Fn(&str) -> Fact<'a>) -> bool {
        self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && self.terms.iter().all(|term| term.test.holds(&fact(&term.field)) != term.negated)
    }
}

impl Test {
    fn holds(&self, fact: &Fact<'_>) -> bool {
        match (self, fact) {
            (Self::AnyOf(values), Fact::Text(text)) => {
                let text = text.to_ascii_lowercase();
                values.iter().any(|value| is_like(&text, value))
            }
            (Self::AnyOf(values), Fact::Number(number)) => {
                values.iter().any(|value| value.parse() == Ok(*number))
            }
            (Self::Greater(bound), Fact::Number(number)) => number > bound,
            (Self::Less(bound), Fact::Number(number)) => number < bound,
            (Self::AnyOf(_) | Self::Greater(_) | Self::Less(_), Fact::Absent)
            | (Self::Greater(_) | Self::Less(_), Fact::Text(_)) => false,
        }
    }
}

impl Term {
    fn parse(word: &str) -> Result<Self, FilterError> {
        let form = || FilterError::Form { term: word.chars().take(60).collect() };
        let (negated, rest) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
        let at = rest.find([':', '>', '<']).ok_or_else(form)?;
        let (field, value) = (&rest[..at], &rest[at + 1..]);
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if field.is_empty() || value.is_empty() || !field.bytes().all(is_name) {
            return Err(form());
        }
        let compare = match rest.as_bytes()[at] {
            b'>' => Compare::Greater,
            b'<' => Compare::Less,
            _ => Compare::Is,
        };
        let values = match compare {
            Compare::Is => value.split(',').map(str::to_owned).collect(),
            Compare::Greater | Compare::Less => vec![value.to_owned()],
        };
        Ok(Self { field: field.to_owned(), compare, values, negated })
    }

    fn compile(&self) -> Result<CompiledTerm, FilterError> {
        let number = || {
            let value = self.values.first().cloned().unwrap_or_default();
            let parsed = value.parse::<f64>().ok().filter(|number| number.is_finite());
            parsed.ok_or_else(|| FilterError::Value {
                field: self.field.clone(),
                value,
                expected: "a number",
            })
        };
        let test = match self.compare {
            Compare::Is => {
                Test::AnyOf(self.values.iter().map(|value| value.to_ascii_lowercase()).collect())
            }
            Compare::Greater => Test::Greater(number()?),
            Compare::Less => Test::Less(number()?),
        };
        Ok(CompiledTerm { field: self.field.clone(), test, negated: self.negated })
    }

    /// An instant, or a duration back from now.
    fn instant(&self, now: Timestamp) -> Result<Timestamp, FilterError> {
        let value = self.values.first().cloned().unwrap_or_default();
        let back = parse_duration(&value)
            .ok()
            .and_then(|back| chrono::TimeDelta::from_std(back).ok())
            .and_then(|back| now.checked_sub_signed(back));
        let at = back.or_else(|| value.parse::<Timestamp>().ok());
        at.ok_or_else(|| FilterError::Value {
            field: self.field.clone(),
            value,
            expected: "a duration like 1h, or a time like 2026-01-31T12:00:00Z",
        })
    }
}

/// Splits at spaces outside quotes, and takes the quotes away.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a lower-case text is like a lower-case pattern in which `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
