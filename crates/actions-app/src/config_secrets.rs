//! Puts secrets into an action's config, for one attempt.

use std::collections::{BTreeSet, HashMap};

use actions_domain::execution::{Fault, Outcome};
use actions_domain::id::TenantId;
use actions_domain::ports::handler::{CallConfig, Descriptor, FieldNote, KEEPS_CONFIG};
use actions_domain::ports::store::StoreError;
use actions_domain::ports::vault::VaultError;
use actions_domain::secret::{
    MalformedReference, Piece, SecretReference, SecretText, pieces, references,
};
use metrics::counter;
use serde_json::Value;

use crate::app::App;
use crate::secret_ring::Missing;
use crate::secrets;

/// Why an attempt does not get its config.
pub(crate) struct Refused {
    pub(crate) fault: Fault,
    /// What has to be stored or corrected first ends the execution for good; what another node or
    /// a later try may have does not.
    is_final: bool,
}

impl Refused {
    pub(crate) fn outcome(self) -> Outcome {
        if self.is_final { Outcome::Reject(self.fault) } else { Outcome::Retry(self.fault) }
    }
}

/// The config with its secrets in place.
///
/// # Errors
/// The outer one when the store does not answer, which says nothing about the secrets.
pub(crate) async fn resolve(
    app: &App,
    tenant: TenantId,
    descriptor: &Descriptor,
    config: &Value,
) -> Result<Result<CallConfig, Refused>, StoreError> {
    let named = references(config);
    if named.is_empty() {
        return Ok(Ok(config.clone().into()));
    }
    if descriptor.capabilities.contains(&KEEPS_CONFIG) {
        return Ok(Err(refused(keeps_config(descriptor))));
    }
    let mut wanted = BTreeSet::new();
    for (pointer, found) in named {
        match found {
            Ok(found) => wanted.extend(found),
            Err(error) => return Ok(Err(refused(format!("/config{pointer}: {error}")))),
        }
    }
    let wanted: Vec<_> = wanted.into_iter().collect();
    let mut known = HashMap::new();
    for (reference, found) in wanted.iter().zip(app.secrets.find(tenant, &wanted).await?) {
        match found {
            Ok(text) => {
                known.insert(reference.clone(), text);
            }
            // Most of the time there is none, and who asks for it knows.
            Err(Missing::NoPrevious { .. }) => {}
            Err(missing) => return Ok(Err(missed(&missing))),
        }
    }
    let templates = secrets::template_places(&descriptor.config_schema, config);
    let mut filled = config.clone();
    let mut fill = Fill { known: &known, templates: &templates, pointer: String::new() };
    // From here on the tree holds secrets: it is wiped whatever happens.
    let outcome = fill.value(&mut filled);
    let config = CallConfig::new(filled, known.clone().into_iter().collect());
    Ok(match outcome {
        Ok(_) => Ok(config),
        Err(missing) => Err(missed(&missing)),
    })
}

/// What a handler that writes its config down may not be given.
pub(crate) fn keeps_config(descriptor: &Descriptor) -> String {
    format!(
        "{} writes its config where others read it, so secrets cannot be used in it; let the one who works with it have its own",
        descriptor.id
    )
}

struct Fill<'a> {
    known: &'a HashMap<SecretReference, SecretText>,
    /// Pointers of templates, which find secrets among their variables.
    templates: &'a BTreeSet<String>,
    pointer: String,
}

/// What becomes of a member.
#[derive(PartialEq)]
enum Fate {
    Stays,
    /// It is nothing but a previous version that there is none of: as if it were not there.
    Goes,
}

