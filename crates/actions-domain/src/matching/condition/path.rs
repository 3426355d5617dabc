//! Places inside an event's data.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::limits::JSON_DEPTH_MAX;

/// Deeper data is not accepted, so longer paths lead nowhere.
pub(super) const NAMES_MAX: usize = JSON_DEPTH_MAX;

/// Names that lead into the data one after the other: `customer.address.city`, `items.0.sku`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Arc<[Box<str>]>);

impl Path {
    /// Parses names joined by dots. `None` when one is empty or there are too many.
    pub fn parse(raw: &str) -> Option<Self> {
        Self::from_names(raw.split('.'))
    }

    /// Takes names that may hold dots themselves.
    pub fn from_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<Self> {
        let names: Arc<[Box<str>]> = names.into_iter().map(Box::from).collect();
        let is_sound = (1..=NAMES_MAX).contains(&names.len());
        (is_sound && names.iter().all(|name| !name.is_empty())).then_some(Self(names))
    }

    /// Finds the value at this place. A number leads into a list.
    pub fn find<'v>(&self, data: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(data, |value, name| match value {
            Value::Object(members) => members.get(&**name),
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }

    /// Finds the value at this place, through objects alone.
    pub fn find_in_objects<'v>(&self, data: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(data, |value, name| value.as_object()?.get(&**name))
    }

    /// Finds the object that has, or could have, the last name as a member.
    pub fn find_parent<'v>(&self, data: &'v Value) -> Option<&'v serde_json::Map<String, Value>> {
        let names = &self.0[..self.0.len() - 1];
        let parent = names.iter().try_fold(data, |value, name| value.as_object()?.get(&**name));
        parent?.as_object()
    }

    pub fn last_name(&self) -> &str {
        self.0.last().map_or("", |name| name)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data")?;
        self.0.iter().try_for_each(|name| write!(f, ".{name}"))
    }
}
