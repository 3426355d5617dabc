//! Who asks, and what they may do. Every command and query takes an [`AuthorizationContext`].
//!
//! There is no `Default` and no literal outside of this file: each ingress has a constructor of
//! its own, which says how the credential was checked.

use std::fmt;

use crate::account::SignedIn;
use crate::api_key::ApiKey;
use crate::id::{AccountId, ApiKeyId, ExecutionId, SessionId, TenantId};
use crate::ports::identities::Identity;

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
    /// Pause and resume the tenant and its actions.
    Pause,
    ReadMetrics,
    /// Take the tasks of remote workers.
    WorkOnTasks,
    /// Create, see, rotate and revoke API keys; create, see, change and delete accounts of people,
    /// and end their sessions.
    ManageApiKeys,
    /// Read and check who did what.
    ReadAudit,
    /// Put and delete stored secrets. Nobody reads their texts.
    ManageSecrets,
    /// Create tenants, set their limits and retention, see the nodes.
    ManageTenants,
}

/// A named set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Everything, in every tenant.
    PlatformAdmin,
    /// Everything inside one tenant.
    TenantAdmin,
    /// Sees everything of a tenant and keeps it running.
    Operator,
    /// Writes definitions and tries them out.
    Developer,
    /// Reads.
    Viewer,
    /// Submits events, and cannot read back what it sent.
    IngestOnly,
    /// Takes the tasks of remote workers.
    Worker,
    /// The engine itself: events that it publishes, executions that these cause, and what its
    /// schedules start.
    Engine,
    /// The process that owns the store: a service that links the library, and whoever runs the
    /// program beside the database.
    Internal,
}

const Y: bool = true;
const N: bool = false;

/// Who may do what. `docs/security.md` shows the same table to people.
#[rustfmt::skip]
const GRANTS: [(Permission, [bool; 9]); 15] = [
    //                               platform tenant
    //                               admin    admin  operator developer viewer ingest worker engine internal
    (Permission::SubmitEvent,       [Y,       Y,     N,       Y,        N,     Y,     N,     Y,     Y]),
    (Permission::ReadEvents,        [Y,       Y,     Y,       Y,        Y,     N,     N,     N,     Y]),
    (Permission::ReadDefinitions,   [Y,       Y,     Y,       Y,        Y,     N,     N,     N,     Y]),
    (Permission::WriteDefinitions,  [Y,       Y,     N,       Y,        N,     N,     N,     Y,     Y]),
    (Permission::Execute,           [Y,       Y,     Y,       Y,        N,     N,     N,     Y,     Y]),
    (Permission::ReadExecutions,    [Y,       Y,     Y,       Y,        Y,     N,     N,     N,     Y]),
    (Permission::CancelExecution,   [Y,       Y,     Y,       N,        N,     N,     N,     N,     Y]),
    (Permission::ManageDeadLetters, [Y,       Y,     Y,       N,        N,     N,     N,     N,     Y]),
    (Permission::Pause,             [Y,       Y,     Y,       N,        N,     N,     N,     N,     Y]),
    (Permission::ReadMetrics,       [Y,       Y,     Y,       Y,        Y,     N,     N,     N,     Y]),
    (Permission::WorkOnTasks,       [Y,       Y,     N,       N,        N,     N,     Y,     N,     Y]),
    (Permission::ManageApiKeys,     [Y,       Y,     N,       N,        N,     N,     N,     N,     Y]),
    (Permission::ReadAudit,         [Y,       Y,     Y,       N,        N,     N,     N,     N,     Y]),
    (Permission::ManageSecrets,     [Y,       Y,     N,       N,        N,     N,     N,     N,     Y]),
    (Permission::ManageTenants,     [Y,       N,     N,       N,        N,     N,     N,     N,     Y]),
];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{raw:?} is no role; expected {}", Role::words().join(", "))]
pub struct UnknownRole {
    raw: String,
}

impl Role {
    /// What an API key may be. The other roles are no caller's.
    pub const OF_API_KEYS: [Self; 7] = [
        Self::PlatformAdmin,
        Self::TenantAdmin,
        Self::Operator,
        Self::Developer,
        Self::Viewer,
        Self::IngestOnly,
        Self::Worker,
    ];