impl Fill<'_> {
    fn value(&mut self, value: &mut Value) -> Result<Fate, Missing> {
        match value {
            Value::String(text) => {
                if self.templates.contains(&self.pointer) {
                    return Ok(Fate::Stays);
                }
                let Ok(parts) = pieces(text) else { return Ok(Fate::Stays) };
                if let [Piece::Secret(only)] = parts.as_slice()
                    && only.is_previous
                    && !self.known.contains_key(only)
                {
                    return Ok(Fate::Goes);
                }
                if parts.iter().any(|part| matches!(part, Piece::Secret(_))) {
                    *text = self.joined(&parts)?;
                }
            }
            Value::Array(items) => {
                let (length, mut index, mut gone) = (self.pointer.len(), 0, Vec::new());
                for item in items.iter_mut() {
                    self.pointer.push_str(&format!("/{index}"));
                    if self.value(item)? == Fate::Goes {
                        gone.push(index);
                    }
                    self.pointer.truncate(length);
                    index += 1;
                }
                for index in gone.into_iter().rev() {
                    items.remove(index);
                }
            }
            Value::Object(members) => {
                let (length, mut gone) = (self.pointer.len(), Vec::new());
                for (name, member) in members.iter_mut() {
                    self.pointer.push('/');
                    self.pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    if self.value(member)? == Fate::Goes {
                        gone.push(name.clone());
                    }
                    self.pointer.truncate(length);
                }
                for name in gone {
                    members.remove(&name);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(Fate::Stays)
    }

    fn joined(&self, parts: &[Piece<'_>]) -> Result<String, Missing> {
        // Its size first: a text that grows leaves copies behind that nobody wipes.
        let mut found = Vec::with_capacity(parts.len());
        for part in parts {
            found.push(match part {
                Piece::Text(text) => *text,
                Piece::Secret(secret) => {
                    let missing = || Missing::NoPrevious { name: secret.name.clone() };
                    self.known.get(secret).ok_or_else(missing)?.expose()
                }
            });
        }
        Ok(found.concat())
    }
}

fn refused(message: String) -> Refused {
    Refused { fault: Fault::handler("config.invalid", message), is_final: true }
}

fn missed(missing: &Missing) -> Refused {
    let message = missing.to_string();
    let (reason, fault, is_final) = match missing {
        Missing::NotFound { .. } | Missing::NoPrevious { .. } => {
            ("not_found", Fault::handler("secret.not_found", message), true)
        }
        Missing::Closed { error: VaultError::Damaged, .. } => {
            ("damaged", Fault::system("secret.damaged", message), true)
        }
        // Another node may have the key, or this one after its next start.
        Missing::Closed { error: VaultError::NoKey | VaultError::UnknownKey { .. }, .. } => {
            ("key_missing", Fault::system("secret.key_missing", message), false)
        }
        Missing::Closed { error: VaultError::Unavailable { .. }, .. } => {
            ("unavailable", Fault::system("secret.unavailable", message), false)
        }
    };
    counter!("actions_secret_refusals_total", "reason" => reason).increment(1);
    Refused { fault, is_final }
}

/// Finds what is doubtful about the secrets that these configs name: those that do not exist.
/// They may be stored later, so it is no error. Each config comes with its place.
pub async fn missing_secrets(
    app: &App,
    tenant: TenantId,
    configs: impl IntoIterator<Item = (String, &Value)>,
) -> Result<Vec<FieldNote>, StoreError> {
    let mut named: Vec<(String, SecretReference)> = Vec::new();
    for (place, config) in configs {
        for (pointer, found) in references(config) {
            let found: Result<_, MalformedReference> = found;
            let found = found.unwrap_or_default().into_iter();
            named.extend(found.map(|secret| (format!("{place}{pointer}"), secret)));
        }
    }
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let stored = app.ports.secrets.secrets(tenant).await?;
    let has_key = !app.ports.vault.master_keys().is_empty();
    let note = |(pointer, SecretReference { name, .. }): (String, SecretReference)| {
        if !stored.iter().any(|secret| secret.name == name) {
            let message = format!(
                "there is no secret {name} yet; executions fail until it is stored: actions secret put {name}"
            );
            return Some(FieldNote::new(pointer, message));
        }
        let message =
            "this server has no master key (ACTIONS_MASTER_KEY), so it cannot open secrets";
        (!has_key).then(|| FieldNote::new(pointer, message))
    };
    Ok(named.into_iter().filter_map(note).collect())
}
