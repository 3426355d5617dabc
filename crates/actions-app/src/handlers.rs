//! The handlers of this process, by id and by founding class name.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use actions_domain::action::HandlerId;
use actions_domain::ports::handler::Handler;
use actions_domain::tenant::reach::Reach;
use tracing::error;

/// Tenants with a reach of their own whose handlers are kept. Each set has connections of its own.
const SETS_MAX: usize = 256;

/// Makes the handlers that come with the engine anew, for tenants with a reach of their own.
pub type Remake = Box<dyn Fn(&Reach) -> Result<Vec<Arc<dyn Handler>>, String> + Send + Sync>;

type ById = BTreeMap<String, Arc<dyn Handler>>;

/// An explicit registry, built in one place and passed on. Handlers may join at run time.
#[derive(Default)]
pub struct Handlers {
    by_id: RwLock<ById>,
    /// Those that can be made anew, and how.
    remade: Option<(ById, Remake)>,
    /// What was made for a reach. Two tenants share nothing that one of them may not use: not even
    /// an open connection.
    by_reach: Mutex<HashMap<Reach, Arc<ById>>>,
}

impl Handlers {
    pub fn new(handlers: impl IntoIterator<Item = Arc<dyn Handler>>) -> Self {
        let registry = Self::default();
        for handler in handlers {
            registry.register(handler);
        }
        registry
    }

    /// Says how these handlers are made for a tenant with a reach of its own. Others are the same
    /// for everybody.
    #[must_use]
    pub fn remade_by(self, remake: Remake) -> Self {
        let known = self.by_id.read().unwrap_or_else(PoisonError::into_inner).clone();
        Self { remade: Some((known, remake)), ..self }
    }

    /// Adds a handler, or replaces the one with its id.
    pub fn register(&self, handler: Arc<dyn Handler>) {
        add(&mut self.by_id.write().unwrap_or_else(PoisonError::into_inner), handler);
    }

    pub fn find(&self, id: &HandlerId) -> Option<Arc<dyn Handler>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(id.as_str()).cloned()
    }

    /// A handler that connects to where a tenant may. `None` also when it cannot be made: then
    /// nothing is called at all.
    pub fn find_within(&self, id: &HandlerId, reach: &Reach) -> Option<Arc<dyn Handler>> {
        let handler = self.find(id)?;
        if reach.is_default() {
            return Some(handler);
        }
        let Some((known, remake)) = &self.remade else { return Some(handler) };
        let is_ours = known.get(id.as_str()).is_some_and(|known| Arc::ptr_eq(known, &handler));
        if !is_ours {
            return Some(handler);
        }
        let mut by_reach = self.by_reach.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = by_reach.get(reach) {
            return made.get(id.as_str()).cloned();
        }
        let mut made = ById::new();
        match remake(reach) {
            Ok(handlers) => handlers.into_iter().for_each(|handler| add(&mut made, handler)),
            Err(error) => {
                error!(error, "handlers cannot be made for a tenant's reach");
                return None;
            }
        }
        if by_reach.len() >= SETS_MAX {
            by_reach.clear();
        }
        let found = made.get(id.as_str()).cloned();
        by_reach.insert(reach.clone(), Arc::new(made));
        found
    }

    pub fn is_installed(&self, id: &HandlerId) -> bool {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).contains_key(id.as_str())
    }

    /// Every handler once, by id.
    pub fn list(&self) -> Vec<Arc<dyn Handler>> {
        let by_id = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        by_id
            .iter()
            .filter(|(id, handler)| handler.descriptor().id == id.as_str())
            .map(|(_, handler)| handler.clone())
            .collect()
    }
}

fn add(by_id: &mut ById, handler: Arc<dyn Handler>) {
    let descriptor = handler.descriptor();
    for alias in descriptor.aliases {
        by_id.insert((*alias).to_owned(), handler.clone());
    }
    by_id.insert(descriptor.id.to_owned(), handler.clone());
}
