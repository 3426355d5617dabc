//! Who asks, and what they may do. Every command and query takes an [`AuthorizationContext`].
//!
//! There is no `Default`: a context is built by the ingress that checked the credential.

use crate::id::TenantId;

/// What a role may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    SubmitEvent,
    ReadEvents,
    ReadDefinitions,
    WriteDefinitions,
    Execute,
    ReadExecutions,
    CancelExecution,
    ManageDeadLetters,
    /// Take the tasks of remote workers.
    WorkOnTasks,
    /// Pause and resume the tenant and its actions.
    Pause,
    ManageTenants,
    ReadMetrics,
}

/// A named set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// May do everything in every tenant.
    PlatformAdmin,
    /// May do everything inside one tenant.
    TenantAdmin,
    /// The engine itself: events that it publishes, executions that these cause, and what its
    /// schedules start.
    Engine,
}

impl Role {
    fn allows(self, permission: Permission) -> bool {
        match self {
            Self::PlatformAdmin => true,
            Self::TenantAdmin => permission != Permission::ManageTenants,
            Self::Engine => matches!(
                permission,
                Permission::SubmitEvent | Permission::Execute | Permission::WriteDefinitions
            ),
        }
    }

    fn spans_tenants(self) -> bool {
        matches!(self, Self::PlatformAdmin | Self::Engine)
    }
}

/// A caller whose credential was checked.
#[derive(Debug, Clone)]
pub struct AuthorizationContext {
    /// Who it is, for the record: `token:bootstrap`, `local:dev`, `engine`.
    pub actor: String,
    /// The tenant that the credential belongs to.
    pub tenant: TenantId,
    pub role: Role,
    /// Ties log lines, problems and answers of one request together.
    pub request_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Answered like a missing tenant, so that ids tell nothing.
    #[error("no such tenant")]
    OtherTenant,
    #[error("{actor} may not {permission:?}")]
    Role { actor: String, permission: Permission },
}

impl AuthorizationContext {
    /// Asks whether the caller may do this in that tenant.
    ///
    /// # Errors
    /// [`Forbidden::OtherTenant`] before anything about the role is said.
    pub fn require(&self, permission: Permission, tenant: TenantId) -> Result<(), Forbidden> {
        if self.tenant != tenant && !self.role.spans_tenants() {
            return Err(Forbidden::OtherTenant);
        }
        if !self.role.allows(permission) {
            return Err(Forbidden::Role { actor: self.actor.clone(), permission });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{AuthorizationContext, Forbidden, Permission, Role};
    use crate::id::TenantId;

    fn caller(role: Role) -> AuthorizationContext {
        let request_id = "r".to_owned();
        AuthorizationContext { actor: "someone".to_owned(), tenant: TenantId(7), role, request_id }
    }

    #[test]
    fn another_tenant_is_refused_before_the_role_is_looked_at() {
        let refusal = caller(Role::TenantAdmin).require(Permission::ManageTenants, TenantId(8));
        assert_eq!(refusal, Err(Forbidden::OtherTenant));
    }

    #[test]
    fn the_engine_may_not_read() {
        let refusal = caller(Role::Engine).require(Permission::ReadEvents, TenantId(7));
        assert!(matches!(refusal, Err(Forbidden::Role { .. })));
    }
}
