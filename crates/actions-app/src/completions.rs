//! Tells those who wait for an execution that its end is committed.
//!
//! A hint within one process: who waits asks the history again from time to time, because the
//! execution may run elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use actions_domain::id::ExecutionId;
use tokio::sync::Notify;

/// Waiters by execution. Empty when nobody waits, so that the hot path pays for one lock.
#[derive(Default)]
pub struct Completions {
    waiters: Mutex<HashMap<ExecutionId, Arc<Notify>>>,
}

impl Completions {
    /// Registers interest. Ask whether it has ended *after* this, then wait.
    pub fn watch(&self, executions: &[ExecutionId]) -> Watch<'_> {
        let notify = Arc::new(Notify::new());
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        for execution in executions {
            waiters.insert(*execution, notify.clone());
        }
        Watch { completions: self, executions: executions.to_vec(), notify }
    }

    /// Says that these have ended.
    pub fn ended(&self, executions: impl IntoIterator<Item = ExecutionId>) {
        let waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if waiters.is_empty() {
            return;
        }
        for execution in executions {
            if let Some(notify) = waiters.get(&execution) {
                notify.notify_one();
            }
        }
    }
}

/// Interest in some executions, given up when dropped.
pub struct Watch<'a> {
    completions: &'a Completions,
    executions: Vec<ExecutionId>,
    notify: Arc<Notify>,
}

impl Watch<'_> {
    /// Waits until one of them may have ended.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut waiters = self.completions.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        for execution in &self.executions {
            // A later watcher of the same execution has replaced this one.
            if waiters.get(execution).is_some_and(|notify| Arc::ptr_eq(notify, &self.notify)) {
                waiters.remove(execution);
            }
        }
    }
}
