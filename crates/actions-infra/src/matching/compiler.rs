//! Compiles conditions, at the door and when definitions are applied.

use std::sync::Arc;

use ::cel::Env;
use actions_domain::matching::condition::{CelText, Condition, Expression};
use actions_domain::ports::matcher::MatchError;

use super::cel::{self, Cel, CelError};
use super::regex::{TextRegex, TextRegexes};

/// A condition, ready to be evaluated.
pub(super) type Compiled = Expression<TextRegex, Cel>;

/// What all matchers of a process share.
pub(super) struct Compiler {
    env: Arc<Env>,
    regexes: TextRegexes,
}

impl Compiler {
    pub(super) fn new() -> Self {
        Self { env: cel::standard_env(), regexes: TextRegexes::default() }
    }

    pub(super) fn env(&self) -> &Arc<Env> {
        &self.env
    }

    /// Tells whether a condition compiles.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(super) fn check(&self, condition: &Condition) -> Result<(), MatchError> {
        if !condition.has_cel() {
            return self.compile(condition).map(drop);
        }
        cel::on_deep_stack(|| self.compile(condition).map(drop))
            .unwrap_or_else(|error| Err(cel_error(error, String::new())))
    }

    /// Compiles conditions, on a deep stack when one of them needs it. One that does not compile
    /// holds for no event and says why.
    pub(super) fn compile_all(&self, conditions: &[&Condition]) -> Vec<Compiled> {
        let each = || -> Vec<Compiled> {
            conditions.iter().map(|condition| self.compile_or_break(condition)).collect()
        };
        if !conditions.iter().any(|condition| condition.has_cel()) {
            return each();
        }
        cel::on_deep_stack(each).unwrap_or_else(|error| {
            let broken = |_: &&Condition| Expression::Cel(Cel::broken(&error.message));
            conditions.iter().map(broken).collect()
        })
    }

    fn compile_or_break(&self, condition: &Condition) -> Compiled {
        self.compile(condition)
            .unwrap_or_else(|error| Expression::Cel(Cel::broken(&error.to_string())))
    }

    fn compile(&self, condition: &Condition) -> Result<Compiled, MatchError> {
        let parsed = condition.parse().map_err(|error| MatchError::Condition {
            message: error.to_string(),
            pointer: error.pointer,
            line: None,
            column: None,
        })?;
        parsed.compile(&mut |source: String| self.regex(&source), &mut |text| self.cel(&text))
    }

    fn regex(&self, source: &str) -> Result<TextRegex, MatchError> {
        self.regexes.compile(source).map_err(|error| MatchError::Condition {
            message: format!("{source:?} is not a regular expression: {error}"),
            pointer: String::new(),
            line: None,
            column: None,
        })
    }

    fn cel(&self, text: &CelText) -> Result<Compiled, MatchError> {
        cel::compile(text, &self.env, &self.regexes)
            .map_err(|error| cel_error(error, text.pointer().to_owned()))
    }
}

fn cel_error(error: CelError, pointer: String) -> MatchError {
    let CelError { message, line, column } = error;
    MatchError::Condition { message, pointer, line, column }
}
