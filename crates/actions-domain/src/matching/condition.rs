//! Conditions on an event, as they were written: JSON operators, CEL, or the older list form.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A condition as it was written. The default holds always.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Condition(pub Value);
