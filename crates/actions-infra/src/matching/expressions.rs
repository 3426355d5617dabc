//! What workflows say in texts: CEL in conditions and between `{{` and `}}`, evaluated over a run.
//!
//! The same language as in conditions on events, with the same bounds. A plain path, which is what
//! most templates are, is looked up without it.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use ::cel::common::ast::{Expr, IdedExpr};
use ::cel::{Context, Env};
use actions_domain::flow::expression::{Expressions, ROOTS, Scope, Syntax};
use actions_domain::flow::graph::StepName;
use actions_domain::json::Json;
use actions_domain::limits::EVENT_BYTES_MAX;
use actions_domain::matching::condition::CelText;
use serde_json::{Map, Value};

use super::cel::{self, CelError, Cost};
use super::facts::{bytes, cel_value, longest_collection};
use super::regex::TextRegexes;

/// Texts that stay compiled. Beyond, all are forgotten: workflows have some tens each.
const COMPILED_MAX: usize = 4_096;

/// Evaluates the texts of workflows.
pub struct CelExpressions {
    env: Arc<Env>,
    regexes: TextRegexes,
    compiled: RwLock<HashMap<String, Arc<Compiled>>>,
}

impl Default for CelExpressions {
    fn default() -> Self {
        let (regexes, compiled) = (TextRegexes::default(), RwLock::default());
        Self { env: cel::standard_env(), regexes, compiled }
    }
}

/// A text, ready to be evaluated.
enum Compiled {
    /// A place in the run.
    Path(Vec<String>),
    Program {
        tree: IdedExpr,
        cost: Cost,
        needs: Needs,
    },
}

/// What a program looks at.
#[derive(Debug, Default)]
struct Needs {
    roots: BTreeSet<&'static str>,
    /// `None`: all steps.
    steps: Option<BTreeSet<String>>,
}

impl Syntax for CelExpressions {
    fn expression(&self, text: &str) -> Result<(), String> {
        self.check(text)
    }

    fn template(&self, text: &str) -> Result<(), String> {
        self.check_template(&Value::from(text)).map_err(|(_, message)| message)
    }
}

impl Expressions for CelExpressions {
    fn holds(&self, expression: &str, scope: &Scope<'_>) -> Result<bool, String> {
        let value = self.evaluate(expression, scope)?;
        let wrong = || format!("it gives {}, which is neither true nor false", kind(&value));
        value.as_bool().ok_or_else(wrong)
    }

    fn fill(&self, template: &Value, scope: &Scope<'_>) -> Result<Json, String> {
        let mut filling = Filling { with: self, scope, left: EVENT_BYTES_MAX };
        filling.value(template).map(|value| Json::from_value(&value))
    }

    fn name(&self, text: &str, scope: &Scope<'_>) -> Result<String, String> {
        let mut name = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inner, tail) =
                after.split_once('}').ok_or_else(|| format!("a }} is missing after {after}"))?;
            name.push_str(before);
            name.push_str(&token(&self.evaluate(inner, scope)?));
            rest = tail;
        }
        name.push_str(rest);
        Ok(name)
    }

    fn check(&self, expression: &str) -> Result<(), String> {
        self.compiled(expression).map(drop)
    }

    fn check_template(&self, template: &Value) -> Result<(), (String, String)> {
        match template {
            Value::String(text) => {
                let pieces = pieces(text).map_err(|message| (String::new(), message))?;
                let wrong = pieces.iter().find_map(|piece| match piece {
                    Piece::Text(_) => None,
                    Piece::Expression(text) => self.compiled(text).err(),
                });
                wrong.map_or(Ok(()), |message| Err((String::new(), message)))
            }
            Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
                self.check_template(item)
                    .map_err(|(pointer, message)| (format!("/{index}{pointer}"), message))
            }),
            Value::Object(members) => members.iter().try_for_each(|(name, member)| {
                let name = name.replace('~', "~0").replace('/', "~1");
                self.check_template(member)
                    .map_err(|(pointer, message)| (format!("/{name}{pointer}"), message))
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }
}

