//! The definitions of all tenants in memory, compiled for matching.
//!
//! What is here may be behind the store. That does no harm: work is accepted together with the
//! definitions' version it was matched with, and refused when that is old.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use actions_domain::action::Action;
use actions_domain::event::Event;
use actions_domain::id::{ActionId, SubscriptionId, TenantId};
use actions_domain::matching::explanation::{Explanation, Match};
use actions_domain::ports::definitions::{Changes, Definitions};
use actions_domain::ports::hints::Hint;
use actions_domain::ports::matcher::{Matcher, MatcherFactory};
use actions_domain::ports::store::StoreError;
use actions_domain::subscription::Subscription;
use actions_domain::tenant::{Controls, Tenant};
use tokio::sync::Mutex;
use tracing::warn;

use crate::hints::Teller;

/// First words of events that the engine publishes.
const ENGINE_WORDS: [&str; 2] = ["actions.", "executions."];

/// Old versions of actions that executions in flight still run with.
const PINNED_MAX: usize = 1_024;

pub struct Catalogue {
    definitions: Arc<dyn Definitions>,
    matchers: Arc<dyn MatcherFactory>,
    tenants: RwLock<HashMap<TenantId, Arc<TenantDefinitions>>>,
    pinned: RwLock<HashMap<(ActionId, i64), Arc<Action>>>,
    changes: Arc<AtomicU64>,
    hints: Teller,
}

/// One tenant's definitions at one version, replaced piece by piece.
pub struct TenantDefinitions {
    pub tenant: Tenant,
    state: RwLock<State>,
    /// One refresh at a time; readers never wait for the store.
    refresh: Mutex<()>,
    changes: Arc<AtomicU64>,
    /// The last version that could not be read.
    failed_at: AtomicI64,
}

struct State {
    version: i64,
    actions: HashMap<ActionId, Arc<Action>>,
    names: HashMap<String, ActionId>,
    subscriptions: HashMap<SubscriptionId, Arc<Subscription>>,
    /// Those that have rates.
    rated: HashSet<SubscriptionId>,
    controls: Arc<Controls>,
    matcher: Box<dyn Matcher>,
    /// Actions that want to hear of the engine's own events.
    listens_to_engine: HashSet<ActionId>,
}

/// What an event leads to, with all that is needed to accept it.
pub struct Matched {
    /// The definitions' version of the match.
    pub defs: i64,
    pub actions: Vec<(Match, Arc<Action>)>,
    /// The subscriptions of these matches that have rates.
    pub rated: Vec<SubscriptionId>,
}

impl Catalogue {
    pub fn new(
        definitions: Arc<dyn Definitions>,
        matchers: Arc<dyn MatcherFactory>,
        hints: Teller,
    ) -> Self {
        let (tenants, pinned) = (RwLock::default(), RwLock::default());
        Self { definitions, matchers, tenants, pinned, changes: Arc::default(), hints }
    }

