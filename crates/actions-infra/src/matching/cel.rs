//! CEL: compiled once, as far as possible into the same expression as JSON conditions.
//!
//! What compares a place in the data with a plain value becomes a test like any other, so the
//! index sees it. The rest stays a program. Nothing can interrupt a program, so its cost is
//! bounded before it starts.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actions_domain::limits::{
    CEL_COPY_BYTES_MAX, CEL_DEPTH_MAX, CEL_ITEMS_MAX, CEL_READ_BYTES_MAX, CEL_TREE_DEPTH_MAX,
};
use actions_domain::matching::condition::{
    CelText, Evaluate, Expression, Facts, Note, Path, Truth, Undecided, shown,
};
use cel::common::ast::{IdedExpr, SourceInfo};
use cel::common::types::CelBool;
use cel::{Env, ExecutionError, Value};

use super::facts::EventFacts;
use super::regex::{TextRegex, TextRegexes};

mod check;
mod lower;

pub(super) use check::children;

/// What a condition on an event may name.
const VARIABLES: [&str; 2] = ["event", "tenant"];

/// The parser follows brackets by recursion: 12 levels fill 2 MiB of stack when it is not
/// optimised.
const COMPILER_STACK_BYTES: usize = 16 * 1024 * 1024;
/// Brackets are counted before; conditional expressions and macros nest without them.
const PARSER_DEPTH_MAX: u16 = 2 * CEL_DEPTH_MAX as u16;

/// A piece of CEL that is evaluated as such.
#[derive(Debug)]
pub(super) enum Cel {
    Program(Box<Program>),
    /// A condition that was accepted once and cannot be compiled now. It holds for no event.
    Broken(Box<str>),
}

#[derive(Debug)]
pub(super) struct Program {
    tree: IdedExpr,
    source: Box<str>,
    /// Places in the data that it looks at, for the explanation.
    reads: Box<[Path]>,
    cost: Cost,
}

/// What a program may do to large data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Parts that copy values: additions, lists and maps.
    copies: usize,
    /// Parts that read through values: comparisons and functions of texts, at most once over all
    /// steps of a macro.
    reads: usize,
    /// Those that a macro repeats with the same value at each step.
    repeated_reads: usize,
    has_macro: bool,
    /// Items of the longest list or map that is written down.
    written_items: usize,
    /// How many times longer than a list of the data a macro's range may be, by additions.
    range_parts: usize,
}

/// Why a text is not an expression, counted in lines and columns from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CelError {
    pub(super) message: String,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
}

impl CelError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None, column: None }
    }
}

/// The standard library of CEL. Building it takes longer than evaluating most expressions, so
/// there is one for all.
pub(super) fn standard_env() -> Arc<Env> {
    // Optional values are an extension that few implementations have.
    Arc::new(Env::stdlib().with_optional_support(false))
}

/// Runs `work` on a stack that is deep enough for [`compile`].
///
/// # Errors
/// When the system has no memory for the stack.
pub(super) fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, CelError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("cel-compiler".to_owned())
            .stack_size(COMPILER_STACK_BYTES)
            .spawn_scoped(scope, work);
        let thread = thread.map_err(|_| CelError::new("there is no memory to compile CEL"))?;
        thread.join().map_err(|_| CelError::new("the CEL compiler failed"))
    })
}

/// Compiles an expression. Only to be called [`on_deep_stack`].
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn compile(
    text: &CelText,
    env: &Env,
    regexes: &TextRegexes,
) -> Result<Expression<TextRegex, Cel>, CelError> {
    // The generated parser is known to panic on some malformed texts.
    catch_unwind(AssertUnwindSafe(|| compile_unguarded(text.as_str(), env, regexes)))
        .unwrap_or_else(|_| Err(CelError::new("the CEL parser cannot read this expression")))
}

fn compile_unguarded(
    source: &str,
    env: &Env,
    regexes: &TextRegexes,
) -> Result<Expression<TextRegex, Cel>, CelError> {
    let (tree, info) = parse(source, env, regexes, &VARIABLES)?;
    Ok(lower::lower(tree, &lower::Source { text: source, info: &info, regexes }))
}

