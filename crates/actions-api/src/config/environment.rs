//! The process's environment, read once.

use std::collections::BTreeMap;

/// Variables that are valid text, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads all variables. Those that are not UTF-8 cannot be ours.
    pub(crate) fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables }
    }

    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        let own = |text: &&str| (*text).to_owned();
        let variables = pairs.iter().map(|(name, value)| (own(name), own(value))).collect();
        Self { variables }
    }

    /// A variable that is set and not empty: an empty one means "not set", as scripts use it.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
