//! The handlers of this process, by id and by founding class name.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use actions_domain::action::HandlerId;
use actions_domain::ports::handler::Handler;

/// An explicit registry, built in one place and passed on. Handlers may join at run time.
#[derive(Default)]
pub struct Handlers {
    by_id: RwLock<BTreeMap<String, Arc<dyn Handler>>>,
}

impl Handlers {
    pub fn new(handlers: impl IntoIterator<Item = Arc<dyn Handler>>) -> Self {
        let registry = Self::default();
        for handler in handlers {
            registry.register(handler);
        }
        registry
    }

    /// Adds a handler, or replaces the one with its id.
    pub fn register(&self, handler: Arc<dyn Handler>) {
        let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        let descriptor = handler.descriptor();
        for alias in descriptor.aliases {
            by_id.insert((*alias).to_owned(), handler.clone());
        }
        by_id.insert(descriptor.id.to_owned(), handler.clone());
    }

    pub fn find(&self, id: &HandlerId) -> Option<Arc<dyn Handler>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(id.as_str()).cloned()
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
