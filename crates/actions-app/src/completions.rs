//! Tells those who wait for an execution or a run that its end is committed.
//!
//! A hint within one process: who waits asks the store again from time to time, because it may come
//! to its end elsewhere.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Waiters by what they wait for. Empty when nobody waits, so that the hot path pays for one lock.
pub struct Completions<Id> {
    waiters: Mutex<HashMap<Id, Arc<Notify>>>,
}

impl<Id> Default for Completions<Id> {
    fn default() -> Self {
        Self { waiters: Mutex::default() }
    }
}

impl<Id: Copy + Eq + Hash> Completions<Id> {
    /// Registers interest. Ask whether it has ended *after* this, then wait.
    pub fn watch(&self, awaited: &[Id]) -> Watch<'_, Id> {
        let notify = Arc::new(Notify::new());
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        for one in awaited {
            waiters.insert(*one, notify.clone());
        }
        Watch { completions: self, awaited: awaited.to_vec(), notify }
    }

    /// Says that these have ended.
    pub fn ended(&self, awaited: impl IntoIterator<Item = Id>) {
        let waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if waiters.is_empty() {
            return;
        }
        for one in awaited {
            if let Some(notify) = waiters.get(&one) {
                notify.notify_one();
            }
        }
    }
}

/// Interest in some ends, given up when dropped.
pub struct Watch<'a, Id: Copy + Eq + Hash> {
    completions: &'a Completions<Id>,
    awaited: Vec<Id>,
    notify: Arc<Notify>,
}

impl<Id: Copy + Eq + Hash> Watch<'_, Id> {
    /// Waits until one of them may have ended.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl<Id: Copy + Eq + Hash> Drop for Watch<'_, Id> {
    fn drop(&mut self) {
        let mut waiters = self.completions.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        for one in &self.awaited {
            // A later watcher of the same one has replaced this one.
            if waiters.get(one).is_some_and(|notify| Arc::ptr_eq(notify, &self.notify)) {
                waiters.remove(one);
            }
        }
    }
}
