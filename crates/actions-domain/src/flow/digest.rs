//! A workflow's address: the hash of what it says, however it was written down.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::graph::{Edge, FlowGraph, StepName};

/// BLAKE3 of a graph's canonical form, in hexadecimal digits. Runs are pinned to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FlowDigest([u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a workflow's digest has 64 hexadecimal digits, not {raw:?}")]
pub struct FlowDigestError {
    raw: String,
}

impl FlowDigest {
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The address of code, which says nothing of itself: that of its name and version. No graph
    /// has it, for a graph is written as an object.
    pub fn of_code(name: &str, version: u32) -> Self {
        Self(*blake3::hash(format!("code {name} {version}").as_bytes()).as_bytes())
    }
}

impl fmt::Display for FlowDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TryFrom<String> for FlowDigest {
    type Error = FlowDigestError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        let hash = blake3::Hash::from_hex(&raw).map_err(|_| FlowDigestError { raw })?;
        Ok(Self(*hash.as_bytes()))
    }
}

impl From<FlowDigest> for String {
    fn from(digest: FlowDigest) -> Self {
        digest.to_string()
    }
}

impl FlowGraph {
    /// The graph with its edges in order, those of one pair of steps joined into one, and no two
    /// ways to say the same. Where guards of one pair differ, they stay as they are, for
    /// [`super::checked::Flow::check`] to complain about.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        type Ends = (StepName, StepName, Option<String>);
        let mut joined: BTreeMap<Ends, Edge> = BTreeMap::new();
        for edge in self.edges {
            let ends = (edge.from.clone(), edge.to.clone(), edge.guard.clone());
            joined
                .entry(ends)
                .and_modify(|known| known.reasons.extend(edge.reasons.iter().cloned()))
                .or_insert(edge);
        }
        self.edges = joined.into_values().collect();
        self
    }

    /// The JSON text of the normalised graph with all members in order and no white space.
    /// Stored addresses depend on it.
    pub fn canonical(&self) -> String {
        let value = serde_json::to_value(self.clone().normalised()).unwrap_or_default();
        let mut text = String::new();
        write_canonical(&value, &mut text);
        text
    }

    pub fn digest(&self) -> FlowDigest {
        FlowDigest(*blake3::hash(self.canonical().as_bytes()).as_bytes())
    }
}

/// Sorts members itself: whether a [`Value`] keeps them sorted depends on how `serde_json` was
/// built.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            text.push('{');
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}
