//! What expressions and templates of a workflow are evaluated with, and by whom.

use serde_json::{Map, Value, json};

use super::graph::StepName;
use super::run::Run;
use crate::json::Json;

/// Evaluates the texts of a graph. The same text over the same scope gives the same answer: what
/// was decided is written down, but what comes after a crash is decided again.
pub trait Expressions {
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

impl Scope<'_> {
    /// Everything as one value: `input`, which is also called `event`, because that is what most
    /// runs are started with; `steps.<name>.{status, output, error}`; `context.<key>`; within a
    /// map `item` and `index`; within a compensation, and where a step is repeated, `output`.
    ///
    /// It is as large as the run. Whoever evaluates often reads only what a text names.
    pub fn to_value(&self) -> Value {
        let steps: Map<String, Value> =
            (self.run.steps()).map(|(name, _)| (name.to_string(), self.step(name))).collect();
        let context: Map<String, Value> =
            (self.run.context()).map(|(key, value)| (key.to_owned(), value.to_value())).collect();
        let input = self.run.input().to_value();
        let mut all = json!({
            "event": input,
            "input": input,
            "steps": steps,
            "context": context,
        });
        if let Some(item) = self.item {
            all["item"] = item.value.to_value();
            all["index"] = item.index.into();
        }
        if let Some(output) = self.undone {
            all["output"] = output.to_value();
        }
        all
    }

    fn step(&self, name: &StepName) -> Value {
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
