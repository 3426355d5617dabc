//! The engine, as a struct of what it stands on.

use std::sync::Arc;

use actions_domain::audit::{Act, ActKind};
use actions_domain::authorization::{AuthorizationContext, Forbidden, Permission, Role};
use actions_domain::flow::expression::Expressions;
use actions_domain::id::{ExecutionId, RunId, TenantId};
use actions_domain::ports::accounts::Accounts;
use actions_domain::ports::api_keys::ApiKeys;
use actions_domain::ports::audit::Audit;
use actions_domain::ports::authorizer::{Authorizer, Question, Verdict};
use actions_domain::ports::bulks::Bulks;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::definitions::Definitions;
use actions_domain::ports::deletions::Deletions;
use actions_domain::ports::dice::Dice;
use actions_domain::ports::hints::{Hint, Hints};
use actions_domain::ports::history::History;
use actions_domain::ports::leases::Leases;
use actions_domain::ports::matcher::MatcherFactory;
use actions_domain::ports::passwords::Passwords;
use actions_domain::ports::permits::Permits;
use actions_domain::ports::pull_queue::PullQueue;
use actions_domain::ports::runs::Runs;
use actions_domain::ports::schedules::Schedules;
use actions_domain::ports::schemas::Schemas;
use actions_domain::ports::secrets::Secrets;
use actions_domain::ports::store::{Store, StoreError};
use actions_domain::ports::traces::Traces;
use actions_domain::ports::usages::Usages;
use actions_domain::ports::vault::Vault;
use actions_domain::work::Part;

use tokio::sync::Notify;

use crate::api_key_ring::ApiKeyRing;
use crate::catalogue::Catalogue;
use crate::completions::Completions;
use crate::guess_counter::GuessCounter;
use crate::handlers::Handlers;
use crate::hints::Teller;
use crate::ingress::Ingress;
use crate::node::live::Live;
use crate::questions::Questions;
use crate::quotas::usage_book::UsageBook;
use crate::quotas::{Keeper, ProcessLayers, Quotas};
use crate::secret_ring::SecretRing;
use crate::workflow_handler::WorkflowHandler;
use crate::workflows::Workflows;

/// What the outside world gives the engine.
pub struct Ports {
    pub clock: Arc<dyn Clock>,
    pub dice: Arc<dyn Dice>,
    pub store: Arc<dyn Store>,
    pub leases: Arc<dyn Leases>,
    pub permits: Arc<dyn Permits>,
    pub definitions: Arc<dyn Definitions>,
    pub history: Arc<dyn History>,
    pub matchers: Arc<dyn MatcherFactory>,
    pub schemas: Arc<dyn Schemas>,
    pub hints: Arc<dyn Hints>,
    pub schedules: Arc<dyn Schedules>,
    /// `None`: nobody keeps traces.
    pub traces: Option<Arc<dyn Traces>>,
    pub pull_queue: Arc<dyn PullQueue>,
    pub bulks: Arc<dyn Bulks>,
    pub api_keys: Arc<dyn ApiKeys>,
    pub accounts: Arc<dyn Accounts>,
    pub passwords: Arc<dyn Passwords>,
    /// `None`: roles alone decide.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    pub audit: Arc<dyn Audit>,
    pub secrets: Arc<dyn Secrets>,
    pub deletions: Arc<dyn Deletions>,
    pub vault: Arc<dyn Vault>,
    pub usages: Arc<dyn Usages>,
    pub runs: Arc<dyn Runs>,
    /// What evaluates the texts of workflows.
    pub expressions: Arc<dyn Expressions>,
}

/// Everything a command or a query needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub ports: Arc<Ports>,
    pub handlers: Arc<Handlers>,
    /// The definitions of all tenants, in memory.
    pub catalogue: Arc<Catalogue>,
    /// The way in for new work.
    pub ingress: Ingress,
    /// The way to tell other processes where to look.
    pub hints: Teller,
    /// Who asks other processes what an execution waits for.
    pub questions: Arc<Questions>,
    /// Who waits for which execution.
    pub completions: Arc<Completions<ExecutionId>>,
    /// Who waits for the end of which run.
    pub run_ends: Arc<Completions<RunId>>,
    pub workflows: Arc<Workflows>,
    /// What runs on this node right now.
    pub live: Arc<Live>,
    /// Tells the node here that somebody changed a schedule. A hint: it looks by itself, too.
    pub schedules_changed: Arc<Notify>,
    /// The same of bulks.
    pub bulks_changed: Arc<Notify>,
    /// The same of runs that were told something.
    pub runs_told: Arc<Notify>,
    /// The same of tenants that are deleted.
    pub deletions_begun: Arc<Notify>,
    /// Who is let in by an API key or a session.
    pub api_keys: Arc<ApiKeyRing>,
    /// Who guesses at tokens and passwords.
    pub guesses: Arc<GuessCounter>,
    /// What configs name and attempts are given.
    pub secrets: Arc<SecretRing>,
    /// What tenants may use, and who is refused.
    pub quotas: Arc<Quotas>,
}

impl App {
    /// Puts the engine together and starts its way in. Work is accepted from now on; it runs
    /// once [`crate::node::start`] was called, here or in another process.
    ///
    /// # Errors
    /// When the store cannot say how many partitions there are: without that, nobody knows where
    /// a key belongs.
    pub async fn start(ports: Ports, handlers: Arc<Handlers>) -> Result<Self, StoreError> {
        Self::start_with(ports, handlers, ProcessLayers::default()).await
    }