    /// Reads the role of an API key.
    pub fn parse(raw: &str) -> Result<Self, UnknownRole> {
        let found = Self::OF_API_KEYS.into_iter().find(|role| role.word() == raw);
        found.ok_or_else(|| UnknownRole { raw: raw.to_owned() })
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::PlatformAdmin => "platform_admin",
            Self::TenantAdmin => "tenant_admin",
            Self::Operator => "operator",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
            Self::IngestOnly => "ingest_only",
            Self::Worker => "worker",
            Self::Engine => "engine",
            Self::Internal => "internal",
        }
    }

    pub fn words() -> [&'static str; 7] {
        Self::OF_API_KEYS.map(Self::word)
    }

    pub fn allows(self, permission: Permission) -> bool {
        GRANTS.iter().any(|(row, roles)| *row == permission && roles[self as usize])
    }

    pub fn spans_tenants(self) -> bool {
        matches!(self, Self::PlatformAdmin | Self::Engine | Self::Internal)
    }

    /// Whether whoever has this role may do all that the other one may: nobody hands out more than
    /// they have.
    pub fn covers(self, other: Self) -> bool {
        let is_granted = |row: &[bool; 9]| row[self as usize] || !row[other as usize];
        let spans = self.spans_tenants() || !other.spans_tenants();
        spans && GRANTS.iter().all(|(_, row)| is_granted(row))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Permission {
    pub const ALL: [Self; 15] = {
        let mut all = [Self::SubmitEvent; 15];
        let mut at = 0;
        while at < all.len() {
            all[at] = GRANTS[at].0;
            at += 1;
        }
        all
    };

    /// What it is called in documents and answers.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SubmitEvent => "submit events",
            Self::ReadEvents => "read events",
            Self::ReadDefinitions => "read definitions",
            Self::WriteDefinitions => "write definitions",
            Self::Execute => "run actions",
            Self::ReadExecutions => "read executions",
            Self::CancelExecution => "cancel executions",
            Self::ManageDeadLetters => "requeue and discard dead letters",
            Self::Pause => "pause and resume",
            Self::ReadMetrics => "read metrics",
            Self::WorkOnTasks => "work on tasks",
            Self::ManageApiKeys => "manage API keys and accounts",
            Self::ReadAudit => "read the audit",
            Self::ManageSecrets => "manage secrets",
            Self::ManageTenants => "manage tenants",
        }
    }
}

impl Permission {
    /// What a policy service knows it by. It is stable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubmitEvent => "submit_event",
            Self::ReadEvents => "read_events",
            Self::ReadDefinitions => "read_definitions",
            Self::WriteDefinitions => "write_definitions",
            Self::Execute => "execute",
            Self::ReadExecutions => "read_executions",
            Self::CancelExecution => "cancel_execution",
            Self::ManageDeadLetters => "manage_dead_letters",
            Self::Pause => "pause",
            Self::ReadMetrics => "read_metrics",
            Self::WorkOnTasks => "work_on_tasks",
            Self::ManageApiKeys => "manage_api_keys",
            Self::ReadAudit => "read_audit",
            Self::ManageSecrets => "manage_secrets",
            Self::ManageTenants => "manage_tenants",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// What a caller proved itself with, or why nobody asked for a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    BootstrapToken,
    ApiKey,
    Account,
    IdentityProvider,
    LocalDev,
    Stream,
    Engine,
    CommandLine,
    Library,
}

impl Principal {
    pub const fn word(self) -> &'static str {
        match self {
            Self::BootstrapToken => "bootstrap_token",
            Self::ApiKey => "api_key",
            Self::Account => "account",
            Self::IdentityProvider => "identity_provider",
            Self::LocalDev => "local_dev",
            Self::Stream => "stream",
            Self::Engine => "engine",
            Self::CommandLine => "command_line",
            Self::Library => "library",
        }
    }

    /// The way in which it came.
    pub const fn ingress(self) -> &'static str {
        match self {
            Self::BootstrapToken
            | Self::ApiKey
            | Self::Account
            | Self::IdentityProvider
            | Self::LocalDev => "http",
            Self::Stream => "stream",
            Self::Engine => "engine",
            Self::CommandLine => "command_line",
            Self::Library => "library",
        }
    }
}

