//! Workflows as files hold them: YAML or JSON, in either form, with the place of every mistake.

use std::collections::BTreeMap;
use std::fmt;

use actions_domain::flow::expression::Syntax;
use actions_domain::flow::written::{Written, WrittenProblem, read_with};
use actions_domain::limits::{FLOW_BYTES_MAX, FLOW_NESTING_MAX};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::definition_file::{Mistake, parse_nested_yaml};

#[cfg(test)]
mod tests;

/// One thing that is wrong with a workflow's file. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowMistake {
    pub line: u64,
    pub column: u64,
    /// A JSON pointer into the document. Empty for a mistake of the YAML itself.
    pub pointer: String,
    /// Stable, for programs.
    pub code: &'static str,
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl WorkflowMistake {
    /// `file:line:column: code: message; hint`, as editors and compilers write it.
    pub fn at(&self, file: &str) -> String {
        let Self { line, column, code, message, hint, .. } = self;
        format!("{file}:{line}:{column}: {code}: {message}; {hint}")
    }

    fn unreadable(mistake: Mistake) -> Self {
        let Mistake { line, column, message } = mistake;
        let is_deep = message.contains("Depth {") || message.contains("recursion limit");
        let (message, hint) = if is_deep {
            let message = format!("it is nested more than {FLOW_NESTING_MAX} levels deep");
            (message, "nest it less, or pass a reference to what is in it")
        } else {
            (message, "correct the YAML there")
        };
        Self { line, column, pointer: String::new(), code: "workflow.yaml", message, hint }
    }
}

/// Reads a workflow, and judges its expressions and templates.
///
/// # Errors
/// Every mistake, in the order of the file.
pub fn read_workflow(text: &str, syntax: &dyn Syntax) -> Result<Written, Vec<WorkflowMistake>> {
    if text.len() > FLOW_BYTES_MAX {
        let message = format!("the file has {} bytes, allowed are {FLOW_BYTES_MAX}", text.len());
        let hint = "split it into workflows that start one another";
        let (line, column, pointer) = (1, 1, String::new());
        let code = "flow.too_large";
        return Err(vec![WorkflowMistake { line, column, pointer, code, message, hint }]);
    }
    let node = parse_nested_yaml::<Spanned<Node>>(text, FLOW_NESTING_MAX)
        .map_err(|mistake| vec![WorkflowMistake::unreadable(mistake)])?;
    let mut places = Places::default();
    let root = Place { line: node.referenced.line(), column: node.referenced.column() };
    let document = places.take(String::new(), root, node.value);
    read_with(&document, syntax).map_err(|problems| {
        let mut mistakes: Vec<_> = problems.into_iter().map(|one| places.locate(one)).collect();
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        mistakes
    })
}

#[derive(Debug, Clone, Copy)]
struct Place {
    line: u64,
    column: u64,
}

impl Place {
    fn of<T>(value: &Spanned<T>) -> Self {
        Self { line: value.referenced.line(), column: value.referenced.column() }
    }
}

/// Where things stand, by JSON pointer.
#[derive(Debug, Default)]
struct Places {
    values: BTreeMap<String, Place>,
    /// Of members, where their names stand.
    names: BTreeMap<String, Place>,
}

impl Places {
    /// Takes a document apart into its value and its places.
    fn take(&mut self, pointer: String, place: Place, node: Node) -> Value {
        let value = match node {
            Node::Leaf(value) => value,
            Node::List(items) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    self.take(format!("{pointer}/{index}"), Place::of(&item), item.value)
                });
                Value::Array(items.collect())
            }
            Node::Object(members) => {
                let members = members.into_iter().map(|(name, member)| {
                    let escaped = name.value.replace('~', "~0").replace('/', "~1");
                    let pointer = format!("{pointer}/{escaped}");
                    self.names.insert(pointer.clone(), Place::of(&name));
                    let value = self.take(pointer, Place::of(&member), member.value);
                    (name.value, value)
                });
                Value::Object(members.collect::<Map<_, _>>())
            }
        };
        // A list or an object is where its name is.
        let is_whole = value.is_array() || value.is_object();
        let name = self.names.get(&pointer).filter(|_| is_whole).copied();
        self.values.insert(pointer, name.unwrap_or(place));
        value
    }

    /// The place of a problem; of something that is missing, where it is missing.
    fn locate(&self, problem: WrittenProblem) -> WorkflowMistake {
        let WrittenProblem { pointer, code, message, hint } = problem;
        let name = self.names.get(&pointer).filter(|_| code == "workflow.unknown_field");
        let mut known = pointer.as_str();
        let place = loop {
            if let Some(place) = name.or_else(|| self.values.get(known)) {
                break *place;
            }
            match known.rsplit_once('/') {
                Some((parent, _)) => known = parent,
                None => break Place { line: 1, column: 1 },
            }
        };
        let Place { line, column } = place;
        WorkflowMistake { line, column, pointer, code, message, hint }
    }
}

/// A part of a document, with the places of what is in it.
#[derive(Debug)]
enum Node {
    Leaf(Value),
    List(Vec<Spanned<Node>>),
    Object(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value);
        number
            .map(|number| Node::Leaf(number.into()))
            .ok_or_else(|| E::custom("a number that JSON does not have; write it as a text"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Node::Object(object))
    }
}