    /// The same, where the process says what tenants may use.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_with(
        ports: Ports,
        handlers: Arc<Handlers>,
        layers: ProcessLayers,
    ) -> Result<Self, StoreError> {
        let ports = Arc::new(ports);
        let part_count = ports.leases.part_count().await?;
        let hints = Teller::start(&ports);
        let (definitions, matchers) = (ports.definitions.clone(), ports.matchers.clone());
        let catalogue = Arc::new(Catalogue::new(definitions, matchers, hints.clone()));
        let live = Arc::new(Live::new(part_count));
        let book = Arc::new(UsageBook::default());
        let ingress = Ingress::start(ports.clone(), live.clone(), hints.clone(), book.clone());
        let quotas = Arc::new(Quotas::new(layers, catalogue.clone(), ports.clone(), book));
        Keeper { catalogue: catalogue.clone(), live: live.clone() }.start(&quotas);
        let completions = Arc::new(Completions::default());
        let (keys, accounts) = (ports.api_keys.clone(), ports.accounts.clone());
        let api_keys = Arc::new(ApiKeyRing::new(keys, accounts, ports.clock.clone()));
        let guesses = Arc::new(GuessCounter::new(ports.clock.clone(), ports.audit.clone()));
        let (store, vault) = (ports.secrets.clone(), ports.vault.clone());
        let secrets = Arc::new(SecretRing::new(store, vault, ports.clock.clone()));
        let workflows = Arc::new(Workflows::new(ports.expressions.clone()));
        handlers.register(Arc::new(WorkflowHandler::new(workflows.clone())));
        let (schedules_changed, bulks_changed, deletions_begun) =
            (Arc::default(), Arc::default(), Arc::default());
        Ok(Self {
            ports,
            handlers,
            catalogue,
            ingress,
            hints,
            questions: Arc::default(),
            completions,
            run_ends: Arc::default(),
            workflows,
            live,
            schedules_changed,
            bulks_changed,
            runs_told: Arc::default(),
            deletions_begun,
            api_keys,
            guesses,
            secrets,
            quotas,
        })
    }

    /// Asks whether a caller may do this in that tenant: the table of roles, and then whoever else may
    /// forbid it. Every command and query asks here first.
    ///
    /// # Errors
    /// As [`AuthorizationContext::require`]; [`Forbidden::Policy`], and
    /// [`Forbidden::PolicyUnavailable`] where nobody can say.
    pub async fn require(
        &self,
        caller: &AuthorizationContext,
        permission: Permission,
        tenant: TenantId,
    ) -> Result<(), Forbidden> {
        caller.require(permission, tenant)?;
        self.consult(caller, permission, tenant).await
    }

    /// Asks whether a caller may hand out or take back this role.
    ///
    /// # Errors
    /// As [`App::require`], and [`Forbidden::Rank`] for more than they have.
    pub async fn require_rank(
        &self,
        caller: &AuthorizationContext,
        other: Role,
        tenant: TenantId,
    ) -> Result<(), Forbidden> {
        caller.require_rank(other, tenant)?;
        self.consult(caller, Permission::ManageApiKeys, tenant).await
    }

    async fn consult(
        &self,
        caller: &AuthorizationContext,
        permission: Permission,
        tenant: TenantId,
    ) -> Result<(), Forbidden> {
        let Some(authorizer) = &self.ports.authorizer else { return Ok(()) };
        // What runs by itself was allowed when somebody asked for it.
        if caller.role == Role::Engine {
            return Ok(());
        }
        let slug = |tenant: TenantId| {
            let known = self.catalogue.find(tenant);
            known.map_or_else(|| tenant.to_string(), |known| known.tenant.slug.to_string())
        };
        let question = Question {
            principal: caller.actor.clone(),
            principal_kind: caller.principal.word(),
            principal_tenant: slug(caller.tenant),
            role: caller.role,
            permission,
            tenant: slug(tenant),
            route: caller.route.as_ref().map(|(route, _)| route.clone()),
            path: caller.route.as_ref().map(|(_, path)| path.clone()),
            request_id: caller.request_id.clone(),
        };
        match authorizer.decide(&question).await {
            Ok(Verdict::Allow) => Ok(()),
            Ok(Verdict::Deny { reason }) => {
                Err(Forbidden::Policy { actor: caller.actor.clone(), permission, reason })
            }
            Err(_) => Err(Forbidden::PolicyUnavailable),
        }
    }

    /// Tells the owners of these partitions that runs were told something. Hints only.
    pub(crate) fn tell_of_runs(&self, parts: impl IntoIterator<Item = Part>) {
        let own = self.live.parts();
        for part in parts {
            if own.contains(&part) {
                self.runs_told.notify_one();
            } else {
                self.hints.tell(Hint::Runs(part));
            }
        }
    }

    /// What a caller does now, for the audit.
    pub(crate) fn act(
        &self,
        caller: &AuthorizationContext,
        tenant: TenantId,
        kind: ActKind,
        subject: impl Into<String>,
    ) -> Act {
        Act::new(caller, tenant, self.ports.clock.now(), kind, subject)
    }
}
