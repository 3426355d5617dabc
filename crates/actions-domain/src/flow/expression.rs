//! What expressions and templates of a workflow are evaluated with, and by whom.

use serde_json::{Value, json};

use super::graph::StepName;
use super::run::Run;
use crate::json::Json;

/// Evaluates the texts of a graph. The same text over the same scope gives the same answer: what
/// was decided is written down, but what comes after a crash is decided again.
pub trait Expressions: Send + Sync {
    /// Whether an expression holds.
    ///
    /// # Errors
    /// Why it has no answer, as a sentence.
    fn holds(&self, expression: &str, scope: &Scope<'_>) -> Result<bool, String>;

    /// Fills in the templates of a value.
    ///
    /// # Errors
    /// Why it cannot be filled in, as a sentence.
    fn fill(&self, template: &Value, scope: &Scope<'_>) -> Result<Json, String>;

    /// Fills in the places of a key's text.
    ///
    /// # Errors
    /// Why it cannot be filled in, as a sentence.
    fn name(&self, text: &str, scope: &Scope<'_>) -> Result<String, String>;

    /// Compiles an expression, to refuse it at the door.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    fn check(&self, expression: &str) -> Result<(), String> {
        let _ = expression;
        Ok(())
    }

    /// Compiles the templates of a value, likewise.
    ///
    /// # Errors
    /// A JSON pointer into the value and what is wrong there.
    fn check_template(&self, template: &Value) -> Result<(), (String, String)> {
        let _ = template;
        Ok(())
    }
}

/// Judges the texts of a workflow before any run needs them.
pub trait Syntax {
    /// # Errors
    /// Why it is no expression, as a sentence.
    fn expression(&self, text: &str) -> Result<(), String>;

    /// Judges one text of a template: places in it, or none.
    ///
    /// # Errors
    /// Why it cannot be filled in, as a sentence.
    fn template(&self, text: &str) -> Result<(), String>;
}

/// What an expression can speak of: the run as it is now, and one item of a map.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'r> {
    pub run: &'r Run,
    pub item: Option<Item<'r>>,
    /// What the step left behind that is being undone, or that may be done once more.
    pub undone: Option<&'r Json>,
}

/// One item of a map's list, and its place there.
#[derive(Debug, Clone, Copy)]
pub struct Item<'r> {
    pub index: u32,
    pub value: &'r Json,
}

/// What an expression may name.
pub const ROOTS: [&str; 7] = ["event", "input", "steps", "context", "item", "index", "output"];

impl Scope<'_> {
    /// One of the [`ROOTS`], where it is known here.
    pub fn root(&self, name: &str) -> Option<Value> {
        match name {
            "event" | "input" => Some(self.run.input().to_value()),
            "steps" => {
                let steps = self.run.steps().map(|(name, _)| (name.to_string(), self.step(name)));
                Some(Value::Object(steps.collect()))
            }
            "context" => {
                let context = self.run.context();
                let context = context.map(|(key, value)| (key.to_owned(), value.to_value()));
                Some(Value::Object(context.collect()))
            }
            "item" => self.item.map(|item| item.value.to_value()),
            "index" => self.item.map(|item| item.index.into()),
            "output" => self.undone.map(Json::to_value),
            _ => None,
        }
    }

    /// Everything as one value: `input`, which is also called `event`, because that is what most
    /// runs are started with; `steps.<name>.{status, output, error}`; `context.<key>`; within a
    /// map `item` and `index`; within a compensation, and where a step is repeated, `output`.
    ///
    /// It is as large as the run. Whoever evaluates often reads only what a text names.
    pub fn to_value(&self) -> Value {
        let known = ROOTS.iter().filter_map(|root| Some(((*root).to_owned(), self.root(root)?)));
        Value::Object(known.collect())
    }

    /// A step, also one that nothing has happened to.
    pub fn step(&self, name: &StepName) -> Value {
        json!({
            "status": self.run.status(name).word(),
            "output": self.run.output_of(name).map(Json::to_value),
            "error": self.run.fault_of(name).map(|fault| json!({
                "code": fault.code,
                "message": fault.message,
            })),
        })
    }
}
