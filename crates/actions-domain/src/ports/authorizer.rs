//! Somebody else who may forbid what a role allows: a policy service.
//!
//! It is asked after the table of roles said yes, and can only take away.

use async_trait::async_trait;

use crate::authorization::{Permission, Role};

/// What is to be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who: `key:deployer`, `account:ada`, `user:ada`.
    pub principal: String,
    /// What it proved itself with: `api_key`, `account`, `identity_provider`.
    pub principal_kind: &'static str,
    /// The slug of the tenant that the credential belongs to.
    pub principal_tenant: String,
    pub role: Role,
    pub permission: Permission,
    /// The slug of the tenant in which it is to be done.
    pub tenant: String,
    /// `POST /v1/tenants/{tenant}/actions`. `None`: it did not come over HTTP.
    pub route: Option<String>,
    /// Of HTTP, with its parameters as handlers read them.
    pub path: Option<String>,
    pub request_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny {
        /// As the service says it, for the caller.
        reason: Option<String>,
    },
}

/// Nobody can say whether it is allowed, so it is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy service cannot be asked: {reason}")]
pub struct AuthorizerError {
    pub reason: String,
}

#[async_trait]
pub trait Authorizer: Send + Sync {
    /// # Errors
    /// Whenever there is no answer that can be read.
    async fn decide(&self, question: &Question) -> Result<Verdict, AuthorizerError>;
}
