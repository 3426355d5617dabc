//! The code that a process can follow.

use std::collections::BTreeMap;

use super::Orchestration;
use crate::action::ActionName;
use crate::flow::digest::FlowDigest;

/// Orchestrations by name and version. Versions stay beside one another as long as runs follow
/// them.
#[derive(Debug, Clone, Default)]
pub struct Orchestrations {
    by_name: BTreeMap<ActionName, BTreeMap<u32, Orchestration>>,
    names: BTreeMap<FlowDigest, (ActionName, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is version {version} of {name} already; give what is new another version")]
pub struct RegistrationError {
    name: ActionName,
    version: u32,
}

impl Orchestrations {
    /// # Errors
    /// The name has this version already.
    pub fn register(&mut self, orchestration: Orchestration) -> Result<(), RegistrationError> {
        let (name, version) = (orchestration.name().clone(), orchestration.version());
        let versions = self.by_name.entry(name.clone()).or_default();
        if versions.contains_key(&version) {
            return Err(RegistrationError { name, version });
        }
        self.names.insert(orchestration.digest(), (name, version));
        versions.insert(version, orchestration);
        Ok(())
    }

    /// What new runs of this name follow.
    pub fn latest(&self, name: &str) -> Option<&Orchestration> {
        let name = ActionName::parse(name).ok()?;
        self.by_name.get(&name)?.last_key_value().map(|(_, latest)| latest)
    }

    /// What a run follows that is pinned to this digest.
    pub fn find(&self, digest: FlowDigest) -> Option<&Orchestration> {
        let (name, version) = self.names.get(&digest)?;
        self.by_name.get(name)?.get(version)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Orchestration> {
        self.by_name.values().flat_map(BTreeMap::values)
    }
}