    /// Reads every tenant's changes since the versions that are here. A tenant whose changes
    /// cannot be read keeps what is here and stops nobody else.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn refresh_all(&self) -> Result<(), StoreError> {
        // One that is created while the list is on its way is not missing from it.
        let known_before: Vec<TenantId> = self.read().keys().copied().collect();
        let tenants = self.definitions.tenants().await?;
        let there: HashSet<TenantId> = tenants.iter().map(|tenant| tenant.id).collect();
        for gone in known_before.into_iter().filter(|id| !there.contains(id)) {
            self.forget(gone);
        }
        let mut failed = None;
        for tenant in tenants {
            let known = self.adopt(&tenant);
            if known.version() >= tenant.defs_version {
                continue;
            }
            match known.refresh(self.definitions.as_ref(), tenant.defs_version).await {
                Ok(()) => failed = None,
                // One failure may be the tenant's, two in a row are the store's.
                Err(error @ StoreError::Unavailable { .. }) if failed.is_some() => {
                    return Err(error);
                }
                Err(error) => {
                    known.tell_failure(tenant.defs_version, &error);
                    failed =
                        Some(error).filter(|error| matches!(error, StoreError::Unavailable { .. }));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Reads one tenant's changes until at least version `wanted` is here, and tells others
    /// that there is something new.
    pub async fn refresh(&self, tenant: TenantId, wanted: i64) -> Result<(), StoreError> {
        let before = self.find(tenant).map(|known| known.version());
        self.catch_up(tenant, wanted).await?;
        let now = self.find(tenant).map(|known| known.version());
        if let Some(version) = now.filter(|_| now != before) {
            self.hints.tell(Hint::Definitions(tenant, version));
        }
        Ok(())
    }

    /// The same, when somebody else told.
    pub(crate) async fn catch_up(&self, tenant: TenantId, wanted: i64) -> Result<(), StoreError> {
        match self.find(tenant) {
            Some(known) => known.refresh(self.definitions.as_ref(), wanted).await,
            None => self.refresh_all().await,
        }
    }

    /// Reads one tenant's changes up to now.
    pub async fn refresh_tenant(&self, tenant: TenantId) -> Result<(), StoreError> {
        match self.find(tenant) {
            // Whatever the version is by now.
            Some(_) => self.refresh(tenant, i64::MAX).await,
            None => self.refresh_all().await,
        }
    }

    pub fn find(&self, tenant: TenantId) -> Option<Arc<TenantDefinitions>> {
        self.read().get(&tenant).cloned()
    }

    /// Grows whenever some tenant's definitions have changed here.
    pub fn change_count(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Finds a tenant by its slug or its founding uuid.
    pub fn find_named(&self, name: &str) -> Option<Arc<TenantDefinitions>> {
        self.read().values().find(|known| known.is_called(name)).cloned()
    }

    /// Finds a tenant by the name of its schema.
    pub fn find_schema(&self, schema: &str) -> Option<Arc<TenantDefinitions>> {
        let slug = schema.strip_prefix("tenant_").unwrap_or(schema);
        let found = self.read().values().find(|known| known.tenant.slug.as_str() == slug).cloned();
        found.filter(|known| known.tenant.slug.schema() == schema)
    }

    /// All tenants, by number.
    pub fn list(&self) -> Vec<Arc<TenantDefinitions>> {
        let mut tenants: Vec<_> = self.read().values().cloned().collect();
        tenants.sort_by_key(|known| known.tenant.id);
        tenants
    }

    /// Makes a tenant known that was just created or read.
    pub fn adopt(&self, tenant: &Tenant) -> Arc<TenantDefinitions> {
        if let Some(known) = self.find(tenant.id) {
            return known;
        }
        let state = State {
            version: 0,
            actions: HashMap::new(),
            names: HashMap::new(),
            subscriptions: HashMap::new(),
            rated: HashSet::new(),
            controls: Arc::default(),
            matcher: self.matchers.empty(tenant),
            listens_to_engine: HashSet::new(),
        };
        let fresh = Arc::new(TenantDefinitions {
            tenant: tenant.clone(),
            state: RwLock::new(state),
            refresh: Mutex::new(()),
            changes: self.changes.clone(),
            failed_at: AtomicI64::new(0),
        });
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.entry(tenant.id).or_insert(fresh).clone()
    }

    /// Makes a tenant unknown that is gone for good.
    pub fn forget(&self, tenant: TenantId) {
        let gone = self.tenants.write().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
        if gone.is_some() {
            let mut pinned = self.pinned.write().unwrap_or_else(PoisonError::into_inner);
            pinned.retain(|_, action| action.tenant != tenant);
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// The action that an execution runs with: as it was when the execution was accepted.
    pub async fn pinned_action(
        &self,
        tenant: TenantId,
        action: ActionId,
        defs: i64,
    ) -> Result<Option<Arc<Action>>, StoreError> {
        // What is here says nothing of an edit that is not here yet.
        let known = self.find(tenant).filter(|known| known.version() >= defs);
        let current = known.and_then(|known| known.action(action));
        if let Some(current) = current.filter(|current| current.version <= defs) {
            return Ok(Some(current));
        }
        let key = (action, defs);
        if let Some(pinned) =
            self.pinned.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
        {
            return Ok(Some(pinned));
        }
        let Some(found) = self.definitions.action_at(action, defs).await? else {
            return Ok(None);
        };
        let found = Arc::new(found);
        let mut pinned = self.pinned.write().unwrap_or_else(PoisonError::into_inner);
        if pinned.len() >= PINNED_MAX {
            pinned.clear();
        }
        pinned.insert(key, found.clone());
        Ok(Some(found))
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<TenantId, Arc<TenantDefinitions>>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TenantDefinitions {
    /// Whether this is the tenant's slug or its founding uuid.
    pub fn is_called(&self, name: &str) -> bool {
        self.tenant.slug.as_str() == name || name.parse() == Ok(self.tenant.uuid)
    }

    pub fn version(&self) -> i64 {
        self.read().version
    }

    pub fn action(&self, id: ActionId) -> Option<Arc<Action>> {
        self.read().actions.get(&id).cloned()
    }

    pub fn action_named(&self, name: &str) -> Option<Arc<Action>> {
        let state = self.read();
        state.names.get(name).and_then(|id| state.actions.get(id)).cloned()
    }

    /// All actions, by name.
    pub fn actions(&self) -> Vec<Arc<Action>> {
        let mut actions: Vec<_> = self.read().actions.values().cloned().collect();
        actions.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        actions
    }

    /// What operators have set for the tenant.
    pub fn controls(&self) -> Arc<Controls> {
        self.read().controls.clone()
    }

    pub fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.read().subscriptions.get(&id).cloned()
    }

    /// All subscriptions, oldest first.
    pub fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        let mut subscriptions: Vec<_> = self.read().subscriptions.values().cloned().collect();
        subscriptions.sort_by_key(|subscription| subscription.id);
        subscriptions
    }

    /// The subscriptions of one action, oldest first.
    pub fn subscriptions_of(&self, action: ActionId) -> Vec<Arc<Subscription>> {
        let state = self.read();
        let own = state.subscriptions.values().filter(|subscription| subscription.action == action);
        let mut own: Vec<_> = own.cloned().collect();
        own.sort_by_key(|subscription| subscription.id);
        own
    }

    pub fn action_count(&self) -> usize {
        self.read().actions.len()
    }

    pub fn subscription_count(&self) -> usize {
        self.read().subscriptions.len()
    }

    /// The actions that an event leads to, in the order in which they should start.
    pub fn matches(&self, event: &Event) -> Matched {
        let state = self.read();
        let actions: Vec<(Match, Arc<Action>)> = state
            .matcher
            .matches(event)
            .into_iter()
            .filter_map(|found| Some((found, state.actions.get(&found.action)?.clone())))
            .collect();
        let rated = if state.rated.is_empty() {
            Vec::new()
        } else {
            let ways = actions.iter().filter_map(|(found, _)| found.subscription);
            ways.filter(|subscription| state.rated.contains(subscription)).collect()
        };
        Matched { defs: state.version, actions, rated }
    }

    /// The subscriptions that have rates.
    pub fn rated_subscriptions(&self) -> Vec<Arc<Subscription>> {
        let state = self.read();
        let rated = state.rated.iter().filter_map(|id| state.subscriptions.get(id));
        rated.cloned().collect()
    }

    /// Why each way to each action matches an event or not.
    pub fn explain(&self, event: &Event) -> Vec<Explanation> {
        self.read().matcher.explain(event)
    }

    /// Whether any pattern could match an event of the engine's own.
    pub fn listens_to_engine(&self) -> bool {
        !self.read().listens_to_engine.is_empty()
    }

    /// One line for each version, not one for each look.
    fn tell_failure(&self, version: i64, error: &StoreError) {
        if self.failed_at.swap(version, Ordering::Relaxed) != version {
            let tenant = self.tenant.slug.as_str();
            warn!(tenant, version, %error, "a tenant's definitions cannot be read");
        }
    }

    async fn refresh(&self, definitions: &dyn Definitions, wanted: i64) -> Result<(), StoreError> {
        let _alone = self.refresh.lock().await;
        let version = self.version();
        if version >= wanted {
            return Ok(());
        }
        let changes = definitions.changes(self.tenant.id, version).await?;
        self.state.write().unwrap_or_else(PoisonError::into_inner).apply(&changes);
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, changes: &Changes) {
        self.matcher.apply(changes);
        for action in &changes.actions {
            self.replace_action(action);
        }
        for subscription in &changes.subscriptions {
            if !subscription.deleted && subscription.spec.rate().is_limited() {
                self.rated.insert(subscription.id);
            } else {
                self.rated.remove(&subscription.id);
            }
            if subscription.deleted {
                self.subscriptions.remove(&subscription.id);
            } else {
                if listens_to_engine(subscription.spec.event_pattern.as_str()) {
                    self.listens_to_engine.insert(subscription.action);
                }
                self.subscriptions.insert(subscription.id, subscription.clone());
            }
        }
        if *self.controls != changes.controls {
            self.controls = Arc::new(changes.controls.clone());
        }
        self.version = changes.version;
    }

    fn replace_action(&mut self, action: &Arc<Action>) {
        if let Some(old) = self.actions.remove(&action.id)
            && self.names.get(old.spec.name.as_str()) == Some(&action.id)
        {
            self.names.remove(old.spec.name.as_str());
        }
        if action.deleted {
            self.listens_to_engine.remove(&action.id);
            return;
        }
        if action.spec.event_patterns.iter().any(|pattern| listens_to_engine(pattern.as_str())) {
            self.listens_to_engine.insert(action.id);
        }
        self.names.insert(action.spec.name.as_str().to_owned(), action.id);
        self.actions.insert(action.id, action.clone());
    }
}

fn listens_to_engine(pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let pattern = pattern.trim_start_matches(['/', '^']);
    ENGINE_WORDS.iter().any(|word| {
        // In a regular expression the dot may be escaped.
        pattern.starts_with(word.trim_end_matches('.'))
    })
}