impl CelExpressions {
    fn evaluate(&self, text: &str, scope: &Scope<'_>) -> Result<Value, String> {
        match &*self.compiled(text)? {
            Compiled::Path(path) => look_up(path, scope),
            Compiled::Program { tree, cost, needs } => self.run(tree, *cost, needs, scope),
        }
    }

    fn run(
        &self,
        tree: &IdedExpr,
        cost: Cost,
        needs: &Needs,
        scope: &Scope<'_>,
    ) -> Result<Value, String> {
        let values: Vec<(&str, Value)> = needs.values(scope);
        let size = values.iter().map(|(_, value)| bytes(value)).sum();
        let longest = values.iter().map(|(_, value)| longest_collection(value)).max();
        cost.check(size, longest.unwrap_or(0).max(1))?;
        let mut context = Context::with_env(Arc::clone(&self.env));
        for (name, value) in &values {
            context.add_variable_as_val(*name, cel_value(value));
        }
        // A tenant's expression must not take down a thread that serves others.
        let evaluated = catch_unwind(AssertUnwindSafe(|| ::cel::Value::resolve(tree, &context)));
        let value =
            evaluated.map_err(|_| "the CEL library failed".to_owned())?.map_err(|error| {
                error.to_string().chars().take(REASON_CHARS_MAX).collect::<String>()
            })?;
        value.json().map_err(|_| "it gives something that is not JSON".to_owned())
    }

    fn compiled(&self, text: &str) -> Result<Arc<Compiled>, String> {
        let text = text.trim();
        let known = self.compiled.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let compiled = Arc::new(self.compile(text)?);
        let mut all = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= COMPILED_MAX {
            all.clear();
        }
        all.insert(text.to_owned(), Arc::clone(&compiled));
        Ok(compiled)
    }

    fn compile(&self, text: &str) -> Result<Compiled, String> {
        if let Some(path) = path(text) {
            return Ok(Compiled::Path(path));
        }
        let text = CelText::parse(text, "").map_err(|problem| problem.to_string())?;
        let parsed = cel::on_deep_stack(|| {
            cel::compile_program(text.as_str(), &self.env, &self.regexes, &ROOTS)
        });
        let (tree, cost) = parsed.and_then(|parsed| parsed).map_err(|error| place(&error))?;
        let needs = Needs::of(&tree);
        Ok(Compiled::Program { tree, cost, needs })
    }
}

/// The library prints values in full.
const REASON_CHARS_MAX: usize = 200;

fn place(error: &CelError) -> String {
    match (error.line, error.column) {
        (Some(1), Some(column)) => format!("{} (column {column})", error.message),
        (Some(line), Some(column)) => format!("{} (line {line}, column {column})", error.message),
        _ => error.message.clone(),
    }
}

/// Puts a template's values in place, up to a size.
struct Filling<'f, 's> {
    with: &'f CelExpressions,
    scope: &'f Scope<'s>,
    /// Bytes that may still be written.
    left: usize,
}