/// Compiles an expression that may name `variables`, and says what it may cost. Only to be called
/// [`on_deep_stack`].
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn compile_program(
    source: &str,
    env: &Env,
    regexes: &TextRegexes,
    variables: &[&str],
) -> Result<(IdedExpr, Cost), CelError> {
    let parsed = catch_unwind(AssertUnwindSafe(|| parse(source, env, regexes, variables)));
    let parsed =
        parsed.unwrap_or_else(|_| Err(CelError::new("the CEL parser cannot read this expression")));
    parsed.map(|(tree, _)| {
        let cost = lower::cost(&tree);
        (tree, cost)
    })
}

fn parse(
    source: &str,
    env: &Env,
    regexes: &TextRegexes,
    variables: &[&str],
) -> Result<(IdedExpr, SourceInfo), CelError> {
    let parser = env.parser().max_recursion_depth(PARSER_DEPTH_MAX).error_recovery_limit(1);
    let (tree, info) = parser.parse_with_source_info(source).map_err(|e| syntax_error(&e))?;
    if check::depth(&tree) > CEL_TREE_DEPTH_MAX {
        return Err(CelError::new(format!(
            "the expression is nested deeper than {CEL_TREE_DEPTH_MAX} levels; split it into a list of expressions"
        )));
    }
    check::check(&tree, regexes, variables).map_err(|found| {
        let (line, column) = position(source, info.offset_for(found.node));
        CelError { message: found.message, line, column }
    })?;
    Ok((tree, info))
}

fn syntax_error(errors: &cel::ParseErrors) -> CelError {
    let Some(first) = errors.errors.first() else {
        return CelError::new("not a CEL expression");
    };
    CelError {
        message: plain(first.msg.strip_prefix("Syntax error: ").unwrap_or(&first.msg)),
        line: u32::try_from(first.pos.0).ok().filter(|line| *line > 0),
        column: u32::try_from(first.pos.1).ok().filter(|_| first.pos.0 > 0),
    }
}

/// The parser speaks of its tokens: this says the same of the text.
fn plain(message: &str) -> String {
    const END: &str = "<EOF>";
    let place = |token: &str| match token.trim().trim_matches('\'') {
        END => "at its end".to_owned(),
        _ => format!("at {}", token.trim()),
    };
    if let Some(text) = message.strip_prefix("token recognition error at: ") {
        return format!("{} means nothing in CEL", text.trim());
    }
    if let Some((what, token)) =
        message.strip_prefix("missing ").and_then(|rest| rest.split_once(" at "))
    {
        return format!("{what} is missing {}", place(token));
    }
    let rest = ["mismatched input ", "extraneous input ", "no viable alternative at input "]
        .into_iter()
        .find_map(|prefix| message.strip_prefix(prefix));
    let Some(rest) = rest else {
        return if message == "UNKNOWN" {
            "not a CEL expression".to_owned()
        } else {
            message.to_owned()
        };
    };
    let (token, expected) = rest.split_once(" expecting ").unwrap_or((rest, ""));
    let wanted = match expected {
        "" => "something else is expected".to_owned(),
        END => "the end is expected".to_owned(),
        set if set.contains("IDENTIFIER") => "a value is expected".to_owned(),
        set => {
            let set = set.trim_matches(['{', '}']).replace(END, "the end");
            format!("expected is one of {set}")
        }
    };
    format!("{} {wanted}", place(token))
}

