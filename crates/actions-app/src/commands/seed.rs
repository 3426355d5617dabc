//! Puts the platform's own actions into a fresh installation. Repeating it changes nothing, and
//! what a person changed since stays as it is.

use actions_domain::authorization::AuthorizationContext;
use actions_domain::id::TenantId;
use actions_domain::ports::definitions::Expected;

use crate::app::App;
use crate::commands::apply_definitions::{ApplyDefinitionsError, DefinitionSet, check_definitions};
use crate::commands::save_action::{SaveAction, current_definitions, save_action};

/// What became of one seeded action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeded {
    pub name: String,
    /// It was not there before.
    pub created: bool,
}

/// Creates those of the set's actions that the tenant `admin` does not have.
pub async fn seed(
    app: &App,
    caller: &AuthorizationContext,
    set: &DefinitionSet,
) -> Result<Vec<Seeded>, ApplyDefinitionsError> {
    let tenant = TenantId::ADMIN;
    let definitions =
        current_definitions(app, tenant).await?.ok_or(ApplyDefinitionsError::UnknownTenant)?;
    let findings = check_definitions(app, caller, tenant, set).await?;
    if !findings.errors.is_empty() {
        return Err(ApplyDefinitionsError::Invalid(findings.errors));
    }
    let mut seeded = Vec::with_capacity(set.actions.len());
    for entry in &set.actions {
        let name = entry.action.name.to_string();
        let created = definitions.action_named(&name).is_none();
        if created {
            let spec = entry.action.clone();
            let request = SaveAction { tenant, spec, expected: Expected::Absent };
            save_action(app, caller, request).await?;
        }
        seeded.push(Seeded { name, created });
    }
    Ok(seeded)
}