impl Filling<'_, '_> {
    fn value(&mut self, template: &Value) -> Result<Value, String> {
        Ok(match template {
            Value::String(text) => self.text(text)?,
            Value::Array(items) => {
                let items = items.iter().map(|item| self.value(item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let filled =
                    members.iter().map(|(name, member)| Ok((name.clone(), self.value(member)?)));
                Value::Object(filled.collect::<Result<Map<_, _>, String>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
        })
    }

    /// A text that is one expression becomes its value, whatever that is.
    fn text(&mut self, text: &str) -> Result<Value, String> {
        let pieces = pieces(text)?;
        if let [Piece::Expression(only)] = pieces.as_slice() {
            let value = self.with.evaluate(only, self.scope)?;
            self.count(bytes(&value))?;
            return Ok(value);
        }
        let mut written = String::with_capacity(text.len());
        for piece in pieces {
            match piece {
                Piece::Text(text) => written.push_str(text),
                Piece::Expression(text) => {
                    let value = self.with.evaluate(text, self.scope)?;
                    self.count(bytes(&value))?;
                    written.push_str(&plain(&value));
                }
            }
        }
        Ok(Value::String(written))
    }

    fn count(&mut self, bytes: usize) -> Result<(), String> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| format!("it makes more than {EVENT_BYTES_MAX} bytes"))?;
        Ok(())
    }
}

enum Piece<'t> {
    Text(&'t str),
    Expression(&'t str),
}

/// A template's text, cut at `{{` and `}}`. White space around the only expression says nothing.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    if !text.contains("{{") {
        return Ok(vec![Piece::Text(text)]);
    }
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    let is_only =
        rest.starts_with("{{") && end_of(&rest[2..]).is_some_and(|at| at + 4 == rest.len());
    if !is_only {
        rest = text;
    }
    while let Some((before, after)) = rest.split_once("{{") {
        let end = end_of(after).ok_or_else(|| format!("}}}} is missing after {{{{{after}"))?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Expression(&after[..end]));
        rest = &after[end + 2..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// Where `}}` ends an expression: outside of its texts and its own braces.
fn end_of(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    let mut quote = None;
    while let Some(&byte) = bytes.get(at) {
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, _) => {}
        }
        at += 1;
    }
    None
}

/// `event.data.items.0`, when the text is nothing else. The name of a step may have a `-`.
fn path(text: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = text.split('.').collect();
    let is_word = |(index, word): (usize, &&str)| {
        let is_step = index == 1 && words[0] == "steps";
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || (is_step && b == b'-'))
    };
    let is_path = ROOTS.contains(&words[0]) && words.iter().enumerate().all(is_word);
    is_path.then(|| words.iter().map(|word| (*word).to_owned()).collect())
}

fn look_up(path: &[String], scope: &Scope<'_>) -> Result<Value, String> {
    let missing = || format!("there is no {}", path.join("."));
    let (root, rest) = path.split_first().ok_or_else(missing)?;
    let (mut value, rest) = match rest.split_first() {
        Some((name, rest)) if root == "steps" => {
            let step = StepName::parse(name).map_err(|_| missing())?;
            (scope.step(&step), rest)
        }
        _ => (scope.root(root).ok_or_else(missing)?, rest),
    };
    for word in rest {
        let found = match word.parse::<usize>() {
            Ok(index) if value.is_array() => value.get_mut(index),
            Ok(_) | Err(_) => value.get_mut(word.as_str()),
        };
        value = found.map(Value::take).ok_or_else(missing)?;
    }
    Ok(value)
}

impl Needs {
    fn of(tree: &IdedExpr) -> Self {
        let mut needs = Self { roots: BTreeSet::new(), steps: Some(BTreeSet::new()) };
        needs.collect(tree);
        needs
    }

    fn collect(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Ident(name) => {
                if let Some(root) = ROOTS.iter().find(|root| *root == name) {
                    self.roots.insert(root);
                    if *root == "steps" {
                        self.steps = None;
                    }
                }
                return;
            }
            Expr::Select(select) => {
                let is_steps = matches!(&select.operand.expr, Expr::Ident(name) if name == "steps");
                if is_steps {
                    self.roots.insert("steps");
                    if let Some(steps) = &mut self.steps {
                        steps.insert(select.field.clone());
                    }
                    return;
                }
            }
            Expr::Unspecified
            | Expr::Literal(_)
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_) => {}
        }
        cel::children(node).into_iter().for_each(|child| self.collect(child));
    }

    fn values(&self, scope: &Scope<'_>) -> Vec<(&'static str, Value)> {
        let value = |root: &&'static str| match (&self.steps, *root) {
            (Some(steps), "steps") => {
                let named = steps.iter().filter_map(|name| {
                    let step = StepName::parse(name).ok()?;
                    Some((name.clone(), scope.step(&step)))
                });
                Some((*root, Value::Object(named.collect())))
            }
            _ => Some((*root, scope.root(root)?)),
        };
        self.roots.iter().filter_map(value).collect()
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value inside of a text.
fn plain(value: &Value) -> String {
    if value.is_null() {
        return String::new();
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value as one token of a key.
fn token(value: &Value) -> String {
    let text = plain(value);
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|c| if c == ':' || c.is_control() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests;