/// Line and column of an offset, which counts characters.
fn position(source: &str, offset: Option<(u32, u32)>) -> (Option<u32>, Option<u32>) {
    let Some((start, _)) = offset else {
        return (None, None);
    };
    let (mut line, mut column) = (1, 1);
    for c in source.chars().take(start as usize) {
        if c == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    (Some(line), Some(column))
}

impl Cel {
    pub(super) fn broken(message: &str) -> Self {
        Self::Broken(message.into())
    }
}

impl<'e> Evaluate<EventFacts<'e>> for Cel {
    fn evaluate<N: Note>(&self, facts: &EventFacts<'e>) -> (Truth, N) {
        match self {
            Self::Program(program) => program.evaluate(facts),
            Self::Broken(message) => {
                (Err(Undecided), N::tell(|| format!("the condition cannot be compiled: {message}")))
            }
        }
    }
}

impl Program {
    fn evaluate<N: Note>(&self, facts: &EventFacts<'_>) -> (Truth, N) {
        if let Err(reason) = self.cost.check(facts.bytes(), facts.longest_collection()) {
            return (
                Err(Undecided),
                N::tell(|| self.tell(facts, &format!("is too costly: {reason}"))),
            );
        }
        // A tenant's expression must not take down a thread that serves others.
        let result = catch_unwind(AssertUnwindSafe(|| self.run(facts)));
        match result {
            Ok(Ok(holds)) => (Ok(holds), N::tell(|| self.tell(facts, &format!("is {holds}")))),
            Ok(Err(reason)) => {
                let words = |reason: String| format!("cannot be decided: {reason}");
                (Err(Undecided), N::tell(|| self.tell(facts, &words(reason.words()))))
            }
            Err(panic) => (Err(Undecided), N::tell(|| self.tell(facts, &panic_words(&*panic)))),
        }
    }

    fn run(&self, facts: &EventFacts<'_>) -> Result<bool, NoAnswer> {
        let value = Value::resolve_val(&self.tree, facts.scope()).map_err(NoAnswer::Failed)?;
        match value.downcast_ref::<CelBool>() {
            Some(answer) => Ok(*answer.inner()),
            None => Err(NoAnswer::NotABool(value.get_type().name().to_owned())),
        }
    }

    /// The expression, what came out, and the values it looked at.
    fn tell(&self, facts: &EventFacts<'_>, outcome: &str) -> String {
        let value = |path: &Path| match path.find_in_objects(facts.data()) {
            Some(value) => format!("{path} = {}", shown(value)),
            None => format!("{path} is missing"),
        };
        let values: Vec<String> = self.reads.iter().map(value).collect();
        let source = self.source.trim();
        if values.is_empty() {
            format!("{source} {outcome}")
        } else {
            format!("{source} {outcome}, with {}", values.join(", "))
        }
    }
}

enum NoAnswer {
    Failed(ExecutionError),
    NotABool(String),
}

/// The library prints values in full.
const REASON_CHARS_MAX: usize = 200;

impl NoAnswer {
    fn words(&self) -> String {
        match self {
            Self::Failed(error) => error.to_string().chars().take(REASON_CHARS_MAX).collect(),
            Self::NotABool(kind) => format!("it gives a value of type {kind} and not a bool"),
        }
    }
}

fn panic_words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    format!("made the CEL library fail: {}", words.unwrap_or("no reason given"))
}

impl Cost {
    /// Refuses what could take long, by an upper bound: what a macro walks through times what
    /// each step may copy or read.
    pub(super) fn check(self, size: usize, longest: usize) -> Result<(), String> {
        let items = if self.has_macro {
            longest.max(self.written_items).saturating_mul(self.range_parts + 1)
        } else {
            1
        };
        if items > CEL_ITEMS_MAX {
            return Err(format!(
                "the data has a list or map of {items} items, and macros take at most {CEL_ITEMS_MAX}"
            ));
        }
        let bytes = self.copies.saturating_mul(items).saturating_mul(size);
        if bytes > CEL_COPY_BYTES_MAX {
            return Err(format!(
                "it may copy {bytes} bytes, and at most {CEL_COPY_BYTES_MAX} are allowed"
            ));
        }
        let reads = self.reads.saturating_add(self.repeated_reads.saturating_mul(items));
        let bytes = reads.saturating_mul(size);
        if bytes > CEL_READ_BYTES_MAX {
            return Err(format!(
                "it may compare {bytes} bytes, and at most {CEL_READ_BYTES_MAX} are allowed; inside of a macro, compare parts of its items with plain values"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