/// A caller whose credential was checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuthorizationContext {
    pub principal: Principal,
    /// Who it is, for the record: `token:bootstrap`, `key:deployer`, `account:ada`, `user:ada`,
    /// `local:dev`, `engine`.
    pub actor: String,
    /// The tenant that the credential belongs to.
    pub tenant: TenantId,
    pub role: Role,
    /// Ties log lines, problems and answers of one request together.
    pub request_id: String,
    /// Of a caller that proved itself with one.
    pub api_key: Option<ApiKeyId>,
    /// Of somebody who logged in.
    pub account: Option<AccountId>,
    pub session: Option<SessionId>,
    /// Where over HTTP: the method with the pattern of the route, and the path as it was written.
    pub route: Option<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Answered like a missing tenant, so that ids tell nothing.
    #[error("no such tenant")]
    OtherTenant,
    #[error("{actor} has the role {role}, which may not {permission}")]
    Role { actor: String, role: Role, permission: Permission },
    #[error("{actor} has the role {role}, which may not hand out or take back {other}")]
    Rank { actor: String, role: Role, other: Role },
    /// It held when the request came.
    #[error("{actor} holds no more")]
    Ended { actor: String },
    /// The role would allow it.
    #[error("the policy service forbids {actor} to {permission}{}", because(reason.as_deref()))]
    Policy { actor: String, permission: Permission, reason: Option<String> },
    /// Nobody can say whether it is allowed.
    #[error("the policy service does not answer, so nothing is allowed")]
    PolicyUnavailable,
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl AuthorizationContext {
    /// An HTTP request with the bootstrap token.
    pub fn of_bootstrap_token(request_id: impl Into<String>) -> Self {
        Self::new(
            Principal::BootstrapToken,
            "token:bootstrap",
            TenantId::ADMIN,
            Role::PlatformAdmin,
            request_id,
        )
    }

    /// An HTTP request with a token of this API key, which holds at this moment.
    pub fn of_api_key(key: &ApiKey, request_id: impl Into<String>) -> Self {
        let actor = format!("key:{}", key.name);
        Self {
            api_key: Some(key.id),
            ..Self::new(Principal::ApiKey, actor, key.tenant, key.role, request_id)
        }
    }

    /// An HTTP request with a token of this session, which holds at this moment.
    pub fn of_session(signed_in: &SignedIn, request_id: impl Into<String>) -> Self {
        let SignedIn { account, session } = signed_in;
        let actor = format!("account:{}", account.name);
        Self {
            account: Some(account.id),
            session: Some(session.id),
            ..Self::new(Principal::Account, actor, account.tenant, account.role, request_id)
        }
    }

    /// An HTTP request with a token of the identity provider, which holds at this moment, and whose
    /// tenant this is. `None`: a role over all tenants is none of this tenant's.
    pub fn of_identity(
        identity: &Identity,
        tenant: TenantId,
        request_id: impl Into<String>,
    ) -> Option<Self> {
        let actor = format!("user:{}", identity.subject);
        let is_fitting = !identity.role.spans_tenants() || tenant == TenantId::ADMIN;
        let by = Principal::IdentityProvider;
        is_fitting.then(|| Self::new(by, actor, tenant, identity.role, request_id))
    }

    /// An HTTP request from this machine to a server for development.
    pub fn of_local_dev(request_id: impl Into<String>) -> Self {
        Self::new(
            Principal::LocalDev,
            "local:dev",
            TenantId::ADMIN,
            Role::PlatformAdmin,
            request_id,
        )
    }

    /// An entry of a stream. Who may write into it may submit events to any tenant, and nothing
    /// else; the entry names the tenant.
    pub fn of_stream(name: &str, tenant: TenantId, request_id: impl Into<String>) -> Self {
        Self::new(Principal::Stream, format!("stream:{name}"), tenant, Role::IngestOnly, request_id)
    }

    /// What schedules start at their times.
    pub fn of_schedules() -> Self {
        Self::new(Principal::Engine, "engine", TenantId::ADMIN, Role::Engine, "schedules")
    }

    /// What a running execution does to its own tenant.
    pub fn of_execution(
        source: impl Into<String>,
        tenant: TenantId,
        execution: ExecutionId,
    ) -> Self {
        Self::new(Principal::Engine, source, tenant, Role::Engine, execution.to_string())
    }

    /// Whoever runs this program on the store's own machine.
    pub fn of_command_line(tenant: TenantId, request_id: impl Into<String>) -> Self {
        Self::new(Principal::CommandLine, "local:operator", tenant, Role::Internal, request_id)
    }

    /// The service that links the library: it acts for its own process, which owns the store.
    pub fn of_library(
        source: impl Into<String>,
        tenant: TenantId,
        request_id: impl Into<String>,
    ) -> Self {
        Self::new(Principal::Library, source, tenant, Role::Internal, request_id)
    }

    /// What the engine does by itself.
    pub fn of_engine(tenant: TenantId, request_id: impl Into<String>) -> Self {
        Self::new(Principal::Engine, "engine", tenant, Role::Engine, request_id)
    }

    fn new(
        principal: Principal,
        actor: impl Into<String>,
        tenant: TenantId,
        role: Role,
        request_id: impl Into<String>,
    ) -> Self {
        let (actor, request_id) = (actor.into(), request_id.into());
        let (api_key, account, session, route) = (None, None, None, None);
        Self { principal, actor, tenant, role, request_id, api_key, account, session, route }
    }

    /// The same caller at a route, for whoever judges by that.
    #[must_use]
    pub fn at(self, route: impl Into<String>, path: impl Into<String>) -> Self {
        Self { route: Some((route.into(), path.into())), ..self }
    }

    /// Whether the caller may know that this tenant is there.
    pub fn may_enter(&self, tenant: TenantId) -> bool {
        self.tenant == tenant || self.role.spans_tenants()
    }

    /// Asks whether the caller may do this in that tenant.
    ///
    /// # Errors
    /// [`Forbidden::OtherTenant`] before anything about the role is said.
    pub fn require(&self, permission: Permission, tenant: TenantId) -> Result<(), Forbidden> {
        if !self.may_enter(tenant) {
            return Err(Forbidden::OtherTenant);
        }
        if !self.role.allows(permission) {
            return Err(Forbidden::Role { actor: self.actor.clone(), role: self.role, permission });
        }
        Ok(())
    }

    /// Asks whether the caller may hand out or take back this role, to an API key or an account.
    ///
    /// # Errors
    /// As [`AuthorizationContext::require`], and [`Forbidden::Rank`] for more than they have.
    pub fn require_rank(&self, other: Role, tenant: TenantId) -> Result<(), Forbidden> {
        self.require(Permission::ManageApiKeys, tenant)?;
        if !self.role.covers(other) {
            return Err(Forbidden::Rank { actor: self.actor.clone(), role: self.role, other });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
